"""The book's figures. Each function returns a matplotlib figure for `vaebook.notebook.show`.

Colours are Okabe and Ito's, which stay apart for colour-blind readers; where ten classes
need telling apart, each point is drawn as its digit.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

BLUE, ORANGE, GREEN, PINK, GREY = "#0072B2", "#D55E00", "#009E73", "#AA4499", "#666666"
INDIGO, BLACK = "#332288", "#222222"
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


class _Box(NamedTuple):
    """A box of a drawing. Columns count from the left, rows from below."""

    text: str
    column: int
    row: float
    colour: str = BLACK
    height: float = 0.46  # inches


_NETWORK, _ALL_ROWS = 0.56, 1.78  # heights
_BOXES = {
    "image": _Box("image", 0, 1, BLUE),
    "encoder": _Box("encoder", 1, 1, height=_NETWORK),
    "z": _Box("z", 2, 2, PINK),
    "mu": _Box("mu", 2, 1, ORANGE),
    "log_var": _Box("log_var", 2, 0, GREEN),
    "decoder": _Box("decoder", 3, 2, height=_NETWORK),
    "central_decoder": _Box("decoder", 3, 1, height=_NETWORK),
    "kl_layer": _Box("kl\nlayer", 3, 0.5, INDIGO, _NETWORK),
    "reconstruction_output": _Box("recon-\nstruction", 4, 2, BLUE),
    "mu_output": _Box("mu", 4, 1, ORANGE),
    "log_var_output": _Box("log_var", 4, 0, GREEN),
    "kl_output": _Box("kl", 4, 0.5, INDIGO),
    "reconstruction_loss": _Box("cross-\nentropy", 5, 2, BLUE),
    "mu_loss": _Box("mu\nloss", 5, 1, ORANGE),
    "log_var_loss": _Box("log_var\nloss", 5, 0, GREEN),
    "kl_loss": _Box("kl\nloss", 5, 0.5, INDIGO),
    "added_loss": _Box("added\nloss", 5, 0.5, INDIGO),
    "compute_loss": _Box("compute_\nloss", 5, 1, INDIGO, _ALL_ROWS),
    "losses_of_step": _Box("both\nlosses", 5, 1, INDIGO, _ALL_ROWS),
    "image_target": _Box("image", 6, 2, BLUE),
    "central_image_target": _Box("image", 6, 1, BLUE),
    "mu_target": _Box("target", 6, 1, ORANGE),
    "log_var_target": _Box("target", 6, 0, GREEN),
    "kl_target": _Box("target", 6, 0.5, INDIGO),
}
_UNREAD = ("mu_target", "log_var_target", "kl_target")
_LOSSES = ("mu_loss", "log_var_loss", "kl_loss", "compute_loss", "losses_of_step")
_PARTS = {
    "encoder": ("encoder", "z", "mu", "log_var"),
    "decoder": (
        "decoder",
        "central_decoder",
        "reconstruction_output",
        "mu_output",
        "log_var_output",
        "kl_output",
    ),
    "losses": ("reconstruction_loss", "added_loss", *_LOSSES),
    "targets": ("image_target", "central_image_target", *_UNREAD),
    "kl term": ("kl_layer", *_LOSSES),
    "all": tuple(_BOXES),
}

# The arrows of each route: every line is a chain of boxes.
_CODE = ("image encoder z", "encoder mu", "encoder log_var")
_CHAINS = {
    "pass_through": (
        *_CODE,
        "z central_decoder reconstruction_output reconstruction_loss",
        "mu central_decoder mu_output mu_loss",
        "log_var central_decoder log_var_output log_var_loss",
        "image_target reconstruction_loss",
        "mu_target mu_loss",
        "log_var_target log_var_loss",
    ),
    "direct_outputs": (
        *_CODE,
        "z decoder reconstruction_output reconstruction_loss",
        "mu mu_output mu_loss",
        "log_var log_var_output log_var_loss",
        "image_target reconstruction_loss",
        "mu_target mu_loss",
        "log_var_target log_var_loss",
    ),
    "stacked_output": (
        *_CODE,
        "z decoder reconstruction_output reconstruction_loss",
        "mu kl_output kl_loss",
        "log_var kl_output",
        "image_target reconstruction_loss",
        "kl_target kl_loss",
    ),
    "kl_layer": (
        "image encoder mu kl_layer z",
        "encoder log_var kl_layer added_loss",
        "z decoder reconstruction_output reconstruction_loss",
        "image_target reconstruction_loss",
    ),
    "compute_loss": (
        *_CODE,
        "z decoder reconstruction_output compute_loss",
        "mu mu_output compute_loss",
        "log_var log_var_output compute_loss",
        "central_image_target compute_loss",
    ),
    "train_step": (
        *_CODE,
        "z decoder reconstruction_output losses_of_step",
        "mu losses_of_step",
        "log_var losses_of_step",
        "central_image_target losses_of_step",
    ),
}
_FRAMES = {"train_step": (1, 5)}  # first and last of the columns within the frame

# In inches. A phone shows a drawing at half its size: no wider than the words need.
_CENTRES = (0.31, 1.19, 2.13, 3.07, 4.06, 5.13, 6.08)
_WIDTHS = (0.62, 0.78, 0.74, 0.78, 0.86, 0.9, 0.66)
_ROWS = 0.66  # from row to row
_HEADS = {4: "outputs", 5: "losses", 6: "targets"}


def _arrows(route):
    """Return the pairs of boxes that are joined, each pair once."""
    chains = [chain.split() for chain in _CHAINS[route]]
    return list(dict.fromkeys(pair for chain in chains for pair in pairwise(chain)))


def wiring(part: str = "kl term", route: str = "pass_through") -> Figure:
    """Draw which tensor goes where on one of the routes, with one part picked out.

    From left to right stand the image, the encoder, its tensors, the decoder, the model's
    outputs, the losses, and what `fit` gets as targets. Nobody reads a dashed target.

    Args:
        part: what is filled in: "encoder" or "decoder" (each with what leaves it),
            "losses", "targets", "kl term" (what computes it), or "all".
        route: a name out of `vaebook.routes.ROUTES`.

    Raises:
        ValueError: for another part or route.
    """
    if part not in _PARTS:
        raise ValueError(f"Expected a part out of {list(_PARTS)}. Received: {part!r}.")
    if route not in _CHAINS:
        raise ValueError(f"Expected a route out of {list(_CHAINS)}. Received: {route!r}.")
    low, high = (-0.37, 2.06) if route in _FRAMES else (-0.28, 1.9)
    figure = Figure(figsize=(6.48, high - low))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-0.04, 6.44), ylim=(low, high))  # inches, too
    axes.axis("off")
    if route in _FRAMES:
        _draw_frame(axes, route)
    for column, head in _HEADS.items():
        axes.text(_CENTRES[column], high - 0.19, head, ha="center", fontsize=12, color=GREY)
    arrows = _arrows(route)
    boxes = {
        name: _draw_box(axes, name, name in _PARTS[part])
        for name in dict.fromkeys(name for pair in arrows for name in pair)
    }
    for start, end in arrows:
        (x, y), (to_x, to_y) = _centre(start), _centre(end)
        axes.add_patch(
            FancyArrowPatch(
                (x, y),
                (to_x, y if _BOXES[end].height == _ALL_ROWS else to_y),
                arrowstyle="-|>",
                mutation_scale=11,
                color=GREY,
                patchA=boxes[start],
                patchB=boxes[end],
                shrinkA=0,
                shrinkB=1.5,
            )
        )
    return figure


def _centre(name):
    return _CENTRES[_BOXES[name].column], _BOXES[name].row * _ROWS


def _draw_box(axes, name, chosen):
    box, (x, y) = _BOXES[name], _centre(name)
    width = _WIDTHS[box.column]
    patch = FancyBboxPatch(
        (x - width / 2, y - box.height / 2),
        width,
        box.height,
        boxstyle="round,pad=0,rounding_size=0.1",
        facecolor=box.colour if chosen else "white",
        edgecolor=box.colour,
        linewidth=1.6,
        linestyle="--" if name in _UNREAD else "-",
        label=name,
    )
    axes.add_patch(patch)
    colour = "white" if chosen else BLACK
    y += 0.02 * box.text.count("\n")  # two lines hang low around their baseline
    axes.text(x, y, box.text, ha="center", va="center_baseline", fontsize=12, color=colour)
    return patch


def _draw_frame(axes, route):
    first, last = _FRAMES[route]
    left, right = _CENTRES[first] - _WIDTHS[first] / 2, _CENTRES[last] + _WIDTHS[last] / 2
    axes.add_patch(
        FancyBboxPatch(
            (left - 0.08, -0.32),
            right - left + 0.16,
            2.1,
            boxstyle="round,pad=0,rounding_size=0.1",
            facecolor="#ECEAF5",
            edgecolor=INDIGO,
            linewidth=1.6,
        )
    )
    axes.text(left, 1.55, route, fontsize=11, weight="bold", color=INDIGO)


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


def image_grid(
    images: np.ndarray, columns: int = 10, labels: Sequence[str] | None = None
) -> Figure:
    """Show images side by side, row below row, as they come.

    Args:
        images: shape (n, height, width, channels), n ≥ 1; n is a multiple of columns.
        columns: how many stand in a row.
        labels: what stands beside each row, or None for nothing.

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
