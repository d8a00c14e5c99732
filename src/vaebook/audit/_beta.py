"""Which beta a variational autoencoder really trains with."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from vaebook._checks import finite
from vaebook.audit._data import batch_of, check_model, check_structure
from vaebook.audit._probe import Probe, takes
from vaebook.losses import GaussianKL

# How far weights and biases are moved, as multiples of their size: some places are near the
# model's weights, and some far enough away that every latent variable has some nats.
_PLACES = ((0.0, 0.0), (0.1, 0.1), (0.2, 0.5), (0.3, 1.0), (0.3, 2.0))
_EXACT, _ROUGH = 2e-3, 5e-2  # how well a gradient is explained, in 32 and in 16 bits


@dataclass(frozen=True)
class MeasuredBeta:
    """The beta of a training step, or why it has none.

    Attributes:
        beta: the factor of the KL in nats per image, for a reconstruction in nats per image;
            None if the objective is not a · reconstruction + b · KL.
        standard_error: that of beta, from the places at which it was measured.
        fits: whether the objective has that form.
        residual: the part of the gradient that a · reconstruction + b · KL leaves unexplained.
        reconstruction_factor, kl_factor: a and b.
        drawn: whether the KL is estimated from the drawn z, as log q(z|x) − log p(z), and not
            computed by the formula.
        why: what does not fit, or what could not be seen.
    """

    beta: float | None
    standard_error: float | None
    fits: bool
    residual: float
    reconstruction_factor: float
    kl_factor: float
    drawn: bool = False
    why: str = ""

    def __str__(self):
        if not self.fits:
            return f"none: {self.why}"
        drawn = ", KL drawn" if self.drawn else ""
        note = f"; {self.why}" if self.why else ""
        return f"{self.beta:.4g} ± {self.standard_error:.1g}{drawn}{note}"


def measured_beta(
    model: keras.Model,
    x: Any,
    y: Any = None,
    *,
    codes: Callable,
    reconstruct: Callable,
    error: str = "crossentropy",
    pixel_variance: float = 1.0,
    images: Callable | None = None,
) -> MeasuredBeta:
    """Measure the beta that a compiled model trains with, from the gradient of its own step.

    The gradient that the optimizer is given is compared with those of the reconstruction and
    of the KL, both in nats per image, at the same weights and with the same noise. If the
    objective is a · reconstruction + b · KL, the first is a combination of the other two, and
    beta is b / a. This is tried at several places around the model's weights.

    Args:
        model: compiled and built. Afterwards it is as it was before.
        x, y: data as `fit` takes them; at most 32 samples are used.
        codes: a function from a batch x to mu and log_var, each (batch, latent_dim).
        reconstruct: a function from a batch x to the reconstruction, as training makes it,
            with its noise. If it has an argument `training`, it is called with True for it.
        error: "crossentropy" for Bernoulli pixels, or "squared" for normal ones.
        pixel_variance: the variance of normal pixels, > 0.
        images: a function from a batch x to the true images, if that is not x itself.

    Returns:
        A `MeasuredBeta`. Its `beta` is None, and `why` says more, if the objective is
        something else: noise other than exp(½ log_var), free bits, another prior.

    Raises:
        TypeError: if model is not a Keras model, or the data are not arrays or a dataset.
        ValueError: for a model that is not compiled or built, an unknown error, data that do
            not fit, or codes and reconstructions of unexpected shape.

    Source: chapter 19.
    """
    if error not in ("crossentropy", "squared"):
        raise ValueError(
            f"Expected error to be 'crossentropy' or 'squared'. Received: {error!r}."
        )
    finite("pixel_variance", pixel_variance)
    check_model(model)
    batch = batch_of(x, y)
    check_structure(model, batch.x, batch.y)
    true = batch.x if images is None else images(batch.x)
    if keras.tree.is_nested(true):
        raise ValueError(
            "Expected images, a function from x to the true images, since x is not one array. "
            f"Received: x of type {type(true).__name__}."
        )

    def nats(reconstruction):
        if tuple(reconstruction.shape) != tuple(true.shape):
            raise ValueError(
                f"Expected a reconstruction of shape {tuple(true.shape)}. "
                f"Received: shape {tuple(reconstruction.shape)}."
            )
        target, made = (tf.cast(each, "float32") for each in (true, reconstruction))
        if error == "crossentropy":
            per_pixel = ops.binary_crossentropy(target, made)
        else:
            per_pixel = tf.square(target - made) / (2 * pixel_variance)
        return tf.reduce_sum(per_pixel) / batch.size

    def coded():
        found = codes(batch.x)
        if not isinstance(found, list | tuple) or len(found) != 2:
            raise ValueError(
                f"Expected codes(x) to return mu and log_var. Received: {type(found).__name__}."
            )
        mu, log_var = (tf.cast(tf.convert_to_tensor(each), "float32") for each in found)
        if mu.shape != log_var.shape:
            raise ValueError(
                f"Expected mu and log_var of one shape. Received: {mu.shape}, {log_var.shape}."
            )
        return mu, log_var

    with Probe(model, batch.x, batch.y) as probe:
        places = [
            _at(probe, number, place, nats, coded, reconstruct)
            for number, place in enumerate(_PLACES)
        ]
        return _conclude(model, places)


@dataclass
class _Place:
    """Gradients at one place: of the step, of the two terms, and of what else is known."""

    step: np.ndarray
    columns: dict[str, np.ndarray]
    mu: np.ndarray
    log_var: np.ndarray
    seen: list[np.ndarray]


def _at(probe, number, place, nats, coded, reconstruct):
    kernels, biases = place

    def move():
        rng = np.random.default_rng(number)
        for variable in probe.variables:
            few = len(variable.shape) < 2
            scale = biases if few else kernels * float(np.std(variable.numpy()))
            if variable.shape != () and scale:
                variable.assign_add(rng.normal(0, scale, variable.shape))

    seed = 1  # the same noise at all places: with other codes, it tells how z is drawn
    step = probe.step(seed=seed, prepare=move)
    candidates = []

    def seen(layer, args, kwargs, outputs):
        for tensor in keras.tree.flatten((args, kwargs, outputs)):
            if isinstance(tensor, tf.Tensor) and tensor.dtype.is_floating:
                candidates.append(tensor)

    def restart(tape):
        with tape.stop_recording():
            probe.state.rewind(seed)
            move()

    with tf.GradientTape(persistent=True) as tape, probe.watching(seen, training=True):
        restart(tape)
        mu, log_var = coded()
        kl = tf.reduce_mean(GaussianKL().call(None, tf.stack([mu, log_var], axis=1)))
        candidates.clear()
        restart(tape)
        options = {"training": True} if takes(reconstruct, "training") else {}
        error = nats(tf.convert_to_tensor(reconstruct(probe.x, **options)))
        passed = [each for each in candidates if each.shape == mu.shape]
        alike = [tf.cast(each, "float32") for each in passed]
        drawn = [_drawn_kl(z, mu, log_var) for z in alike]
        with tape.stop_recording():
            own = [v for v in probe.variables if getattr(v, "regularizer", None) is not None]
        penalty = tf.add_n([v.regularizer(v) for v in own]) if own else None
    columns = {"reconstruction": error, "kl": kl}
    # A draw that leads to no reconstruction is not the model's z.
    led = [n for n, each in enumerate(passed) if tape.gradient(error, each) is not None]
    alike, drawn = ([found[n] for n in led] for found in (alike, drawn))
    columns.update({f"drawn {place}": each for place, each in enumerate(drawn)})
    if penalty is not None:
        columns["penalty"] = penalty
    found = {name: _flat(tape, value, probe.variables) for name, value in columns.items()}
    return _Place(
        step.flat(probe.variables)[:-1],
        found,
        np.asarray(mu, "float64"),
        np.asarray(log_var, "float64"),
        [np.asarray(each, "float64") for each in alike],
    )


def _drawn_kl(z, mu, log_var):
    """Return log q(z|x) − log p(z), the mean over the batch."""
    noise = tf.square(z - mu) * tf.exp(-log_var)
    return tf.reduce_mean(0.5 * tf.reduce_sum(tf.square(z) - noise - log_var, axis=-1))


def _flat(tape, value, variables):
    gradients = tape.gradient(value, variables)
    return np.concatenate(
        [
            np.zeros(int(np.prod(variable.shape)))
            if gradient is None
            else np.ravel(np.asarray(tf.convert_to_tensor(gradient), "float64"))
            for gradient, variable in zip(gradients, variables, strict=True)
        ]
    )


def _fit(place, kl):
    """Return the factors of reconstruction and KL, the variance of beta, and the residual."""
    names = ["reconstruction", kl] + (["penalty"] if "penalty" in place.columns else [])
    matrix = np.stack([place.columns[name] for name in names], axis=1)
    lengths = np.linalg.norm(matrix, axis=0)
    lengths[lengths == 0] = 1.0
    matrix = matrix / lengths
    factors, *_ = np.linalg.lstsq(matrix, place.step, rcond=None)
    rest = place.step - matrix @ factors
    norm = np.linalg.norm(place.step)
    residual = float(np.linalg.norm(rest) / norm) if norm else 1.0
    variance = float(rest @ rest) / max(1, len(rest) - len(names))
    covariance = variance * np.linalg.pinv(matrix.T @ matrix) / np.outer(lengths, lengths)
    a, b = factors[:2] / lengths[:2]
    slope = np.array([-b / a**2, 1 / a]) if a else np.zeros(2)
    return float(a), float(b), float(slope @ covariance[:2, :2] @ slope), residual


def _conclude(model, places):
    tolerance = _EXACT if model.compute_dtype in ("float32", "float64") else _ROUGH
    if any(part.compute_dtype.endswith("16") for part in model.layers):
        tolerance = _ROUGH
    draw, z = _draw(places)
    fits = {False: [_fit(place, "kl") for place in places]}
    if z is not None:
        fits[True] = [_fit(place, f"drawn {z}") for place in places]
    drawn = min(fits, key=lambda each: max(fit[3] for fit in fits[each]))
    factors = np.array([fit[:2] for fit in fits[drawn]])
    variances = np.array([fit[2] for fit in fits[drawn]])
    # If the KL is exactly 0, so is its gradient, and its factor cannot be seen.
    told = [bool(np.any(place.columns["kl"])) for place in places]
    if sum(told) > 1:
        factors, variances = factors[told], variances[told]
    residual = max(fit[3] for fit in fits[drawn])
    a, b = (float(each) for each in np.median(factors, axis=0))
    why = ""
    with np.errstate(all="ignore"):
        betas = factors[:, 1] / factors[:, 0]
        weights = 1 / np.maximum(variances, 1e-20)
        beta = float(np.sum(weights * betas) / np.sum(weights))
        inner = 1 / np.sum(weights)
        scatter = np.sum(weights * (betas - beta) ** 2) / np.sum(weights) / (len(betas) - 1)
        spread = float(np.sqrt(max(inner, scatter)))
        apart = np.abs(betas - beta) > 5 * np.sqrt(variances) + 0.02 * abs(beta) + 1e-7
    if residual > tolerance:
        why = (
            f"a · reconstruction + b · KL leaves up to {residual:.1%} of the gradient "
            "unexplained, so the objective has something else in it"
        )
    elif a <= 0 or not np.isfinite(beta):
        why = f"the reconstruction has the factor {a:.3g}"
    elif apart.any():
        listed = ", ".join(f"{each:.3g}" for each in betas)
        why = f"b / a is not the same everywhere: {listed}"
    elif draw == "exp(log_var)":
        why = (
            "z is drawn with the standard deviation exp(log_var), not exp(½ log_var), so the "
            f"KL in the loss is not that of the noise; by the formula alone beta is {beta:.4g}"
        )
    if why:
        return MeasuredBeta(None, None, False, residual, a, b, drawn, why)
    note = "" if draw else "no draw of z was seen"
    return MeasuredBeta(beta, spread, True, residual, a, b, drawn, note)


def _draw(places):
    """Tell from the same noise at several places how z is computed from mu and log_var.

    Returns:
        "exp(½ log_var)" or "exp(log_var)", the standard deviation of z; and the number of z
        among the tensors seen. If no tensor is such a draw, both are None.
    """
    count = min(len(place.seen) for place in places)
    for half, name in ((0.5, "exp(½ log_var)"), (1.0, "exp(log_var)")):
        for number in range(count):
            noises = [
                (place.seen[number] - place.mu) * np.exp(-half * place.log_var)
                for place in places
            ]
            first = noises[0]
            if np.std(first) < 0.1:
                continue
            apart = max(np.abs(each - first).max() for each in noises[1:])
            if apart < 2e-2 * np.abs(first).max():
                return name, number
    return None, None
