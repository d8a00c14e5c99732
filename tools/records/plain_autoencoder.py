"""Train chapter 1's autoencoders for several seeds, and judge what they draw.

For each seed and each number of latent variables, the record holds the loss on held-out
images, the size of the codes, and how classifiers of the training images judge the drawings.
One classifier may have a taste of its own, so there are three.

sure  the share of drawings to which it gives one class with more than 0.9

The codes to draw from come from four sources:

reconstructed  the codes of the held-out images
prior          N(0, 1)
scaled         N(0, s²), where s² is the mean square of the codes
fitted         the normal distribution with the mean and covariance of the codes

Chapter 1 trains the models of the first seed itself, and shows the record.
"""

from itertools import product

import vaebook  # isort: skip
import keras
import numpy as np
from keras import layers
from vaebook.data import load_images

SETTINGS = {
    "images": 8_192,
    "test_images": 1_000,
    "latent_dims": [2, 16],
    "batch_size": 32,
    "epochs": 1,
    "optimizer": "Adam",
    "learning_rate": 1e-3,
    "codes": 2_048,
    "draws": 1_000,
    "sure": 0.9,
    "judges": [0, 1, 2],
    "seed": [1, 2, 3, 4, 5],
}


def build_encoder(latent_dim):
    """Return chapter 1's encoder; the chapter checks that its own gives the same loss."""
    image = x = keras.Input((28, 28, 1))
    for filters, stride in [(32, 1), (64, 2), (128, 2)]:
        x = layers.Conv2D(filters, 3, strides=stride, padding="same")(x)
        x = layers.LeakyReLU()(x)
    return keras.Model(image, layers.Dense(latent_dim)(layers.Flatten()(x)), name="encoder")


def build_decoder(latent_dim):
    """Return chapter 1's decoder."""
    code = keras.Input((latent_dim,))
    x = layers.Reshape((7, 7, 128))(layers.Dense(7 * 7 * 128)(code))
    for filters, stride in [(64, 2), (32, 2)]:
        x = layers.Conv2DTranspose(filters, 3, strides=stride, padding="same")(x)
        x = layers.LeakyReLU()(x)
    x = layers.Conv2DTranspose(1, 3, padding="same", activation="sigmoid")(x)
    return keras.Model(code, x, name="decoder")


def train(latent_dim, seed, x):
    keras.utils.set_random_seed(seed)
    encoder, decoder = build_encoder(latent_dim), build_decoder(latent_dim)
    model = keras.Sequential([encoder, decoder])
    optimizer = keras.optimizers.Adam(SETTINGS["learning_rate"])
    model.compile(optimizer, loss="binary_crossentropy")
    settings = {name: SETTINGS[name] for name in ("batch_size", "epochs")}
    model.fit(x, x, **settings, verbose=0)
    return model


def train_judge(data, seed):
    """Return chapter 1's classifier."""
    keras.utils.set_random_seed(seed)
    judge = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(16, 4, strides=2, padding="same", activation="relu"),
            layers.Conv2D(32, 4, strides=2, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dense(10, activation="softmax"),
        ]
    )
    judge.compile("adam", loss="sparse_categorical_crossentropy")
    batch_size = SETTINGS["batch_size"]
    judge.fit(data.x_train, data.y_train, batch_size=batch_size, epochs=4, verbose=0)
    return judge


def judgement(judges, images):
    """Return what each judge says of these images."""
    said = [judge.predict(images, batch_size=500, verbose=0) for judge in judges]
    return [float(np.mean(each.max(axis=-1) > SETTINGS["sure"])) for each in said]


def sources(codes, held_out, seed):
    """Return the codes to draw from, by the name of their source."""
    rng = np.random.default_rng(seed)
    n = SETTINGS["draws"]
    noise = rng.normal(size=(n, codes.shape[1]))
    return {
        "reconstructed": held_out,
        "prior": noise,
        "scaled": np.sqrt(np.mean(codes**2)) * noise,
        "fitted": rng.multivariate_normal(codes.mean(axis=0), np.cov(codes.T), size=n),
    }


def judged(latent_dim, seed, data, judges):
    """Train one model; return its loss, the size of its codes, and the judges' shares."""
    model = train(latent_dim, seed, data.x_train)
    encoder, decoder = model.layers
    codes = encoder.predict(data.x_train[: SETTINGS["codes"]], verbose=0)
    held_out = encoder.predict(data.x_test, verbose=0)
    shares = {}
    for source, z in sources(codes, held_out, seed).items():
        images = decoder.predict(z.astype("float32"), batch_size=500, verbose=0)
        shares[source] = judgement(judges, images)
    return {
        "latent_dim": latent_dim,
        "seed": seed,
        "loss": model.evaluate(data.x_test, data.x_test, batch_size=500, verbose=0),
        "spread": float(codes.std(axis=0).mean()),
        "sure": shares,
    }


def measure(stored):
    """Yield the results so far, after each model."""
    data = load_images("mnist", SETTINGS["images"], SETTINGS["test_images"])
    judges = [train_judge(data, seed) for seed in SETTINGS["judges"]]
    if "runs" not in stored:
        stored["held_out_images"] = judgement(judges, data.x_test)
        stored["runs"] = []
    done = {(run["latent_dim"], run["seed"]) for run in stored["runs"]}
    for seed, latent_dim in product(SETTINGS["seed"], SETTINGS["latent_dims"]):
        if (latent_dim, seed) not in done:
            stored["runs"].append(judged(latent_dim, seed, data, judges))
            yield stored
