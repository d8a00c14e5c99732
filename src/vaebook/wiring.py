"""The drawings of the routes: which tensor goes where."""

from itertools import pairwise
from typing import NamedTuple

from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from vaebook._colours import BLACK, BLUE, GREEN, GREY, INDIGO, ORANGE, PINK


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
_LAYER = (
    "image encoder mu kl_layer z",
    "encoder log_var kl_layer added_loss",
    "z decoder reconstruction_output reconstruction_loss",
    "image_target reconstruction_loss",
)
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
    "kl_layer": _LAYER,
    "kl_layer_with_code": (*_LAYER, "kl_layer mu_output", "kl_layer log_var_output"),
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
    """Draw which tensor goes where on one of the routes, with one part highlighted.

    From left to right stand the image, the encoder, its tensors, the decoder, the model's
    outputs, the losses, and what `fit` gets as targets. No loss reads a dashed target.

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
