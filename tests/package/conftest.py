import vaebook  # isort: skip
import keras
import numpy as np
import pytest


@pytest.fixture(autouse=True)
def one_seed():
    keras.utils.set_random_seed(0)


@pytest.fixture
def images():
    """Six small grey images, shape (6, 8, 8, 1)."""
    return np.random.default_rng(0).uniform(size=(6, 8, 8, 1)).astype("float32")
