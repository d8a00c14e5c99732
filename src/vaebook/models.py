"""Two models that compute the loss themselves, in the two places where Keras lets them.

Import this module before you load a saved one.
"""

import keras
import tensorflow as tf
from keras import ops
from vaebook.losses import ImageCrossentropy, KLLoss


def mean_over_all_replicas(values):
    """Return the mean of one value per image, divided by the number of replicas.

    The optimizer adds the gradients of the replicas up. Without a `tf.distribute` strategy
    there is one replica.
    """
    return ops.mean(values) / tf.distribute.get_strategy().num_replicas_in_sync


class _EncoderAndDecoder(keras.Model):
    """What the two models share: their networks, the two losses, and a tracker for each.

    The losses return one value per image, shape (batch,), multiplied by its sample weight.
    """

    def __init__(self, encoder, decoder, weight=1.0, name="vae", **kwargs):
        super().__init__(name=name, **kwargs)
        self.encoder = encoder
        self.decoder = decoder
        self.crossentropy = ImageCrossentropy(reduction=None)
        # Within a loss, a variable is no weight of the model, and no optimizer moves it.
        self.divergence = KLLoss(weight, reduction=None)
        self.reconstruction_tracker = keras.metrics.Mean(name="reconstruction_loss")
        self.kl_tracker = keras.metrics.Mean(name="kl_loss")
        self.build(encoder.input_shape)

    def get_config(self):
        return {
            **super().get_config(),
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "decoder": keras.saving.serialize_keras_object(self.decoder),
            "weight": float(self.divergence.weight),
        }

    @classmethod
    def from_config(cls, config):
        networks = {
            name: keras.saving.deserialize_keras_object(config[name])
            for name in ("encoder", "decoder")
        }
        return cls(**{**config, **networks})


@keras.saving.register_keras_serializable("vaebook")
class ComputeLossVAE(_EncoderAndDecoder):
    """A VAE whose `compute_loss` returns the loss; Keras's own training step calls it.

    Returns a dict of reconstruction, mu and log_var, for `compute_loss` sees nothing else.

    Args:
        encoder: a model from images to [z, mu, log_var].
        decoder: a model from z to images.
        weight: of the KL term, as for `KLLoss`.

    Source: what part VII's `model.add_loss()` became; chapter 10.
    """

    def call(self, images, training=None):
        z, mu, log_var = self.encoder(images, training=training)
        reconstruction = self.decoder(z, training=training)
        return {"reconstruction": reconstruction, "mu": mu, "log_var": log_var}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        images = x if y is None else y
        stacked = ops.stack([y_pred["mu"], y_pred["log_var"]], axis=1)
        reconstruction = self.crossentropy(images, y_pred["reconstruction"], sample_weight)
        kl = self.divergence(0.0, stacked, sample_weight)  # nobody reads the target
        self.reconstruction_tracker.update_state(reconstruction)
        self.kl_tracker.update_state(kl)
        return mean_over_all_replicas(reconstruction + kl)


@keras.saving.register_keras_serializable("vaebook")
class TrainStepVAE(_EncoderAndDecoder):
    """A VAE with its own training step; `fit` runs it, and Keras computes no loss.

    Returns the reconstruction.

    Args:
        encoder, decoder, weight: as for `ComputeLossVAE`.

    Source: part VIII of the article; chapter 11.
    """

    def call(self, images, training=None):
        z, _, _ = self.encoder(images, training=training)
        return self.decoder(z, training=training)

    def train_step(self, data):
        with tf.GradientTape() as tape:
            values, result = self._losses_of(data, training=True)
            # With mixed_float16 the optimizer enlarges the loss, or gradients vanish.
            loss = self.optimizer.scale_loss(mean_over_all_replicas(values))
        variables = self.trainable_variables
        self.optimizer.apply_gradients(
            zip(tape.gradient(loss, variables), variables, strict=True)
        )
        return result

    def test_step(self, data):
        _, result = self._losses_of(data, training=False)
        return result

    def _losses_of(self, data, training):
        """Return the loss of each image, shape (batch,), and the logs so far."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        images = x if y is None else y
        z, mu, log_var = self.encoder(x, training=training)
        guess = self.decoder(z, training=training)
        reconstruction = self.crossentropy(images, guess, sample_weight)
        kl = self.divergence(0.0, ops.stack([mu, log_var], axis=1), sample_weight)
        self.reconstruction_tracker.update_state(reconstruction)
        self.kl_tracker.update_state(kl)
        return reconstruction + kl, self.compute_metrics(x, images, guess, sample_weight)

    def get_metrics_result(self):
        # Keras fills its own `loss` in its own training step only.
        logs = super().get_metrics_result()
        return {**logs, "loss": logs["reconstruction_loss"] + logs["kl_loss"]}
