"""Kill trainings at random batches, resume them, and compare with trainings never killed.

    python tools/killed.py                 every case
    python tools/killed.py train_step      the cases of one route
    make killed

Each training runs in a process of its own, which gets SIGKILL. The process ends at once,
wherever it is, without running any more of its code. Then the same program is started again,
until a run is not killed. Every route and a model with three heads is trained with 1 and with
4 steps in an execution. Each has dropout, batch normalisation, a scheduled weight, validation,
and callbacks with a state.
"""

import argparse
import contextlib
import dataclasses
import hashlib
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import vaebook  # isort: skip
import keras
import numpy as np
from keras import layers, ops
from keras.callbacks import EarlyStopping, ModelCheckpoint
from vaebook import behaviours
from vaebook.losses import ImageCrossentropy, LogVarLoss, MuLoss
from vaebook.networks import build_decoder, build_encoder
from vaebook.resume import ExactBackup, _variables_of
from vaebook.routes import ROUTES
from vaebook.training import WeightScheduler

SPEC = dataclasses.replace(behaviours.SPEC, batch_norm=True, dropout=0.2)
IMAGES, BATCH, EPOCHS, EVERY, SEED = 100, 8, 4, 2, 1  # 13 batches in an epoch, the last small
KILLS = 2
HEADS = "three_heads"
NAMES = [*ROUTES, HEADS]
STEPS = (1, 4)
COMPARED = ("weights", "optimizer", "noise", "order", "log", "best")


class OrderOfImages(keras.metrics.Metric):
    """A number that depends on all images seen since the beginning, and on their order."""

    def __init__(self, **kwargs):
        super().__init__(name="order", **kwargs)
        self.total = self.add_weight(shape=(), initializer="zeros", dtype="int32", name="total")

    def update_state(self, y_true, y_pred, sample_weight=None):
        # The first pixel of an image is its number, divided by the number of images.
        number = ops.cast(ops.round(y_true[:, 0, 0, 0] * IMAGES), "int32")
        place = ops.arange(1, ops.shape(number)[0] + 1, dtype="int32")
        self.total.assign((31 * self.total + ops.sum(place * number)) % 65_521)

    def result(self):
        return ops.cast(self.total, "float32")

    def reset_state(self):
        """Go on counting from epoch to epoch."""


def data():
    x = np.random.default_rng(SEED).uniform(size=(IMAGES, *SPEC.image_shape))
    x = x.astype("float32")
    x[:, 0, 0, 0] = np.arange(IMAGES) / IMAGES
    return x


def three_heads(weight, **options):
    """Return a VAE that also predicts a class and a number from its code."""
    image = keras.Input(SPEC.image_shape)
    z, mu, log_var = build_encoder(SPEC, SEED)(image)
    outputs = {
        "reconstruction": build_decoder(SPEC, SEED)(z),
        "mu": mu,
        "log_var": log_var,
        "digit": layers.Dense(3, "softmax")(layers.Dropout(0.2)(mu)),
        "ink": layers.Dense(1)(mu),
    }
    losses = {
        "reconstruction": ImageCrossentropy(),
        "mu": MuLoss(weight),
        "log_var": LogVarLoss(weight),
        "digit": "sparse_categorical_crossentropy",
        "ink": "mse",
    }
    model = keras.Model(image, outputs)
    model.compile("adam", loss=losses, **options)
    return model


def model_and_targets(name, steps, weight, x):
    metrics = [OrderOfImages()]
    if name not in ("kl_layer", "train_step"):  # whose only output is the image
        metrics = {"reconstruction": metrics}
    options = {"steps_per_execution": steps, "metrics": metrics}
    if name == HEADS:
        y = ROUTES["direct_outputs"].targets(x)
        y |= {"digit": np.arange(len(x)) % 3, "ink": x.mean(axis=(1, 2, 3))}
        return three_heads(weight, **options), y
    route = ROUTES[name]
    return route.build(SPEC, weight=weight, seed=SEED, **options), route.targets(x)


class Tell(keras.callbacks.Callback):
    """Call a function after each execution."""

    def __init__(self, tell):
        super().__init__()
        self.tell = tell

    def on_train_batch_end(self, batch, logs=None):
        self.tell()


def train(name, steps, folder, tell):
    """Train a case, going on if it was interrupted, and return what there is to compare.

    Args:
        name, steps: a case: a name of `NAMES`, and its steps in an execution.
        folder: of the backup.
        tell: a function that is called after each execution.
    """
    keras.utils.set_random_seed(SEED)
    x, weight = data(), keras.Variable(0.0)
    model, y = model_and_targets(name, steps, weight, x)
    backup = ExactBackup(Path(folder, "run.backup"), every=EVERY)
    best = ModelCheckpoint(Path(folder, "best.weights.h5"), "loss", 0, True, True, "min")
    callbacks = backup.callbacks(
        WeightScheduler(weight, lambda epoch: 0.1 * epoch),
        EarlyStopping("loss", mode="min", patience=EPOCHS),
        best,
    )
    history = model.fit(
        backup.batches(x, y, batch_size=BATCH, seed=SEED),
        epochs=EPOCHS,
        shuffle=False,
        verbose=0,
        validation_data=(x[:BATCH], {key: each[:BATCH] for key, each in y.items()})
        if isinstance(y, dict)
        else (x[:BATCH], y[:BATCH]),
        callbacks=[*callbacks, Tell(tell)],
    ).history
    variables = _variables_of(model)
    noise = [each for each in variables if "seed_generator" in getattr(each, "path", "")]
    order = next(values for key, values in history.items() if key.endswith("order"))
    return {
        "weights": digest(model.weights),
        "optimizer": digest(model.optimizer.variables),
        "noise": digest(noise),
        "order": order,
        "log": history,
        "best": best.best,
    }


def digest(variables):
    content = hashlib.sha256()
    for variable in variables:
        content.update(np.ascontiguousarray(variable.numpy()).tobytes())
    return content.hexdigest()


def child(name, steps, folder, end):
    end.send(train(name, steps, folder, lambda: end.send("batch")))
    end.close()


def start(name, steps, folder, method):
    """Start a training in a process of its own; return the process and its messages."""
    context = multiprocessing.get_context(method)
    said, end = context.Pipe(duplex=False)
    process = context.Process(target=child, args=(name, steps, str(folder), end))
    process.start()
    end.close()
    return process, said


def kill(name, steps, folder, after, delay, method):
    """Start a training, kill it after some executions; return how many there were."""
    process, said = start(name, steps, folder, method)
    seen = 0
    with contextlib.suppress(EOFError):
        while seen < after and said.recv() == "batch":
            seen += 1
        time.sleep(delay)
        process.kill()  # SIGKILL
        while said.recv() == "batch":
            seen += 1
    process.join()
    if process.exitcode != -signal.SIGKILL:
        raise RuntimeError(f"Expected {name} to be killed. Received: it ended before.")
    return seen


def finish(name, steps, folder, method):
    """Start a training and let it end; return what there is to compare."""
    process, said = start(name, steps, folder, method)
    ended = "batch"
    with contextlib.suppress(EOFError):
        while ended == "batch":
            ended = said.recv()
    process.join()
    if process.exitcode or ended == "batch":
        raise RuntimeError(
            f"Expected {name} to succeed. Received: exit code {process.exitcode}."
        )
    return ended


def compare(name, steps, kills=KILLS, seed=SEED, method="fork"):
    """Return a row: after how many executions a case was killed, and which results agree.

    Args:
        name, steps: a case.
        kills: how often it is killed.
        seed: of the moments at which it is killed.
        method: "fork" is fast, but works only if this process has computed nothing with
            TensorFlow; "spawn" imports TensorFlow anew each time.
    """
    chance = random.Random(f"{name} {steps} {seed}")
    executions = EPOCHS * -(-IMAGES // (BATCH * steps))
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as other:
        whole = finish(name, steps, other, method)
        after = []
        for _ in range(kills):
            at = chance.randint(1, executions // (kills + 1))
            after.append(kill(name, steps, folder, at, 0.01 * chance.random(), method))
        ended = finish(name, steps, folder, method)
    same = {what: whole[what] == ended[what] for what in COMPARED}
    return {"case": name, "steps_per_execution": steps, "killed_after": after, "same": same}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="CASE", help=", ".join(NAMES))
    args = parser.parse_args()
    unknown = sorted(set(args.names) - set(NAMES))
    if unknown:
        parser.error(f"Expected cases out of {NAMES}. Received: {unknown}.")
    rows = []
    for name in args.names or NAMES:
        for steps in STEPS:
            rows.append(compare(name, steps))
            other = [what for what, same in rows[-1]["same"].items() if not same]
            print(
                f"{name:20} {steps} steps, killed after {rows[-1]['killed_after']}: "
                f"{'all alike' if not other else 'other ' + ', '.join(other)}",
                flush=True,
            )
    sys.exit(not all(all(row["same"].values()) for row in rows))


if __name__ == "__main__":
    main()
