"""Every bound is held to a second computation: the exact likelihood, or quadrature."""

import numpy as np
import pytest
from test_networks import SMALL
from vaebook import evaluation
from vaebook.evaluation import (
    active_units,
    bernoulli_log_likelihood,
    continuous_bernoulli_log_likelihood,
    continuous_bernoulli_log_normaliser,
    elbo,
    gaussian_kl,
    gaussian_log_likelihood,
    importance_weighted_bound,
)
from vaebook.losses import GaussianKL
from vaebook.networks import NetworkSpec, build_decoder, build_encoder

NOISE = 0.3  # the variance of each value of x given z


class Linear:
    """x = W z + b + noise: every quantity of this model is known in closed form."""

    def __init__(self, seed=0, size=5, latent_dim=2):
        rng = np.random.default_rng(seed)
        directions, _ = np.linalg.qr(rng.normal(size=(size, latent_dim)))
        self.W = directions * [
            2.0,
            1.2,
        ]  # at right angles: the posterior's covariance is diagonal
        self.b = rng.normal(size=size)
        z = rng.normal(size=(40, latent_dim))
        self.x = self.decoder(z) + np.sqrt(NOISE) * rng.normal(size=(40, size))
        self.precision = np.diag(self.W.T @ self.W) / NOISE + 1

    def decoder(self, z):
        return z @ self.W.T + self.b

    def posterior(self, x):
        """The encoder that is exactly p(z|x)."""
        mu = (x - self.b) @ self.W / NOISE / self.precision
        return [mu, np.tile(-np.log(self.precision), (len(x), 1))]

    def poor(self, x):
        """An encoder that is off in both of its outputs."""
        mu, log_var = self.posterior(x)
        return [mu + 0.3, log_var + 0.5]

    def log_likelihood(self):
        covariance = self.W @ self.W.T + NOISE * np.eye(len(self.b))
        centred = self.x - self.b
        squares = np.sum(centred @ np.linalg.inv(covariance) * centred, axis=1)
        _, log_det = np.linalg.slogdet(2 * np.pi * covariance)
        return -0.5 * (squares + log_det)

    def of(self, bound, encoder, **options):
        return bound(encoder, self.decoder, self.x, log_likelihood=given_z, **options)


def given_z(x, means):
    return gaussian_log_likelihood(x, means, NOISE)


@pytest.fixture
def linear():
    return Linear()


@pytest.fixture
def small_vae(images):
    """An untrained encoder and decoder with two latent variables, and binary images."""
    spec = NetworkSpec(**{**SMALL, "image_shape": (8, 8, 1)})
    return build_encoder(spec, seed=1), build_decoder(spec, seed=1), np.round(images)


def test_with_the_exact_posterior_the_elbo_is_the_likelihood(linear):
    received = linear.of(elbo, linear.posterior, samples=4_000)
    assert received.elbo.mean() == pytest.approx(linear.log_likelihood().mean(), abs=0.02)


def test_with_the_exact_posterior_one_weighted_sample_is_the_likelihood(linear):
    received = linear.of(importance_weighted_bound, linear.posterior, samples=1)
    assert received.bound == pytest.approx(linear.log_likelihood(), abs=1e-5)


def test_the_elbo_misses_the_likelihood_by_the_divergence_from_the_posterior(linear):
    # Both normal with diagonal covariance; log_var is off by 0.5 and mu by 0.3.
    gap = 0.5 * np.sum(np.exp(0.5) - 1 - 0.5 + 0.3**2 * linear.precision)
    received = linear.of(elbo, linear.poor, samples=20_000)
    assert received.elbo.mean() == pytest.approx(linear.log_likelihood().mean() - gap, abs=0.02)


def test_more_weighted_samples_approach_the_likelihood_from_below(linear):
    exact = linear.log_likelihood().mean()

    def mean_bound(samples, seeds):
        of_seeds = [
            linear.of(importance_weighted_bound, linear.poor, samples=samples, seed=seed).bound
            for seed in range(seeds)
        ]
        return np.mean(of_seeds)

    bounds = [mean_bound(1, 40), mean_bound(5, 40), mean_bound(50, 40), mean_bound(5_000, 2)]
    assert bounds == sorted(bounds)
    assert exact - 0.01 < bounds[-1] < exact + 0.001


def test_one_weighted_sample_is_in_expectation_the_elbo(linear):
    one = [
        linear.of(importance_weighted_bound, linear.poor, samples=1, seed=seed).bound.mean()
        for seed in range(400)
    ]
    received = linear.of(elbo, linear.poor, samples=4_000).elbo.mean()
    assert np.mean(one) == pytest.approx(received, abs=4 * np.std(one) / 20 + 0.01)


@pytest.mark.parametrize("batch_size", [1, 4, 7, 40])
def test_the_batch_size_does_not_change_a_bound(linear, batch_size):
    for bound in (elbo, importance_weighted_bound):
        one = linear.of(bound, linear.poor, samples=6)
        other = linear.of(bound, linear.poor, samples=6, batch_size=batch_size)
        assert other[0] == pytest.approx(one[0], abs=1e-5)


def test_no_more_points_than_the_batch_size_are_decoded_at_once(linear):
    seen = []

    def decoder(z):
        seen.append(len(z))
        return linear.decoder(z)

    importance_weighted_bound(
        linear.poor, decoder, linear.x, samples=50, batch_size=16, log_likelihood=given_z
    )
    assert max(seen) == 16
    assert sum(seen) == 40 * 50


def test_a_seed_repeats_a_bound_and_another_changes_it(linear):
    first, same, other = (
        linear.of(importance_weighted_bound, linear.poor, samples=3, seed=seed)
        for seed in (5, 5, 6)
    )
    assert np.array_equal(first.bound, same.bound)
    assert not np.array_equal(first.bound, other.bound)
    assert (first.samples, first.seed) == (3, 5)


def test_an_image_draws_the_same_noise_in_any_company(linear):
    whole = linear.of(elbo, linear.poor, samples=3)
    few = elbo(linear.poor, linear.decoder, linear.x[:4], samples=3, log_likelihood=given_z)
    assert few.elbo == pytest.approx(whole.elbo[:4], abs=1e-5)


def test_the_two_terms_make_up_the_elbo(small_vae):
    encoder, decoder, x = small_vae
    received = elbo(encoder, decoder, x, samples=3)
    _, mu, log_var = encoder(x)
    stacked = np.stack([mu, log_var], axis=1)
    assert received.elbo == pytest.approx(received.reconstruction - received.kl)
    assert received.kl == pytest.approx(np.asarray(GaussianKL().call(None, stacked)), rel=1e-5)


def test_weights_that_underflow_are_added_up_as_logarithms():
    x = np.zeros((1, 4_000))
    bound = importance_weighted_bound(
        lambda x: [np.zeros((len(x), 1)), np.zeros((len(x), 1))],
        lambda z: np.repeat(z, 4_000, axis=1) + 10,
        x,
        samples=200,
        log_likelihood=gaussian_log_likelihood,
    ).bound
    # Σ (z + 10)² ≥ 4,000 · 6²: exp of it is 0 in float64
    assert np.isfinite(bound).all()
    assert bound[0] < -70_000


def test_bernoulli_log_likelihood_by_hand():
    x = np.array([1.0, 0.0, 1.0, 0.0]).reshape(1, 2, 2, 1)
    p = np.array([0.5, 0.25, 1.0, 0.0]).reshape(1, 2, 2, 1)
    expected = np.log(0.5) + np.log(0.75)
    assert bernoulli_log_likelihood(x, p) == pytest.approx([expected], abs=1e-6)
    assert bernoulli_log_likelihood(1 - x, p)[0] > -40  # clipped, and not minus infinity


@pytest.mark.parametrize("parameter", [1e-7, 1e-3, 0.3, 0.498, 0.5, 0.5000001, 0.9, 0.9999])
def test_a_continuous_bernoulli_pixel_integrates_to_1(parameter):
    nodes, weights = np.polynomial.legendre.leggauss(80)
    x = ((nodes + 1) / 2).reshape(-1, 1, 1, 1)
    density = np.exp(continuous_bernoulli_log_likelihood(x, np.full_like(x, parameter)))
    assert weights @ density / 2 == pytest.approx(1, abs=1e-9)


def test_the_normaliser_is_that_of_the_paper():
    given = np.array([0.1, 0.45, 0.8])
    expected = 2 * np.arctanh(1 - 2 * given) / (1 - 2 * given)
    assert np.exp(continuous_bernoulli_log_normaliser(given)) == pytest.approx(expected)
    assert np.exp(continuous_bernoulli_log_normaliser(0.5)) == pytest.approx(2, abs=1e-12)


def test_the_series_near_one_half_joins_the_formula():
    logits = np.array([0.0099999, 0.0100001])
    inside, outside = continuous_bernoulli_log_normaliser(1 / (1 + np.exp(-logits)))
    assert outside - inside == pytest.approx(0.01 / 6 * 2e-7, rel=1e-3)


def test_a_black_pixel_has_a_density_above_1_that_only_the_clip_limits():
    black = np.zeros((1, 1, 1, 1))
    received = continuous_bernoulli_log_likelihood(black, black)
    assert received == pytest.approx([np.log(np.log(1e7))], rel=1e-6)


def test_effective_samples_are_all_or_one(linear):
    exact = linear.of(importance_weighted_bound, linear.posterior, samples=7)
    assert exact.effective_samples == pytest.approx(np.full(40, 7), rel=1e-5)
    one = linear.of(importance_weighted_bound, linear.poor, samples=1)
    assert one.effective_samples == pytest.approx(np.ones(40))
    some = linear.of(importance_weighted_bound, linear.poor, samples=50).effective_samples
    assert np.all((some > 1) & (some < 50))


def test_gaussian_log_likelihood_by_hand():
    received = gaussian_log_likelihood(np.array([[1.0, 2.0]]), np.array([[0.0, 2.0]]), 4.0)
    assert received == pytest.approx([-0.125 - np.log(8 * np.pi)])


def test_gaussian_kl_by_quadrature():
    mu, log_var = np.array([0.7, -1.1, 0.0]), np.array([-1.5, 0.4, 0.0])
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)
    weights = weights / weights.sum()
    z = mu[:, np.newaxis] + np.exp(log_var / 2)[:, np.newaxis] * nodes
    log_q = -0.5 * (nodes**2 + log_var[:, np.newaxis])
    by_quadrature = np.sum((log_q + 0.5 * z**2) @ weights)
    assert gaussian_kl(mu[np.newaxis], log_var[np.newaxis]) == pytest.approx([by_quadrature])


@pytest.mark.parametrize("mu", [0.0, 1e18, -1e18])
@pytest.mark.parametrize("log_var", [-1e30, -80.0, 0.0, 80.0])
def test_the_edges_of_the_range_give_finite_numbers(mu, log_var):
    assert np.isfinite(gaussian_kl([[mu, 0.0]], [[log_var, 0.0]])).all()


@pytest.mark.parametrize(
    ("mu", "log_var", "message"),
    [
        (1.1e18, 0.0, r"\|mu\| ≤ 1e\+18. Received: mu up to 1.1e\+18"),
        (0.0, 80.1, "log_var ≤ 80. Received: log_var up to 80.1"),
        (np.nan, 0.0, "finite values of mu. Received: 1 of 2 are not"),
        (0.0, np.inf, "finite values of log_var. Received: 1 of 2 are not"),
        (0.0, -np.inf, "finite values of log_var. Received: 1 of 2 are not"),
    ],
)
def test_codes_beyond_the_range_are_refused(linear, mu, log_var, message):
    with pytest.raises(ValueError, match=message):
        gaussian_kl([[mu, 0.0]], [[log_var, 0.0]])
    with pytest.raises(ValueError, match=message):
        elbo(lambda x: [[[mu, 0.0]], [[log_var, 0.0]]], linear.decoder, linear.x[:1])


@pytest.mark.parametrize("shapes", [((2,), (2,)), ((2, 3), (3, 2)), ((2, 0), (2, 0))])
def test_codes_of_wrong_shapes_are_refused(shapes):
    with pytest.raises(ValueError, match=r"one shape \(n, latent_dim\). Received: shapes"):
        gaussian_kl(*(np.zeros(shape) for shape in shapes))


@pytest.mark.parametrize("bound", [elbo, importance_weighted_bound])
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"samples": 0}, ValueError, "samples ≥ 1. Received: samples=0"),
        ({"samples": 2.5}, TypeError, "samples to be an integer. Received: 2.5"),
        ({"samples": 2, "batch_size": 0}, ValueError, "batch_size ≥ 1. Received"),
    ],
)
def test_wrong_counts_are_refused(linear, bound, options, error, message):
    with pytest.raises(error, match=message):
        linear.of(bound, linear.poor, **options)


@pytest.mark.parametrize("pixel", [-0.1, 1.1, np.nan])
def test_images_outside_the_unit_interval_are_refused(small_vae, pixel):
    encoder, decoder, x = small_vae
    wrong = x.copy()
    wrong[0, 0, 0, 0] = pixel
    message = "Expected images with finite pixels|Expected finite values of the images"
    with pytest.raises(ValueError, match=message):
        elbo(encoder, decoder, wrong)


def test_an_encoder_without_two_outputs_is_refused(linear):
    with pytest.raises(TypeError, match="last two outputs are mu and log_var. Received: nd"):
        linear.of(elbo, lambda x: x)
    with pytest.raises(ValueError, match=r"Expected 40 rows of mu. Received: shape \(1, 2\)"):
        linear.of(elbo, lambda x: [np.zeros((1, 2)), np.zeros((1, 2))])


def test_no_images_are_refused(linear):
    with pytest.raises(ValueError, match=r"n ≥ 1. Received: shape \(0, 5\)"):
        elbo(linear.poor, linear.decoder, linear.x[:0])


def test_a_decoder_that_gives_nan_is_refused(linear):
    with pytest.raises(ValueError, match="finite values of the log-likelihood. Received: 40"):
        elbo(
            linear.poor,
            lambda z: np.full((len(z), 5), np.nan),
            linear.x,
            log_likelihood=given_z,
        )


def test_a_likelihood_of_another_shape_is_refused(linear):
    with pytest.raises(ValueError, match="one log-likelihood for each of 40 points"):
        elbo(linear.poor, linear.decoder, linear.x, log_likelihood=lambda x, means: x)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: bernoulli_log_likelihood(x, x[:3]), "the images' shape .* Received: shape"),
        (lambda x: gaussian_log_likelihood(x, x[:3]), "x's shape .* Received: shape"),
        (lambda x: gaussian_log_likelihood(x, x, 0.0), "variance > 0. Received: variance=0.0"),
        (lambda x: continuous_bernoulli_log_likelihood(x, x[:3]), "the images' shape"),
        (
            lambda x: continuous_bernoulli_log_normaliser(x + 1),
            r"in \[0, 1\]. Received: values",
        ),
        (lambda x: continuous_bernoulli_log_normaliser(x * np.nan), "values from nan to nan"),
        (lambda x: active_units(x), r"\(n, latent_dim\), n ≥ 2. Received: shape"),
        (lambda x: active_units(x[:1, 0, 0]), r"n ≥ 2. Received: shape \(1, 1\)"),
        (lambda x: active_units(x[:, 0, 0] * np.nan), "finite values of mu"),
        (lambda x: active_units(x[:, 0, 0], -1), "threshold ≥ 0. Received: threshold=-1"),
    ],
)
def test_other_wrong_arguments_are_refused(images, call, message):
    with pytest.raises(ValueError, match=message):
        call(images)


def test_active_units_are_those_whose_mu_varies():
    mu = np.stack([[0.0, 1.0, 2.0], [5.0, 5.0, 5.0], [0.0, 0.1, 0.0]], axis=1)
    received = active_units(mu)
    assert received.count == 1
    assert received.variances == pytest.approx([2 / 3, 0, 0.02 / 9])
    assert received.threshold == 0.01
    assert active_units(mu, threshold=0.001).count == 2


def test_the_range_is_the_one_that_the_module_states():
    assert "−1e18 to 1e18" in evaluation.__doc__
    assert "log_var up to 80" in evaluation.__doc__
    assert (evaluation.LARGEST_MU, evaluation.LARGEST_LOG_VAR) == (1e18, 80)
