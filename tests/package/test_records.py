import pytest
from vaebook import records
from vaebook.losses import beta_from_weight
from vaebook.networks import NetworkSpec
from vaebook.routes import PART_VI_WEIGHT, ROUTES

NAMES = ("reconstruction", "mu", "log_var")


def test_an_unknown_record_is_refused():
    with pytest.raises(ValueError, match=r"out of \[.*'six_epochs'.*\]. Received: 'mine'"):
        records.load_record("mine")


# The records that come with the package: what chapters show, and nothing else.
SIX_EPOCHS = records.load_record("six_epochs")
TARGET_MEMORY = records.load_record("target_memory")


def test_the_six_epochs_were_run_as_the_package_runs_them():
    settings, spec = SIX_EPOCHS["settings"], NetworkSpec()
    assert settings["weight"] == PART_VI_WEIGHT
    assert settings["beta"] == beta_from_weight(
        PART_VI_WEIGHT, spec.image_shape, spec.latent_dim
    )
    assert settings["route"] in ROUTES
    assert (settings["images"], settings["batch_size"], settings["epochs"]) == (60_000, 128, 6)


def test_the_six_epochs_have_three_seeds_for_each_order_and_learning_rate():
    runs = [(run["order"], run["learning_rate"], run["seed"]) for run in SIX_EPOCHS["runs"]]
    wanted = {"repeated": (1e-4, 5e-4, 1e-3), "reshuffled": (5e-4,)}
    assert sorted(runs) == sorted(
        (order, rate, seed) for order in wanted for rate in wanted[order] for seed in (1, 2, 3)
    )


@pytest.mark.parametrize("run", SIX_EPOCHS["runs"], ids=lambda run: f"{run['learning_rate']:g}")
def test_the_recorded_parts_add_up_and_the_loss_falls(run):
    history = run["history"]
    parts = zip(*(history[f"{name}_loss"] for name in NAMES), strict=True)
    # The last of 469 batches is smaller, and counts in full for the parts only.
    assert [sum(part) for part in parts] == pytest.approx(history["loss"], rel=1e-3)
    assert len(history["loss"]) == 6
    assert sorted(history["loss"], reverse=True) == history["loss"]


def test_the_memory_of_each_kind_of_target_is_recorded_once():
    kinds = [run["targets"] for run in TARGET_MEMORY["runs"]]
    assert len(set(kinds)) == len(kinds) == 8
    assert all(run["growth_mb"] > 0 for run in TARGET_MEMORY["runs"])
