"""Ways to attach the KL term that train without complaint and are wrong.

`TRAPS` holds them by name, each a `Route`, so that whatever runs on a route runs on a trap.
"""

import keras
import tensorflow as tf
from keras import ops
from vaebook.layers import KLDivergence
from vaebook.losses import ImageCrossentropy
from vaebook.models import TrainStepVAE
from vaebook.networks import build_decoder, build_encoder
from vaebook.routes import Route, encoder_with_layer, image_targets, three_targets


def _build_scalar_losses(spec, weight=1.0, optimizer="adam", seed=None, **compile_options):
    """Part VI as printed: two of the losses return one number for the whole batch."""

    def mu_loss(target, mu):
        return weight * ops.mean(ops.square(mu))

    def log_var_loss(target, log_var):
        return weight * ops.mean(ops.exp(log_var) - 1 - log_var)

    encoder, decoder = build_encoder(spec, seed), build_decoder(spec, seed)
    image = keras.Input(spec.image_shape, name="image")
    z, mu, log_var = encoder(image)
    outputs = {"reconstruction": decoder(z), "mu": mu, "log_var": log_var}
    model = keras.Model(image, outputs, name="vae")
    model.compile(
        optimizer=optimizer,
        loss={"reconstruction": ImageCrossentropy(), "mu": mu_loss, "log_var": log_var_loss},
        **compile_options,
    )
    return model


class _PlainMeanVAE(TrainStepVAE):
    """The training step of many tutorials: plain means, and x alone."""

    told = {"training": True}  # noqa: RUF012 (vaebook.mistakes takes it away)

    def train_step(self, data):
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            z, mu, log_var = self.encoder(x, **self.told)
            reconstructed = self.decoder(z, **self.told)
            reconstruction = ops.mean(ops.binary_crossentropy(x, reconstructed))
            k = ops.square(mu) + ops.exp(log_var) - 1 - log_var
            kl = self.divergence.weight * ops.mean(k)
            loss = reconstruction + kl
        variables = self.trainable_variables
        gradients = tape.gradient(loss, variables)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        self.reconstruction_tracker.update_state(reconstruction)
        self.kl_tracker.update_state(kl)
        self.loss_tracker.update_state(loss)
        return self.get_metrics_result()


def _build_plain_means(spec, weight=1.0, optimizer="adam", seed=None, **compile_options):
    """Part VIII in its common form: nothing is divided by the number of replicas."""
    model = _PlainMeanVAE(build_encoder(spec, seed), build_decoder(spec, seed), weight)
    model.compile(optimizer=optimizer, **compile_options)
    return model


class _LayerWithoutCast(KLDivergence):
    """Part V in its common form: the loss is added in the layer's own precision."""

    def call(self, inputs):
        mu, log_var = inputs
        k = ops.square(mu) + ops.exp(log_var) - 1 - log_var
        self.add_loss(self.divergence.weight * ops.mean(k))
        return list(inputs)


class _MeanRegularizer(keras.regularizers.Regularizer):
    """The KL term as a regulariser of the stacked mu and log_var, averaged over the batch."""

    def __init__(self, weight):
        self.weight = weight

    def __call__(self, stacked):
        mu, log_var = stacked[:, 0], stacked[:, 1]
        k = ops.square(mu) + ops.exp(log_var) - 1 - log_var
        return self.weight * ops.mean(k)


def _build_with_layer(make_layer):
    """Return a builder that puts a layer between mu, log_var and the sampling."""

    def build(spec, weight=1.0, optimizer="adam", seed=None, **compile_options):
        encoder = encoder_with_layer(spec, make_layer(weight), seed)
        image = keras.Input(spec.image_shape, name="image")
        model = keras.Model(image, build_decoder(spec, seed)(encoder(image)[0]), name="vae")
        model.compile(optimizer=optimizer, loss=ImageCrossentropy(), **compile_options)
        return model

    return build


class _Regularized(keras.layers.Layer):
    def __init__(self, weight):
        super().__init__()
        self.inner = keras.layers.Activation(
            "linear", activity_regularizer=_MeanRegularizer(weight)
        )

    def call(self, inputs):
        return ops.unstack(self.inner(ops.stack(inputs, axis=1)), num=2, axis=1)


TRAPS: dict[str, Route] = {
    route.name: route
    for route in (
        Route("scalar_losses", _build_scalar_losses, three_targets),
        Route("plain_means", _build_plain_means, image_targets),
        Route("layer_without_cast", _build_with_layer(_LayerWithoutCast), image_targets),
        Route("mean_regularizer", _build_with_layer(_Regularized), image_targets),
    )
}
"""Ways to attach the KL term that are seen in the wild, and what is wrong with each:
`scalar_losses` return one number for the batch; the training step of `plain_means` ignores
replicas and sample weights; under mixed_bfloat16, `layer_without_cast` adds a bfloat16 loss;
`mean_regularizer` takes a mean that Keras, since 3.14, divides by the batch size once more."""
