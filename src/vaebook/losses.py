"""The loss of a variational autoencoder, one value for each image.

Every class here returns a tensor of shape (batch,). Keras then takes the mean over the
batch, applies sample weights, and divides by the number of replicas. If a loss returns a
scalar, it has taken the mean itself, and Keras gets both sample weights and replicas wrong
(chapter 6).

Write k = mu² + exp(log_var) − 1 − log_var for one latent variable. The divergence of one
image from the prior is ½ Σ k in nats. Part VI of the article that this book starts from
trains on the mean of k over the latent variables, split into its mu part, mu², and its
log_var part, exp(log_var) − 1 − log_var.

In float32 all of these losses are finite for mu from −1e18 to 1e18 and log_var up to 80.
Beyond that range a loss may be infinite, and the log shows it. A loss is NaN only if its
input is NaN, or if its weight is 0 beyond that range.
"""

import math
from collections.abc import Sequence

import keras
import tensorflow as tf
from keras import ops
from vaebook._checks import finite, number, whole


def _check_rank(name, tensor, rank, expected):
    if len(tensor.shape) != rank:
        raise ValueError(
            f"Expected {name} of shape {expected}. Received: shape {tuple(tensor.shape)}."
        )


def _may_be_equal(one, other):
    """Tell whether two shapes may be equal. The batch size and unknown sizes are ignored."""
    return len(one) == len(other) and all(
        None in pair or pair[0] == pair[1] for pair in zip(one[1:], other[1:], strict=True)
    )


def value_of(variable: keras.Variable) -> float:
    """Return the value of a scalar variable, even of one made inside a strategy's scope."""
    return float(ops.convert_to_numpy(variable))  # float(variable) fails if it has replicas


def _check_weight(weight):
    """Return a weight as a float, or the variable that holds it."""
    if isinstance(weight, keras.Variable):
        finite("weight", value_of(weight), zero=True)
        return weight
    if isinstance(weight, tf.Variable):
        raise TypeError(
            "Expected weight to be a number or a keras.Variable. Received: a tf.Variable, "
            "which a Keras loss would read once and then treat as a constant."
        )
    return number("weight", weight, zero=True)


@keras.saving.register_keras_serializable("vaebook")
class LossWeight:
    """How a saved model stores a weight that is a variable: its value, and who shares it.

    If an object occurs twice in a model, Keras saves it once. There is one `LossWeight` for
    each variable, so two losses that share a variable still share one after loading.

    Args:
        value: the weight when the model was saved.
    """

    def __init__(self, value=1.0):
        self.variable = keras.Variable(value, dtype="float32", name="weight", trainable=False)

    @classmethod
    def of(cls, variable):
        """Return the one `LossWeight` of a variable."""
        if not hasattr(variable, "vaebook_loss_weight"):
            shared = cls.__new__(cls)
            shared.variable = variable
            variable.vaebook_loss_weight = shared
        return variable.vaebook_loss_weight

    def get_config(self):
        return {"value": value_of(self.variable)}

    @classmethod
    def from_config(cls, config):
        loaded = cls(**config)
        loaded.variable.vaebook_loss_weight = loaded
        return loaded


def weight_to_config(weight: float | keras.Variable) -> float | LossWeight:
    """Return a weight as a config holds it: a number, or a `LossWeight` for a variable."""
    # Not serialised here: Keras notices a shared object only if it serialises it itself.
    return LossWeight.of(weight) if isinstance(weight, keras.Variable) else weight


def weight_from_config(saved: float | LossWeight | dict) -> float | keras.Variable:
    """Return the weight that `weight_to_config` put into a config."""
    if isinstance(saved, dict):
        saved = keras.saving.deserialize_keras_object(saved)
    return saved.variable if isinstance(saved, LossWeight) else saved


class _LossOfImages(keras.losses.Loss):
    """What all losses here share: one value for each image, and one sample weight."""

    def __call__(self, y_true, y_pred, sample_weight=None):
        shape = tuple(getattr(sample_weight, "shape", ()))
        # Weights of pixels may broadcast without an error: for 8 images of 8 × 8 they would.
        if len(shape) > 1 and shape[1:] != (1,):
            raise ValueError(
                "Expected sample_weight of shape (batch,), one number for each image. "
                f"Received: shape {shape}."
            )
        return super().__call__(y_true, y_pred, sample_weight)


@keras.saving.register_keras_serializable("vaebook")
class ImageCrossentropy(_LossOfImages):
    """Binary cross-entropy of each image, the mean over its pixels.

    Called with images in [0, 1] of shape (batch, height, width, channels), first the true
    ones, then the reconstructed ones. Returns nats per pixel, shape (batch,). Grey pixels
    keep this loss above 0 even if the reconstruction is perfect: what remains is the entropy
    of the pixels.

    Raises:
        ValueError: if the two shapes differ or are not of rank 4, or if there is more than
            one sample weight for each image.

    Source: part VI, where it is `"binary_crossentropy"` on `vae_out_main`.
    """

    def __init__(self, name="image_crossentropy", **kwargs):
        super().__init__(name=name, **kwargs)

    def call(self, y_true, y_pred):
        _check_rank("reconstructions", y_pred, 4, "(batch, height, width, channels)")
        if not _may_be_equal(y_true.shape, y_pred.shape):
            raise ValueError(
                f"Expected true images of the reconstruction's shape {tuple(y_pred.shape)}. "
                f"Received: shape {tuple(y_true.shape)}. A dataset of (image, label) has to "
                "be mapped to (image, image) first."
            )
        per_pixel = ops.binary_crossentropy(y_true, y_pred)  # (batch, height, width, channels)
        return ops.mean(per_pixel, axis=(1, 2, 3))


class _LatentLoss(_LossOfImages):
    """What the parts of the KL term share: a weight, and a target that they do not read."""

    def __init__(self, weight=1.0, name=None, **kwargs):
        super().__init__(name=name, **kwargs)
        self.weight = _check_weight(weight)

    def call(self, y_true, y_pred):
        _check_rank(f"y_pred of {self.name}", y_pred, 2, "(batch, latent_dim)")
        return self.weight * ops.mean(self.part(y_pred), axis=-1)

    def get_config(self):
        return {**super().get_config(), "weight": weight_to_config(self.weight)}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "weight": weight_from_config(config["weight"])})


@keras.saving.register_keras_serializable("vaebook")
class MuLoss(_LatentLoss):
    """The mu part of the KL term: weight · the mean of mu² over the latent variables.

    Called with `(y_true, mu)`, `mu` of shape (batch, latent_dim); `y_true` is not read.
    Returns shape (batch,). The weight sets the unit: with part VI's `fact`, the loss can be
    added to a cross-entropy per pixel.

    Args:
        weight: a number ≥ 0, or a `keras.Variable` that holds one and may change during
            training. A loaded model has a variable of its own, with the value that the
            saved one had: `vaebook.training.weight_variable` finds it.

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
    read. The mean is over the latent variables. Returns shape (batch,). The weight sets the
    unit, as for `MuLoss`.

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
    (batch, 2, latent_dim) and `y_true` is not read. Returns shape (batch,), the sum of
    `MuLoss` and `LogVarLoss`, in their unit.

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
        return self.weight * ops.mean(k_of(*_unstack(y_pred)), axis=-1)


@keras.saving.register_keras_serializable("vaebook")
class GaussianKL(_LossOfImages):
    """The KL divergence from N(mu, exp(log_var)) to N(0, 1), in nats per image: ½ Σ k.

    Called with `(y_true, y_pred)`, where `y_pred` is mu and log_var stacked to shape
    (batch, 2, latent_dim) and `y_true` is not read. Returns shape (batch,).

    `keras.losses.KLDivergence` is a different loss: it compares discrete distributions.

    Raises:
        ValueError: if `y_pred` is not of shape (batch, 2, latent_dim).

    Source: Kingma and Welling (2014), appendix B.
    """

    def __init__(self, name="gaussian_kl", **kwargs):
        super().__init__(name=name, **kwargs)

    def call(self, y_true, y_pred):
        return 0.5 * ops.sum(k_of(*_unstack(y_pred)), axis=-1)


@keras.saving.register_keras_serializable("vaebook")
class MaskedLoss(keras.losses.Loss):
    """The mean of another loss over the samples that have a label.

    Called with `(y_true, y_pred)`, like the other loss. A missing label is NaN, or another
    value that you name. Returns shape (batch,): 0 for a sample without a label, and
    loss · batch / labelled for a sample with one. Keras's mean over the batch is then the
    mean over the labelled samples. If no sample has a label, loss and gradient are 0.

    The labelled samples of each batch are counted, over all replicas if there are several,
    so the gradient is the one that a single device has for the whole batch. A label therefore
    counts more in a batch with few labels than in a batch with many. `mask_missing` makes
    weights that count every label alike. A sample weight multiplies a labelled sample's loss;
    the sum is divided by the number of labels, not by the sum of the weights.

    The log shows the mean over batches, and a batch without labels counts in it as 0. If
    there are such batches, the logged loss is smaller than the mean over the labels.

    Args:
        loss: a `keras.losses.Loss`, the name of one, or a function. If it returns several
            values for a sample, they are averaged.
        missing: a value that marks a missing label, such as −1. NaN always marks one.
        each_value: whether to mask each value of a target by itself. It is for targets of
            shape (batch, values), and for a loss that averages over the last axis, as
            `"mse"` and `"binary_crossentropy"` do. If it is False, a row with one missing
            value counts as missing.

    Raises:
        TypeError: if loss is not a loss, or missing is not a number.
        ValueError: for a loss that returns a scalar, a reduction other than Keras's default,
            or each_value with targets or predictions that are not of rank 2.

    Source: chapter 16.
    """

    def __init__(self, loss, missing=None, each_value=False, name="masked_loss", **kwargs):
        super().__init__(name=name, **kwargs)
        if self.reduction not in ("sum_over_batch_size", "mean"):
            raise ValueError(
                "Expected the default reduction, the mean over the batch. "
                f"Received: reduction={self.reduction!r}."
            )
        if not callable(loss):  # a name, or a dict from a saved model
            loss = keras.losses.get(loss)
        if not callable(loss):
            raise TypeError(f"Expected a loss, or the name of one. Received: loss={loss!r}.")
        if missing is not None and not isinstance(missing, int | float):
            raise TypeError(f"Expected missing to be a number. Received: {missing!r}.")
        self.loss, self.missing, self.each_value = loss, missing, bool(each_value)

    def call(self, y_true, y_pred):
        if self.each_value and not len(y_true.shape) == len(y_pred.shape) == 2:
            raise ValueError(
                "Expected targets and predictions of shape (batch, values) with each_value. "
                f"Received: shapes {tuple(y_true.shape)} and {tuple(y_pred.shape)}."
            )
        absent = ops.isnan(y_true)
        if self.missing is not None:
            absent = ops.logical_or(absent, ops.equal(y_true, self.missing))
        # A NaN must not reach the loss: where() alone would give it the gradient NaN · 0.
        y_true = ops.where(absent, ops.zeros_like(y_true), y_true)
        if self.each_value:
            y_true, y_pred = y_true[..., None], y_pred[..., None]  # one value each
        elif len(y_true.shape) > 1:
            absent = ops.any(absent, axis=tuple(range(1, len(y_true.shape))))
        values = self._values(y_true, y_pred)
        if len(values.shape) < 1:
            raise ValueError(
                f"Expected a loss with one value per sample. Received: {self.loss!r}, which "
                "returns a scalar."
            )
        if not self.each_value and len(values.shape) > 1:
            values = ops.mean(values, axis=tuple(range(1, len(values.shape))))
        present = ops.cast(ops.logical_not(absent), values.dtype)
        values = ops.where(absent, ops.zeros_like(values), values)
        batch = ops.cast(ops.shape(values)[0], values.dtype)
        scaled = values * ops.divide_no_nan(batch, _mean_over_replicas(ops.sum(present)))
        return ops.sum(scaled, axis=-1) if self.each_value else scaled

    def _values(self, y_true, y_pred):
        """Return the other loss, before any mean over the batch."""
        if isinstance(self.loss, keras.losses.Loss):
            return self.loss.call(y_true, y_pred)
        if len(y_true.shape) == len(y_pred.shape) - 1 and y_pred.shape[-1] == 1:
            y_true = y_true[..., None]  # (batch,) and (batch, 1) would broadcast to a square
        return ops.convert_to_tensor(self.loss(y_true, y_pred))

    def get_config(self):
        own = {"missing": self.missing, "each_value": self.each_value}
        return {**super().get_config(), "loss": keras.losses.serialize(self.loss), **own}


def _mean_over_replicas(count):
    """Return the mean of a count over all replicas; each replica gets the same number."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return count
    return context.all_reduce(tf.distribute.ReduceOp.MEAN, count)


def k_of(mu, log_var):
    """Return k = mu² + exp(log_var) − 1 − log_var, of the shape of mu and log_var."""
    return MuLoss.part(mu) + LogVarLoss.part(log_var)


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
    """Return the beta that a weight of 1 in part VI's objective amounts to."""
    if len(image_shape) != 3 or math.prod(image_shape) < 1:
        raise ValueError(
            "Expected image_shape (height, width, channels), each ≥ 1. "
            f"Received: image_shape={tuple(image_shape)}."
        )
    return 2 * math.prod(image_shape) / whole("latent_dim", latent_dim)


def weight_from_beta(beta: float, image_shape: Sequence[int], latent_dim: int) -> float:
    """Return the weight with which part VI's loss is the beta-VAE's, in nats per pixel.

    Part VI's loss is (mean of BCE over pixels) + weight · (mean of k over latent variables).
    Multiplied by the number of pixels P, it is Σ BCE + beta · KL if weight is
    beta · latent_dim / (2 P).

    Args:
        beta: the factor of the KL term in nats per image, ≥ 0; 1 is the plain VAE.
        image_shape: (height, width, channels).
        latent_dim: the number of latent variables.

    Raises:
        TypeError: if beta is not a number or latent_dim not an integer.
        ValueError: if beta is negative or not finite, the shape is wrong, or latent_dim < 1.

    Source: Higgins et al. (2017) for beta; part VI calls the weight `fact`.
    """
    return number("beta", beta, zero=True) / _kl_weights_in_objective(image_shape, latent_dim)


def beta_from_weight(weight: float, image_shape: Sequence[int], latent_dim: int) -> float:
    """Return the beta that a weight in part VI's loss amounts to: 2 P · weight / latent_dim.

    The inverse of `weight_from_beta`.

    Args:
        weight: the weight of the mean of k, ≥ 0.
        image_shape, latent_dim: as for `weight_from_beta`.

    Raises:
        TypeError, ValueError: as for `weight_from_beta`, with weight in place of beta.

    Source: as for `weight_from_beta`.
    """
    weight = number("weight", weight, zero=True)
    return weight * _kl_weights_in_objective(image_shape, latent_dim)


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
    """Return the beta that a loss trains with, from the sums and means in its two terms.

    The loss is reconstruction_factor · (sum or mean over pixels of the error) + kl_factor ·
    (sum or mean over latent variables of k). Both terms reduce the batch in the same way. Up
    to a common factor, such a loss is reconstruction + beta · KL in nats per image.

    Args:
        image_shape: (height, width, channels).
        latent_dim: the number of latent variables.
        pixels: "sum" or "mean", how the error is reduced over the pixels of an image.
        latents: "sum" or "mean", how k is reduced over the latent variables.
        reconstruction_factor: the factor of the reconstruction term, > 0.
        kl_factor: the factor of the sum or mean of k, ≥ 0; the KL itself has ½.
        error: "crossentropy", in nats, or "squared", the squared error without a ½. A
            squared error is 2 · pixel_variance times the nats of normal pixels, up to a
            constant.
        pixel_variance: the variance of normal pixels, > 0; used for squared errors only.
            Leaving the variance out still chooses one.

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
