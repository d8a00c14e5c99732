"""Train the article's network as the article did, and keep the log of every epoch.

A run has six epochs on 60,000 images. There are three seeds and three learning rates, since
part VI does not say which rate it used. After a seed, `fit` repeats one order of the images in
every epoch. At the rate that fits best, three more runs reshuffle. Each run takes minutes, so
it is saved as soon as it is done. Chapter 8 shows the record.
"""

import datetime
from itertools import product

import vaebook  # isort: skip
import keras
from vaebook.data import load_images
from vaebook.losses import beta_from_weight
from vaebook.networks import NetworkSpec
from vaebook.routes import PART_VI_WEIGHT, ROUTES
from vaebook.training import EpochLine, shuffled_batches

SPEC = NetworkSpec()
LEARNING_RATES = (5e-4, 1e-3, 1e-4)
RESHUFFLED = (5e-4,)
SEEDS = (1, 2, 3)
SETTINGS = {
    "route": "pass_through",
    "images": 60_000,
    "batch_size": 128,
    "epochs": 6,
    "latent_dim": SPEC.latent_dim,
    "weight": PART_VI_WEIGHT,
    "beta": beta_from_weight(PART_VI_WEIGHT, SPEC.image_shape, SPEC.latent_dim),
    "optimizer": "Adam",
    "learning_rates": {"repeated": LEARNING_RATES, "reshuffled": RESHUFFLED},
    "seed": SEEDS,
}


def train(x, order, learning_rate, seed):
    keras.utils.set_random_seed(seed)
    route = ROUTES[SETTINGS["route"]]
    model = route.build(
        SPEC,
        weight=SETTINGS["weight"],
        optimizer=keras.optimizers.Adam(learning_rate),
        seed=seed,
    )
    y, batch_size = route.targets(x), SETTINGS["batch_size"]
    options = {"epochs": SETTINGS["epochs"], "verbose": 0, "callbacks": [EpochLine()]}
    if order == "repeated":
        history = model.fit(x, y, batch_size=batch_size, **options)
    else:  # without shuffle=False, fit warns that a dataset has an order of its own
        batches = shuffled_batches(x, y, batch_size, seed)
        history = model.fit(batches, shuffle=False, **options)
    return history.history


def measure(stored):
    runs = stored.get("runs", [])
    done = {(run["order"], run["learning_rate"], run["seed"]) for run in runs}
    wanted = [
        (order, *run)
        for order, rates in SETTINGS["learning_rates"].items()
        for run in product(rates, SEEDS)
    ]
    x = load_images("mnist", n_train=SETTINGS["images"]).x_train
    for order, learning_rate, seed in wanted:
        if (order, learning_rate, seed) in done:
            continue
        print(f"order {order}, learning rate {learning_rate}, seed {seed}", flush=True)
        history = train(x, order, learning_rate, seed)
        run = {
            "order": order,
            "learning_rate": learning_rate,
            "seed": seed,
            "date": datetime.date.today().isoformat(),
            "history": history,
        }
        runs.append(run)
        yield {"runs": runs}
