"""The table of behaviours still holds, cell by cell. See `tools/records/behaviours.py`."""

import keras
import numpy as np
import pytest
from keras import ops
from vaebook import behaviours
from vaebook._small import build_small
from vaebook.behaviours import CHECKS, SPEC
from vaebook.layers import KLDivergence
from vaebook.losses import KLLoss
from vaebook.models import TrainStepVAE
from vaebook.networks import build_decoder, build_encoder
from vaebook.records import load_record
from vaebook.replicas import (
    REPLICA_CHECKS,
    TRAP_REPLICA_CHECKS,
    check_on_replicas,
)
from vaebook.routes import ROUTES
from vaebook.traps import TRAPS

RECORD = load_record("behaviours")
CELLS = {**RECORD["routes"], **RECORD["traps"]}

# What a trap does elsewhere than in its own trap says little, and takes time.
CHECKED = [(name, behaviour) for name in ROUTES for behaviour in CHECKS] + [
    ("scalar_losses", "sample_weight"),
    ("plain_means", "sample_weight"),
    ("layer_without_cast", "bfloat16"),
    ("mean_regularizer", "eager"),
]

# Keras 3.13 does not yet divide what a regularizer returns by the batch size (keras#22021).
NO_TRAP_YET = {
    ("mean_regularizer", "eager"): "gradient right",
    ("mean_regularizer", "replicas"): "1.000, 1.000",
}
if tuple(map(int, keras.__version__.split(".")[:2])) > (3, 13):
    NO_TRAP_YET = {}


pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture(scope="module")
def on_replicas():
    return check_on_replicas()


def compare(name, behaviour, cell):
    assert name in CELLS, f"{name} has no record: make records RECORD=behaviours"
    recorded = CELLS[name][behaviour]
    now, then = ({key: each[key] for key in ("holds", "shows")} for each in (cell, recorded))
    if (name, behaviour) in NO_TRAP_YET:
        then = {"holds": True, "shows": NO_TRAP_YET[name, behaviour]}
    assert now == then, (
        f"{behaviour} of {name} is no longer as recorded; now {cell}, recorded {recorded}"
    )


@pytest.mark.parametrize(("name", "behaviour"), CHECKED)
def test_a_cell_of_the_table_is_as_recorded(name, behaviour):
    route = {**ROUTES, **TRAPS}[name]
    compare(name, behaviour, behaviours.check(route, behaviour))


@pytest.mark.parametrize("name", [*ROUTES, *TRAPS])
def test_a_cell_on_two_replicas_is_as_recorded(name, on_replicas):
    for behaviour in REPLICA_CHECKS if name in ROUTES else TRAP_REPLICA_CHECKS:
        compare(name, behaviour, on_replicas[name][behaviour])


def test_every_route_is_right_but_where_keras_makes_it_impossible():
    """What does not hold. If Keras fixes one of these, this test notices."""
    found = {
        (name, behaviour)
        for name, cells in RECORD["routes"].items()
        for behaviour, cell in cells.items()
        if not cell["holds"]
    }
    # A route is known by how it is built, so a new one needs no entry here.
    models = {name: build_small(route) for name, route in ROUTES.items()}
    of_the_log = {
        (name, "parts_of_last_batch")
        for name, model in models.items()
        if isinstance(model.loss, dict) and len(model.loss) > 1
    }
    no_target = {
        (name, "without_target") for name, model in models.items() if model.loss is not None
    }
    on_replicas = {(name, "xla_on_replicas") for name in ROUTES} | {
        (name, "uneven_on_replicas")
        for name, model in models.items()
        if not isinstance(model, TrainStepVAE)
    }
    weights = {
        (name, "sample_weight")
        for name, model in models.items()
        if any(isinstance(layer, KLDivergence) for layer in model.get_layer("encoder").layers)
    }
    assert found == weights | of_the_log | no_target | on_replicas


def test_the_table_has_every_cell():
    assert list(RECORD["routes"]) == list(ROUTES)
    assert list(RECORD["traps"]) == list(TRAPS)
    for name, cells in CELLS.items():
        on_replicas = REPLICA_CHECKS if name in ROUTES else TRAP_REPLICA_CHECKS
        assert sorted(cells) == sorted([*CHECKS, *on_replicas]), name


def test_an_unknown_behaviour_is_refused():
    with pytest.raises(ValueError, match="behaviour out of .*'graph'.* Received: 'speed'"):
        behaviours.check(ROUTES["kl_layer"], "speed")


# The traps: what Keras answers to other ways that are seen in the wild.


def functional_parts():
    image = keras.Input(SPEC.image_shape)
    z, mu, log_var = build_encoder(SPEC, seed=1)(image)
    return image, build_decoder(SPEC, seed=1)(z), mu, log_var


def test_model_add_loss_of_a_symbolic_tensor_raises_an_error_without_a_message():
    image, reconstruction, mu, log_var = functional_parts()
    model = keras.Model(image, reconstruction)
    with pytest.raises(NotImplementedError) as caught:
        model.add_loss(ops.mean(ops.square(mu) + ops.exp(log_var) - 1 - log_var))
    assert str(caught.value) == ""


def test_a_loss_that_closes_over_the_encoder_s_tensors_fails_at_fit(images):
    image, reconstruction, mu, log_var = functional_parts()

    def closure(target, reconstructed):
        kl = ops.mean(ops.square(mu) + ops.exp(log_var) - 1 - log_var)
        return ops.mean(ops.binary_crossentropy(target, reconstructed)) + kl

    model = keras.Model(image, reconstruction)
    model.compile(loss=closure)
    with pytest.raises(ValueError, match="KerasTensor"):
        model.fit(images, images, verbose=0)


def test_a_layer_that_leads_nowhere_is_dropped_in_silence(images):
    image, reconstruction, mu, log_var = functional_parts()
    KLDivergence(1e6)([mu, log_var])  # and its outputs lead to no output
    model = keras.Model(image, reconstruction)
    model.compile(loss="mse")
    logs = model.evaluate(images, images, verbose=0, return_dict=True)
    assert list(logs) == ["loss"]
    assert logs["loss"] < 1


def test_fit_drops_sample_weights_where_there_is_no_target(images):
    losses = [
        ROUTES["compute_loss"]
        .build(SPEC, weight=0.25, seed=1, run_eagerly=True)
        .evaluate(images, sample_weight=weights, verbose=0, return_dict=True)["loss"]
        for weights in (None, np.zeros(len(images)))
    ]
    assert losses[0] == losses[1] > 0


def test_the_kl_term_of_keras_itself_is_for_distributions_that_sum_to_one():
    prior = np.zeros((2, 2, 3), "float32")
    received = keras.losses.KLDivergence()(prior[:, 0], prior[:, 1] + 1)
    assert float(received) != pytest.approx(float(KLLoss()(0.0, prior)), abs=1e-9)


def test_the_kl_term_of_keras_itself_clips_what_is_negative():
    divergence = keras.losses.KLDivergence()
    some = np.full((2, 3), 0.5, "float32")
    assert float(divergence(some, -some)) == float(divergence(some, 0 * some))
    assert float(divergence(-some, some)) == float(divergence(0 * some, some))
