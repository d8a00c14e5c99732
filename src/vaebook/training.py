"""What `fit` gets beside the data: an order, a line for each epoch, a scheduled weight."""

import contextlib
import functools
import sys
import types
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from vaebook._checks import number, whole
from vaebook.losses import KLLoss, LogVarLoss, MuLoss, value_of


class EpochLine(keras.callbacks.Callback):
    """Print one line for each epoch, under the progress bar if there is one.

    `epoch 1  loss 0.2640  reconstruction 0.2585  mu 0.0017  log_var 0.0038`: the total
    first, then the parts under the names of their outputs, then the same for validation.
    The line contains no times, so it is the same on every machine.

    Source: part VI, `MyPrinterCallback`; chapter 8.
    """

    def __init__(self):
        super().__init__()
        self.line = None

    def on_epoch_begin(self, epoch, logs=None):
        self._print()

    def on_epoch_end(self, epoch, logs=None):
        # Keras closes its progress bar after this call. The line waits until it has.
        self.line = f"epoch {epoch + 1}  " + "  ".join(
            f"{_short(name)} {value:.4f}" for name, value in _total_first(logs)
        )

    def on_train_end(self, logs=None):
        self._print()

    def _print(self):
        if self.line:
            print(self.line)
        self.line = None


def _short(name):
    return name if name in ("loss", "val_loss") else name.removesuffix("_loss")


def _total_first(logs):
    return sorted(
        (logs or {}).items(), key=lambda item: (item[0].startswith("val_"), _rank(item))
    )


def _rank(item):
    order = ["loss", "reconstruction_loss", "mu_loss", "log_var_loss"]
    name = item[0].removeprefix("val_")
    return order.index(name) if name in order else len(order)


class WeightScheduler(keras.callbacks.Callback):
    """Set a loss weight at the start of each epoch, and add it to the logs as `weight`.

    The weight has to be a variable: Keras compiles a plain number into the training step,
    where no callback reaches it.

    Args:
        weight: the `keras.Variable` that was given to `MuLoss`, `LogVarLoss` or a route; for
            a loaded model `weight_variable(model)`.
        schedule: a function from the epoch's number, counted from 0, to a weight ≥ 0. It is
            asked for all epochs of a `fit` before the first step of training, and again when
            each begins.

    Raises:
        TypeError: if the weight is not a `keras.Variable`, or the schedule is not a function.
        TypeError, ValueError: when `fit` begins, if no loss of the model reads the variable;
            if the schedule has no weight for an epoch, that is, returns None or raises a
            LookupError; or if it returns what is not a finite number ≥ 0.

    Source: chapter 8.
    """

    def __init__(self, weight: keras.Variable, schedule: Callable[[int], float]):
        super().__init__()
        if not isinstance(weight, keras.Variable):
            raise TypeError(
                "Expected a keras.Variable, which a callback can change. "
                f"Received: weight={weight!r}."
            )
        if not callable(schedule):
            raise TypeError(
                "Expected schedule to be a function from the epoch's number to a weight. "
                f"Received: {schedule!r}."
            )
        self.weight = weight
        self.schedule = schedule
        self.asked = False

    def on_train_begin(self, logs=None):
        if not any(variable is self.weight for variable in _variables_read_by(self.model)):
            raise ValueError(
                "Expected a weight that a loss of this model reads. Received: "
                f"weight={self.weight!r}, which none of them reads. A loaded model has a "
                "variable of its own: weight_variable(model)."
            )
        self.asked = False

    def on_epoch_begin(self, epoch, logs=None):
        if not self.asked:
            # Only here is the first epoch known: `fit` may begin with a later one. No step
            # has been taken, so nothing is lost if the schedule is refused.
            last = (self.params or {}).get("epochs", epoch + 1)
            _check_schedule(self.schedule, range(epoch, max(last, epoch + 1)))
            self.asked = True
        self.weight.assign(number(f"schedule({epoch})", self.schedule(epoch), zero=True))

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            logs["weight"] = value_of(self.weight)


def _check_schedule(schedule, epochs):
    """Raise an error if a schedule has no weight for one of the epochs, or a wrong one."""
    gaps = []
    for epoch in epochs:
        try:
            weight = schedule(epoch)
        except LookupError:  # of a list or a dict
            weight = None
        if weight is None:
            gaps.append(epoch)
        else:
            number(f"schedule({epoch})", weight, zero=True)
    if gaps:
        raise ValueError(
            f"Expected a schedule without gaps, with a weight for each epoch from {epochs[0]} "
            f"to {epochs[-1]}. Received: none for the epochs {gaps}."
        )


def weight_variable(model: keras.Model) -> keras.Variable:
    """Return the variable that a model's KL term takes its weight from.

    You need this for a loaded model: the variable that the saved model was built with is
    another one, and changing it has no effect on the loaded model.

    Args:
        model: a model of one of the routes, or with the losses or layers of this package,
            built with a `keras.Variable` as weight, saved and loaded or not.

    Raises:
        ValueError: if its weight is a number, or if its losses read several variables.

    Source: chapter 8.
    """
    found = [
        each.weight
        for each in _objects_of(model)
        if isinstance(each, MuLoss | LogVarLoss | KLLoss)
    ]
    variables = {id(weight): weight for weight in found if isinstance(weight, keras.Variable)}
    if len(variables) != 1:
        raise ValueError(
            "Expected a model whose KL term takes its weight from one keras.Variable. "
            f"Received: a model whose KL losses have the weights {found}."
        )
    return next(iter(variables.values()))


def _variables_read_by(model):
    """Yield the variables that the model's code can reach."""
    yield from model.variables
    for each in _objects_of(model):
        if isinstance(each, keras.Variable):
            yield each


def _objects_of(model):
    """Yield what a model's attributes lead to: losses, layers, metrics, functions, values.

    A function leads to what it closes over and to the globals that it names, so losses that
    are written as functions count, too.
    """
    waiting, seen = [model], {}
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen[id(each)] = each
        yield each
        if isinstance(each, Mapping):
            waiting += each.values()
        elif isinstance(each, list | tuple | set):
            waiting += each
        elif isinstance(each, functools.partial):
            waiting += [each.func, each.args, each.keywords]
        elif isinstance(each, types.MethodType):
            waiting += [each.__func__, each.__self__]
        elif isinstance(each, types.FunctionType):
            if _is_the_user_s(each):
                waiting += _read_by_function(each)
        elif isinstance(each, _LOOKED_INTO) or _is_the_user_s(type(each)):
            waiting += getattr(each, "__dict__", {}).values()
            for kind in filter(_is_the_user_s, type(each).__mro__):
                waiting += _functions_of(kind)


_LOOKED_INTO = (
    keras.Layer,
    keras.losses.Loss,
    keras.metrics.Metric,
    keras.regularizers.Regularizer,
)


def _is_the_user_s(kind):
    """Tell whether a class or function comes from neither Keras nor a library under it."""
    library = str(kind.__module__).partition(".")[0]
    beneath = ("keras", "tensorflow", "numpy", "wrapt", "absl", "google", "h5py")
    return library not in beneath and library not in sys.stdlib_module_names - {"__main__"}


def _functions_of(kind):
    """Return the functions of a class, including those of properties and static methods."""
    for member in vars(kind).values():
        if isinstance(member, staticmethod | classmethod):
            yield member.__func__
        elif isinstance(member, property):
            yield member.fget
        elif isinstance(member, types.FunctionType):
            yield member


def _read_by_function(function):
    """Return what a function closes over, its defaults, and the globals that it names."""
    read = list(function.__defaults__ or ())
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # the cell is still empty
            read.append(cell.cell_contents)
    names = function.__code__.co_names
    for value in [function.__globals__[name] for name in names if name in function.__globals__]:
        if isinstance(value, types.ModuleType):
            read += [vars(value)[name] for name in names if name in vars(value)]
        else:
            read.append(value)
    return read


def shuffled_batches(
    x: np.ndarray, y: Any = None, batch_size: int = 32, seed: int | None = None
) -> tf.data.Dataset:
    """Return batches of (x, y) for `fit`, in a new random order in each epoch.

    `fit` shuffles arrays too, but after `keras.utils.set_random_seed` it repeats one order in
    every epoch (chapter 8). This dataset reshuffles, and one seed gives the same orders again.
    Call `fit(batches, shuffle=False)`: without it, Keras 3.15 warns that it will not shuffle.

    Args:
        x: an array whose first axis counts the samples.
        y: what `fit` takes as y, an array or a dict of arrays of the same length, or None.
        batch_size: the number of samples in a batch; the last one may be smaller.
        seed: an integer, or None for orders that follow `keras.utils.set_random_seed`.

    Raises:
        ValueError: if the arrays differ in length, or batch_size < 1.

    Source: chapter 8.
    """
    batch_size = whole("batch_size", batch_size)
    lengths = {len(each) for each in tf.nest.flatten((x, () if y is None else y))}
    if len(lengths) != 1:
        raise ValueError(
            f"Expected x and y of one length. Received: lengths {sorted(lengths)}."
        )
    data = tf.nest.map_structure(tf.convert_to_tensor, x if y is None else (x, y))
    order = tf.data.Dataset.range(len(x)).shuffle(len(x), seed=seed).batch(batch_size)
    batches = order.map(
        lambda rows: tf.nest.map_structure(lambda each: tf.gather(each, rows), data)
    )
    return batches.prefetch(1)
