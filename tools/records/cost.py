"""Measure what a training step costs on each route, beside a plain autoencoder.

The network is the article's, with batches of 128. All kinds of training take turns within one
run, round by round, in an order that changes, so a machine that slows down slows all of them.
The measure is a round's processor seconds for one kind, divided by those for the plain
autoencoder in the same round. The record keeps the median of these ratios and their
quartiles. Chapter 12 shows it.
"""

import random
import time

import vaebook  # isort: skip
import keras
import numpy as np
import tensorflow as tf
from vaebook.losses import ImageCrossentropy, KLLoss
from vaebook.networks import NetworkSpec, build_decoder, build_encoder
from vaebook.routes import PART_VI_WEIGHT, ROUTES

SPEC = NetworkSpec()
BATCH, STEPS, ROUNDS, SEED = 128, 4, 45, 12
SETTINGS = {
    "batch_size": BATCH,
    "steps_per_round": STEPS,
    "rounds": ROUNDS,
    "latent_dim": SPEC.latent_dim,
    "seed": SEED,
    "measured": "processor seconds of a round, divided by the plain autoencoder's",
}
PLAIN, LOOP = "plain autoencoder", "tf.function loop"


def plain_autoencoder(x):
    """The same two networks, with mu as the code and no KL term."""
    encoder, decoder = build_encoder(SPEC, SEED), build_decoder(SPEC, SEED)
    image = keras.Input(SPEC.image_shape)
    code = keras.Model(encoder.input, encoder.outputs[1])
    model = keras.Model(image, decoder(code(image)))
    model.compile("adam", loss=ImageCrossentropy())
    return lambda: model.fit(x, x, batch_size=BATCH, verbose=0)


def routes_fit(route, x):
    model = route.build(SPEC, seed=SEED)
    y = route.targets(x)
    return lambda: model.fit(x, y, batch_size=BATCH, verbose=0)


def loop(x):
    """Return a training without `fit`: a step by hand, in a Python loop."""
    encoder, decoder = build_encoder(SPEC, SEED), build_decoder(SPEC, SEED)
    variables = [*encoder.trainable_variables, *decoder.trainable_variables]
    optimizer = keras.optimizers.Adam()
    optimizer.build(variables)
    crossentropy, divergence = ImageCrossentropy(), KLLoss(PART_VI_WEIGHT)
    batches = tf.data.Dataset.from_tensor_slices(x).shuffle(len(x)).batch(BATCH)

    @tf.function
    def step(images):
        with tf.GradientTape() as tape:
            z, mu, log_var = encoder(images, training=True)
            loss = crossentropy(images, decoder(z, training=True))
            loss += divergence(0.0, tf.stack([mu, log_var], axis=1))
        optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    def train():
        for images in batches:
            step(images)

    return train


def measure():
    x = np.random.default_rng(SEED).uniform(size=(STEPS * BATCH, *SPEC.image_shape))
    x = x.astype("float32")
    kinds = {PLAIN: plain_autoencoder(x), LOOP: loop(x)}
    kinds.update({name: routes_fit(route, x) for name, route in ROUTES.items()})
    for train in kinds.values():
        train()  # compiles once, which must not count as a step
    order, ratios = list(kinds), {name: [] for name in kinds}
    turns = random.Random(SEED)
    for _ in range(ROUNDS):
        turns.shuffle(order)
        seconds = {}
        for name in order:
            start = time.process_time()
            kinds[name]()
            seconds[name] = time.process_time() - start
        for name, spent in seconds.items():
            ratios[name].append(spent / seconds[PLAIN])
    runs = []
    for name, measured in ratios.items():
        low, median, high = np.quantile(measured, (0.25, 0.5, 0.75))
        runs.append({"kind": name, "ratio": median, "quartiles": [low, high]})
        print(f"{name:20} {median:.3f}  quartiles {low:.3f} to {high:.3f}")
    return {"runs": runs}
