"""Train two latent variables on binary MNIST, and bound the test images' log-likelihood.

The images are made black and white as in TensorFlow's tutorial on convolutional VAEs: a pixel
is 1 if it is above one half. Beside the bounds, the record holds the log-likelihood itself,
which a grid can compute for two latent variables. Chapter 2 shows the record.
"""

import vaebook  # isort: skip
import keras
import numpy as np
from vaebook.data import load_images
from vaebook.evaluation import active_units, elbo, importance_weighted_bound
from vaebook.grid import log_likelihood_on_grid
from vaebook.losses import weight_from_beta
from vaebook.networks import NetworkSpec
from vaebook.routes import ROUTES
from vaebook.training import EpochLine

SPEC = NetworkSpec()
SEED = 2
SETTINGS = {
    "route": "pass_through",
    "images": 60_000,
    "test_images": 10_000,
    "threshold": 0.5,
    "latent_dim": SPEC.latent_dim,
    "beta": 1.0,
    "batch_size": 128,
    "epochs": 10,
    "optimizer": "Adam",
    "learning_rate": 5e-4,
    "seed": SEED,
}
SAMPLES = (1, 10, 100)
GRIDS = (201, 401)  # two, so that their difference tells how good the grid is
GRID_IMAGES = 2_000


def binary(images):
    return (images > SETTINGS["threshold"]).astype("float32")


def measure():
    data = load_images("mnist")
    x, x_test = binary(data.x_train), binary(data.x_test)
    keras.utils.set_random_seed(SEED)
    route = ROUTES[SETTINGS["route"]]
    model = route.build(
        SPEC,
        weight=weight_from_beta(SETTINGS["beta"], SPEC.image_shape, SPEC.latent_dim),
        optimizer=keras.optimizers.Adam(SETTINGS["learning_rate"]),
        seed=SEED,
    )
    model.fit(
        x,
        route.targets(x),
        batch_size=SETTINGS["batch_size"],
        epochs=SETTINGS["epochs"],
        verbose=0,
        callbacks=[EpochLine()],
    )
    encoder, handing_on = model.get_layer("encoder"), model.get_layer("decoder")
    decoder = keras.Model(handing_on.inputs[0], handing_on.outputs[0])

    _, mu, _ = encoder.predict(x_test, verbose=0)
    one = elbo(encoder, decoder, x_test, samples=1, seed=SEED)
    record = {
        "active_units": active_units(mu).count,
        "elbo": {
            "images": len(x_test),
            "samples": one.samples,
            "elbo": one.elbo.mean(),
            "reconstruction": one.reconstruction.mean(),
            "kl": one.kl.mean(),
            "standard_error": one.elbo.std() / np.sqrt(len(x_test)),
        },
        "bounds": [],
        "grids": [],
    }
    print(record["elbo"], flush=True)
    few = x_test[:GRID_IMAGES]
    for steps in GRIDS:
        exact = log_likelihood_on_grid(decoder, few, steps=steps, reach=5).log_likelihood
        record["grids"].append(
            {"steps": steps, "images": len(few), "log_likelihood": exact.mean()}
        )
        print(record["grids"][-1], flush=True)
    for samples in SAMPLES:
        done = importance_weighted_bound(encoder, decoder, x_test, samples, seed=SEED)
        record["bounds"].append(
            {
                "samples": samples,
                "images": len(x_test),
                "bound": done.bound.mean(),
                "images_of_the_grid": len(few),
                "bound_of_these": done.bound[: len(few)].mean(),
            }
        )
        print(record["bounds"][-1], flush=True)
    return record
