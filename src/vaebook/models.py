"""Two models that compute the loss themselves, in the two places where Keras lets them.

Both train on the objective of the other routes: the cross-entropy, plus the KL term, plus
what the layers add (regularizers, `add_loss`), each image multiplied by its sample weight.
"""

import warnings
from typing import Any

import keras
import tensorflow as tf
from keras import ops
from vaebook.losses import ImageCrossentropy, KLLoss, weight_from_config, weight_to_config
from vaebook.targets import prior_targets_like


def mean_over_all_replicas(values: tf.Tensor) -> tf.Tensor:
    """Return the mean of one value per image, divided by the number of replicas.

    The optimizer adds up the gradients of the replicas. Without a `tf.distribute` strategy
    there is one replica.

    Args:
        values: shape (batch,), or a scalar that stands for all images.
    """
    return ops.mean(values) / tf.distribute.get_strategy().num_replicas_in_sync


class _EncoderAndDecoder(keras.Model):
    """What the two models share: their networks, the objective, and its parts in the logs."""

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
    channels), and `mu` and `log_var`, shape (batch, latent_dim): `compute_loss` sees nothing
    else. Metrics given to `compile` are keyed by these names.

    Args:
        encoder: a model from images to [z, mu, log_var].
        decoder: a model from z to images.
        weight: of the KL term, as for `KLLoss`.

    Raises:
        TypeError, ValueError: for a weight that `KLLoss` refuses.

    Source: what part VII's `model.add_loss()` became; chapter 10.
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
            loss, logs = self._loss_and_logs(data, training=True)
            # With mixed_float16 the optimizer enlarges the loss, or gradients vanish.
            scaled = self.optimizer.scale_loss(loss)
        variables = self.trainable_variables
        if variables:
            gradients = tape.gradient(scaled, variables)
            self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        else:  # as Keras's own step does
            warnings.warn("The model does not have any trainable weights.", stacklevel=2)
        return logs

    def test_step(self, data):
        return self._loss_and_logs(data, training=False)[1]

    def _loss_and_logs(self, data, training) -> tuple[tf.Tensor, dict[str, Any]]:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        images = x if y is None else y
        z, mu, log_var = self.encoder(x, training=training)
        reconstruction = self.decoder(z, training=training)
        values = self.objective(images, reconstruction, mu, log_var, sample_weight)
        self.loss_tracker.update_state(values)
        logs = self.compute_metrics(x, images, reconstruction, sample_weight)
        return mean_over_all_replicas(values), logs

    @property
    def metrics(self):
        # Keras's own `loss` is filled by its own training step only: this one replaces it.
        return [self.loss_tracker, *(each for each in super().metrics if each.name != "loss")]
