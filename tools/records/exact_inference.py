"""Train VAEs with two latent variables, and compute on a grid what is otherwise bounded.

book     part VI's network on grey images, with beta 1: the three parts of the gap
binary   a network whose decoder begins with sines, on images that are drawn anew in each
         epoch with the grey values as probabilities: log p(x) of the test images
grey     a small network, trained on grey images with the Bernoulli's cross-entropy and with
         the continuous Bernoulli: both judged by both, their outputs taken for the means of
         the pixels, and as a density also for the parameters themselves

Chapter 13 shows the record. A result is added after each training.
"""

import vaebook  # isort: skip
import keras
import numpy as np
from keras import layers, ops
from vaebook.data import load_images
from vaebook.evaluation import (
    bernoulli_log_likelihood,
    continuous_bernoulli_log_likelihood,
    elbo,
    importance_weighted_bound,
)
from vaebook.grid import aggregate_posterior, log_likelihood_on_grid, posteriors_on_grid
from vaebook.layers import Sampling
from vaebook.losses import ImageCrossentropy, LogVarLoss, MuLoss, weight_from_beta
from vaebook.networks import NetworkSpec
from vaebook.routes import ROUTES
from vaebook.targets import prior_targets
from vaebook.training import shuffled_batches

SHAPE = (28, 28, 1)
SPEC = NetworkSpec()
SETTINGS = {
    "images": 60_000,
    "latent_dim": 2,
    "beta": 1.0,
    "optimizer": "Adam, cosine decay to 0",
    "seed": [1, 2, 3],
    "book": {
        "network": "part VI's",
        "epochs": 2,
        "batch_size": 128,
        "learning_rate": 2e-3,
        "steps": 321,
        "images_of_the_split": 100,
    },
    "binary": {
        "encoder_units": [256, 128],
        "decoder_units": [128, 256, 384],
        "activation": "elu",
        "first_layer_of_the_decoder": "sine, weights of standard deviation 2",
        "epochs": 20,
        "batch_size": 250,
        "learning_rate": 3e-3,
        "steps": 801,
        "images_of_the_split": 100,
        "images_of_the_likelihood": 1_000,
        "grids_of_the_likelihood": [[201, 6.0], [401, 6.0], [801, 12.0]],  # steps and reach
    },
    "grey": {
        "encoder_units": [160, 80],
        "decoder_units": [80, 160],
        "activation": "relu",
        "epochs": 3,
        "batch_size": 250,
        "learning_rate": 2e-3,
        "steps": 201,
        "images_of_the_likelihood": 500,
    },
    "reach": 6.0,
    "reach_of_the_split": 5.0,
    "samples": [1, 10, 100, 1_000],
    "images_of_the_bound": 200,
}
REACH = SETTINGS["reach"]
KINDS = ("binary", "book", "grey, bernoulli", "grey, continuous bernoulli")
RUNS = [(kind, seed) for seed in SETTINGS["seed"] for kind in KINDS]


def continuous_bernoulli_loss(images, probabilities):
    """The negative log-likelihood of continuous Bernoulli pixels, a mean over the pixels."""
    p = ops.clip(probabilities, 1e-7, 1 - 1e-7)
    logits = ops.log(p) - ops.log1p(-p)
    near = ops.abs(logits) < 1e-2
    apart = ops.where(near, ops.ones_like(logits), logits)
    exact = ops.log(apart / ops.tanh(apart / 2))
    log_normaliser = ops.where(near, np.log(2) + logits**2 / 12, exact)
    nats = images * ops.log(p) + (1 - images) * ops.log1p(-p) + log_normaliser
    return -ops.mean(nats, axis=(1, 2, 3))


def means_of(parameters):
    """The means of continuous Bernoulli pixels, 1 / (1 − exp(−η)) − 1 / η for the logit η."""
    p = np.clip(parameters.astype("float64"), 1e-7, 1 - 1e-7)
    logits = np.log(p) - np.log1p(-p)
    near = np.abs(logits) < 1e-2
    apart = np.where(near, 1.0, logits)
    return np.where(near, 0.5 + logits / 12, -1 / np.expm1(-apart) - 1 / apart)


def parameters_of(means):
    """The parameters of continuous Bernoulli pixels of these means, as far as the clip lets."""
    logits = np.linspace(-16.118, 16.118, 20_001)  # the clip at 1e-7, in logits
    known = 1 / (1 + np.exp(-logits))
    return 1 / (1 + np.exp(-np.interp(means, means_of(known), logits)))


def build_dense(settings, seed, sine=None):
    """Return an encoder to mu and log_var, a decoder, and a model that trains both."""
    activation = settings["activation"]
    image = keras.Input(SHAPE)
    x = layers.Flatten()(image)
    for units in settings["encoder_units"]:
        x = layers.Dense(units, activation)(x)
    mu, log_var = layers.Dense(2, name="mu")(x), layers.Dense(2, name="log_var")(x)
    encoder = keras.Model(image, [mu, log_var])
    code = x = keras.Input((2,))
    units = list(settings["decoder_units"])
    if sine:
        x = layers.Dense(
            units.pop(0),
            ops.sin,
            kernel_initializer=keras.initializers.RandomNormal(stddev=sine),
            bias_initializer=keras.initializers.RandomUniform(-np.pi, np.pi),
        )(x)
    for each in units:
        x = layers.Dense(each, activation)(x)
    x = layers.Dense(28 * 28, "sigmoid")(x)
    decoder = keras.Model(code, layers.Reshape(SHAPE)(x), name="decoder")
    z = Sampling(seed)([mu, log_var])
    outputs = {"reconstruction": decoder(z), "mu": mu, "log_var": log_var}
    return encoder, decoder, keras.Model(image, outputs)


def compiled(model, settings, reconstruction):
    weight = weight_from_beta(SETTINGS["beta"], SHAPE, 2)
    steps = -(-SETTINGS["images"] // settings["batch_size"]) * settings["epochs"]
    rate = keras.optimizers.schedules.CosineDecay(settings["learning_rate"], steps)
    losses = {
        "reconstruction": reconstruction,
        "mu": MuLoss(weight),
        "log_var": LogVarLoss(weight),
    }
    model.compile(keras.optimizers.Adam(rate), loss=losses, steps_per_execution=10)


def drawn(images, seed):
    """Return black and white images, each pixel white with its grey value as probability."""
    uniform = np.random.default_rng(seed).random(images.shape, dtype="float32")
    return (uniform < images).astype("float32")


def mean_and_error(values):
    """The mean over images, and the standard error of the choice of images."""
    return [float(np.mean(values)), float(np.std(values) / np.sqrt(len(values)))]


def amounts(nats):
    """How much the images miss, on average and at most, and how many miss 0.1 nats or more."""
    return {
        "mean": float(np.mean(nats)),
        "largest": float(np.max(nats)),
        "images": int(np.sum(nats >= 0.1)),
    }


def train_book(seed, data):
    settings = SETTINGS["book"]
    keras.utils.set_random_seed(seed)
    route = ROUTES["pass_through"]
    weight = weight_from_beta(SETTINGS["beta"], SHAPE, 2)
    steps = -(-SETTINGS["images"] // settings["batch_size"]) * settings["epochs"]
    rate = keras.optimizers.schedules.CosineDecay(settings["learning_rate"], steps)
    model = route.build(SPEC, weight, keras.optimizers.Adam(rate), seed)
    batches = shuffled_batches(
        data.x_train, route.targets(data.x_train), settings["batch_size"], seed
    )
    model.fit(batches, shuffle=False, epochs=settings["epochs"], verbose=0)
    decoder = model.get_layer("decoder")
    return model.get_layer("encoder"), keras.Model(decoder.inputs[0], decoder.outputs[0])


def train_dense(kind, seed, data, reconstruction=None):
    settings = SETTINGS[kind]
    keras.utils.set_random_seed(seed)
    encoder, decoder, model = build_dense(settings, seed, 2.0 if kind == "binary" else None)
    compiled(model, settings, reconstruction or ImageCrossentropy())
    x, rng = data.x_train, np.random.default_rng(seed)
    for _ in range(settings["epochs"]):
        of_epoch = x[rng.permutation(len(x))]
        if kind == "binary":
            of_epoch = drawn(of_epoch, rng)
        targets = {"reconstruction": of_epoch, **prior_targets(len(x))}
        model.fit(
            of_epoch,
            targets,
            batch_size=settings["batch_size"],
            shuffle=False,
            verbose=0,
        )
    return encoder, decoder


def codes(encoder, images):
    *_, mu, log_var = encoder.predict(images, batch_size=500, verbose=0)
    return mu, log_var


def split(kind, encoder, decoder, images, exact=None):
    """The gap in three parts for some images, and the same gap from drawn points.

    `exact` is log p(x) from a grid of larger reach: the difference is what this one misses.
    """
    settings = SETTINGS[kind]
    few = images[: settings["images_of_the_split"]]
    mu, log_var = codes(encoder, few)
    reach = SETTINGS["reach_of_the_split"]
    posteriors = posteriors_on_grid(decoder, few, settings["steps"], reach, tolerance=np.inf)
    likelihood = posteriors.likelihood
    values = np.stack([likelihood.log_likelihood, *posteriors.split_of_gap(mu, log_var)])
    names = ("log_likelihood", "gap", "amortisation", "diagonal", "shape")
    many = elbo(encoder, decoder, few, samples=100, seed=0).elbo
    missed = {}
    if exact is not None:
        missed["missed"] = amounts(exact[: len(few)] - likelihood.log_likelihood)
    return {
        "images": len(few),
        **missed,
        **{name: mean_and_error(each) for name, each in zip(names, values, strict=True)},
        "medians": dict(zip(names, np.median(values, axis=1).tolist(), strict=True)),
        "gap_by_draws": mean_and_error(values[0] - many),
        "largest_error": float(likelihood.error.max()),
        "largest_outside": float(likelihood.outside.max()),
    }


def bounds(encoder, decoder, images, exact):
    """The weighted bound for more and more points, below the exact log-likelihood."""
    few = images[: SETTINGS["images_of_the_bound"]]
    lines = []
    for samples in SETTINGS["samples"]:
        done = importance_weighted_bound(encoder, decoder, few, samples, seed=0)
        short = exact[: len(few)] - done.bound
        lines.append(
            {
                "samples": samples,
                "short": mean_and_error(short),
                "largest": float(short.max()),
                "effective": float(np.median(done.effective_samples)),
                "effective_tenth": float(np.quantile(done.effective_samples, 0.1)),
            }
        )
    return lines


def of_clouds(encoder, images):
    """What the clouds of all training images add up to."""
    mu, log_var = codes(encoder, images)
    made = aggregate_posterior(mu, np.maximum(log_var, 2 * np.log(0.012)), 1_001, 7.0)
    return {
        "images": len(mu),
        "widened": int(np.sum(np.any(log_var < 2 * np.log(0.012), axis=1))),
        "mean_kl": made.mean_kl,
        "mutual_information": made.mutual_information,
        "kl_to_prior": made.kl_to_prior,
        "error": made.error,
    }


def judged_binary(seed, data):
    encoder, decoder = train_dense("binary", seed, data)
    settings = SETTINGS["binary"]
    images = drawn(data.x_test, 0)
    few = images[np.random.default_rng(0).permutation(len(images))]
    few = few[: settings["images_of_the_likelihood"]]
    grids = [
        log_likelihood_on_grid(decoder, few, steps, reach, 4_000, tolerance=np.inf)
        for steps, reach in settings["grids_of_the_likelihood"]
    ]
    *_, near, wide = grids
    exact = wide.log_likelihood
    missed = exact - near.log_likelihood
    suspected = np.log1p(near.outside) >= 0.1
    one = elbo(encoder, decoder, few, samples=10, seed=0)
    return {
        "log_likelihood": [
            {
                "steps": grid.steps,
                "reach": grid.reach,
                "images": len(few),
                "mean": mean_and_error(grid.log_likelihood),
                "mean_error": float(grid.error.mean()),
                "largest_outside": float(grid.outside.max()),
            }
            for grid in grids
        ],
        "missed": {
            **amounts(missed),
            "suspected": int(np.sum(suspected)),
            "suspected_rightly": int(np.sum(suspected & (missed >= 0.1))),
        },
        "elbo": mean_and_error(one.elbo),
        "elbo_of_training_images": mean_and_error(
            elbo(encoder, decoder, drawn(data.x_train[:2_000], 0), samples=10).elbo
        ),
        "split": split("binary", encoder, decoder, few, exact),
        "bounds": bounds(encoder, decoder, few, exact),
        "clouds": of_clouds(encoder, drawn(data.x_train, 0)),
    }


def judged_book(seed, data):
    encoder, decoder = train_book(seed, data)
    order = np.random.default_rng(0).permutation(len(data.x_test))
    few = data.x_test[order[: SETTINGS["book"]["images_of_the_split"]]]
    return {
        "elbo": mean_and_error(elbo(encoder, decoder, few, samples=10, seed=0).elbo),
        "split": split("book", encoder, decoder, few),
        "clouds": of_clouds(encoder, data.x_train),
    }


def judged_grey(name, seed, data):
    """Judge one network by both likelihoods, and as a model of black and white images."""
    loss = continuous_bernoulli_loss if name == "continuous bernoulli" else None
    _, decoder = train_dense("grey", seed, data, loss)
    settings = SETTINGS["grey"]
    order = np.random.default_rng(0).permutation(len(data.x_test))
    few = data.x_test[order[: settings["images_of_the_likelihood"]]]

    def output(z):
        return np.asarray(decoder(z), "float64")

    means, parameters = output, lambda z: parameters_of(output(z))
    if loss:
        means, parameters = (lambda z: means_of(output(z))), output
    results, errors = {}, {}
    for what, images, decode, likelihood in (
        ("binary", drawn(few, 0), means, bernoulli_log_likelihood),
        ("continuous_bernoulli", few, parameters, continuous_bernoulli_log_likelihood),
        ("output_for_parameter", few, output, continuous_bernoulli_log_likelihood),
    ):
        if what == "output_for_parameter" and parameters is output:
            results[what] = results["continuous_bernoulli"]  # the same sum once more
            continue
        grid = log_likelihood_on_grid(
            decode,
            images,
            settings["steps"],
            REACH,
            log_likelihood=likelihood,
            tolerance=np.inf,
        )
        results[what] = mean_and_error(grid.log_likelihood)
        errors[what] = float(grid.error.mean())
    return {**results, "mean_errors": errors}


def measure(stored):
    runs = stored.get("runs", [])
    data = load_images("mnist")
    for kind, seed in RUNS:
        if any((run["kind"], run["seed"]) == (kind, seed) for run in runs):
            continue
        name = kind.partition(", ")[2]
        judge = {"binary": judged_binary, "book": judged_book}
        result = judge[kind](seed, data) if not name else judged_grey(name, seed, data)
        runs = [*runs, {"kind": kind, "seed": seed, **result}]
        print(runs[-1], flush=True)
        yield {"runs": runs}
