"""Train small VAEs over beta, the number of latent variables, and seeds.

Each run keeps what beta trades: the rate, which is the mean KL, and the distortion, which is
the mean of -log p(x|z), both in nats per held-out image (Bernoulli convention). It keeps each
latent variable's variance of mu and its mean KL, too. The models of one seed also leave images
behind: draws from the prior, always of the same z, and, with two latent variables, the
decoded plane. Chapter 14 shows the record.
"""

import base64
import io
from itertools import product

import vaebook  # isort: skip
import numpy as np
from PIL import Image
from vaebook.data import load_images
from variational import VAE, compiled, described, train

SETTINGS = {
    "images": 10_000,
    "test_images": 2_000,
    "draws_of_each_test_image": 4,
    "units": [128],
    "batch_size": 250,
    "epochs": 20,
    "optimizer": "Adam, cosine decay to 0",
    "learning_rate": 3e-3,
    "latent_dims": [2, 8, 32],
    "betas": [0.001, 0.1, 0.5, 1.0, 3.0, 10.0, 20.0, 40.0],
    "seed": [1, 2, 3, 4, 5],
    "pictures": {"seed": 1, "drawn_with_seed": 14, "edge": 7, "reach": 2.0},
}


def grid_of(edge, reach):
    """Return the points of a square grid, row by row, the uppermost row first."""
    ticks = np.linspace(-reach, reach, edge)
    across, up = np.meshgrid(ticks, ticks[::-1])
    return np.stack([across.ravel(), up.ravel()], axis=1).astype("float32")


def mosaic(images, edge):
    """Return images in rows, as a grey PNG of 16 levels, base64."""
    tiles = images.reshape(-1, edge, 28, 28).transpose(0, 2, 1, 3).reshape(-1, edge * 28)
    file = io.BytesIO()
    levels = (np.clip(tiles, 0, 1) * 15).round().astype("uint8") * 17
    Image.fromarray(levels).save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def pictures(model):
    """Return draws from the prior and, with two latent variables, the decoded plane."""
    about = SETTINGS["pictures"]
    edge = about["edge"]
    rng = np.random.default_rng(about["drawn_with_seed"])
    count = edge * edge if model.latent_dim == 2 else edge
    z = rng.normal(size=(count, model.latent_dim)).astype("float32")
    made = {"draws": mosaic(np.asarray(model.image(z)), edge)}
    if model.latent_dim == 2:
        plane = model.image(grid_of(edge, about["reach"]))
        made["plane"] = mosaic(np.asarray(plane), edge)
    return made


def measure(stored):
    """Yield the results so far, after each model: all of one seed, then all of the next."""
    runs = stored.setdefault("runs", [])
    done = {(run["seed"], run["latent_dim"], run["beta"]) for run in runs}
    data = load_images("mnist", SETTINGS["images"], SETTINGS["test_images"])
    epochs, batch_size = SETTINGS["epochs"], SETTINGS["batch_size"]
    steps = epochs * len(data.x_train) // batch_size
    models = {
        latent_dim: compiled(
            VAE(latent_dim, SETTINGS["units"]), SETTINGS["learning_rate"], steps
        )
        for latent_dim in SETTINGS["latent_dims"]
    }
    for run in product(SETTINGS["seed"], SETTINGS["latent_dims"], SETTINGS["betas"]):
        if run in done:
            continue
        seed, latent_dim, beta = run
        model = models[latent_dim]
        train(model, data.x_train, beta, seed, epochs, batch_size)
        result = {"seed": seed, "latent_dim": latent_dim, "beta": beta}
        result |= described(model, data.x_test, SETTINGS["draws_of_each_test_image"])
        if seed == SETTINGS["pictures"]["seed"]:
            result["pictures"] = pictures(model)
        runs.append(result)
        yield stored
