"""Training on several devices or machines with `tf.distribute`, where `fit` cannot or may not.

`fit` trains under a `MirroredStrategy`, on the devices of one machine. Under a
`MultiWorkerMirroredStrategy`, on several machines, Keras 3 stops with an error. There, `fit_on`
runs the model's own training step in a loop.
"""

from collections.abc import Sequence

import keras
import tensorflow as tf
from vaebook._checks import whole


def mirrored_strategy(devices: Sequence[str]) -> tf.distribute.MirroredStrategy:
    """Return a strategy on the named devices of this machine.

    TensorFlow takes any name, and fails later.

    Args:
        devices: such as ["GPU:0", "GPU:1"].

    Raises:
        ValueError: if there is none, one does not exist, or one is named twice.

    Source: chapter 18.
    """
    there = [each.name.removeprefix("/device:") for each in tf.config.list_logical_devices()]
    devices = list(devices)
    if not devices or set(devices) - set(there) or len(set(devices)) < len(devices):
        raise ValueError(
            f"Expected devices out of {there}, each once. Received: devices={devices}."
        )
    return tf.distribute.MirroredStrategy(devices)


def fit_on(
    strategy: tf.distribute.Strategy,
    model: keras.Model,
    batches: tf.data.Dataset,
    epochs: int = 1,
) -> dict[str, list[float]]:
    """Train a model with its own `train_step` on all replicas, and return what `fit` logs.

    Args:
        strategy: in whose scope the model was built and compiled.
        model: built and compiled.
        batches: what `fit` takes, in batches for all replicas together. Every worker passes
            the same dataset, in the same order. If it reads from files, a worker gets its share
            of the files, of which there must be one for each; else its share of each batch.
        epochs: how often to go through the batches.

    Returns:
        The metrics of each epoch by name, over all replicas.

    Raises:
        ValueError: if the model was not built and compiled in the strategy's scope, or
            epochs < 1.

    Source: chapter 18.
    """
    epochs = whole("epochs", epochs)
    if not model.built or not model.compiled or model.distribute_strategy is not strategy:
        raise ValueError(
            "Expected a model that was built and compiled in the scope of the strategy. "
            f"Received: model={model.name!r}."
        )
    with strategy.scope():
        model.optimizer.build(model.trainable_variables)
    shared = strategy.experimental_distribute_dataset(batches)

    @tf.function
    def step(batch):
        strategy.run(model.train_step, args=(batch,))

    history = {}
    for _ in range(epochs):
        model.reset_metrics()
        for batch in shared:
            step(batch)
        for name, value in model.get_metrics_result().items():
            history.setdefault(name, []).append(float(value))
    return history
