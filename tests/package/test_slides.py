"""Pictures with a slider, without their browser: what is refused, held and said."""

import base64
import io
import re

import numpy as np
import pytest
from matplotlib.image import imread
from vaebook.slides import slide

PICTURES = np.linspace(0, 1, 3 * 4 * 5).reshape(3, 4, 5, 1)
WORDS = {"name": "beta", "alt": "Drawings of a model.", "caption": "What beta does."}
VALUES, TEXTS = ["0.1", "1", "10"], ["a <b>", "c & d", "e"]


def opened(text):
    return imread(io.BytesIO(base64.b64decode(text)), format="webp")[..., :3] / 255


def still(figure):
    """Return the alternative text and the picture that is seen if no script runs."""
    found = re.search(
        r'<img [^>]*alt="([^"]*)" src="data:image/webp;base64,([^"]*)"', figure.html
    )
    return found[1], opened(found[2])


def held(figure):
    """Return the pictures that the figure's program holds, and "" for the first one seen."""
    return re.findall(r'"pictures":\[([^]]*)\]', figure.html)[0].replace('"', "").split(",")


def test_it_holds_each_picture_once_in_8_levels():
    figure = slide(PICTURES, VALUES, TEXTS, start=1, **WORDS)
    texts = held(figure)
    assert texts[1] == ""
    made = np.stack([opened(texts[0]), still(figure)[1], opened(texts[2])])
    np.testing.assert_allclose(made[..., 0], PICTURES[..., 0], atol=0.5 / 7 + 1e-3)
    assert len(np.unique(made)) == 8


def test_it_keeps_colours():
    colours = np.zeros((2, 3, 4, 3))
    colours[:, ..., 1] = 1
    figure = slide(colours, VALUES[:2], TEXTS[:2], **WORDS)
    for made in (still(figure)[1], opened(held(figure)[1])):
        np.testing.assert_allclose(made, colours[0], atol=1e-3)


def test_without_a_script_one_picture_stands_still_with_its_text():
    figure = slide(PICTURES, VALUES, TEXTS, start=1, **WORDS)
    alt, seen = still(figure)
    assert alt == "Drawings of a model. beta 1."
    np.testing.assert_allclose(seen[..., 0], PICTURES[1, ..., 0], atol=0.5 / 7 + 1e-3)
    assert ">c &amp; d</p>" in figure.html
    assert '<div class="vaebook-explorer-controls" hidden>' in figure.html


def test_no_text_ends_the_script_or_opens_an_element():
    html = slide(PICTURES, VALUES, ["</script>", "b", "c"], **WORDS).html
    assert html.count("</script>") == 1
    assert "&lt;/script&gt;" in html


def test_it_says_what_it_is_where_no_html_is_shown():
    assert repr(slide(PICTURES, VALUES, TEXTS, **WORDS)) == (
        "Pictures with a slider. Drawings of a model."
    )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"pictures": PICTURES[:1]}, "n ≥ 2. Received: shape (1, 4, 5, 1)."),
        ({"pictures": PICTURES[..., 0]}, "Received: shape (3, 4, 5)."),
        ({"pictures": np.repeat(PICTURES, 2, axis=-1)}, "Received: shape (3, 4, 5, 2)."),
        ({"pictures": [PICTURES[0], PICTURES[1, :2]]}, "Expected pictures of one shape."),
        ({"pictures": 2 * PICTURES}, "Expected pictures in [0, 1]. Received: from 0.0 to 2.0."),
        ({"pictures": np.full_like(PICTURES, np.nan)}, "Received: from nan to nan."),
        ({"values": ["1", "2"]}, "Expected 3 values, one for each picture."),
        ({"texts": "abc"}, "Expected 3 texts, one for each picture. Received: 'abc'."),
        ({"texts": ["a", " ", "c"]}, "Expected texts[1] to be a text. Received: ' '."),
        ({"values": ["1", 2, "3"]}, "Expected values[1] to be a text. Received: 2."),
        ({"name": ""}, "Expected name to be a text. Received: ''."),
        ({"alt": "  "}, "Expected alt to be a text."),
        ({"caption": None}, "Expected caption to be a text. Received: None."),
        ({"start": 3}, "Expected start < 3. Received: start=3."),
        ({"start": -1}, "Expected start ≥ 0. Received: start=-1."),
    ],
)
def test_wrong_arguments_are_refused(changed, message):
    given = {"pictures": PICTURES, "values": VALUES, "texts": TEXTS, **WORDS, **changed}
    with pytest.raises(ValueError, match=re.escape(message)):
        slide(**given)


def test_a_start_that_is_not_an_integer_is_refused():
    with pytest.raises(TypeError, match=r"Expected start to be an integer. Received: 1.5."):
        slide(PICTURES, VALUES, TEXTS, start=1.5, **WORDS)
