import gc

import vaebook  # isort: skip
import keras
import numpy as np
import pytest
import tensorflow as tf

# What the imports made stays. The garbage collector, which otherwise looks through all of it
# again and again, costs a tenth of these tests.
gc.collect()
gc.freeze()


@pytest.fixture(autouse=True)
def one_seed():
    keras.utils.set_random_seed(0)


@pytest.fixture
def images():
    """Six small grey images, shape (6, 8, 8, 1)."""
    return np.random.default_rng(0).uniform(size=(6, 8, 8, 1)).astype("float32")


@pytest.fixture(scope="module")
def quiet():
    """TensorFlow warns of many models; here they are intended."""
    level = tf.get_logger().level
    tf.get_logger().setLevel("ERROR")
    yield
    tf.get_logger().setLevel(level)
