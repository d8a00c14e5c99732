"""Run a model as often as needed, and leave no trace.

`Preserved(model)` remembers everything that a training step may change: weights, optimizer,
metrics, seeds, attributes of layers, and the random state of Python, NumPy, TensorFlow and
Keras. `rewind()` sets the values back, so that the next run starts where the last one did and
draws the same noise. Leaving the context restores everything, Python attributes included.
"""

import gc
import random
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

# Keras and TensorFlow have no public way to read these two states. Tests notice if they move.
from keras.src.backend.common import global_state
from tensorflow.python.eager import context as tf_context

_FOLLOWED = (
    keras.Operation,  # layers and models as well
    keras.optimizers.Optimizer,
    keras.losses.Loss,
    keras.metrics.Metric,
    keras.random.SeedGenerator,
)
_LARGEST_CONTAINER = 10_000  # a longer list in an attribute is data, and holds no layers
_SEED = 0


def parts_of(root: Any) -> Iterator[Any]:
    """Yield an object, and the layers, optimizers, losses, metrics and seeds that it holds."""
    seen, waiting = set(), [root]
    while waiting:
        found = waiting.pop()
        if id(found) in seen:
            continue
        seen.add(id(found))
        if isinstance(found, _FOLLOWED):
            yield found
            inside = list(vars(found).values())
        elif isinstance(found, list | tuple | set):
            inside = list(found)
        elif isinstance(found, dict):
            inside = list(found.values())
        else:
            continue
        if len(inside) <= _LARGEST_CONTAINER:
            waiting.extend(reversed(inside))


def _attributes(found):
    """Yield the variables in an object's attributes, or in containers that these hold."""
    for value in vars(found).values():
        inside = [value]
        if isinstance(value, list | tuple) and len(value) <= _LARGEST_CONTAINER:
            inside = value
        elif isinstance(value, dict) and len(value) <= _LARGEST_CONTAINER:
            inside = value.values()
        for each in inside:
            if isinstance(each, keras.Variable | tf.Variable):
                yield each


class Preserved:
    """A context in which a model may be run, changed and set back.

    Args:
        model: a built `keras.Model`.
    """

    def __init__(self, model: keras.Model):
        self.model = model

    def __enter__(self):
        self.parts = list(parts_of(self.model))
        known = {id(part) for part in self.parts}
        # A seed or a metric that a loss or a closure holds is in no attribute of the model.
        kinds = _subclasses(
            (keras.random.SeedGenerator, keras.metrics.Metric, tf.random.Generator)
        )
        loose = [part for part in gc.get_objects() if type(part) in kinds]
        self.parts += [part for part in loose if id(part) not in known]
        self.attributes = [(part, dict(vars(part))) for part in self.parts]
        self.containers = [
            (value, value.copy())
            for _, attributes in self.attributes
            for value in attributes.values()
            if isinstance(value, list | set | dict) and len(value) <= _LARGEST_CONTAINER
        ]
        variables = {}
        for part in self.parts:
            for variable in _attributes(part):
                variables.setdefault(id(variable), variable)
        # Of tensors, because these are set back hundreds of times, and an array would be
        # turned into a tensor each time. They are copies: a tensor of an array may share it.
        values = [
            (each, tf.constant(np.array(each.numpy()), each.dtype))
            for each in variables.values()
        ]
        # If the update of a metric fails, of any model, it may hold what cannot be set back.
        self.values = [(each, value) for each, value in values if each.shape == value.shape]
        self.generators = [
            (each, each.bit_generator.state)
            for part in self.parts
            for each in vars(part).values()
            if isinstance(each, np.random.Generator)
        ]
        generator = _generator()
        self.random = (
            random.getstate(),
            np.random.get_state(),  # noqa: NPY002
            generator,
            generator and generator.getstate(),
            global_state.get_global_attribute("global_seed_generator"),
        )
        return self

    def rewind(self, seed: int = _SEED) -> None:
        """Set every value back, and start all noise from one point.

        Args:
            seed: 0 starts the noise where the model's own seeds stand; another number shifts
                each seed, for a run with other noise.
        """
        for variable, value in self.values:
            variable.assign(value)
        for generator, state in self.generators:
            generator.bit_generator.state = state
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002 (what a model may draw from)
        kept = self.random[-1]
        if kept is None:
            kept = keras.random.SeedGenerator(seed)
        global_state.set_global_attribute("global_seed_generator", kept)
        if seed:
            for part in self.parts:
                if isinstance(part, keras.random.SeedGenerator):
                    state = part.state.numpy()
                    part.state.assign(state + np.array([0, 1000 * seed], state.dtype))

    def __exit__(self, *error):
        for part, attributes in self.attributes:
            own = vars(part)
            for name in set(own) - set(attributes):
                del own[name]
            own.update(attributes)
        for container, content in self.containers:
            _refill(container, content)
        for variable, value in self.values:
            variable.assign(value)
        for generator, state in self.generators:
            generator.bit_generator.state = state
        python, numpy_state, generator, state, keras_generator = self.random
        random.setstate(python)
        np.random.set_state(numpy_state)  # noqa: NPY002
        # Not tf.random.set_seed: it makes traced functions begin their noise again.
        if generator:
            generator.setstate(state)
        elif _generator():
            del tf_context.context()._rng
        global_state.set_global_attribute("global_seed_generator", keras_generator)


def _generator():
    """Return TensorFlow's generator of seeds for operations; None before the first seed."""
    return getattr(tf_context.context(), "_rng", None)


def _subclasses(kinds):
    found, waiting = set(), list(kinds)
    while waiting:
        kind = waiting.pop()
        if kind not in found:
            found.add(kind)
            waiting.extend(kind.__subclasses__())
    return found


def _refill(container, content):
    """Give a container its former content, without a call that Keras would track."""
    if isinstance(container, list):
        if len(container) != len(content) or any(
            a is not b for a, b in zip(container, content, strict=False)
        ):
            list.__setitem__(container, slice(None), content)
    elif isinstance(container, set):
        set.clear(container)
        set.update(container, content)
    elif container.keys() != content.keys() or any(
        container[key] is not content[key] for key in content
    ):
        dict.clear(container)
        dict.update(container, content)
