"""Pictures of a model at several settings, and a slider that goes through them.

`slide` puts the pictures into one figure, as the output of a cell: HTML that needs nothing
else. It works offline, in a notebook, in Colab, on a page or from a file. If no script runs,
one picture stands still.
"""

import base64
import html
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.image import imsave
from numpy.typing import ArrayLike
from vaebook._checks import whole
from vaebook.explorer import _source


@dataclass(frozen=True)
class Slides:
    """Pictures with a slider; as the last value of a cell they are displayed.

    Attributes:
        html: the figure, with its style, its pictures and its program.
        alt: what all the pictures show.

    Source: chapter 14.
    """

    html: str
    alt: str

    def __repr__(self):
        return f"Pictures with a slider. {self.alt}"

    def _repr_html_(self):
        return self.html


def slide(
    pictures: ArrayLike,
    values: Sequence[str],
    texts: Sequence[str],
    *,
    name: str,
    alt: str,
    caption: str,
    start: int = 0,
) -> Slides:
    """Return a figure in which the reader moves a slider and sees the picture of its value.

    Args:
        pictures: shape (n, height, width, 1 or 3), n ≥ 2, in [0, 1]. They are stored with 8
            levels.
        values: what the slider shows at each picture, n texts, such as "0.5".
        texts: what is said below each picture, n texts; a screen reader reads them, too.
        name: what the slider changes, such as "beta".
        alt: what the pictures show.
        caption: what the figure is.
        start: the number of the picture that is seen first, and if no script runs.

    Raises:
        TypeError: if start is not an integer.
        ValueError: for pictures of another shape, outside [0, 1] or not finite; for other than
            n values or texts; for an empty text; if there is no picture `start`.

    Source: chapter 14.
    """
    pictures = _pictures(pictures)
    count = len(pictures)
    for argument, given in (("values", values), ("texts", texts)):
        if isinstance(given, str) or len(given) != count:
            raise ValueError(
                f"Expected {count} {argument}, one for each picture. Received: {given!r}."
            )
    named = {"name": name, "alt": alt, "caption": caption}
    named |= {f"values[{i}]": value for i, value in enumerate(values)}
    named |= {f"texts[{i}]": text for i, text in enumerate(texts)}
    for argument, text in named.items():
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"Expected {argument} to be a text. Received: {text!r}.")
    start = whole("start", start, smallest=0)
    if start >= count:
        raise ValueError(f"Expected start < {count}. Received: start={start}.")
    given = {
        "pictures": [_webp(picture) for picture in pictures],
        "values": list(values),
        "texts": list(texts),
        "alt": alt,
        "name": name,
    }
    return Slides(_figure(given, start, caption), alt)


def _pictures(pictures):
    """Return the pictures as an array, or raise ValueError."""
    try:
        array = np.asarray(pictures, "float32")
    except (TypeError, ValueError):
        raise ValueError("Expected pictures of one shape. Received: several.") from None
    if array.ndim != 4 or len(array) < 2 or 0 in array.shape or array.shape[-1] not in (1, 3):
        raise ValueError(
            "Expected pictures of shape (n, height, width, 1 or 3), n ≥ 2. "
            f"Received: shape {array.shape}."
        )
    low, high = array.min(), array.max()
    if not (low >= 0 and high <= 1):  # False for NaN, too
        raise ValueError(f"Expected pictures in [0, 1]. Received: from {low} to {high}.")
    return array


def _webp(picture):
    """Return a picture with 8 levels, without further loss, base64."""
    levels = ((picture * 7).round() * (255 / 7)).round().astype("uint8")
    colours = np.broadcast_to(levels, (*levels.shape[:2], 3))
    file = io.BytesIO()
    best = {"lossless": True, "quality": 100, "method": 6}
    imsave(file, colours, format="webp", pil_kwargs=best)
    return base64.b64encode(file.getvalue()).decode()


def _figure(given, start, caption):
    first = given["pictures"][start]
    # The program takes the first picture from the page. "<" would let a text end the script.
    pictures = [*given["pictures"][:start], "", *given["pictures"][start + 1 :]]
    data = json.dumps(given | {"pictures": pictures}, separators=(",", ":"))
    data = data.replace("<", "\\u003c")
    alt = f"{given['alt']} {given['name']} {given['values'][start]}."
    return (
        # JupyterLab leaves the arrow keys to the figure.
        '<div class="vaebook-explorer vaebook-slides" data-lm-suppress-shortcuts="true">'
        f"<style>{_source('explorer.css')}\n.vaebook-slides-picture{{width:36rem}}</style>"
        '<figure class="vaebook">'
        '<img class="vaebook-explorer-still vaebook-slides-picture" '
        f'alt="{html.escape(alt)}" src="data:image/webp;base64,{first}"/>'
        '<div class="vaebook-explorer-controls" hidden><div>'
        f"<label><span>{html.escape(given['name'])}</span> "
        f'<input type="range" min="0" max="{len(given["pictures"]) - 1}" step="1" '
        f'value="{start}"></label>'
        '<span class="vaebook-explorer-value" aria-hidden="true"></span></div></div>'
        f'<p class="vaebook-slides-text" role="status">{html.escape(given["texts"][start])}</p>'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
        f'<script>(() => {{\n"use strict";\n{_source("slides.js")}\n'
        f"start(document.currentScript, {data});\n}})();</script></div>"
    )
