import base64
import re

import pytest
from matplotlib.figure import Figure
from vaebook import notebook, plots


@pytest.fixture
def displayed(monkeypatch):
    """What a cell would show: the arguments of each call of IPython's display."""
    calls = []
    monkeypatch.setattr(
        notebook,
        "display",
        lambda data, raw, metadata=None: calls.append((data, metadata)),
    )
    return calls


@pytest.mark.parametrize(
    ("vector", "start"), [(False, b"\x89PNG"), (True, b"<?xml")], ids=["PNG", "SVG"]
)
def test_a_figure_carries_its_picture_its_alt_text_and_its_caption(displayed, vector, start):
    notebook.show(Figure(), alt='a "curve" & a dot', caption="Loss < 1.", vector=vector)
    ((data, _),) = displayed
    assert data["text/plain"] == 'a "curve" & a dot'
    assert 'alt="a &quot;curve&quot; &amp; a dot"' in data["text/html"]
    assert "<figcaption>Loss &lt; 1.</figcaption>" in data["text/html"]
    picture = re.search('base64,([^"]+)"', data["text/html"])[1]
    assert base64.b64decode(picture).startswith(start)


@pytest.mark.parametrize("vector", [False, True], ids=["PNG", "SVG"])
def test_one_figure_is_one_picture(displayed, vector):
    for _ in range(2):
        notebook.show(plots.wiring(), alt="a drawing", caption="It.", vector=vector)
    (one, _), (other, _) = displayed
    assert one == other


@pytest.mark.parametrize("missing", ["alt", "caption"])
def test_a_figure_without_words_is_refused(missing):
    words = {"alt": "a curve", "caption": "The loss.", missing: " "}
    with pytest.raises(ValueError, match=f"Expected {missing} to say something. Received: ' '"):
        notebook.show(Figure(), **words)


def test_a_glued_value_is_stored_and_printed(displayed, capsys):
    notebook.glue("loss", 0.25)
    ((data, metadata),) = displayed
    assert data == {"application/papermill.record/text/plain": "0.25"}
    assert metadata["scrapbook"]["name"] == "loss"
    assert capsys.readouterr().out == "loss: 0.25\n"


def fail(error):
    raise error


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (lambda: None, "runs"),
        (lambda: fail(ValueError("two\n  lines")), "ValueError: two lines"),
        (lambda: fail(NotImplementedError()), "NotImplementedError without a message"),
        (lambda: fail(KeyError("a " * 200)), "KeyError: 'a" + 73 * " a" + " …"),
    ],
)
def test_an_outcome_is_one_line(action, words):
    assert notebook.outcome(action) == words


def test_an_interrupted_action_is_not_an_outcome():
    with pytest.raises(KeyboardInterrupt):
        notebook.outcome(lambda: fail(KeyboardInterrupt()))
