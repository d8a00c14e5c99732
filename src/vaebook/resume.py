"""Resume a killed training exactly where it stopped, even in the middle of an epoch."""

import base64
import contextlib
import hashlib
import json
import os
import random
import re
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

# Keras has no public way to read this state. A test notices if it moves.
from keras.src.backend.common import global_state
from vaebook._checks import whole
from vaebook.training import _objects_of

_MAGIC = b"vaebook backup 1\n"
_EPOCH_IS_OVER = "the epoch is over"  # what stop_training holds until the epoch ends


class ExactBackup(keras.callbacks.Callback):
    """Save everything that a training depends on, so that a killed run ends as if it were not.

    Run the same program again, with the same path. It finds the backup and goes on after the
    last batch that is in it. On the same machine, with one device, the weights, optimizer,
    noise, order of the data, logs and callbacks are then those of a run that was never
    killed, bit for bit::

        backup = ExactBackup("run.backup", every=100)
        model.fit(
            backup.batches(x, y, batch_size=128, seed=1),
            epochs=20,
            shuffle=False,
            callbacks=backup.callbacks(EarlyStopping("loss", patience=3)),
        )

    A backup holds every variable of the model, optimizer, metrics, losses and seed
    generators; the epoch, the batch, and the seed of the order; `History`; the attributes
    that other callbacks changed; the random state of Python and NumPy, and Keras's global
    seed. A finished run keeps its last backup. If you run the program again with more
    `epochs`, training goes on; with the same number, `fit` loads the result and trains no
    more.

    Keras creates some variables only in the first training step. So before a resumed run goes
    on, the callback takes one training step, and then restores every variable.

    A backup does not hold the files that other callbacks write, nor the state of noise that
    TensorFlow hides, such as that of `tf.random.normal`: use a `keras.random.SeedGenerator`
    instead. If a run resumes within an epoch, the batch numbers that callbacks get start at 0
    again.

    Args:
        path: the file of the backup. The backup before it is kept as `path.previous`. If the
            newer one is damaged, training warns and goes on from the older one.
        every: the number of batches between two backups. There is always one at the start of
            each epoch; with None there are no others during it.

    Raises:
        ValueError: when `fit` begins, if the file is damaged and there is no older one, or if
            it comes from another model, other data, or other callbacks. The file stays as it
            is.

    Source: chapter 17.
    """

    def __init__(self, path: str | os.PathLike, every: int | None = None):
        super().__init__()
        self.path = Path(path)
        self.every = None if every is None else whole("every", every)
        self._damaged = False  # if True, the file at path must not replace the older one
        self._initial = {}  # the attributes of other callbacks before training, by id
        self._others = None
        self._data = None
        self._epoch = self._first = self._done = self._saved_at = 0
        self._begun = None
        self._loaded = None
        self._finished = False

    @property
    def previous(self) -> Path:
        """The path of the older backup."""
        return self.path.with_name(f"{self.path.name}.previous")

    def batches(
        self,
        x: np.ndarray,
        y: Any = None,
        batch_size: int = 32,
        seed: int = 0,
        sample_weight: Any = None,
    ) -> tf.data.Dataset:
        """Return batches for `fit`, whose order in each epoch follows from seed and epoch.

        Args:
            x: an array whose first axis counts the samples.
            y: what `fit` takes as y, an array or a structure of arrays, or None.
            batch_size: the number of samples in a batch; the last one may be smaller.
            seed: an integer ≥ 0.
            sample_weight: as y, or None.

        Raises:
            ValueError: if the arrays differ in length, batch_size < 1, or seed < 0.
        """
        batch_size, seed = whole("batch_size", batch_size), whole("seed", seed, smallest=0)
        given = tuple(each for each in (x, y, sample_weight) if each is not None)
        if y is None and sample_weight is not None:
            raise ValueError("Expected y beside sample_weight. Received: y=None.")
        arrays = [np.asarray(each) for each in tf.nest.flatten(given)]
        lengths = {len(each) for each in arrays}
        if len(lengths) != 1:
            raise ValueError(
                "Expected x, y and sample_weight of one length. "
                f"Received: lengths {sorted(lengths)}."
            )
        checksum = 0
        for each in arrays:
            checksum = zlib.crc32(np.ascontiguousarray(each), checksum)
        self._data = {
            "samples": len(x),
            "batch_size": batch_size,
            "seed": seed,
            "checksum": checksum,
        }
        tensors = tf.nest.map_structure(tf.convert_to_tensor, given)
        self._one_batch = tf.nest.map_structure(lambda each: each[:batch_size], tensors)
        order = tf.data.Dataset.from_generator(
            self._rows, output_signature=tf.TensorSpec((None,), tf.int64)
        )
        batches = order.map(
            lambda rows: tf.nest.map_structure(lambda each: tf.gather(each, rows), tensors)
        )
        return batches.prefetch(1)

    def callbacks(self, *others: keras.callbacks.Callback) -> list[keras.callbacks.Callback]:
        """Return what `fit` gets as callbacks: the others, whose state is kept, and this one.

        Args:
            others: callbacks such as `EarlyStopping`, not inside a list.

        Raises:
            TypeError: if one of them is not a callback.
        """
        for other in others:
            if not isinstance(other, keras.callbacks.Callback):
                raise TypeError(f"Expected keras.callbacks.Callback. Received: {other!r}.")
            # What they hold before training is their configuration, not state.
            self._initial.setdefault(id(other), _attributes_of(other))
        self._others = list(others)
        return [*others, self]

    # What Keras calls. This callback comes last, so the others have done their part.

    def on_train_begin(self, logs=None):
        if self._others is None or self._data is None:
            raise ValueError(
                "Expected fit(backup.batches(…), callbacks=backup.callbacks(…)). Received: "
                f"no {'callbacks' if self._others is None else 'batches'} of this backup."
            )
        if self.params.get("steps") is not None:
            raise ValueError(
                "Expected fit on the batches of this backup, without steps_per_epoch. "
                f"Received: {self.params['steps']} steps in an epoch."
            )
        self._batches = -(-self._data["samples"] // self._data["batch_size"])
        self._epoch = self._first = self._done = self._saved_at = 0
        self._begun, self._finished = None, False
        self._loaded = self._load()
        if self._loaded is None:
            return
        header = self._loaded[0]
        self._check(header)
        over = header["stopped"] or header["epoch"] >= self.params["epochs"]
        if over and header["batch"]:
            raise ValueError(
                f"Expected more than {header['epoch']} epochs: {self.path} was written within "
                f"epoch {header['epoch'] + 1}. Received: epochs={self.params['epochs']}."
            )
        # As BackupAndRestore does; fit has no public way to begin at another epoch.
        self.model._initial_epoch = self.params["epochs"] if over else header["epoch"]
        if over:
            self._finished = True
            self._restore()

    def on_epoch_begin(self, epoch, logs=None):
        if self._loaded is not None:
            expected = self._loaded[0]["epoch"]
            if epoch != expected:
                raise ValueError(
                    f"Expected fit without initial_epoch: {self.path} goes on in epoch "
                    f"{expected}. Received: epoch {epoch}."
                )
            self._restore()
            return
        begins = self._begun is None
        self._epoch, self._first, self._done = epoch, 0, 0
        if not begins:  # before the first batch nothing is worth a backup
            self._save()

    def on_train_batch_end(self, batch, logs=None):
        if self._begun is None:
            raise ValueError(
                "Expected fit to train on what batches() returned. Received: other data."
            )
        # With steps_per_execution, batch may lie beyond the last one.
        self._done = min(self._first + batch + 1, self._batches)
        if self._done == self._batches:
            # The number of batches differs between a whole epoch and the rest of one, and
            # fit cannot be told that. So the callback ends the epoch, and only the epoch.
            self.model.stop_training = self.model.stop_training or _EPOCH_IS_OVER
        elif self.every and self._done - self._saved_at >= self.every:
            self._save()

    def on_epoch_end(self, epoch, logs=None):
        if self.model.stop_training is _EPOCH_IS_OVER:
            self.model.stop_training = False

    def on_train_end(self, logs=None):
        self.model._initial_epoch = None
        if self._finished:
            self._restore_history(self._kept)
        elif self._done == self._batches:  # else it was stopped within an epoch
            self._epoch, self._done = self._epoch + 1, 0
            self._save(stopped=bool(self.model.stop_training))

    def _rows(self) -> Iterator[np.ndarray]:
        """Yield the rows of each batch that remains in the epoch."""
        self._begun = self._epoch
        order = np.random.default_rng([self._data["seed"], self._epoch])
        rows = order.permutation(self._data["samples"])
        size = self._data["batch_size"]
        for start in range(self._first * size, len(rows), size):
            yield rows[start : start + size]

    # The file.

    def _save(self, stopped=False):
        variables = _variables_of(self.model)
        values = [np.asarray(each.numpy()) for each in variables]
        header = {
            "epoch": self._epoch,
            "batch": self._done,
            "stopped": stopped,
            "data": self._data,
            "variables": [_described(each) for each in variables],
            "callbacks": [
                [type(each).__name__, _changed(self._initial[id(each)], _attributes_of(each))]
                for each in self._others
            ],
            "history": _encoded([self.model.history.history, self.model.history.epoch]),
            "random": _random_state(),
        }
        words = json.dumps(header).encode()
        content = b"".join([len(words).to_bytes(8, "big"), words, *map(_bytes, values)])
        digest = hashlib.sha256(content).hexdigest().encode()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_name(f"{self.path.name}.new")
        with beside.open("wb") as file:
            file.write(b"".join([_MAGIC, digest, b"\n", content]))
            file.flush()
            os.fsync(file.fileno())
        # Whenever the program is killed, one of the two names leads to a whole file.
        if self.path.exists() and not self._damaged:
            os.replace(self.path, self.previous)
        os.replace(beside, self.path)
        self._damaged = False
        self._saved_at = self._done

    def _load(self):
        there = [path for path in (self.path, self.previous) if path.exists()]
        if not there:
            return None
        try:
            return _read(there[0])
        except ValueError as error:
            if there != [self.path, self.previous]:
                raise
            loaded = _read(self.previous)
            self._damaged = True
            warnings.warn(f"{error} Going on from {self.previous}.", stacklevel=2)
            return loaded

    def _check(self, header):
        """Raise ValueError unless a backup belongs to this training."""
        self._expect("data", header["data"], self._data)
        names = [type(each).__name__ for each in self._others]
        self._expect("callbacks", [name for name, _ in header["callbacks"]], names)
        if self.model.built:  # checked first, so that a wrong model stays as it is
            now = [_described(each) for each in self.model.variables]
            self._expect("variables", header["variables"][: len(now)], now)
        # A training step creates what Keras creates late: variables of optimizer and metrics.
        self.model.train_on_batch(*self._one_batch)
        now = [_described(each) for each in _variables_of(self.model)]
        self._expect("variables", header["variables"], now)

    def _expect(self, what, saved, now):
        if saved == now:
            return
        if what == "variables":
            pairs = zip([*saved, None], [*now, None], strict=False)
            saved, now = next(pair for pair in pairs if pair[0] != pair[1])
            what = "a variable"
        raise ValueError(
            f"Expected a backup of this training. Received: {self.path}, which comes from "
            f"another one. It has {what} {saved}, and this training has {now}."
        )

    def _restore(self):
        header, values = self._loaded
        for variable, value in zip(_variables_of(self.model), values, strict=True):
            variable.assign(value)
        for other, (_, changed) in zip(self._others, header["callbacks"], strict=True):
            before = {
                name: value
                for name, value in self._initial[id(other)].items()
                if not _holds_state(value)
            }
            for name, value in {**before, **changed}.items():
                setattr(other, name, _decoded(value, vars(other).get(name)))
        self._restore_history(header["history"])
        _set_random_state(header["random"])
        self._kept, self._loaded = header["history"], None
        self._epoch, self._first = header["epoch"], header["batch"]
        self._done = self._saved_at = self._first

    def _restore_history(self, saved):
        history, epochs = _decoded(saved)
        self.model.history.history, self.model.history.epoch = history, epochs


def _read(path):
    """Return the header and the values of a backup."""
    content = path.read_bytes()
    if not content.startswith(_MAGIC):
        raise ValueError(
            f"Expected a file that ExactBackup wrote. Received: {path}, which is another file."
        )
    digest, _, content = content[len(_MAGIC) :].partition(b"\n")
    if hashlib.sha256(content).hexdigest().encode() != digest:
        raise ValueError(
            f"Expected a whole backup. Received: {path}, which is cut short or damaged: "
            "its checksum does not fit."
        )
    end = 8 + int.from_bytes(content[:8], "big")
    header = json.loads(content[8:end])
    values = []
    for _, kind, shape in header["variables"]:
        value = np.zeros(shape, np.dtype(kind))
        values.append(np.frombuffer(content, value.dtype, value.size, end).reshape(shape))
        end += value.nbytes
    return header, values


def _bytes(value):
    return np.ascontiguousarray(value).tobytes()


def _variables_of(model):
    """Return the variables that a training step reads or changes, in a fixed order."""
    known = [*model.variables, *model.metrics_variables]
    if model.optimizer is not None:
        known += model.optimizer.variables
    found = []
    for each in _objects_of(model):
        if isinstance(each, keras.Variable | tf.Variable):
            found.append(each)
        elif isinstance(each, keras.random.SeedGenerator | tf.random.Generator):
            found.append(each.state)
    found.sort(key=lambda variable: _described(variable)[0])
    return list({id(each): each for each in [*known, *found]}.values())


def _described(variable):
    """Return what identifies a variable: path without running numbers, type and shape."""
    path = getattr(variable, "path", variable.name)
    kind = tf.as_dtype(variable.dtype).name
    return [re.sub(r"_\d+(?=[/_]|$)", "", path), kind, list(variable.shape)]


# The state of callbacks, as JSON.

_ORDERS = {"less": ops.less, "greater": ops.greater}  # what "better" means to a monitor


def _attributes_of(callback):
    """Return those attributes of a callback that can be encoded, encoded."""
    found = {}
    for name, value in vars(callback).items():
        if name not in ("_model", "params"):
            with contextlib.suppress(TypeError):
                found[name] = _encoded(value)
    return found


def _changed(before, now):
    return {
        name: value
        for name, value in now.items()
        if _holds_state(value) or value != before.get(name, ...)
    }


def _holds_state(encoded):
    """Tell whether a value was read from a variable or a generator, which may change."""
    return isinstance(encoded, dict) and set(encoded) <= {"variable", "seed", "generator"}


def _encoded(value):
    """Return a value as JSON can hold it. Raise TypeError if that is not possible."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray | np.generic | tf.Tensor):
        value = np.asarray(value)
        data = base64.b64encode(_bytes(value)).decode()
        return {"array": [value.dtype.name, list(value.shape), data]}
    if isinstance(value, dict):
        return {"dict": [[_encoded(key), _encoded(each)] for key, each in value.items()]}
    if isinstance(value, list | tuple):
        return {type(value).__name__: [_encoded(each) for each in value]}
    if isinstance(value, keras.Variable | tf.Variable):
        return {"variable": _encoded(value.numpy())}
    if isinstance(value, keras.random.SeedGenerator):
        return {"seed": _encoded(value.state.numpy())}
    if isinstance(value, np.random.Generator):
        return {"generator": _encoded(value.bit_generator.state)}
    for name, order in _ORDERS.items():
        if value is order:
            return {"order": name}
    raise TypeError(f"Expected a value that can be saved. Received: {type(value).__name__}.")


def _decoded(saved, now=None):
    """Return what was encoded. If `now` is a variable or a generator, set it to the value."""
    if not isinstance(saved, dict):
        return saved
    ((kind, value),) = saved.items()
    if kind == "array":
        name, shape, data = value
        return np.frombuffer(base64.b64decode(data), np.dtype(name)).reshape(shape).copy()
    if kind == "dict":
        return {_decoded(key): _decoded(each) for key, each in value}
    if kind in ("list", "tuple"):
        return {"list": list, "tuple": tuple}[kind](_decoded(each) for each in value)
    if kind == "order":
        return _ORDERS[value]
    value = _decoded(value)
    if kind == "variable":
        now.assign(value)
    elif kind == "seed":
        now.state.assign(value)
    else:
        now.bit_generator.state = value
    return now


def _random_state():
    """Return the random state of Python and NumPy, and Keras's global seed."""
    seed = global_state.get_global_attribute("global_seed_generator")
    state = None if seed is None else seed.state.numpy()
    numpy_state = np.random.get_state()  # noqa: NPY002  (what a model may draw from)
    return _encoded([random.getstate(), numpy_state, state])


def _set_random_state(saved):
    python, numpy_state, state = _decoded(saved)
    random.setstate(python)
    np.random.set_state(numpy_state)  # noqa: NPY002
    if state is not None:
        seed = global_state.get_global_attribute("global_seed_generator")
        if seed is None:
            seed = keras.random.SeedGenerator(0)
            global_state.set_global_attribute("global_seed_generator", seed)
        seed.state.assign(state)
