"""Train one small VAE with a constant beta, a warm-up, and a beta that rises in cycles.

All end at the same beta and are judged at it, on held-out images (Bernoulli convention).
Chapter 14 shows the record.
"""

from itertools import product

import vaebook  # isort: skip
from vaebook.data import load_images
from vaebook.training import WeightScheduler
from variational import VAE, compiled, described, train

SETTINGS = {
    "images": 10_000,
    "test_images": 2_000,
    "draws_of_each_test_image": 4,
    "units": [128],
    "batch_size": 250,
    "epochs": 20,
    "optimizer": "Adam, cosine decay to 0",
    "learning_rate": 3e-3,
    "latent_dim": 32,
    "betas": [1.0, 20.0],
    "schedules": ["constant", "warm-up", "cyclic"],
    "warm_epochs": 10,
    "cycle": 5,
    "seed": [1, 2, 3, 4, 5],
}


def share(schedule, epoch):
    """Return beta in this epoch, counted from 0, as a share of the last beta."""
    if schedule == "warm-up":
        return min(1, (epoch + 1) / SETTINGS["warm_epochs"])
    if schedule == "cyclic":  # the first half of a cycle rises, the second half stays
        return min(1, 2 * (epoch % SETTINGS["cycle"]) / SETTINGS["cycle"])
    return 1


def measure(stored):
    """Yield the results so far, after each model."""
    runs = stored.setdefault("runs", [])
    done = {(run["seed"], run["beta"], run["schedule"]) for run in runs}
    data = load_images("mnist", SETTINGS["images"], SETTINGS["test_images"])
    epochs, batch_size = SETTINGS["epochs"], SETTINGS["batch_size"]
    steps = epochs * len(data.x_train) // batch_size
    model = compiled(
        VAE(SETTINGS["latent_dim"], SETTINGS["units"]), SETTINGS["learning_rate"], steps
    )
    for run in product(SETTINGS["seed"], SETTINGS["betas"], SETTINGS["schedules"]):
        if run in done:
            continue
        seed, beta, schedule = run
        callback = WeightScheduler(
            model.beta, lambda epoch, run=run: run[1] * share(run[2], epoch)
        )
        train(model, data.x_train, beta, seed, epochs, batch_size, [callback])
        result = {"seed": seed, "beta": beta, "schedule": schedule}
        runs.append(
            result | described(model, data.x_test, SETTINGS["draws_of_each_test_image"])
        )
        yield stored
