"""What every route has in common. Its behaviours are in test_behaviours.py."""

import subprocess
import sys

import keras
import numpy as np
import pytest
from vaebook.behaviours import SPEC
from vaebook.networks import NetworkSpec
from vaebook.routes import ROUTES
from vaebook.targets import check_keys

WEIGHT = 0.25
RECONSTRUCTION = "reconstruction_loss"

every_route = pytest.mark.parametrize("route", ROUTES.values(), ids=lambda route: route.name)


def build(route, **options):
    """Two calls build the same model: one seed fixes its weights and its noise."""
    return route.build(SPEC, weight=WEIGHT, seed=1, **options)


def objective(model, x):
    """Part VI's loss of each image, in plain float64 numpy, and its two sides."""
    z, mu, log_var = model.get_layer("encoder")(x)
    decoder = model.get_layer("decoder")
    guess = decoder([z, mu, log_var])[0] if len(decoder.inputs) == 3 else decoder(z)
    guess, mu, log_var = (np.asarray(part, "float64") for part in (guess, mu, log_var))
    crossentropy = -(x * np.log(guess) + (1 - x) * np.log1p(-guess)).mean(axis=(1, 2, 3))
    k = mu**2 + np.exp(log_var) - 1 - log_var
    return crossentropy, WEIGHT * k.mean(axis=1)


def kl_in(logs):
    """What the logs say of the KL term, in one part or two."""
    return sum(value for name, value in logs.items() if name not in ("loss", RECONSTRUCTION))


@every_route
def test_a_model_has_the_parameters_of_its_two_networks(route):
    model = route.build(NetworkSpec())
    assert model.count_params() == 229_125
    assert model.get_layer("encoder").count_params() == 117_764


@every_route
def test_losses_and_targets_are_keyed_by_the_outputs(route, images):
    model, y = build(route), route.targets(images)
    if isinstance(y, dict):
        check_keys(model.output, model.loss, y)
    else:  # one output to train on: the image is its own target
        assert np.array_equal(y, images)


@every_route
def test_the_loss_is_part_vi_s(route, images):
    crossentropy, divergence = objective(build(route), images)
    logs = build(route).evaluate(images, route.targets(images), verbose=0, return_dict=True)
    assert logs["loss"] == pytest.approx((crossentropy + divergence).mean(), rel=1e-6)
    assert logs[RECONSTRUCTION] == pytest.approx(crossentropy.mean(), rel=1e-6)
    assert kl_in(logs) == pytest.approx(divergence.mean(), rel=1e-6)


@every_route
def test_training_lowers_the_loss(route, images):
    model = build(route, optimizer=keras.optimizers.Adam(0.01), run_eagerly=True)
    y = route.targets(images)
    history = model.fit(
        images, y, validation_data=(images, y), batch_size=3, epochs=4, verbose=0
    ).history
    assert history["loss"][-1] < history["loss"][0]
    assert np.isfinite(history["val_loss"]).all()


@every_route
def test_one_seed_is_one_training(route, images):
    def train():
        keras.utils.set_random_seed(3)  # the order of the batches
        model = build(route, run_eagerly=True)
        model.fit(images, route.targets(images), batch_size=2, epochs=2, verbose=0)
        return model.get_weights()

    for one, other in zip(train(), train(), strict=True):
        assert np.array_equal(one, other)


IN_ANOTHER_PROCESS = """
import sys
import vaebook.models, vaebook.routes, keras, numpy as np
folder = sys.argv[1]
x = np.load(folder + "/x.npy")
for name, route in vaebook.routes.ROUTES.items():
    model = keras.saving.load_model(f"{folder}/{name}.keras", safe_mode=True)
    predicted = model.predict(x, verbose=0)
    model.reset_metrics()
    loss = model.train_on_batch(x, route.targets(x))
    if isinstance(predicted, dict):
        predicted = predicted["reconstruction"]
    answers = dict(predicted=predicted, loss=loss, weight=model.get_weights()[0])
    np.savez(f"{folder}/{name}.npz", **answers)
"""


def test_a_saved_model_goes_on_in_another_process(images, tmp_path):
    models = {}
    for name, route in ROUTES.items():
        models[name] = build(route, run_eagerly=True)
        models[name].fit(images, route.targets(images), verbose=0)
        models[name].save(tmp_path / f"{name}.keras")
    np.save(tmp_path / "x.npy", images)
    subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS, str(tmp_path)],
        check=True,
        timeout=300,
    )
    for name, model in models.items():
        answer = np.load(tmp_path / f"{name}.npz")
        predicted = model.predict(images, verbose=0)
        if isinstance(predicted, dict):
            predicted = predicted["reconstruction"]
        model.reset_metrics()
        loss = model.train_on_batch(images, ROUTES[name].targets(images))
        assert np.allclose(answer["predicted"], predicted, atol=1e-6), name
        assert np.allclose(answer["loss"], loss, rtol=1e-6), name
        assert np.allclose(answer["weight"], model.get_weights()[0], atol=1e-6), name


@every_route
def test_the_weight_may_be_a_variable_that_no_optimizer_moves(route, images):
    weight = keras.Variable(WEIGHT)
    fixed = build(route)
    model = route.build(SPEC, weight=weight, seed=1, optimizer=keras.optimizers.SGD(1.0))
    y = route.targets(images)
    loss = model.train_on_batch(images, y, return_dict=True)["loss"]
    assert loss == pytest.approx(fixed.train_on_batch(images, y)[0], rel=1e-6)
    assert float(weight) == WEIGHT
    assert len(model.weights) == len(fixed.weights)
    weight.assign(0.0)
    assert kl_in(model.evaluate(images, y, verbose=0, return_dict=True)) == 0


@pytest.mark.parametrize("name", ["compute_loss", "train_step"])
def test_a_target_that_differs_from_the_input_is_used(name, images):
    darker = ROUTES[name].targets(images / 2)
    loss = build(ROUTES[name]).evaluate(images, darker, verbose=0, return_dict=True)
    same = build(ROUTES[name]).evaluate(images, images, verbose=0, return_dict=True)
    without = build(ROUTES[name]).evaluate(images, verbose=0, return_dict=True)
    assert loss["loss"] != pytest.approx(same["loss"], rel=1e-3)
    assert without == same


@pytest.mark.parametrize("name", ["compute_loss", "train_step"])
def test_a_loss_that_would_be_ignored_is_refused(name):
    with pytest.raises(TypeError, match=r"without a loss: .* Received: \['loss_weights'\]"):
        ROUTES[name].build(SPEC, loss_weights=[1, 2])


@pytest.mark.parametrize("name", ["kl_layer", "train_step"])
def test_metrics_of_the_user_stand_beside_the_losses(name, images):
    metric = keras.metrics.MeanSquaredError(name="error")
    model = build(ROUTES[name], weighted_metrics=[metric])
    logs = model.evaluate(images, images, verbose=0, return_dict=True)
    assert sorted(logs) == ["error", "kl_loss", "loss", RECONSTRUCTION]
    assert 0 < logs["error"] < 1


@every_route
def test_wrong_arguments_are_refused(route, images):
    with pytest.raises(ValueError, match="weight ≥ 0. Received: weight=-1.0"):
        route.build(SPEC, weight=-1)
    with pytest.raises(ValueError, match=r"\[0, 1\]. Received: pixels from 0.* to 25"):
        route.targets(255 * images)


def test_an_unknown_route_is_refused():
    with pytest.raises(ValueError, match=r"out of \['pass_through'.*Received: 'part_vi'"):
        ROUTES["part_vi"]
