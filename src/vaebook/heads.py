"""One network with three heads: a VAE, the class of a digit, and its slant.

The labels of the second and the third head may be missing. Chapter 16 uses this module.
`THREE_HEADS` is the network as a route, so that `vaebook.behaviours` can check it.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from vaebook._checks import pixels, whole
from vaebook._small import SPEC
from vaebook.losses import ImageCrossentropy, LogVarLoss, MaskedLoss, MuLoss
from vaebook.models import losses_by_output
from vaebook.networks import NetworkSpec, build_decoder, build_encoder
from vaebook.reference import codes_of_images, losses_of_images
from vaebook.routes import Route, builder, three_targets


def slants(images: np.ndarray) -> np.ndarray:
    """Return how far each digit leans to the right, in degrees, float32 of shape (n,).

    The angle to the vertical of the line that best predicts the column of a dark pixel from
    its row. It is computed from the ink; no person labelled it.

    Args:
        images: in [0, 1], dark is 1, shape (n, height, width, 1).

    Raises:
        ValueError: if images have another shape or range, or one has ink in fewer than two
            rows.

    Source: chapter 16.
    """
    pixels("images", images)
    if images.shape[-1] != 1:
        raise ValueError(f"Expected images of one channel. Received: shape {images.shape}.")
    ink = np.asarray(images[..., 0], "float64")
    height, width = ink.shape[1:]
    row, column = np.arange(height)[:, np.newaxis], np.arange(width)
    total = ink.sum(axis=(1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        above = row - ((ink * row).sum(axis=(1, 2)) / total)[:, np.newaxis, np.newaxis]
        aside = column - ((ink * column).sum(axis=(1, 2)) / total)[:, np.newaxis, np.newaxis]
        slope = (ink * above * aside).sum(axis=(1, 2)) / (ink * above**2).sum(axis=(1, 2))
    if not np.isfinite(slope).all():
        number = int(np.flatnonzero(~np.isfinite(slope))[0])
        raise ValueError(f"Expected ink in two rows of each image. Received: image {number}.")
    return np.degrees(-np.arctan(slope)).astype("float32")


def build_three_heads(
    spec: NetworkSpec, classes: int = 10, seed: int | None = None
) -> keras.Model:
    """Return an uncompiled VAE whose mu also leads to a class and to a slant.

    It maps images to a dict of `reconstruction`, `mu` and `log_var`, as in chapter 6, and
    `class`, logits of shape (batch, classes), and `slant`, shape (batch, 1). Each of these two
    heads is a Dense layer, in float32 whatever the precision of the rest. The shared layer is
    named `encoder`.

    Args:
        spec: the sizes of encoder and decoder.
        classes: the number of classes.
        seed: fixes initial weights and noise, as for `build_encoder`.

    Raises:
        TypeError, ValueError: if classes is not an integer ≥ 1, or seed not an integer ≥ 0.

    Source: chapter 16.
    """
    encoder, decoder = build_encoder(spec, seed), build_decoder(spec, seed)
    image = keras.Input(spec.image_shape, name="image")
    z, mu, log_var = encoder(image)
    outputs = {"reconstruction": decoder(z), "mu": mu, "log_var": log_var}
    for name, size in (("class", whole("classes", classes)), ("slant", 1)):
        initial = keras.initializers.GlorotUniform(seed=None if seed is None else seed + size)
        head = keras.layers.Dense(size, kernel_initializer=initial, dtype="float32", name=name)
        outputs[name] = head(mu)
    return keras.Model(image, outputs, name="three_heads")


def gradient_norms(
    model: keras.Model,
    x: np.ndarray,
    y: Mapping[str, np.ndarray],
    tasks: Mapping[str, Iterable[str]],
    variables: list | None = None,
) -> dict[str, float]:
    """Return the norm of the gradient of each task's loss, at the model's present weights.

    Loss weights of 1 / norm make the gradients of all tasks equally long at these weights.

    Args:
        model: compiled with a dict of `keras.losses.Loss` by output.
        x, y: one batch, as `fit` takes it, y a dict by output.
        tasks: for each task, the outputs whose losses are added up.
        variables: the weights that the tasks share; None for all trainable ones.

    Raises:
        TypeError: if the model's losses are not a dict of `keras.losses.Loss`.
        ValueError: for an output in `tasks` that has no loss.

    Source: chapter 16. Chen et al. (2018) balance such norms all through training.
    """
    losses = losses_by_output(model)
    unknown = sorted({name for names in tasks.values() for name in names} - set(losses))
    if unknown:
        raise ValueError(
            f"Expected outputs with a loss, out of {list(losses)}. Received: {unknown}."
        )
    variables = model.trainable_variables if variables is None else variables
    reached = [variable.value for variable in variables]
    with tf.GradientTape(persistent=True) as tape:
        y_pred = model(x, training=True)
        of_tasks = {
            task: sum(losses[name](y[name], y_pred[name]) for name in names)
            for task, names in tasks.items()
        }
    return {
        task: float(tf.linalg.global_norm(tape.gradient(loss, reached)))
        for task, loss in of_tasks.items()
    }


# --- the network as a route, for the table of behaviours ---------------------------------

CLASSES = 3


def masked_losses(weight: float) -> dict[str, keras.losses.Loss]:
    """Return a loss for each output of `build_three_heads`; missing labels are masked.

    Args:
        weight: the weight of the KL term, as in `MuLoss`.
    """
    return {
        "reconstruction": ImageCrossentropy(),
        "mu": MuLoss(weight),
        "log_var": LogVarLoss(weight),
        "class": MaskedLoss(keras.losses.SparseCategoricalCrossentropy(from_logits=True)),
        "slant": MaskedLoss("mse"),
    }


@builder()
def build_heads(spec, weight, seed):
    """Return the three heads, and losses that mask missing labels."""
    return build_three_heads(spec, CLASSES, seed), {"loss": masked_losses(weight)}


def _labels(x):
    """Return labels that depend on each image alone, NaN for two in five."""
    code = np.floor(1000 * np.asarray(x, "float64").mean(axis=(1, 2, 3))).astype("int64")
    labels = (code % CLASSES).astype("float32")
    slant = slants(x) / 45
    labels[code % 5 < 2] = np.nan
    slant[code % 7 < 3] = np.nan
    return labels, slant


def heads_targets(x: np.ndarray) -> dict[str, np.ndarray]:
    """Return what `fit` gets as y: chapter 6's targets and labels, some of them NaN."""
    labels, slant = _labels(x)
    return {**three_targets(x), "class": labels, "slant": slant}


def heads_loss_and_gradients(
    weights: list, images: np.ndarray, noise: np.ndarray, factors: Any, kl_factors: Any
) -> tuple[float, list[np.ndarray]]:
    """Return the objective of the three heads and its gradients, in float64, without Keras.

    Args:
        weights: those of the network on `behaviours.SPEC`: the encoder's, then those of the
            heads in the order of their outputs' names, class, decoder and slant.
        images, noise, factors, kl_factors: as for `reference.loss_and_gradients`. The factors
            of the reconstruction also apply to class and slant.
    """
    variables = [tf.Variable(tf.cast(array, "float64")) for array in weights]
    encoder = 2 * len(SPEC.encoder_filters) + 4
    kernel, bias = variables[encoder : encoder + 2]
    slope, offset = variables[-2:]
    of_vae = [*variables[:encoder], *variables[encoder + 2 : -2]]
    n = len(images)
    factors, kl_factors = (np.broadcast_to(each, n) for each in (factors, kl_factors))
    labels, slant = _labels(images)
    with tf.GradientTape() as tape:
        crossentropy, k = losses_of_images(SPEC, of_vae, images, noise)
        loss = tf.reduce_mean(factors * crossentropy + kl_factors * k)
        mu, _ = codes_of_images(SPEC, of_vae, images)
        logits, leaning = mu @ kernel + bias, (mu @ slope + offset)[:, 0]
        for number in np.flatnonzero(np.isfinite(labels)):
            surprise = -tf.nn.log_softmax(logits[number])[int(labels[number])]
            loss += factors[number] * surprise / np.isfinite(labels).sum()
        for number in np.flatnonzero(np.isfinite(slant)):
            square = (leaning[number] - slant[number].astype("float64")) ** 2
            loss += factors[number] * square / np.isfinite(slant).sum()
    gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
    return float(loss), [gradient.numpy() for gradient in gradients]


THREE_HEADS = Route("three_heads", build_heads, heads_targets, heads_loss_and_gradients)
"""The network with three heads on small images, as `behaviours.check` takes it."""
