"""The book's figures. Each function returns a matplotlib figure for `vaebook.notebook.show`.

Colours are Okabe and Ito's, which colour-blind readers can tell apart. If there are ten
classes, each point is drawn as its digit.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from vaebook._colours import BLACK, BLUE, COLOURS, GREEN, GREY, INDIGO, ORANGE, PINK, TEN
from vaebook.wiring import wiring

__all__ = [
    "BLACK",
    "BLUE",
    "COLOURS",
    "GREEN",
    "GREY",
    "INDIGO",
    "ORANGE",
    "PINK",
    "TEN",
    "latent_grid",
    "latent_scatter",
    "loss_curves",
    "reconstructions",
    "wiring",
]


def reconstructions(images: np.ndarray, reconstructed: np.ndarray) -> Figure:
    """Show images above what the decoder makes of them.

    Args:
        images, reconstructed: two arrays of one shape (n, height, width, channels), n ≥ 1.

    Raises:
        ValueError: if the shapes differ or there is no image.
    """
    if np.shape(images) != np.shape(reconstructed) or len(images) == 0:
        raise ValueError(
            "Expected two arrays of one shape (n, height, width, channels), n ≥ 1. "
            f"Received: shapes {np.shape(images)} and {np.shape(reconstructed)}."
        )
    figure = Figure(figsize=(len(images), 2.2))
    rows = figure.subplots(2, len(images), squeeze=False)
    for label, row, pictures in zip(
        ("image", "reconstruction"), rows, (images, reconstructed), strict=True
    ):
        for axes, picture in zip(row, pictures, strict=True):
            axes.imshow(picture.squeeze(), cmap="gray_r", vmin=0, vmax=1)
            axes.set(xticks=[], yticks=[])
        row[0].set_ylabel(label)
    return figure


def image_grid(
    images: np.ndarray, columns: int = 10, labels: Sequence[str] | None = None
) -> Figure:
    """Show images in rows, in the order in which they are given.

    Args:
        images: shape (n, height, width, channels), n ≥ 1; n is a multiple of columns.
        columns: the number of images in a row.
        labels: a text beside each row, or None for no texts.

    Raises:
        ValueError: if the images do not fill the rows, or the labels are not one for each.
    """
    shape = np.shape(images)
    if len(shape) != 4 or shape[0] == 0 or columns < 1 or shape[0] % columns:
        raise ValueError(
            f"Expected images of shape (n, height, width, channels), n a multiple of "
            f"columns={columns}. Received: shape {shape}."
        )
    count, height, width, channels = shape
    rows = count // columns
    if labels is not None and len(labels) != rows:
        raise ValueError(f"Expected {rows} labels, one for each row. Received: {len(labels)}.")
    tiles = np.reshape(images, (rows, columns, height, width, channels))
    canvas = tiles.transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, channels)
    figure = Figure(figsize=(0.62 * columns, 0.62 * rows * height / width))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(canvas.squeeze(), cmap="gray_r", vmin=0, vmax=1, interpolation="bicubic")
    axes.set(xticks=[], yticks=[] if labels is None else height * (np.arange(rows) + 0.5))
    if labels is not None:
        axes.set_yticklabels(labels)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def latent_scatter(z: np.ndarray, classes: Sequence[int]) -> Figure:
    """Show points of a two-dimensional latent space, each drawn as the digit of its class.

    Args:
        z: points, shape (n, 2).
        classes: n integers from 0 to 9.

    Raises:
        ValueError: if z is not of shape (n, 2), or there are not n classes.
    """
    if np.ndim(z) != 2 or z.shape[1] != 2 or len(classes) != len(z):
        raise ValueError(
            "Expected points of shape (n, 2) and n classes. "
            f"Received: shape {np.shape(z)} and {len(classes)} classes."
        )
    figure = Figure(figsize=(5.6, 5.6))
    axes = figure.subplots()
    for digit in np.unique(classes):
        chosen = z[np.asarray(classes) == digit]
        axes.scatter(*chosen.T, s=34, marker=f"${digit}$", color=TEN[digit], linewidths=0.2)
    axes.set(xlabel="latent variable 0", ylabel="latent variable 1", aspect="equal")
    axes.grid(alpha=0.3)
    return figure


def latent_grid(decoder, reach: float = 2.0, steps: int = 15) -> Figure:
    """Show what a decoder makes of a grid of points in a two-dimensional latent space.

    Args:
        decoder: a model from z, shape (batch, 2), to images.
        reach: the grid goes from −reach to reach in both variables.
        steps: how many points in each direction.
    """
    ticks = np.linspace(-reach, reach, steps)
    z = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2).astype("float32")
    images = decoder.predict(z, verbose=0)  # (steps², height, width, channels)
    _, height, width, channels = images.shape
    tiles = images.reshape(steps, steps, height, width, channels)
    upwards = tiles[::-1]  # the first row of a picture is its uppermost
    canvas = upwards.transpose(0, 2, 1, 3, 4).reshape(steps * height, steps * width, channels)
    figure = Figure(figsize=(5.6, 5.6))
    axes = figure.subplots()
    border = reach + ticks[1] / 2 - ticks[0] / 2  # half a tile beyond the outermost points
    extent = (-border, border, -border, border)
    axes.imshow(canvas.squeeze(), cmap="gray_r", vmin=0, vmax=1, extent=extent)
    axes.set(xlabel="latent variable 0", ylabel="latent variable 1")
    return figure


def loss_curves(history: Mapping[str, Sequence[float]]) -> Figure:
    """Show total and reconstruction, and beside them the two parts of the KL, for each epoch.

    Args:
        history: the attribute `history` of what `fit` returns, with a loss for each output.
    """
    figure = Figure(figsize=(8, 3.2))
    left, right = figure.subplots(1, 2)
    epochs = range(1, len(history["loss"]) + 1)
    for axes, names in ((left, ("loss", "reconstruction")), (right, ("mu", "log_var"))):
        for name, marker in zip(names, "os", strict=True):
            key = name if name == "loss" else f"{name}_loss"
            axes.plot(epochs, history[key], marker=marker, color=COLOURS[name], label=key)
        axes.set(xlabel="epoch", ylabel="nats per pixel", xticks=list(epochs))
        axes.legend()
        axes.grid(alpha=0.3)
    figure.tight_layout()
    return figure
