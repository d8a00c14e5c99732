"""What judges the drawings of chapter 0."""

import json
import zipfile

import first_vae
import numpy as np
import pytest
from PIL import Image
from vaebook.records import load_record, load_recorded_model


@pytest.fixture
def features():
    return np.random.default_rng(0).normal(size=(400, 3))


def test_features_are_at_no_distance_from_themselves(features):
    assert first_vae.frechet_distance(features, features) == pytest.approx(0, abs=1e-9)


def test_a_shift_is_at_the_square_of_its_length(features):
    shift = np.array([3.0, 0.0, 4.0])
    assert first_vae.frechet_distance(features + shift, features) == pytest.approx(25)


def test_a_spread_is_at_the_square_of_the_difference_of_the_roots(features):
    # Three times as wide: the sum over features of (3 s - s)², which is 4 s².
    centred = features - features.mean(axis=0)
    expected = 4 * np.trace(np.cov(features.T))
    assert first_vae.frechet_distance(3 * centred, centred) == pytest.approx(expected)


def test_codes_like_others_have_their_mean_and_their_covariance():
    rng = np.random.default_rng(0)
    mu = rng.normal(size=(5_000, 2)) @ np.array([[2.0, 1.0], [0.0, 0.5]]) + [5.0, -3.0]
    drawn = first_vae.codes_like(mu, rng)
    assert drawn.shape == (first_vae.SETTINGS["draws"], 2)
    assert drawn.mean(axis=0) == pytest.approx(mu.mean(axis=0), abs=0.2)
    assert np.cov(drawn.T) == pytest.approx(np.cov(mu.T), abs=0.4)


def test_the_picture_holds_the_images_in_their_order(tmp_path, monkeypatch):
    monkeypatch.setattr(first_vae, "PICTURE", tmp_path / "digits.png")
    images = np.zeros((first_vae.ROWS * first_vae.COLUMNS, 28, 28, 1))
    images[1] = 1.0
    first_vae.save_picture(images)
    side = 28 * first_vae.SCALE
    pixels = np.asarray(Image.open(tmp_path / "digits.png"))
    assert pixels.shape == (first_vae.ROWS * side, first_vae.COLUMNS * side)
    assert pixels[:side, side : 2 * side].mean() > 240
    assert pixels[2 * side :].max() == 0  # the row between holds a soft edge


def test_the_record_was_made_with_these_settings():
    assert load_record("first_vae")["settings"] == json.loads(json.dumps(first_vae.SETTINGS))


def test_the_model_in_the_package_is_the_one_that_the_command_trains():
    built, _ = first_vae.build("vae", first_vae.SETTINGS["shipped"]["latent_dim"], seed=1)
    stored = load_recorded_model("first_vae")
    assert [w.shape for w in built.weights] == [w.shape for w in stored.weights]
    assert built.output_names == stored.output_names


def test_a_setting_that_older_versions_of_keras_refuse_is_left_out():
    config = {"seed": None, "input_axes": None, "layers": [{"quantization_config": None}]}
    assert first_vae.without_newer_settings(config) == {"seed": None, "layers": [{}]}
    assert first_vae.without_newer_settings({"input_axes": [0]}) == {"input_axes": [0]}


def test_the_stored_model_has_no_setting_that_older_versions_refuse():
    with zipfile.ZipFile(first_vae.MODEL) as archive:
        config = archive.read("config.json").decode()
    assert [name for name in first_vae.NEWER_SETTINGS if name in config] == []
