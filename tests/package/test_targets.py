import keras
import numpy as np
import pytest
import tensorflow as tf
from vaebook.targets import (
    add_prior_targets,
    check_images,
    check_keys,
    class_weights_per_output,
    mask_missing,
    prior_targets,
)

NAMES = ["reconstruction", "mu", "log_var"]
RIGHT = dict.fromkeys(NAMES, "mse")


def test_prior_targets_have_a_length_and_no_bytes():
    targets = prior_targets(60_000)
    assert list(targets) == ["mu", "log_var"]
    assert [len(target) for target in targets.values()] == [60_000, 60_000]
    assert sum(target.nbytes for target in targets.values()) == 0


def test_a_negative_number_of_targets_is_refused():
    with pytest.raises(ValueError, match="n ≥ 0. Received: n=-1"):
        prior_targets(-1)


def test_a_dataset_gets_the_same_targets(images):
    dataset = tf.data.Dataset.from_tensor_slices(images).batch(4).map(add_prior_targets)
    for (x, y), n in zip(dataset, [4, 2], strict=True):
        assert np.array_equal(y["reconstruction"], x)
        expected = {name: target.shape for name, target in prior_targets(n).items()}
        assert {name: tuple(y[name].shape) for name in expected} == expected


def test_mapping_before_batching_is_refused(images):
    dataset = tf.data.Dataset.from_tensor_slices(images)
    with pytest.raises(ValueError, match=r"call batch\(\) before map\(\). Received: .*8, 8, 1"):
        dataset.map(add_prior_targets)


def test_images_in_range_are_taken(images):
    check_images(images)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[..., 0], r"channels\). Received: shape \(6, 8, 8\)"),
        (lambda x: 255 * x, r"pixels in \[0, 1\]. Received: pixels from 0.* to 2"),
        (lambda x: x - 1, r"pixels in \[0, 1\]. Received: pixels from -"),
        (
            lambda x: np.where(x > 0.5, np.nan, x),
            "finite pixels.*Received: pixels from nan",
        ),
        (lambda x: np.where(x > 0.5, np.inf, x), "finite pixels.*to inf"),
    ],
)
def test_wrong_images_are_refused(images, change, message):
    with pytest.raises(ValueError, match=message):
        check_images(change(images))


def test_right_keys_pass():
    check_keys(NAMES, RIGHT, dict.fromkeys(NAMES, (0, 0)), dict.fromkeys(NAMES, 1.0))
    check_keys({"mu": object()}, {"mu": "mse"})


def without(name):
    return {key: value for key, value in RIGHT.items() if key != name}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"losses": {**without("mu"), "mean": "mse"}},
            ValueError,
            r"loss keys.*still without a loss: \['mu'\]\). Received: \['mean'\]",
        ),
        (
            {"losses": {**RIGHT, "kl": "mse"}},
            ValueError,
            r"the outputs: .*Received: \['kl'\]",
        ),
        (
            {"losses": without("log_var")},
            ValueError,
            r"a loss .*Received: none for \['log_var'\]",
        ),
        (
            {"losses": {**RIGHT, "mu": None}},
            ValueError,
            r"a loss .*Received: none for \['mu'\]",
        ),
        ({"losses": ["mse"] * 3}, TypeError, "by position. Received: list"),
        (
            {"losses": RIGHT, "loss_weights": {**dict.fromkeys(NAMES, 1.0), "kl": 1.0}},
            ValueError,
            r"loss weight keys.*Received: \['kl'\]",
        ),
        (
            {"losses": RIGHT, "loss_weights": {"mu": 1.0}},
            ValueError,
            r"a loss weight .*Received: none for \['reconstruction', 'log_var'\]",
        ),
        (
            {"losses": RIGHT, "loss_weights": [1, 1, 1]},
            TypeError,
            "by position. Received: list",
        ),
        (
            {"losses": RIGHT, "targets": {"reconstruction": [0]}},
            ValueError,
            r"a target .*Received: none for \['mu', 'log_var'\]",
        ),
        (
            {"losses": RIGHT, "targets": {**dict.fromkeys(NAMES, (0,)), "main": [0]}},
            ValueError,
            r"target keys.*Received: \['main'\]",
        ),
        (
            {"losses": RIGHT, "targets": {**dict.fromkeys(NAMES, (0,)), "mu": None}},
            ValueError,
            r"a target .*Received: none for \['mu'\]",
        ),
        (
            {"losses": RIGHT, "targets": {**dict.fromkeys(NAMES, (0,)), "mu": [0, 0]}},
            ValueError,
            "targets of one length. Received: .*'mu': 2",
        ),
        (
            {"losses": RIGHT, "targets": np.zeros((2, 3))},
            TypeError,
            "Received: ndarray",
        ),
    ],
)
def test_each_silent_mistake_is_named(arguments, error, message):
    with pytest.raises(error, match=message):
        check_keys(NAMES, **arguments)


@pytest.mark.parametrize("outputs", [3, "mu", [object()]])
def test_outputs_without_names_are_refused(outputs):
    with pytest.raises(TypeError, match="Expected a model.*Received"):
        check_keys(outputs, RIGHT)


# --- labels that are missing -------------------------------------------------------------

NAN = float("nan")


def test_labelled_samples_get_the_weight_n_over_labelled():
    labels = {"class": np.array([2.0, NAN, 0.0, NAN, NAN]), "lean": np.arange(5.0)}
    filled, weights = mask_missing(labels)
    assert filled["class"].tolist() == [2, 0, 0, 0, 0]
    assert weights["class"] == pytest.approx([2.5, 0, 2.5, 0, 0])
    assert filled["lean"].tolist() == [0, 1, 2, 3, 4]
    assert weights["lean"].tolist() == [1, 1, 1, 1, 1]
    assert np.isnan(labels["class"]).sum() == 3  # the caller's array is as it was


def test_divide_by_all_keeps_weights_of_one():
    _, weights = mask_missing({"class": np.array([2.0, NAN])}, divide_by="all")
    assert weights["class"].tolist() == [1, 0]


def test_another_value_can_stand_for_a_missing_label():
    labels = {"class": np.array([-1, 3]), "lean": np.array([-1, 3])}
    filled, weights = mask_missing(labels, {"class": -1})
    assert (filled["class"].tolist(), weights["class"].tolist()) == ([0, 3], [0, 2])
    assert (filled["lean"].tolist(), weights["lean"].tolist()) == ([-1, 3], [1, 1])


def test_a_row_with_one_missing_value_is_missing():
    filled, weights = mask_missing({"box": np.array([[1.0, NAN], [2.0, 3.0]])})
    assert filled["box"].tolist() == [[1, 0], [2, 3]]
    assert weights["box"].tolist() == [0, 2]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"targets": {"class": np.full(3, NAN), "lean": np.ones(3)}},
            ValueError,
            "label for some sample of output 'class'. Received: none in 3",
        ),
        (
            {"targets": {"class": np.full(3, -1)}, "missing": {"class": -1}},
            ValueError,
            "output 'class'. Received: none in 3",
        ),
        (
            {"targets": {"class": np.ones(3)}, "missing": {"clas": -1}},
            ValueError,
            r"missing for outputs out of \['class'\]. Received: \['clas'\]",
        ),
        (
            {"targets": {"class": np.ones(3), "lean": np.ones(2)}},
            ValueError,
            "targets of one length. Received: .*'lean': 2",
        ),
        ({"targets": np.ones(3)}, TypeError, "targets as a dict .* Received: ndarray"),
        ({"targets": {"class": ["a"]}}, TypeError, "output 'class' as an array of numbers"),
        (
            {"targets": {"class": np.ones(3)}, "divide_by": "n"},
            ValueError,
            "Received: divide_by='n'",
        ),
    ],
)
def test_labels_that_cannot_be_masked_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        mask_missing(**arguments)


# --- class weights -----------------------------------------------------------------------

DIGITS = np.array([0, 1, 1, 2])
OF_DIGITS = {0: 3.0, 1: 0.5, 2: 0.0}


@pytest.mark.parametrize(
    "labels",
    [DIGITS, DIGITS[:, np.newaxis], DIGITS.astype("float32"), np.eye(3)[DIGITS]],
    ids=["integers", "a column", "floats", "one-hot"],
)
def test_class_weights_become_sample_weights(labels):
    weights = class_weights_per_output(
        {"class": labels, "lean": np.zeros(4)}, {"class": OF_DIGITS}
    )
    assert weights["class"].tolist() == [3, 0.5, 0.5, 0]
    assert weights["lean"].tolist() == [1, 1, 1, 1]
    assert {array.dtype for array in weights.values()} == {np.dtype("float32")}


@pytest.mark.parametrize("dtype", ["bool", "float32", "int64"])
def test_binary_labels_have_two_classes(dtype):
    labels = np.array([[1], [0], [0]], dtype)
    weights = class_weights_per_output({"odd": labels}, {"odd": {0: 1.0, 1: 9.0}})
    assert weights["odd"].tolist() == [9, 1, 1]


def test_other_sample_weights_are_multiplied():
    filled, labelled = mask_missing({"class": np.array([0, NAN, 1, NAN])})
    weights = class_weights_per_output(filled, {"class": {0: 1, 1: 5}}, labelled)
    assert weights["class"].tolist() == [2, 0, 10, 0]


def test_a_missing_one_hot_row_may_be_zeros():
    rows = np.array([[0.0, 1.0], [NAN, NAN]])
    filled, labelled = mask_missing({"class": rows})
    weights = class_weights_per_output(filled, {"class": {0: 2, 1: 3}}, labelled)
    assert weights["class"].tolist() == [6, 0]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"class_weights": {"clas": OF_DIGITS}}, ValueError, r"Received: \['clas'\]"),
        (
            {"class_weights": {"class": {**OF_DIGITS, 7: 1.0}}},
            ValueError,
            r"output 'class' for its classes, \[0, 1, 2\]. Received: \[7\]",
        ),
        (
            {"class_weights": {"class": {0: 1.0, 1: 1.0}}},
            ValueError,
            r"each class of output 'class'. Received: none for \[2\]",
        ),
        (
            {"class_weights": {"class": {**OF_DIGITS, 2: -1.0}}},
            ValueError,
            r"class_weights\['class'\]\[2\]",
        ),
        (
            {"class_weights": {"class": {**OF_DIGITS, 2: NAN}}},
            ValueError,
            r"finite class_weights\['class'\]\[2\]",
        ),
        ({"class_weights": {"class": [3, 1, 1]}}, TypeError, "dict from class to weight"),
        (
            {"sample_weight": {"lean": np.ones(4)}},
            ValueError,
            r"sample_weight for each of \['class', 'lean'\]. Received: none for \['class'\]",
        ),
        (
            {"sample_weight": {"class": np.ones(4), "lean": np.ones((4, 1))}},
            ValueError,
            r"output 'lean' of shape \(4,\). Received: shape \(4, 1\)",
        ),
        ({"sample_weight": [np.ones(4)]}, TypeError, "sample_weight as a dict"),
        (
            {"targets": {"class": np.array([0, 1, NAN, 2]), "lean": np.ones(4)}},
            ValueError,
            "labels of output 'class' as integers.*mask_missing",
        ),
        (
            {"targets": {"class": np.ones((4, 3)), "lean": np.ones(4)}},
            ValueError,
            "one-hot rows in output 'class'.*an output each",
        ),
    ],
)
def test_class_weights_that_do_not_fit_are_refused(change, error, message):
    right = {
        "targets": {"class": DIGITS, "lean": np.ones(4)},
        "class_weights": {"class": OF_DIGITS},
    }
    with pytest.raises(error, match=message):
        class_weights_per_output(**{**right, **change})


def test_for_one_output_it_is_keras_s_class_weight():
    x, y = np.eye(4, dtype="float32"), {"class": DIGITS}

    def loss_after(**weights):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((4,))
        model = keras.Model(inputs, keras.layers.Dense(3)(inputs))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("sgd", loss=loss)
        model.fit(x, DIGITS, verbose=0, **weights)
        return model.get_weights()

    ours = class_weights_per_output(y, {"class": OF_DIGITS})["class"]
    for one, other in zip(
        loss_after(class_weight=OF_DIGITS), loss_after(sample_weight=ours), strict=True
    ):
        assert np.allclose(one, other, rtol=1e-6)
