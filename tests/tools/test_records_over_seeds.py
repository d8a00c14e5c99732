"""The records that chapters 1, 8 and 9 take their seeds from."""

import json
from itertools import product
from types import SimpleNamespace

import numpy as np
import plain_autoencoder
import pytest
import without_kl
from vaebook.records import load_record

MODULES = (plain_autoencoder, without_kl)


def record_of(module):
    return load_record(module.__name__)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_the_record_was_made_with_these_settings(module):
    assert record_of(module)["settings"] == json.loads(json.dumps(module.SETTINGS))


@pytest.mark.parametrize(
    ("module", "kind", "kinds"),
    [(plain_autoencoder, "latent_dim", "latent_dims"), (without_kl, "weight", "weights")],
    ids=["plain_autoencoder", "without_kl"],
)
def test_each_kind_of_model_was_trained_once_from_each_seed(module, kind, kinds):
    settings, runs = module.SETTINGS, record_of(module)["runs"]
    trained = [(run["seed"], run[kind]) for run in runs]
    assert trained == list(product(settings["seed"], settings[kinds]))


def test_a_judgement_is_each_judge_s_share_of_sure_images():
    said = np.array([[0.95, 0.05], [0.92, 0.08], [0.6, 0.4], [0.2, 0.8]])
    judge = SimpleNamespace(predict=lambda images, **options: said)
    found = plain_autoencoder.judgement([judge, judge], np.zeros((4, 28, 28, 1)))
    assert found == [0.5, 0.5]


def test_the_scaled_source_has_the_size_of_the_codes_and_not_their_place():
    codes = np.full((10, 2), 3.0) + np.array([[1.0], [-1.0]] * 5)  # 4 and 2: mean square 10
    drawn = plain_autoencoder.sources(codes, codes, seed=0)
    assert drawn["scaled"] == pytest.approx(np.sqrt(10) * drawn["prior"])
    assert drawn["prior"].mean(axis=0) == pytest.approx([0, 0], abs=0.15)
    assert drawn["fitted"].mean(axis=0) == pytest.approx([3, 3], abs=0.15)


def test_a_model_is_described_in_nats_per_image():
    codes = (None, np.ones((4, 2), "float32"), np.zeros((4, 2), "float32"))
    model = SimpleNamespace(
        evaluate=lambda x, y, **options: {"reconstruction_loss": 0.25},
        get_layer=lambda name: SimpleNamespace(predict=lambda x, verbose: codes),
    )
    assert without_kl.describe(model, np.zeros((4, 28, 28, 1), "float32")) == {
        "reconstruction": 196.0,  # 784 pixels
        "kl": 1.0,  # half of 1² + 1²
        "std_of_the_centres": 0.0,
        "std_of_a_cloud": 1.0,
    }
