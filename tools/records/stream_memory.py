"""Measure the memory of a training that reads its images from shards, beside one on an array.

The shards hold 60,000 images, or ten times as many. The array holds at most twice as many: ten
times as many would need some 10 GB. Each runs in a process of its
own. The measure is the growth of the process's peak memory from after a first step, which
compiles the graph, to after `fit`. The images are random, and what they show does not matter.
The model is a small one, so that the training itself takes little memory. Chapter 18 shows the
record.
"""

import json
import sys
import tempfile
from pathlib import Path

import vaebook  # isort: skip
import keras
import numpy as np
from memory import in_a_fresh_process, peak_mb
from vaebook.shards import stream_images, write_shards

IMAGES = {"array": (60_000, 120_000), "shards": (60_000, 600_000)}
BATCH, SHARD, SEEDS = 128, 6000, (1, 2, 3)
SHAPE = (28, 28, 1)
SETTINGS = {
    "images": IMAGES,
    "batch_size": BATCH,
    "images_per_shard": SHARD,
    "buffer": 8192,
    "seed": SEEDS,
}


def parts(images, seed):
    """Yield random images, a shard at a time."""
    rng = np.random.default_rng(seed)
    for _ in range(images // SHARD):
        yield rng.integers(0, 256, (SHARD, *SHAPE), dtype="uint8")


def growth_mb(kind, folder, images, seed):
    """Train on the images, and return the growth of the peak, in MB."""
    inputs = keras.Input(SHAPE)
    code = keras.layers.Dense(2)(keras.layers.Flatten()(inputs))
    model = keras.Model(inputs, keras.layers.Reshape(SHAPE)(keras.layers.Dense(784)(code)))
    model.compile("sgd", loss="mse", steps_per_execution=8)
    first = np.zeros((8 * BATCH, *SHAPE), "float32")
    model.fit(first, first, batch_size=BATCH, verbose=0)
    before = peak_mb()
    if kind == "shards":
        batches = stream_images(folder, BATCH, buffer=SETTINGS["buffer"], seed=seed)
        model.fit(batches.map(lambda x: (x, x)), shuffle=False, verbose=0)
    else:  # uint8 in memory would be a quarter of it, but Keras trains on floats
        x = np.empty((images, *SHAPE), "float32")
        for number, part in enumerate(parts(images, seed)):
            x[number * SHARD : (number + 1) * SHARD] = part / np.float32(255)
        model.fit(x, x, batch_size=BATCH, verbose=0)
    return peak_mb() - before


def measure():
    runs = []
    for kind, counts in IMAGES.items():
        for images in counts:
            with tempfile.TemporaryDirectory() as folder:
                shards = Path(folder, "shards")
                if kind == "shards":
                    write_shards(parts(images, SEEDS[0]), shards, SHARD)
                for seed in SEEDS:
                    grown = in_a_fresh_process(__file__, kind, shards, images, seed)
                    runs.append(
                        {"kind": kind, "images": images, "seed": seed, "growth_mb": grown}
                    )
                    print(f"{kind:8} {images:8,} {grown:8.1f} MB", flush=True)
    return {"runs": runs}


if __name__ == "__main__":  # the fresh process
    kind, folder, images, seed = sys.argv[1:]
    print(json.dumps(growth_mb(kind, folder, int(images), int(seed))))
