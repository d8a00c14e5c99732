"""The ways to attach the KL term to a Keras model, behind one interface.

Every route trains on one objective, part VI's: the mean over pixels of the cross-entropy,
plus weight · the mean over latent variables of k (see `vaebook.losses`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from vaebook.losses import ImageCrossentropy, LogVarLoss, MuLoss
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


def three_targets(x: np.ndarray) -> dict[str, np.ndarray]:
    """Return the targets of the three outputs: the images, and two that nobody reads."""
    check_images(x)
    return {"reconstruction": x, **prior_targets(len(x))}


class _Routes(dict):
    """Routes by name; a name that is none of them gets an answer that says which there are."""

    def __missing__(self, name):
        raise ValueError(f"Expected a route out of {list(self)}. Received: {name!r}.")


ROUTES: dict[str, Route] = _Routes(
    (route.name, route)
    for route in (
        Route("pass_through", build_pass_through, three_targets),
        Route("direct_outputs", build_direct_outputs, three_targets),
    )
)
"""The routes by name, in the order of the chapters. An unknown name raises `ValueError`."""
