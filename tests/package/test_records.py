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


def test_the_memory_of_a_stream_does_not_grow_with_the_images():
    runs = records.load_record("stream_memory")["runs"]
    assert sorted({(run["kind"], run["images"], run["seed"]) for run in runs}) == [
        (kind, images, seed)
        for kind, counts in (("array", (60_000, 120_000)), ("shards", (60_000, 600_000)))
        for images in counts
        for seed in (1, 2, 3)
    ]
    of_shards = [run["growth_mb"] for run in runs if run["kind"] == "shards"]
    assert max(of_shards) < 40 < 900 < min(r["growth_mb"] for r in runs if r["kind"] == "array")


def test_the_ladder_trains_the_article_s_objective_from_five_seeds():
    ladder = records.load_record("cost_ladder")
    settings = ladder["settings"]
    assert settings["weight"] == PART_VI_WEIGHT
    assert settings["article"]["images"] == 6 * SIX_EPOCHS["settings"]["images"]
    assert all(list(each) == list(settings["rungs"]) for each in ladder["costs"])
    trained = sorted((run["rung"], run["seed"]) for run in ladder["runs"])
    assert trained == sorted(
        (rung, seed) for rung, seeds in settings["trained"].items() for seed in seeds
    )
    assert settings["trained"]["8 steps a call"] == [1, 2, 3, 4, 5]
