"""How good a trained model is, in nats per image: bounds on its log-likelihood.

The bounds are estimates from drawn points, so their functions take the number of samples and
a seed, and their results carry both. Image number i draws its noise from
`numpy.random.default_rng([seed, i])`, so its result depends neither on the batch size nor on
the images after it. If you ask for more samples, the first ones stay the same.

An encoder is a Keras model or a function that gives mu and log_var as the last two of its
outputs. A decoder is a Keras model or a function from z, shape (batch, latent_dim), to what
the likelihood needs: the probabilities of the pixels, or their means. mu is accepted from
−1e18 to 1e18, and log_var up to 80, well within the range of float32; other values raise an
error.

With grey pixels the Bernoulli "likelihood" is not one: over all images it does not integrate
to 1. Compare such numbers with each other, and quote likelihoods for binary images only.
`continuous_bernoulli_log_likelihood` integrates to 1, and is a density of grey pixels.

With two latent variables nothing need be drawn: `vaebook.grid` computes log p(x) itself.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from vaebook._checks import finite, pixels, whole

LARGEST_MU = 1e18
LARGEST_LOG_VAR = 80.0
CLIP = 1e-7  # as Keras clips probabilities, so that no pixel costs more than 16.2 nats

LogLikelihood = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Elbo(NamedTuple):
    """Nats per image, shape (n,) each: `elbo` is `reconstruction` − `kl`."""

    elbo: np.ndarray
    reconstruction: np.ndarray
    kl: np.ndarray
    samples: int
    seed: int


class Bound(NamedTuple):
    """A lower bound on the log-likelihood of each image, in nats, shape (n,).

    `effective_samples`, shape (n,), tells how evenly its weights are spread: `samples` if all
    are equal, and 1 if one of them is all that counts.
    """

    bound: np.ndarray
    samples: int
    seed: int
    effective_samples: np.ndarray


class ActiveUnits(NamedTuple):
    """How many latent variables are in use, and the variance of each one's mu."""

    count: int
    variances: np.ndarray
    threshold: float


def bernoulli_log_likelihood(images: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return log p(x|z) of each image under independent pixels, in nats, shape (n,).

    Args:
        images: pixels in [0, 1], shape (n, height, width, channels).
        probabilities: the decoder's, of the same shape. They are clipped to
            [1e-7, 1 − 1e-7]. Clipped, they are still the probabilities of a distribution.

    Raises:
        ValueError: for another shape, or values outside [0, 1] or not finite.

    Source: Kingma and Welling (2014), appendix C.1.
    """
    pixels("images", images)
    if np.shape(images) != np.shape(probabilities):
        raise ValueError(
            f"Expected probabilities of the images' shape {np.shape(images)}. "
            f"Received: shape {np.shape(probabilities)}."
        )
    pixels("probabilities", probabilities)
    x = np.asarray(images, "float64")
    p = np.clip(np.asarray(probabilities, "float64"), CLIP, 1 - CLIP)
    return np.sum(x * np.log(p) + (1 - x) * np.log1p(-p), axis=(1, 2, 3))


def continuous_bernoulli_log_likelihood(
    images: np.ndarray, probabilities: np.ndarray
) -> np.ndarray:
    """Return log p(x|z) of each image under continuous Bernoulli pixels, in nats, shape (n,).

    It is the Bernoulli's expression plus the logarithm of what makes it integrate to 1 over
    x in [0, 1]. It is a density: it may exceed 1, and does so for a decoder that is sure that
    a pixel is black.

    Args:
        images: pixels in [0, 1], shape (n, height, width, channels).
        probabilities: the decoder's, of the same shape. Here they are a parameter, λ, and
            not the means of the pixels. They are clipped as for `bernoulli_log_likelihood`,
            and an image with pixels of exactly 0 or 1 could gain without limit if they were
            not.

    Raises:
        ValueError: as for `bernoulli_log_likelihood`.

    Source: Loaiza-Ganem and Cunningham (2019); chapter 13.
    """
    bernoulli = bernoulli_log_likelihood(images, probabilities)
    return bernoulli + continuous_bernoulli_log_normaliser(probabilities).sum(axis=(1, 2, 3))


def continuous_bernoulli_log_normaliser(probabilities: np.ndarray) -> np.ndarray:
    """Return log C(λ), for which C(λ) λ^x (1 − λ)^(1 − x) integrates to 1 over x in [0, 1].

    With the logit η = log λ − log(1 − λ), C is η / tanh(η / 2). At λ = ½ that is 0 / 0; near
    it the first terms of the series are taken, log 2 + η² / 12 − 7 η⁴ / 1440.

    Args:
        probabilities: λ, of any shape, in [0, 1] and clipped to [1e-7, 1 − 1e-7].

    Raises:
        ValueError: for values outside [0, 1] or not finite.

    Source: Loaiza-Ganem and Cunningham (2019); chapter 13.
    """
    given = np.asarray(probabilities, "float64")
    if not np.all((given >= 0) & (given <= 1)):  # NaN is refused too
        raise ValueError(
            "Expected probabilities in [0, 1]. "
            f"Received: values from {given.min()} to {given.max()}."
        )
    given = np.clip(given, CLIP, 1 - CLIP)
    logits = np.log(given) - np.log1p(-given)
    near = np.abs(logits) < 1e-2
    apart = np.where(near, 1.0, logits)
    series = np.log(2) + logits**2 / 12 - 7 * logits**4 / 1440
    return np.where(near, series, np.log(apart / np.tanh(apart / 2)))


def gaussian_log_likelihood(
    x: np.ndarray, means: np.ndarray, variance: float = 1.0
) -> np.ndarray:
    """Return log p(x|z) under independent normal values of one variance, in nats, shape (n,).

    Args:
        x, means: of one shape (n, …).
        variance: that of every value, > 0.

    Raises:
        ValueError: for different shapes or a variance that is not positive and finite.

    Source: Kingma and Welling (2014), appendix C.2, with one variance for all.
    """
    if np.shape(x) != np.shape(means):
        raise ValueError(
            f"Expected means of x's shape {np.shape(x)}. Received: shape {np.shape(means)}."
        )
    finite("variance", variance)
    errors = np.asarray(x, "float64") - np.asarray(means, "float64")
    each = -0.5 * (errors**2 / variance + np.log(2 * np.pi * variance))
    return each.reshape(len(each), -1).sum(axis=1)


def gaussian_kl(mu: np.ndarray, log_var: np.ndarray) -> np.ndarray:
    """Return the KL divergence from N(mu, exp(log_var)) to N(0, 1), in nats, shape (n,).

    The same as `vaebook.losses.GaussianKL`, but in float64 and with its input checked.

    Args:
        mu, log_var: shape (n, latent_dim). A negative log_var is a variance below 1.

    Raises:
        ValueError: for other shapes, or values that are not finite or outside the range that
            the head of this module gives.

    Source: Kingma and Welling (2014), appendix B.
    """
    mu, log_var = checked_codes(mu, log_var)
    return 0.5 * np.sum(mu**2 + np.expm1(log_var) - log_var, axis=1)


def elbo(
    encoder: Callable[[np.ndarray], Any],
    decoder: Callable[[np.ndarray], Any],
    images: np.ndarray,
    samples: int = 1,
    seed: int = 0,
    batch_size: int = 1_000,
    log_likelihood: LogLikelihood = bernoulli_log_likelihood,
) -> Elbo:
    """Return the evidence lower bound of each image, and the two terms that it is made of.

    The reconstruction term is a mean over `samples` drawn points; the KL term is exact.

    Args:
        encoder, decoder: see the head of this module.
        images: shape (n, …), n ≥ 1.
        samples: how many points to draw for each image, ≥ 1.
        seed: fixes the noise.
        batch_size: how many points are decoded at once. The memory needed is that of
            decoding this many, plus 8 · latent_dim bytes for each of max(batch_size, samples)
            points, whatever n is.
        log_likelihood: from images and decoded points to log p(x|z), shape (n,).

    Raises:
        TypeError, ValueError: for counts that are not integers ≥ 1, or an encoder, a decoder
            or images that give anything but finite numbers of the expected shape.

    Source: Kingma and Welling (2014), equation 3; chapter 2.
    """
    x, mu, log_var = _encoded(encoder, images, batch_size)
    blocks = _drawn(decoder, x, mu, log_var, samples, seed, batch_size, log_likelihood)
    reconstruction = np.concatenate([given_z.mean(axis=1) for *_, given_z in blocks])
    kl = gaussian_kl(mu, log_var)
    return Elbo(reconstruction - kl, reconstruction, kl, samples, seed)


def importance_weighted_bound(
    encoder: Callable[[np.ndarray], Any],
    decoder: Callable[[np.ndarray], Any],
    images: np.ndarray,
    samples: int,
    seed: int = 0,
    batch_size: int = 1_000,
    log_likelihood: LogLikelihood = bernoulli_log_likelihood,
) -> Bound:
    """Return log of the mean of p(x, z) / q(z|x) over drawn points, for each image.

    With one sample, its expectation is the ELBO. With more samples the expectation never
    falls, and it approaches log p(x) from below, if q is positive wherever the posterior is
    and the ELBO is finite. Nothing promises how fast: the weights of a narrow q may have no
    finite variance. Weights are added up as logarithms, so none underflows.

    Args:
        samples: how many points to draw for each image, ≥ 1; the k of the paper.
        encoder, decoder, images, seed, batch_size, log_likelihood: as for `elbo`, and so is
            the memory.

    Raises:
        TypeError, ValueError: as for `elbo`.

    Source: Burda, Grosse and Salakhutdinov (2016), equation 8; chapters 2 and 13. The number
    of effective samples is (Σ w)² / Σ w².
    """
    x, mu, log_var = _encoded(encoder, images, batch_size)
    blocks = _drawn(decoder, x, mu, log_var, samples, seed, batch_size, log_likelihood)
    bounds, effective = [], []
    for rows, noise, z, given_z in blocks:
        # log p(z) − log q(z|x): both have the same constant, (z − mu) / spread is the noise,
        # and the logarithm of the spread is ½ log_var.
        log_ratio = 0.5 * (
            np.sum(noise**2 - z**2, axis=2) + log_var[rows].sum(axis=1, keepdims=True)
        )
        log_weights = given_z + log_ratio
        log_sum = np.logaddexp.reduce(log_weights, axis=1)
        log_sum_of_squares = np.logaddexp.reduce(2 * log_weights, axis=1)
        bounds.append(log_sum - np.log(samples))
        effective.append(np.exp(2 * log_sum - log_sum_of_squares))
    return Bound(np.concatenate(bounds), samples, seed, np.concatenate(effective))


def active_units(mu: np.ndarray, threshold: float = 0.01) -> ActiveUnits:
    """Count the latent variables whose mu varies from image to image.

    Args:
        mu: the encoder's, for many images, shape (n, latent_dim), n ≥ 2.
        threshold: a latent variable is active if the variance of its mu exceeds this.

    Raises:
        ValueError: for another shape, values that are not finite, or a negative threshold.

    Source: Burda, Grosse and Salakhutdinov (2016), section 5.2, and their threshold.
    """
    mu = np.asarray(mu, "float64")
    if mu.ndim != 2 or len(mu) < 2 or mu.shape[1] < 1:
        raise ValueError(
            f"Expected mu of shape (n, latent_dim), n ≥ 2. Received: shape {mu.shape}."
        )
    _check_finite("mu", mu)
    finite("threshold", threshold, zero=True)
    variances = mu.var(axis=0)
    return ActiveUnits(int(np.sum(variances > threshold)), variances, float(threshold))


def _check_finite(name, array):
    wrong = int(np.sum(~np.isfinite(array)))
    if wrong:
        raise ValueError(
            f"Expected finite values of {name}. Received: {wrong} of {array.size} are not."
        )


def checked_codes(mu, log_var):
    """Return mu and log_var in float64; raise ValueError if they are out of range."""
    mu, log_var = np.asarray(mu, "float64"), np.asarray(log_var, "float64")
    if mu.ndim != 2 or mu.shape != log_var.shape or mu.shape[1] < 1:
        raise ValueError(
            "Expected mu and log_var of one shape (n, latent_dim). "
            f"Received: shapes {mu.shape} and {log_var.shape}."
        )
    _check_finite("mu", mu)
    _check_finite("log_var", log_var)
    if np.any(np.abs(mu) > LARGEST_MU):
        raise ValueError(
            f"Expected |mu| ≤ {LARGEST_MU:g}. Received: mu up to {np.abs(mu).max():g}."
        )
    if np.any(log_var > LARGEST_LOG_VAR):
        raise ValueError(
            f"Expected log_var ≤ {LARGEST_LOG_VAR:g}. "
            f"Received: log_var up to {log_var.max():g}."
        )
    return mu, log_var


def _encoded(encoder, images, batch_size):
    x = np.asarray(images)
    batch_size = whole("batch_size", batch_size)
    if x.ndim < 2 or len(x) == 0:
        raise ValueError(f"Expected images of shape (n, …), n ≥ 1. Received: shape {x.shape}.")
    _check_finite("the images", x)
    parts = []
    for start in range(0, len(x), batch_size):
        outputs = encoder(x[start : start + batch_size])
        if not isinstance(outputs, list | tuple) or len(outputs) < 2:
            raise TypeError(
                "Expected an encoder whose last two outputs are mu and log_var. "
                f"Received: {type(outputs).__name__}."
            )
        parts.append([np.asarray(output) for output in outputs[-2:]])
    mu, log_var = (np.concatenate(part) for part in zip(*parts, strict=True))
    if len(mu) != len(x):
        raise ValueError(f"Expected {len(x)} rows of mu. Received: shape {mu.shape}.")
    return x, *checked_codes(mu, log_var)


def _decoded(decoder, z):
    return np.asarray(decoder(z.astype("float32")))


def _drawn(
    decoder, x, mu, log_var, samples, seed, batch_size, log_likelihood
) -> Iterator[tuple[range, np.ndarray, np.ndarray, np.ndarray]]:
    """Yield rows, noise, z and log p(x|z), some images at a time and all samples of each.

    Shapes: noise and z (images, samples, latent_dim), log p(x|z) (images, samples).
    """
    samples, batch_size = whole("samples", samples), whole("batch_size", batch_size)
    at_once = max(1, batch_size // samples)
    spread = np.exp(log_var / 2)
    latent_dim = mu.shape[1]
    for start in range(0, len(x), at_once):
        rows = range(start, min(start + at_once, len(x)))
        generators = [np.random.default_rng([seed, row]) for row in rows]
        noise = np.stack([rng.normal(size=(samples, latent_dim)) for rng in generators])
        z = mu[rows, np.newaxis] + spread[rows, np.newaxis] * noise
        points = z.reshape(-1, latent_dim)
        of_image = np.repeat(rows, samples)
        given_z = np.concatenate(
            [
                log_likelihood(
                    x[of_image[first : first + batch_size]],
                    _decoded(decoder, points[first : first + batch_size]),
                )
                for first in range(0, len(points), batch_size)
            ]
        )
        if np.shape(given_z) != (len(points),):
            raise ValueError(
                f"Expected one log-likelihood for each of {len(points)} points. "
                f"Received: shape {np.shape(given_z)}."
            )
        _check_finite("the log-likelihood", given_z)
        yield rows, noise, z, given_z.reshape(len(rows), samples)
