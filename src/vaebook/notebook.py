"""What a chapter shows: figures with alt texts, tables, errors, and values with a name."""

import base64
import html
import io
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from IPython.display import display
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.image import imread


def show(figure: Figure, alt: str, caption: str | None = None, vector: bool = False) -> None:
    """Display a figure with its alternative text and its caption, as one HTML figure.

    Args:
        figure: a matplotlib figure.
        alt: what is to be seen, for a reader who cannot see it.
        caption: what the figure is, for every reader; every figure of the book has one.
        vector: whether to embed it as SVG (drawings) or as WebP (pictures of data).

    Raises:
        ValueError: for an empty alt text or caption.
    """
    given = {"alt": alt} if caption is None else {"alt": alt, "caption": caption}
    for name, text in given.items():
        if not (text and text.strip()):
            raise ValueError(f"Expected {name} to say something. Received: {text!r}.")
    mime, picture, size = _as_drawing(figure) if vector else _as_pixels(figure)
    data = base64.b64encode(picture).decode()
    image = f'<img alt="{html.escape(alt)}" src="data:{mime};base64,{data}"{size}/>'
    words = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    element = f'<figure class="vaebook">{image}{words}</figure>'
    display({"text/html": element, "text/plain": alt}, raw=True)


def show_table(
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    caption: str,
    marks: Mapping[str, str] | None = None,
) -> None:
    """Display a table as HTML, which wraps, stacks on a phone and can be read aloud.

    Args:
        heads: the head of each column; the first column names the rows.
        rows: the rows, each with one text per column.
        caption: what the table shows.
        marks: for texts that carry a judgement, the CSS class of their cells, such as
            `{"yes": "right", "NO": "wrong"}`. The words say it too: colour only helps.

    Raises:
        ValueError: if the caption is empty, or a row is longer or shorter than the heads.
    """
    if not caption.strip():
        raise ValueError(f"Expected caption to say something. Received: {caption!r}.")
    rows = [list(row) for row in rows]
    for row in rows:
        if len(row) != len(heads):
            raise ValueError(f"Expected {len(heads)} texts in a row. Received: {row}.")
    marks = marks or {}

    def cell(text, label):
        kind = f' class="{html.escape(marks[text])}"' if text in marks else ""
        return f'<td data-label="{html.escape(label)}"{kind}>{html.escape(text)}</td>'

    # A name may break at its underscores, so that many columns fit.
    broken = (html.escape(text).replace("_", "_<wbr>") for text in heads)
    head = "".join(f'<th scope="col">{text}</th>' for text in broken)
    body = "".join(
        f'<tr><th scope="row">{html.escape(first)}</th>'
        + "".join(cell(text, label) for text, label in zip(rest, heads[1:], strict=True))
        + "</tr>"
        for first, *rest in rows
    )
    table = (
        f'<table class="vaebook"><caption>{html.escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )
    plain = "\n".join("  ".join(row) for row in [list(heads), *rows])
    display({"text/html": table, "text/plain": plain}, raw=True)


def outcome(action: Callable[[], Any]) -> str:
    """Call `action()` and return how it ended: "runs", or the error's type and message.

    Chapters about errors use it: a stored traceback would name folders of the machine that
    ran the chapter. A long message is cut after 160 characters.
    """
    try:
        action()
    except Exception as error:
        message = textwrap.shorten(f"{type(error).__name__}: {error}", 160, placeholder=" …")
        return message if str(error) else f"{type(error).__name__} without a message"
    return "runs"


def glue(name: str, value: Any) -> None:
    """Print a value and store it under a name that other pages of the book can quote.

    Does what `myst_nb.glue` does for text, without that package, which Colab lacks.
    """
    prefix = "application/papermill.record/"
    display(
        {f"{prefix}text/plain": str(value)},
        raw=True,
        metadata={"scrapbook": {"name": name, "mime_prefix": prefix}},
    )
    print(f"{name}: {value}")


def _saved(figure, kind, **settings):
    file = io.BytesIO()
    # Text stays text. With fixed ids and without a date, a figure always gives the same file.
    with rc_context({"svg.hashsalt": "vaebook", "svg.fonttype": "none"}):
        figure.savefig(file, format=kind, bbox_inches="tight", **settings)
    return file.getvalue()


def _as_drawing(figure):
    return "image/svg+xml", _saved(figure, "svg", dpi=110, metadata={"Date": None}), ""


def _as_pixels(figure):
    """Save at twice the resolution of a screen, as whichever kind of WebP is smaller."""
    kinds = {"lossless": True}, {"quality": 85, "method": 6}
    saved = [_saved(figure, "webp", dpi=220, pil_kwargs=kind) for kind in kinds]
    picture = min(saved, key=len)
    height, width = imread(io.BytesIO(picture), format="webp").shape[:2]
    return "image/webp", picture, f' width="{width // 2}" height="{height // 2}"'
