"""What a chapter shows: figures that can be heard as well as seen, errors, named values."""

import base64
import html
import io
import textwrap
from collections.abc import Callable
from typing import Any

from IPython.display import display
from matplotlib import rc_context
from matplotlib.figure import Figure


def show(figure: Figure, alt: str, caption: str | None = None, vector: bool = False) -> None:
    """Display a figure with its alternative text and its caption, as one HTML figure.

    Args:
        figure: a matplotlib figure.
        alt: what is to be seen, for a reader who cannot see it.
        caption: what the figure is, for every reader; every figure of the book has one.
        vector: whether to embed it as SVG (drawings) or as PNG (pictures of data).

    Raises:
        ValueError: for an empty alt text or caption.
    """
    given = {"alt": alt} if caption is None else {"alt": alt, "caption": caption}
    for name, text in given.items():
        if not (text and text.strip()):
            raise ValueError(f"Expected {name} to say something. Received: {text!r}.")
    kind, mime = ("svg", "image/svg+xml") if vector else ("png", "image/png")
    file = io.BytesIO()
    metadata = {"Date": None} if vector else {}
    # Without a date, and with names that are not drawn by lot, one figure is one file.
    with rc_context({"svg.hashsalt": "vaebook"}):
        figure.savefig(file, format=kind, dpi=110, bbox_inches="tight", metadata=metadata)
    data = base64.b64encode(file.getvalue()).decode()
    image = f'<img alt="{html.escape(alt)}" src="data:{mime};base64,{data}"/>'
    words = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    element = f'<figure class="vaebook">{image}{words}</figure>'
    display({"text/html": element, "text/plain": alt}, raw=True)


def outcome(action: Callable[[], Any]) -> str:
    """Call `action()` and say how it ended: "runs", or the error's type and what it says.

    For chapters, where errors are the subject: a stored traceback would name the folders of
    the machine that ran it. A long message is cut after 160 characters.
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
