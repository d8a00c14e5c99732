"""Train three heads with loss weights chosen in five ways, and each head alone.

A VAE, a class and a slant on one encoder; nine tenths of the classes and of the slants are
missing, at random. The weights are chosen in these ways: all are equal; each loss is divided
by that of the best constant guess; each is chosen so that at the start all gradients are
equally long; each task learns its weight, starting from 1 or from the constant guess. "Alone"
gives the other two tasks the weight 0. Results are measured on test images drawn at random.
Chapter 16 shows the record.

The record also holds the checks on two replicas that the table of behaviours has, for a small
copy of the network.
"""

import vaebook  # isort: skip
import keras
import numpy as np
from vaebook.data import load_images
from vaebook.heads import build_three_heads, gradient_norms, masked_losses, slants
from vaebook.losses import weight_from_beta
from vaebook.models import UncertaintyWeighted
from vaebook.networks import NetworkSpec
from vaebook.replicas import check_on_replicas
from vaebook.training import shuffled_batches

SPEC = NetworkSpec(
    latent_dim=8,
    encoder_filters=(16, 32),
    encoder_kernels=(3, 3),
    encoder_strides=(2, 2),
    decoder_filters=(16, 1),
    decoder_kernels=(3, 3),
    decoder_strides=(2, 2),
)
TASKS = {"vae": ["reconstruction", "mu", "log_var"], "class": ["class"], "slant": ["slant"]}
WAYS = (
    "equal",
    "by a constant guess",
    "by gradient",
    "learned",
    "learned, from a guess",
    *(f"{task} alone" for task in TASKS),
)
SEEDS = (1, 2, 3, 4, 5)
SETTINGS = {
    "data": "mnist",
    "images": 5_000,
    "test_images": 2_000,
    "labelled": 0.1,
    "epochs": 10,
    "batch_size": 128,
    "optimizer": "Adam(1e-3)",
    "latent_dim": SPEC.latent_dim,
    "beta": 1.0,
    "ways": WAYS,
    "seed": SEEDS,
}


def data_of(seed):
    """Return images, their targets with NaN for a missing label, and what is held out."""
    data = load_images("mnist")
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(data.x_train), SETTINGS["images"], replace=False)
    held = rng.choice(len(data.x_test), SETTINGS["test_images"], replace=False)
    x = data.x_train[rows]
    nothing = np.zeros((len(x), 0), "float32")
    y = {"reconstruction": x, "mu": nothing, "log_var": nothing}
    for name, labels in (("class", data.y_train[rows]), ("slant", slants(x))):
        y[name] = np.where(rng.uniform(size=len(x)) < SETTINGS["labelled"], labels, np.nan)
        y[name] = y[name].astype("float32")
    test = data.x_test[held]
    return x, y, test, data.y_test[held], slants(test)


def losses():
    return masked_losses(weight_from_beta(SETTINGS["beta"], SPEC.image_shape, SPEC.latent_dim))


def constant_guesses(x, y):
    """Return each task's loss if its prediction is the best constant."""
    mean = np.clip(x.mean(axis=0), 1e-7, 1 - 1e-7)
    pixels = -(mean * np.log(mean) + (1 - mean) * np.log1p(-mean)).mean()
    counts = np.bincount(y["class"][np.isfinite(y["class"])].astype(int))
    shares = counts[counts > 0] / counts.sum()
    return {
        "vae": pixels,
        "class": -(shares * np.log(shares)).sum(),
        "slant": np.nanvar(y["slant"]),
    }


def task_weights(way, network, x, y):
    if way == "equal":
        return dict.fromkeys(TASKS, 1.0)
    if way.endswith("alone"):
        return {task: float(way == f"{task} alone") for task in TASKS}
    if way == "by a constant guess":
        sizes = constant_guesses(x, y)
    else:
        network.compile(loss=losses())
        first = {name: array[:512] for name, array in y.items()}
        shared = network.get_layer("encoder").trainable_variables
        sizes = gradient_norms(network, x[:512], first, TASKS, shared)
    return {task: float(sizes["vae"] / size) for task, size in sizes.items()}


def train(way, seed):
    x, y, test, digits, leaning = data_of(seed)
    keras.utils.set_random_seed(seed)
    network = build_three_heads(SPEC, seed=seed)
    optimizer = keras.optimizers.Adam(1e-3)
    learned = way.startswith("learned")
    if learned:
        start = constant_guesses(x, y) if way != "learned" else None
        model = UncertaintyWeighted(network, TASKS, start)
        model.compile(optimizer, loss=losses())
    else:
        of_tasks = task_weights(way, network, x, y)
        model = network
        by_output = {name: of_tasks[task] for task, names in TASKS.items() for name in names}
        model.compile(optimizer, loss=losses(), loss_weights=by_output)
    batches = shuffled_batches(x, y, SETTINGS["batch_size"], seed)
    model.fit(batches, epochs=SETTINGS["epochs"], shuffle=False, verbose=0)
    if learned:
        of_tasks = model.task_weights()
    out = network.predict(test, verbose=0)
    pixels = int(np.prod(SPEC.image_shape))
    nats = {
        name: pixels * float(np.mean(loss.call(test, out[name])))
        for name, loss in losses().items()
        if name in TASKS["vae"]
    }
    return {
        "weights": of_tasks,
        "negative_elbo": sum(nats.values()),
        "reconstruction": nats["reconstruction"],
        "accuracy": float(np.mean(out["class"].argmax(axis=1) == digits)),
        "slant_error": float(np.mean(np.abs(out["slant"][:, 0] - leaning))),
    }


def measure(stored):
    if "replicas" not in stored:
        stored = {**stored, **check_on_replicas("three_heads")["three_heads"]}
    runs = stored.setdefault("runs", [])
    done = {(run["way"], run["seed"]) for run in runs}
    for seed in SEEDS:
        for way in WAYS:
            if (way, seed) in done:
                continue
            found = train(way, seed)
            print(f"seed {seed}  {way:20} {found}", flush=True)
            runs.append({"way": way, "seed": seed, **found})
            yield stored
