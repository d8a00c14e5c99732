import subprocess
import sys

import keras
import numpy as np
import pytest
from test_networks import SMALL
from vaebook.networks import NetworkSpec
from vaebook.routes import ROUTES
from vaebook.targets import check_keys

SPEC = NetworkSpec(latent_dim=3, **SMALL)
WEIGHT = 0.25

every_route = pytest.mark.parametrize("route", ROUTES.values(), ids=lambda route: route.name)


def build(route, **options):
    """Two calls build the same model: one seed fixes its weights and its noise."""
    return route.build(SPEC, weight=WEIGHT, seed=1, **options)


def objective(outputs, x):
    """Part VI's loss of each image, in plain float64 numpy, and its two sides."""
    guess, mu, log_var = (
        np.asarray(outputs[name], "float64") for name in ("reconstruction", "mu", "log_var")
    )
    crossentropy = -(x * np.log(guess) + (1 - x) * np.log1p(-guess)).mean(axis=(1, 2, 3))
    k = mu**2 + np.exp(log_var) - 1 - log_var
    return crossentropy, WEIGHT * k.mean(axis=1)


@every_route
def test_a_model_has_the_parameters_of_its_two_networks(route):
    model = route.build(NetworkSpec())
    assert model.count_params() == 229_125
    assert model.get_layer("encoder").count_params() == 117_764


@every_route
def test_losses_and_targets_are_keyed_by_the_outputs(route, images):
    model = build(route)
    check_keys(model.output, model.loss, route.targets(images))


@every_route
def test_the_loss_is_part_vi_s(route, images):
    crossentropy, divergence = objective(build(route)(images), images)
    logs = build(route).evaluate(images, route.targets(images), verbose=0, return_dict=True)
    assert logs["loss"] == pytest.approx((crossentropy + divergence).mean(), rel=1e-6)
    assert logs["reconstruction_loss"] == pytest.approx(crossentropy.mean(), rel=1e-6)
    assert logs["mu_loss"] + logs["log_var_loss"] == pytest.approx(divergence.mean(), rel=1e-6)


@every_route
def test_sample_weights_reach_both_sides(route, images):
    weights = np.array([0, 1, 2, 0.5, 0, 3], "float32")
    crossentropy, divergence = objective(build(route)(images), images)
    model = build(route)
    y = route.targets(images)
    loss = model.evaluate(images, y, sample_weight=weights, verbose=0, return_dict=True)["loss"]
    assert loss == pytest.approx((weights * (crossentropy + divergence)).mean(), rel=1e-6)


@every_route
def test_a_smaller_last_batch_counts_by_its_size(route, images):
    model = build(route)
    halves = [objective(model(half), half) for half in (images[:4], images[4:])]
    expected = np.concatenate([sum(half) for half in halves]).mean()
    y = route.targets(images)
    logs = build(route).evaluate(images, y, batch_size=4, verbose=0, return_dict=True)
    assert logs["loss"] == pytest.approx(expected, rel=1e-6)


@every_route
@pytest.mark.parametrize(
    "options",
    [{}, {"run_eagerly": True}, {"jit_compile": True}, {"steps_per_execution": 2}],
    ids=str,
)
def test_training_lowers_the_loss(route, images, options):
    model = build(route, **options, optimizer=keras.optimizers.Adam(0.01))
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
        model = build(route)
        model.fit(images, route.targets(images), batch_size=2, epochs=2, verbose=0)
        return model.get_weights()

    for one, other in zip(train(), train(), strict=True):
        assert np.array_equal(one, other)


@every_route
def test_mixed_bfloat16_trains_and_keeps_the_loss_in_float32(route, images):
    exact = build(route).evaluate(images, route.targets(images), verbose=0, return_dict=True)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build(route)
        logs = model.evaluate(images, route.targets(images), verbose=0, return_dict=True)
        assert logs["loss"] == pytest.approx(exact["loss"], rel=2e-2)
        model.fit(images, route.targets(images), verbose=0)
    finally:
        keras.config.set_dtype_policy("float32")


def test_the_routes_compute_the_same(images):
    losses, weights = {}, {}
    for route in ROUTES.values():
        model = build(route, optimizer=keras.optimizers.Adam(1e-3))
        for _ in range(4):
            losses[route.name] = model.train_on_batch(images, route.targets(images))
        weights[route.name] = model.get_weights()
    one, other = weights.values()
    assert all(np.allclose(a, b, atol=1e-6) for a, b in zip(one, other, strict=True))
    assert np.allclose(*losses.values(), rtol=1e-6)


IN_ANOTHER_PROCESS = """
import sys
import vaebook.losses, vaebook.layers, keras, numpy as np
folder = sys.argv[1]
model = keras.saving.load_model(folder + "/model.keras", safe_mode=True)
data = np.load(folder + "/data.npz")
y = {name: data[name] for name in ("reconstruction", "mu", "log_var")}
predicted = model.predict(data["x"], verbose=0)["reconstruction"]
loss = model.train_on_batch(data["x"], y)
np.savez(folder + "/answer.npz", predicted=predicted, loss=loss, weight=model.get_weights()[0])
"""


@every_route
def test_a_saved_model_goes_on_in_another_process(route, images, tmp_path):
    model = build(route)
    y = route.targets(images)
    model.fit(images, y, verbose=0)
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "data.npz", x=images, **y)
    subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS, str(tmp_path)],
        check=True,
        timeout=300,
    )
    answer = np.load(tmp_path / "answer.npz")
    predicted = model.predict(images, verbose=0)["reconstruction"]
    assert np.allclose(answer["predicted"], predicted, atol=1e-6)
    assert np.allclose(answer["loss"], model.train_on_batch(images, y), rtol=1e-6)
    assert np.allclose(answer["weight"], model.get_weights()[0], atol=1e-6)


@every_route
def test_wrong_arguments_are_refused(route, images):
    with pytest.raises(ValueError, match="weight ≥ 0. Received: weight=-1.0"):
        route.build(SPEC, weight=-1)
    with pytest.raises(ValueError, match=r"\[0, 1\]. Received: pixels from 0.* to 25"):
        route.targets(255 * images)


def test_an_unknown_route_is_refused():
    with pytest.raises(ValueError, match=r"out of \['pass_through'.*Received: 'part_vi'"):
        ROUTES["part_vi"]
