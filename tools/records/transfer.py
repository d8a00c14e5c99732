"""Train a classifier of few labels on a VAE's encoder, frozen or not, or from scratch.

Each seed trains a VAE of its own on unlabelled images, draws its own labelled ones, and starts
its own classifiers. The record holds their accuracy on test images. Chapter 17 shows it.
"""

import vaebook  # isort: skip
import keras
import numpy as np
from keras import layers
from vaebook.data import load_images
from vaebook.networks import NetworkSpec, build_encoder
from vaebook.routes import ROUTES

SPEC = NetworkSpec(
    latent_dim=8,
    encoder_filters=(8, 16),
    encoder_kernels=(3, 3),
    encoder_strides=(2, 2),
    decoder_filters=(8, 1),
    decoder_kernels=(3, 3),
    decoder_strides=(2, 2),
    batch_norm=True,
)
WAYS = ("from scratch", "frozen", "trained on", "trained on, batch norm frozen")
SETTINGS = {
    "dataset": "mnist",
    "images": 4_000,
    "labelled": 100,
    "tested": 1_000,
    "latent_dim": SPEC.latent_dim,
    "weight": 1e-3,
    "vae": "5 epochs, batches of 100, Adam(3e-3)",
    "classifier": "40 epochs, batches of 20, Adam(3e-3)",
    "seed": [0, 1, 2, 3, 4],
}


def pretrained(seed, x):
    keras.utils.set_random_seed(seed)
    route = ROUTES["direct_outputs"]
    vae = route.build(SPEC, SETTINGS["weight"], keras.optimizers.Adam(3e-3), seed=seed)
    vae.fit(x, route.targets(x), batch_size=100, epochs=5, verbose=0)
    return vae.get_layer("encoder").get_weights()


def accuracy(way, seed, weights, data):
    keras.utils.set_random_seed(seed)
    encoder = build_encoder(SPEC, seed=100 + seed)
    if way != WAYS[0]:
        encoder.set_weights(weights)
    encoder.trainable = way != "frozen"
    if way.endswith("batch norm frozen"):
        for layer in encoder.layers:
            if isinstance(layer, layers.BatchNormalization):
                layer.trainable = False
    image = keras.Input(SPEC.image_shape)
    # The codes alone: with z and log_var as well, some weights would have no gradient.
    mu = keras.Model(encoder.input, encoder.outputs[1])(image)
    model = keras.Model(image, layers.Dense(10, "softmax")(mu))
    loss = "sparse_categorical_crossentropy"
    model.compile(keras.optimizers.Adam(3e-3), loss=loss, metrics=["accuracy"])
    rows = np.random.default_rng(seed).permutation(len(data.x_train))[: SETTINGS["labelled"]]
    model.fit(data.x_train[rows], data.y_train[rows], batch_size=20, epochs=40, verbose=0)
    return model.evaluate(data.x_test, data.y_test, verbose=0, return_dict=True)["accuracy"]


def measure(stored):
    data = load_images(
        SETTINGS["dataset"], n_train=SETTINGS["images"], n_test=SETTINGS["tested"]
    )
    runs = stored.get("runs", [])
    for seed in SETTINGS["seed"][len(runs) :]:
        weights = pretrained(seed, data.x_train)
        runs.append({way: accuracy(way, seed, weights, data) for way in WAYS})
        print(seed, runs[-1], flush=True)
        yield {"runs": runs}
