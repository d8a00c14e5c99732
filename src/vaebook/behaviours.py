"""The behaviours in which ways to attach a loss differ, found out by running each route.

`check(route, behaviour)` runs one check and returns a cell of the table of behaviours:
whether the route does the right thing, what it does in words, and a number if there is one.
The checks run on `ROUTES`, and on `vaebook.traps.TRAPS`, which train without complaint and
are wrong. The checks that need a process of their own are in `vaebook.replicas`.

Some checks are also checks of `vaebook.audit`, and call its functions: those of sample
weights, the log, metrics, regularisers, saving and loading. Besides, a route has a reference,
a second implementation that shares no code with it. Its gradient is compared with that of the
reference in every way to run it. An unknown model has no reference, so `audit` cannot do so.
"""

import contextlib
import functools
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import keras
import numpy as np
import tensorflow as tf
from vaebook._small import (
    EXACT,
    IMAGES,
    ROUGH,
    SAMPLE_WEIGHTS,
    SPEC,
    WEIGHT,
    build_small,
    cell,
    grey_images,
    noise_of,
    reference_of,
)
from vaebook._small import SEED as SEED
from vaebook.audit._probe import Probe
from vaebook.audit._questions import (
    left_without_weight,
    log_before_and_after_predict,
    logged_metrics,
    logs_of_batches,
    regularisers,
    reloaded,
    sum_of_parts,
    weighted_by_mean,
)
from vaebook.reference import GradientKeeper, relative_error
from vaebook.replicas import REPLICA_CHECKS as REPLICA_CHECKS
from vaebook.replicas import TRAP_REPLICA_CHECKS as TRAP_REPLICA_CHECKS
from vaebook.replicas import check_on_replicas as check_on_replicas
from vaebook.replicas import check_reloading
from vaebook.routes import ROUTES, Route
from vaebook.training import weight_variable
from vaebook.traps import TRAPS as TRAPS


def _reference(route, compiled=False, factors=1.0, kl_factors=WEIGHT):
    model = build_small(route if route.reference else ROUTES["direct_outputs"])
    noise = noise_of(model, IMAGES, compiled)
    right = reference_of(route)
    return right(model.get_weights(), grey_images(), noise, factors, kl_factors)


def _gradient_cell(route, tolerance, compiled=False, **options):
    keeper = GradientKeeper()
    model = build_small(route, optimizer=keeper, **options)
    return _gradient_cell_of(model, keeper, route, tolerance, compiled)


def _gradient_cell_of(model, keeper, route, tolerance, compiled=False):
    x = grey_images()
    loss = model.train_on_batch(x, route.targets(x), return_dict=True)["loss"]
    expected, right = _reference(route, compiled)
    error = relative_error(keeper.kept, right)
    holds = error < tolerance and abs(loss / expected - 1) < tolerance
    return cell(holds, "gradient right" if holds else "gradient wrong", error)


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


def _probe(route, model=None, **options):
    """Put a small model of a route under the probe of `vaebook.audit`."""
    x = grey_images()
    model = model or build_small(route, run_eagerly=True, **options)
    return Probe(model, *keras.tree.map_structure(tf.constant, (x, route.targets(x))))


def _gradients(probe, step):
    """Return the gradient of a step under the probe, in the order of the weights."""
    zeros = (np.zeros(variable.shape) for variable in probe.variables)
    return [
        step.gradients.get(id(variable), zero)
        for variable, zero in zip(probe.variables, zeros, strict=True)
    ]


def sample_weight(route):
    """Which terms a sample_weight of shape (batch,) reaches, told from the gradient."""
    weights = tf.constant(SAMPLE_WEIGHTS)
    with _probe(route) as probe:
        whole = probe.step()
        left = sum(left_without_weight(probe, whole, weights).values())
        blind = weighted_by_mean(probe, IMAGES)
        received = _gradients(probe, probe.step(sample_weight=weights))
        terms = [key for key, value in whole.contributions.items() if value]
    loss, _ = _reference(route)
    kl, _ = _reference(route, factors=0.0)
    factors = (SAMPLE_WEIGHTS, SAMPLE_WEIGHTS * WEIGHT)
    _, right = _reference(route, factors=factors[0], kl_factors=factors[1])
    error = relative_error(received, right)
    reached = {kl: "reconstruction only", loss: "neither", 0.0: "both terms"}
    found = [words for value, words in reached.items() if abs(left - value) < 10 * EXACT * loss]
    shows = found[0] if found else "something else"
    if shows == "both terms" and blind:
        by_mean = len(blind) >= max(1, len(terms))
        shows = "both by the mean weight" if by_mean else "KL by the mean weight"
    elif shows == "both terms" and error > EXACT:
        shows = "something else"
    return cell(shows == "both terms", shows, error)


def _uneven_logs(route):
    """Evaluate 6 and 2 images; return the logs and the mean loss over the images."""
    x = grey_images()
    model = build_small(route if route.reference else ROUTES["direct_outputs"])
    weights, right = model.get_weights(), reference_of(route)
    expected = 0.0
    for part in (x[:6], x[6:]):
        loss, _ = right(weights, part, noise_of(model, len(part)), 1.0, WEIGHT)
        expected += loss * len(part) / IMAGES
    with _probe(route, build_small(route)) as probe:
        probe.step()
        return logs_of_batches(probe, 6), expected


def last_batch(route):
    """Whether the logged loss weighs a smaller last batch by its size."""
    logs, expected = _uneven_logs(route)
    ratio = logs["loss"] / expected
    holds = abs(ratio - 1) < EXACT
    return cell(holds, "by its size" if holds else "loss wrong", ratio)


def parts_of_last_batch(route):
    """Whether the logged parts still add up to the loss when the last batch is smaller."""
    logs, _ = _uneven_logs(route)
    ratio = _parts(logs) / logs["loss"]
    holds = abs(ratio - 1) < EXACT
    return cell(holds, "add up" if holds else "do not add up", ratio)


def _parts(logs):
    return sum_of_parts(logs) or 0.0


def logs(route):
    """What `evaluate` and `fit` log, and whether the parts add up to the loss."""
    x = grey_images()
    model = build_small(route, run_eagerly=True)
    evaluated = model.evaluate(x, route.targets(x), verbose=0, return_dict=True)
    fitted = model.fit(
        x, route.targets(x), validation_data=(x, route.targets(x)), verbose=0
    ).history
    names = sorted(evaluated, key=lambda name: (name != "loss", "recon" not in name, name))
    same = sorted(fitted) == sorted([*names, *(f"val_{name}" for name in names)])
    ratio = _parts(evaluated) / evaluated["loss"]
    holds = same and "reconstruction_loss" in names and abs(ratio - 1) < EXACT
    return cell(holds, ", ".join(names), ratio)


def predict(route):
    """What `predict` returns."""
    x = grey_images()
    predicted = build_small(route, run_eagerly=True).predict(x, verbose=0)
    if isinstance(predicted, Mapping):
        image = predicted["reconstruction"]
        return cell(image.shape == x.shape, "a dict of " + ", ".join(predicted))
    return cell(predicted.shape == x.shape, "the image")


def without_target(route):
    """Whether `fit(x)` trains without a target."""
    try:
        build_small(route, run_eagerly=True).fit(grey_images(), verbose=0)
    except (ValueError, TypeError) as error:
        return cell(False, type(error).__name__)
    return cell(True, "trains")


def save_and_load(route):
    """Whether a model loaded in safe mode from `.keras` goes on training as the saved one."""
    x = grey_images()
    model = build_small(route, run_eagerly=True)
    model.train_on_batch(x, route.targets(x))
    with _probe(route, model) as probe:
        step, answer = probe.step(), reloaded(probe)
        if answer.error is not None:
            return cell(False, type(answer.error).__name__)
        one, other = step.flat(probe.variables), answer.gradient
    # Weights, optimizer and seeds are as saved, so the same gradient is the same next step.
    holds = not answer.differs and step.loss == answer.step.loss and np.array_equal(one, other)
    return cell(holds, "goes on" if holds else "loads and differs")


def steps_per_execution(route):
    """Whether two steps in one call train as one step at a time."""
    trained = []
    for steps in (1, 2):
        model = build_small(route, steps_per_execution=steps, optimizer="sgd")
        x = grey_images()
        model.fit(x, route.targets(x), batch_size=4, shuffle=False, verbose=0)
        trained.append(model.get_weights())
    error = relative_error(*trained)
    return cell(error < EXACT, "same weights" if error < EXACT else "other weights", error)


@contextlib.contextmanager
def _a_gpu_in_sight():
    """Let Keras find a GPU when it decides what jit_compile="auto" means."""
    devices = [*tf.config.list_physical_devices(), tf.config.PhysicalDevice("/gpu:0", "GPU")]
    with mock.patch.object(tf.config, "list_physical_devices", return_value=devices):
        yield


def gpu_default(route):
    """What Keras's default, jit_compile="auto", chooses on a GPU, run on this processor."""
    keeper = GradientKeeper()
    with _a_gpu_in_sight():
        model = build_small(route, optimizer=keeper)
        compiled = bool(model.jit_compile)
    found = _gradient_cell_of(model, keeper, route, EXACT, compiled)
    return {**found, "shows": f"{'XLA' if compiled else 'no XLA'}, {found['shows']}"}


def regularizer(route):
    """Whether a `kernel_regularizer` in the encoder counts in the loss and the gradient."""
    model = build_small(route, run_eagerly=True)
    kernel = model.get_layer("encoder").get_layer("mu").kernel
    kernel.regularizer = keras.regularizers.L2(0.5)  # ½ w², whose gradient is w
    w = kernel.numpy().astype("float64")
    with _probe(route, model) as probe:
        step = probe.step()
        _, penalty, adds = regularisers(probe, step)
        received = _gradients(probe, step)
        index = [id(variable) for variable in probe.variables].index(id(kernel))
    loss, right = _reference(route)
    right[index] = right[index] + w
    error = relative_error(received, right)
    holds = (
        error < EXACT
        and abs(adds / penalty - 1) < EXACT
        and abs(step.loss / (loss + np.sum(w**2) / 2) - 1) < EXACT
    )
    return cell(holds, "counts" if holds else "does not count", error)


def metrics(route):
    """Whether a metric given to `compile` for the reconstruction reaches the log."""
    x = grey_images()
    predicted = build_small(route)(x)
    metric = [keras.metrics.MeanAbsoluteError(name="mae")]
    if isinstance(predicted, Mapping):
        predicted, metric = predicted["reconstruction"], {"reconstruction": metric}
    with _probe(route, metrics=metric) as probe:
        logs = logs_of_batches(probe, IMAGES)
        _, names, missing = logged_metrics(probe, logs)
    names = [name for name in names if name.endswith("mae") and name not in missing]
    if not names:
        return cell(False, "not logged")
    ratio = logs[names[0]] / float(np.mean(np.abs(x - predicted)))
    return cell(abs(ratio - 1) < EXACT, ", ".join(names), ratio)


def predict_in_a_callback(route):
    """Whether `predict` in a callback leaves the logged KL term of `fit` as it is."""
    with _probe(route) as probe:
        before, after = log_before_and_after_predict(probe)
    if "reconstruction_loss" not in before:
        return cell(False, "no parts logged")
    ratio = _kl_of(after) / _kl_of(before)
    holds = abs(ratio - 1) < EXACT
    return cell(holds, "log unchanged" if holds else "log changed", ratio)


def _kl_of(logs):
    return _parts(logs) - logs["reconstruction_loss"]


@functools.cache
def _all_reloaded():
    return check_reloading({**ROUTES, **TRAPS})


def reload_in_another_process(route):
    """Whether a model loaded in another process, after `import vaebook`, goes on training."""
    if route in [*ROUTES.values(), *TRAPS.values()]:
        return _all_reloaded()[route.name]  # a process takes seconds to start
    return check_reloading({route.name: route})[route.name]


def anneal_after_load(route):
    """Whether a loaded model has a variable for its weight that moves its loss."""
    x = grey_images()
    y = route.targets(x)
    weight = keras.Variable(WEIGHT)
    model = build_small(route, weight=weight, run_eagerly=True)
    model.train_on_batch(x, y)
    weight.assign(0.5)
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder, "model.keras"))
        loaded = keras.saving.load_model(Path(folder, "model.keras"), safe_mode=True)
    found = []
    for factor in (1.0, 2.0):
        its_own = weight_variable(loaded)
        its_own.assign(factor * its_own)
        found.append(_kl_of(loaded.evaluate(x, y, verbose=0, return_dict=True)))
    kl = _kl_of(model.evaluate(x, y, verbose=0, return_dict=True))
    ratio = found[1] / kl
    holds = abs(found[0] / kl - 1) < EXACT and abs(ratio - 2) < EXACT
    return cell(holds, "goes on" if holds else "does not follow", ratio)


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
        reload_in_another_process,
        anneal_after_load,
        predict,
        predict_in_a_callback,
        without_target,
        regularizer,
        metrics,
        gpu_default,
    )
}
"""The checks that run in any process, by name."""


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
        return cell(False, type(error).__name__)
