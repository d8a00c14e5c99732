"""The trained model that comes with the package."""

import numpy as np
import pytest
from vaebook import records

LARGEST_FILE = 1_200_000  # bytes


@pytest.fixture(scope="module")
def first_vae():
    return records.load_recorded_model("first_vae")


def test_its_file_is_small():
    path = records.RECORDS / "first_vae.keras"
    assert path.stat().st_size <= LARGEST_FILE


def test_it_returns_three_outputs_and_has_a_decoder(first_vae):
    images = np.zeros((2, 28, 28, 1), "float32")
    shapes = {name: tuple(out.shape) for name, out in first_vae(images).items()}
    assert shapes == {"reconstruction": (2, 28, 28, 1), "mu": (2, 6), "log_var": (2, 6)}
    assert first_vae.get_layer("decoder").input_shape == (None, 6)


def test_it_draws_with_ink_on_paper(first_vae):
    z = np.random.default_rng(0).normal(size=(200, 6)).astype("float32")
    drawn = first_vae.get_layer("decoder").predict(z, verbose=0)
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    # A trained decoder leaves the frame blank and puts ink in the middle.
    frame = np.concatenate([drawn[:, :2], drawn[:, -2:]])
    assert frame.mean() < 0.01
    assert drawn[:, 8:20, 8:20].mean() > 0.2
    # And it draws different things: no pixel of the middle is the same in all.
    assert drawn[:, 12:16, 12:16].std(axis=0).min() > 0.1


def test_an_unknown_model_is_refused():
    with pytest.raises(ValueError, match=r"out of \['first_vae'\]. Received: 'second'"):
        records.load_recorded_model("second")
