"""The ladder of chapter 18: what its rungs are, and the schedule that they share."""

import inspect
import json

import cost_ladder
import pytest
from address import ROOT
from vaebook.records import load_record


def test_the_record_was_made_with_these_settings():
    recorded = load_record("cost_ladder")["settings"]
    assert recorded == json.loads(json.dumps(cost_ladder.SETTINGS))


def test_a_rung_keeps_what_the_rungs_below_it_changed():
    options = cost_ladder.options_of("8 steps a call")
    assert options == {
        "batch_size": 32,
        "images": 100_000,
        "learning_rate": 3e-3,
        "one_cycle": True,
        "policy": "mixed_bfloat16",
        "from": "shards",
        "steps_per_execution": 8,
        "jit_compile": False,
    }
    assert cost_ladder.options_of("Keras 3") == cost_ladder.ARTICLE
    assert cost_ladder.options_of("smaller batch")["policy"] == "float32"


def test_the_learning_rate_goes_up_once_and_down_to_nothing():
    rate = cost_ladder.one_cycle(peak=1.0, steps=100)
    assert [float(rate(step)) for step in (0, 30, 100)] == pytest.approx([0.04, 1, 0], abs=1e-6)
    assert float(rate(65)) == pytest.approx(0.5)  # half way down a cosine


def test_the_chapter_shows_the_schedule_that_the_record_used():
    chapter = ROOT / "book" / "chapters" / "18-when-one-machine-is-small.md"
    assert inspect.getsource(cost_ladder.one_cycle) in chapter.read_text("utf8")
