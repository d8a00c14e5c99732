"""Metrics that Keras does not have."""

import keras


@keras.saving.register_keras_serializable("vaebook")
class MeanLoss(keras.metrics.Mean):
    """Show a loss in the logs as it counts in the objective: the mean over all images.

    Each image counts once, whatever the size of its batch. If the metric is one of the
    `weighted_metrics` of `compile`, each image's loss is multiplied by its sample weight, and
    the sum is divided by the number of images, as in the objective. Keras's own weighted
    metrics divide by the sum of the weights.

    Args:
        loss: a `keras.losses.Loss` that returns one value per image.
        name: the name in the logs.

    Raises:
        TypeError: if the loss is not a `keras.losses.Loss`.

    Source: chapter 9.
    """

    def __init__(self, loss, name="mean_loss", **kwargs):
        super().__init__(name=name, **kwargs)
        if isinstance(loss, dict):  # from a saved model
            loss = keras.losses.deserialize(loss)
        if not isinstance(loss, keras.losses.Loss):
            raise TypeError(f"Expected a keras.losses.Loss. Received: loss={loss!r}.")
        # The same loss, and the same weight if that is a variable, but without the mean over
        # the batch, which this metric takes. copy.copy would save and load the loss.
        self.loss = object.__new__(type(loss))
        vars(self.loss).update({**vars(loss), "reduction": None})

    def update_state(self, y_true, y_pred, sample_weight=None):
        return super().update_state(self.loss(y_true, y_pred, sample_weight))

    def get_config(self):
        return {**super().get_config(), "loss": keras.losses.serialize(self.loss)}
