"""Part VI's training under Keras 2, written anew, for the record of what it costs.

The network, the four tensors that leave the decoder, the three losses, the targets that no
loss reads and the printer are part VI's. `cost_ladder.py` runs this file in an interpreter
that has tf_keras, with a file of images. It reads one number of images a line, trains on that
many for an epoch, and answers with the seconds that it took, as JSON.

This file imports nothing from the book, which that interpreter may lack.
"""

import json
import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
import tf_keras as keras
from tf_keras import layers

LATENT_DIM, WEIGHT, LEARNING_RATE, BATCH, SEED = 2, 1e-3, 5e-4, 128, 1


def build_encoder():
    image = x = keras.Input((28, 28, 1))
    for filters, stride in ((32, 1), (64, 2), (128, 2)):
        x = layers.Conv2D(filters, 3, strides=stride, padding="same")(x)
        x = layers.LeakyReLU()(x)
    x = layers.Flatten()(x)
    mu, log_var = (layers.Dense(LATENT_DIM, name=name)(x) for name in ("mu", "log_var"))

    def draw(heads):
        noise = tf.random.normal(tf.shape(heads[0]))
        return heads[0] + tf.exp(heads[1] / 2) * noise

    return keras.Model(image, [layers.Lambda(draw)([mu, log_var]), mu, log_var])


def build_decoder():
    z, mu, log_var = (keras.Input((LATENT_DIM,)) for _ in range(3))
    x = layers.Reshape((7, 7, 128))(layers.Dense(7 * 7 * 128)(z))
    for filters, stride in ((64, 2), (32, 2)):
        x = layers.Conv2DTranspose(filters, 3, strides=stride, padding="same")(x)
        x = layers.LeakyReLU()(x)
    x = layers.Conv2DTranspose(1, 3, padding="same")(x)
    outputs = [
        layers.Activation("sigmoid")(x),
        *(layers.Activation("linear")(each) for each in (mu, log_var)),
    ]
    return keras.Model([z, mu, log_var], outputs)


@tf.function
def mu_loss(target, mu):
    return WEIGHT * tf.reduce_mean(tf.square(mu))


@tf.function
def log_var_loss(target, log_var):
    return WEIGHT * tf.reduce_mean(tf.exp(log_var) - 1 - log_var)


class Printer(keras.callbacks.Callback):
    """Print a line for each epoch, to stderr: stdout is for the answers."""

    def on_epoch_end(self, epoch, logs=None):
        print(f"epoch {epoch + 1} loss {logs['loss']:.4f}", file=sys.stderr)


def train(x):
    """Return a function that trains for an epoch on the first n images."""
    keras.utils.set_random_seed(SEED)
    image = keras.Input((28, 28, 1))
    outputs = build_decoder()(build_encoder()(image))
    names = ("main", "mu", "log_var")
    named = {
        name: layers.Layer(name=name)(each) for name, each in zip(names, outputs, strict=True)
    }
    model = keras.Model(image, named)
    model.compile(
        keras.optimizers.Adam(LEARNING_RATE),
        loss={"main": "binary_crossentropy", "mu": mu_loss, "log_var": log_var_loss},
    )

    def epoch(n):
        y = {
            "main": x[:n],
            "mu": tf.convert_to_tensor(np.zeros((n, LATENT_DIM), "float32")),
            "log_var": tf.convert_to_tensor(np.ones((n, LATENT_DIM), "float32")),
        }
        return model.fit(x[:n], y, batch_size=BATCH, verbose=0, callbacks=[Printer()]).history

    return epoch


def main():
    epoch = train(np.load(sys.argv[1]))
    for line in sys.stdin:
        cpu, wall = time.process_time(), time.perf_counter()
        loss = epoch(int(line))["loss"][-1]
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        print(json.dumps({"cpu": cpu, "wall": wall, "loss": loss}), flush=True)


if __name__ == "__main__":
    main()
