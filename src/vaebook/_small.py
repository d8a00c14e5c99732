"""The small model and images that `behaviours` and `replicas` check each route on."""

import functools

import numpy as np
import tensorflow as tf
from vaebook.networks import NetworkSpec
from vaebook.reference import loss_and_gradients

SPEC = NetworkSpec(
    image_shape=(8, 8, 1),
    latent_dim=3,
    encoder_filters=(4,),
    encoder_kernels=(3,),
    encoder_strides=(2,),
    decoder_filters=(1,),
    decoder_kernels=(3,),
    decoder_strides=(2,),
)
"""A network so small that a check takes a second or so."""

WEIGHT, SEED, IMAGES = 0.25, 1, 8
SAMPLE_WEIGHTS = np.array([0, 1, 2, 0.5, 0, 3, 1, 0.25], "float32")
EXACT, ROUGH = 1e-6, 5e-2  # tolerances of a gradient in float32 and in bfloat16


def grey_images():
    """Return grey images. The last two, which form a smaller batch, are nearly black."""
    x = np.random.default_rng(0).uniform(size=(IMAGES, *SPEC.image_shape)).astype("float32")
    x[-2:] **= 8
    return x


def build_small(route, **options):
    """Build a route on `SPEC`. Two calls build the same model, noise included."""
    return route.build(SPEC, **{"weight": WEIGHT, "seed": SEED, **options})


def reference_of(route):
    """Return the function that says what a route's objective and gradient should be."""
    return route.reference or functools.partial(loss_and_gradients, SPEC)


def noise_of(model, n, compiled=False):
    """Return the next noise that the model's sampling would draw, (n, latent_dim)."""
    sampling = model.get_layer("encoder").get_layer("z")
    draw = tf.function(lambda: sampling.noise((n, SPEC.latent_dim)), jit_compile=compiled)
    return draw().numpy()


def cell(holds, shows, value=None):
    """Return a cell of the table of behaviours."""
    return {"holds": bool(holds), "shows": shows, "value": value}
