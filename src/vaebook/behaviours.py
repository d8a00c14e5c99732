"""What each route does where ways to attach a loss differ, found out by running it.

`check(route, behaviour)` runs one check and returns a cell of the table of behaviours:
whether the route does the right thing, what it does in words, and a figure where there is
one. `ROUTES` are checked, and `TRAPS`, which train without complaint and are wrong.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from vaebook.layers import KLDivergence
from vaebook.losses import ImageCrossentropy
from vaebook.models import TrainStepVAE
from vaebook.networks import NetworkSpec, build_decoder, build_encoder
from vaebook.reference import (
    GradientKeeper,
    flat,
    loss_and_gradients,
    losses_of_images,
    relative_error,
)
from vaebook.routes import ROUTES, Route, image_targets, three_targets

SPEC = NetworkSpec(
    image_shape=(8, 8, 1),
    latent_dim=3,
    encoder_filters=(4,),
    encoder_kernels=(3,),
    encoder_strides=(2,),
    decoder_filters=(1,),
    decoder_kernels=(3,),
    decoder_strides=(2,),
)
"""A network so small that a check takes a second or so."""

WEIGHT, SEED, IMAGES = 0.25, 1, 8
SAMPLE_WEIGHTS = np.array([0, 1, 2, 0.5, 0, 3, 1, 0.25], "float32")
EXACT, ROUGH = 1e-6, 5e-2  # tolerances of a gradient in float32 and in bfloat16


def _images():
    """Grey images, of which the last two, the smaller batch, are near black."""
    x = np.random.default_rng(0).uniform(size=(IMAGES, *SPEC.image_shape)).astype("float32")
    x[-2:] **= 8
    return x


def _build(route, **options):
    return route.build(SPEC, weight=WEIGHT, seed=SEED, **options)


def _noise(model, n, compiled=False):
    """Return the next noise that the model's sampling would draw, (n, latent_dim)."""
    sampling = model.get_layer("encoder").get_layer("z")
    draw = tf.function(lambda: sampling.noise((n, SPEC.latent_dim)), jit_compile=compiled)
    return draw().numpy()


def _cell(holds, shows, value=None):
    return {"holds": bool(holds), "shows": shows, "value": value}


def _step(route, sample_weight=None, **options):
    """Train one batch; return its loss and the gradient that the optimizer was given."""
    keeper = GradientKeeper()
    model = _build(route, optimizer=keeper, **options)
    x = _images()
    logs = model.train_on_batch(x, route.targets(x), sample_weight, return_dict=True)
    return logs["loss"], keeper.kept


def _reference(compiled=False, factors=1.0, kl_factors=WEIGHT):
    model = _build(ROUTES["direct_outputs"])
    noise = _noise(model, IMAGES, compiled)
    return loss_and_gradients(SPEC, model.get_weights(), _images(), noise, factors, kl_factors)


def _gradient_cell(route, tolerance, compiled=False, **options):
    loss, gradients = _step(route, **options)
    expected, right = _reference(compiled)
    error = relative_error(gradients, right)
    holds = error < tolerance and abs(loss / expected - 1) < tolerance
    return _cell(holds, "gradient right" if holds else "gradient wrong", error)


def graph(route):
    """Keras's default: the gradient of a compiled training step."""
    return _gradient_cell(route, EXACT)


def eager(route):
    """The gradient with `run_eagerly=True`."""
    return _gradient_cell(route, EXACT, run_eagerly=True)


def xla(route):
    """The gradient with `jit_compile=True`. XLA draws a stream of noise of its own."""
    return _gradient_cell(route, EXACT, compiled=True, jit_compile=True)


def bfloat16(route):
    """The gradient under mixed_bfloat16, to the precision of its 8 bits."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        return _gradient_cell(route, ROUGH)
    finally:
        keras.config.set_dtype_policy(before)


def sample_weight(route):
    """Which terms a sample_weight of shape (batch,) reaches, told from the gradient."""
    _, gradients = _step(route, SAMPLE_WEIGHTS, run_eagerly=True)
    mean = float(SAMPLE_WEIGHTS.mean())
    candidates = {
        "both terms": (SAMPLE_WEIGHTS, SAMPLE_WEIGHTS * WEIGHT),
        "reconstruction only": (SAMPLE_WEIGHTS, WEIGHT),
        "KL by the mean weight": (SAMPLE_WEIGHTS, mean * WEIGHT),
        "both by the mean weight": (mean, mean * WEIGHT),
        "neither": (1.0, WEIGHT),
    }
    errors = {
        name: relative_error(gradients, _reference(factors=factors, kl_factors=kl)[1])
        for name, (factors, kl) in candidates.items()
    }
    best = min(errors, key=errors.get)
    if errors[best] > EXACT:
        return _cell(False, "something else", errors["both terms"])
    return _cell(best == "both terms", best, errors["both terms"])


def _uneven_logs(route):
    """Evaluate 6 and 2 images; return the logs and the mean loss over the images."""
    x = _images()
    model = _build(ROUTES["direct_outputs"])
    weights = model.get_weights()
    expected = 0.0
    for part in (x[:6], x[6:]):
        reconstruction, k = losses_of_images(SPEC, weights, part, _noise(model, len(part)))
        expected += float(np.sum(reconstruction + WEIGHT * k)) / IMAGES
    # In a graph: in eager mode Keras knows the size of a batch, and its parts do add up.
    logs = _build(route).evaluate(
        x, route.targets(x), batch_size=6, verbose=0, return_dict=True
    )
    return logs, expected


def last_batch(route):
    """Whether the logged loss weighs a smaller last batch by its size."""
    logs, expected = _uneven_logs(route)
    ratio = logs["loss"] / expected
    holds = abs(ratio - 1) < EXACT
    return _cell(holds, "by its size" if holds else "loss wrong", ratio)


def parts_of_last_batch(route):
    """Whether the logged parts still add up to the loss when the last batch is smaller."""
    logs, _ = _uneven_logs(route)
    ratio = _sum_of_parts(logs) / logs["loss"]
    holds = abs(ratio - 1) < EXACT
    return _cell(holds, "add up" if holds else "do not add up", ratio)


def _sum_of_parts(logs):
    return sum(value for name, value in logs.items() if name != "loss")


def logs(route):
    """What `evaluate` and `fit` log, and whether the parts add up to the loss."""
    x = _images()
    model = _build(route, run_eagerly=True)
    evaluated = model.evaluate(x, route.targets(x), verbose=0, return_dict=True)
    fitted = model.fit(
        x, route.targets(x), validation_data=(x, route.targets(x)), verbose=0
    ).history
    names = sorted(evaluated, key=lambda name: (name != "loss", "recon" not in name, name))
    same = sorted(fitted) == sorted([*names, *(f"val_{name}" for name in names)])
    ratio = _sum_of_parts(evaluated) / evaluated["loss"]
    holds = same and "reconstruction_loss" in names and abs(ratio - 1) < EXACT
    return _cell(holds, ", ".join(names), ratio)


def predict(route):
    """What `predict` returns."""
    x = _images()
    predicted = _build(route, run_eagerly=True).predict(x, verbose=0)
    if isinstance(predicted, Mapping):
        image = predicted["reconstruction"]
        return _cell(image.shape == x.shape, "a dict of " + ", ".join(predicted))
    return _cell(predicted.shape == x.shape, "the image")


def without_target(route):
    """Whether `fit(x)` trains where no target is given."""
    try:
        _build(route, run_eagerly=True).fit(_images(), verbose=0)
    except (ValueError, TypeError) as error:
        return _cell(False, type(error).__name__)
    return _cell(True, "trains")


def save_and_load(route):
    """Whether a `.keras` file, loaded in safe mode, goes on with training where it stopped."""
    x = _images()
    y = route.targets(x)
    model = _build(route, run_eagerly=True)
    model.train_on_batch(x, y)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.keras")
        model.save(path)
        try:
            copy = keras.saving.load_model(path, safe_mode=True)
        except (TypeError, ValueError) as error:
            return _cell(False, type(error).__name__)
    model.reset_metrics()  # Keras 3.13 keeps the mean over all batches until now
    one, other = (each.train_on_batch(x, y, return_dict=True) for each in (model, copy))
    holds = one == other and all(
        np.array_equal(a, b)
        for a, b in zip(model.get_weights(), copy.get_weights(), strict=True)
    )
    return _cell(holds, "goes on" if holds else "loads and differs")


def steps_per_execution(route):
    """Whether two steps in one call train as one step at a time."""
    trained = []
    for steps in (1, 2):
        model = _build(route, steps_per_execution=steps, optimizer="sgd")
        x = _images()
        model.fit(x, route.targets(x), batch_size=4, shuffle=False, verbose=0)
        trained.append(model.get_weights())
    error = relative_error(*trained)
    return _cell(error < EXACT, "same weights" if error < EXACT else "other weights", error)


CHECKS: dict[str, Callable[[Route], dict[str, Any]]] = {
    check.__name__: check
    for check in (
        graph,
        eager,
        xla,
        bfloat16,
        sample_weight,
        last_batch,
        logs,
        parts_of_last_batch,
        steps_per_execution,
        save_and_load,
        predict,
        without_target,
    )
}
"""The checks that run in any process, by name."""

TRAP_REPLICA_CHECKS = ("replicas", "replica_noise")
REPLICA_CHECKS = (*TRAP_REPLICA_CHECKS, "uneven_on_replicas", "xla_on_replicas")
"""The checks that need two replicas, and with them a process of their own.

`replicas`: a and b of the gradient a · ∇reconstruction + b · ∇KL; right is 1, 1.
`replica_noise`: whether each replica draws its own noise.
`uneven_on_replicas`: in a last batch of 3 images, how much the mean gradient of one replica's
2 images counts, and that of the other's 1 image; right is ⅔, ⅓.
`xla_on_replicas`: whether `jit_compile=True` trains.

Traps are checked for the first two only.
"""


def check(route: Route, behaviour: str) -> dict[str, Any]:
    """Run one check and return its cell: {"holds": …, "shows": …, "value": …}.

    An error of Keras is an outcome too: the cell then shows the error's type.

    Raises:
        ValueError: for an unknown behaviour.
    """
    if behaviour not in CHECKS:
        raise ValueError(
            f"Expected a behaviour out of {list(CHECKS)}. Received: {behaviour!r}."
        )
    try:
        return CHECKS[behaviour](route)
    except (TypeError, ValueError, NotImplementedError) as error:
        return _cell(False, type(error).__name__)


def check_on_replicas() -> dict[str, dict[str, dict[str, Any]]]:
    """Train every route and trap on two replicas; return cells by name and behaviour.

    TensorFlow takes a second set of replicas in one process badly, and can divide a
    processor only before its first use. So this runs in a process of its own.
    """
    answer = subprocess.run(
        [sys.executable, "-m", "vaebook.behaviours"], capture_output=True, text=True
    )
    if answer.returncode:
        raise RuntimeError(f"Expected the replicas' process to end well: {answer.stderr}")
    return json.loads(answer.stdout.splitlines()[-1])


def _built_on_replicas(strategy, route, batches):
    """Build a model; return it, its optimizer, and the noise that each replica will draw.

    `batches` are pairs: how many images of a batch the first and the second replica get.
    """
    with strategy.scope():
        keeper = GradientKeeper()
        model = _build(route, optimizer=keeper)
    sampling = model.get_layer("encoder").get_layer("z")
    state = sampling.seed_generator.state.numpy()

    @tf.function
    def draw():
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        return [
            sampling.noise((tf.constant(shares)[replica], SPEC.latent_dim))
            for shares in batches
        ]

    drawn = [[value.numpy() for value in noise.values] for noise in strategy.run(draw)]
    with strategy.scope():
        sampling.seed_generator.state.assign(state)
    return model, keeper, drawn


def _fit(gradient, parts):
    """Return the least-squares factors of some gradients, and whether they explain one."""
    matrix, received = np.stack([flat(part) for part in parts], axis=1), flat(gradient)
    factors, *_ = np.linalg.lstsq(matrix, received)
    rest = np.linalg.norm(matrix @ factors - received) / np.linalg.norm(received)
    return [float(factor) for factor in factors], bool(rest < EXACT)


def _cells_of_an_even_batch(strategy, route):
    """Fit the gradient of a batch of 8 images on two replicas."""
    x, half = _images(), IMAGES // 2
    model, keeper, [drawn] = _built_on_replicas(strategy, route, [(half, half)])
    noise = np.concatenate(drawn)
    # Not train_on_batch, which hands the whole batch to each replica.
    model.fit(x, route.targets(x), batch_size=IMAGES, shuffle=False, verbose=0)
    parts = [
        loss_and_gradients(SPEC, model.get_weights(), x, noise, *factors)[1]
        for factors in ((1.0, 0.0), (0.0, WEIGHT))
    ]
    (a, b), fits = _fit(keeper.kept, parts)
    # The noise is what the gradient was fitted with: where it does not fit, the training
    # step drew another.
    differs = fits and not np.array_equal(*drawn)
    shows = f"{a:.3f}, {b:.3f}" if fits else "no combination of the two"
    return {
        "replicas": _cell(fits and np.allclose((a, b), 1, atol=1e-5), shows, [a, b]),
        "replica_noise": _cell(differs, "differs" if differs else "same or unknown"),
    }


def _cell_of_an_uneven_batch(strategy, route):
    """Fit the gradient of a last batch of 3 images, 2 for one replica and 1 for the other."""
    x = np.concatenate([_images(), _images()[:3]])
    half = IMAGES // 2
    model, keeper, drawn = _built_on_replicas(strategy, route, [(half, half), (2, 1)])
    model.fit(x, route.targets(x), batch_size=IMAGES, shuffle=False, verbose=0)
    parts = [
        loss_and_gradients(SPEC, model.get_weights(), share, noise, 1.0, WEIGHT)[1]
        for share, noise in zip((x[-3:-1], x[-1:]), drawn[-1], strict=True)
    ]
    factors, fits = _fit(keeper.kept, parts)
    right = fits and np.allclose(factors, (2 / 3, 1 / 3), atol=1e-5)
    shows = "{:.3f}, {:.3f}".format(*factors) if fits else "no combination of the two"
    return _cell(right, shows, factors)


def _cell_of_xla(strategy, route):
    x = _images()
    with strategy.scope():
        model = _build(route, jit_compile=True)
    try:
        model.fit(x, route.targets(x), batch_size=IMAGES, verbose=0)
    except tf.errors.InvalidArgumentError as error:
        return _cell(False, type(error).__name__)
    return _cell(True, "trains")


def _on_two_replicas():
    """Print the cells of every route and trap as one line of JSON."""
    tf.get_logger().setLevel("ERROR")  # it warns of many models, which are meant
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, 2 * [tf.config.LogicalDeviceConfiguration()]
    )
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    cells = {
        name: _cells_of_an_even_batch(strategy, route)
        for name, route in {**ROUTES, **TRAPS}.items()
    }
    for name, route in ROUTES.items():
        cells[name]["uneven_on_replicas"] = _cell_of_an_uneven_batch(strategy, route)
        cells[name]["xla_on_replicas"] = _cell_of_xla(strategy, route)
    print(json.dumps(cells))


def _build_scalar_losses(spec, weight=1.0, optimizer="adam", seed=None, **compile_options):
    """Part VI as printed: two of the losses return one number for the whole batch."""

    def mu_loss(target, mu):
        return weight * ops.mean(ops.square(mu))

    def log_var_loss(target, log_var):
        return weight * ops.mean(ops.exp(log_var) - 1 - log_var)

    encoder, decoder = build_encoder(spec, seed), build_decoder(spec, seed)
    image = keras.Input(spec.image_shape, name="image")
    z, mu, log_var = encoder(image)
    outputs = {"reconstruction": decoder(z), "mu": mu, "log_var": log_var}
    model = keras.Model(image, outputs, name="vae")
    model.compile(
        optimizer=optimizer,
        loss={"reconstruction": ImageCrossentropy(), "mu": mu_loss, "log_var": log_var_loss},
        **compile_options,
    )
    return model


class _PlainMeanVAE(TrainStepVAE):
    """The training step of many tutorials: plain means, and x alone."""

    def train_step(self, data):
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            z, mu, log_var = self.encoder(x, training=True)
            guess = self.decoder(z, training=True)
            reconstruction = ops.mean(ops.binary_crossentropy(x, guess))
            k = ops.square(mu) + ops.exp(log_var) - 1 - log_var
            kl = self.divergence.weight * ops.mean(k)
            loss = reconstruction + kl
        variables = self.trainable_variables
        gradients = tape.gradient(loss, variables)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        self.reconstruction_tracker.update_state(reconstruction)
        self.kl_tracker.update_state(kl)
        return self.get_metrics_result()


def _build_plain_means(spec, weight=1.0, optimizer="adam", seed=None, **compile_options):
    """Part VIII as it is mostly seen: nothing is divided by the number of replicas."""
    model = _PlainMeanVAE(build_encoder(spec, seed), build_decoder(spec, seed), weight)
    model.compile(optimizer=optimizer, **compile_options)
    return model


class _LayerWithoutCast(KLDivergence):
    """Part V as it is mostly seen: the loss is added in the layer's own precision."""

    def call(self, inputs):
        mu, log_var = inputs
        k = ops.square(mu) + ops.exp(log_var) - 1 - log_var
        self.add_loss(self.divergence.weight * ops.mean(k))
        return list(inputs)


class _MeanRegularizer(keras.regularizers.Regularizer):
    """The KL term as a regulariser of the stacked mu and log_var, meaned over the batch."""

    def __init__(self, weight):
        self.weight = weight

    def __call__(self, stacked):
        mu, log_var = stacked[:, 0], stacked[:, 1]
        k = ops.square(mu) + ops.exp(log_var) - 1 - log_var
        return self.weight * ops.mean(k)


def _build_with_layer(make_layer):
    """Return a builder that puts a layer between mu, log_var and the sampling."""

    def build(spec, weight=1.0, optimizer="adam", seed=None, **compile_options):
        plain, decoder = build_encoder(spec, seed), build_decoder(spec, seed)
        mu_and_log_var = make_layer(weight)(plain.outputs[1:])
        z = plain.get_layer("z")(mu_and_log_var)
        encoder = keras.Model(plain.input, [z, *mu_and_log_var], name="encoder")
        image = keras.Input(spec.image_shape, name="image")
        model = keras.Model(image, decoder(encoder(image)[0]), name="vae")
        model.compile(optimizer=optimizer, loss=ImageCrossentropy(), **compile_options)
        return model

    return build


class _Regularized(keras.layers.Layer):
    def __init__(self, weight):
        super().__init__()
        self.inner = keras.layers.Activation(
            "linear", activity_regularizer=_MeanRegularizer(weight)
        )

    def call(self, inputs):
        return ops.unstack(self.inner(ops.stack(inputs, axis=1)), num=2, axis=1)


TRAPS: dict[str, Route] = {
    route.name: route
    for route in (
        Route("scalar_losses", _build_scalar_losses, three_targets),
        Route("plain_means", _build_plain_means, image_targets),
        Route("layer_without_cast", _build_with_layer(_LayerWithoutCast), image_targets),
        Route("mean_regularizer", _build_with_layer(_Regularized), image_targets),
    )
}
"""Ways to attach the KL term that are seen in the wild, and what is wrong with each:
`scalar_losses` return one number for the batch; the training step of `plain_means` knows of
no replicas and no sample weights; `layer_without_cast` adds a bfloat16 loss;
`mean_regularizer` takes a mean that Keras, since 3.14, divides by the batch size once more."""


if __name__ == "__main__":
    _on_two_replicas()
