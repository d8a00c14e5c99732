"""A small VAE that is compiled once and trained again and again, from new weights each time.

The records of chapter 14 train hundreds of models, and tracing a training step takes longer
than some of these trainings. So beta is a variable, and `VAE.restart` sets all other variables
to what a new model with another seed would have.
"""

import keras
import numpy as np
from keras import layers, ops
from vaebook.evaluation import (
    active_units,
    bernoulli_log_likelihood,
    elbo,
    gaussian_log_likelihood,
)
from vaebook.training import shuffled_batches

SHAPE = (28, 28, 1)
PIXELS = 784


class VAE(keras.Model):
    """Dense layers from an image to mu and log_var, and from z to an image.

    Args:
        latent_dim: the number of latent variables.
        units: those of the encoder's hidden layers; the decoder has them in reverse. With
            () both are linear.
        likelihood: "bernoulli", or "gaussian" with one variance for all pixels.
        learned: whether that variance is trained, from 1 on. If not, it stays 1. Its logarithm
            is ten times a weight: Adam's steps are too short for it to arrive otherwise.
    """

    def __init__(self, latent_dim, units=(128,), likelihood="bernoulli", learned=False):
        super().__init__()
        hidden = [layers.Dense(count, "relu") for count in units]
        self.encoder = keras.Sequential(
            [
                keras.Input(SHAPE),
                layers.Reshape((PIXELS,)),
                *hidden,
                layers.Dense(2 * latent_dim),
            ]
        )
        hidden = [layers.Dense(count, "relu") for count in units[::-1]]
        self.decoder = keras.Sequential(
            [
                keras.Input((latent_dim,)),
                *hidden,
                layers.Dense(PIXELS),
                layers.Reshape(SHAPE),
            ]
        )
        self.bernoulli = likelihood == "bernoulli"
        self.latent_dim = latent_dim
        self.beta = keras.Variable(1.0, trainable=False, name="beta")
        self.tenth = self.add_weight(
            shape=(), initializer="zeros", trainable=learned, name="tenth_of_log_variance"
        )
        self.noise = keras.random.SeedGenerator(0)
        self.build((None, *SHAPE))

    def codes(self, x):
        return ops.split(self.encoder(x), 2, axis=1)

    def image(self, z):
        made = self.decoder(z)
        return ops.sigmoid(made) if self.bernoulli else made

    def call(self, x):
        return self.image(self.codes(x)[0])

    def distortion(self, x, made):
        """Return -log p(x|z) of each image from what the decoder made, in nats."""
        if self.bernoulli:  # softplus(a) - x a is the cross-entropy of x and sigmoid(a)
            return ops.sum(ops.softplus(made) - x * made, axis=(1, 2, 3))
        squares = ops.sum(ops.square(x - made), axis=(1, 2, 3))
        log_variance = 10 * self.tenth
        log_scale = PIXELS * (log_variance + float(np.log(2 * np.pi)))
        return 0.5 * (squares * ops.exp(-log_variance) + log_scale)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        mu, log_var = self.codes(x)
        epsilon = keras.random.normal(ops.shape(mu), seed=self.noise)
        made = self.decoder(mu + ops.exp(0.5 * log_var) * epsilon)
        kl = 0.5 * ops.sum(ops.square(mu) + ops.expm1(log_var) - log_var, axis=1)
        return ops.mean(self.distortion(x, made) + self.beta * kl)

    @property
    def variance(self):
        return float(np.exp(10 * ops.convert_to_numpy(self.tenth)))

    def restart(self, seed):
        """Set every variable to that of a new model with this seed."""
        self.optimizer.build(self.trainable_variables)
        seeds = np.random.default_rng(seed).integers(1, 2**31, size=100).tolist()
        self.noise.state.assign([seeds.pop(), 0])
        for variable in [*self.trainable_variables, *self.optimizer.variables]:
            variable.assign(ops.zeros_like(variable))  # biases, and all that Adam remembers
        for variable in self.trainable_variables:
            if len(variable.shape) == 2:
                glorot = keras.initializers.GlorotUniform(seed=seeds.pop())
                variable.assign(glorot(variable.shape))


def compiled(model, learning_rate, steps):
    """Compile a VAE with Adam and a rate that decays to 0."""
    rate = keras.optimizers.schedules.CosineDecay(learning_rate, steps)
    model.compile(keras.optimizers.Adam(rate), steps_per_execution=20)
    return model


def train(model, x, beta, seed, epochs, batch_size, callbacks=()):
    """Train from new weights."""
    model.restart(seed)
    model.beta.assign(beta)
    batches = shuffled_batches(x, None, batch_size, seed)
    return model.fit(batches, shuffle=False, epochs=epochs, verbose=0, callbacks=[*callbacks])


def described(model, x, samples=1):
    """Return rate, distortion and what each latent variable does, on these images.

    rate           the mean KL, in nats
    distortion     the mean of -log p(x|z), in nats, over `samples` draws for each image
    error          the mean squared error of a pixel, of the same draws
    variances      of each latent variable's mu over the images
    kls            each latent variable's mean KL, in nats
    """

    def encoder(images):
        return [ops.convert_to_numpy(part) for part in model.codes(images)]

    def decoder(z):
        return np.asarray(model.image(z))

    def log_likelihood(images, means):
        errors.append(np.sum((images - means) ** 2, axis=(1, 2, 3)))
        if model.bernoulli:
            return bernoulli_log_likelihood(images, means)
        return gaussian_log_likelihood(images, means, model.variance)

    errors = []
    bound = elbo(encoder, decoder, x, samples=samples, log_likelihood=log_likelihood)
    mu, log_var = (part.astype("float64") for part in encoder(x))
    kls = 0.5 * np.mean(mu**2 + np.expm1(log_var) - log_var, axis=0)
    return {
        "rate": float(bound.kl.mean()),
        "distortion": float(-bound.reconstruction.mean()),
        "error": float(np.concatenate(errors).mean() / PIXELS),
        "variances": rounded(active_units(mu).variances),
        "kls": rounded(kls),
    }


def rounded(values, digits=4):
    """Return numbers with so many significant digits, as a list."""
    return [float(f"{value:.{digits}g}") for value in values]
