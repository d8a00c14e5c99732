"""The ways to attach the KL term to a Keras model, behind one interface.

Every route trains on one objective, part VI's: the mean over pixels of the cross-entropy,
plus weight · the mean over latent variables of k (see `vaebook.losses`).
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops
from vaebook.layers import KLDivergence
from vaebook.losses import ImageCrossentropy, KLLoss, LogVarLoss, MuLoss
from vaebook.metrics import MeanLoss
from vaebook.models import ComputeLossVAE, TrainStepVAE
from vaebook.networks import (
    NetworkSpec,
    build_decoder,
    build_encoder,
    build_pass_through_decoder,
)
from vaebook.targets import check_images, prior_targets

PART_VI_WEIGHT = 1e-3
"""The weight of the KL term in part VI's run, where it is called `fact`."""


@dataclass(frozen=True)
class Route:
    """One way to attach the KL term.

    Attributes:
        name: its key in `ROUTES`.
        build: `build(spec, weight=1e-3, optimizer="adam", seed=None, **compile_options)`
            returns a compiled `keras.Model` with a layer named `encoder`. `weight` is a
            number ≥ 0 or a `keras.Variable`; `seed` fixes initial weights and noise; the
            options go to `compile`. Wrong arguments raise `TypeError` or `ValueError`.
        targets: `targets(x)` returns what `fit` gets as y for the images x, shape
            (n, height, width, channels), and raises ValueError for pixels outside [0, 1].
        reference: `reference(weights, images, noise, factors, kl_factors)` returns the
            objective and its gradients on the network that `behaviours` checks, as
            `vaebook.reference.loss_and_gradients` does; None if it is part VI's objective.
    """

    name: str
    build: Callable[..., keras.Model]
    targets: Callable[[np.ndarray], Any]
    reference: Callable | None = None


def builder(*taken: str) -> Callable:
    """Return a decorator that turns a function that assembles a model into a route's `build`.

    The function is called with (spec, weight, seed), and returns a model and its own options
    of `compile`. `build` checks the arguments and compiles the model with those options and
    the caller's. Metrics of both are joined.

    Args:
        taken: the options of `compile` that the caller may not give, beside `loss`.
    """

    def decorate(assemble):
        @functools.wraps(assemble)
        def build(
            spec: NetworkSpec,
            weight: float | keras.Variable = PART_VI_WEIGHT,
            optimizer: str | keras.Optimizer = "adam",
            seed: int | None = None,
            **compile_options,
        ) -> keras.Model:
            if not isinstance(spec, NetworkSpec):
                raise TypeError(f"Expected spec to be a NetworkSpec. Received: {spec!r}.")
            refused = sorted({"loss", *taken} & set(compile_options))
            if refused:
                name = assemble.__name__.removeprefix("build_")
                raise TypeError(
                    f"Expected compile options without a loss: {name} computes its own. "
                    f"Received: {refused}."
                )
            model, own = assemble(spec, weight, seed)
            if "weighted_metrics" in own and "weighted_metrics" in compile_options:
                theirs = compile_options.pop("weighted_metrics")
                own = {**own, "weighted_metrics": _join(own["weighted_metrics"], theirs)}
            model.compile(optimizer=optimizer, **own, **compile_options)
            return model

        del build.__wrapped__  # its arguments are not those of build
        return build

    return decorate


def _join(own, given):
    """Return a route's own weighted metrics and the caller's: two lists, or two dicts."""
    if isinstance(own, Mapping) != isinstance(given, Mapping):
        kind = "a dict by output" if isinstance(own, Mapping) else "a list"
        raise TypeError(f"Expected weighted_metrics as {kind}. Received: {given!r}.")
    if not isinstance(own, Mapping):
        return [*own, *given]
    return {name: [*own.get(name, ()), *given.get(name, ())] for name in {**own, **given}}


def _three_losses(weight):
    losses = {
        "reconstruction": ImageCrossentropy(),
        "mu": MuLoss(weight),
        "log_var": LogVarLoss(weight),
    }
    return {"loss": losses}


@builder()
def build_pass_through(spec, weight, seed):
    """Part VI: the decoder passes mu and log_var on, and each output has its loss."""
    encoder = build_encoder(spec, seed)
    decoder = build_pass_through_decoder(spec, seed)
    image = keras.Input(spec.image_shape, name="image")
    reconstruction, mu, log_var = decoder(encoder(image))
    outputs = {"reconstruction": reconstruction, "mu": mu, "log_var": log_var}
    return keras.Model(image, outputs, name="vae"), _three_losses(weight)


@builder()
def build_direct_outputs(spec, weight, seed):
    """The same losses without the detour: the encoder's mu and log_var are outputs."""
    encoder, decoder = build_encoder(spec, seed), build_decoder(spec, seed)
    image = keras.Input(spec.image_shape, name="image")
    z, mu, log_var = encoder(image)
    outputs = {"reconstruction": decoder(z), "mu": mu, "log_var": log_var}
    return keras.Model(image, outputs, name="vae"), _three_losses(weight)


@keras.saving.register_keras_serializable("vaebook")
class Stack(keras.layers.Layer):
    """Stack mu and log_var, each (batch, latent_dim), to (batch, 2, latent_dim)."""

    def call(self, inputs):
        return ops.stack(inputs, axis=1)

    def compute_output_shape(self, input_shape):
        batch, latent_dim = input_shape[0]
        return (batch, 2, latent_dim)


@builder()
def build_stacked_output(spec, weight, seed):
    """One output holds both mu and log_var, so one loss sees both: the undivided KL term."""
    encoder, decoder = build_encoder(spec, seed), build_decoder(spec, seed)
    image = keras.Input(spec.image_shape, name="image")
    z, mu, log_var = encoder(image)
    outputs = {"reconstruction": decoder(z), "kl": Stack(name="kl")([mu, log_var])}
    losses = {"reconstruction": ImageCrossentropy(), "kl": KLLoss(weight)}
    return keras.Model(image, outputs, name="vae"), {"loss": losses}


def encoder_with_layer(
    spec: NetworkSpec, layer: keras.Layer, seed: int | None = None
) -> keras.Model:
    """Return `build_encoder(spec, seed)` with a layer between mu, log_var and the sampling.

    Args:
        spec, seed: as for `build_encoder`.
        layer: a layer that maps [mu, log_var] to the same two.

    Source: part V of the article; chapter 9.
    """
    plain = build_encoder(spec, seed)
    mu, log_var = layer(plain.outputs[1:])
    z = plain.get_layer("z")([mu, log_var])
    return keras.Model(plain.input, [z, mu, log_var], name="encoder")


@builder()
def build_kl_layer(spec, weight, seed):
    """Part V: a layer between mu, log_var and the sampling adds the KL term to the loss.

    Sample weights do not reach the KL term: a layer does not see them.
    """
    encoder = encoder_with_layer(spec, KLDivergence(weight, name="kl"), seed)
    image = keras.Input(spec.image_shape, name="image")
    reconstruction = build_decoder(spec, seed)(encoder(image)[0])
    loss = ImageCrossentropy()
    # With a single loss Keras logs the total only.
    metrics = [MeanLoss(loss, "reconstruction_loss")]
    model = keras.Model(image, reconstruction, name="vae")
    return model, {"loss": loss, "weighted_metrics": metrics}


@builder()
def build_kl_layer_with_code(spec, weight, seed):
    """The layer of `build_kl_layer`, in a model that also returns mu and log_var.

    Those two outputs have no loss, and Keras asks for targets only of outputs that have one:
    `fit(x, x)` trains this model, too. But metrics by output are logged only if every output
    has a target, and `reconstruction_loss` is such a metric. Sample weights do not reach the
    KL term here either.
    """
    encoder = encoder_with_layer(spec, KLDivergence(weight, name="kl"), seed)
    image = keras.Input(spec.image_shape, name="image")
    z, mu, log_var = encoder(image)
    outputs = {"reconstruction": build_decoder(spec, seed)(z), "mu": mu, "log_var": log_var}
    loss = ImageCrossentropy()
    own = {
        "loss": {"reconstruction": loss},
        # Keras puts the output's name in front: reconstruction_loss.
        "weighted_metrics": {"reconstruction": [MeanLoss(loss, "loss")]},
    }
    return keras.Model(image, outputs, name="vae"), own


@builder("loss_weights")
def build_compute_loss(spec, weight, seed):
    """What part VII became: a model that overrides `compute_loss`."""
    return ComputeLossVAE(build_encoder(spec, seed), build_decoder(spec, seed), weight), {}


@builder("loss_weights")
def build_train_step(spec, weight, seed):
    """Part VIII: a model with a training step of its own."""
    return TrainStepVAE(build_encoder(spec, seed), build_decoder(spec, seed), weight), {}


def three_targets(x: np.ndarray) -> dict[str, np.ndarray]:
    """Return the targets of the three outputs: the images, and two that no loss reads."""
    check_images(x)
    return {"reconstruction": x, **prior_targets(len(x))}


def two_targets(x: np.ndarray) -> dict[str, np.ndarray]:
    """Return the targets of two outputs: the images, and one that no loss reads."""
    check_images(x)
    return {"reconstruction": x, "kl": prior_targets(len(x))["mu"]}


def image_targets(x: np.ndarray) -> np.ndarray:
    """Return the images: each is its own target.

    The routes `compute_loss` and `train_step` train in the same way without a target, with
    `fit(x)`. But then `fit` drops sample weights without a warning.
    """
    check_images(x)
    return x


class _Routes(dict):
    """Routes by name; an unknown name raises an error that lists the known ones."""

    def __missing__(self, name):
        raise ValueError(f"Expected a route out of {list(self)}. Received: {name!r}.")


ROUTES: dict[str, Route] = _Routes(
    (route.name, route)
    for route in (
        Route("pass_through", build_pass_through, three_targets),
        Route("direct_outputs", build_direct_outputs, three_targets),
        Route("stacked_output", build_stacked_output, two_targets),
        Route("kl_layer", build_kl_layer, image_targets),
        Route("kl_layer_with_code", build_kl_layer_with_code, three_targets),
        Route("compute_loss", build_compute_loss, image_targets),
        Route("train_step", build_train_step, image_targets),
    )
)
"""The routes by name, in the order of the chapters. An unknown name raises `ValueError`."""

WITHOUT_COST: dict[str, str] = {
    "kl_layer_with_code": "its training step does the arithmetic of kl_layer",
}
"""The routes that the record of costs does not time, and why. It times all others."""
