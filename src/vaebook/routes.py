"""The ways to attach the KL term to a Keras model, behind one interface.

Every route trains on one objective, part VI's: the mean over pixels of the cross-entropy,
plus weight · the mean over latent variables of k (see `vaebook.losses`).
"""

from collections.abc import Callable, Sequence
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
            (n, height, width, channels), and refuses pixels outside [0, 1].
    """

    name: str
    build: Callable[..., keras.Model]
    targets: Callable[[np.ndarray], Any]


def _compile_with_three_losses(inputs, outputs, weight, optimizer, compile_options):
    model = keras.Model(inputs, outputs, name="vae")
    model.compile(
        optimizer=optimizer,
        loss={
            "reconstruction": ImageCrossentropy(),
            "mu": MuLoss(weight),
            "log_var": LogVarLoss(weight),
        },
        **compile_options,
    )
    return model


def build_pass_through(
    spec: NetworkSpec,
    weight: float | keras.Variable = PART_VI_WEIGHT,
    optimizer: str | keras.Optimizer = "adam",
    seed: int | None = None,
    **compile_options,
) -> keras.Model:
    """Part VI: the decoder hands mu and log_var on, and each output has its loss."""
    encoder = build_encoder(spec, seed)
    decoder = build_pass_through_decoder(spec, seed)
    image = keras.Input(spec.image_shape, name="image")
    reconstruction, mu, log_var = decoder(encoder(image))
    outputs = {"reconstruction": reconstruction, "mu": mu, "log_var": log_var}
    return _compile_with_three_losses(image, outputs, weight, optimizer, compile_options)


def build_direct_outputs(
    spec: NetworkSpec,
    weight: float | keras.Variable = PART_VI_WEIGHT,
    optimizer: str | keras.Optimizer = "adam",
    seed: int | None = None,
    **compile_options,
) -> keras.Model:
    """The same losses without the detour: the model names the encoder's mu and log_var."""
    encoder = build_encoder(spec, seed)
    decoder = build_decoder(spec, seed)
    image = keras.Input(spec.image_shape, name="image")
    z, mu, log_var = encoder(image)
    outputs = {"reconstruction": decoder(z), "mu": mu, "log_var": log_var}
    return _compile_with_three_losses(image, outputs, weight, optimizer, compile_options)


@keras.saving.register_keras_serializable("vaebook")
class Stack(keras.layers.Layer):
    """Stack mu and log_var, each (batch, latent_dim), to (batch, 2, latent_dim)."""

    def call(self, inputs):
        return ops.stack(inputs, axis=1)

    def compute_output_shape(self, input_shape):
        batch, latent_dim = input_shape[0]
        return (batch, 2, latent_dim)


def build_stacked_output(
    spec: NetworkSpec,
    weight: float | keras.Variable = PART_VI_WEIGHT,
    optimizer: str | keras.Optimizer = "adam",
    seed: int | None = None,
    **compile_options,
) -> keras.Model:
    """One output holds both mu and log_var, so one loss sees both: the undivided KL term."""
    encoder = build_encoder(spec, seed)
    decoder = build_decoder(spec, seed)
    image = keras.Input(spec.image_shape, name="image")
    z, mu, log_var = encoder(image)
    outputs = {"reconstruction": decoder(z), "kl": Stack(name="kl")([mu, log_var])}
    model = keras.Model(image, outputs, name="vae")
    model.compile(
        optimizer=optimizer,
        loss={"reconstruction": ImageCrossentropy(), "kl": KLLoss(weight)},
        **compile_options,
    )
    return model


def build_kl_layer(
    spec: NetworkSpec,
    weight: float | keras.Variable = PART_VI_WEIGHT,
    optimizer: str | keras.Optimizer = "adam",
    seed: int | None = None,
    weighted_metrics: Sequence = (),
    **compile_options,
) -> keras.Model:
    """Part V: a layer between mu, log_var and the sampling adds the KL term to the loss.

    Sample weights do not reach the KL term: a layer does not see them.
    """
    plain = build_encoder(spec, seed)
    mu_and_log_var = KLDivergence(weight, name="kl")(plain.outputs[1:])
    z = plain.get_layer("z")(mu_and_log_var)
    encoder = keras.Model(plain.input, [z, *mu_and_log_var], name="encoder")
    decoder = build_decoder(spec, seed)
    image = keras.Input(spec.image_shape, name="image")
    z, _, _ = encoder(image)
    model = keras.Model(image, decoder(z), name="vae")
    crossentropy = ImageCrossentropy()
    model.compile(
        optimizer=optimizer,
        loss=crossentropy,
        # With a single loss Keras logs the total only.
        weighted_metrics=[MeanLoss(crossentropy, "reconstruction_loss"), *weighted_metrics],
        **compile_options,
    )
    return model


def build_compute_loss(
    spec: NetworkSpec,
    weight: float | keras.Variable = PART_VI_WEIGHT,
    optimizer: str | keras.Optimizer = "adam",
    seed: int | None = None,
    **compile_options,
) -> keras.Model:
    """What part VII became: a model that overrides `compute_loss`."""
    _refuse_losses("compute_loss", compile_options)
    model = ComputeLossVAE(build_encoder(spec, seed), build_decoder(spec, seed), weight)
    model.compile(optimizer=optimizer, **compile_options)
    return model


def build_train_step(
    spec: NetworkSpec,
    weight: float | keras.Variable = PART_VI_WEIGHT,
    optimizer: str | keras.Optimizer = "adam",
    seed: int | None = None,
    **compile_options,
) -> keras.Model:
    """Part VIII: a model with a training step of its own."""
    _refuse_losses("train_step", compile_options)
    model = TrainStepVAE(build_encoder(spec, seed), build_decoder(spec, seed), weight)
    model.compile(optimizer=optimizer, **compile_options)
    return model


def _refuse_losses(name, compile_options):
    """Refuse what Keras would take and this route's model would never look at."""
    ignored = sorted({"loss", "loss_weights"} & set(compile_options))
    if ignored:
        raise TypeError(
            f"Expected compile options without a loss: {name} computes its own. "
            f"Received: {ignored}."
        )


def three_targets(x: np.ndarray) -> dict[str, np.ndarray]:
    """Return the targets of the three outputs: the images, and two that nobody reads."""
    check_images(x)
    return {"reconstruction": x, **prior_targets(len(x))}


def two_targets(x: np.ndarray) -> dict[str, np.ndarray]:
    """Return the targets of two outputs: the images, and one that nobody reads."""
    check_images(x)
    return {"reconstruction": x, "kl": prior_targets(len(x))["mu"]}


def image_targets(x: np.ndarray) -> np.ndarray:
    """Return the images, which are the target themselves.

    `compute_loss` and `train_step` do without: `fit(x)` trains them alike. But `fit` drops
    sample weights, in silence, where there is no target.
    """
    check_images(x)
    return x


class _Routes(dict):
    """Routes by name; a name that is none of them gets an answer that says which there are."""

    def __missing__(self, name):
        raise ValueError(f"Expected a route out of {list(self)}. Received: {name!r}.")


ROUTES: dict[str, Route] = _Routes(
    (route.name, route)
    for route in (
        Route("pass_through", build_pass_through, three_targets),
        Route("direct_outputs", build_direct_outputs, three_targets),
        Route("stacked_output", build_stacked_output, two_targets),
        Route("kl_layer", build_kl_layer, image_targets),
        Route("compute_loss", build_compute_loss, image_targets),
        Route("train_step", build_train_step, image_targets),
    )
)
"""The routes by name, in the order of the chapters. An unknown name raises `ValueError`."""
