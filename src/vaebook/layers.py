"""Layers that Keras does not have."""

import keras
import tensorflow as tf
from keras import ops
from vaebook._checks import whole
from vaebook.losses import KLLoss, weight_from_config, weight_to_config


def _check_pair(input_shape):
    """Raise ValueError unless the input is mu and log_var: two tensors of one shape."""
    one_tensor = not all(isinstance(shape, tuple | list) for shape in input_shape)
    shapes = [tuple(input_shape)] if one_tensor else [tuple(shape) for shape in input_shape]
    if len(shapes) != 2 or shapes[0] != shapes[1]:
        raise ValueError(
            "Expected [mu, log_var], two tensors of one shape (batch, latent_dim). "
            f"Received: shapes {shapes}."
        )


@keras.saving.register_keras_serializable("vaebook")
class Sampling(keras.layers.Layer):
    """Draw z = mu + exp(½ log_var) · epsilon, with epsilon from N(0, 1).

    Called with `[mu, log_var]`, two tensors of one shape (batch, latent_dim). Returns z of
    that shape. The noise does not depend on mu and log_var, so the gradient reaches both:
    this is the reparameterization trick.

    The noise comes from the layer's own seed generator, whose state is saved with the
    weights, so a loaded model continues the saved one's stream. Noise is drawn in float32
    whatever the layer's precision. One seed gives one stream in graph and eager mode; XLA
    draws another stream from the same seed. Each replica of a `tf.distribute` strategy
    draws its own.

    Args:
        seed: an integer ≥ 0 for a fixed stream of noise, or None for one that follows
            `keras.utils.set_random_seed`.

    Raises:
        ValueError: if the input is not two tensors of one shape.

    Source: Kingma and Welling (2014), section 2.4. Chapter 4 builds it step by step.
    """

    def __init__(self, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed = None if seed is None else whole("seed", seed, smallest=0)
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape):
        _check_pair(input_shape)
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


class _MeanWithoutPredict(keras.metrics.Metric):
    """The mean of what a layer computes in training or in evaluation, but not in `predict`.

    A layer cannot tell `evaluate` from `predict`: both call it with training=False. But
    `fit` and `evaluate` reset metrics when they begin. So a call with training=False that
    follows a training step, with no reset in between, is a `predict` in a callback. Such
    calls do not count.
    """

    def __init__(self, name):
        super().__init__(name=name)
        self.sums, self.counts = (
            [
                self.add_variable((), "zeros", name=f"{what}_{when}")
                for when in ("evaluation", "training")
            ]
            for what in ("sum", "count")
        )

    def update_state(self, values, training=False):
        self.sums[training].assign_add(ops.sum(values))
        self.counts[training].assign_add(ops.cast(ops.size(values), self.dtype))

    def result(self):
        evaluation, training = (
            ops.divide_no_nan(total, count)
            for total, count in zip(self.sums, self.counts, strict=True)
        )
        return ops.where(self.counts[True] > 0, training, evaluation)


@keras.saving.register_keras_serializable("vaebook")
class KLDivergence(keras.layers.Layer):
    """Return mu and log_var unchanged, and add their KL term to the model's loss.

    Called with `[mu, log_var]`, two tensors of one shape (batch, latent_dim). Returns the
    same two. At least one of them has to lead to an output of the model: Keras drops a layer
    that leads nowhere, and its loss with it.

    The layer adds weight · mean of k over latent variables and images, in float32 whatever
    its precision. Keras divides this term by the number of replicas, as it divides the losses
    of `compile`. Sample weights do not multiply the term, since no layer sees them. The
    layer's metric `kl_loss` shows the term in the logs as the mean over all images; a
    `predict` in a callback does not change the metric.

    Args:
        weight: as for `vaebook.losses.KLLoss`.

    Raises:
        ValueError: for a negative or non-finite weight, or an input that is not two tensors
            of one shape.

    Source: part V of the article; chapter 9.
    """

    def __init__(self, weight=1.0, **kwargs):
        super().__init__(**kwargs)
        # Keras does not track a variable that a loss holds. As an attribute of the layer, it
        # would be one of the layer's weights, and the optimizer would train it below 0.
        self.divergence = KLLoss(weight, reduction=None)
        self.tracker = _MeanWithoutPredict(name="kl_loss")

    def build(self, input_shape):
        _check_pair(input_shape)
        super().build(input_shape)

    def call(self, inputs, training=None):
        stacked = ops.stack(inputs, axis=1)  # (batch, 2, latent_dim)
        kl = self.divergence(0.0, stacked)  # (batch,), and cast to float32 by the loss
        self.add_loss(ops.mean(kl))
        self.tracker.update_state(kl, training=bool(training))
        return list(inputs)

    def compute_output_shape(self, input_shape):
        return [tuple(shape) for shape in input_shape]

    def get_config(self):
        return {**super().get_config(), "weight": weight_to_config(self.divergence.weight)}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "weight": weight_from_config(config["weight"])})
