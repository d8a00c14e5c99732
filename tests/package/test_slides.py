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


def stored(figure):
    """Return the pictures that the figure's program holds."""
    texts = re.findall(r'"pictures":\[([^]]*)\]', figure.html)[0].replace('"', "").split(",")
    return [imread(io.BytesIO(base64.b64decode(text))) for text in texts]


def test_it_holds_each_picture_in_16_levels():
    made = stored(slide(PICTURES, VALUES, TEXTS, **WORDS))
    assert len(made) == 3
    np.testing.assert_allclose(np.stack(made), PICTURES[..., 0], atol=0.5 / 15 + 1e-3)


def test_without_a_script_one_picture_stands_still_with_its_text():
    html = slide(PICTURES, VALUES, TEXTS, start=1, **WORDS).html
    image = re.search(r'<img [^>]*alt="([^"]*)" src="data:image/png;base64,([^"]*)"', html)
    assert image[1] == "Drawings of a model. beta 1."
    still = imread(io.BytesIO(base64.b64decode(image[2])))
    np.testing.assert_allclose(still, PICTURES[1, ..., 0], atol=0.5 / 15 + 1e-3)
    assert ">c &amp; d</p>" in html
    assert '<div class="vaebook-explorer-controls" hidden>' in html


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
