"""Inference on a grid is held to the linear model, where all of it is known, and to draws."""

import functools
import math

import keras
import numpy as np
import pytest
from vaebook.evaluation import (
    bernoulli_log_likelihood,
    continuous_bernoulli_log_likelihood,
    elbo,
    gaussian_kl,
    gaussian_log_likelihood,
    importance_weighted_bound,
)
from vaebook.grid import (
    aggregate_posterior,
    log_likelihood_on_grid,
    posteriors_on_grid,
)
from vaebook.notebook import outcome

NOISE = 0.3
given_z = functools.partial(gaussian_log_likelihood, variance=NOISE)
# z arrives in float32, and the coordinates of these grids are exact in it: steps of 1/16.
GRID = {"steps": 161, "reach": 5.0, "log_likelihood": given_z}


class Linear:
    """x = W z + b + noise, with directions that are not at right angles."""

    W = np.array([[1.0, 0.6], [0.2, 0.9], [-0.5, 0.3]])
    b = np.array([0.1, -0.2, 0.3])
    precision = np.eye(2) + W.T @ W / NOISE
    covariance = np.linalg.inv(precision)

    def __init__(self):
        rng = np.random.default_rng(0)
        z = rng.normal(size=(6, 2))
        self.x = self.decoder(z) + np.sqrt(NOISE) * rng.normal(size=(6, 3))
        self.mean = (self.x - self.b) @ self.W / NOISE @ self.covariance

    def decoder(self, z):
        return np.asarray(z, "float64") @ self.W.T + self.b

    def log_likelihood(self):
        covariance = self.W @ self.W.T + NOISE * np.eye(3)
        centred = self.x - self.b
        squares = np.sum(centred @ np.linalg.inv(covariance) * centred, axis=1)
        return -0.5 * (squares + np.linalg.slogdet(2 * np.pi * covariance)[1])

    def kl(self, mu, covariance):
        """The divergence of one normal for each image from the posterior."""
        off = mu - self.mean
        terms = np.trace(self.precision @ covariance, axis1=1, axis2=2) - 2
        log_dets = np.linalg.slogdet(self.covariance)[1] - np.linalg.slogdet(covariance)[1]
        return 0.5 * (terms + log_dets + np.einsum("ni,ij,nj->n", off, self.precision, off))

    def encoder(self, x):
        """An encoder that is off in its centre and in its width."""
        spread = np.tile(np.log(np.diag(self.covariance)) + 0.4, (len(x), 1))
        return [(x - self.b) @ self.W / NOISE @ self.covariance + 0.2, spread]


@pytest.fixture(scope="module")
def linear():
    return Linear()


@pytest.fixture(scope="module")
def posteriors(linear):
    return posteriors_on_grid(linear.decoder, linear.x, **GRID)


@pytest.fixture(scope="module")
def two_peaks():
    """The posterior of a decoder that depends on |z₁| only: two peaks, left and right."""
    return posteriors_on_grid(
        lambda z: np.abs(np.asarray(z, "float64")), np.array([[2.5, 0.0]]), **GRID
    )


def test_the_likelihood_is_that_of_the_linear_model(linear, posteriors):
    streamed = log_likelihood_on_grid(linear.decoder, linear.x, **GRID)
    for received in (streamed, posteriors.likelihood):
        assert received.log_likelihood == pytest.approx(linear.log_likelihood(), abs=1e-6)
        assert received.error.max() < 1e-6
        assert (received.steps, received.reach) == (161, 5.0)


def test_the_posterior_is_that_of_the_linear_model(linear, posteriors):
    assert posteriors.mean == pytest.approx(linear.mean, abs=1e-6)
    for covariance in posteriors.covariance:
        assert covariance == pytest.approx(linear.covariance, abs=1e-6)
    assert posteriors.density.sum(axis=(1, 2)) / 16**2 == pytest.approx(np.ones(6), abs=1e-9)
    first, second = (
        posteriors.ticks[i]
        for i in np.unravel_index(posteriors.density[0].argmax(), (161, 161))
    )
    assert (first, second) == pytest.approx(linear.mean[0], abs=1 / 16)


def test_the_elbo_of_a_normal_is_short_by_its_divergence(linear, posteriors):
    mu, covariance = (
        linear.mean + np.array([0.1, -0.2]),
        np.tile([[0.2, 0.05], [0.05, 0.1]], (6, 1, 1)),
    )
    expected = linear.log_likelihood() - linear.kl(mu, covariance)
    assert posteriors.elbo(mu, covariance) == pytest.approx(expected, abs=1e-6)


def test_the_elbo_without_draws_is_that_of_many_draws(linear, posteriors):
    mu, log_var = linear.encoder(linear.x)
    drawn = elbo(
        linear.encoder, linear.decoder, linear.x, samples=20_000, log_likelihood=given_z
    ).elbo
    assert posteriors.elbo(mu, np.exp(log_var)) == pytest.approx(drawn, abs=0.05)


def test_the_best_normal_of_the_linear_model_is_its_posterior(linear, posteriors):
    far = (linear.mean + 0.5, np.full((6, 2), 0.5))
    for starts in ((), (far,)):
        best = posteriors.best_normals(starts=starts)
        assert best.mu == pytest.approx(linear.mean, abs=1e-5)
        assert best.covariance == pytest.approx(posteriors.covariance, abs=1e-5)
        assert best.elbo == pytest.approx(linear.log_likelihood(), abs=1e-6)


def test_the_best_diagonal_normal_has_one_over_the_diagonal_of_the_precision(
    linear, posteriors
):
    best = posteriors.best_normals(diagonal=True)
    assert best.mu == pytest.approx(linear.mean, abs=1e-5)
    for covariance in best.covariance:
        assert covariance == pytest.approx(np.diag(1 / np.diag(linear.precision)), abs=1e-5)


def test_the_three_parts_of_the_gap_are_those_of_the_linear_model(linear, posteriors):
    mu, log_var = linear.encoder(linear.x)
    narrow = np.diag(1 / np.diag(linear.precision))
    total = linear.kl(mu, np.exp(log_var)[:, :, np.newaxis] * np.eye(2))
    diagonal = linear.kl(linear.mean, np.tile(narrow, (6, 1, 1)))
    received = posteriors.split_of_gap(mu, log_var)
    assert diagonal.min() > 0.08
    assert received.total == pytest.approx(total, abs=1e-6)
    assert received.amortisation == pytest.approx(total - diagonal, abs=1e-6)
    assert received.diagonal == pytest.approx(diagonal, abs=1e-6)
    assert received.shape == pytest.approx(np.zeros(6), abs=1e-6)


def test_an_encoder_that_is_best_has_no_amortisation_gap(linear, posteriors):
    log_var = np.tile(-np.log(np.diag(linear.precision)), (6, 1))
    received = posteriors.split_of_gap(linear.mean, log_var)
    assert received.amortisation == pytest.approx(np.zeros(6), abs=1e-6)


def test_the_best_normal_of_two_peaks_holds_one_of_them(two_peaks):
    # Each peak has half of the mass: the divergence from both is log 2 if they lie apart.
    assert two_peaks.mean[0] == pytest.approx([0, 0], abs=1e-6)
    best = two_peaks.best_normals()
    assert abs(best.mu[0, 0]) == pytest.approx(2.5 / (1 + NOISE), abs=0.02)
    shape = two_peaks.likelihood.log_likelihood - best.elbo
    assert shape == pytest.approx([math.log(2)], abs=0.02)


def test_a_start_beside_the_posterior_does_not_lead_off_the_grid(two_peaks):
    # Off the grid no weight is left, and a sum of nothing would be a divergence of 0.
    beside = (np.array([[4.6, 4.6]]), np.array([[0.05, 0.05]]))
    received = two_peaks.best_normals(starts=(beside,))
    assert received.elbo == pytest.approx(two_peaks.best_normals().elbo, abs=1e-6)


def test_no_normal_nearby_is_better_than_the_best(two_peaks):
    best = two_peaks.best_normals()
    rng = np.random.default_rng(1)
    for _ in range(30):
        mu = best.mu + 0.05 * rng.normal(size=2)
        root = np.linalg.cholesky(best.covariance) + 0.02 * np.tril(rng.normal(size=(2, 2)))
        assert two_peaks.elbo(mu, root @ root.transpose(0, 2, 1)) < best.elbo


def test_the_weighted_bound_approaches_the_likelihood_on_a_grid(linear, posteriors):
    bound = importance_weighted_bound(
        linear.encoder, linear.decoder, linear.x, 20_000, log_likelihood=given_z
    ).bound
    assert bound == pytest.approx(posteriors.likelihood.log_likelihood, abs=0.02)


@pytest.mark.parametrize(
    "likelihood", [bernoulli_log_likelihood, continuous_bernoulli_log_likelihood]
)
def test_all_pairs_at_once_are_each_pair_by_itself(likelihood):
    rng = np.random.default_rng(3)
    images = rng.uniform(size=(3, 2, 2, 1))
    weights = rng.normal(size=(2, 4))

    def decoder(z):
        return 1 / (1 + np.exp(-z @ weights)).reshape(-1, 2, 2, 1)

    at_once = log_likelihood_on_grid(decoder, images, 41, log_likelihood=likelihood)
    one_by_one = log_likelihood_on_grid(
        decoder, images, 41, log_likelihood=lambda x, p: likelihood(x, p)
    )
    assert at_once.log_likelihood == pytest.approx(one_by_one.log_likelihood, abs=1e-9)


def test_the_batch_size_changes_nothing(linear):
    one, other = (
        log_likelihood_on_grid(linear.decoder, linear.x, **GRID, batch_size=size)
        for size in (1_000, 777)
    )
    assert one.log_likelihood == pytest.approx(other.log_likelihood, abs=1e-9)
    assert one.error == pytest.approx(other.error, abs=1e-9)


def test_the_error_of_the_grid_is_no_larger_than_it_says(linear):
    # Steps of 10 / 13 are about as wide as the narrower direction of the posterior.
    received = log_likelihood_on_grid(
        linear.decoder, linear.x, 14, 5.0, log_likelihood=given_z, tolerance=math.inf
    )
    true = np.abs(received.log_likelihood - linear.log_likelihood())
    assert np.all(true < received.error)
    assert true.max() > 1e-4


def test_what_lies_outside_is_no_more_than_it_says(linear):
    small = {**GRID, "steps": 81, "reach": 2.5, "tolerance": math.inf}
    received = log_likelihood_on_grid(linear.decoder, linear.x, **small)
    lost = -np.expm1(received.log_likelihood - linear.log_likelihood())
    assert np.all(lost < received.outside)
    assert lost.max() > 1e-6
    assert posteriors_on_grid(
        linear.decoder, linear.x, **small
    ).likelihood.outside == pytest.approx(received.outside)


def test_a_narrow_peak_outside_is_seen():
    # A peak of spread 0.07 beyond the edge, at (5 + 5/24, 5/24), with p(x|z) = 1 at its top:
    # its mass is 2π · 0.07² times the density at its top of a normal of variance 1 + 0.07².
    peak = np.array([5 + 5 / 24, 5 / 24])

    def log_likelihood(x, z):
        near = np.exp(-0.5 * np.sum((z - peak) ** 2, axis=1) / 0.07**2)
        return np.log(1e-12 + near)

    received = log_likelihood_on_grid(
        lambda z: np.asarray(z, "float64"),
        np.zeros((1, 2)),
        61,
        log_likelihood=log_likelihood,
        tolerance=math.inf,
    )
    variance = 1 + 0.07**2
    mass = 0.07**2 / variance * math.exp(-0.5 * np.sum(peak**2) / variance)
    assert received.outside[0] * np.exp(received.log_likelihood[0]) > mass


def test_the_aggregate_of_one_cloud_is_the_cloud():
    mu, log_var = np.array([[0.7, -0.4]]), np.array([[-1.0, -2.0]])
    received = aggregate_posterior(mu, log_var)
    assert received.mutual_information == pytest.approx(0, abs=1e-9)
    assert received.kl_to_prior == pytest.approx(gaussian_kl(mu, log_var)[0], abs=1e-9)


def test_two_clouds_far_apart_tell_which_image_it_is():
    mu, log_var = np.array([[3.0, 0.0], [-3.0, 0.0]]), np.full((2, 2), -3.0)
    assert aggregate_posterior(mu, log_var).mutual_information == pytest.approx(math.log(2))


def test_clouds_whose_centres_are_spread_as_the_prior_demands_add_up_to_it():
    # z = mu + noise with variances ¾ and ¼ is N(0, 1), and tells ½ log 4 per variable.
    from_normal = math.sqrt(0.75) * np.array(
        [math.sqrt(2) * _inverse_erf(2 * (i + 0.5) / 400 - 1) for i in range(400)]
    )
    mu = np.stack(np.meshgrid(from_normal, from_normal), axis=-1).reshape(-1, 2)[::7]
    received = aggregate_posterior(mu, np.full_like(mu, math.log(0.25)), steps=121)
    assert received.kl_to_prior == pytest.approx(0, abs=1e-3)
    assert received.mutual_information == pytest.approx(math.log(4), abs=5e-3)


def _inverse_erf(value):
    low, high = -6.0, 6.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if math.erf(middle) < value else (low, middle)
    return low


def test_mutual_information_by_quadrature_of_each_cloud(linear):
    mu, log_var = linear.encoder(linear.x)
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    noise = np.stack(np.meshgrid(nodes, nodes), axis=-1).reshape(-1, 2)
    weights = np.outer(weights, weights).ravel() / (2 * np.pi)

    def log_density(z, row):
        return np.sum(
            -0.5 * ((z - mu[row]) ** 2 / np.exp(log_var[row]) + log_var[row])
            - 0.5 * np.log(2 * np.pi),
            axis=1,
        )

    told, apart = [], []
    for row in range(6):
        z = mu[row] + np.exp(log_var[row] / 2) * noise
        mixture = np.logaddexp.reduce([log_density(z, other) for other in range(6)]) - np.log(6)
        told.append(weights @ (log_density(z, row) - mixture))
        apart.append(weights @ (mixture + np.log(2 * np.pi) + 0.5 * np.sum(z**2, axis=1)))
    received = aggregate_posterior(mu, log_var)
    assert received.mutual_information == pytest.approx(np.mean(told), abs=1e-6)
    assert received.kl_to_prior == pytest.approx(np.mean(apart), abs=1e-6)
    assert received.mean_kl == pytest.approx(
        received.mutual_information + received.kl_to_prior, abs=1e-6
    )


def test_grids_that_are_too_coarse_or_too_small_are_refused(linear):
    coarse = r"too coarse for 6 of 6 images: step 1.43, error up to .* nats. Take more steps"
    small = r"too small for \d of 6 images: reach 1, outside up to .*. Take a larger reach"
    for function in (log_likelihood_on_grid, posteriors_on_grid):
        with pytest.raises(ValueError, match=coarse):
            function(linear.decoder, linear.x, 8, 5.0, log_likelihood=given_z, tolerance=0.01)
        with pytest.raises(ValueError, match=small):
            function(linear.decoder, linear.x, 81, 1.0, log_likelihood=given_z)


def test_a_refusal_says_all_within_what_a_chapter_prints(linear):
    for steps, reach in ((8, 5.0), (81, 1.0)):
        received = outcome(
            lambda grid=(steps, reach): log_likelihood_on_grid(
                linear.decoder, linear.x, *grid, log_likelihood=given_z, tolerance=0.01
            )
        )
        assert received.startswith("ValueError: Expected log p(x) within the tolerance 0.01.")
        assert received.endswith((". Take more steps.", ". Take a larger reach."))


def test_normals_that_the_grid_does_not_hold_are_refused(linear, posteriors):
    mu = linear.mean.copy()
    mu[3] = 5.0
    with pytest.raises(ValueError, match="for image 3 they add up to 0.2.*, with mean"):
        posteriors.elbo(mu, np.full((6, 2), 0.1))
    with pytest.raises(ValueError, match="for image 0 they add up to .* spread \\(0.02, 0.02"):
        posteriors.elbo(linear.mean, np.full((6, 2), 4e-4))
    with pytest.raises(ValueError, match="2 that it does not, with spreads down to 0.01 "):
        aggregate_posterior(np.zeros((2, 2)) + 0.013, np.full((2, 2), 2 * math.log(0.01)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 2}, "steps ≥ 3. Received: steps=2"),
        ({"reach": -1.0}, "reach > 0. Received: reach=-1.0"),
        ({"batch_size": 0}, "batch_size ≥ 1. Received"),
        ({"tolerance": -1.0}, "tolerance ≥ 0. Received: tolerance=-1.0"),
        ({"tolerance": math.nan}, "tolerance ≥ 0. Received: tolerance=nan"),
        ({"images": np.zeros((0, 3))}, r"n ≥ 1. Received: shape \(0, 3\)"),
        ({"log_likelihood": lambda x, p: x}, "log-likelihoods for each image. Received"),
        ({"decoder": lambda z: np.full((len(z), 3), np.nan)}, "not finite"),
        (
            {"log_likelihood": bernoulli_log_likelihood},
            r"images of shape \(n, height, width, channels\)",
        ),
        (
            {"log_likelihood": bernoulli_log_likelihood, "images": np.zeros((1, 2, 2, 1))},
            "Expected decoded images",
        ),
    ],
)
def test_wrong_arguments_are_refused(linear, change, message):
    arguments = {"decoder": linear.decoder, "images": linear.x, **GRID, "steps": 21, **change}
    for function in (log_likelihood_on_grid, posteriors_on_grid):
        with pytest.raises(ValueError, match=message):
            function(**arguments)


def test_a_decoder_of_another_number_of_latent_variables_is_refused(linear):
    decoder = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    with pytest.raises(ValueError, match=r"two latent variables.*input_shape \(None, 3\)"):
        log_likelihood_on_grid(decoder, linear.x, **GRID)
    with pytest.raises(ValueError, match=r"two latent variables. Received: mu of shape \(1, 3"):
        aggregate_posterior(np.zeros((1, 3)), np.zeros((1, 3)))


def test_normals_of_a_wrong_shape_are_refused(posteriors):
    with pytest.raises(ValueError, match=r"mu of shape \(6, 2\) and covariance of shape"):
        posteriors.elbo(np.zeros((6, 3)), np.ones((6, 3)))
    with pytest.raises(ValueError, match="positive definite covariance"):
        posteriors.elbo(np.zeros((6, 2)), np.tile([[1.0, 2.0], [2.0, 1.0]], (6, 1, 1)))
