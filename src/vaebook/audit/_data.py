"""One batch of whatever data `fit` would take, and a clear error for other data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

SIZE = 32
"""The largest number of samples that an audit looks at."""


@dataclass
class Batch:
    """One batch of tensors, and what is known of the data that it comes from."""

    x: Any
    y: Any
    sample_weight: Any
    size: int
    all_x: Any
    all_y: Any
    dropped_weight: bool = False


def batch_of(x: Any, y: Any = None, sample_weight: Any = None) -> Batch:
    """Return one batch of at most `SIZE` samples.

    Args:
        x, y, sample_weight: as `fit` takes them. From arrays the samples are taken at equal
            distances; from a dataset the first batch is taken.

    Raises:
        TypeError: for data that are neither arrays nor a dataset.
        ValueError: for fewer than two samples, or arrays of different lengths.
    """
    dropped = False
    if isinstance(x, tf.data.Dataset | keras.utils.PyDataset):
        if y is not None or sample_weight is not None:
            raise ValueError(
                "Expected y=None and sample_weight=None with a dataset, which has them in it. "
                f"Received: y of type {type(y).__name__}."
            )
        if isinstance(x, tf.data.Dataset):
            first = next(iter(x.take(1)), None)
        else:
            first = x[0] if len(x) else None
        if first is None:
            raise ValueError("Expected a dataset with at least one batch. Received: none.")
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(first)
    elif hasattr(x, "__next__"):
        raise TypeError(
            "Expected arrays, a tf.data.Dataset or a PyDataset; a generator cannot be set "
            "back, so take one batch: audit(model, *next(generator)). Received: a "
            f"{type(x).__name__}."
        )
    elif y is None and sample_weight is not None:
        dropped = True  # as fit does with arrays
    given = {"x": x, "y": y, "sample_weight": sample_weight}
    arrays = {name: _arrays(name, value) for name, value in given.items()}
    lengths = {
        f"{name}{where}": array.shape[0]
        for name, value in arrays.items()
        for where, array in leaves(value)
    }
    if not any(name.startswith("x") for name in lengths):
        raise ValueError("Expected data in x. Received: x=None.")
    if len(set(lengths.values())) > 1:
        raise ValueError(f"Expected arrays of one length. Received: {lengths}.")
    n = next(iter(lengths.values()))
    if n < 2:
        raise ValueError(
            "Expected at least 2 samples: with one, a loss per sample and a loss per batch "
            f"look alike. Received: {n}."
        )
    chosen = np.unique(np.linspace(0, n - 1, min(n, SIZE)).round().astype(int))
    x_batch, y_batch, weight_batch = (
        keras.tree.map_structure(
            lambda array: None if array is None else tf.convert_to_tensor(array[chosen]), each
        )
        for each in arrays.values()
    )
    return Batch(
        x_batch,
        y_batch,
        None if dropped else weight_batch,
        len(chosen),
        arrays["x"],
        arrays["y"],
        dropped,
    )


def _arrays(name, value):
    def array_of(leaf):
        if leaf is None:
            return None
        array = np.asarray(leaf)
        if array.ndim == 0 or array.dtype == object:
            raise TypeError(
                f"Expected {name} to be arrays whose first axis counts samples. Received: "
                f"{type(leaf).__name__} of shape {array.shape}."
            )
        if array.dtype.kind == "f" and array.dtype != np.float16:
            array = array.astype(keras.config.floatx())
        return array

    return keras.tree.map_structure(array_of, value)


def leaves(structure: Any, path: str = "") -> list[tuple[str, Any]]:
    """Return the arrays of a structure, each with the path to it, such as `['mu']`."""
    if structure is None:
        return []
    if isinstance(structure, Mapping):
        items = structure.items()
    elif isinstance(structure, list | tuple):
        items = enumerate(structure)
    else:
        return [(path, structure)]
    return [leaf for key, value in items for leaf in leaves(value, f"{path}[{key!r}]")]


def check_model(model: Any) -> None:
    """Raise an error if a model cannot be audited.

    Raises:
        TypeError: if it is not a Keras model.
        ValueError: if it is not compiled, not built, or spread over replicas.
    """
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "Expected Keras on TensorFlow, whose gradient tape the audit listens to. "
            f"Received: the backend {keras.backend.backend()}."
        )
    if not isinstance(model, keras.Model):
        raise TypeError(f"Expected a keras.Model. Received: {type(model).__name__}.")
    if not model.compiled or model.optimizer is None:
        raise ValueError(
            "Expected a compiled model: call model.compile(optimizer, loss) first. "
            f"Received: {model.name}, which is not compiled."
        )
    if not model.built or (not model.variables and not model.layers):
        raise ValueError(
            "Expected a model that has its weights: call it once, model(x[:2]). "
            f"Received: {model.name}, which is not built."
        )
    replicas = model.distribute_strategy.num_replicas_in_sync
    if replicas > 1:
        raise ValueError(
            "Expected a model on one device: build it outside of strategy.scope(). "
            f"Received: {model.name} on {replicas} replicas."
        )


def check_structure(model: keras.Model, x: Any, y: Any) -> None:
    """Raise an error, in the model's own names, if data do not fit it.

    Raises:
        ValueError: for inputs or targets that are missing, too many, or of another shape.
    """
    inputs = getattr(model, "inputs", None)
    if inputs:
        given = leaves(x)
        if len(given) < len(inputs):
            raise ValueError(
                f"Expected {len(inputs)} inputs: {[each.name for each in inputs]}. "
                f"Received: {len(given)} in x."
            )
        if len(inputs) == len(given) == 1:
            _check_shape(inputs[0], given[0][1])
    standard = type(model).train_step is keras.Model.train_step
    own_loss = type(model).compute_loss is not keras.Model.compute_loss
    if not standard or own_loss:
        return
    if model.loss is None:
        return
    if y is None:
        raise ValueError("Expected targets in y: the model has a loss. Received: y=None.")
    if not inputs:
        return
    names = list(getattr(model, "output_names", None) or ["output"])
    outputs = getattr(model, "output", None)  # a Sequential model has none
    if isinstance(outputs, Mapping):
        names = list(outputs)
    if isinstance(y, Mapping):
        needed = names
        if isinstance(model.loss, Mapping):
            needed = [name for name, loss in model.loss.items() if loss is not None]
        missing = [name for name in needed if name not in y]
        extra = [name for name in y if name not in names]
        if missing or extra:
            raise ValueError(
                f"Expected targets for {needed}, out of the outputs {names}. "
                f"Received: {list(y)}."
            )
    elif isinstance(y, list | tuple) and len(names) > 1:
        losses = [each for each in keras.tree.flatten(model.loss) if each is not None]
        if len(y) not in (len(names), len(losses)):
            raise ValueError(f"Expected {len(names)} targets: {names}. Received: {len(y)}.")
    elif len(names) > 1 and not isinstance(y, list | tuple):
        listed = keras.tree.is_nested(model.loss)
        if listed and sum(each is not None for each in keras.tree.flatten(model.loss)) == 1:
            return  # Keras gives one array to the only loss
        raise ValueError(
            f"Expected a target for each of {names}. Received: one array of shape {y.shape}."
        )


def _check_shape(tensor, array):
    expected, received = tuple(tensor.shape), tuple(array.shape)
    if len(expected) == len(received) and any(
        size not in (None, other)
        for size, other in zip(expected[1:], received[1:], strict=True)
    ):
        raise ValueError(f"Expected x of shape {expected}. Received: shape {received}.")
