"""Train chapter 0's VAE, and judge what it and a plain autoencoder draw.

The model that comes with the package is trained first, on all images and for longer than a
chapter can. It is saved as `recorded/first_vae.keras`, and the first images that it draws as
`book/_static/first-digits.webp`. Then, for several seeds and numbers of latent variables, a
VAE and an autoencoder are trained alike. A classifier that never saw the images drawn from
them judges these in two ways:

sure      the share of images to which it gives one class with more than 0.9
distance  the Fréchet distance between its features of the drawn and of held-out images: the
          squared distance of the means plus that of the covariances' roots

No draw is left out. Chapters 0 and 1 show the record.
"""

import json
import zipfile
from itertools import product
from pathlib import Path

import vaebook  # isort: skip
import keras
import numpy as np
from keras import layers
from PIL import Image
from vaebook.data import load_images
from vaebook.layers import Sampling
from vaebook.losses import ImageCrossentropy, LogVarLoss, MuLoss, weight_from_beta
from vaebook.records import RECORDS
from vaebook.targets import prior_targets
from vaebook.training import shuffled_batches

SHAPE = (28, 28, 1)
UNITS = (160, 80)
SETTINGS = {
    "images": 60_000,
    "units": UNITS,
    "beta": 1.0,
    "batch_size": 128,
    "optimizer": "Adam, cosine decay to 0",
    "learning_rate": 2e-3,
    "shipped": {"latent_dim": 6, "epochs": 30, "seed": 1},
    "compared": {"latent_dims": [2, 6], "epochs": 10},
    "seed": [1, 2, 3],
    "draws": 2_000,
    "sure": 0.9,
}
MODEL = Path(str(RECORDS), "first_vae.keras")
PICTURE = Path(__file__).parents[2] / "book" / "_static" / "first-digits.webp"
NEWER_SETTINGS = ("input_axes", "output_axes", "quantization_config")
ROWS, COLUMNS, SCALE = 6, 8, 5


def build_decoder(latent_dim):
    """Return chapter 0's decoder; the chapter checks that its own is the same."""
    code = x = keras.Input((latent_dim,))
    for units in UNITS[::-1]:
        x = layers.Dense(units, activation="relu")(x)
    x = layers.Dense(28 * 28, activation="sigmoid")(x)
    return keras.Model(code, layers.Reshape(SHAPE)(x), name="decoder")


def build(kind, latent_dim, seed):
    """Return an uncompiled model and its losses: a "vae", or an "autoencoder" without noise."""
    image = keras.Input(SHAPE)
    x = layers.Flatten()(image)
    for units in UNITS:
        x = layers.Dense(units, activation="relu")(x)
    mu = layers.Dense(latent_dim, name="mu")(x)
    decoder = build_decoder(latent_dim)
    if kind == "autoencoder":
        model = keras.Model(image, {"reconstruction": decoder(mu), "mu": mu})
        return model, {"reconstruction": ImageCrossentropy()}
    log_var = layers.Dense(latent_dim, name="log_var")(x)
    z = Sampling(seed)([mu, log_var])
    model = keras.Model(image, {"reconstruction": decoder(z), "mu": mu, "log_var": log_var})
    weight = weight_from_beta(SETTINGS["beta"], SHAPE, latent_dim)
    return model, {
        "reconstruction": ImageCrossentropy(),
        "mu": MuLoss(weight),
        "log_var": LogVarLoss(weight),
    }


def train(kind, latent_dim, epochs, seed, x):
    """Return a trained model and the parts of its last loss, in nats per image."""
    keras.utils.set_random_seed(seed)
    model, losses = build(kind, latent_dim, seed)
    targets = {"reconstruction": x, **(prior_targets(len(x)) if kind == "vae" else {})}
    batches = shuffled_batches(x, targets, SETTINGS["batch_size"], seed)
    rate = keras.optimizers.schedules.CosineDecay(
        SETTINGS["learning_rate"], epochs * len(batches)
    )
    model.compile(keras.optimizers.Adam(rate), loss=losses, steps_per_execution=10)
    logs = model.fit(batches, shuffle=False, epochs=epochs, verbose=0).history
    pixels = float(np.prod(SHAPE))
    reconstruction = logs.get("reconstruction_loss", logs["loss"])[-1]
    return model, {
        "reconstruction": reconstruction * pixels,
        "kl": (logs["loss"][-1] - reconstruction) * pixels / SETTINGS["beta"],
    }


class Judge:
    """A classifier of the training images, and what it makes of others."""

    def __init__(self, data, seed=0):
        keras.utils.set_random_seed(seed)
        self.features = keras.Sequential(
            [
                layers.Conv2D(32, 4, strides=2, padding="same", activation="relu"),
                layers.Conv2D(64, 4, strides=2, padding="same", activation="relu"),
                layers.Flatten(),
                layers.Dense(64, activation="relu"),
            ]
        )
        self.head = keras.Sequential([layers.Dropout(0.3), layers.Dense(10, "softmax")])
        model = keras.Sequential([keras.Input(SHAPE), self.features, self.head])
        model.compile("adam", "sparse_categorical_crossentropy", steps_per_execution=10)
        batches = shuffled_batches(data.x_train, data.y_train, 128, seed)
        model.fit(batches, shuffle=False, epochs=4, verbose=0)
        classes = np.argmax(model.predict(data.x_test, batch_size=500, verbose=0), axis=-1)
        self.accuracy = float(np.mean(classes == data.y_test))
        self.held_out = self.features.predict(data.x_test, batch_size=500, verbose=0)

    def __call__(self, images):
        """Return the share of images of which it is sure, and their distance."""
        features = self.features.predict(images, batch_size=500, verbose=0)
        most = np.max(self.head.predict(features, batch_size=500, verbose=0), axis=-1)
        return {
            "sure": float(np.mean(most > SETTINGS["sure"])),
            "distance": frechet_distance(features, self.held_out),
        }


def frechet_distance(features, others):
    """|m - n|² + tr(C + D - 2 √(C D)) for the means m, n and covariances C, D."""
    apart = features.mean(axis=0) - others.mean(axis=0)
    first, second = np.cov(features.T), np.cov(others.T)
    # C D has the eigenvalues of √C D √C, which are ≥ 0 except for rounding errors.
    shared = np.sqrt(np.clip(np.linalg.eigvals(first @ second).real, 0, None)).sum()
    return float(apart @ apart + np.trace(first) + np.trace(second) - 2 * shared)


def codes_like(mu, rng):
    """Draw codes from the normal distribution that has the mean and covariance of mu."""
    n = SETTINGS["draws"]
    return rng.multivariate_normal(mu.mean(axis=0), np.cov(mu.T), size=n)


def judged(kind, latent_dim, seed, data, judge):
    """Train one model, and judge what it draws from the prior and from a fitted normal."""
    epochs = SETTINGS["compared"]["epochs"]
    model, loss = train(kind, latent_dim, epochs, seed, data.x_train)
    mu = model.predict(data.x_train, batch_size=500, verbose=0)["mu"]
    rng = np.random.default_rng(seed)
    codes = {
        "prior": rng.normal(size=(SETTINGS["draws"], latent_dim)),
        "fitted": codes_like(mu, rng),
    }
    return {
        "kind": kind,
        "latent_dim": latent_dim,
        "seed": seed,
        **loss,
        "spread": float(np.sqrt(np.trace(np.cov(mu.T)) / latent_dim)),
        "draws": {name: judge(draw(model, z)) for name, z in codes.items()},
    }


def draw(model, z):
    """Return the images that a model's decoder makes of codes."""
    decoder = model.get_layer("decoder")
    return decoder.predict(z.astype("float32"), batch_size=500, verbose=0)


def ship(data, judge):
    """Train the model that comes with the package, save it and its picture."""
    shipped = SETTINGS["shipped"]
    trained, loss = train("vae", **shipped, x=data.x_train)
    # Without its optimizer the file is a third as large.
    model = keras.Model(trained.input, trained.output, name="vae")
    model.save(MODEL)
    leave_out_newer_settings(MODEL)
    z = np.random.default_rng(shipped["seed"]).normal(size=(2_000, shipped["latent_dim"]))
    images = draw(model, z)
    save_picture(images[: ROWS * COLUMNS])
    return {**loss, "bytes": MODEL.stat().st_size, "draws": judge(images)}


def leave_out_newer_settings(path):
    """Take out of a saved model the unused settings that Keras 3.13 refuses to read."""
    with zipfile.ZipFile(path) as archive:
        files = {entry: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for entry, content in files.items():
            if entry.filename == "config.json":
                content = json.dumps(without_newer_settings(json.loads(content))).encode()
            archive.writestr(entry, content)


def without_newer_settings(config):
    """Return a configuration without the entries of NEWER_SETTINGS that are None."""
    if isinstance(config, list):
        return [without_newer_settings(part) for part in config]
    if not isinstance(config, dict):
        return config
    return {
        name: without_newer_settings(value)
        for name, value in config.items()
        if not (name in NEWER_SETTINGS and value is None)
    }


def save_picture(images):
    """Save images in rows, white on black, at twice the size at which a page shows them."""
    tiles = images.reshape(ROWS, COLUMNS, 28, 28).transpose(0, 2, 1, 3)
    picture = Image.fromarray(np.uint8(255 * tiles.reshape(ROWS * 28, COLUMNS * 28)))
    size = (COLUMNS * 28 * SCALE, ROWS * 28 * SCALE)
    picture = picture.resize(size, Image.Resampling.BICUBIC)
    picture.save(PICTURE, quality=88, method=6)


def measure(stored):
    """Yield the results so far, after each model."""
    data = load_images("mnist", n_train=SETTINGS["images"])
    judge = Judge(data)
    if "shipped" not in stored:
        half = len(data.x_test) // 2
        stored["judge"] = {
            "accuracy": judge.accuracy,
            "held_out": judge(data.x_test),
            "training": judge(data.x_train[: 2 * half]),
            "mean_image": judge(np.repeat(data.x_train.mean(axis=0)[np.newaxis], 9, axis=0)),
        }
        stored["shipped"] = ship(data, judge)
        stored["runs"] = []
        yield stored
    done = {(run["kind"], run["latent_dim"], run["seed"]) for run in stored["runs"]}
    for run in product(
        SETTINGS["seed"], SETTINGS["compared"]["latent_dims"], ("autoencoder", "vae")
    ):
        seed, latent_dim, kind = run
        if (kind, latent_dim, seed) not in done:
            stored["runs"].append(judged(kind, latent_dim, seed, data, judge))
            yield stored
