"""Train a smaller copy of chapter 8's model with the KL term and without it.

Each pair has its own seed, and its own block of the training images, which both models see in
the same order. The record holds what is measured on held-out images: reconstruction and KL
divergence in nats per image, the mean standard deviation of the centres, and that of the
clouds. Chapters 8 and 9 show the record.
"""

from itertools import product

import vaebook  # isort: skip
import keras
import numpy as np
from vaebook.data import load_images
from vaebook.losses import GaussianKL, beta_from_weight
from vaebook.networks import NetworkSpec
from vaebook.routes import PART_VI_WEIGHT, ROUTES
from vaebook.training import shuffled_batches

SPEC = NetworkSpec(encoder_filters=(8, 16, 16), decoder_filters=(16, 8, 1))
SETTINGS = {
    "route": "pass_through",
    "encoder_filters": SPEC.encoder_filters,
    "decoder_filters": SPEC.decoder_filters,
    "images_of_each_seed": 8_192,
    "test_images": 1_000,
    "test_images_drawn_with_seed": 8,
    "batch_size": 128,
    "epochs": 4,
    "latent_dim": SPEC.latent_dim,
    "weights": [PART_VI_WEIGHT, 0.0],
    "beta": beta_from_weight(PART_VI_WEIGHT, SPEC.image_shape, SPEC.latent_dim),
    "optimizer": "Adam",
    "learning_rate": 1e-3,
    "seed": [1, 2, 3, 4, 5],
}
ROUTE = ROUTES[SETTINGS["route"]]


def train(weight, seed, x):
    keras.utils.set_random_seed(seed)
    optimizer = keras.optimizers.Adam(SETTINGS["learning_rate"])
    model = ROUTE.build(SPEC, weight=weight, optimizer=optimizer, seed=seed)
    batches = shuffled_batches(x, ROUTE.targets(x), SETTINGS["batch_size"], seed)
    model.fit(batches, shuffle=False, epochs=SETTINGS["epochs"], verbose=0)
    return model


def describe(model, x):
    """Return what a model makes of these images."""
    logs = model.evaluate(x, ROUTE.targets(x), batch_size=500, verbose=0, return_dict=True)
    _, mu, log_var = model.get_layer("encoder").predict(x, verbose=0)
    kl = GaussianKL().call(None, np.stack([mu, log_var], axis=1))
    return {
        "reconstruction": float(np.prod(SPEC.image_shape)) * logs["reconstruction_loss"],
        "kl": float(np.mean(kl)),
        "std_of_the_centres": float(mu.std(axis=0).mean()),
        "std_of_a_cloud": float(np.exp(log_var / 2).mean()),
    }


def measure(stored):
    """Yield the results so far, after each model."""
    stored.setdefault("runs", [])
    data = load_images("mnist")
    n = SETTINGS["images_of_each_seed"]
    rng = np.random.default_rng(SETTINGS["test_images_drawn_with_seed"])
    chosen = rng.choice(len(data.x_test), SETTINGS["test_images"], replace=False)
    held_out = data.x_test[chosen]
    done = {(run["weight"], run["seed"]) for run in stored["runs"]}
    for seed, weight in product(SETTINGS["seed"], SETTINGS["weights"]):
        if (weight, seed) not in done:
            block = data.x_train[n * (seed - 1) : n * seed]
            model = train(weight, seed, block)
            stored["runs"].append({"weight": weight, "seed": seed, **describe(model, held_out)})
            yield stored
