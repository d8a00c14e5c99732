"""The loss of a variational autoencoder, one value for each image.

Every class here returns a tensor of shape (batch,). Keras then takes the mean over the
batch, applies sample weights, and divides by the number of replicas. A loss that returns
a scalar has done the first itself and gets neither of the other two (chapter 6).

Write k = mu² + exp(log_var) − 1 − log_var for one latent variable. The divergence of one
image from the prior is ½ Σ k in nats. Part VI of the article that this book goes back to
trains on the mean of k over the latent variables, split into its mu part, mu², and its
log_var part, exp(log_var) − 1 − log_var.

In float32 all of these are finite for mu from −1e18 to 1e18 and log_var up to 80. Beyond
that a loss may be infinite, which the log shows; it is never NaN unless its input is, or
its weight is 0.
"""

import math

import keras
from keras import ops
from vaebook._checks import finite


def _check_rank(name, tensor, rank, expected):
    if len(tensor.shape) != rank:
        raise ValueError(
            f"Expected {name} of shape {expected}. Received: shape {tuple(tensor.shape)}."
        )


def _check_weight(weight):
    """Return a weight that is a number ≥ 0 or a variable holding one."""
    value = float(weight)
    finite("weight", value, zero=True)
    return weight if isinstance(weight, keras.Variable) else value


@keras.saving.register_keras_serializable("vaebook")
class ImageCrossentropy(keras.losses.Loss):
    """Binary cross-entropy of each image, the mean over its pixels.

    Called with images in [0, 1] of shape (batch, height, width, channels), first the true
    ones, then the reconstructed ones. Returns nats per pixel, shape (batch,). Grey pixels
    keep this loss above 0 even where the reconstruction is perfect: it then is the pixels'
    own entropy.

    Raises:
        ValueError: where the two shapes differ or are not of rank 4.

    Source: part VI, where it is `"binary_crossentropy"` on `vae_out_main`.
    """

    def __init__(self, name="image_crossentropy", **kwargs):
        super().__init__(name=name, **kwargs)

    def call(self, y_true, y_pred):
        _check_rank("reconstructions", y_pred, 4, "(batch, height, width, channels)")
        if tuple(y_true.shape[1:]) != tuple(y_pred.shape[1:]):
            raise ValueError(
                f"Expected true images of the reconstruction's shape {tuple(y_pred.shape)}. "
                f"Received: shape {tuple(y_true.shape)}."
            )
        per_pixel = ops.binary_crossentropy(y_true, y_pred)  # (batch, height, width, channels)
        return ops.mean(per_pixel, axis=(1, 2, 3))


class _LatentLoss(keras.losses.Loss):
    """What the two parts of the KL term share: a weight, and a target that nobody reads."""

    def __init__(self, weight=1.0, name=None, **kwargs):
        super().__init__(name=name, **kwargs)
        self.weight = _check_weight(weight)

    def call(self, y_true, y_pred):
        _check_rank(f"y_pred of {self.name}", y_pred, 2, "(batch, latent_dim)")
        return self.weight * ops.mean(self.part(y_pred), axis=-1)

    def get_config(self):
        return {**super().get_config(), "weight": float(self.weight)}


@keras.saving.register_keras_serializable("vaebook")
class MuLoss(_LatentLoss):
    """The mu part of the KL term: weight · the mean of mu² over the latent variables.

    Called with `(y_true, mu)`, `mu` of shape (batch, latent_dim); `y_true` is not read.
    Returns shape (batch,), in the unit of the weight: with part VI's `fact` it adds to a
    cross-entropy per pixel.

    Args:
        weight: a number ≥ 0, or a `keras.Variable` that holds one and may change during
            training. A saved model keeps the value, not the variable.

    Raises:
        ValueError: for a negative or non-finite weight, or a `mu` that is not of rank 2.

    Source: part VI, `mu_loss`, with one value per image in place of a scalar.
    """

    def __init__(self, weight=1.0, name="mu_loss", **kwargs):
        super().__init__(weight=weight, name=name, **kwargs)

    @staticmethod
    def part(mu):
        return ops.square(mu)


@keras.saving.register_keras_serializable("vaebook")
class LogVarLoss(_LatentLoss):
    """The log_var part of the KL term: weight · mean of exp(log_var) − 1 − log_var.

    Called with `(y_true, log_var)`, `log_var` of shape (batch, latent_dim); `y_true` is not
    read. The mean runs over the latent variables. Returns shape (batch,), in the unit of
    the weight, as `MuLoss` does.

    Args:
        weight: as for `MuLoss`.

    Raises:
        ValueError: for a negative or non-finite weight, or a `log_var` not of rank 2.

    Source: part VI, `logvar_loss`, with one value per image in place of a scalar.
    """

    def __init__(self, weight=1.0, name="log_var_loss", **kwargs):
        super().__init__(weight=weight, name=name, **kwargs)

    @staticmethod
    def part(log_var):
        # expm1: near log_var = 0 the difference exp(log_var) − 1 would lose its digits.
        return ops.expm1(log_var) - log_var


@keras.saving.register_keras_serializable("vaebook")
class KLLoss(_LatentLoss):
    """Both parts of the KL term in one loss: weight · the mean of k over the latent variables.

    Called with `(y_true, y_pred)`, where `y_pred` is mu and log_var stacked to shape
    (batch, 2, latent_dim) and `y_true` is not read. Returns shape (batch,), in the unit of
    the weight: the sum of `MuLoss` and `LogVarLoss`.

    Args:
        weight: as for `MuLoss`.

    Raises:
        ValueError: for a negative or non-finite weight, or a `y_pred` not of shape
            (batch, 2, latent_dim).

    Source: part VI, `mu_loss` and `logvar_loss` together.
    """

    def __init__(self, weight=1.0, name="kl_loss", **kwargs):
        super().__init__(weight=weight, name=name, **kwargs)

    def call(self, y_true, y_pred):
        mu, log_var = _unstack(y_pred)
        k = MuLoss.part(mu) + LogVarLoss.part(log_var)
        return self.weight * ops.mean(k, axis=-1)


@keras.saving.register_keras_serializable("vaebook")
class GaussianKL(keras.losses.Loss):
    """The KL divergence from N(mu, exp(log_var)) to N(0, 1), in nats per image: ½ Σ k.

    Called with `(y_true, y_pred)`, where `y_pred` is mu and log_var stacked to shape
    (batch, 2, latent_dim) and `y_true` is not read. Returns shape (batch,).

    `keras.losses.KLDivergence` is another thing: it compares discrete distributions.

    Raises:
        ValueError: where `y_pred` is not of shape (batch, 2, latent_dim).

    Source: Kingma and Welling (2014), appendix B.
    """

    def __init__(self, name="gaussian_kl", **kwargs):
        super().__init__(name=name, **kwargs)

    def call(self, y_true, y_pred):
        mu, log_var = _unstack(y_pred)
        return 0.5 * ops.sum(MuLoss.part(mu) + LogVarLoss.part(log_var), axis=-1)


def _unstack(y_pred):
    """Return mu and log_var out of their stack."""
    expected = "(batch, 2, latent_dim)"
    _check_rank("mu and log_var, stacked,", y_pred, 3, expected)
    if y_pred.shape[1] != 2:
        raise ValueError(
            f"Expected mu and log_var stacked to shape {expected}. "
            f"Received: shape {tuple(y_pred.shape)}."
        )
    return y_pred[:, 0], y_pred[:, 1]


def _kl_weights_in_objective(image_shape, latent_dim):
    """How many units of beta one unit of part VI's weight is, for this size of image."""
    pixels = math.prod(image_shape)
    if len(image_shape) != 3 or pixels < 1:
        raise ValueError(
            "Expected image_shape (height, width, channels), each ≥ 1. "
            f"Received: image_shape={tuple(image_shape)}."
        )
    if latent_dim < 1:
        raise ValueError(f"Expected latent_dim ≥ 1. Received: latent_dim={latent_dim}.")
    return 2 * pixels / latent_dim


def weight_from_beta(beta, image_shape, latent_dim):
    """Return the weight with which part VI's loss is the beta-VAE's, divided by the pixels.

    Mean over pixels of BCE + weight · mean of k, times the number of pixels P, is
    Σ BCE + beta · KL for weight = beta · latent_dim / (2 P).

    Args:
        beta: the factor of the KL term in nats per image, ≥ 0; 1 is the plain VAE.
        image_shape: (height, width, channels).
        latent_dim: the number of latent variables.

    Raises:
        ValueError: for a negative beta, a wrong shape, or latent_dim < 1.

    Source: Higgins et al. (2017) for beta; part VI calls the weight `fact`.
    """
    return float(_check_weight(beta)) / _kl_weights_in_objective(image_shape, latent_dim)


def beta_from_weight(weight, image_shape, latent_dim):
    """Return the beta that a weight in part VI's loss amounts to: 2 P · weight / latent_dim.

    The inverse of `weight_from_beta`; arguments, errors and source as there.
    """
    return float(_check_weight(weight)) * _kl_weights_in_objective(image_shape, latent_dim)


def beta_of_reductions(
    image_shape,
    latent_dim,
    *,
    pixels="sum",
    latents="sum",
    reconstruction_factor=1.0,
    kl_factor=0.5,
    error="crossentropy",
    pixel_variance=1.0,
):
    """Return the beta that a loss trains with, from how it adds up its two terms.

    The loss is reconstruction_factor · (sum or mean over pixels of the error) + kl_factor ·
    (sum or mean over latent variables of k). Both terms treat the batch alike. In nats per
    image such a loss is, up to one factor in front of all, reconstruction + beta · KL.

    Args:
        image_shape: (height, width, channels).
        latent_dim: the number of latent variables.
        pixels, latents: "sum" or "mean", over the values of an image and over k.
        reconstruction_factor: what the reconstruction is multiplied with, > 0.
        kl_factor: what k's sum or mean is multiplied with, ≥ 0; the KL itself has ½.
        error: "crossentropy", in nats, or "squared", the squared error without a ½. A
            squared error is 2 · pixel_variance · nats for normal pixels, but for a constant.
        pixel_variance: that of the normal pixels, > 0; read for squared errors only. Who
            writes no variance down has chosen one all the same.

    Raises:
        ValueError: for an unknown reduction or error, sizes < 1, or factors out of range.

    Source: chapter 2.
    """
    for name, value, known in (
        ("pixels", pixels, ("sum", "mean")),
        ("latents", latents, ("sum", "mean")),
        ("error", error, ("crossentropy", "squared")),
    ):
        if value not in known:
            raise ValueError(f"Expected {name} to be one of {known}. Received: {value!r}.")
    finite("reconstruction_factor", reconstruction_factor)
    finite("pixel_variance", pixel_variance)
    finite("kl_factor", kl_factor, zero=True)
    _kl_weights_in_objective(image_shape, latent_dim)  # refuses wrong sizes
    of_nats = reconstruction_factor * (2 * pixel_variance if error == "squared" else 1)
    of_kl = 2 * kl_factor
    if pixels == "mean":
        of_nats /= math.prod(image_shape)
    if latents == "mean":
        of_kl /= latent_dim
    return of_kl / of_nats
