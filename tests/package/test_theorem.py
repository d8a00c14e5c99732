"""Every route, one objective: the same losses, gradients and trained weights, up to rounding.

The reference (`vaebook.reference`) is plain mathematics in float64.
"""

import keras
import numpy as np
import pytest
from test_networks import SMALL
from vaebook import reference
from vaebook.networks import NetworkSpec
from vaebook.routes import ROUTES

SPEC = NetworkSpec(latent_dim=3, **SMALL)
WEIGHT = 0.25
STEPS = 16
LOSS_TOLERANCE = 1e-6  # relative
GRADIENT_TOLERANCE = 1e-6  # of the whole gradient, relative to its length
WEIGHTS_TOLERANCE = 2e-5  # of each weight after 16 steps of Adam at 0.001; they move by 0.016
BETWEEN_ROUTES = 1e-6  # the same, from one route to another

every_route = pytest.mark.parametrize("route", ROUTES.values(), ids=lambda route: route.name)


def build(route, **options):
    """Two calls build the same model: one seed fixes its weights and its noise."""
    return route.build(SPEC, weight=WEIGHT, seed=1, **options)


def start():
    """The weights that every route starts from, and a source of the noise it draws."""
    model = build(ROUTES["direct_outputs"])
    sampling = model.get_layer("encoder").get_layer("z")
    return model.get_weights(), lambda n: sampling.noise((n, SPEC.latent_dim)).numpy()


@pytest.fixture(scope="module")
def trained():
    """The reference's weights after 16 steps."""
    images = np.random.default_rng(0).uniform(size=(6, 8, 8, 1)).astype("float32")
    weights, noise = start()
    draws = [noise(len(images)) for _ in range(STEPS)]

    def gradients_at(now, step):
        return reference.loss_and_gradients(SPEC, now, images, draws[step], 1, WEIGHT)[1]

    return reference.adam(weights, gradients_at, STEPS), {}


def test_the_reference_s_gradient_is_that_of_finite_differences(images):
    weights, noise = start()
    drawn = noise(len(images))
    weights = [array.astype("float64") for array in weights]
    _, gradients = reference.loss_and_gradients(SPEC, weights, images, drawn, 1, WEIGHT)
    rng = np.random.default_rng(1)
    for number, gradient in enumerate(gradients):
        direction = rng.normal(size=gradient.shape)
        direction /= np.linalg.norm(direction)
        ends = []
        for side in (1e-5, -1e-5):
            moved = list(weights)
            moved[number] = moved[number] + side * direction
            ends.append(reference.loss_and_gradients(SPEC, moved, images, drawn, 1, WEIGHT)[0])
        slope = (ends[0] - ends[1]) / 2e-5
        assert slope == pytest.approx(np.sum(gradient * direction), rel=1e-6, abs=1e-9)


def test_the_reference_s_loss_is_the_formula(images):
    weights, noise = start()
    model = build(ROUTES["direct_outputs"])
    out = {name: np.float64(value) for name, value in model(images).items()}
    reconstructed, mu, log_var = out["reconstruction"], out["mu"], out["log_var"]
    bce = -(images * np.log(reconstructed) + (1 - images) * np.log(1 - reconstructed)).mean(
        axis=(1, 2, 3)
    )
    k = (mu**2 + np.exp(log_var) - 1 - log_var).mean(axis=1)
    received = reference.losses_of_images(SPEC, weights, images, noise(len(images)))
    assert np.allclose(received[0], bce, rtol=1e-6)
    assert np.allclose(received[1], k, rtol=1e-5)


def test_the_reference_refuses_what_it_does_not_compute(images):
    with pytest.raises(ValueError, match="without batch_norm and dropout. Received"):
        reference.losses_of_images(NetworkSpec(dropout=0.5), [], images, images)


@every_route
def test_one_loss_and_one_gradient(route, images):
    weights, noise = start()
    expected, gradients = reference.loss_and_gradients(
        SPEC, weights, images, noise(len(images)), 1, WEIGHT
    )
    keeper = reference.GradientKeeper()
    model = build(route, optimizer=keeper)
    logs = model.train_on_batch(images, route.targets(images), return_dict=True)
    assert logs["loss"] == pytest.approx(expected, rel=LOSS_TOLERANCE)
    assert reference.relative_error(keeper.kept, gradients) < GRADIENT_TOLERANCE


@every_route
def test_one_training(route, images, trained):
    expected, others = trained
    model = build(route, optimizer=keras.optimizers.Adam(1e-3))
    y = route.targets(images)
    model.fit(images, y, batch_size=len(images), shuffle=False, epochs=STEPS, verbose=0)
    others[route.name] = model.get_weights()
    for received, right in zip(model.get_weights(), expected, strict=True):
        assert np.abs(received - right).max() < WEIGHTS_TOLERANCE
    for name, weights in others.items():
        difference = max(
            np.abs(a - b).max() for a, b in zip(weights, model.get_weights(), strict=True)
        )
        assert difference < BETWEEN_ROUTES, f"{route.name} and {name} differ by {difference}"
