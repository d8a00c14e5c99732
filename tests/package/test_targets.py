import numpy as np
import pytest
import tensorflow as tf
from vaebook.targets import add_prior_targets, check_images, check_keys, prior_targets

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
