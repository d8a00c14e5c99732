"""What `fit` is given beside the data: an order, a line for each epoch, a scheduled weight."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from vaebook._checks import whole


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
        weight: the `keras.Variable` that was given to `MuLoss`, `LogVarLoss` or a route.
        schedule: a function from the epoch's number, counted from 0, to a weight ≥ 0.

    Raises:
        TypeError: where the weight is not a `keras.Variable`.
        ValueError: where the schedule returns a negative weight.
    """

    def __init__(self, weight: keras.Variable, schedule: Callable[[int], float]):
        super().__init__()
        if not isinstance(weight, keras.Variable):
            raise TypeError(
                "Expected a keras.Variable, which a callback can change. "
                f"Received: weight={weight!r}."
            )
        self.weight = weight
        self.schedule = schedule

    def on_epoch_begin(self, epoch, logs=None):
        value = float(self.schedule(epoch))
        if not value >= 0:
            raise ValueError(f"Expected a weight ≥ 0 for epoch {epoch}. Received: {value}.")
        self.weight.assign(value)

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            logs["weight"] = float(self.weight)


def shuffled_batches(
    x: np.ndarray, y: Any = None, batch_size: int = 32, seed: int | None = None
) -> tf.data.Dataset:
    """Return batches of (x, y) for `fit`, in another random order in each epoch.

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
