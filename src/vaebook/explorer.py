"""A decoder that the reader plays with, as the output of a cell: HTML that needs nothing else.

`explore` turns a trained decoder into a figure in which a point of the latent plane moves and
the decoded image follows. The figure contains the weights, and the browser computes the image
(explorer.js). So the figure works offline, in a notebook, in Colab, on a page or from a file.
"""

import base64
import html
import json
import re
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

import keras
import numpy as np
from numpy.typing import ArrayLike

# Ten colours on a light and on a dark ground, each with a contrast of 4.5 : 1 or more there.
# Not every eye can tell ten hues apart, so each class also has a shape, or its own digit.
COLOURS = (
    ("#0072B2", "#56B4E9"),
    ("#B34700", "#FF9D5C"),
    ("#00704F", "#3DD6A3"),
    ("#AA4499", "#E79BDB"),
    ("#7A5C00", "#E5C04A"),
    ("#332288", "#B0A4FF"),
    ("#882255", "#F08CB0"),
    ("#22681F", "#8EDB7F"),
    ("#222222", "#F2F2F2"),
    ("#C02A10", "#FF8A76"),
)
# SVG paths around (0, 0), from -5 to 5.
_SHAPES = (
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",  # disc
    "M-4-4h8v8h-8z",  # square
    "M0-5l5 9h-10z",  # triangle
    "M0-5l5 5l-5 5l-5-5z",  # diamond
    "M0 5l5-9h-10z",  # triangle that points down
    "M-1.5-5h3v3.5h3.5v3h-3.5v3.5h-3v-3.5h-3.5v-3h3.5z",  # plus
    "M-4-2.5l1.5-1.5l2.5 2.5l2.5-2.5l1.5 1.5l-2.5 2.5l2.5 2.5l-1.5 1.5l-2.5-2.5"
    "l-2.5 2.5l-1.5-1.5l2.5-2.5z",  # cross
    "M-4-5h8l-8 10h8z",  # hourglass
    "M-5-1.5h10v3h-10z",  # flat bar
    "M-1.5-5h3v10h-3z",  # upright bar
)
_MOST_CODES = 1000  # more are slow to draw and hide each other
_TILES, _TILE = 7, 28  # the still picture: images along an edge, largest pixels of each


@dataclass(frozen=True)
class Explorer:
    """A live decoder; as the last value of a cell it is displayed.

    Attributes:
        html: the figure, with its style, its data and its program.
        alt: what the still picture shows. If no script runs, it stands in for the live image.

    Source: chapter 0.
    """

    html: str
    alt: str

    def __repr__(self):
        return f"A live decoder. {self.alt}"

    def _repr_html_(self):
        return self.html


def explore(
    decoder: keras.Model,
    codes: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    *,
    names: Sequence[str] | None = None,
    at: ArrayLike | None = None,
    shown: tuple[int, int] = (0, 1),
    precision: str = "float16",
    alt: str | None = None,
    caption: str | None = None,
) -> Explorer:
    """Return a figure in which the reader moves a point in latent space and sees its image.

    With more than two latent variables the reader chooses which two are shown; the others
    stay where they are.

    Args:
        decoder: a model from z, shape (batch, latent_dim), to images in [0, 1], shape (batch,
            height, width, 1 or 3). It must be a chain of layers that `build_decoder` uses.
        codes: encoded images, shape (n, latent_dim), for example their mu; the first 1,000
            are drawn.
        labels: the class of each code, shape (n,); at most ten classes.
        names: what the classes 0, 1, … are called; None names them by their labels.
        at: where the point starts, shape (latent_dim,); None for zeros.
        shown: the latent variables that run across and up at first.
        precision: "float16" or "float32", how the figure stores the weights: in 2 or 4 bytes
            each.
        alt: what the still picture shows; None for a general sentence.
        caption: what the figure is; None for a general sentence.

    Raises:
        TypeError: if decoder is not a Keras model.
        ValueError: if decoder has other inputs or outputs, a layer that is not supported, only
            one latent variable, or weights that are not finite; if codes, labels, names or at
            have the wrong shape or values that are not finite; for more classes than colours,
            an unknown precision, or an empty alt or caption.

    Source: chapter 0.
    """
    latent_dim, image_shape = _shapes(decoder)
    if precision not in ("float16", "float32"):
        raise ValueError(
            f'Expected precision "float16" or "float32". Received: precision={precision!r}.'
        )
    at = np.zeros(latent_dim) if at is None else _array("at", at, (latent_dim,))
    shown = _shown(shown, latent_dim)
    if codes is not None:
        codes = _array("codes", codes, (None, latent_dim))
    labels, names = _classes(labels, names, codes)
    layers = _packed_layers(decoder, latent_dim, precision)
    spans = _spans(codes, at)
    if codes is not None:
        codes, labels = codes[:_MOST_CODES], None if labels is None else labels[:_MOST_CODES]

    if alt is None:
        alt = (
            f"{_TILES * _TILES} images that the decoder makes, on a grid over the latent "
            f"variables z[{shown[0]}] and z[{shown[1]}]."
        )
    if caption is None:
        caption = "What the decoder makes of the points of its latent plane."
    for name, text in (("alt", alt), ("caption", caption)):
        if not text.strip():
            raise ValueError(f"Expected {name} to say something. Received: {text!r}.")
    one_letter = all(len(name) == 1 for name in names)
    given = {
        "layers": layers,
        "size": image_shape[:2],
        "at": at.tolist(),
        "shown": shown,
        "spans": spans,
        "codes": None if codes is None else _pack(codes, "float16"),
        "labels": None if labels is None else labels.tolist(),
        "shapes": None if one_letter else _SHAPES[: len(names)],
    }
    still = _still(decoder, at, shown, spans)
    return Explorer(_figure(given, latent_dim, names, one_letter, still, alt, caption), alt)


# ---- The arguments --------------------------------------------------------------------


def _array(name, values, shape):
    """Return finite numbers of the given shape, in which None means any length > 0."""
    try:
        array = np.asarray(values, "float32")
    except (TypeError, ValueError):
        raise ValueError(f"Expected {name} to hold numbers. Received: {values!r}.") from None
    wanted = str(shape).replace("None", "n")
    if array.ndim != len(shape) or any(
        have != want if want is not None else have == 0
        for have, want in zip(array.shape, shape, strict=False)
    ):
        raise ValueError(f"Expected {name} of shape {wanted}. Received: shape {array.shape}.")
    if not np.isfinite(array).all():
        raise ValueError(f"Expected finite {name}. Received: NaN or infinity among them.")
    return array


def _shapes(decoder):
    """Return latent_dim and (height, width, channels) of a decoder."""
    if not isinstance(decoder, keras.Model):
        raise TypeError(
            f"Expected decoder to be a Keras model. Received: {type(decoder).__name__}."
        )
    wanted = (
        "Expected a decoder from z, shape (batch, latent_dim), to images, "
        "shape (batch, height, width, 1 or 3)"
    )
    inputs, outputs = (getattr(decoder, name, None) for name in ("inputs", "outputs"))
    if not inputs:
        raise ValueError(
            f"{wanted}, functional or sequential, and built. "
            f"Received: a {type(decoder).__name__} without inputs of known shape."
        )
    ends = [[tuple(tensor.shape) for tensor in tensors] for tensors in (inputs, outputs)]
    received = " to ".join(" and ".join(map(str, shapes)) for shapes in ends)
    z, image = ends[0][0], ends[1][0]
    if (
        max(map(len, ends)) > 1
        or len(z) != 2
        or len(image) != 4
        or None in (*z[1:], *image[1:])
        or image[-1] not in (1, 3)
    ):
        raise ValueError(f"{wanted}. Received: {received}.")
    if z[1] < 2:
        raise ValueError(
            f"Expected a decoder with latent_dim ≥ 2: the point moves in a plane. "
            f"Received: latent_dim={z[1]}."
        )
    return z[1], image[1:]


def _shown(shown, latent_dim):
    two = tuple(shown)
    if len(set(two)) != 2 or len(two) != 2 or not all(v in range(latent_dim) for v in two):
        raise ValueError(
            f"Expected shown to be two different latent variables from 0 to {latent_dim - 1}. "
            f"Received: shown={shown!r}."
        )
    return [int(variable) for variable in two]


def _classes(labels, names, codes):
    """Return labels as indices into names, and the names; (None, ()) without labels."""
    if labels is None:
        if names is not None:
            raise ValueError("Expected labels with names. Received: labels=None.")
        return None, ()
    if codes is None:
        raise ValueError("Expected codes with labels. Received: codes=None.")
    labels = np.asarray(labels)
    if labels.shape != (len(codes),):
        raise ValueError(
            f"Expected labels of shape ({len(codes)},), one for each code. "
            f"Received: shape {labels.shape}."
        )
    if names is None:
        found, labels = np.unique(labels, return_inverse=True)
        names = [str(label) for label in found]
    elif labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= len(names):
        raise ValueError(
            f"Expected labels to be integers from 0 to {len(names) - 1}, one for each name. "
            f"Received: {labels.dtype} from {labels.min()} to {labels.max()}."
        )
    if len(names) > len(COLOURS):
        raise ValueError(
            f"Expected at most {len(COLOURS)} classes, one for each colour. "
            f"Received: {len(names)} classes."
        )
    return labels, tuple(map(str, names))


# ---- The layers -----------------------------------------------------------------------


def _numbers(tensor):
    """Return a tensor, a variable or an array as float32."""
    return keras.ops.convert_to_numpy(tensor).astype("float32")


def _pack(array, precision):
    """Return an array as explorer.js unpacks it.

    In float16, the numbers are scaled so that the largest is 1: none overflows, and few
    underflow.
    """
    array = _numbers(array)
    scale = 1.0 if precision == "float32" else float(np.abs(array).max()) or 1.0
    little_endian = np.dtype(precision).newbyteorder("<")
    data = (array / scale).astype(little_endian).tobytes()
    return {"type": precision, "scale": scale, "data": base64.b64encode(data).decode()}


def _refuse(layer, expected, received):
    raise ValueError(
        f"Expected {type(layer).__name__} with {expected}. "
        f"Received: {received}, layer {layer.name!r}."
    )


def _require(layer, **settings):
    """Refuse a layer whose settings explorer.js does not know."""
    for name, wanted in settings.items():
        if getattr(layer, name) not in wanted:
            _refuse(layer, f"{name}={wanted[0]!r}", f"{name}={getattr(layer, name)!r}")


# The keys are the functions, since a function of the reader's may have the same name.
_ACTIVATIONS = {
    keras.activations.linear: None,
    keras.activations.relu: {"name": "relu"},
    keras.activations.leaky_relu: {"name": "leaky_relu", "slope": 0.2},
    keras.activations.selu: {"name": "selu"},
    keras.activations.sigmoid: {"name": "sigmoid"},
}


def _activation(layer):
    """Return the step of a layer's activation, none for "linear"."""
    function = layer.activation
    if function not in _ACTIVATIONS:
        names = ", ".join(known.__name__ for known in _ACTIVATIONS)
        received = getattr(function, "__name__", function)
        _refuse(layer, f"one of the activations {names}", f"activation={received!r}")
    step = _ACTIVATIONS[function]
    return [{"kind": "activation", **step}] if step else []


def _weights(layer, outputs, precision):
    bias = layer.bias if layer.use_bias else np.zeros(outputs)
    return {"kernel": _pack(layer.kernel, precision), "bias": _pack(bias, precision)}


def _dense(layer, shape, precision):
    if len(shape) != 1:
        _refuse(layer, "an input of shape (batch, features)", f"shape (batch, *{shape})")
    step = {"kind": "dense", "units": layer.units, **_weights(layer, layer.units, precision)}
    return [step, *_activation(layer)]


def _conv_transpose(layer, shape, precision):
    _require(
        layer,
        padding=("same",),
        data_format=("channels_last",),
        dilation_rate=((1, 1),),
        output_padding=(None,),
    )
    step = {
        "kind": "conv_transpose",
        "shape": shape,
        "filters": layer.filters,
        "size": layer.kernel_size,
        "strides": layer.strides,
        **_weights(layer, layer.filters, precision),
    }
    return [step, *_activation(layer)]


def _normalise(layer, shape, precision):
    _require(layer, axis=(-1, len(shape)))
    factor = (layer.gamma if layer.scale else 1) / keras.ops.sqrt(
        layer.moving_variance + layer.epsilon
    )
    offset = (layer.beta if layer.center else 0) - layer.moving_mean * factor
    # A few numbers that multiply all others: they keep their full precision.
    return [
        {
            "kind": "normalise",
            "factor": _pack(factor, "float32"),
            "offset": _pack(offset, "float32"),
        }
    ]


def _leaky_relu(layer, shape, precision):
    slope = float(layer.negative_slope)
    return [{"kind": "activation", "name": "leaky_relu", "slope": slope}]


def _relu(layer, shape, precision):
    _require(layer, max_value=(None,), threshold=(0,))
    return _leaky_relu(layer, shape, precision)


# Each function takes (layer, shape of its input without the batch, precision). It returns the
# steps with which explorer.js computes what the layer does at inference.
_STEPS = {
    keras.layers.Dense: _dense,
    keras.layers.Reshape: lambda layer, shape, precision: [],  # the arrays are flat
    keras.layers.Conv2DTranspose: _conv_transpose,
    keras.layers.BatchNormalization: _normalise,
    keras.layers.LeakyReLU: _leaky_relu,
    keras.layers.ReLU: _relu,
    keras.layers.Activation: lambda layer, shape, precision: _activation(layer),
    keras.layers.Dropout: lambda layer, shape, precision: [],
    keras.layers.AlphaDropout: lambda layer, shape, precision: [],
}


def _leaves(model):
    """Yield the layers of a model, and those of a model inside it, in their order."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _leaves(layer)
        elif type(layer) is not keras.layers.InputLayer:
            yield layer


def _packed_layers(decoder, latent_dim, precision):
    """Return the steps that explorer.js takes from z to the image."""
    steps, shape = [], (latent_dim,)
    layers = list(_leaves(decoder))
    for layer in layers:
        # A subclass may do something else, so it is not supported either.
        if type(layer) not in _STEPS:
            supported = ", ".join(kind.__name__ for kind in _STEPS)
            raise ValueError(
                f"Expected a decoder of the layers {supported}. "
                f"Received: {type(layer).__name__}, layer {layer.name!r}."
            )
        for weight in layer.weights:
            if not np.isfinite(_numbers(weight)).all():
                raise ValueError(
                    f"Expected finite weights. "
                    f"Received: NaN or infinity in {weight.name} of layer {layer.name!r}."
                )
    x = z = np.random.default_rng(0).normal(size=(4, latent_dim)).astype("float32")
    for layer in layers:
        steps += _STEPS[type(layer)](layer, shape, precision)
        x = layer(x, training=False)
        shape = tuple(x.shape[1:])
    if not np.allclose(_numbers(x), _numbers(decoder(z, training=False)), atol=1e-3):
        raise ValueError(
            "Expected a decoder whose layers follow one another in a chain. "
            "Received: a model whose output is not that of its layers in their order."
        )
    return steps


# ---- The figure -----------------------------------------------------------------------


def _spans(codes, start):
    """Return [low, high] of the plane for each latent variable.

    The range is at least [-3, 3], and wide enough for 99 of 100 codes and for the start.
    """
    low, high = np.full(len(start), -3.0), np.full(len(start), 3.0)
    if codes is not None:
        tails = np.quantile(codes, [0.005, 0.995], axis=0)
        low, high = np.minimum(low, 1.1 * tails[0]), np.maximum(high, 1.1 * tails[1])
    low, high = np.minimum(low, start), np.maximum(high, start)
    return np.stack([low, high], axis=1).round(4).tolist()


def _still(decoder, at, shown, spans):
    """Return a PNG, base64, of the images on a grid over the two variables shown."""
    z = np.tile(at, (_TILES * _TILES, 1)).astype("float32")
    across, up = (np.linspace(*spans[variable], _TILES + 2)[1:-1] for variable in shown)
    z[:, shown[0]] = np.tile(across, _TILES)
    z[:, shown[1]] = np.repeat(up[::-1], _TILES)
    images = _numbers(decoder(z, training=False))
    step = -(-max(images.shape[1:3]) // _TILE)
    images = images[:, ::step, ::step]
    _, height, width, channels = images.shape
    grid = images.reshape(_TILES, _TILES, height, width, channels).transpose(0, 2, 1, 3, 4)
    grid = grid.reshape(_TILES * height, _TILES * width, channels)
    # 16 levels are enough for a small picture, and halve its size.
    return _png((np.clip(grid, 0, 1) * 15).round().astype("uint8") * 17)


def _png(pixels):
    """Return bytes of shape (height, width, 1 for grey or 3 for colour) as a PNG, base64."""
    height, width, channels = pixels.shape

    def chunk(kind, data):
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    colour_type = 0 if channels == 1 else 2
    header = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)  # 0: each row as it is
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    file = b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*it) for it in chunks)
    return base64.b64encode(file).decode()


def _source(name):
    """Return a file of the package without its comments and indentation."""
    text = resources.files("vaebook").joinpath(name).read_text("utf-8")
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    lines = (line.strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//"))


def _legend(names, one_letter):
    """Return the classes as a list, each with the marker that stands for it in the plane."""
    items = []
    for (light, dark), shape, name in zip(COLOURS, _SHAPES, names, strict=False):
        text = html.escape(name)
        style = f"color:{light};color:light-dark({light},{dark})"
        marker = f'class="vaebook-explorer-marker" data-name="{text}" style="{style}"'
        if one_letter:
            items.append(f"<li><b {marker}>{text}</b></li>")
        else:
            items.append(
                f'<li><svg {marker} width="16" height="16" viewBox="-6 -6 12 12" '
                f'aria-hidden="true"><path fill="currentColor" d="{shape}"/></svg>{text}</li>'
            )
    if not items:
        return ""
    return (
        '<ul class="vaebook-explorer-legend" aria-label="Classes of the encoded images">'
        f"{''.join(items)}</ul>"
    )


def _controls(latent_dim):
    """Return the sliders and, with more than two latent variables, the choice of two."""
    options = "".join(f'<option value="{v}">z[{v}]</option>' for v in range(latent_dim))
    choices = "".join(
        f"<label>{side} <select>{options}</select></label>" for side in ("Across", "Up")
    )
    slider = (
        '<div><label><span class="vaebook-explorer-name"></span> <input type="range"></label>'
        '<span class="vaebook-explorer-value" aria-hidden="true"></span></div>'
    )
    return (
        '<div class="vaebook-explorer-controls">'
        f"{choices if latent_dim > 2 else ''}{slider}{slider}"
        '<button type="button">Back to the start</button></div>'
    )


def _figure(given, latent_dim, names, one_letter, still, alt, caption):
    # "<" would let a name end the script.
    data = json.dumps(given, separators=(",", ":")).replace("<", "\\u003c")
    return (
        # JupyterLab leaves the arrow keys to the figure.
        '<div class="vaebook-explorer" data-lm-suppress-shortcuts="true">'
        f'<style>{_source("explorer.css")}</style><figure class="vaebook">'
        f'<img class="vaebook-explorer-still" alt="{html.escape(alt)}" '
        f'src="data:image/png;base64,{still}"/>'
        '<div class="vaebook-explorer-live" hidden>'
        "<p>Drag the point in the plane, or use the arrow keys or the sliders.</p>"
        '<div class="vaebook-explorer-stage">'
        '<div class="vaebook-explorer-plane" role="application" tabindex="0" '
        'aria-label="Latent plane: the arrow keys move the point">'
        '<canvas class="vaebook-explorer-map"></canvas>'
        '<span class="vaebook-explorer-point"></span></div>'
        '<canvas class="vaebook-explorer-image" role="img" '
        'aria-label="The image that the decoder makes at the point"></canvas></div>'
        f'{_controls(latent_dim)}<p class="vaebook-explorer-where" role="status"></p>'
        f"{_legend(names, one_letter)}</div>"
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
        f'<script>(() => {{\n"use strict";\n{_source("explorer.js")}\n'
        f"start(document.currentScript, {data});\n}})();</script></div>"
    )
