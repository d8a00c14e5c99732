import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from vaebook.layers import KLDivergence, Sampling


def test_sampling_has_the_mean_and_variance_it_is_given():
    n = 200_000
    mu = tf.fill((n, 1), 1.5)
    log_var = tf.fill((n, 1), float(np.log(0.25)))
    z = Sampling(seed=1)([mu, log_var]).numpy()
    assert z.mean() == pytest.approx(1.5, abs=4 * 0.5 / np.sqrt(n))
    assert z.std() == pytest.approx(0.5, rel=0.01)


def test_sampling_without_variance_returns_mu():
    mu = tf.constant([[1.0, -2.0]])
    assert np.array_equal(Sampling()([mu, tf.fill((1, 2), -200.0)]), mu)


def test_the_gradient_follows_the_noise():
    mu, log_var = tf.zeros((3, 2)), tf.fill((3, 2), 0.6)
    with tf.GradientTape() as tape:
        tape.watch([mu, log_var])
        z = Sampling(seed=1)([mu, log_var])
    to_mu, to_log_var = tape.gradient(z, [mu, log_var])
    assert np.array_equal(to_mu, np.ones((3, 2)))
    # dz / dlog_var = ½ exp(½ log_var) · epsilon = ½ (z − mu)
    assert np.allclose(to_log_var, 0.5 * (z - mu), rtol=1e-6)


def run_twice(layer, **options):
    compiled = tf.function(layer, **options)
    inputs = [tf.zeros((2, 3)), tf.zeros((2, 3))]
    return compiled(inputs).numpy(), compiled(inputs).numpy()


def test_one_seed_is_one_stream_in_graph_and_eager_mode():
    eager = Sampling(seed=5)
    inputs = [tf.zeros((2, 3)), tf.zeros((2, 3))]
    first, second = run_twice(Sampling(seed=5))
    assert np.array_equal(eager(inputs), first)
    assert np.array_equal(eager(inputs), second)
    assert not np.array_equal(first, second)


def test_sampling_runs_under_xla():
    first, second = run_twice(Sampling(seed=5), jit_compile=True)
    assert np.isfinite(first).all()
    assert not np.array_equal(first, second)


def test_bfloat16_rounds_the_noise_of_float32():
    inputs = [tf.zeros((50, 3)), tf.zeros((50, 3))]
    exact = Sampling(seed=5)(inputs).numpy()
    rounded = Sampling(seed=5, dtype="mixed_bfloat16")(inputs)
    assert rounded.dtype == "bfloat16"
    assert np.allclose(tf.cast(rounded, "float32"), exact, rtol=2**-8)


def test_sampling_survives_serialisation():
    copy = keras.layers.deserialize(keras.layers.serialize(Sampling(seed=7, name="z")))
    assert (copy.seed, copy.name) == (7, "z")


def test_a_saved_layer_goes_on_with_its_noise(tmp_path):
    inputs = [keras.Input((2,)), keras.Input((2,))]
    model = keras.Model(inputs, Sampling(seed=3)(inputs))
    zeros = [tf.zeros((4, 2)), tf.zeros((4, 2))]
    model(zeros)
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert np.array_equal(copy(zeros), model(zeros))


@pytest.mark.parametrize(
    "shapes", [[(2, 3), (2, 4)], [(2, 3)], [(2, 3), (2, 3), (2, 3)]], ids=str
)
def test_wrong_inputs_are_refused(shapes):
    with pytest.raises(ValueError, match=r"Expected \[mu, log_var\].*Received: shapes"):
        Sampling()([tf.zeros(shape) for shape in shapes])


IN_A_PROCESS = """
import vaebook, keras, numpy as np, tensorflow as tf
from vaebook.layers import Sampling
{}
"""


def in_a_process(code):
    """Run code that changes all of TensorFlow in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", IN_A_PROCESS.format(code)],
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    ).stdout


def test_each_replica_draws_its_own_noise():
    printed = in_a_process(
        """
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, 2 * [tf.config.LogicalDeviceConfiguration()])
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    layer = Sampling(seed=1)
zeros = [tf.zeros((2, 3)), tf.zeros((2, 3))]
drawn = strategy.run(tf.function(lambda: layer(zeros)))
one, two = (value.numpy() for value in drawn.values)
print(np.array_equal(one, two), np.isfinite([one, two]).all())
"""
    )
    assert printed.split() == ["False", "True"]


def test_op_determinism_is_respected():
    printed = in_a_process(
        """
tf.config.experimental.enable_op_determinism()
keras.utils.set_random_seed(1)
zeros = [tf.zeros((2, 3)), tf.zeros((2, 3))]
print(np.array_equal(Sampling(seed=1)(zeros), Sampling(seed=1)(zeros)))
"""
    )
    assert printed.split() == ["True"]


MU = np.array([[1.0, -2.0], [0.0, 0.5]], "float32")
LOG_VAR = np.log(np.array([[4.0, 1.0], [0.5, 2.0]], "float32"))
# By hand: k = mu² + exp(log_var) − 1 − log_var, first image (1 + 3 − ln 4, 4), second
# image (−½ + ln 2, ¼ + 1 − ln 2).
MEAN_OF_K = (4 - np.log(4) + 4 - 0.5 + np.log(2) + 1.25 - np.log(2)) / 4


def test_kl_divergence_hands_its_inputs_on_and_adds_the_mean_of_k():
    layer = KLDivergence(0.5)
    mu, log_var = layer([tf.constant(MU), tf.constant(LOG_VAR)])
    assert np.array_equal(mu, MU)
    assert np.array_equal(log_var, LOG_VAR)
    assert [float(loss) for loss in layer.losses] == [pytest.approx(0.5 * MEAN_OF_K)]


def test_kl_divergence_shows_the_mean_over_images_whatever_the_batches():
    layer = KLDivergence()
    layer([tf.constant(np.tile(MU[:1], (3, 1))), tf.constant(np.tile(LOG_VAR[:1], (3, 1)))])
    layer([tf.constant(MU[1:]), tf.constant(LOG_VAR[1:])])
    one, other = (8 - np.log(4)) / 2, 0.75 / 2
    assert float(layer.metrics[0].result()) == pytest.approx((3 * one + other) / 4)


def test_kl_divergence_computes_in_float32_in_bfloat16_models():
    # 1.015625 is a bfloat16; its square is not.
    mu = tf.constant([[1.015625]], "bfloat16")
    layer = KLDivergence(dtype="mixed_bfloat16")
    passed, _ = layer([mu, tf.zeros_like(mu)])
    assert passed.dtype == "bfloat16"
    assert layer.losses[0].dtype == "float32"
    assert float(layer.losses[0]) == 1.015625**2


def test_kl_divergence_keeps_a_variable_out_of_the_weights():
    weight = keras.Variable(2.0)
    layer = KLDivergence(weight)
    layer([tf.constant(MU), tf.constant(LOG_VAR)])
    weight.assign(0.0)
    assert not layer.weights
    layer([tf.constant(MU), tf.constant(LOG_VAR)])
    assert float(layer.losses[-1]) == 0


@pytest.mark.parametrize("layer", [Sampling, KLDivergence])
def test_one_tensor_in_place_of_two_is_refused(layer):
    with pytest.raises(
        ValueError, match=r"Expected \[mu, log_var\].*Received: shapes \[\(2, 2"
    ):
        layer()(tf.zeros((2, 2)))


def test_kl_divergence_survives_serialisation():
    copy = keras.layers.deserialize(keras.layers.serialize(KLDivergence(0.25, name="kl")))
    assert (float(copy.divergence.weight), copy.name) == (0.25, "kl")


@pytest.mark.parametrize("shapes", [[(2, 3), (2, 4)], [(2, 3)]], ids=str)
def test_kl_divergence_refuses_wrong_inputs(shapes):
    with pytest.raises(ValueError, match=r"Expected \[mu, log_var\].*Received: shapes"):
        KLDivergence()([tf.zeros(shape) for shape in shapes])


def test_kl_divergence_refuses_a_negative_weight():
    with pytest.raises(ValueError, match="weight ≥ 0. Received: weight=-1.0"):
        KLDivergence(-1)
