"""What `fit` gets as y: the images, and targets that no loss reads."""

from collections.abc import Iterable, Mapping

import numpy as np
import tensorflow as tf
from vaebook._checks import pixels


def check_images(images: np.ndarray) -> None:
    """Check before any training starts that images have pixels in [0, 1].

    Args:
        images: an array of shape (n, height, width, channels).

    Raises:
        ValueError: for another rank, or pixels that are not finite or outside [0, 1].

    Source: chapter 6.
    """
    pixels("images", images)


def prior_targets(n: int) -> dict[str, np.ndarray]:
    """Return targets for the outputs `mu` and `log_var`: n rows of no bytes, shape (n, 0).

    Keras asks for a target of every output that has a loss, and checks its length. The two
    losses never read it, so it needs no columns.

    Args:
        n: the number of images.

    Raises:
        ValueError: for n < 0.

    Source: chapter 7. Part VI gives zeros and ones of shape (n, latent_dim).
    """
    if n < 0:
        raise ValueError(f"Expected n ≥ 0. Received: n={n}.")
    return {name: np.zeros((n, 0), "float32") for name in ("mu", "log_var")}


@tf.autograph.experimental.do_not_convert  # or TensorFlow wraps the error below in its own
def add_prior_targets(images: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Turn a batch of images into the pair (x, y) that `fit` takes from a `tf.data.Dataset`.

    For `dataset.batch(…).map(add_prior_targets)`; the counterpart of `prior_targets`.

    Args:
        images: one batch, shape (batch, height, width, channels).

    Raises:
        ValueError: if the batch is not of rank 4, for example because `map` came before
            `batch`.

    Source: chapter 7.
    """
    if images.shape.rank != 4:
        raise ValueError(
            "Expected a batch of images, shape (batch, height, width, channels): call batch() "
            f"before map(). Received: shape {images.shape}."
        )
    return images, prior_targets_like(images)


def prior_targets_like(images: tf.Tensor) -> dict[str, tf.Tensor]:
    """Return the targets of the three outputs for one batch of images."""
    empty = tf.zeros((tf.shape(images)[0], 0))
    return {"reconstruction": images, "mu": empty, "log_var": empty}


def check_keys(
    model_outputs: Mapping | Iterable[str],
    losses: Mapping,
    targets: Mapping | None = None,
    loss_weights: Mapping | None = None,
) -> None:
    """Check that each name in the losses, targets and weights is one of the outputs.

    Keras accepts most of the mistakes that this function reports.

    Args:
        model_outputs: the model's outputs by name, such as `model.output`, or the names.
        losses: what `compile(loss=…)` gets.
        targets: what `fit(y=…)` gets, if it is to be checked.
        loss_weights: what `compile(loss_weights=…)` gets, if it is to be checked.

    Raises:
        TypeError: if one of them is not keyed by name: Keras matches lists by position, in
            silence.
        ValueError: for a key that names no output, an output without a loss or a target, a
            None instead of a value, weights for some losses only, or targets of
            different lengths.

    Source: chapter 6, which shows what Keras answers to each, mostly nothing.
    """
    if isinstance(model_outputs, str) or not isinstance(model_outputs, Iterable):
        raise TypeError(
            f"Expected a model's outputs by name, or their names. Received: {model_outputs!r}."
        )
    names = list(model_outputs)
    if any(not isinstance(name, str) for name in names):
        raise TypeError(
            "Expected a model with outputs keyed by name, as in keras.Model(x, {'mu': mu}). "
            f"Received: {model_outputs!r}."
        )
    _check_mapping("loss", losses, names)
    if loss_weights is not None:
        _check_mapping("loss weight", loss_weights, names)
    if targets is not None:
        _check_mapping("target", targets, names)
        lengths = {name: len(target) for name, target in targets.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"Expected targets of one length. Received: {lengths}.")


def _check_mapping(kind, given, names):
    if not isinstance(given, Mapping):
        raise TypeError(
            f"Expected a dict with a {kind} for each of {names}: Keras matches anything else "
            f"by position. Received: {type(given).__name__}."
        )
    unknown = [key for key in given if key not in names]
    missing = [name for name in names if given.get(name) is None]
    if unknown:
        fitting = f"still without a {kind}: {missing}" if missing else f"the outputs: {names}"
        raise ValueError(
            f"Expected {kind} keys that name an output ({fitting}). Received: {unknown}."
        )
    if missing:
        raise ValueError(
            f"Expected a {kind} for each of {names}. Received: none for {missing}."
        )
