"""The live explorer without its browser: what it refuses, holds and says."""

import base64
import re
from importlib import resources

import keras
import numpy as np
import pytest
from vaebook.explorer import COLOURS, explore
from vaebook.networks import NetworkSpec, build_decoder, build_pass_through_decoder

SMALL = NetworkSpec(
    image_shape=(8, 8, 1), encoder_filters=(2, 2, 4), decoder_filters=(3, 2, 1), latent_dim=3
)
CODES = np.random.default_rng(0).normal(size=(30, 3))
LABELS = np.arange(30) % 3
layers = keras.layers


@pytest.fixture(scope="module")
def decoder():
    return build_decoder(SMALL, seed=1)


def chain(*of, latent_dim=2):
    return keras.Sequential([keras.Input((latent_dim,)), *of])


def to_image(*of):
    """A decoder that ends in images of 2 × 2."""
    return chain(*of, layers.Dense(4), layers.Reshape((2, 2, 1)))


class Rectified(layers.Dense):
    pass


class Subclassed(keras.Model):
    def call(self, z):
        return z


def twice():
    z = keras.Input((4,))
    dense = layers.Dense(4)
    return keras.Model(z, layers.Reshape((2, 2, 1))(dense(dense(z))))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: chain(layers.Dense(4)), "Received: (None, 2) to (None, 4)."),
        (lambda: chain(layers.Dense(8), layers.Reshape((2, 2, 2))), "to (None, 2, 2, 2)."),
        (
            lambda: keras.Sequential([keras.Input((4, 4, 1)), layers.Conv2D(1, 1)]),
            "Received: (None, 4, 4, 1) to (None, 4, 4, 1).",
        ),
        (
            lambda: build_pass_through_decoder(SMALL),
            "Received: (None, 3) and (None, 3) and (None, 3) to (None, 8, 8, 1) and",
        ),
        (lambda: keras.Sequential([layers.Dense(4)]), "Received: a Sequential without inputs"),
        (Subclassed, "Received: a Subclassed without inputs"),
        (
            lambda: chain(layers.Dense(4), layers.Reshape((2, 2, 1)), latent_dim=1),
            "latent_dim ≥ 2: the point moves in a plane. Received: latent_dim=1.",
        ),
        (
            lambda: to_image(layers.LayerNormalization(name="mine")),
            "Received: LayerNormalization, layer 'mine'.",
        ),
        (lambda: to_image(Rectified(3, name="own")), "Received: Rectified, layer 'own'."),
        (
            lambda: to_image(layers.Dense(3, activation="tanh", name="bent")),
            "Dense with one of the activations linear, relu, leaky_relu, selu, sigmoid. "
            "Received: activation='tanh', layer 'bent'.",
        ),
        (
            lambda: to_image(layers.Dense(3), layers.ReLU(max_value=6)),
            "ReLU with max_value=None. Received: max_value=6",
        ),
        (
            lambda: chain(
                layers.Reshape((1, 1, 2)), layers.Conv2DTranspose(1, 3, padding="valid")
            ),
            "Conv2DTranspose with padding='same'. Received: padding='valid'",
        ),
        (
            lambda: chain(layers.Reshape((1, 1, 2)), layers.Dense(3)),
            "Dense with an input of shape (batch, features).",
        ),
        (twice, "a decoder whose layers follow one another in a chain."),
    ],
)
def test_a_model_that_is_no_such_decoder_is_refused(model, message):
    with pytest.raises(ValueError, match=f"Expected .*{re.escape(message)}"):
        explore(model())


def test_what_is_no_model_is_refused():
    with pytest.raises(TypeError, match="Expected decoder to be a Keras model. Received: str."):
        explore("decoder")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(value):
    decoder = build_decoder(SMALL)
    bias = decoder.get_layer("decoder_conv_t_1").bias
    bias.assign(np.full(bias.shape, value))
    message = "Received: NaN or infinity in bias of layer 'decoder_conv_t_1'."
    with pytest.raises(ValueError, match=f"Expected finite weights. {message}"):
        explore(decoder)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"codes": CODES[:, :2]}, "codes of shape (n, 3). Received: shape (30, 2)."),
        ({"codes": CODES[0]}, "codes of shape (n, 3). Received: shape (3,)."),
        ({"codes": CODES[:0]}, "codes of shape (n, 3). Received: shape (0, 3)."),
        ({"codes": CODES * np.nan}, "finite codes. Received: NaN or infinity"),
        ({"codes": [["a"] * 3]}, "codes to hold numbers."),
        ({"at": [0, 0]}, "at of shape (3,). Received: shape (2,)."),
        ({"labels": LABELS}, "codes with labels. Received: codes=None."),
        (
            {"codes": CODES, "labels": LABELS[:4]},
            "labels of shape (30,), one for each code. Received: shape (4,).",
        ),
        (
            {"codes": CODES, "labels": LABELS, "names": ["a", "b"]},
            "labels to be integers from 0 to 1, one for each name. "
            "Received: int64 from 0 to 2.",
        ),
        ({"codes": CODES, "names": ["a"]}, "labels with names. Received: labels=None."),
        (
            {"codes": CODES, "labels": np.arange(30) % 11},
            "at most 10 classes, one for each colour. Received: 11 classes.",
        ),
        (
            {"shown": (0, 0)},
            "two different latent variables from 0 to 2. Received: shown=(0,",
        ),
        ({"shown": (0, 3)}, "Received: shown=(0, 3)."),
        ({"precision": "int8"}, "Received: precision='int8'."),
        ({"alt": " "}, "alt to say something. Received: ' '."),
        ({"caption": ""}, "caption to say something. Received: ''."),
    ],
)
def test_other_bad_arguments_are_refused_by_name(decoder, given, message):
    with pytest.raises(ValueError, match=f"Expected .*{re.escape(message)}"):
        explore(decoder, **given)


def test_an_activation_layer_and_a_models_own_models_are_taken():
    inner = chain(layers.Dense(3, activation="relu"), layers.Activation("leaky_relu"))
    explore(to_image(inner, layers.Dropout(0.5)))


def test_it_is_displayed_as_html_and_as_words(decoder):
    figure = explore(decoder, alt="What it makes.")
    assert figure._repr_html_() == figure.html
    assert repr(figure) == "A live decoder. What it makes."


def test_the_still_picture_is_a_grid_of_decoded_images(decoder, tmp_path):
    from matplotlib.image import imread

    figure = explore(decoder)
    [picture] = re.findall(r'src="data:image/png;base64,([^"]*)"', figure.html)
    file = tmp_path / "still.png"
    file.write_bytes(base64.b64decode(picture))
    grid = imread(file)
    assert grid.shape == (7 * 8, 7 * 8)
    middle = decoder(np.zeros((1, 3)), training=False)[0, :, :, 0]
    np.testing.assert_allclose(grid[24:32, 24:32], middle, atol=1 / 30 + 0.001)
    assert figure.alt == (
        "49 images that the decoder makes, on a grid over the latent variables z[0] and z[1]."
    )


def test_names_and_captions_are_text_not_markup(decoder):
    names = ["<b>a</b>", "</script>", "c & d"]
    html = explore(decoder, CODES, LABELS, names=names, alt='"', caption="<i>").html
    assert html.count("</script>") == 1
    assert "<b>a" not in html
    assert "<figcaption>&lt;i&gt;</figcaption>" in html
    assert "c &amp; d" in html
    assert 'alt="&quot;"' in html


def test_classes_of_one_letter_are_drawn_as_themselves_and_others_as_shapes(decoder):
    assert "<svg" not in explore(decoder, CODES, LABELS).html
    assert (
        explore(decoder, CODES, LABELS, names=["one", "two", "three"]).html.count("<svg") == 3
    )


def test_labels_may_be_any_numbers_or_words(decoder):
    html = explore(decoder, CODES, np.array(["cat", "dog", "eel"])[LABELS]).html
    assert re.findall(r'data-name="(\w+)"', html) == ["cat", "dog", "eel"]


def test_a_thousand_codes_are_drawn_and_no_more(decoder):
    many = np.zeros((5000, 3))
    assert len(explore(decoder, many).html) == len(explore(decoder, many[:1000]).html)


@pytest.mark.parametrize("ground", [("#ffffff", 0), ("#14181e", 1)])
def test_each_colour_can_be_read_on_its_ground(ground):
    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
            for part in parts
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    colour_of_ground, theme = ground
    assert colour_of_ground in resources.files("vaebook").joinpath("explorer.css").read_text()
    for pair in COLOURS:
        dark, light = sorted(map(luminance, (pair[theme], colour_of_ground)))
        assert (light + 0.05) / (dark + 0.05) >= 4.5, pair[theme]


def test_its_program_ends_no_script_early():
    text = resources.files("vaebook").joinpath("explorer.js").read_text("utf-8")
    assert "</script" not in text
    assert "<!--" not in text
