"""Train VAEs with normal pixels of variance 1, and see at which beta their variables collapse.

With a linear encoder and decoder the answer is a formula: a direction of the data is kept as
long as beta times the variance of a pixel is below its eigenvalue. A deep VAE is trained with
this beta from the start, and again with a beta that rises to it over the first half of the
epochs. Then the variance of the pixels is trained, too, with beta 1. All numbers are those of
the training images, whose eigenvalues the record holds. Chapter 14 shows the record.
"""

from itertools import product

import vaebook  # isort: skip
import numpy as np
from vaebook.data import load_images
from vaebook.training import WeightScheduler
from variational import PIXELS, VAE, compiled, described, rounded, train

SETTINGS = {
    "images": 10_000,
    "units": {"linear": [], "deep": [128], "deep, warmed up": [128]},
    "batch_size": 250,
    "epochs": 20,
    "warm_epochs": 10,
    "optimizer": "Adam, cosine decay to 0",
    "learning_rate": 3e-3,
    "latent_dim": 16,
    "variance": 1.0,
    "betas": [0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0],
    "seed": [1, 2, 3],
}


def spectrum(x):
    """Return the eigenvalues of the images' covariance, and those that Bernoulli pixels need.

    The second are those of the covariance in which each pixel is divided by the standard
    deviation of a Bernoulli variable with the pixel's mean.
    """
    flat = x.reshape(-1, PIXELS).astype("float64")
    mean = flat.mean(axis=0)
    covariance = np.cov(flat.T, bias=True)
    spread = np.sqrt(mean * (1 - mean))
    used = spread > 0
    scaled = covariance[np.ix_(used, used)] / np.outer(spread[used], spread[used])
    return [np.linalg.eigvalsh(matrix)[::-1] for matrix in (covariance, scaled)]


def rising(beta, epochs):
    return lambda epoch: beta * min(1, (epoch + 1) / epochs)


def measure(stored):
    """Yield the results so far, after each model: all of one seed, then all of the next."""
    runs = stored.setdefault("runs", [])
    done = {(run["seed"], run["kind"], run["beta"]) for run in runs}
    x = load_images("mnist", SETTINGS["images"]).x_train
    normal, bernoulli = spectrum(x)
    stored["eigenvalues"] = rounded(normal[:64], 6)
    stored["total_variance"] = float(normal.sum())
    stored["bernoulli_eigenvalues"] = rounded(bernoulli[:64], 6)
    epochs, batch_size = SETTINGS["epochs"], SETTINGS["batch_size"]

    def built(units, learned=False):
        model = VAE(SETTINGS["latent_dim"], units, "gaussian", learned)
        return compiled(model, SETTINGS["learning_rate"], epochs * len(x) // batch_size)

    models = {kind: built(units) for kind, units in SETTINGS["units"].items()}
    models |= {
        "linear, learned": built([], learned=True),
        "deep, learned": built([128], learned=True),
    }
    for seed in SETTINGS["seed"]:
        wanted = list(product(SETTINGS["units"], SETTINGS["betas"]))
        wanted += [("linear, learned", 1.0), ("deep, learned", 1.0)]
        for kind, beta in wanted:
            if (seed, kind, beta) in done:
                continue
            model = models[kind]
            warm = [WeightScheduler(model.beta, rising(beta, SETTINGS["warm_epochs"]))]
            train(model, x, beta, seed, epochs, batch_size, warm * kind.endswith("up"))
            result = {"seed": seed, "kind": kind, "beta": beta, "variance": model.variance}
            runs.append(result | described(model, x))
            yield stored
