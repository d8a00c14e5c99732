"""Exact inference for a decoder with two latent variables: sums over a grid for integrals.

A plane can be covered with points. Then log p(x) is a sum, the posterior p(z|x) is a picture,
and the gap between log p(x) and the ELBO falls into parts that can be computed, one by one.

The grid is square, from −reach to reach in both directions, in standard deviations of the
prior, with `steps` points in each direction. The first latent variable is the first of the two
axes of every array that has a grid. Each result carries two estimates of its own error:

error    how far a grid of twice the step is off. Every second point of every second row is
         such a grid, and there are four of them; this is the largest difference, in nats. The
         fine grid is closer to the truth than the coarse ones if the posterior is resolved.
outside  how much of p(x) may lie outside the grid, as a multiple of what lies in it. Square
         rings lead from the grid's edge to twice its reach. Each counts with the prior's
         share in it times the largest p(x|z) at points along its two edges, and what is
         farther out counts as the last one. That is an estimate and no bound: it is too high
         for a smooth decoder, often by far, and too low if p(x|z) has a peak out there that
         falls between those points, which are reach / 24 apart. A grid of twice the reach
         and the same step tells what is true.

If one of them exceeds the tolerance, the functions raise an error that says which and for how
many images. Pass `tolerance=float("inf")` to get the numbers nevertheless.

A decoder is a Keras model or a function from z, shape (batch, 2), to images.
"""

import math
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize
from vaebook._checks import finite, pixels, whole
from vaebook.evaluation import (
    CLIP,
    LogLikelihood,
    bernoulli_log_likelihood,
    checked_codes,
    continuous_bernoulli_log_likelihood,
    continuous_bernoulli_log_normaliser,
    gaussian_kl,
)

NEGLIGIBLE = 40.0  # nats below the largest: such points are left out of a normal's ELBO
RINGS = 24  # around the grid, to see what lies outside; with 12 some peaks were missed
MISSING = 1e-3  # how far from 1 the weights of a normal on the grid may add up


class GridLikelihood(NamedTuple):
    """log p(x) of each image in nats, its error and what may lie outside, shape (n,) each."""

    log_likelihood: np.ndarray
    error: np.ndarray
    outside: np.ndarray
    steps: int
    reach: float


class Normals(NamedTuple):
    """A normal q(z|x) for each image: mu (n, 2), covariance (n, 2, 2), elbo (n,) in nats."""

    mu: np.ndarray
    covariance: np.ndarray
    elbo: np.ndarray


class Gap(NamedTuple):
    """The gap log p(x) − ELBO of each image, and its three parts, in nats, shape (n,) each.

    amortisation  the ELBO of the best diagonal normal minus that of the encoder's
    diagonal      the ELBO of the best normal minus that of the best diagonal one
    shape         log p(x) minus the ELBO of the best normal
    """

    total: np.ndarray
    amortisation: np.ndarray
    diagonal: np.ndarray
    shape: np.ndarray


class Aggregate(NamedTuple):
    """The mean of all clouds: its density (steps, steps), and what follows, in nats.

    mean_kl is the mean KL term, and mean_kl = mutual_information + kl_to_prior.
    """

    density: np.ndarray
    ticks: np.ndarray
    mean_kl: float
    mutual_information: float
    kl_to_prior: float
    error: float


def log_likelihood_on_grid(
    decoder: Callable[[np.ndarray], Any],
    images: np.ndarray,
    steps: int = 301,
    reach: float = 5.0,
    batch_size: int = 1_000,
    log_likelihood: LogLikelihood = bernoulli_log_likelihood,
    tolerance: float = 0.1,
) -> GridLikelihood:
    """Return log p(x) of each image, by the trapezoidal rule, and keep nothing of the grid.

    Args:
        decoder: see the head of this module.
        images: shape (n, …), n ≥ 1.
        steps: how many points in each direction, ≥ 3.
        reach: the grid goes from −reach to reach, in standard deviations of the prior.
        batch_size: how many points are decoded at once. The memory needed is that of
            decoding this many, plus 8 · n · batch_size bytes.
        log_likelihood: as for `vaebook.evaluation.elbo`. The two of that module that are
            for pixels take one matrix product for all pairs of images and points; any other
            function is called once for each image and batch.
        tolerance: the largest `error`, in nats, and the largest `outside`.

    Raises:
        TypeError, ValueError: for wrong counts, a decoder of another number of latent
            variables, or images or decoded images that the likelihood refuses.
        ValueError: if the grid is too coarse, or too small, for some of the images.

    Source: the trapezoidal rule; chapter 13.
    """
    ticks, given = _ticks(steps, reach), (decoder, images, batch_size, log_likelihood)
    sums = np.full((len(images), 2, 2), -np.inf)  # one for each of the four coarse grids
    for places, log_prior, given_z in _decoded_blocks(ticks, *given):
        for parity in np.ndindex(2, 2):
            there = np.all(places % 2 == parity, axis=1)
            if there.any():
                block = _log_sum(given_z[:, there] + log_prior[there])
                sums[:, *parity] = np.logaddexp(sums[:, *parity], block)
    outside = _log_outside(ticks, *given)
    return _checked(sums.reshape(len(images), 4), outside, ticks, tolerance)


def posteriors_on_grid(
    decoder: Callable[[np.ndarray], Any],
    images: np.ndarray,
    steps: int = 301,
    reach: float = 5.0,
    batch_size: int = 1_000,
    log_likelihood: LogLikelihood = bernoulli_log_likelihood,
    tolerance: float = 0.1,
) -> "Posteriors":
    """Return the exact posterior p(z|x) of each image, on the whole grid.

    Args:
        decoder, images, steps, reach, log_likelihood, tolerance: as for
            `log_likelihood_on_grid`.
        batch_size: how many points are decoded at once. The memory needed is that of
            decoding this many, plus 8 · n · steps² bytes, which the result keeps.

    Raises:
        TypeError, ValueError: as for `log_likelihood_on_grid`.

    Source: the trapezoidal rule; chapter 13.
    """
    ticks, given = _ticks(steps, reach), (decoder, images, batch_size, log_likelihood)
    log_joint = np.empty((len(images), len(ticks), len(ticks)))
    for places, log_prior, given_z in _decoded_blocks(ticks, *given):
        log_joint[:, places[:, 0], places[:, 1]] = given_z + log_prior
    coarse = [
        _log_sum(log_joint[:, i::2, j::2].reshape(len(images), -1)) for i, j in np.ndindex(2, 2)
    ]
    outside = _log_outside(ticks, *given)
    likelihood = _checked(np.stack(coarse, axis=1), outside, ticks, tolerance)
    return Posteriors(log_joint, ticks, likelihood)


class Posteriors:
    """The posteriors of n images on a grid; `posteriors_on_grid` makes them.

    Attributes:
        likelihood: a `GridLikelihood`.
        ticks: the grid's coordinates in one direction, shape (steps,).
        density: p(z|x) at each point, shape (n, steps, steps).
        mean, covariance: of p(z|x), shapes (n, 2) and (n, 2, 2).

    Source: chapter 13.
    """

    def __init__(self, log_joint: np.ndarray, ticks: np.ndarray, likelihood: GridLikelihood):
        # Without the weight of a point, and divided by p(x): the logarithm of the density.
        self._log_density = log_joint
        self._log_density -= likelihood.log_likelihood[:, np.newaxis, np.newaxis] + 2 * np.log(
            _step(ticks)
        )
        self.ticks, self.likelihood = ticks, likelihood

    def __len__(self):
        return len(self._log_density)

    @property
    def density(self) -> np.ndarray:
        return np.exp(self._log_density)

    @cached_property
    def _moments(self):
        moments = [_moments_of(np.exp(each), self.ticks) for each in self._log_density]
        return tuple(np.stack(parts) for parts in zip(*moments, strict=True))

    @property
    def mean(self) -> np.ndarray:
        return self._moments[0]

    @property
    def covariance(self) -> np.ndarray:
        return self._moments[1]

    def elbo(self, mu: np.ndarray, covariance: np.ndarray) -> np.ndarray:
        """Return the ELBO of one normal for each image, in nats, shape (n,), without draws.

        Args:
            mu: shape (n, 2).
            covariance: shape (n, 2, 2), or (n, 2) for variances of a diagonal one.

        Raises:
            ValueError: for other shapes, a covariance that is not positive definite, or a
                normal that is too narrow for the grid's step or lies partly outside.

        Source: chapter 13.
        """
        mu, roots = self._checked_normals(mu, covariance)
        kl = np.empty(len(self))
        for row in range(len(self)):
            kl[row] = self._window(row, mu[row], roots[row]).kl(mu[row], roots[row], row)
        return self.likelihood.log_likelihood - kl

    def best_normals(self, diagonal: bool = False, starts: tuple = ()) -> Normals:
        """Return the normal of each image whose divergence from the posterior is smallest.

        Minimises KL(q ‖ p(z|x)), a sum over the grid, for each image by itself. It begins at
        the posterior's mean and covariance, at its highest point with half its spread, and
        at the starts that are given, and keeps the best end. A posterior with several peaks
        may have a better normal that none of these leads to.

        Args:
            diagonal: whether the covariance has to be diagonal.
            starts: pairs of mu and covariance, as for `elbo`.

        Raises:
            ValueError: as for `elbo`, also if the best normal is too narrow for the grid.

        Source: Cremer, Li and Duvenaud (2018); chapter 13.
        """
        given = [self._checked_normals(*start) for start in starts]
        mus, covariances, kls = [], [], []
        for row in range(len(self)):
            mean, root = self.mean[row], np.linalg.cholesky(self.covariance[row])
            peak = np.unravel_index(np.argmax(self._log_density[row]), (len(self.ticks),) * 2)
            begin = [(mean, root), (self.ticks[list(peak)], root / 2)]
            begin += [(mu[row], roots[row]) for mu, roots in given]
            kl, mu, root = self._best_normal(row, begin, diagonal)
            mus.append(mu)
            covariances.append(root @ root.T)
            kls.append(kl)
        elbo = self.likelihood.log_likelihood - np.array(kls)
        return Normals(np.stack(mus), np.stack(covariances), elbo)

    def split_of_gap(self, mu: np.ndarray, log_var: np.ndarray) -> Gap:
        """Return the gap between log p(x) and an encoder's ELBO, in three parts.

        Args:
            mu, log_var: the encoder's, shape (n, 2).

        Raises:
            ValueError: as for `elbo`.

        Source: Cremer, Li and Duvenaud (2018), whose approximation gap is
        `diagonal` + `shape`; chapter 13.
        """
        mu, log_var = checked_codes(mu, log_var)
        of_encoder = self.elbo(mu, np.exp(log_var))
        narrow = self.best_normals(diagonal=True, starts=((mu, np.exp(log_var)),))
        best = self.best_normals(starts=(narrow[:2],))
        exact = self.likelihood.log_likelihood
        return Gap(
            exact - of_encoder,
            narrow.elbo - of_encoder,
            best.elbo - narrow.elbo,
            exact - best.elbo,
        )

    def _checked_normals(self, mu, covariance):
        """Return mu and the lower roots of the covariances, in float64."""
        mu, covariance = np.asarray(mu, "float64"), np.asarray(covariance, "float64")
        if covariance.ndim == 2:
            covariance = covariance[:, :, np.newaxis] * np.eye(covariance.shape[1])
        n = len(self)
        if mu.shape != (n, 2) or covariance.shape != (n, 2, 2):
            raise ValueError(
                f"Expected mu of shape ({n}, 2) and covariance of shape ({n}, 2, 2) or "
                f"({n}, 2). Received: shapes {mu.shape} and {covariance.shape}."
            )
        try:
            return mu, np.linalg.cholesky(covariance)
        except np.linalg.LinAlgError:
            raise ValueError(
                "Expected a positive definite covariance for each image. Received: one that "
                "is not."
            ) from None

    def _window(self, row, *normal):
        """Return the points of the grid where the posterior, or a normal, has its mass."""
        log_density = self._log_density[row]
        there = log_density > log_density.max() - NEGLIGIBLE
        if normal:
            mu, root = normal
            sides = [
                np.abs(self.ticks - mu[axis]) < 8 * np.linalg.norm(root[axis])
                for axis in (0, 1)
            ]
            there = there | np.outer(*sides)
        z = self.ticks[np.stack(np.nonzero(there))]
        return _Window(z, log_density[there], 2 * np.log(_step(self.ticks)))

    def _best_normal(self, row, begin, diagonal):
        window = self._window(row)
        found = []
        for mu, root in begin:
            if diagonal:
                root = np.diag(np.linalg.norm(root, axis=1))
            # In units of the start, so that all parameters are of one size.
            start = np.zeros(4 if diagonal else 5)
            end = minimize(
                window.kl_and_gradient,
                start,
                args=(mu, root),
                jac=True,
                method="BFGS",
                options={"gtol": 1e-5, "maxiter": 200},
            )
            found.append((end.fun, *_moved(end.x, mu, root)))
        _, mu, root = min(found, key=lambda each: each[0])
        return self._window(row, mu, root).kl(mu, root, row), mu, root


class _Window(NamedTuple):
    """Points of a grid, shape (2, points), and the log-density of a posterior on them."""

    z: np.ndarray
    log_density: np.ndarray
    log_weight: float

    def _log_q(self, mu, root):
        (a, _), (b, c) = root
        first = (self.z[0] - mu[0]) / a  # the root is lower triangular: solved by hand
        noise = np.stack([first, (self.z[1] - mu[1] - b * first) / c])
        log_q = -0.5 * np.sum(noise**2, axis=0) - np.log(2 * np.pi * a * c)
        return noise, log_q, np.exp(log_q + self.log_weight)

    def kl(self, mu, root, row):
        """Return KL(q ‖ posterior) for q = N(mu, root rootᵀ), in nats."""
        _, log_q, weights = self._log_q(mu, root)
        total = weights.sum()
        if not abs(total - 1) < MISSING:
            raise ValueError(
                "Expected a normal that the grid resolves and holds: its weights add up to 1. "
                f"Received: for image {row} they add up to {total:.4f}, with mean "
                f"({mu[0]:.3g}, {mu[1]:.3g}) and spread ({root[0, 0]:.3g}, "
                f"{np.linalg.norm(root[1]):.3g}), the grid's step being "
                f"{np.exp(self.log_weight / 2):.3g}. Take more steps, or a larger reach."
            )
        return weights @ (log_q - self.log_density) / total

    def kl_and_gradient(self, parameters, start, start_root):
        """Return the KL and its gradient by the parameters, which `_moved` explains."""
        mu, root = _moved(parameters, start, start_root)
        noise, log_q, weights = self._log_q(mu, root)
        difference, lost = log_q - self.log_density, 1 - weights.sum()
        # Beyond the window the log-density is lower by NEGLIGIBLE or more, so that mass that
        # gets lost there costs as much. The same keeps a normal from becoming too narrow.
        value = weights @ difference + NEGLIGIBLE * abs(lost)
        cost = weights * (difference + 1 - NEGLIGIBLE * np.sign(lost))
        # d log q / d mu = root⁻ᵀ noise, and by root: root⁻ᵀ (noise noiseᵀ − 1).
        by_mu = start_root.T @ np.linalg.solve(root.T, noise @ cost)
        squares = (noise * cost) @ noise.T - cost.sum() * np.eye(2)
        by_root = np.linalg.solve(root.T, squares)
        inner = np.linalg.solve(start_root, root)  # root = start_root · inner
        by_inner = start_root.T @ by_root
        gradient = [*by_mu, by_inner[0, 0] * inner[0, 0], by_inner[1, 1] * inner[1, 1]]
        if len(parameters) == 5:
            gradient.append(by_inner[1, 0])
        return value, np.array(gradient)


def _moved(parameters, mu, root):
    """Return mu and root of a normal after a move, in units of a start.

    The parameters are: two for mu, two logarithms of the root's diagonal, and one for what is
    below it, unless the normal is diagonal.
    """
    inner = np.diag(np.exp(np.clip(parameters[2:4], -20, 20)))  # a bold step may overflow
    inner[1, 0] = parameters[4] if len(parameters) == 5 else 0.0
    return mu + root @ parameters[:2], root @ inner


def aggregate_posterior(
    mu: np.ndarray, log_var: np.ndarray, steps: int = 401, reach: float = 5.0
) -> Aggregate:
    """Return the mean of the clouds of n images, its KL to the prior, and what z tells.

    The mean of n images' KL terms is the KL from the aggregate posterior to the prior plus
    the mutual information between z and the image's number, which is at most log n.

    Args:
        mu, log_var: the encoder's, shape (n, 2).
        steps, reach: as for `log_likelihood_on_grid`. No decoder is needed.

    Raises:
        ValueError: for other shapes, or clouds that are too narrow for the grid's step or
            lie partly outside.

    Source: Hoffman and Johnson (2016); chapter 13.
    """
    mu, log_var = checked_codes(mu, log_var)
    if mu.shape[1] != 2:
        raise ValueError(f"Expected two latent variables. Received: mu of shape {mu.shape}.")
    ticks = _ticks(steps, reach)
    spread = np.exp(log_var / 2)[:, :, np.newaxis]
    noise = (ticks - mu[:, :, np.newaxis]) / spread
    sides = _step(ticks) * np.exp(-0.5 * noise**2) / (np.sqrt(2 * np.pi) * spread)
    off = np.abs(sides.sum(axis=2).prod(axis=1) - 1) > MISSING
    if off.any():
        raise ValueError(
            "Expected clouds that the grid resolves and holds. Received: "
            f"{off.sum()} of {len(mu)} that it does not, with spreads down to "
            f"{spread[off].min():.3g} and |mu| up to {np.abs(mu[off]).max():.3g}, on a grid of "
            f"step {_step(ticks):.3g} that reaches to {float(reach):g}."
        )
    weights = sides[:, 0].T @ sides[:, 1] / len(mu)
    density = weights / _step(ticks) ** 2

    def entropy(part, size):
        there = part > 0
        return -size * np.sum(part[there] * np.log(part[there]))

    size = _step(ticks) ** 2
    whole_grid = entropy(density, size)
    error = max(
        abs(entropy(density[i::2, j::2], 4 * size) - whole_grid) for i, j in np.ndindex(2, 2)
    )
    of_clouds = np.mean(np.sum(0.5 * (log_var + np.log(2 * np.pi) + 1), axis=1))
    prior = -np.log(2 * np.pi) - 0.5 * (ticks[:, np.newaxis] ** 2 + ticks**2)
    return Aggregate(
        density,
        ticks,
        float(gaussian_kl(mu, log_var).mean()),
        float(whole_grid - of_clouds),
        float(-whole_grid - np.sum(weights * prior)),
        float(error),
    )


def _log_sum(values):
    """Return log Σ exp over the second axis, several times as fast as `np.logaddexp.reduce`."""
    largest = values.max(axis=1, keepdims=True)
    return largest[:, 0] + np.log(np.exp(values - largest).sum(axis=1))


def _ticks(steps, reach):
    steps = whole("steps", steps, 3)
    finite("reach", reach)
    return np.linspace(-reach, reach, steps)


def _step(ticks):
    return ticks[1] - ticks[0]


def _moments_of(density, ticks):
    weights = density / density.sum()
    sides = weights.sum(axis=1), weights.sum(axis=0)
    mean = np.array([side @ ticks for side in sides])
    first, second = ticks - mean[0], ticks - mean[1]
    mixed = first @ weights @ second
    return mean, np.array([[sides[0] @ first**2, mixed], [mixed, sides[1] @ second**2]])


def _checked(coarse, log_outside, ticks, tolerance):
    """Return the result of the four coarse sums, or raise if the grid does not do."""
    log_likelihood = np.logaddexp.reduce(coarse, axis=1)
    error = np.abs(coarse + np.log(4) - log_likelihood[:, np.newaxis]).max(axis=1)
    reach, step = float(ticks[-1]), _step(ticks)
    if not tolerance >= 0:
        raise ValueError(f"Expected tolerance ≥ 0. Received: tolerance={tolerance}.")
    with np.errstate(over="ignore"):
        outside = np.exp(log_outside - log_likelihood)
    coarse_for, small_for = (int(np.sum(~(each <= tolerance))) for each in (error, outside))
    if coarse_for or small_for:
        of, largest = f"of {len(error)} images", error.max()
        if coarse_for >= small_for:
            problem = (
                f"coarse for {coarse_for} {of}: step {step:.3g}, error up to {largest:.3g}"
            )
            fix = "nats. Take more steps"
        else:
            problem = f"small for {small_for} {of}: reach {reach:g}, outside up to"
            fix = f"{outside.max():.3g}. Take a larger reach"
        raise ValueError(
            f"Expected log p(x) within the tolerance {tolerance:g}. "
            f"Received: a grid too {problem} {fix}."
        )
    return GridLikelihood(log_likelihood, error, outside, len(ticks), reach)


def _log_outside(ticks, *given):
    """Return the logarithm of what may lie outside the grid, for each image: an estimate."""
    around = np.linspace(2 * ticks[0], 2 * ticks[-1], 4 * RINGS + 1)
    best = np.full((len(given[1]), RINGS + 1), -np.inf)  # on the squares around the grid
    for places, _, given_z in _decoded_blocks(around, *given):
        square = np.abs(places - 2 * RINGS).max(axis=1) - RINGS
        for ring in range(RINGS + 1):
            here = given_z.max(axis=1, where=square == ring, initial=-np.inf)
            best[:, ring] = np.maximum(best[:, ring], here)
    farther = np.array([_prior_outside(edge) for edge in around[3 * RINGS :]])
    of_rings = [*(farther[:-1] - farther[1:]), farther[-1]]
    of_edges = np.maximum(best, np.append(best[:, 1:], best[:, -1:], axis=1))
    return np.logaddexp.reduce(of_edges + np.log(np.maximum(of_rings, 1e-300)), axis=1)


def _prior_outside(reach):
    """Return the prior's share outside a square; erfc keeps its digits where erf is 1."""
    tail = math.erfc(reach / math.sqrt(2))
    return tail * (2 - tail)


def _decoded_blocks(
    ticks, decoder, images, batch_size, log_likelihood
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield the places of some points, the logarithm of their weights, and log p(x|z).

    Shapes: (points, 2), (points,) and (n, points). A weight is the prior's density times the
    area that belongs to a point.
    """
    batch_size = whole("batch_size", batch_size)
    images = np.asarray(images)
    if images.ndim < 2 or len(images) == 0:
        raise ValueError(
            f"Expected images of shape (n, …), n ≥ 1. Received: shape {images.shape}."
        )
    shape = getattr(decoder, "input_shape", None)
    if isinstance(shape, tuple) and shape[-1] not in (None, 2):
        raise ValueError(
            "Expected a decoder of two latent variables, for a grid of two dimensions. "
            f"Received: a decoder with input_shape {shape}."
        )
    pairs = _PAIRS.get(log_likelihood)
    if pairs:
        pixels("images", images)
        flat = images.reshape(len(images), -1).astype("float64")
    places = np.stack(np.indices((len(ticks),) * 2), axis=-1).reshape(-1, 2)
    for start in range(0, len(places), batch_size):
        block = places[start : start + batch_size]
        z = ticks[block]
        decoded = np.asarray(decoder(z.astype("float32")))
        if pairs:
            pixels("decoded images", decoded)
            if decoded.shape[1:] != images.shape[1:] or len(decoded) != len(z):
                raise ValueError(
                    f"Expected decoded images of shape {(len(z), *images.shape[1:])}. "
                    f"Received: shape {decoded.shape}."
                )
            given_z = pairs(flat, decoded.reshape(len(z), -1).astype("float64"))
        else:
            shape = (len(z), *images.shape[1:])
            given_z = np.stack(
                [log_likelihood(np.broadcast_to(image, shape), decoded) for image in images]
            )
        if given_z.shape != (len(images), len(z)) or not np.isfinite(given_z).all():
            raise ValueError(
                f"Expected {len(z)} finite log-likelihoods for each image. Received: shape "
                f"{given_z.shape}, {np.sum(~np.isfinite(given_z))} not finite."
            )
        log_prior = 2 * np.log(_step(ticks)) - np.log(2 * np.pi) - 0.5 * np.sum(z**2, axis=1)
        yield block, log_prior, given_z


def _bernoulli_pairs(x, p):
    """Σ x log p + (1 − x) log(1 − p), for all pairs of an image and a point at once."""
    p = np.clip(p, CLIP, 1 - CLIP)
    black = np.log1p(-p)
    return x @ (np.log(p) - black).T + black.sum(axis=1)


def _continuous_bernoulli_pairs(x, p):
    return _bernoulli_pairs(x, p) + continuous_bernoulli_log_normaliser(p).sum(axis=1)


_PAIRS = {
    bernoulli_log_likelihood: _bernoulli_pairs,
    continuous_bernoulli_log_likelihood: _continuous_bernoulli_pairs,
}
