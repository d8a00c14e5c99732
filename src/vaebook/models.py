"""Models that compute the loss themselves, in the two places where Keras lets them.

Two of them train on the objective of the other routes: the cross-entropy, plus the KL term,
plus what the layers add (regularizers, `add_loss`), each image multiplied by its sample
weight. The third learns how much each of several tasks weighs.
"""

import math
import warnings
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf
from keras import ops
from vaebook._checks import number
from vaebook.losses import ImageCrossentropy, KLLoss, weight_from_config, weight_to_config
from vaebook.targets import prior_targets_like


def mean_over_all_replicas(values: tf.Tensor) -> tf.Tensor:
    """Return the mean of one value per image, divided by the number of replicas.

    The optimizer adds up the gradients of the replicas. Without a `tf.distribute` strategy
    there is one replica.

    Args:
        values: shape (batch,), or a scalar for the whole batch.
    """
    return ops.mean(values) / tf.distribute.get_strategy().num_replicas_in_sync


def mean_over_the_whole_batch(values: tf.Tensor) -> tf.Tensor:
    """Return this replica's share of the mean over the images of all replicas.

    The shares add up to the mean even if one replica has fewer images than another, or none:
    each divides its sum by the number of images that all of them have. Call it inside a
    training step, where the replicas can ask each other. Without a `tf.distribute` strategy
    it is the mean.

    Args:
        values: shape (batch,).

    Source: chapter 18.
    """
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return mean_over_all_replicas(values)
    images = ops.cast(ops.shape(values)[0], values.dtype)
    return ops.sum(values) / replica.all_reduce(tf.distribute.ReduceOp.SUM, images)


class _EncoderAndDecoder(keras.Model):
    """What the first two models share: the networks, the objective, its parts in the logs."""

    def __init__(self, encoder, decoder, weight=1.0, name="vae", **kwargs):
        super().__init__(name=name, **kwargs)
        self.encoder = encoder
        self.decoder = decoder
        self.crossentropy = ImageCrossentropy(reduction=None)
        # A variable inside a loss is not a weight of the model: no optimizer moves it.
        self.divergence = KLLoss(weight, reduction=None)
        self.reconstruction_tracker = keras.metrics.Mean(name="reconstruction_loss")
        self.kl_tracker = keras.metrics.Mean(name="kl_loss")
        self.build(encoder.input_shape)

    def objective(self, images, reconstruction, mu, log_var, sample_weight=None):
        """Return the objective of each image, shape (batch,), and track its two parts.

        Args:
            images, reconstruction: shape (batch, height, width, channels).
            mu, log_var: shape (batch, latent_dim).
            sample_weight: shape (batch,), or None.
        """
        code = ops.stack([mu, log_var], axis=1)  # (batch, 2, latent_dim)
        crossentropy = self.crossentropy(images, reconstruction, sample_weight)  # (batch,)
        kl = self.divergence(0.0, code, sample_weight)  # (batch,); the target is not read
        self.reconstruction_tracker.update_state(crossentropy)
        self.kl_tracker.update_state(kl)
        # Keras's own step adds these, too: regularizers, and what layers gave to add_loss.
        added = sum(ops.sum(ops.cast(loss, kl.dtype)) for loss in self.losses)
        return crossentropy + kl + added

    def get_config(self):
        return {
            **super().get_config(),
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "decoder": keras.saving.serialize_keras_object(self.decoder),
            "weight": weight_to_config(self.divergence.weight),
        }

    @classmethod
    def from_config(cls, config):
        parts = {
            "encoder": keras.saving.deserialize_keras_object(config["encoder"]),
            "decoder": keras.saving.deserialize_keras_object(config["decoder"]),
            "weight": weight_from_config(config["weight"]),
        }
        return cls(**{**config, **parts})


@keras.saving.register_keras_serializable("vaebook")
class ComputeLossVAE(_EncoderAndDecoder):
    """A VAE whose `compute_loss` returns the loss; Keras's own training step calls it.

    Called with images, it returns a dict of `reconstruction`, shape (batch, height, width,
    channels), and `mu` and `log_var`, shape (batch, latent_dim), since `compute_loss` sees of
    the networks only what the model returns. Metrics given to `compile` are keyed by these
    names.

    Args:
        encoder: a model from images to [z, mu, log_var].
        decoder: a model from z to images.
        weight: of the KL term, as for `KLLoss`.

    Raises:
        TypeError, ValueError: for a weight that `KLLoss` refuses.

    Source: chapter 10. It takes the place of part VII's `model.add_loss()`.
    """

    def call(self, images, training=None):
        z, mu, log_var = self.encoder(images, training=training)
        reconstruction = self.decoder(z, training=training)
        return {"reconstruction": reconstruction, "mu": mu, "log_var": log_var}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        images = x if y is None else y
        return mean_over_all_replicas(
            self.objective(images, **y_pred, sample_weight=sample_weight)
        )

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        # Keras matches metrics with outputs by the names in y, and here y is the images.
        y = prior_targets_like(x if y is None else y)
        return super().compute_metrics(x, y, y_pred, sample_weight)


@keras.saving.register_keras_serializable("vaebook")
class TrainStepVAE(_EncoderAndDecoder):
    """A VAE with its own training step; `fit` runs it, and Keras computes no loss.

    Called with images, it returns the reconstruction, of their shape.

    Args:
        encoder, decoder, weight: as for `ComputeLossVAE`.

    Raises:
        TypeError, ValueError: as for `ComputeLossVAE`.

    Source: part VIII of the article; chapter 11.
    """

    def build(self, input_shape):
        self.loss_tracker = keras.metrics.Mean(name="loss")
        super().build(input_shape)

    def call(self, images, training=None):
        z, _, _ = self.encoder(images, training=training)
        return self.decoder(z, training=training)

    def train_step(self, data):
        with tf.GradientTape() as tape:
            values, logs = self._values_and_logs(data, training=True)
            loss = mean_over_the_whole_batch(values)
            # Under mixed_float16 the optimizer scales the loss, so that no gradient vanishes.
            scaled = self.optimizer.scale_loss(loss)
        variables = self.trainable_variables
        if variables:
            gradients = tape.gradient(scaled, variables)
            self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        else:  # as Keras's own step does
            warnings.warn("The model does not have any trainable weights.", stacklevel=2)
        return logs

    def test_step(self, data):
        return self._values_and_logs(data, training=False)[1]

    def _values_and_logs(self, data, training) -> tuple[tf.Tensor, dict[str, Any]]:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        images = x if y is None else y
        z, mu, log_var = self.encoder(x, training=training)
        reconstruction = self.decoder(z, training=training)
        values = self.objective(images, reconstruction, mu, log_var, sample_weight)
        self.loss_tracker.update_state(values)
        logs = self.compute_metrics(x, images, reconstruction, sample_weight)
        return values, logs

    @property
    def metrics(self):
        # Only Keras's own training step updates Keras's own `loss`: this one replaces it.
        return [self.loss_tracker, *(each for each in super().metrics if each.name != "loss")]


def losses_by_output(model: keras.Model) -> dict[str, keras.losses.Loss]:
    """Return the losses that a model was compiled with, by output.

    Raises:
        TypeError: if they are not a dict of `keras.losses.Loss`.
    """
    loss = getattr(model, "loss", None)
    if not (
        isinstance(loss, Mapping)
        and all(isinstance(each, keras.losses.Loss) for each in loss.values())
    ):
        raise TypeError(
            "Expected a model compiled with a dict of keras.losses.Loss by output. "
            f"Received: loss={loss!r}."
        )
    return dict(loss)


@keras.saving.register_keras_serializable("vaebook")
class UncertaintyWeighted(keras.Model):
    """A network that learns one loss weight for each of its tasks while it trains.

    The objective is the sum over the tasks of exp(−s) · L + s, where L is the sum of the
    losses of the task's outputs, and s is a weight of this model. For a given L the best s is
    log L, and exp(−s) is then 1 / L. With the best s, the objective is the sum of the
    logarithms of the losses, up to a constant, so neither the unit of a loss nor a factor in
    it matters. For the same reason, a loss that can reach 0 gets a weight without bound.

    Outputs that belong together form one task, such as a reconstruction and its KL term. As a
    task of its own, the KL term would learn a beta.

    Args:
        network: a model with a dict of outputs.
        tasks: for each task, the names of its outputs. Each output with a loss is in one task.
        start: for each task, the size of its loss, > 0, to start from: s is then its
            logarithm. None starts from 1, where s is 0. An optimizer such as Adam moves s by
            about its learning rate in a step, so a start far from the real size takes
            thousands of steps to correct.

    Raises:
        TypeError: when it trains, if its compiled losses are not a dict of
            `keras.losses.Loss` by output.
        ValueError: if a name in tasks is not an output or is in two tasks, a task has no
            output, or start is not > 0 for each task; when it trains, if an output in tasks
            has no loss, or a loss is in no task.

    Source: Kendall, Gal and Cipolla (2018), without their factors of one half; chapter 16.
    """

    def __init__(self, network, tasks, start=None, name="uncertainty_weighted", **kwargs):
        super().__init__(name=name, **kwargs)
        outputs = list(network.output) if isinstance(network.output, Mapping) else []
        given = [output for names in tasks.values() for output in names]
        if (
            not (given and set(given) <= set(outputs))
            or len(set(given)) < len(given)
            or not all(tasks.values())
        ):
            raise ValueError(
                f"Expected tasks that name outputs out of {outputs}, each in one task. "
                f"Received: tasks={dict(tasks)}."
            )
        start = dict.fromkeys(tasks, 1.0) if start is None else dict(start)
        if set(start) != set(tasks):
            raise ValueError(
                f"Expected start for each of {list(tasks)}. Received: start={start}."
            )
        self.network = network
        self.tasks = {task: list(names) for task, names in tasks.items()}
        self.start = {task: number(f"start[{task!r}]", start[task]) for task in self.tasks}
        self.log_scales = {
            task: self.add_weight(
                shape=(),
                initializer=keras.initializers.Constant(math.log(size)),
                dtype="float32",
                name=f"s_{task}",
            )
            for task, size in self.start.items()
        }
        self.trackers = {name: keras.metrics.Mean(name=f"{name}_loss") for name in given}
        self.build(network.input_shape)

    def call(self, x, training=None):
        return self.network(x, training=training)

    def task_weights(self) -> dict[str, float]:
        """Return the loss weight that each task has now, exp(−s)."""
        return {task: float(ops.exp(-s)) for task, s in self.log_scales.items()}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        losses = losses_by_output(self)
        if set(losses) != set(self.trackers):
            raise ValueError(
                f"Expected a loss for each of {list(self.trackers)}, which are in tasks. "
                f"Received: losses for {list(losses)}."
            )
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        total = sum(ops.sum(ops.cast(loss, "float32")) for loss in self.losses) / replicas
        for task, names in self.tasks.items():
            of_task = 0.0
            for name in names:
                weight = sample_weight
                if isinstance(sample_weight, Mapping):
                    weight = sample_weight[name]
                value = losses[name](y[name], y_pred[name], weight)  # divided by replicas
                self.trackers[name].update_state(value * replicas, ops.shape(y_pred[name])[0])
                of_task += value
            s = self.log_scales[task]
            total += ops.exp(-s) * of_task + s / replicas
        return total

    def get_config(self):
        network = keras.saving.serialize_keras_object(self.network)
        return {
            **super().get_config(),
            "network": network,
            "tasks": self.tasks,
            "start": self.start,
        }

    @classmethod
    def from_config(cls, config):
        network = keras.saving.deserialize_keras_object(config["network"])
        return cls(**{**config, "network": network})
