"""The book's figures. Each function returns a matplotlib figure for `vaebook.notebook.show`.

Colours are Okabe and Ito's, which stay apart for colour-blind readers; where ten classes
need telling apart, each point is drawn as its digit.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, PINK, GREY = "#0072B2", "#D55E00", "#009E73", "#AA4499", "#666666"
COLOURS = {"loss": GREY, "reconstruction": BLUE, "mu": ORANGE, "log_var": GREEN, "z": PINK}
TEN = [
    BLUE,
    ORANGE,
    GREEN,
    PINK,
    "#B8860B",
    "#332288",
    "#882255",
    "#117733",
    "#000000",
    "#CC3311",
]

# Each box of the drawing: its text, its centre, and its colour.
_BOXES = {
    "image": ("image", (0.0, 1.0), BLUE),
    "encoder": ("encoder", (1.6, 1.0), None),
    "z": ("z", (3.0, 2.0), PINK),
    "mu": ("mu", (3.0, 1.0), ORANGE),
    "log_var": ("log_var", (3.0, 0.0), GREEN),
    "decoder": ("decoder", (4.5, 1.0), None),
    "reconstruction": ("reconstruction", (6.3, 2.0), BLUE),
    "mu_out": ("mu", (6.3, 1.0), ORANGE),
    "log_var_out": ("log_var", (6.3, 0.0), GREEN),
    "reconstruction_loss": ("cross-entropy", (8.3, 2.0), BLUE),
    "mu_loss": ("mu loss", (8.3, 1.0), ORANGE),
    "log_var_loss": ("log_var loss", (8.3, 0.0), GREEN),
    "image_target": ("image", (10.2, 2.0), BLUE),
    "mu_target": ("target", (10.2, 1.0), ORANGE),
    "log_var_target": ("target", (10.2, 0.0), GREEN),
}
_ARROWS = [
    ("image", "encoder"),
    ("encoder", "z"),
    ("encoder", "mu"),
    ("encoder", "log_var"),
    ("z", "decoder"),
    ("mu", "decoder"),
    ("log_var", "decoder"),
    ("decoder", "reconstruction"),
    ("decoder", "mu_out"),
    ("decoder", "log_var_out"),
    ("reconstruction", "reconstruction_loss"),
    ("mu_out", "mu_loss"),
    ("log_var_out", "log_var_loss"),
    ("image_target", "reconstruction_loss"),
    ("mu_target", "mu_loss"),
    ("log_var_target", "log_var_loss"),
]
_PARTS = {
    "encoder": ("encoder", "z", "mu", "log_var"),
    "decoder": ("decoder", "reconstruction", "mu_out", "log_var_out"),
    "losses": ("reconstruction_loss", "mu_loss", "log_var_loss"),
    "targets": ("image_target", "mu_target", "log_var_target"),
    "all": tuple(_BOXES),
}


def wiring(part: str) -> Figure:
    """Draw which tensor of the article's autoencoder goes where, with one part picked out.

    Args:
        part: "encoder", "decoder", "losses", "targets", or "all".

    Raises:
        ValueError: for another part.
    """
    if part not in _PARTS:
        raise ValueError(f"Expected a part out of {list(_PARTS)}. Received: {part!r}.")
    figure = Figure(figsize=(9.8, 2.6))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-0.7, 11.0), ylim=(-0.5, 2.5))
    axes.axis("off")
    texts = {}
    for name, (text, centre, colour) in _BOXES.items():
        chosen = name in _PARTS[part]
        edge = colour or "#222222"
        texts[name] = axes.text(
            *centre,
            text,
            ha="center",
            va="center",
            fontsize=12,
            color="white" if chosen else edge,
            bbox={
                "boxstyle": "round,pad=0.45" if colour else "round,pad=0.9",
                "facecolor": edge if chosen else "white",
                "edgecolor": edge,
                "linewidth": 1.6,
                "linestyle": "--" if name in ("mu_target", "log_var_target") else "-",
            },
        )
    for start, end in _ARROWS:
        axes.annotate(
            "",
            xy=_BOXES[end][1],
            xytext=_BOXES[start][1],
            arrowprops={
                "arrowstyle": "-|>",
                "color": GREY,
                "patchA": texts[start].get_bbox_patch(),
                "patchB": texts[end].get_bbox_patch(),
                "shrinkA": 0,
                "shrinkB": 2,
            },
            zorder=4,  # after the boxes, whose outlines end the arrows
        )
    return figure


def reconstructions(images: np.ndarray, reconstructed: np.ndarray) -> Figure:
    """Show images above what the decoder makes of them.

    Args:
        images, reconstructed: two arrays of one shape (n, height, width, channels), n ≥ 1.

    Raises:
        ValueError: where the shapes differ or hold no image.
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


def latent_scatter(z: np.ndarray, classes: Sequence[int]) -> Figure:
    """Show points of a two-dimensional latent space, each drawn as the digit of its class.

    Args:
        z: points, shape (n, 2).
        classes: n integers from 0 to 9.

    Raises:
        ValueError: for points that are not in a plane, or as many classes as points.
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
    """Show the total loss beside its two sides, for each epoch.

    Args:
        history: what `fit` returns as `history.history`, with per-output losses.
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
