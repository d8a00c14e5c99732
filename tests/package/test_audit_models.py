"""The audit of models that no chapter has, of every route, and of every trap of the book."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from vaebook.audit import audit
from vaebook.behaviours import SPEC
from vaebook.layers import KLDivergence, Sampling
from vaebook.losses import GaussianKL, ImageCrossentropy, LogVarLoss, MuLoss
from vaebook.networks import build_decoder, build_encoder
from vaebook.routes import ROUTES

# Keras 3.13 does not yet divide what an activity regulariser returns by the batch size.
DIVIDES = tuple(map(int, keras.__version__.split(".")[:2])) > (3, 13)


def skip_before_keras_3_14(name):
    if not DIVIDES and name in (
        "an activity regulariser",
        "siamese, each branch regularised",
        "a loss without regularisers",
    ):
        pytest.skip("before Keras 3.14 an activity regulariser grows with the batch")


N = 8
RNG = np.random.default_rng(1)
FLAT = RNG.normal(size=(N, 4)).astype("float32")
SERIES = RNG.normal(size=(N, 5, 3)).astype("float32")
IMAGES = RNG.uniform(size=(N, 8, 8, 1)).astype("float32")
RGB = RNG.uniform(size=(N, 8, 8, 3)).astype("float32")
ONE = RNG.uniform(size=(N, 1)).astype("float32")
LABELS = np.array([0, 1, 2, 1] * 2)
TOKENS = np.array([[1, 2, 3, 0, 0], [4, 5, 1, 2, 0]] * 4)
CE, SPARSE = "binary_crossentropy", "sparse_categorical_crossentropy"


def done(inputs, outputs, loss="mse", optimizer="sgd", kind=keras.Model, **options):
    model = kind(inputs, outputs)
    model.compile(optimizer, loss=loss, **options)
    return model


def dense(x, units=1, activation=None, **options):
    return layers.Dense(units, activation=activation, **options)(x)


def residual():
    x = keras.Input((8, 8, 1))
    h = layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    for _ in range(2):
        h = layers.Add()([h, layers.Conv2D(4, 3, padding="same", activation="relu")(h)])
    return done(x, dense(layers.GlobalAveragePooling2D()(h), 3, "softmax"), SPARSE), LABELS


def siamese():
    inputs = [keras.Input((4,)), keras.Input((4,))]
    shared = keras.Sequential([layers.Dense(3, activation="tanh"), layers.Dense(2)])
    apart = layers.Subtract()([shared(each) for each in inputs])
    return done(inputs, dense(apart)), [FLAT, FLAT[::-1]], ONE


def siamese_with_a_loss():
    inputs = [keras.Input((4,)), keras.Input((4,))]
    shared = layers.Dense(3, activation="tanh", activity_regularizer="l2")
    return (
        done(inputs, dense(layers.Subtract()([shared(x) for x in inputs]))),
        [FLAT, 2 * FLAT + 1],
        ONE,
    )


def three_heads(loss_of_class=SPARSE, activation="softmax", labels=LABELS):
    x = keras.Input((4,))
    h = dense(x, 5, "tanh")
    outputs = {
        "copy": dense(h, 4),
        "kind": dense(h, 3, activation),
        "size": dense(h, 1, "softplus"),
    }
    model = done(x, outputs, {"copy": "mse", "kind": loss_of_class, "size": "mae"})
    return model, FLAT, {"copy": FLAT, "kind": labels, "size": ONE}


def listed_heads():
    x = keras.Input((4,))
    return (
        done(x, [dense(x, 2, name="p"), dense(x, 1, name="q")], ["mse", "mae"]),
        FLAT,
        [FLAT[:, :2], ONE],
    )


def losses_by_layer_name():
    x = keras.Input((4,))
    model = done(x, [dense(x, 2, name="p"), dense(x, name="q")], {"q": "mae", "p": "mse"})
    return model, FLAT, {"q": ONE, "p": FLAT[:, :2]}


def nested_outputs():
    x = keras.Input((4,))
    outputs = {"main": dense(x), "code": {"mu": dense(x, 2), "log_var": dense(x, 2)}}

    def on_code(y_true, y_pred):
        return ops.mean(ops.square(y_pred["mu"]) + ops.square(y_pred["log_var"]), axis=-1)

    class OnCode(keras.losses.Loss):
        call = staticmethod(on_code)

    model = done(x, outputs, {"main": "mse", "code": {"mu": "mse", "log_var": "mse"}})
    return model, FLAT, {"main": ONE, "code": {"mu": FLAT[:, :2], "log_var": FLAT[:, 2:]}}


def recurrent(layer):
    x = keras.Input((5, 3))
    return done(x, dense(layer(x))), SERIES, ONE


def step_by_step():
    x = keras.Input((5, 3))
    return (
        done(
            x, layers.TimeDistributed(layers.Dense(2))(layers.GRU(4, return_sequences=True)(x))
        ),
        (SERIES),
        SERIES[..., :2],
    )


def masked_tokens():
    x = keras.Input((5,), dtype="int32")
    h = layers.LSTM(4)(layers.Embedding(6, 3, mask_zero=True)(x))
    return done(x, dense(h, 3, "softmax"), SPARSE), TOKENS, LABELS


def next_token():
    x = keras.Input((5,), dtype="int32")
    h = layers.LSTM(4, return_sequences=True)(layers.Embedding(6, 3)(x))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return done(x, dense(h, 6), loss), TOKENS, TOKENS


def attention():
    x = keras.Input((5, 3))
    h = layers.MultiHeadAttention(2, 3)(x, x)
    h = layers.LayerNormalization()(layers.Add()([h, x]))
    return done(x, dense(layers.GlobalAveragePooling1D()(h))), SERIES, ONE


def frozen_encoder():
    x = keras.Input((4,))
    inner = keras.Sequential([layers.Dense(3), layers.BatchNormalization()])
    inner.trainable = False
    return done(x, dense(inner(x))), FLAT, ONE


def convolutions(channels=1):
    x = keras.Input((8, 8, channels))
    h = layers.Conv2D(4, 3, padding="same")(x)
    h = layers.ReLU()(layers.BatchNormalization()(h))
    h = layers.Conv2D(channels, 3, padding="same", activation="sigmoid")(h)
    return done(x, h, CE)


def segmentation():
    x = keras.Input((8, 8, 1))
    h = layers.Conv2D(3, 3, padding="same", activation="softmax")(x)
    return done(x, h, SPARSE), IMAGES, RNG.integers(0, 3, (N, 8, 8))


def denoiser():
    x = keras.Input((4,))
    return done(x, dense(layers.GaussianNoise(0.1)(x), 4)), FLAT, FLAT


def spatial_dropout():
    x = keras.Input((8, 8, 1))
    h = layers.SpatialDropout2D(0.5)(layers.Conv2D(4, 3)(x))
    return done(x, dense(layers.Flatten()(h))), IMAGES, ONE


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.blocks = [layers.Dense(4, activation="tanh") for _ in range(2)]
        self.heads = {"p": layers.Dense(1), "q": layers.Dense(2)}

    def call(self, x):
        for block in self.blocks:
            x = block(x)
        return {name: head(x) for name, head in self.heads.items()}


def subclassed():
    model = Subclassed()
    model(FLAT)
    model.compile("adam", loss={"p": "mse", "q": "mae"})
    return model, FLAT, {"p": ONE, "q": FLAT[:, :2]}


class TupleOut(keras.Model):
    def __init__(self):
        super().__init__()
        self.one, self.two = layers.Dense(1), layers.Dense(2)

    def call(self, x):
        return self.one(x), self.two(x)


def tuple_of_outputs():
    model = TupleOut()
    model(FLAT)
    model.compile("adam", loss=("mse", "mae"))
    return model, FLAT, (ONE, FLAT[:, :2])


class Clipped(keras.Model):
    """Clips its gradient and accumulates nothing else."""

    def train_step(self, data):
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(x, y, y_pred, weight)
        gradients = tape.gradient(loss, self.trainable_variables)
        gradients, _ = tf.clip_by_global_norm(gradients, 1.0)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return {"loss": loss, **self.compute_metrics(x, y, y_pred, weight)}


def clipped():
    x = keras.Input((4,))
    return done(x, dense(x), kind=Clipped, metrics=["mae"]), FLAT, ONE


class TwoOptimizers(keras.Model):
    """A small adversarial pair with one step for both."""

    def __init__(self):
        super().__init__()
        self.generator = keras.Sequential([keras.Input((2,)), layers.Dense(4)])
        self.critic = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
        self.seed = keras.random.SeedGenerator(0)
        self.other = keras.optimizers.SGD()
        self.build((None, 4))

    def call(self, x):
        return self.critic(x)

    def train_step(self, data):
        x, _, weight = keras.utils.unpack_x_y_sample_weight(data)
        weight = tf.ones((tf.shape(x)[0],)) if weight is None else weight
        noise = keras.random.normal((tf.shape(x)[0], 2), seed=self.seed)
        with tf.GradientTape() as tape:
            apart = self.critic(self.generator(noise)) - self.critic(x)
            loss = tf.reduce_mean(weight * tf.nn.softplus(apart)[:, 0])
        own = self.critic.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, own), own, strict=True))
        with tf.GradientTape() as tape:
            fooled = self.critic(self.generator(noise))[:, 0]
            second = tf.reduce_mean(weight * tf.nn.softplus(-fooled))
        own = self.generator.trainable_variables
        self.other.apply_gradients(zip(tape.gradient(second, own), own, strict=True))
        return {"loss": loss}


def adversarial():
    model = TwoOptimizers()
    model.compile("sgd")
    return model, FLAT, None


def weights_in_the_data():
    x = keras.Input((4,))
    data = tf.data.Dataset.from_tensor_slices((FLAT, ONE, np.ones(N, "float32"))).batch(4)
    return done(x, dense(x)), data, None


def dict_of_inputs():
    x = {"p": keras.Input((4,), name="p"), "q": keras.Input((5, 3), name="q")}
    h = layers.Concatenate()([x["p"], layers.Flatten()(x["q"])])
    return done(x, dense(h)), {"p": FLAT, "q": SERIES}, ONE


# Autoencoders


def vae(shape=(8, 8, 1), loss="kl layer", condition=None, latent_dim=2):
    image = keras.Input(shape, name="image")
    h = layers.Flatten()(layers.Conv2D(4, 3, strides=2, activation="relu")(image))
    inputs = image
    if condition:
        label = keras.Input((condition,), name="label")
        h, inputs = layers.Concatenate()([h, label]), [image, label]
    pair = [dense(h, latent_dim, name=name) for name in ("mu", "log_var")]
    if loss == "kl layer":
        pair = KLDivergence(1e-2, name="kl")(pair)
    z = Sampling(seed=1)(pair)
    if condition:
        z = layers.Concatenate()([z, label])
    pixels = int(np.prod(shape))
    out = layers.Reshape(shape)(dense(z, pixels, "sigmoid"))
    if loss == "kl layer":
        return done(inputs, out, ImageCrossentropy())
    outputs = {"reconstruction": out, "mu": pair[0], "log_var": pair[1]}
    losses = {"reconstruction": ImageCrossentropy(), "mu": MuLoss(), "log_var": LogVarLoss()}
    return done(inputs, outputs, losses)


def rgb_vae():
    return vae((8, 8, 3)), RGB, RGB


def conditional_vae():
    one_hot = np.eye(3, dtype="float32")[LABELS]
    return vae(condition=3), [IMAGES, one_hot], IMAGES


def vae_with_a_class():
    model = vae(loss="outputs")
    outputs = {**model.output, "kind": dense(model.output["mu"], 3, "softmax")}
    losses = {
        "reconstruction": ImageCrossentropy(),
        "mu": MuLoss(),
        "log_var": LogVarLoss(),
        "kind": SPARSE,
    }
    empty = np.zeros((N, 0), "float32")
    y = {"reconstruction": IMAGES, "mu": empty, "log_var": empty, "kind": LABELS}
    return done(model.input, outputs, losses), IMAGES, y


def codes_as_outputs_without_loss():
    encoder, decoder = build_encoder(SPEC, 1), build_decoder(SPEC, 1)
    image = keras.Input(SPEC.image_shape)
    _, mu, log_var = encoder(image)
    mu, log_var = KLDivergence(1e-2)([mu, log_var])
    outputs = {"reconstruction": decoder(Sampling(1)([mu, log_var])), "mu": mu, "s": log_var}
    return (
        done(image, outputs, {"reconstruction": ImageCrossentropy()}),
        IMAGES,
        {"reconstruction": IMAGES},
    )


class StepVAE(keras.Model):
    """Written from scratch: its draw of z is in no layer."""

    def __init__(self, noise="generator"):
        super().__init__()
        self.kind = noise
        self.encoder = keras.Sequential(
            [keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(4)]
        )
        self.decoder = keras.Sequential(
            [keras.Input((2,)), layers.Dense(64, "sigmoid"), layers.Reshape((8, 8, 1))]
        )
        self.seed = keras.random.SeedGenerator(3)
        self.build((None, 8, 8, 1))

    def codes(self, x):
        return tf.split(self.encoder(x), 2, axis=1)

    def draw(self, mu):
        if self.kind == "integer":
            return keras.random.normal(tf.shape(mu), seed=1)
        return keras.random.normal(tf.shape(mu), seed=self.seed)

    def call(self, x):
        mu, log_var = self.codes(x)
        return self.decoder(mu + tf.exp(0.5 * log_var) * self.draw(mu))

    def train_step(self, data):
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        y = x if y is None else y
        with tf.GradientTape() as tape:
            mu, log_var = self.codes(x)
            z = mu + tf.exp(0.5 * log_var) * self.draw(mu)
            error = tf.reduce_sum(ops.binary_crossentropy(y, self.decoder(z)), axis=(1, 2, 3))
            each = error + GaussianKL().call(None, tf.stack([mu, log_var], axis=1))
            loss = tf.reduce_mean(each if weight is None else each * weight)
        own = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, own), own, strict=True))
        return {"loss": loss}


def step_vae(**options):
    model = StepVAE(**options)
    model.compile("adam")
    return model, IMAGES, IMAGES


class SummedVAE(StepVAE):
    def train_step(self, data):
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(ops.binary_crossentropy(x, self(x)))
        own = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, own), own, strict=True))
        return {"loss": loss}


def summed():
    model = SummedVAE()
    model.compile("adam")
    return model, IMAGES, IMAGES


def one_after_another():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, "tanh"), layers.Dense(1)])
    model.compile("adam", "mse", metrics=["mae"])
    return model, FLAT, ONE


# Models that nobody thought of


def masked_series():
    x = keras.Input((5, 3))
    h = layers.GRU(4, return_sequences=True)(layers.Masking()(x))
    padded = np.concatenate([SERIES[:, :3], np.zeros((N, 2, 3), "float32")], axis=1)
    return done(x, layers.TimeDistributed(layers.Dense(2))(h)), padded, SERIES[..., :2]


class Around(keras.Model):
    """A functional model inside a subclassed one, with a loss of its own."""

    def __init__(self, inner, shared=1.0):
        super().__init__()
        self.inner, self.head, self.factor = inner, layers.Dense(1), shared

    def call(self, x, training=None):
        h = self.inner(x, training=training)
        self.add_loss(self.factor * ops.mean(ops.square(h)))
        return self.head(h)


def nested_in_subclassed():
    x = keras.Input((4,))
    model = Around(keras.Model(x, layers.Dropout(0.2)(dense(x, 3, "tanh"))))
    model(FLAT)
    model.compile("adam", "mse", metrics=["mae"])
    return model, FLAT, ONE


class AddMean(layers.Layer):
    def call(self, x):
        self.add_loss(ops.mean(ops.square(x)))
        self.add_loss(0.1 * ops.mean(ops.abs(x)))
        return x


def several_added_losses():
    x = keras.Input((4,))
    return done(x, dense(AddMean()(dense(AddMean()(x), 3)))), FLAT, ONE


class Weighted(keras.utils.PyDataset):
    """Hands out a dict of inputs, a dict of targets and weights for each output."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        rng = np.random.default_rng(index)
        x = {"p": rng.normal(size=(6, 4)), "q": rng.normal(size=(6, 2))}
        y = {"one": rng.normal(size=(6, 1)), "two": rng.uniform(size=(6, 2))}
        weights = {"one": rng.uniform(size=6), "two": rng.uniform(size=6)}
        return x, y, weights


def weights_for_each_output():
    x = {name: keras.Input((size,), name=name) for name, size in (("p", 4), ("q", 2))}
    h = layers.Concatenate()(list(x.values()))
    outputs = {"one": dense(h), "two": dense(h, 2, "sigmoid")}
    return done(x, outputs, {"one": "mse", "two": CE}), Weighted(), None


def scaled_optimizer():
    x = keras.Input((4,))
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam())
    return done(x, dense(dense(x, 8, "relu")), optimizer=optimizer), FLAT, ONE


def mixed(policy):
    keras.config.set_dtype_policy(policy)
    try:
        x = keras.Input((4,))
        return done(x, dense(dense(x, 8, "relu"), dtype="float32"), optimizer="adam"), FLAT, ONE
    finally:
        keras.config.set_dtype_policy("float32")


def output_used_twice():
    x = keras.Input((4,))
    code = dense(x, 3, "tanh", name="code")
    outputs = {"copy": dense(code, 4), "kind": dense(code, 3, "softmax"), "code": code}
    model = done(x, outputs, {"copy": "mse", "kind": SPARSE, "code": "mae"})
    return model, FLAT, {"copy": FLAT, "kind": LABELS, "code": FLAT[:, :3]}


class Contrast(keras.Model):
    """Trains without labels: two noisy views of a sample agree."""

    def __init__(self):
        super().__init__()
        self.encoder = keras.Sequential(
            [
                keras.Input((4,)),
                layers.GaussianNoise(0.5),
                layers.Dense(3),
                layers.BatchNormalization(),
            ]
        )
        self.tracker = keras.metrics.Mean(name="loss")
        self.build((None, 4))

    def call(self, x, training=None):
        return self.encoder(x, training=training)

    def train_step(self, x):
        with tf.GradientTape() as tape:
            apart = self(x, training=True) - self(x, training=True)
            loss = tf.reduce_mean(tf.square(apart)) + 1e-3 * tf.reduce_mean(
                tf.square(self.encoder.layers[1].kernel)
            )
        self.optimizer.apply(
            tape.gradient(loss, self.trainable_variables), self.trainable_variables
        )
        self.tracker.update_state(loss)
        return {"loss": self.tracker.result()}


def without_labels():
    model = Contrast()
    model.compile("adam")
    return model, FLAT, None


def ordered_pixels():
    x = keras.Input((8, 8, 1))
    h = layers.Conv2DTranspose(2, 3, strides=2, padding="same")(layers.Conv2D(3, 3, 2)(x))
    return (
        done(x, layers.UnitNormalization()(h), keras.losses.CosineSimilarity()),
        IMAGES,
        (np.repeat(IMAGES[:, :6, :6], 2, axis=-1)),
    )


def multi_label():
    x = keras.Input((4,))
    y = (RNG.uniform(size=(N, 5)) > 0.5).astype("float32")
    loss = keras.losses.BinaryFocalCrossentropy()
    return done(x, dense(x, 5, "sigmoid"), loss, metrics=["accuracy"]), FLAT, y


def only_loss_gets_the_array():
    x = keras.Input((4,))
    h = dense(x, 2)
    return done(x, {"one": dense(h), "h": h}, {"one": "mse"}), FLAT, ONE


CLEAN = {
    "one layer after another": one_after_another,
    "residual blocks": lambda: (residual()[0], IMAGES, LABELS),
    "siamese": siamese,
    "siamese, each branch regularised": siamese_with_a_loss,
    "three heads": three_heads,
    "heads in a list": listed_heads,
    "losses by layer name": losses_by_layer_name,
    "nested outputs": nested_outputs,
    "LSTM": lambda: recurrent(layers.LSTM(4, recurrent_dropout=0.2)),
    "GRU, both ways": lambda: recurrent(layers.Bidirectional(layers.GRU(3))),
    "a value per time": step_by_step,
    "masked tokens": masked_tokens,
    "next token": next_token,
    "attention": attention,
    "a frozen encoder": frozen_encoder,
    "convolutions, batch norm": lambda: (convolutions(), IMAGES, IMAGES),
    "convolutions, RGB": lambda: (convolutions(3), RGB, RGB),
    "segmentation": segmentation,
    "denoiser": denoiser,
    "spatial dropout": spatial_dropout,
    "subclassed": subclassed,
    "a tuple of outputs": tuple_of_outputs,
    "a step that clips": clipped,
    "two optimizers": adversarial,
    "weights in the data": weights_in_the_data,
    "a dict of inputs": dict_of_inputs,
    "RGB VAE": rgb_vae,
    "conditional VAE": conditional_vae,
    "VAE with a class": vae_with_a_class,
    "codes as outputs without a loss": codes_as_outputs_without_loss,
    "a VAE's own step": step_vae,
    "masked series": masked_series,
    "functional inside subclassed": nested_in_subclassed,
    "several added losses": several_added_losses,
    "weights for each output, PyDataset": weights_for_each_output,
    "a scaled optimizer": scaled_optimizer,
    "mixed_bfloat16": lambda: mixed("mixed_bfloat16"),
    "mixed_float16": lambda: mixed("mixed_float16"),
    "an output used twice": output_used_twice,
    "without labels": without_labels,
    "cosine similarity": ordered_pixels,
    "several labels, focal": multi_label,
    "one array for the only loss": only_loss_gets_the_array,
}


@pytest.mark.parametrize("name", CLEAN)
def test_a_right_model_has_no_finding(name):
    skip_before_keras_3_14(name)
    model, x, y = CLEAN[name]()
    report = audit(model, x, y, reload=False)
    assert report.findings == [], str(report)


@pytest.mark.parametrize("name", ROUTES)
def test_a_route_has_no_finding_and_reloads(name):
    route = ROUTES[name]
    report = audit(route.build(SPEC, weight=0.25, seed=1), IMAGES, route.targets(IMAGES))
    assert report.findings == [], str(report)


def seeded_heads():
    return three_heads(activation=None)


def no_ink():
    model, x, y = three_heads()
    y["kind"] = y["kind"] + 1
    return model, x, y


def branch_without_loss():
    x = keras.Input((4,))
    outputs = {"p": dense(x, name="p"), "q": dense(dense(x, 3), name="q")}
    return done(x, outputs, {"p": "mse"}), FLAT, {"p": ONE}


def gru_target():
    model, x, _ = step_by_step()
    return model, x, SERIES[:, :1, :2]


def lost_regulariser():
    class Lost(Clipped):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return ops.mean(ops.square(y - y_pred))

    x = keras.Input((4,))
    h = dense(x, 3, kernel_regularizer="l2")
    return done(x, dense(h), kind=Lost), FLAT, ONE


def flat_softmax(loss=CE):
    x = keras.Input((4,))
    return done(x, dense(dense(x, 3, "tanh"), 1, "softmax"), loss), FLAT, np.round(ONE)


def sum_in_subclassed():
    model, x, y = nested_in_subclassed()
    model.factor = 100.0  # a large loss is none of the doctor's business
    model.compile("adam", keras.losses.MeanSquaredError(reduction="sum"))
    return model, x, y


class MeanOfWeights(keras.Model):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        loss = ops.mean(ops.square(y - y_pred))
        return loss if sample_weight is None else loss * ops.mean(sample_weight)


def mean_of_weights():
    x = keras.Input((4,))
    data = tf.data.Dataset.from_tensor_slices((FLAT, ONE, ONE[:, 0])).batch(N)
    return done(x, dense(x), kind=MeanOfWeights), data, None


def flat_labels_of_series():
    model, x, _ = step_by_step()
    return model, x, SERIES[:, 0, :2][:5].repeat(2, axis=0)[:N, np.newaxis]


class OneOptimizer(TwoOptimizers):
    """Forgets the second network."""

    def train_step(self, data):
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            noise = keras.random.normal((tf.shape(x)[0], 2), seed=self.seed)
            apart = self.critic(self.generator(noise)) - self.critic(x)
            loss = tf.reduce_mean(tf.nn.softplus(apart))
        own = self.critic.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, own), own, strict=True))
        return {"loss": loss}


def one_optimizer():
    model = OneOptimizer()
    model.compile("sgd")
    return model, FLAT, None


def series_of_nan():
    model, x, y = masked_series()
    return model, np.full_like(x, np.nan), y


SEEDED = {
    "a softmax of one unit": (flat_softmax, "constant-output"),
    "a softmax of one unit, squared": (lambda: flat_softmax("mse"), "constant-output"),
    "a sum beside an added loss": (sum_in_subclassed, "sum-over-batch"),
    "only the mean of the weights": (mean_of_weights, "sample-weight-ignored"),
    "one target for all times": (flat_labels_of_series, "target-broadcast"),
    "a generator that is not trained": (one_optimizer, "no-gradient"),
    "NaN in every series": (series_of_nan, "not-finite"),
    "no softmax": (seeded_heads, "logits-mismatch"),
    "labels from 1": (no_ink, "targets-out-of-range"),
    "a branch without a loss": (branch_without_loss, "no-gradient"),
    "one time for all": (gru_target, "target-broadcast"),
    "a VAE's own step, integer seed": (lambda: step_vae(noise="integer"), "same-noise"),
    "a step that sums": (summed, "sum-over-batch"),
    "a loss without regularisers": (lost_regulariser, "layer-losses-ignored"),
}


@pytest.mark.parametrize("name", SEEDED)
def test_a_seeded_fault_is_found(name):
    skip_before_keras_3_14(name)
    build, code = SEEDED[name]
    report = audit(*build(), reload=False)
    assert report.found(code), str(report)


def test_an_output_beside_a_layer_that_adds_a_loss_is_no_fault():
    route = ROUTES["kl_layer_with_code"]
    report = audit(route.build(SPEC, weight=0.25, seed=1), IMAGES, route.targets(IMAGES))
    assert report.findings == []
    assert "output-without-loss" in [each.code for each in report.information]
