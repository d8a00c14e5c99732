"""The small VAE that chapter 14's records train, its museum, and the records themselves."""

import json
from itertools import product

import beta_schedules
import beta_sweep
import collapse
import keras
import museum
import numpy as np
import pytest
from vaebook.evaluation import bernoulli_log_likelihood
from vaebook.records import RECORDS, load_record
from vaebook.training import shuffled_batches
from variational import VAE, compiled, described, train

IMAGES = np.random.default_rng(0).uniform(size=(20, 28, 28, 1)).astype("float32")
MODULES = (beta_schedules, beta_sweep, collapse, museum)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_a_record_was_made_with_these_settings(module):
    recorded = load_record(module.__name__)["settings"]
    assert recorded == json.loads(json.dumps(module.SETTINGS))


def test_each_model_was_trained_once():
    settings, runs = beta_sweep.SETTINGS, load_record("beta_sweep")["runs"]
    wanted = product(settings["seed"], settings["latent_dims"], settings["betas"])
    assert [(run["seed"], run["latent_dim"], run["beta"]) for run in runs] == list(wanted)
    settings, runs = beta_schedules.SETTINGS, load_record("beta_schedules")["runs"]
    wanted = product(settings["seed"], settings["betas"], settings["schedules"])
    assert [(run["seed"], run["beta"], run["schedule"]) for run in runs] == list(wanted)
    runs = load_record("museum")["runs"]
    wanted = product(museum.SETTINGS["seed"], museum.EXHIBITS)
    assert [(run["seed"], run["exhibit"]) for run in runs] == list(wanted)


def test_the_records_of_chapter_14_are_small():
    sizes = [(RECORDS / f"{module.__name__}.json").stat().st_size for module in MODULES]
    assert sum(sizes) < 400_000


@pytest.mark.parametrize("name", ["beta_sweep", "collapse", "beta_schedules"])
def test_the_rate_is_the_sum_of_what_each_variable_adds(name):
    for run in load_record(name)["runs"]:
        assert run["rate"] == pytest.approx(sum(run["kls"]), rel=1e-3, abs=1e-6)


def test_a_recorded_distortion_of_normal_pixels_follows_from_its_squared_error():
    for run in load_record("collapse")["runs"]:
        nats = (
            0.5 * 784 * (run["error"] / run["variance"] + np.log(2 * np.pi * run["variance"]))
        )
        assert run["distortion"] == pytest.approx(nats, rel=1e-4)


@pytest.fixture(scope="module")
def small():
    return compiled(VAE(3, (4,)), 1e-2, 4)


def test_a_restarted_model_is_a_new_one(small):
    def trained():
        train(small, IMAGES, 0.5, 1, epochs=2, batch_size=10)
        return [np.array(variable) for variable in small.variables]

    first = trained()
    train(small, IMAGES, 0.5, 2, epochs=1, batch_size=10)
    for once, again in zip(first, trained(), strict=True):
        np.testing.assert_array_equal(once, again)
    small.restart(2)
    assert not np.array_equal(small.encoder.get_weights()[0], first[0])
    assert all(not np.any(variable) for variable in small.optimizer.variables)


def test_the_loss_is_distortion_plus_beta_times_rate(small):
    small.restart(1)
    losses = []
    for beta in (0.0, 1.0, 3.0):
        small.noise.state.assign([5, 0])
        small.beta.assign(beta)
        losses.append(float(small.compute_loss(IMAGES)))
    rate = described(small, IMAGES)["rate"]
    assert losses[1] - losses[0] == pytest.approx(rate, rel=1e-3)
    assert losses[2] - losses[0] == pytest.approx(3 * rate, rel=1e-3)
    made = small.decoder(np.zeros((20, 3), "float32"))
    by_package = -bernoulli_log_likelihood(IMAGES, np.asarray(keras.ops.sigmoid(made)))
    np.testing.assert_allclose(small.distortion(IMAGES, made), by_package, rtol=1e-5)


def test_the_distortion_of_normal_pixels_has_its_constant():
    model = VAE(2, (), "gaussian", learned=True)
    model.tenth.assign(np.log(0.5) / 10)  # variance ½
    nats = model.distortion(np.ones_like(IMAGES[:1]), np.zeros_like(IMAGES[:1]))
    assert float(nats[0]) == pytest.approx(784 * (1 + 0.5 * np.log(np.pi)), rel=1e-5)
    assert model.variance == pytest.approx(0.5)


def test_the_spectrum_of_two_pixels_that_are_alike():
    images = np.zeros((4, 28, 28, 1))
    images[:2, 0, :2] = 1  # two binary pixels, always equal, half of them white
    normal, bernoulli = collapse.spectrum(images)
    assert normal[0] == pytest.approx(0.5)  # variance ¼ each, and as much covariance
    assert bernoulli[0] == pytest.approx(2)  # divided by ½ · ½
    assert len(bernoulli) == 2


def test_the_schedules_end_at_the_whole_beta():
    shares = {
        kind: [beta_schedules.share(kind, epoch) for epoch in range(20)]
        for kind in beta_schedules.SETTINGS["schedules"]
    }
    assert all(share[-1] == 1 for share in shares.values())
    assert shares["warm-up"][:3] == [0.1, 0.2, 0.3]
    assert shares["cyclic"][5:10] == [0, 0.4, 0.8, 1, 1]


@pytest.mark.parametrize("name", museum.EXHIBITS)
def test_an_exhibit_trains_with_the_beta_of_its_reductions(name):
    exhibit = museum.EXHIBITS[name]
    size, latent_dim = exhibit.get("size", 28), exhibit.get("latent_dim", 2)
    model = museum.Exhibit(exhibit, seed=1)
    rng = np.random.default_rng(1)
    x, p, other = rng.uniform(0.1, 0.9, size=(3, 6, size, size, 1)).astype("float32")
    kl, more = rng.uniform(0, 100, size=(2, 6, latent_dim)).astype("float32")
    per_kl = float(model.objective(x, p, more) - model.objective(x, p, kl))
    per_kl /= (more.sum(1) - kl.sum(1)).mean()
    if exhibit["loss"].get("error") == "squared":
        nats = 0.5 * ((x - other) ** 2 - (x - p) ** 2).sum(axis=(1, 2, 3)).mean()
    else:
        nats = bernoulli_log_likelihood(x, p).mean() - bernoulli_log_likelihood(x, other).mean()
    none = np.zeros_like(kl)
    per_nat = float(model.objective(x, other, none) - model.objective(x, p, none)) / nats
    assert per_kl / per_nat == pytest.approx(museum.beta_of(exhibit), rel=1e-3)


def test_only_the_first_edition_draws_with_exp_log_var():
    wide = [name for name, exhibit in museum.EXHIBITS.items() if exhibit.get("spread")]
    assert wide == ["Chollet, 1st edition"]


def test_the_drawn_kl_is_the_computed_one_on_average():
    rng = np.random.default_rng(2)
    mu, log_var = np.array([[0.7]]), np.array([[-0.5]])
    z = mu + np.exp(0.5 * log_var) * rng.normal(size=(200_000, 1))
    drawn = np.mean(museum.drawn_kl(z, mu, log_var))
    assert drawn == pytest.approx(float(museum.computed_kl(z, mu, log_var)[0, 0]), abs=0.01)


def test_judging_an_exhibit_leaves_its_frame_out(monkeypatch):
    monkeypatch.setitem(museum.SETTINGS, "samples", 2)
    exhibit = museum.EXHIBITS["Foster, 2nd edition"]
    model = museum.Exhibit(exhibit, seed=1)
    model.compile("adam")
    batches = shuffled_batches(museum.framed(IMAGES, 32), None, 10, 1)
    model.fit(batches, shuffle=False, epochs=1, verbose=0)
    found = museum.judged(model, exhibit, IMAGES)
    assert found["drawn"].shape == (8, 28, 28, 1)
    assert found["grey"]["bound"] > found["grey"]["elbo"] - 5
