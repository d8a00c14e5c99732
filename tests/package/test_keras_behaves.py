"""What Keras does with several outputs and losses, where chapters rely on it."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from vaebook.layers import Sampling

X = np.ones((4, 1), "float32")


def model_of(outputs, **compile_options):
    """Return a compiled model whose outputs are made from its one input."""
    x = keras.Input((1,))
    model = keras.Model(x, outputs(x))
    model.compile(**{"run_eagerly": True, **compile_options})
    return model


def layer(name, factor=1.0):
    return keras.layers.Rescaling(factor, name=name)


def two_in_a_list(x):
    """The outputs 1 of layer "second" and 10 of layer "first", in this order."""
    return [layer("second")(x), layer("first", 10.0)(x)]


def two_in_a_dict(x):
    return {"second": layer("one")(x), "first": layer("other", 10.0)(x)}


def sum_of(y_true, y_pred):
    return ops.sum(y_pred, axis=-1)


def twice_the_sum_of(y_true, y_pred):
    return 2 * ops.sum(y_pred, axis=-1)


def loss_of(model, y, **options):
    return model.evaluate(X, y, verbose=0, return_dict=True, **options)["loss"]


def test_list_outputs_match_dicts_by_the_names_of_their_layers():
    losses = {"first": twice_the_sum_of, "second": sum_of}
    weights = {"first": 1.0, "second": 100.0}
    model = model_of(two_in_a_list, loss=losses, loss_weights=weights)
    assert loss_of(model, {"first": X, "second": X}) == 2 * 10 + 100 * 1


def test_list_outputs_match_lists_in_the_order_of_the_outputs():
    model = model_of(two_in_a_list, loss=[sum_of, twice_the_sum_of])
    assert loss_of(model, [X, X]) == 1 + 2 * 10


def test_dict_outputs_match_lists_in_the_order_of_the_alphabet():
    model = model_of(two_in_a_dict, loss=[sum_of, twice_the_sum_of])
    assert loss_of(model, [X, X]) == 10 + 2 * 1


def nested(x):
    code = {"mu": layer("mu", 2.0)(x), "log_var": layer("log_var", 3.0)(x)}
    return {"reconstruction": layer("reconstruction")(x), "code": code}


def loss_of_the_code(y_true, y_pred):
    return ops.sum(10 * y_pred["mu"] + y_pred["log_var"], axis=-1)


NESTED_Y = {"reconstruction": X, "code": {"mu": X, "log_var": X}}
WEIGHTS = np.array([1, 0, 0, 0], "float32")


class LossOfTheCode(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return loss_of_the_code(y_true, y_pred)


def test_a_loss_under_the_name_of_a_nested_output_gets_all_of_it():
    losses = {"reconstruction": sum_of, "code": LossOfTheCode()}
    assert loss_of(model_of(nested, loss=losses), NESTED_Y) == 1 + 23


def test_sample_weights_of_nested_outputs_work_through_a_dataset_only():
    model = model_of(nested, loss={"reconstruction": sum_of, "code": LossOfTheCode()})
    with pytest.raises((ValueError, KeyError, TypeError)):
        model.evaluate(X, NESTED_Y, sample_weight=WEIGHTS, verbose=0)
    data = tf.data.Dataset.from_tensor_slices((X, NESTED_Y, WEIGHTS)).batch(4)
    logs = model.evaluate(data, verbose=0, return_dict=True)
    assert logs["loss"] == pytest.approx((1 + 23) / 4)


def test_an_output_without_a_loss_needs_no_target():
    model = model_of(two_in_a_dict, loss={"first": sum_of})
    assert loss_of(model, X) == 10
    assert loss_of(model, {"first": X}) == 10


X_OF_THE_LAST_BATCH = np.array([[0], [0], [0], [4]], "float32")  # batches of 3 and 1


@pytest.mark.parametrize(
    ("eager", "first", "second"),
    [
        (False, 20, 2),  # the mean of the two batches' means, 0 and 40, 0 and 4
        (True, 10, 1),  # the mean over the four samples
    ],
)
def test_parts_are_means_of_batch_means_only_where_the_batch_size_is_unknown(
    eager, first, second
):
    losses = {"first": sum_of, "second": sum_of}
    model = model_of(two_in_a_dict, loss=losses, run_eagerly=eager)
    x, y = X_OF_THE_LAST_BATCH, dict.fromkeys(losses, X)
    logs = model.evaluate(x, y, batch_size=3, verbose=0, return_dict=True)
    assert logs == {"loss": 11, "first_loss": first, "second_loss": second}


def mean_difference(y_true, y_pred):
    return ops.mean(ops.abs(y_true - y_pred), axis=-1)


def test_metrics_of_one_array_for_a_dict_of_outputs_go_by_the_alphabet():
    """With metrics for both outputs, the one array is the target of the first in order."""
    by_name = {"first": [mean_difference], "second": [mean_difference]}
    model = model_of(two_in_a_dict, loss={"second": sum_of}, metrics=by_name)
    logs = model.evaluate(X, X, verbose=0, return_dict=True)
    assert logs == {"loss": 1, "first_mean_difference": 9}  # |1 - 10|; nothing of "second"


def test_compile_without_metrics_keeps_the_earlier_ones():
    model = model_of(two_in_a_dict, loss={"second": sum_of}, metrics={"second": ["mae"]})
    y = {"first": X, "second": X}
    for given, logged in ((None, {"loss", "second_mae"}), ({}, {"loss"})):
        model.compile(loss={"second": sum_of}, metrics=given, run_eagerly=True)
        assert set(model.evaluate(X, y, verbose=0, return_dict=True)) == logged


class AddsInItsCall(keras.Model):
    def call(self, x):
        self.add_loss(ops.mean(x))
        return x


def test_a_subclassed_model_may_add_a_loss_in_its_call():
    model = AddsInItsCall()
    model.compile(loss=sum_of, run_eagerly=True)
    assert loss_of(model, X) == 1 + 1


def test_a_functional_subclass_may_not():
    x = keras.Input((1,))
    model = AddsInItsCall(x, layer("y")(x))
    with pytest.raises(NotImplementedError):
        model(X)


def noise():
    return Sampling(seed=None)([tf.zeros((1, 3)), tf.zeros((1, 3))]).numpy()


def test_noise_without_a_seed_follows_set_random_seed():
    keras.utils.set_random_seed(1)
    one, other = noise(), noise()
    keras.utils.set_random_seed(1)
    assert np.array_equal(noise(), one)
    assert not np.array_equal(one, other)


# --- what chapter 15 relies on -----------------------------------------------------------


def test_the_kl_divergence_of_numbers_that_are_no_distributions_may_be_negative():
    given, taken = np.float32([[0.2, 0.2]]), np.float32([[0.5, 0.9]])
    by_hand = 0.2 * np.log(0.2 / 0.5) + 0.2 * np.log(0.2 / 0.9)
    assert by_hand < 0
    np.testing.assert_allclose(keras.losses.kl_divergence(given, taken), [by_hand], rtol=1e-5)


def test_the_kl_divergence_does_not_see_what_lies_outside_of_0_and_1():
    given, taken = np.float32([[-3, 2]]), np.float32([[-1, 7]])
    np.testing.assert_allclose(keras.losses.kl_divergence(given, taken), [0], atol=1e-6)


def test_the_cross_entropy_of_targets_above_1_is_negative():
    target, output = np.float32([[3.0]]), np.float32([[0.9]])
    by_hand = -(3 * np.log(0.9) - 2 * np.log(0.1))
    assert by_hand < 0
    np.testing.assert_allclose(
        keras.losses.binary_crossentropy(target, output), [by_hand], rtol=1e-5
    )


def test_the_cross_entropy_of_a_sure_and_right_output_is_finite():
    ones = np.ones((1, 1), "float32")
    assert 0 <= float(keras.losses.binary_crossentropy(ones, ones)[0]) < 1e-6


def test_a_logarithm_that_is_nan_has_a_gradient_that_is_not():
    x = tf.Variable(-2.0)
    with tf.GradientTape() as tape:
        value = ops.log(x)
    assert np.isnan(float(value))
    assert float(tape.gradient(value, x)) == -0.5


@pytest.mark.parametrize(("dtype", "log_var"), [("float16", 11.1), ("bfloat16", 88.8)])
def test_exp_overflows_where_the_chapter_says(dtype, log_var):
    assert np.isinf(float(ops.exp(ops.cast(1.02 * log_var, dtype))))
    assert np.isfinite(float(ops.exp(ops.cast(0.98 * log_var, dtype))))


def test_a_loss_of_a_mixed_precision_model_is_computed_in_float32():
    assert keras.losses.MeanSquaredError().dtype == "float32"
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        assert keras.losses.MeanSquaredError().dtype == "float32"
    finally:
        keras.config.set_dtype_policy(before)


def test_no_gradient_comes_back_from_beyond_a_clip():
    x = tf.Variable([1.0, 12.0])
    with tf.GradientTape() as tape:
        total = ops.sum(ops.clip(x, -10, 10))
    assert tape.gradient(total, x).numpy().tolist() == [1, 0]


@pytest.mark.parametrize("clipnorm", [None, 1.0])
def test_the_first_step_of_adam_is_the_learning_rate_whatever_the_gradient(clipnorm):
    for gradient in (1.0, 1e6):
        weight = keras.Variable([0.0])
        adam = keras.optimizers.Adam(0.5, clipnorm=clipnorm)
        adam.apply([tf.constant([gradient])], [weight])
        assert float(weight[0]) == pytest.approx(-0.5, rel=1e-3)


@pytest.mark.parametrize("variable", [False, True])
def test_a_number_in_a_loss_is_read_once_and_a_variable_each_time(variable):
    beta = {"now": keras.Variable(1.0, trainable=False) if variable else 1.0}
    x = keras.Input((1,))
    model = keras.Model(x, keras.layers.Rescaling(1.0)(x))
    model.compile(loss=lambda target, output: beta["now"] * ops.sum(output, axis=-1))
    first = loss_of(model, X)
    if variable:
        beta["now"].assign(50.0)
    else:
        beta["now"] = 50.0
    assert loss_of(model, X) == (50 * first if variable else first)


def test_keras_3_15_saves_two_settings_of_an_initializer_that_earlier_ones_refuse():
    added = {"input_axes": None, "output_axes": None}
    of_3_15 = {"seed": None, **added}
    if tuple(map(int, keras.__version__.split(".")[:2])) < (3, 15):
        assert not added.keys() & keras.initializers.GlorotUniform().get_config().keys()
        with pytest.raises(TypeError, match="got an unexpected keyword argument 'input_axes'"):
            keras.initializers.GlorotUniform.from_config(of_3_15)
    else:
        assert keras.initializers.GlorotUniform().get_config() == of_3_15
