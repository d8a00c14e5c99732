"""Questions about a model in a `Probe`, answered with numbers.

`audit` asks them about any model, and judges the answers. `vaebook.behaviours` asks them about
the book's routes, which it can also compare with a second implementation. Both call these
functions, so they cannot disagree about what a question means.
"""

import contextlib
import importlib.util
import json
import operator
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from vaebook.audit._probe import REGULARISERS, Probe, Step
from vaebook.audit._state import parts_of

OWN = "its own"
"""The key of what a step adds to its total by itself, outside of any known term."""


def terms_of(step: Step) -> dict[str, float]:
    """Return what each term adds to a step's total, with what the step adds itself."""
    own = step.loss - sum(step.contributions.values())
    return {**step.contributions, OWN: own}


# Sample weights


def left_without_weight(probe: Probe, whole: Step, weights: Any) -> dict[str, float]:
    """Return what each term still adds if every sample weighs 0.

    Args:
        probe: the model under the probe.
        whole: a step with the weights as they are.
        weights: sample weights, in the structure that the step takes.
    """
    zeros = keras.tree.map_structure(
        lambda each: None if each is None else tf.zeros_like(each), weights
    )
    left = terms_of(probe.step(sample_weight=zeros))
    small = 1e-9 * max(1.0, abs(whole.loss))
    own = 1e-6 * abs(whole.loss)  # a difference of float32 numbers
    return {
        key: value
        for key, value in left.items()
        if key != REGULARISERS and not abs(value) <= (own if key == OWN else small)
    }


def weighted_by_mean(probe: Probe, samples: int) -> list[str]:
    """Return the terms for which only the mean of the sample weights counts.

    Two steps, one with rising and one with falling weights of the same mean, give the same
    value of such a term.
    """
    rising = tf.constant(np.linspace(0.1, 1.9, samples), "float32")
    one, other = (
        terms_of(probe.step(sample_weight=each)) for each in (rising, tf.reverse(rising, [0]))
    )
    total = sum(map(abs, one.values()))
    return [
        key
        for key, value in one.items()
        if abs(value) > 1e-6 * total and np.isclose(value, other.get(key, 0.0), rtol=1e-6)
    ]


# Regularisers and metrics


def regularisers(probe: Probe, step: Step) -> tuple[list, float, float]:
    """Return the variables with a regulariser, their penalty, and what it adds to the total."""
    own = [each for each in probe.variables if getattr(each, "regularizer", None) is not None]
    penalty = sum(float(variable.regularizer(variable)) for variable in own)
    return own, penalty, step.contributions.get(REGULARISERS, 0.0)


def logged_metrics(probe: Probe, logs: dict[str, float]) -> tuple[list, list[str], list[str]]:
    """Return the metrics that compile got, the names Keras gave them, and those not logged."""
    compiled = probe.compiled_metrics
    if compiled is None:
        return [], [], []
    given = [compiled._user_metrics or [], compiled._user_weighted_metrics or []]
    wanted = [each for each in keras.tree.flatten(given) if each is not None]
    names = list(compiled.result()) if compiled.built else []
    return wanted, names, [name for name in names if name not in logs]


# The log


def sum_of_parts(logs: dict[str, float]) -> float | None:
    """Return the sum of the logged parts of a loss, or None if there are none."""
    parts = [value for name, value in logs.items() if name.endswith("_loss")]
    return sum(parts) if parts else None


def log_before_and_after_predict(probe: Probe) -> tuple[dict[str, float], dict[str, float]]:
    """Return the log of a training step, and the log after a prediction for zeros."""
    probe.step()
    logs = [probe.model.get_metrics_result()]
    zeros = keras.tree.map_structure(tf.zeros_like, probe.x)
    probe.predict(zeros, rewind=False)
    logs.append(probe.model.get_metrics_result())
    before, after = (
        {name: float(np.mean(v)) for name, v in log.items() if not isinstance(v, dict)}
        for log in logs
    )
    return before, after


def logs_of_batches(probe: Probe, first: int) -> dict[str, float]:
    """Return the log after two batches, the first samples and the rest, evaluated in a graph.

    In a graph, Keras does not know the size of a batch beforehand. In eager mode it does, and
    the parts add up. A model with its own `train_step` and no `test_step` takes training steps.
    """
    kind = type(probe.model)
    trains = (
        kind.train_step is not keras.Model.train_step
        and kind.test_step is keras.Model.test_step
    )
    run = probe.model.train_step if trains else probe.model.test_step
    data = (probe.x, probe.y, probe.sample_weight)
    flat = tf.nest.flatten(data)
    given = [each for each in flat if each is not None]

    @tf.function(
        autograph=False,
        input_signature=[[tf.TensorSpec((None, *t.shape[1:]), t.dtype) for t in given]],
    )
    def traced(tensors):
        remaining = iter(tensors)
        filled = [None if each is None else next(remaining) for each in flat]
        again = tf.nest.pack_sequence_as(data, filled)
        with probe.unwatched():
            return run(keras.utils.pack_x_y_sample_weight(*again))

    probe.state.rewind()
    probe.model.reset_metrics()
    for cut in (slice(None, first), slice(first, None)):
        batch = [tensor[cut] for tensor in given]
        if len(batch[0]):
            logs = traced(batch)
    return {name: float(np.mean(value)) for name, value in logs.items()}


# Saving and loading


@dataclass
class Reloaded:
    """The outcome of saving a model, loading it and taking the same step.

    Attributes:
        error: what was raised, or None.
        place: where it was raised: "file" in saving or loading, "step" in the step.
        differs: those of "weights", "compile", "optimizer", "seeds" that are not as saved.
        step: the step of the loaded model, with the saved one's seeds.
        gradient: the gradient of that step, as one vector.
        needs: what another process must import or define before it loads the file.
    """

    error: Exception | None = None
    place: str = ""
    differs: list[str] = field(default_factory=list)
    step: Step | None = None
    gradient: np.ndarray | None = None
    needs: list[str] = field(default_factory=list)


def reloaded(probe: Probe) -> Reloaded:
    """Save the model, load it in safe mode as a new process would, and take the same step.

    A new process knows only what its imported modules register. This is imitated here: a
    class that was registered in a function, put into `keras.saving.get_custom_objects()` by
    hand or named in a `custom_object_scope` is unknown while the file is loaded.
    """
    answer = Reloaded()
    model = probe.model
    try:
        with tempfile.TemporaryDirectory() as folder, _as_in_a_new_process():
            path = Path(folder, "model.keras")
            with probe.as_compiled():
                model.save(path)
            answer.needs = _needs(path)
            copy = keras.saving.load_model(path, safe_mode=True)
    except Exception as error:
        answer.error, answer.place = error, "file"
        return answer
    if not _equal(model.get_weights(), copy.get_weights()):
        answer.differs.append("weights")
    if not copy.compiled or copy.optimizer is None:
        answer.differs.append("compile")
        return answer
    states = [[v.numpy() for v in each.optimizer.variables] for each in (model, copy)]
    if model.optimizer.built and not _equal(*states):  # loading may build it, saving does not
        answer.differs.append("optimizer")
    seeds, others = (_seeds(each) for each in (model, copy))
    if not _equal(*([each.state.numpy() for each in found] for found in (seeds, others))):
        answer.differs.append("seeds")

    def copy_seeds():
        if len(seeds) == len(others):
            for source, target in zip(seeds, others, strict=True):
                target.state.assign(source.state)

    try:
        with Probe(copy, probe.x, probe.y, probe.sample_weight) as other:
            probe.state.rewind()
            copy_seeds()
            answer.step = other.step(prepare=copy_seeds)
            answer.gradient = answer.step.flat(other.variables)
    except Exception as error:
        answer.error, answer.place = error, "step"
    return answer


def _seeds(model):
    return [part for part in parts_of(model) if isinstance(part, keras.random.SeedGenerator)]


def _equal(ones, others):
    return len(ones) == len(others) and all(map(np.array_equal, ones, others))


@contextlib.contextmanager
def _as_in_a_new_process() -> Iterator[None]:
    """Let Keras know only the classes and functions that are registered by an import."""
    registry = keras.saving.get_custom_objects()
    before = dict(registry)
    registry.clear()
    registry.update({name: each for name, each in before.items() if _by_import(name, each)})
    try:
        with keras.saving.custom_object_scope({}):
            yield
    finally:
        registry.clear()
        registry.update(before)


def _by_import(name, registered):
    """Tell whether the module of a registered object registers it when it is imported.

    A notebook or script counts as its own module: it defines its classes when it is run.
    """
    module = getattr(registered, "__module__", None)
    try:
        found = operator.attrgetter(registered.__qualname__)(sys.modules[module])
        importable = module == "__main__" or importlib.util.find_spec(module) is not None
    except (AttributeError, KeyError, ValueError, ImportError):
        return False
    return ">" in name and importable and found is registered


def _needs(path):
    """Read from a file which modules, other than Keras's, register what it contains."""
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
    registry, waiting, needs = keras.saving.get_custom_objects(), [config], set()
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            waiting += found.values()
        elif isinstance(found, list):
            waiting += found
        elif isinstance(found, str) and found in registry:
            module = registry[found].__module__
            needs.add(registry[found].__qualname__ if module == "__main__" else module)
    return sorted(needs)
