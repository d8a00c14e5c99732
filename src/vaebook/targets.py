"""What `fit` gets as y: the images, and targets that no loss reads."""

from collections.abc import Iterable, Mapping

import numpy as np
import tensorflow as tf
from vaebook._checks import number, pixels


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

    Keras asks for a target for every output that has a loss, and checks its length. The
    losses of these two outputs never read their targets, which therefore need no columns.

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
        TypeError: if one of them is not keyed by name: Keras matches lists by position,
            without a warning.
        ValueError: for a key that names no output, an output without a loss or a target, a
            None instead of a value, weights for some losses only, or targets of
            different lengths.

    Source: chapter 6, which shows that Keras itself answers most of these with nothing.
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


def mask_missing(
    targets: Mapping[str, np.ndarray],
    missing: Mapping[str, float] | None = None,
    divide_by: str = "labelled",
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Fill the missing labels of each output, and return sample weights that leave them out.

    A weight of 0 alone is not enough: NaN · 0 is NaN. So a missing label becomes 0, a value
    that any loss can take, and gets the weight 0, so that it does not count.

    Keras divides the weighted sum by n, the number of all samples. So a labelled sample gets
    the weight n / labelled, and the loss is the mean over the labelled samples. This holds
    exactly over an epoch, and on average for a batch, since no batch divides by its own count
    of labels.

    Args:
        targets: an array for each output, first axis of one length n. NaN is a missing
            label. A row of several values is missing if one of them is.
        missing: by output, another value that marks a missing label, such as −1.
        divide_by: "labelled", or "all" for weights of 1, which leave Keras's mean over n.

    Returns:
        The targets without missing labels, and float32 weights of shape (n,), both by output.

    Raises:
        TypeError: for targets that are not in a dict.
        ValueError: for an output without any label, an output in `missing` that the targets
            lack, arrays of different lengths, or another `divide_by`.

    Source: chapter 16.
    """
    targets = _arrays_by_output("targets", targets)
    missing = dict(missing or {})
    _check_outputs("missing", missing, targets)
    if divide_by not in ("labelled", "all"):
        raise ValueError(
            f"Expected divide_by 'labelled' or 'all'. Received: divide_by={divide_by!r}."
        )
    filled, weights = {}, {}
    for name, target in targets.items():
        marker = missing.get(name, np.nan)
        absent = np.isnan(target) if target.dtype.kind == "f" else np.zeros(target.shape, bool)
        absent = absent | (target == marker)  # NaN equals nothing
        labelled = ~absent.any(axis=tuple(range(1, target.ndim)))
        if not labelled.any():
            raise ValueError(
                f"Expected a label for some sample of output {name!r}. Received: none in "
                f"{len(target)}. Leave its loss out, if it has no labels."
            )
        filled[name] = np.where(absent, np.zeros((), target.dtype), target)
        share = labelled.mean() if divide_by == "labelled" else 1.0
        weights[name] = (labelled / share).astype("float32")
    return filled, weights


def class_weights_per_output(
    targets: Mapping[str, np.ndarray],
    class_weights: Mapping[str, Mapping[int, float]],
    sample_weight: Mapping[str, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """Turn class weights into sample weights for each output, which Keras takes.

    `fit(class_weight=…)` is for models with one output. Several outputs need
    `fit(sample_weight=…)` with an array for each, and this function returns those arrays.

    Args:
        targets: an array for each output that has a loss. If it has class weights: integer
            labels, shape (n,) or (n, 1), binary ones included, or one-hot rows, (n, classes).
        class_weights: for each output that is to have them, a weight ≥ 0 for each class.
            Other outputs get weights of 1.
        sample_weight: weights to multiply with, an array of shape (n,) for each output, such
            as those of `mask_missing`. Labels whose weight is 0 here are ignored.

    Returns:
        Sample weights, float32 of shape (n,), for each output of the targets.

    Raises:
        TypeError: for targets or weights that are not in a dict, or labels or weights that
            are not numbers.
        ValueError: for an output that the targets lack, a class that has no label, a label
            without a weight, labels that are neither integers nor one-hot, sample weights
            for some outputs only, or weights that are negative or not finite.

    Source: chapter 16; for one output it is what Keras's `class_weight` does.
    """
    targets = _arrays_by_output("targets", targets)
    _check_outputs("class_weights", class_weights, targets)
    n = len(next(iter(targets.values())))
    if sample_weight is None:
        sample_weight = {name: np.ones(n) for name in targets}
    factors = _arrays_by_output("sample_weight", sample_weight)
    _check_outputs("sample_weight", factors, targets)
    left_out = [name for name in targets if name not in factors]
    if left_out:
        raise ValueError(
            f"Expected sample_weight for each of {list(targets)}. Received: none for "
            f"{left_out}."
        )
    weights = {}
    for name, target in targets.items():
        factor = factors[name]
        if factor.shape != (n,):
            raise ValueError(
                f"Expected sample_weight of output {name!r} of shape ({n},). "
                f"Received: shape {factor.shape}."
            )
        by_class = np.ones(n)
        if name in class_weights:
            by_class = _weights_of_labels(name, target, class_weights[name], factor != 0)
        weights[name] = (by_class * factor).astype("float32")
    return weights


def _weights_of_labels(name, target, of_class, counted):
    """Return the class weight of each label that counts, and 0 for the others."""
    if not isinstance(of_class, Mapping):
        raise TypeError(
            f"Expected class weights of output {name!r} as a dict from class to weight. "
            f"Received: {of_class!r}."
        )
    of_class = {
        label: number(f"class_weights[{name!r}][{label!r}]", weight, zero=True)
        for label, weight in of_class.items()
    }
    classes, known = _classes(name, target, counted)
    unknown = [label for label in of_class if label not in known]
    if unknown:
        raise ValueError(
            f"Expected class weights of output {name!r} for its classes, {sorted(known)}. "
            f"Received: {unknown}, which no label has."
        )
    without = sorted(set(classes[counted].tolist()) - set(of_class))
    if without:
        raise ValueError(
            f"Expected a class weight for each class of output {name!r}. "
            f"Received: none for {without}."
        )
    weights = np.zeros(len(classes))
    weights[counted] = [of_class[label] for label in classes[counted].tolist()]
    return weights


def _classes(name, target, counted):
    """Return the class of each label, and the set of classes that there are."""
    looked_at = target[counted]
    if target.ndim == 2 and target.shape[1] > 1:
        ones = (looked_at == 1).sum(axis=1) == 1
        if not (ones & ((looked_at != 0).sum(axis=1) == 1)).all():
            raise ValueError(
                f"Expected one-hot rows in output {name!r}, a single 1 and zeros. Received: "
                f"{looked_at[~ones][:1].tolist() or 'rows with other values'}. If several "
                "labels may be true at once, give them an output each."
            )
        return target.argmax(axis=1), set(range(target.shape[1]))
    if target.ndim > 2 or not np.array_equal(looked_at, np.floor(looked_at)):
        raise ValueError(
            f"Expected labels of output {name!r} as integers of shape (n,) or (n, 1), or as "
            f"one-hot rows. Received: shape {target.shape}, such as "
            f"{looked_at.ravel()[:3].tolist()}. mask_missing fills missing labels."
        )
    classes = np.where(counted, target.reshape(len(target)), 0).astype("int64")
    return classes, set(classes[counted].tolist())


def _arrays_by_output(argument, given):
    if not isinstance(given, Mapping):
        raise TypeError(
            f"Expected {argument} as a dict with an array for each output. "
            f"Received: {type(given).__name__}."
        )
    arrays = {name: np.asarray(array) for name, array in given.items()}
    for name, array in arrays.items():
        if array.dtype.kind not in "biuf" or array.ndim == 0:
            raise TypeError(
                f"Expected {argument} of output {name!r} as an array of numbers. "
                f"Received: {given[name]!r}."
            )
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) != 1:
        raise ValueError(f"Expected {argument} of one length. Received: {lengths}.")
    return arrays


def _check_outputs(argument, given, targets):
    unknown = [name for name in given if name not in targets]
    if unknown:
        raise ValueError(
            f"Expected {argument} for outputs out of {list(targets)}. Received: {unknown}."
        )
