"""Code of 2022 under Keras 2 and Keras 3: a small function for each line that may break.

    python tools/breaks.py keras       runs them with the installed Keras, Keras 3
    python tools/breaks.py tf_keras    runs them with Keras 2, if it is installed

It prints the answer of each function, as JSON. The appendix "From Keras 2 to Keras 3" shows
the answers, `porting.py` records those of Keras 2, and `test_porting.py` compares.

A function of BREAKS takes the module and does what code of 2022 did. With `fixed` it does
what the appendix says to write today. It returns in words what happens, or lets an error
pass. A function of KEPT works, or goes wrong, in the same way in both versions. The code
inside losses and layers is plain TensorFlow, as it was in 2022; it need not change.

This file imports nothing from the book, which the interpreter that runs it may lack.
"""

import functools
import importlib
import json
import os
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

SEED = 3  # of the images
IMAGES = np.random.default_rng(SEED).uniform(size=(32, 8, 8, 1)).astype("float32")
ZEROS = np.zeros((32, 2), "float32")
TARGETS = {"reconstruction": IMAGES, "mu": ZEROS, "log_var": ZEROS}

BREAKS, KEPT = [], []


def breaks(function):
    BREAKS.append(function)
    return function


def kept(function):
    KEPT.append(function)
    return function


# The parts that most functions share.


def build_heads(keras):
    """Return an input for images, and the tensors mu and log_var."""
    image = keras.Input((8, 8, 1))
    features = keras.layers.Flatten()(image)
    return image, *(keras.layers.Dense(2, name=name)(features) for name in ("mu", "log_var"))


def decode(keras, z):
    pixels = keras.layers.Dense(64, activation="sigmoid")(z)
    return keras.layers.Reshape((8, 8, 1))(pixels)


def build_vae(keras, outputs=dict, layer_for_each=False):
    """Return a small model like part VI's, whose decoder passes mu and log_var on; z is mu.

    Its outputs are a dict, or a list in the order of TARGETS.
    """
    image, mu, log_var = build_heads(keras)
    encoder = keras.Model(image, [keras.layers.Activation("linear")(mu), mu, log_var])
    inputs = [keras.Input((2,)) for _ in range(3)]
    handed_on = [keras.layers.Activation("linear")(tensor) for tensor in inputs[1:]]
    decoder = keras.Model(inputs, [decode(keras, inputs[0]), *handed_on], name="decoder")
    image = keras.Input((8, 8, 1))
    tensors = decoder(encoder(image))
    if layer_for_each:
        tensors = [
            keras.layers.Activation("linear", name=name)(tensor)
            for name, tensor in zip(TARGETS, tensors, strict=True)
        ]
    by_name = dict(zip(TARGETS, tensors, strict=True))
    return keras.Model(image, by_name if outputs is dict else tensors)


def build_losses(keras, called=None):
    """Return a loss for each output, which notes its name in `called` when it is called."""
    called = set() if called is None else called

    def reconstruction_loss(target, guess):
        called.add("reconstruction")
        return tf.reduce_mean(keras.losses.binary_crossentropy(target, guess), axis=(1, 2))

    def mu_loss(target, mu):
        called.add("mu")
        return 1e-3 * tf.reduce_mean(tf.square(mu), axis=-1)

    def log_var_loss(target, log_var):
        called.add("log_var")
        return 1e-3 * tf.reduce_mean(tf.exp(log_var) - 1 - log_var, axis=-1)

    return dict(zip(TARGETS, (reconstruction_loss, mu_loss, log_var_loss), strict=True))


def train(keras, model, targets=None, losses=None, callbacks=None, **options):
    """Fit, and name the entries of the log beside the total."""
    model.compile("sgd", loss=losses or build_losses(keras), **options)
    targets = TARGETS if targets is None else targets
    logs = model.fit(IMAGES, targets, verbose=0, callbacks=callbacks).history
    names = ", ".join(name for name in logs if name != "loss")
    return f"trains; the log names {names or 'the total alone'}"


@functools.cache
def train_as_meant(keras):
    """Fit with a target and a loss under each output's name, which fixes many breaks."""
    return train(keras, build_vae(keras))


def train_and_watch(keras, targets=None, keys=tuple(TARGETS), **options):
    """Fit, and say which losses were never called.

    `keys` are those of the losses, in their order. If there are fewer, a loss is left out.
    """
    called = set()
    losses = dict(zip(keys, build_losses(keras, called).values(), strict=False))
    train(keras, build_vae(keras), targets, losses, **options)
    idle = [name for name in TARGETS if name not in called]
    return f"trains; never calls the loss of {' and '.join(idle)}" if idle else "trains"


def save_and_load(keras, model, file, **options):
    """Save, load, and say how it ends."""
    model.save(file)
    try:
        keras.models.load_model(file, **options)
    except Exception as error:
        cause = str(error).split("Exception encountered: ")[-1].split(". ")[0]
        return f"saves; loading raises {type(error).__name__}: {' '.join(cause.split())}"
    return "saves and loads"


# While you build.


@breaks
def shape_from_a_number(keras, fixed=False):
    shape = (2,) if fixed else (2)
    return f"builds an input of shape {tuple(keras.Input(shape=shape).shape)}"


@breaks
def units_from_numpy(keras, fixed=False):
    units = np.prod((4, 4, 8))
    layer = keras.layers.Dense(int(units) if fixed else units)
    return f"builds a layer of {layer.units} units"


@breaks
def shape_from_the_backend(keras, fixed=False):
    image = keras.Input((8, 8, 1))
    shape = image.shape if fixed else keras.backend.int_shape(image)
    return f"answers {tuple(shape)}"


@breaks
def draw_with_the_backend(keras, fixed=False):
    def draw_z(heads):
        mu, log_var = heads
        if fixed:
            noise = keras.random.normal(keras.ops.shape(mu))
            return mu + keras.ops.exp(log_var / 2) * noise
        noise = keras.backend.random_normal(shape=keras.backend.shape(mu))
        return mu + keras.backend.exp(log_var / 2) * noise

    image, *heads = build_heads(keras)
    z = keras.layers.Lambda(draw_z, output_shape=(2,))(heads)
    model = keras.Model(image, z)
    return f"draws z of shape {model.predict(IMAGES, verbose=0).shape}"


@breaks
def draw_between_layers(keras, fixed=False):
    def draw_z(mu, log_var):
        return mu + tf.exp(log_var / 2) * tf.random.normal(tf.shape(mu))

    class Draw(keras.layers.Layer):
        def call(self, heads):
            return draw_z(*heads)

    image, *heads = build_heads(keras)
    model = keras.Model(image, Draw()(heads) if fixed else draw_z(*heads))
    return f"draws z of shape {model.predict(IMAGES, verbose=0).shape}"


@breaks
def loss_over_the_encoders_tensors(keras, fixed=False):
    image, mu, log_var = build_heads(keras)
    reconstruction = decode(keras, mu)
    if fixed:
        outputs = {"reconstruction": reconstruction, "mu": mu, "log_var": log_var}
        return train(keras, keras.Model(image, outputs))

    def closed_over_loss(target, guess):
        k = tf.square(mu) + tf.exp(log_var) - 1 - log_var
        return keras.losses.binary_crossentropy(target, guess) + tf.reduce_mean(k)

    return train(keras, keras.Model(image, reconstruction), IMAGES, closed_over_loss)


def build_with_kl_layer(keras, add_a_metric=False, **call_options):
    class KLTerm(keras.layers.Layer):
        def __init__(self, **options):
            super().__init__(**options)
            self.tracker = keras.metrics.Mean(name="kl")

        def call(self, heads, weight=1.0):
            mu, log_var = heads
            kl = weight * tf.reduce_mean(tf.square(mu) + tf.exp(log_var) - 1 - log_var)
            self.add_loss(kl)
            if add_a_metric:
                self.add_metric(kl, name="kl")
            else:
                self.tracker.update_state(kl)
            return [mu, log_var]

    image, *heads = build_heads(keras)
    mu, _ = KLTerm()(heads, **call_options)
    return keras.Model(image, decode(keras, mu))


@breaks
def add_loss_of_the_model(keras, fixed=False):
    if fixed:
        return train(keras, build_with_kl_layer(keras), IMAGES, "binary_crossentropy")
    image, mu, log_var = build_heads(keras)
    model = keras.Model(image, decode(keras, mu))
    k = mu * mu + keras.layers.Activation("exponential")(log_var) - 1 - log_var
    model.add_loss(keras.layers.Lambda(tf.reduce_mean)(k))
    return train(keras, model, IMAGES, "binary_crossentropy")


@breaks
def add_metric_of_a_layer(keras, fixed=False):
    model = build_with_kl_layer(keras, add_a_metric=not fixed)
    return train(keras, model, IMAGES, "binary_crossentropy")


# Names in the log.


@breaks
def names_of_a_dict_of_outputs(keras, fixed=False):
    return train_as_meant(keras)


@breaks
def callback_that_reads_a_name(keras, fixed=False):
    name = "reconstruction_loss" if fixed else "decoder_loss"

    class Printer(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            print(f"{logs[name]:.4f}")

    train(keras, build_vae(keras), callbacks=[Printer()])
    return f"finds {name}"


@breaks
def names_of_a_list_of_outputs(keras, fixed=False):
    model = build_vae(keras, outputs=list, layer_for_each=fixed)
    losses = list(build_losses(keras).values())
    return train(keras, model, list(TARGETS.values()), losses)


@breaks
def metrics_beside_the_losses(keras, fixed=False):
    if fixed:
        return train_as_meant(keras)
    losses = build_losses(keras)
    return train(keras, build_vae(keras), losses=losses, metrics=losses)


# Targets and losses that do not fit.


@breaks
def target_none(keras, fixed=False):
    return train_and_watch(keras, {**TARGETS, "mu": ZEROS[:, :0] if fixed else None})


@breaks
def target_left_out(keras, fixed=False):
    left = {name: target for name, target in TARGETS.items() if name != "mu"}
    return train_and_watch(keras, {**left, "mu": ZEROS[:, :0]} if fixed else left)


@breaks
def target_of_one_array(keras, fixed=False):
    return train_as_meant(keras) if fixed else train_and_watch(keras, IMAGES)


@breaks
def targets_in_a_list(keras, fixed=False):
    targets = [ZEROS, ZEROS, IMAGES]  # in the alphabetical order of the keys
    return train_as_meant(keras) if fixed else train_and_watch(keras, targets)


@breaks
def target_under_a_wrong_key(keras, fixed=False):
    targets = {"reconstruction": IMAGES, "mean": ZEROS, "log_var": ZEROS}
    return train_as_meant(keras) if fixed else train_and_watch(keras, targets)


@breaks
def loss_under_a_wrong_key(keras, fixed=False):
    keys = ("reconstruction", "mean", "log_var")
    return train_as_meant(keras) if fixed else train_and_watch(keras, keys=keys)


# Data that comes in batches.


@breaks
def generator_of_lists(keras, fixed=False):
    collection = tuple if fixed else list

    def batches():
        while True:
            yield IMAGES, collection(TARGETS.values())

    model = build_vae(keras, outputs=list)
    model.compile("sgd", loss=list(build_losses(keras).values()))
    model.fit(batches(), steps_per_epoch=2, verbose=0)
    return "trains"


@breaks
def workers_of_fit(keras, fixed=False):
    class Batches(keras.utils.PyDataset if fixed else keras.utils.Sequence):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return IMAGES, TARGETS

    model = build_vae(keras)
    model.compile("sgd", loss=build_losses(keras))
    if fixed:
        model.fit(Batches(workers=2), verbose=0)
    else:
        model.fit(Batches(), verbose=0, workers=2)
    return "trains"


# Your own training step.


@breaks
def minimize_in_a_step(keras, fixed=False):
    class OwnStep(keras.Model):
        def train_step(self, images):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(self(images, training=True) - images))
            variables = self.trainable_variables
            if fixed:
                gradients = tape.gradient(loss, variables)
                self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
            else:
                self.optimizer.minimize(loss, variables, tape=tape)
            return {"loss": loss}

    image, mu, _ = build_heads(keras)
    model = OwnStep(image, decode(keras, mu))
    model.compile("sgd")
    model.fit(IMAGES, verbose=0)
    return "trains"


# Saving and loading.


def build_with_lambda(keras, register=False):
    def draw_z(heads):
        mu, log_var = heads
        return mu + tf.exp(log_var / 2) * tf.random.normal(tf.shape(mu))

    if register:
        draw_z = keras.saving.register_keras_serializable("porting")(draw_z)
    image, *heads = build_heads(keras)
    return keras.Model(image, keras.layers.Lambda(draw_z, output_shape=(2,))(heads))


@breaks
def saved_lambda(keras, fixed=False):
    return save_and_load(keras, build_with_lambda(keras, register=fixed), "vae.keras")


@breaks
def saved_lambda_without_safe_mode(keras, fixed=False):
    model = build_with_lambda(keras, register=fixed)
    return save_and_load(keras, model, "vae.keras", safe_mode=False)


@breaks
def saved_lambda_in_h5(keras, fixed=False):
    model = build_with_lambda(keras, register=fixed)
    return save_and_load(keras, model, "vae.keras" if fixed else "vae.h5")


@breaks
def saved_loss_of_tf_function(keras, fixed=False):
    def squared_mu(target, mu):
        return tf.reduce_mean(tf.square(mu), axis=-1)

    loss = squared_mu if fixed else tf.function(squared_mu)
    image, mu, _ = build_heads(keras)
    model = keras.Model(image, mu)
    train(keras, model, ZEROS, loss)
    return save_and_load(keras, model, "vae.keras", custom_objects={"squared_mu": loss})


@breaks
def saved_mse_in_h5(keras, fixed=False):
    image, mu, _ = build_heads(keras)
    model = keras.Model(image, mu)
    train(keras, model, ZEROS, "mse")
    return save_and_load(keras, model, "vae.keras" if fixed else "vae.h5")


@breaks
def saved_model_in_a_folder(keras, fixed=False):
    image, mu, _ = build_heads(keras)
    return save_and_load(keras, keras.Model(image, mu), "vae.keras" if fixed else "vae")


@breaks
def saved_weights(keras, fixed=False):
    file = "vae.weights.h5" if fixed else "vae.h5"
    image, mu, _ = build_heads(keras)
    model = keras.Model(image, mu)
    model.save_weights(file)
    model.load_weights(file)
    return "saves and loads"


# Several devices.


@breaks
def scalar_loss_on_two_devices(keras, fixed=False):
    def change_of_weight():
        dense = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
        model = keras.Sequential([keras.Input((1,)), dense])
        model.compile(
            keras.optimizers.SGD(0.5),
            loss=lambda target, guess: -guess[:, 0] if fixed else -tf.reduce_mean(guess),
        )
        model.fit(np.ones((4, 1)), np.ones((4, 1)), batch_size=4, verbose=0)
        return float(model.get_weights()[0].squeeze())

    alone = change_of_weight()
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        together = change_of_weight()
    return f"trains; a step is {together / alone:.2f} times that of one device"


# What behaves the same in both.


@kept
def count_parameters(keras):
    """Part VI's network, layer by layer."""
    layers = keras.layers
    x = image = keras.Input((28, 28, 1))
    for filters, stride in ((32, 1), (64, 2), (128, 2)):
        x = layers.LeakyReLU()(layers.Conv2D(filters, 3, stride, padding="same")(x))
    x = layers.Flatten()(x)
    encoder = keras.Model(image, [layers.Dense(2)(x), layers.Dense(2)(x)])
    z = keras.Input((2,))
    x = layers.Reshape((7, 7, 128))(layers.Dense(7 * 7 * 128)(z))
    for filters, stride in ((64, 2), (32, 2), (1, 1)):
        x = layers.Conv2DTranspose(filters, 3, stride, padding="same")(layers.LeakyReLU()(x))
    decoder = keras.Model(z, x)
    return f"counts {encoder.count_params():,} and {decoder.count_params():,} parameters"


@kept
def slope_of_leaky_relu(keras):
    value = float(keras.layers.LeakyReLU()(np.float32([[-1.0]]))[0, 0])
    return f"answers {value:.2f} to -1"


@kept
def backend_of_tensorflow(keras):
    """What `from tensorflow.keras import backend` gives."""
    backend = (tf.keras if keras.__name__ == "keras" else keras).backend
    names = ("int_shape", "shape", "exp", "random_normal")
    return f"has {', '.join(name for name in names if hasattr(backend, name))}"


@kept
def operators_on_symbolic_tensors(keras):
    _, mu, log_var = build_heads(keras)
    return f"builds a tensor of shape {tuple((mu * mu - 1 - log_var / 2).shape)}"


@kept
def lambda_with_tensorflow_inside(keras):
    z = build_with_lambda(keras).predict(IMAGES, verbose=0)
    return f"draws z of shape {z.shape}"


@kept
def layer_that_adds_its_loss(keras):
    model = build_with_kl_layer(keras, weight=2.0)
    model.compile("sgd", loss="binary_crossentropy")
    model.fit(IMAGES, IMAGES, verbose=0)
    return f"trains; the model has {len(model.losses)} added loss"


@kept
def step_with_a_gradient_tape(keras):
    return minimize_in_a_step(keras, fixed=True)


@kept
def targets_of_tensorflow(keras):
    tensors = {name: tf.convert_to_tensor(target) for name, target in TARGETS.items()}
    return train_and_watch(keras, tensors)


@kept
def generator_of_dicts(keras):
    def batches():
        while True:
            yield IMAGES, TARGETS

    model = build_vae(keras)
    model.compile("sgd", loss=build_losses(keras))
    model.fit(batches(), steps_per_epoch=2, verbose=0)
    return "trains"


@kept
def own_losses_in_h5(keras):
    model = build_vae(keras)
    losses = build_losses(keras)
    train(keras, model, losses=losses)
    names = {loss.__name__: loss for loss in losses.values()}
    return save_and_load(keras, model, "vae.h5", custom_objects=names)


@kept
def loss_left_out(keras):
    return train_and_watch(keras, keys=("reconstruction", "mu"))


@kept
def weight_under_a_wrong_key(keras):
    weights = {"image": 1.0, "mu": 2.0, "log_var": 3.0}
    return train_and_watch(keras, loss_weights=weights)


def ask(function, *arguments, **options):
    """Call a function, and return its answer, or its error's type and message."""
    try:
        return {"says": function(*arguments, **options)}
    except Exception as error:
        return {"error": type(error).__name__, "message": str(error)}


def main():
    name = sys.argv[1]
    cpu = tf.config.list_physical_devices("CPU")[0]
    two = 2 * [tf.config.LogicalDeviceConfiguration()]
    tf.config.set_logical_device_configuration(cpu, two)
    # Graphs that run once need not be made fast.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    tf.get_logger().setLevel("ERROR")  # it warns of many models; here they are intended
    keras = importlib.import_module(name)
    answers = {"versions": {"tensorflow": tf.__version__, name: keras.__version__}}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # so that no message names a folder
        answers["breaks"] = {each.__name__: ask(each, keras) for each in BREAKS}
        answers["kept"] = {each.__name__: ask(each, keras) for each in KEPT}
        today = BREAKS if name == "keras" else []
        answers["fixed"] = {each.__name__: ask(each, keras, fixed=True) for each in today}
        os.chdir("/")  # a folder that is in use cannot be removed everywhere
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
