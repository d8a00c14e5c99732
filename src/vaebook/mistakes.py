"""Every mistake of the book that trains without complaint, in models small enough to examine.

`MISTAKES` holds the traps of the chapters, and the rows of the table of what raises no error.
`vaebook.audit.audit` finds each by its code. `BEYOND` holds those that no audit can find by
running a model, and says why.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from vaebook._small import SEED, SPEC, WEIGHT, grey_images
from vaebook.layers import KLDivergence, Sampling
from vaebook.losses import ImageCrossentropy, LogVarLoss, MuLoss
from vaebook.networks import build_decoder, build_encoder, build_pass_through_decoder
from vaebook.routes import ROUTES, encoder_with_layer, three_targets
from vaebook.traps import TRAPS

NAMES = ("reconstruction", "mu", "log_var")


@dataclass(frozen=True)
class Mistake:
    """One mistake, and how to make it.

    Attributes:
        chapter: the chapter that shows it.
        code: the code by which `audit` finds it.
        build: returns the arguments of `audit`, by name.
        harmless: whether `audit` reports it as information, not as a finding, because some
            programs do it on purpose.
    """

    chapter: int
    code: str
    build: Callable[[], dict[str, Any]]
    harmless: bool = False


def _case(model, y=None, sample_weight=None, x=None, **options):
    x = grey_images() if x is None else x
    return {"model": model, "x": x, "y": y, "sample_weight": sample_weight, **options}


def _images_as_targets(model, **options):
    return _case(model, grey_images(), **options)


def _sample_weights():
    return np.linspace(0, 1, len(grey_images())).astype("float32")


def _with_codes(case):
    """Add the functions that return mu, log_var and the reconstruction."""
    model = case["model"]

    def reconstruct(x):
        made = model(x)
        return made["reconstruction"] if isinstance(made, dict) else made

    encoder = model.get_layer("encoder")
    return {**case, "codes": lambda x: encoder(x)[1:], "reconstruct": reconstruct}


def _networks():
    return build_encoder(SPEC, SEED), build_decoder(SPEC, SEED), keras.Input(SPEC.image_shape)


def _one_output(outputs, image, loss=None, **options):
    model = keras.Model(image, outputs)
    model.compile("adam", loss=loss or ImageCrossentropy(), **options)
    return model


# Chapters 2 to 5


class _WideDraw(layers.Layer):
    """Draw z with exp(log_var) as standard deviation."""

    def __init__(self):
        super().__init__()
        self.seed_generator = keras.random.SeedGenerator(SEED)

    def call(self, inputs):
        mu, log_var = inputs
        return mu + ops.exp(log_var) * keras.random.normal(
            ops.shape(mu), seed=self.seed_generator
        )


class _RepeatedDraw(layers.Layer):
    """Draw noise with an integer as seed, or one row of it for a whole batch."""

    def __init__(self, one_row):
        super().__init__()
        self.one_row = one_row
        self.seed_generator = keras.random.SeedGenerator(SEED)

    def call(self, inputs):
        mu, log_var = inputs
        if self.one_row:
            noise = keras.random.normal((1, SPEC.latent_dim), seed=self.seed_generator)
        else:
            noise = keras.random.normal(ops.shape(mu), seed=SEED)
        return mu + ops.exp(0.5 * log_var) * noise


def _with_draw(draw, **options):
    """Return a VAE whose z comes from a layer other than `Sampling`."""
    heads, decoder, image = _networks()
    pair = [heads.get_layer(name).output for name in ("mu", "log_var")]
    pair = KLDivergence(WEIGHT)(pair)
    encoder = keras.Model(heads.input, [draw(pair), *pair], name="encoder")
    return _images_as_targets(_one_output(decoder(encoder(image)[0]), image), **options)


def _numbers_of_before():
    encoder, decoder, image = _networks()
    _, mu, log_var = encoder.predict(grey_images(), verbose=0)
    then = float(np.mean(mu**2 + np.exp(log_var) - 1 - log_var))

    def loss(target, reconstruction):
        crossentropy = ops.mean(ops.binary_crossentropy(target, reconstruction), axis=(1, 2, 3))
        return crossentropy + then

    return _images_as_targets(_one_output(decoder(encoder(image)[0]), image, loss))


# Chapters 6 and 7


def _three_outputs(losses=None, weights=None, targets=None, swapped=False, listed=False):
    """Chapter 6's model; `swapped` is chapter 5's trap."""
    encoder, decoder = build_encoder(SPEC, SEED), build_pass_through_decoder(SPEC, SEED)
    image = keras.Input(SPEC.image_shape)
    z, mu, log_var = encoder(image)
    made = decoder([z, log_var, mu] if swapped else [z, mu, log_var])
    outputs = made if listed else dict(zip(NAMES, made, strict=True))
    right = {"reconstruction": ImageCrossentropy(), "mu": MuLoss(), "log_var": LogVarLoss()}
    losses = right if losses is None else {**right, **losses}
    losses = {name: loss for name, loss in losses.items() if loss != "left out"}
    y = {**three_targets(grey_images()), **(targets or {})}
    if listed:
        losses, y = list(losses.values()), [y[name] for name in NAMES]
    return _case(_one_output(outputs, image, losses, loss_weights=weights), y)


def _two_heads(loss, y, metrics=None):
    x = keras.Input((4,))
    heads = {name: layers.Dense(4, name=f"head_{name}")(x) for name in ("b", "a")}
    rng = np.random.default_rng(SEED)
    data = rng.normal(size=(3, 8, 4)).astype("float32")
    return _case(_one_output(heads, x, loss, metrics=metrics), y(*data[1:]), x=data[0])


def _labels():
    return np.arange(len(grey_images()), dtype="float32")[:, np.newaxis]


# Chapters 9 to 12


def _beside_the_path():
    encoder, decoder, image = _networks()
    z, mu, log_var = encoder(image)
    KLDivergence(WEIGHT)([mu, log_var])
    return _images_as_targets(_one_output(decoder(z), image))


class _AddKL(layers.Layer):
    """Chapter 9's first layer, with what goes wrong in it."""

    def __init__(self, factor=WEIGHT, reduce=ops.mean, **kwargs):
        super().__init__(**kwargs)
        self.factor, self.reduce = factor, reduce
        self.tracker = keras.metrics.Mean(name="kl_loss")

    def call(self, inputs):
        mu, log_var = (ops.cast(tensor, "float32") for tensor in inputs)
        k = ops.mean(ops.square(mu) + ops.exp(log_var) - 1 - log_var, axis=-1)
        self.add_loss(self.factor * self.reduce(k))
        self.tracker.update_state(self.factor * k)
        return list(inputs)


def _with_kl_layer(layer, twice=False):
    encoder = encoder_with_layer(SPEC, layer, SEED)
    image = keras.Input(SPEC.image_shape)
    z, mu, log_var = encoder(image)
    if twice:
        z = Sampling(SEED)(layer([mu, log_var]))
    return _images_as_targets(_one_output(build_decoder(SPEC, SEED)(z), image))


def _own_log(model):
    return {"loss": model.loss_tracker.result()}


def _plain_step(optimizer="adam", regularized=False, dropout=False, **options):
    """The training step of many tutorials, on a network in which its omissions matter."""
    model = TRAPS["plain_means"].build(SPEC, weight=WEIGHT, seed=SEED)
    names = {"get_metrics_result": _own_log}
    encoder, decoder, image = _networks()
    if dropout:
        z, mu, log_var = encoder(layers.Dropout(0.5)(image))
        encoder, names = keras.Model(image, [z, mu, log_var]), {**names, "told": {}}
    if regularized:
        encoder.get_layer("mu").kernel.regularizer = keras.regularizers.L2(0.5)
    model = type("_FirstVAE", (type(model),), names)(encoder, decoder, WEIGHT)
    model.compile(optimizer, **options)
    return _images_as_targets(model)


def _trap(name, policy="float32"):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        route = TRAPS[name]
        return _case(route.build(SPEC, weight=WEIGHT, seed=SEED), route.targets(grey_images()))
    finally:
        keras.config.set_dtype_policy(before)


def _route(name, sample_weight=None, target=True):
    route = ROUTES[name]
    y = route.targets(grey_images()) if target else None
    return _case(route.build(SPEC, weight=WEIGHT, seed=SEED), y, sample_weight)


def _weighted(case):
    return {**case, "sample_weight": _sample_weights()}


def _lambda():
    def draw(pair):
        return pair[0] + ops.exp(0.5 * pair[1]) * keras.random.normal(ops.shape(pair[0]))

    return _with_draw(layers.Lambda(draw, output_shape=(SPEC.latent_dim,)), reload=True)


def _flat_softmax():
    x = keras.Input((4,))
    model = _one_output(layers.Dense(1, "softmax")(x), x, "binary_crossentropy")
    data = np.random.default_rng(SEED).normal(size=(8, 4)).astype("float32")
    return _case(model, (data[:, :1] > 0).astype("float32"), x=data)


# Chapters 15 and 16


def _at_the_prior():
    """A trained VAE whose encoder gives every image the prior."""
    case = _with_codes(_route("direct_outputs"))
    for name in ("mu", "log_var"):
        for weight in case["model"].get_layer("encoder").get_layer(name).weights:
            weight.assign(ops.zeros_like(weight))
    case["model"].optimizer.iterations.assign(1)
    return case


def _huge_log_var():
    case = _route("direct_outputs")
    bias = case["model"].get_layer("encoder").get_layer("log_var").bias
    bias.assign(ops.full_like(bias, 100.0))  # exp(100) is beyond float32
    return case


def _missing_labels():
    def missing(b, a):
        return {"b": b, "a": np.where(np.arange(len(a))[:, np.newaxis] < 4, a, np.nan)}

    case = _two_heads({"b": "mse", "a": "mse"}, missing)
    labelled = np.isfinite(case["y"]["a"][:, 0]).astype("float32")
    return {**case, "sample_weight": {"b": np.ones_like(labelled), "a": labelled}}


MISTAKES: dict[str, Mistake] = {
    "exp(log_var) as spread": Mistake(
        2, "kl-other-form", lambda: _with_codes(_with_draw(_WideDraw()))
    ),
    "KL of numbers from before": Mistake(
        3, "kl-absent", lambda: _with_codes(_numbers_of_before())
    ),
    "noise of an integer seed": Mistake(
        4, "same-noise", lambda: _with_draw(_RepeatedDraw(False))
    ),
    "one row of noise": Mistake(4, "same-noise", lambda: _with_draw(_RepeatedDraw(True))),
    "sampling in a Lambda": Mistake(4, "does-not-reload", _lambda),
    "mu and log_var swapped": Mistake(
        5, "kl-other-form", lambda: _with_codes(_three_outputs(swapped=True))
    ),
    "a loss of one number": Mistake(6, "scalar-loss", lambda: _trap("scalar_losses")),
    "weights in a list": Mistake(
        6, "weights-by-position", lambda: _three_outputs(weights=[1.0, 2.0, 3.0])
    ),
    "a misspelt weight": Mistake(
        6,
        "weights-by-position",
        lambda: _three_outputs(weights={"image": 1.0, "mu": 2.0, "log_var": 3.0}),
    ),
    "targets in a list": Mistake(
        6,
        "targets-by-position",
        lambda: _two_heads({"a": "mse", "b": "mae"}, lambda b, a: [b, a]),
    ),
    "no loss for mu": Mistake(
        6, "output-without-loss", lambda: _three_outputs({"mu": "left out"})
    ),
    "the loss of mu is None": Mistake(
        6, "output-without-loss", lambda: _three_outputs({"mu": None})
    ),
    "outputs in a list, one name": Mistake(
        6, "parts-do-not-add-up", lambda: _three_outputs(listed=True)
    ),
    "parts without loss_weights": Mistake(
        6,
        "parts-do-not-add-up",
        lambda: _three_outputs(weights={"reconstruction": 1.0, "mu": 2.0, "log_var": 3.0}),
        harmless=True,
    ),
    "a smaller last batch": Mistake(6, "parts-do-not-add-up", _three_outputs, harmless=True),
    "a metric that is dropped": Mistake(
        6,
        "metrics-not-logged",
        lambda: _two_heads({"b": "mse"}, lambda b, a: b, {"a": ["mae"], "b": ["mae"]}),
    ),
    "labels as targets of mu": Mistake(
        7,
        "target-broadcast",
        lambda: _three_outputs({"mu": "mse"}, targets={"mu": _labels()}),
    ),
    "a KL layer beside the path": Mistake(
        9, "kl-absent", lambda: _with_codes(_beside_the_path())
    ),
    "one number for each image": Mistake(
        9, "sum-over-batch", lambda: _with_kl_layer(_AddKL(reduce=lambda k: k))
    ),
    "a weight that is trained": Mistake(
        9, "loss-weight-trained", lambda: _with_kl_layer(_AddKL(keras.Variable(WEIGHT)))
    ),
    "a tracker that predict moves": Mistake(
        9, "log-moved-by-predict", lambda: _with_kl_layer(_AddKL())
    ),
    "a KL layer called twice": Mistake(
        9, "counted-twice", lambda: _with_kl_layer(KLDivergence(WEIGHT), twice=True)
    ),
    "sample weights and a layer": Mistake(
        9, "sample-weight-ignored", lambda: _weighted(_route("kl_layer"))
    ),
    "sample weights, no target": Mistake(
        10, "sample-weight-ignored", lambda: _weighted(_route("compute_loss", target=False))
    ),
    "a plain mean on two devices": Mistake(
        10, "not-divided-by-replicas", _plain_step, harmless=True
    ),
    "a step that reads x alone": Mistake(
        11, "sample-weight-ignored", lambda: _weighted(_plain_step())
    ),
    "no training flag": Mistake(11, "training-flag-ignored", lambda: _plain_step(dropout=True)),
    "metrics of compile forgotten": Mistake(
        11, "metrics-not-logged", lambda: _plain_step(metrics=["mae"])
    ),
    "regularisers forgotten": Mistake(
        11, "layer-losses-ignored", lambda: _plain_step(regularized=True)
    ),
    "no scale_loss": Mistake(
        11,
        "loss-not-scaled",
        lambda: _plain_step(keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam())),
    ),
    "one number on two devices": Mistake(
        12, "not-divided-by-replicas", lambda: _trap("scalar_losses"), harmless=True
    ),
    "a mean as regulariser": Mistake(12, "divided-by-batch", lambda: _trap("mean_regularizer")),
    "a layer without its cast": Mistake(
        12, "does-not-train", lambda: _trap("layer_without_cast", "mixed_bfloat16")
    ),
    "exp of a large log_var": Mistake(15, "not-finite", _huge_log_var),
    "standardised images as targets": Mistake(
        15,
        "targets-out-of-range",
        lambda: _three_outputs(targets={"reconstruction": 4 * grey_images() - 2}),
    ),
    "posterior collapse": Mistake(15, "posterior-collapsed", _at_the_prior),
    "a NaN label with weight 0": Mistake(16, "nan-target-with-zero-weight", _missing_labels),
    "a softmax of one unit": Mistake(19, "constant-output", _flat_softmax),
}
"""The mistakes by name, in the order of the chapters."""

BEYOND: dict[str, tuple[int, str]] = {
    "codes drawn from another place": (
        1,
        "the loss speaks only about codes of images; what is drawn has to be judged",
    ),
    "the ½ forgotten": (2, "it is another beta, which the report's line for beta tells"),
    "a mean for a sum": (2, "it is another beta, which the report's line for beta tells"),
    "a KL added to each step of a sequence": (
        4,
        "the sum of the batch is right, and only with as many sequences as steps does it run",
    ),
    "the log's number is not the model's": (
        8,
        "it is true of every log; the model has no mistake",
    ),
    "two devices draw the same noise": (
        12,
        "it takes two devices; `vaebook.replicas` has them",
    ),
    "an image of the last batch counts twice": (
        12,
        "it takes two devices; `vaebook.replicas` has them",
    ),
}
"""Mistakes that a model run on one batch does not show, with their chapter and the reason."""
