"""Train chapter 2's museum: each exhibit's own networks, objective, optimizer and batch size.

The code is ours; the sizes and the reductions are those that each source publishes. All see
MNIST's training images three times. Each is judged on held-out images by the
importance-weighted bound, with its decoder's output as the probabilities of Bernoulli pixels:
on grey images by convention, on images made black and white by a threshold as a likelihood.
The code that an exhibit draws from is the one that is judged, so in the first edition of
Chollet's book, which draws with exp(log_var), log_var counts twice. Chapter 14 shows the
record.
"""

import vaebook  # isort: skip
import keras
import numpy as np
from beta_sweep import mosaic
from keras import layers, ops
from vaebook.data import load_images
from vaebook.evaluation import active_units, elbo, importance_weighted_bound
from vaebook.losses import beta_of_reductions
from vaebook.networks import NetworkSpec, build_decoder, build_encoder
from vaebook.training import shuffled_batches
from variational import rounded

SETTINGS = {
    "images": 60_000,
    "epochs": 3,
    "test_images": 10_000,
    "images_of_the_bound": 500,
    "samples": 64,
    "draws": 8,
    "drawn_with_seed": 14,
    "seed": [1, 2, 3],
}


def _conv(filters, strides=1, padding="same"):
    return layers.Conv2D(filters, 3, strides=strides, padding=padding, activation="relu")


def _up(filters, strides=2):
    return layers.Conv2DTranspose(
        filters, 3, strides=strides, padding="same", activation="relu"
    )


def _last(kind):
    return kind(1, 3, padding="same", activation="sigmoid")


def small_conv(last, padding="same", hidden=(16,), filters=64):
    """The layers of the Keras example, and those that are its relatives."""
    encoder = [_conv(32, 2, padding), _conv(64, 2, padding), layers.Flatten()]
    encoder += [layers.Dense(units, "relu") for units in hidden]
    first = [layers.Dense(49 * filters, "relu"), layers.Reshape((7, 7, filters))]
    return encoder, [*first, _up(64), _up(32), _last(last)]


def keras_example():
    return small_conv(layers.Conv2DTranspose)


def chollet_3():
    return small_conv(layers.Conv2D)


def tensorflow_tutorial():
    return small_conv(layers.Conv2DTranspose, "valid", (), 32)


def keras_guide():
    encoder = [layers.Flatten(), layers.Dense(64, "relu")]
    last = [layers.Dense(784, "sigmoid"), layers.Reshape((28, 28, 1))]
    return encoder, [layers.Dense(64, "relu"), *last]


def chollet_1():
    encoder = [_conv(32), _conv(64, 2), _conv(64), _conv(64), layers.Flatten()]
    decoder = [layers.Dense(14 * 14 * 64, "relu"), layers.Reshape((14, 14, 64))]
    return [*encoder, layers.Dense(32, "relu")], [*decoder, _up(32), _last(layers.Conv2D)]


def foster():
    encoder = [_conv(32, 2), _conv(64, 2), _conv(128, 2), layers.Flatten()]
    decoder = [layers.Dense(4 * 4 * 128), layers.Reshape((4, 4, 128)), _up(128), _up(64)]
    return encoder, [*decoder, _up(32), _last(layers.Conv2D)]


def cross(x, p):
    return ops.binary_crossentropy(x, p)


def squared(x, p):
    return ops.square(x - p)


def computed_kl(z, mu, log_var):
    return 0.5 * (ops.square(mu) + ops.exp(log_var) - 1 - log_var)


def drawn_kl(z, mu, log_var):
    return 0.5 * (ops.square(z) - ops.square(z - mu) * ops.exp(-log_var) - log_var)


MEANS = {"pixels": "mean", "latents": "mean"}
ADAM = keras.optimizers.Adam
EXHIBITS = {
    "Keras example": {"networks": keras_example, "loss": {}, "optimizer": lambda: ADAM(1e-3)},
    "Keras guide": {
        "networks": keras_guide,
        "loss": {**MEANS, "error": "squared"},
        "latent_dim": 32,
        "optimizer": lambda: ADAM(1e-3),
        "batch_size": 64,
    },
    "Chollet, 1st edition": {
        "networks": chollet_1,
        "loss": {**MEANS, "kl_factor": 5e-4},
        "optimizer": lambda: keras.optimizers.RMSprop(1e-3),
        "batch_size": 16,
        "spread": 1.0,
    },
    "Chollet, 3rd edition": {
        "networks": chollet_3,
        "loss": {"latents": "mean"},
        "optimizer": lambda: ADAM(1e-3),
    },
    "Foster, 2nd edition": {
        "networks": foster,
        "loss": {"pixels": "mean", "reconstruction_factor": 500},
        "optimizer": lambda: ADAM(5e-4),
        "batch_size": 100,
        "size": 32,
    },
    "TensorFlow tutorial": {
        "networks": tensorflow_tutorial,
        "loss": {},
        "optimizer": lambda: ADAM(1e-4),
        "batch_size": 32,
        "kl": drawn_kl,
        "binary": True,
    },
    "part VI": {
        "networks": None,
        "loss": {**MEANS, "kl_factor": 1e-3},
        "optimizer": lambda: ADAM(5e-4),
    },
}


def beta_of(exhibit):
    size = exhibit.get("size", 28)
    latent_dim = exhibit.get("latent_dim", 2)
    return beta_of_reductions((size, size, 1), latent_dim, **exhibit["loss"])


class Exhibit(keras.Model):
    """One exhibit's networks and objective; spread is 1 if z is drawn with exp(log_var)."""

    def __init__(self, exhibit, seed):
        super().__init__()
        size, self.latent_dim = exhibit.get("size", 28), exhibit.get("latent_dim", 2)
        self.spread, self.kl = exhibit.get("spread", 0.5), exhibit.get("kl", computed_kl)
        self.reductions = exhibit["loss"]
        if exhibit["networks"] is None:
            encoder, self.decoder = build_encoder(NetworkSpec()), build_decoder(NetworkSpec())
            self.encoder = keras.Model(encoder.input, encoder.output[1:])
        else:
            encoder, decoder = exhibit["networks"]()
            image = features = keras.Input((size, size, 1))
            for layer in encoder:
                features = layer(features)
            heads = [layers.Dense(self.latent_dim)(features) for _ in range(2)]
            self.encoder = keras.Model(image, heads)
            self.decoder = keras.Sequential([keras.Input((self.latent_dim,)), *decoder])
        self.noise = keras.random.SeedGenerator(seed)
        self.build((None, size, size, 1))

    def call(self, x):
        return self.decoder(self.encoder(x)[0])

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        mu, log_var = self.encoder(x)
        epsilon = keras.random.normal(ops.shape(mu), seed=self.noise)
        z = mu + ops.exp(self.spread * log_var) * epsilon
        return self.objective(x, self.decoder(z), self.kl(z, mu, log_var))

    def objective(self, x, p, kl):
        """Return the loss with the published reductions; kl has the ½ already."""
        over = {"sum": ops.sum, "mean": ops.mean}
        how = self.reductions
        error = squared if how.get("error") == "squared" else cross
        pixels = over[how.get("pixels", "sum")](error(x, p), axis=(1, 2, 3))
        latents = over[how.get("latents", "sum")](kl, axis=1)
        factor = how.get("reconstruction_factor", 1.0)
        return ops.mean(factor * pixels + 2 * how.get("kl_factor", 0.5) * latents)


def framed(x, size):
    """Return images with a black frame, if an exhibit pads them."""
    edge = (size - 28) // 2
    return np.pad(x, ((0, 0), (edge, edge), (edge, edge), (0, 0)))


def trained(exhibit, seed, x):
    keras.utils.set_random_seed(seed)
    model = Exhibit(exhibit, seed)
    x = framed(x, exhibit.get("size", 28))
    x = (x > 0.5).astype("float32") if exhibit.get("binary") else x
    model.compile(exhibit["optimizer"](), steps_per_execution=10)
    batches = shuffled_batches(x, None, exhibit.get("batch_size", 128), seed)
    model.fit(batches, shuffle=False, epochs=SETTINGS["epochs"], verbose=0)
    return model


def judged(model, exhibit, x):
    """Return the KL, the active units, both bounds and some draws of a trained exhibit."""
    size = exhibit.get("size", 28)
    inside = slice((size - 28) // 2, (size + 28) // 2)

    def encoder(images):
        given = framed(images, size)
        mu, log_var = model.encoder.predict(given, batch_size=500, verbose=0)
        return mu, 2 * model.spread * log_var  # the log-variance of what is drawn

    def decoder(z):
        # The pixels are independent given z, so leaving the frame out is exact.
        return model.decoder.predict(z, batch_size=500, verbose=0)[:, inside, inside]

    found = {}
    for kind in ("grey", "binary"):
        images = x if kind == "grey" else (x > 0.5).astype("float32")
        bound = importance_weighted_bound(
            encoder, decoder, images[: SETTINGS["images_of_the_bound"]], SETTINGS["samples"]
        ).bound
        parts = elbo(encoder, decoder, images)
        error = float(bound.std(ddof=1) / np.sqrt(len(bound)))
        found[kind] = {
            "bound": float(bound.mean()),
            "standard_error": error,
            "elbo": float(parts.elbo.mean()),
            "kl": float(parts.kl.mean()),
        }
    mu, log_var = encoder(x)
    rng = np.random.default_rng(SETTINGS["drawn_with_seed"])
    drawn = mu + np.exp(0.5 * log_var) * rng.normal(size=mu.shape).astype("float32")
    squares = np.mean((x - decoder(drawn)) ** 2)
    z = np.random.default_rng(SETTINGS["drawn_with_seed"]).normal(size=(8, model.latent_dim))
    drawn = decoder(z.astype("float32"))
    return found | {
        "squared_error": float(squares),
        "variances": rounded(active_units(mu).variances),
        "kls": rounded(0.5 * np.mean(mu**2 + np.expm1(log_var) - log_var, axis=0)),
        "spread_of_the_draws": float(drawn.std(axis=0).mean()),
        "drawn": drawn,
    }


def measure(stored):
    """Yield the results so far, after each model: all of one seed, then all of the next."""
    runs = stored.setdefault("runs", [])
    done = {(run["seed"], run["exhibit"]) for run in runs}
    data = load_images("mnist", SETTINGS["images"], SETTINGS["test_images"])
    mean = data.x_train.mean(axis=0)
    stored["mean_image"] = {
        "squared_error": float(np.mean((data.x_test - mean) ** 2)),
        "image": mosaic(mean[np.newaxis], 1),
    }
    for seed in SETTINGS["seed"]:
        for name, exhibit in EXHIBITS.items():
            if (seed, name) in done:
                continue
            result = judged(trained(exhibit, seed, data.x_train), exhibit, data.x_test)
            drawn = result.pop("drawn")
            if seed == SETTINGS["seed"][0]:
                result["draws"] = mosaic(drawn, len(drawn))
            about = {"seed": seed, "exhibit": name, "beta": beta_of(exhibit)}
            runs.append(about | result)
            yield stored
