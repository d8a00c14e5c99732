"""Measure what each kind of target adds to the memory of a training.

The targets are two, of 60,000 rows each, for 256 latent variables. Each kind runs in a process
of its own. The measure is the growth of the process's peak memory from before the targets are
made to after `fit`. There are no images, so only the targets count. Chapter 7 shows the record.
"""

import json
import sys

import vaebook  # isort: skip
import keras
import numpy as np
import tensorflow as tf
from memory import in_a_fresh_process, peak_mb
from vaebook.losses import LogVarLoss, MuLoss

IMAGES, LATENT_DIM, BATCH = 60_000, 256, 128
SHAPE = (IMAGES, LATENT_DIM)
# What is drawn at random does not matter to memory.
SETTINGS = {"images": IMAGES, "latent_dim": LATENT_DIM, "batch_size": BATCH, "seed": None}

NAMES = ("mu", "log_var")

# How each kind of targets is made. Two of them are not made in advance.
KINDS = {
    "no such targets": None,
    "the article's tensors": lambda: [
        tf.convert_to_tensor(np.zeros(SHAPE, "float32")),
        tf.convert_to_tensor(np.ones(SHAPE, "float32")),
    ],
    "tensors made in place": lambda: [tf.zeros(SHAPE), tf.ones(SHAPE)],
    "arrays of ones": lambda: [np.ones(SHAPE, "float32"), np.ones(SHAPE, "float32")],
    "broadcast zeros": lambda: 2 * [np.broadcast_to(np.float32(0), SHAPE)],
    "one column": lambda: [np.zeros((IMAGES, 1), "float32") for _ in NAMES],
    "no columns": lambda: [np.zeros((IMAGES, 0), "float32") for _ in NAMES],
    "made by tf.data": None,
}


def with_made_targets(batch):
    """Return full-sized targets, made for one batch at a time."""
    made = tf.zeros((tf.shape(batch)[0], LATENT_DIM))
    return batch, dict.fromkeys(NAMES, made)


def growth_mb(kind):
    """Train a tiny model on the targets, and return the growth of the peak, in MB."""
    x = np.zeros((IMAGES, 1), "float32")
    inputs = keras.Input((1,))
    mu, log_var = (keras.layers.Dense(LATENT_DIM, name=name)(inputs) for name in NAMES)
    if kind == "no such targets":
        model = keras.Model(inputs, mu)
        model.compile("sgd", loss=MuLoss())
        warm_up = x[:BATCH]
    else:
        model = keras.Model(inputs, {"mu": mu, "log_var": log_var})
        model.compile("sgd", loss={"mu": MuLoss(), "log_var": LogVarLoss()})
        warm_up = dict.fromkeys(NAMES, np.zeros((BATCH, 0), "float32"))
    model.train_on_batch(x[:BATCH], warm_up)  # compiles the graph, which must not count
    before = peak_mb()
    if kind == "no such targets":
        model.fit(x, x, batch_size=BATCH, verbose=0)
    elif kind == "made by tf.data":
        dataset = tf.data.Dataset.from_tensor_slices(x).batch(BATCH)
        model.fit(dataset.map(with_made_targets), verbose=0)
    else:
        y = dict(zip(NAMES, KINDS[kind](), strict=True))
        model.fit(x, y, batch_size=BATCH, verbose=0)
    return peak_mb() - before


def measure():
    runs = []
    for kind in KINDS:
        runs.append({"targets": kind, "growth_mb": in_a_fresh_process(__file__, kind)})
        print(f"{kind:24} {runs[-1]['growth_mb']:6.1f} MB", flush=True)
    return {"runs": runs}


if __name__ == "__main__":  # the fresh process
    print(json.dumps(growth_mb(sys.argv[1])))
