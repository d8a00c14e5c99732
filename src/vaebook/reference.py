"""Part VI's objective, implemented a second time to check the routes against.

Everything here is float64 and shares no code with the losses, layers and routes: it takes a
list of weights and the noise, and returns the loss of each image, or its gradient. Its own
tests compare the gradient with finite differences.
"""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from vaebook.networks import NetworkSpec

SLOPE = 0.3
"""The slope of Keras's LeakyReLU below 0."""


def _activate(x):
    return tf.where(x > 0, x, SLOPE * x)


def losses_of_images(
    spec: NetworkSpec, weights: Sequence, images: np.ndarray, noise: np.ndarray
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the cross-entropy and the mean of k for each image, two tensors of shape (n,).

    Args:
        spec: the sizes; only LeakyReLU, without batch normalisation and dropout.
        weights: what `model.get_weights()` returns, encoder first.
        images: shape (n, height, width, channels), in [0, 1].
        noise: what `Sampling` draws, shape (n, latent_dim).

    Raises:
        ValueError: for a network with another activation, normalisation or dropout.
    """
    images, noise = (tf.cast(array, "float64") for array in (images, noise))
    remaining = iter(tf.cast(array, "float64") for array in weights)
    mu, log_var = _encode(spec, remaining, images)
    x = (mu + tf.exp(log_var / 2) * noise) @ next(remaining) + next(remaining)
    x = tf.reshape(x, (len(images), *spec.feature_shape))
    for number, stride in enumerate(spec.decoder_strides):
        if number:
            x = _activate(x)
        kernel, bias = next(remaining), next(remaining)
        shape = (len(images), stride * x.shape[1], stride * x.shape[2], kernel.shape[2])
        x = tf.nn.conv2d_transpose(x, kernel, shape, stride, "SAME") + bias
    # −t·ln p − (1 − t)·ln(1 − p) for p = 1 / (1 + exp(−x)), as one softplus
    crossentropy = tf.reduce_mean(tf.math.softplus(x) - images * x, axis=(1, 2, 3))
    k = mu**2 + tf.exp(log_var) - 1 - log_var
    return crossentropy, tf.reduce_mean(k, axis=1)


def codes_of_images(spec: NetworkSpec, weights: Sequence, images: np.ndarray) -> tuple:
    """Return mu and log_var of each image, two tensors of shape (n, latent_dim).

    Args:
        spec, weights, images: as for `losses_of_images`.
    """
    remaining = iter(tf.cast(array, "float64") for array in weights)
    return _encode(spec, remaining, tf.cast(images, "float64"))


def _encode(spec, remaining, x):
    """Take the encoder's weights out of what remains, and return mu and log_var."""
    if spec.activation != "leaky_relu" or spec.batch_norm or spec.dropout:
        raise ValueError(
            f"Expected a network of LeakyReLU without batch_norm and dropout. Received: {spec}."
        )
    for stride in spec.encoder_strides:
        kernel, bias = next(remaining), next(remaining)
        x = _activate(tf.nn.conv2d(x, kernel, stride, "SAME") + bias)
    x = tf.reshape(x, (len(x), -1))
    mu = x @ next(remaining) + next(remaining)  # (n, latent_dim)
    return mu, x @ next(remaining) + next(remaining)


def loss_and_gradients(
    spec: NetworkSpec,
    weights: Sequence,
    images: np.ndarray,
    noise: np.ndarray,
    factors: Sequence | float = 1.0,
    kl_factors: Sequence | float = 0.0,
) -> tuple[float, list[np.ndarray]]:
    """Return mean(factors · cross-entropy + kl_factors · mean of k) and its gradients.

    Args:
        spec, weights, images, noise: as for `losses_of_images`.
        factors, kl_factors: one number each, or one for each image. In part VI's objective
            they are 1 and `weight`.
    """
    variables = [tf.Variable(tf.cast(array, "float64")) for array in weights]
    with tf.GradientTape() as tape:
        crossentropy, k = losses_of_images(spec, variables, images, noise)
        loss = tf.reduce_mean(
            tf.cast(factors, "float64") * crossentropy + tf.cast(kl_factors, "float64") * k
        )
    gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
    return float(loss), [gradient.numpy() for gradient in gradients]


def adam(weights: Sequence, gradients_at, steps: int, learning_rate: float = 1e-3) -> list:
    """Return the weights after some steps of Adam, with Keras's default settings.

    Args:
        weights: where to start.
        gradients_at: a function from weights and the step's number, from 0, to gradients.
        steps: how many steps.
        learning_rate: Adam's.

    Source: Kingma and Ba (2015), algorithm 1, in the order of its section 2.
    """
    beta_1, beta_2, epsilon = 0.9, 0.999, 1e-7
    weights = [np.asarray(array, "float64") for array in weights]
    first = [np.zeros_like(array) for array in weights]
    second = [np.zeros_like(array) for array in weights]
    for step in range(steps):
        rate = learning_rate * np.sqrt(1 - beta_2 ** (step + 1)) / (1 - beta_1 ** (step + 1))
        for number, gradient in enumerate(gradients_at(weights, step)):
            first[number] = beta_1 * first[number] + (1 - beta_1) * gradient
            second[number] = beta_2 * second[number] + (1 - beta_2) * gradient**2
            move = rate * first[number] / (np.sqrt(second[number]) + epsilon)
            weights[number] = weights[number] - move
    return weights


class GradientKeeper(keras.optimizers.Optimizer):
    """An optimizer that keeps the gradient it is given and leaves the weights alone.

    With it you can look at the gradient of a real training step, on any number of replicas.
    After a step the gradient is in `kept`, a list of arrays in the order of the trainable
    variables.
    """

    def __init__(self):
        super().__init__(learning_rate=1.0, name="gradient_keeper")

    def build(self, variables):
        if not self.built:
            super().build(variables)
            self.gradients = [
                self.add_variable_from_reference(variable, name="gradient")
                for variable in variables
            ]

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        self.assign(self.gradients[index], keras.ops.cast(gradient, variable.dtype))

    @property
    def kept(self):
        return [np.asarray(gradient.numpy(), "float64") for gradient in self.gradients]


def flat(arrays: Sequence) -> np.ndarray:
    """Return all numbers of some arrays in one vector."""
    return np.concatenate([np.ravel(array) for array in arrays])


def relative_error(received: Sequence, expected: Sequence) -> float:
    """Return the distance of two lists of arrays, divided by the norm of the second."""
    received, expected = flat(received), flat(expected)
    return float(np.linalg.norm(received - expected) / np.linalg.norm(expected))
