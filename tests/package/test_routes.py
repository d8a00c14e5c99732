"""What every route has in common. Its behaviours are in test_behaviours.py."""

import keras
import numpy as np
import pytest
from vaebook.behaviours import SPEC
from vaebook.networks import NetworkSpec
from vaebook.records import load_record
from vaebook.routes import ROUTES, WITHOUT_COST
from vaebook.targets import check_keys
from vaebook.training import weight_variable

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
    reconstructed = decoder([z, mu, log_var])[0] if len(decoder.inputs) == 3 else decoder(z)
    reconstructed, mu, log_var = (
        np.asarray(part, "float64") for part in (reconstructed, mu, log_var)
    )
    crossentropy = -(x * np.log(reconstructed) + (1 - x) * np.log1p(-reconstructed)).mean(
        axis=(1, 2, 3)
    )
    k = mu**2 + np.exp(log_var) - 1 - log_var
    return crossentropy, WEIGHT * k.mean(axis=1)


def kl_in(logs):
    """What the logs say of the KL term, in one part or two."""
    parts = {name.removeprefix("val_"): value for name, value in logs.items()}
    return sum(value for name, value in parts.items() if name not in ("loss", RECONSTRUCTION))


@every_route
def test_a_model_has_the_parameters_of_its_two_networks(route):
    model = route.build(NetworkSpec())
    assert model.count_params() == 229_125
    assert model.get_layer("encoder").count_params() == 117_764


@every_route
def test_losses_and_targets_are_keyed_by_the_outputs(route, images):
    model, y = build(route), route.targets(images)
    if isinstance(y, dict):
        with_a_loss = [name for name in model.output if name in model.loss]
        check_keys(with_a_loss, model.loss, {name: y[name] for name in with_a_loss})
        assert set(y) == set(model.output)
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


@every_route
def test_a_loaded_model_goes_on_with_its_own_weight(route, images, tmp_path):
    weight = keras.Variable(0.0)
    model, y = route.build(SPEC, weight=weight, seed=1, optimizer="sgd"), route.targets(images)
    weight.assign(0.5)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    its_own = weight_variable(loaded)
    assert weight_variable(model) is weight
    assert float(its_own) == 0.5
    weight.assign(7.0)  # which moves nothing in the loaded model
    kl = kl_in(loaded.evaluate(images, y, verbose=0, return_dict=True))
    its_own.assign(0.25)
    quarter = kl_in(loaded.evaluate(images, y, verbose=0, return_dict=True))
    assert quarter == pytest.approx(kl / 2, rel=1e-5)


@every_route
def test_the_penalty_of_a_regularizer_counts(route, images):
    """Keras reads a layer's regularizer when it asks for `model.losses`."""
    plain, regular = (build(route, optimizer=keras.optimizers.SGD(0.1)) for _ in range(2))
    kernel = regular.get_layer("encoder").get_layer("mu")
    kernel.kernel.regularizer = keras.regularizers.L2(0.5)
    penalty = 0.5 * float(np.sum(np.square(kernel.kernel.numpy())))
    assert penalty > 0.01
    y = route.targets(images)
    without, logged = (
        model.train_on_batch(images, y, return_dict=True)["loss"] for model in (plain, regular)
    )
    assert logged == pytest.approx(without + penalty, rel=1e-6)
    # The gradient of ½ w² is w: a step of 0.1 takes a tenth of each weight away.
    start = build(route).get_layer("encoder").get_layer("mu").kernel.numpy()
    moved = plain.get_layer("encoder").get_layer("mu").kernel - kernel.kernel
    np.testing.assert_allclose(moved, 0.1 * start, rtol=1e-3, atol=1e-6)


class PredictAfterEachBatch(keras.callbacks.Callback):
    def __init__(self, x):
        super().__init__()
        self.x = x

    def on_train_batch_end(self, batch, logs=None):
        self.model.predict(self.x, verbose=0)


@every_route
def test_predict_in_a_callback_leaves_the_logs_alone(route, images):
    """It draws noise, but the KL term does not depend on that."""
    y, x = route.targets(images), 0 * images
    logs = [
        build(route, optimizer=keras.optimizers.SGD(0.0))
        .fit(images, y, validation_data=(images, y), verbose=0, callbacks=callbacks)
        .history
        for callbacks in ([], [PredictAfterEachBatch(x)])
    ]
    without, with_predict = (
        {
            when: kl_in({k: v[0] for k, v in log.items() if k.startswith("val_") == val})
            for when, val in (("training", False), ("validation", True))
        }
        for log in logs
    )
    assert with_predict == pytest.approx(without, rel=1e-6)


def metrics_of_the_reconstruction(route, images):
    """Return metrics as the route takes them: by name if it has several outputs."""
    mae = [keras.metrics.MeanAbsoluteError(name="mae")]
    return {"reconstruction": mae} if isinstance(build(route)(images), dict) else mae


@every_route
def test_metrics_given_to_compile_are_logged(route, images):
    y = route.targets(images)
    model = build(route, metrics=metrics_of_the_reconstruction(route, images))
    logs = model.fit(images, y, validation_data=(images, y), verbose=0).history
    [name] = [name for name in logs if name.endswith("mae") and not name.startswith("val_")]
    expected = build(route).evaluate(images, y, verbose=0, return_dict=True)
    assert f"val_{name}" in logs
    assert 0.1 < logs[name][0] < 0.4
    assert set(expected) < set(logs)


@pytest.mark.parametrize("name", ["compute_loss", "train_step"])
def test_a_target_that_differs_from_the_input_is_used(name, images):
    darker = ROUTES[name].targets(images / 2)
    loss = build(ROUTES[name]).evaluate(images, darker, verbose=0, return_dict=True)
    same = build(ROUTES[name]).evaluate(images, images, verbose=0, return_dict=True)
    without = build(ROUTES[name]).evaluate(images, verbose=0, return_dict=True)
    assert loss["loss"] != pytest.approx(same["loss"], rel=1e-3)
    assert without == same


@every_route
def test_another_loss_is_refused(route):
    with pytest.raises(
        TypeError, match=rf"without a loss: {route.name} computes its own. Received: \['loss'\]"
    ):
        route.build(SPEC, loss="mse")


@every_route
def test_a_shape_in_place_of_a_spec_is_refused(route):
    with pytest.raises(TypeError, match=r"spec to be a NetworkSpec. Received: \(8, 8, 1\)"):
        route.build((8, 8, 1))


@pytest.mark.parametrize("name", ["compute_loss", "train_step"])
def test_a_loss_that_would_be_ignored_is_refused(name):
    with pytest.raises(TypeError, match=r"without a loss: .* Received: \['loss_weights'\]"):
        ROUTES[name].build(SPEC, loss_weights=[1, 2])


def test_metrics_of_the_user_s_own_join_those_of_the_route(images):
    metric = keras.metrics.MeanSquaredError(name="error")
    route = ROUTES["kl_layer_with_code"]
    model = build(route, weighted_metrics={"reconstruction": [metric]})
    logs = model.evaluate(images, route.targets(images), verbose=0, return_dict=True)
    assert sorted(logs) == ["kl_loss", "loss", "reconstruction_error", RECONSTRUCTION]
    with pytest.raises(TypeError, match="weighted_metrics as a dict by output. Received"):
        build(route, weighted_metrics=[metric])
    with pytest.raises(TypeError, match="weighted_metrics as a list. Received"):
        build(ROUTES["kl_layer"], weighted_metrics={"reconstruction": [metric]})


def test_outputs_without_a_loss_need_no_target_and_are_predicted(images):
    model = build(ROUTES["kl_layer_with_code"])
    start = model.evaluate(images, images, verbose=0, return_dict=True)
    history = model.fit(images, images, epochs=3, verbose=0).history
    assert sorted(history) == ["kl_loss", "loss"]
    assert history["loss"][-1] < start["loss"]
    predicted = model.predict(images, verbose=0)
    _, mu, log_var = model.get_layer("encoder")(images)
    np.testing.assert_allclose(predicted["mu"], mu, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(predicted["log_var"], log_var, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["kl_layer", "train_step"])
def test_metrics_of_the_user_stand_beside_the_losses(name, images):
    metric = keras.metrics.MeanSquaredError(name="error")
    model = build(ROUTES[name], weighted_metrics=[metric])
    logs = model.evaluate(images, images, verbose=0, return_dict=True)
    assert sorted(logs) == ["error", "kl_loss", "loss", RECONSTRUCTION]
    assert 0 < logs["error"] < 1


@every_route
def test_a_model_with_everything_frozen_warns_and_stays_as_it_is(route, images):
    model = build(route, run_eagerly=True)
    model.trainable = False
    before = model.get_layer("decoder").get_weights()
    with pytest.warns(UserWarning, match="The model does not have any trainable weights"):
        logs = model.fit(images, route.targets(images), verbose=0).history
    assert logs["loss"][0] > 0
    for one, other in zip(model.get_layer("decoder").get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


@every_route
def test_sample_weights_of_pixels_are_refused(route):
    """As many images as rows: shape (8,) and shape (8, 8, 8) would broadcast."""
    x, pixels = np.zeros((8, 8, 8, 1), "float32"), np.ones((8, 8, 8), "float32")
    weights, y = pixels, route.targets(x)
    if isinstance(y, dict):
        weights = {name: pixels if name == "reconstruction" else pixels[:, 0, 0] for name in y}
    with pytest.raises(ValueError, match=r"sample_weight of shape \(batch,\).* \(8, 8, 8\)"):
        build(route, run_eagerly=True).evaluate(x, y, sample_weight=weights, verbose=0)


@every_route
def test_wrong_arguments_are_refused(route, images):
    with pytest.raises(ValueError, match="weight ≥ 0. Received: weight=-1.0"):
        route.build(SPEC, weight=-1)
    with pytest.raises(ValueError, match=r"\[0, 1\]. Received: pixels from 0.* to 25"):
        route.targets(255 * images)


def test_an_unknown_route_is_refused():
    with pytest.raises(ValueError, match=r"out of \['pass_through'.*Received: 'part_vi'"):
        ROUTES["part_vi"]


def test_every_route_has_a_cost_or_a_reason_why_not():
    timed = {run["kind"] for run in load_record("cost")["runs"]} & set(ROUTES)
    assert timed.isdisjoint(WITHOUT_COST)
    assert timed | set(WITHOUT_COST) == set(ROUTES)
