"""Train the article's network as the article did, and record every epoch.

    python tools/records/six_epochs.py            add the runs that the record lacks
    python tools/records/six_epochs.py --again    start a new record

Six epochs on 60,000 images, for three seeds and three learning rates: part VI does not say
which learning rate it used. Chapter 8 shows the record. Each run takes minutes, so each is
saved as soon as it is done, and a second call goes on where the first one stopped.
"""

import argparse
import datetime
from itertools import product

import vaebook  # isort: skip
import keras
from machine import environment
from vaebook.data import load_images
from vaebook.losses import beta_from_weight
from vaebook.networks import NetworkSpec
from vaebook.records import load_record, save_record
from vaebook.routes import PART_VI_WEIGHT, ROUTES
from vaebook.training import EpochLine, shuffled_batches

NAME = "six_epochs"
SPEC = NetworkSpec()
SETTINGS = {
    "route": "pass_through",
    "images": 60_000,
    "batch_size": 128,
    "epochs": 6,
    "order": "another in each epoch",
    "latent_dim": SPEC.latent_dim,
    "weight": PART_VI_WEIGHT,
    "beta": beta_from_weight(PART_VI_WEIGHT, SPEC.image_shape, SPEC.latent_dim),
    "optimizer": "Adam",
}
LEARNING_RATES = (5e-4, 1e-3, 1e-4)
SEEDS = (1, 2, 3)


def train(x, learning_rate, seed):
    keras.utils.set_random_seed(seed)
    route = ROUTES[SETTINGS["route"]]
    model = route.build(
        SPEC,
        weight=SETTINGS["weight"],
        optimizer=keras.optimizers.Adam(learning_rate),
        seed=seed,
    )
    batches = shuffled_batches(x, route.targets(x), SETTINGS["batch_size"], seed)
    history = model.fit(
        batches,
        shuffle=False,  # or fit warns that a dataset has an order of its own
        epochs=SETTINGS["epochs"],
        verbose=0,
        callbacks=[EpochLine()],
    )
    return history.history


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--again", action="store_true", help="start a new record")
    record = {"settings": SETTINGS, "environment": environment(), "runs": []}
    if not parser.parse_args().again:
        try:
            stored = load_record(NAME)
        except ValueError:
            print("no record yet")
        else:
            for part in ("settings", "environment"):
                if stored[part] != record[part]:
                    parser.error(
                        f"the record's {part} were {stored[part]}, now they are "
                        f"{record[part]}: use --again"
                    )
            record = stored
    done = {(run["learning_rate"], run["seed"]) for run in record["runs"]}
    x = load_images("mnist", n_train=SETTINGS["images"]).x_train
    for learning_rate, seed in product(LEARNING_RATES, SEEDS):
        if (learning_rate, seed) in done:
            continue
        print(f"learning rate {learning_rate}, seed {seed}", flush=True)
        history = train(x, learning_rate, seed)
        record["runs"].append(
            {
                "learning_rate": learning_rate,
                "seed": seed,
                "date": datetime.date.today().isoformat(),
                "history": history,
            }
        )
        print(f"saved in {save_record(NAME, record).name}", flush=True)


if __name__ == "__main__":
    main()
