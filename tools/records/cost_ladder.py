"""Measure how the article's last loss gets cheaper, one step at a time.

A rung is a way to train the article's network. It differs from the rung before in one thing.

Costs: all rungs train on a few images in turn, five rounds, in an order that changes. A rung's
seconds are divided by those of the rung before it in the same round. Part VI's own way runs
under Keras 2, in a process of its own (`part_vi.py`), which waits while the others train.

Losses: where a rung changes the loss, whole trainings over several seeds. The loss
is that of the 10,000 test images, read after the training. Each training takes minutes, so it
is saved as soon as it is done. Chapter 18 shows the record.
"""

import contextlib
import datetime
import json
import random
import subprocess
import tempfile
import time
from functools import partial
from itertools import product
from pathlib import Path

import vaebook  # isort: skip
import keras
import numpy as np
from keras2 import interpreter
from vaebook.data import load_images
from vaebook.networks import NetworkSpec
from vaebook.routes import PART_VI_WEIGHT, ROUTES
from vaebook.shards import stream_images, write_shards
from vaebook.targets import add_prior_targets
from vaebook.training import shuffled_batches

SPEC = NetworkSpec()
ARTICLE = {
    "batch_size": 128,
    "images": 360_000,
    "learning_rate": 5e-4,
    "one_cycle": False,
    "policy": "float32",
    "from": "arrays",
    "steps_per_execution": 1,
    "jit_compile": False,
}
BATCH, IMAGES, PEAK = 32, 100_000, 3e-3
# A rung: the rung that it starts from, and what it changes. Trainings are as long as the
# rung's own `images` says.
RUNGS = {
    "part VI, Keras 2": (None, {}),
    "Keras 3": ("part VI, Keras 2", {}),
    "one cycle": (
        "Keras 3",
        {"one_cycle": True, "learning_rate": PEAK, "images": 120_000},
    ),
    "batch 512": ("one cycle", {"batch_size": 512}),
    "smaller batch": ("one cycle", {"batch_size": BATCH, "images": IMAGES}),
    "bfloat16": ("smaller batch", {"policy": "mixed_bfloat16"}),
    "streamed": ("bfloat16", {"from": "shards"}),
    "8 steps a call": ("streamed", {"steps_per_execution": 8}),
    "XLA": ("8 steps a call", {"jit_compile": True}),
}
IN_FLOAT32 = {"encoder": ("mu", "log_var", "z")}
SEEDS = (1, 2, 3, 4, 5)
TRAINED = dict.fromkeys(("8 steps a call", "smaller batch", "one cycle"), SEEDS)
TURN, ROUNDS = 2048, 5  # the images of a turn
SETTINGS = {
    "target": 0.2049,
    "route": "direct_outputs",
    "weight": PART_VI_WEIGHT,
    "latent_dim": SPEC.latent_dim,
    "rungs": {
        name: {"from": start, "changes": changes} for name, (start, changes) in RUNGS.items()
    },
    "article": ARTICLE,
    "in_float32": IN_FLOAT32,
    "trained": TRAINED,
    "images_of_a_turn": TURN,
    "rounds": ROUNDS,
    "seed": SEEDS,
    "measured": "processor seconds and wall seconds of a turn, by rung and round",
}


def options_of(rung):
    """Return the options of a rung: the article's, with each change on the way to it."""
    start, changes = RUNGS[rung]
    return {**(options_of(start) if start else ARTICLE), **changes}


def one_cycle(peak, steps):
    """Rise to the peak for three tenths of the steps, then fall to 0 along a cosine."""
    rise = int(0.3 * steps)
    return keras.optimizers.schedules.CosineDecay(
        peak / 25, steps - rise, warmup_target=peak, warmup_steps=rise
    )


def prepare(rung, seed, x, folder):
    """Return the model of a rung, its data, and the number of steps of a whole training."""
    options = options_of(rung)
    keras.utils.set_random_seed(seed)
    steps = options["images"] // options["batch_size"]
    rate = options["learning_rate"]
    keras.config.set_dtype_policy(options["policy"])
    route = ROUTES[SETTINGS["route"]]
    model = route.build(
        SPEC,
        weight=PART_VI_WEIGHT,
        optimizer=keras.optimizers.Adam(
            one_cycle(rate, steps) if options["one_cycle"] else rate
        ),
        seed=seed,
        steps_per_execution=options["steps_per_execution"],
        jit_compile=options["jit_compile"],
    )
    keras.config.set_dtype_policy("float32")
    if options["policy"] != "float32":
        for part, layers in IN_FLOAT32.items():
            for name in layers:
                model.get_layer(part).get_layer(name).dtype_policy = "float32"
    if options["from"] == "shards":
        data = stream_images(folder, options["batch_size"], buffer=8192, seed=seed)
        data = data.map(add_prior_targets)
    else:
        data = shuffled_batches(x, route.targets(x), options["batch_size"], seed)
    return model, data.repeat(), steps


def seconds_of(fit):
    """Call a function, and return the processor and wall seconds that it took."""
    cpu, wall = time.process_time(), time.perf_counter()
    fit()
    return {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}


def turns(rung, x, folder):
    """Return a function that trains for one turn, and returns its seconds."""
    model, data, _ = prepare(rung, SEEDS[0], x, folder)
    options = options_of(rung)
    if options["from"] == "arrays" and not options["one_cycle"]:
        y = ROUTES[SETTINGS["route"]].targets(x[:TURN])
        fit = partial(model.fit, x[:TURN], y, batch_size=options["batch_size"], verbose=0)
    else:
        turn = data.take(TURN // options["batch_size"])
        fit = partial(model.fit, turn, shuffle=False, verbose=0)
    return partial(seconds_of, fit)


@contextlib.contextmanager
def part_vi(images):
    """Yield a function that lets the process with Keras 2 train for one turn."""
    script = Path(__file__).parents[1] / "part_vi.py"
    with interpreter() as python:
        process = subprocess.Popen(
            [python, script, images],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

        def turn():
            print(TURN, file=process.stdin, flush=True)
            answer = json.loads(process.stdout.readline())
            return {name: answer[name] for name in ("cpu", "wall")}

        try:
            yield turn
        finally:
            process.stdin.close()
            process.wait()


def measure_costs(x, folder):
    np.save(folder / "images.npy", x[:TURN])
    with part_vi(folder / "images.npy") as first:
        turn_of = {name: turns(name, x, folder / "shards") for name in list(RUNGS)[1:]}
        turn_of = {next(iter(RUNGS)): first, **turn_of}
        for turn in turn_of.values():
            turn()  # compiles, which must not count
        order, rounds, shuffler = list(turn_of), [], random.Random(SEEDS[0])
        for _ in range(ROUNDS):
            shuffler.shuffle(order)
            seconds = {name: turn_of[name]() for name in order}
            rounds.append({name: seconds[name] for name in RUNGS})
            print(
                {name: round(each["cpu"], 2) for name, each in rounds[-1].items()}, flush=True
            )
    return rounds


def train(rung, seed, data, folder):
    """Train a rung whole, and return its seconds and its losses on the test images."""
    model, batches, steps = prepare(rung, seed, data.x_train, folder)
    calls = options_of(rung)["steps_per_execution"]
    steps -= steps % calls
    seconds = seconds_of(lambda: model.fit(batches.take(steps), shuffle=False, verbose=0))
    keras.utils.set_random_seed(0)
    y = ROUTES[SETTINGS["route"]].targets(data.x_test)
    test = model.evaluate(data.x_test, y, batch_size=500, verbose=0, return_dict=True)
    return {**seconds, "steps": steps, "test": test}


def measure(stored):
    runs = stored.get("runs", [])
    costs = stored.get("costs", [])
    done = {(run["rung"], run["seed"]) for run in runs}
    data = load_images("mnist")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        images = (data.x_train * 255).round().astype("uint8")
        write_shards(images, folder / "shards", images_per_shard=6000)
        if not costs:
            costs = measure_costs(data.x_train, folder)
            yield {"costs": costs, "runs": runs}
        for seed, rung in product(SEEDS, TRAINED):
            if (rung, seed) in done or seed not in TRAINED[rung]:
                continue
            run = train(rung, seed, data, folder / "shards")
            today = datetime.date.today().isoformat()
            runs.append({"rung": rung, "seed": seed, "date": today, **run})
            print(rung, seed, round(run["cpu"]), round(run["test"]["loss"], 4), flush=True)
            yield {"costs": costs, "runs": runs}
