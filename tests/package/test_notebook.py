import base64
import io
import re

import pytest
from matplotlib.figure import Figure
from PIL import Image
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
    ("vector", "start"), [(False, b"RIFF"), (True, b"<?xml")], ids=["WebP", "SVG"]
)
def test_a_figure_carries_its_picture_its_alt_text_and_its_caption(displayed, vector, start):
    notebook.show(Figure(), alt='a "curve" & a dot', caption="Loss < 1.", vector=vector)
    ((data, _),) = displayed
    assert data["text/plain"] == 'a "curve" & a dot'
    assert 'alt="a &quot;curve&quot; &amp; a dot"' in data["text/html"]
    assert "<figcaption>Loss &lt; 1.</figcaption>" in data["text/html"]
    picture = re.search('base64,([^"]+)"', data["text/html"])[1]
    assert base64.b64decode(picture).startswith(start)


@pytest.mark.parametrize("vector", [False, True], ids=["WebP", "SVG"])
def test_one_figure_is_one_picture(displayed, vector):
    for _ in range(2):
        notebook.show(plots.wiring(), alt="a drawing", caption="It.", vector=vector)
    (one, _), (other, _) = displayed
    assert one == other


def test_a_picture_has_two_pixels_for_each_of_the_screen(displayed):
    figure = Figure(figsize=(3, 2))
    figure.add_axes((0, 0, 1, 1)).plot([0, 1])
    notebook.show(figure, alt="a line", caption="It.")
    ((data, _),) = displayed
    image = re.search(r'base64,([^"]+)" width="(\d+)" height="(\d+)"', data["text/html"])
    pixels = Image.open(io.BytesIO(base64.b64decode(image[1]))).size
    assert [int(image[2]), int(image[3])] == [side // 2 for side in pixels]


def test_the_words_of_a_drawing_are_text(displayed):
    notebook.show(plots.wiring(), alt="a drawing", caption="It.", vector=True)
    ((data, _),) = displayed
    drawing = base64.b64decode(re.search('base64,([^"]+)"', data["text/html"])[1]).decode()
    assert "encoder</text>" in drawing


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


def test_a_table_labels_each_cell_and_marks_judgements(displayed):
    notebook.show_table(
        ["behaviour", "a < b"], [["xla", "yes"], ["logs", "NO"]], "What works.", {"NO": "wrong"}
    )
    ((data, _),) = displayed
    page = data["text/html"]
    assert "<caption>What works.</caption>" in page
    assert '<th scope="row">xla</th><td data-label="a &lt; b">yes</td>' in page
    assert '<td data-label="a &lt; b" class="wrong">NO</td>' in page
    assert data["text/plain"] == "behaviour  a < b\nxla  yes\nlogs  NO"


def test_a_table_with_a_short_row_or_no_caption_is_refused(displayed):
    with pytest.raises(ValueError, match="Expected 2 texts in a row"):
        notebook.show_table(["a", "b"], [["only one"]], "It.")
    with pytest.raises(ValueError, match="Expected caption to say something"):
        notebook.show_table(["a"], [], " ")
