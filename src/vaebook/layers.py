"""Layers that Keras does not have."""

import keras
import tensorflow as tf
from keras import ops


@keras.saving.register_keras_serializable("vaebook")
class Sampling(keras.layers.Layer):
    """Draw z = mu + exp(½ log_var) · epsilon, with epsilon from N(0, 1).

    Called with `[mu, log_var]`, two tensors of one shape (batch, latent_dim). Returns z of
    that shape. The gradient reaches mu and log_var because the noise is drawn apart from
    both ("reparameterisation").

    The noise comes from the layer's own seed generator, whose state is saved with the
    weights: a model that is loaded goes on where the saved one stopped. Noise is drawn in
    float32 whatever the layer's precision, so one seed gives one stream, in graph and eager
    mode alike; XLA draws another stream from it. Each replica of a `tf.distribute` strategy
    draws its own.

    Args:
        seed: an integer for a fixed stream of noise, or None for a random one.

    Raises:
        ValueError: where the input is not two tensors of one shape.

    Source: Kingma and Welling (2014), section 2.4. Chapter 4 builds it step by step.
    """

    def __init__(self, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape):
        shapes = [tuple(shape) for shape in input_shape]
        if len(shapes) != 2 or shapes[0] != shapes[1]:
            raise ValueError(
                "Expected [mu, log_var], two tensors of one shape (batch, latent_dim). "
                f"Received: shapes {shapes}."
            )
        super().build(input_shape)

    def call(self, inputs):
        mu, log_var = inputs
        noise = self.noise(ops.shape(mu))
        return mu + ops.exp(0.5 * log_var) * ops.cast(noise, mu.dtype)

    def noise(self, shape):
        """Return the next noise of this shape: (batch, latent_dim), float32."""
        seed = self.seed_generator.next()
        context = tf.distribute.get_replica_context()
        if context is not None and context.num_replicas_in_sync > 1:
            # Keras gives every replica the same seed; the replica's number tells them apart.
            seed = tf.random.fold_in(seed, context.replica_id_in_sync_group)
        return tf.random.stateless_normal(shape, seed)

    def compute_output_shape(self, input_shape):
        return tuple(input_shape[0])

    def save_own_variables(self, store):
        store["seed_state"] = self.seed_generator.state.numpy()

    def load_own_variables(self, store):
        self.seed_generator.state.assign(store["seed_state"])

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}
