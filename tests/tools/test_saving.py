"""Records have one schema, one module each, and survive an interruption."""

import importlib
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
import saving
from address import ROOT

FOLDER = ROOT / "tools" / "records"
MODULES = sorted(path for path in FOLDER.glob("*.py") if path.stem != "__main__")
RECORDED = sorted(saving.FOLDER.glob("*.json"))
SETTINGS = {"seed": 1}


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_a_record_says_what_every_record_says(path):
    assert saving.problems(json.loads(path.read_text("utf8"))) == []


def test_each_record_has_its_module_and_each_module_its_record():
    assert [path.stem for path in RECORDED] == [path.stem for path in MODULES]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_module_of_a_record_has_settings_and_measures(path):
    module = importlib.import_module(path.stem)
    assert "seed" in module.SETTINGS
    assert callable(module.measure)


def test_the_command_names_the_records_that_there_are():
    done = subprocess.run(
        [sys.executable, FOLDER, "nosuch"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert f"Expected names out of {[path.stem for path in MODULES]}" in done.stderr


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"environment": {"processor": ""}}, "it lacks ['processor'"),
        ({"settings": {}}, "expected a seed"),
        ({"settings": {"seed": "3"}}, "expected a seed"),
        ({"settings": {"seed": []}}, "expected a seed"),
        ({"date": "today"}, "expected one such as 2026-11-22"),
    ],
)
def test_a_record_that_says_less_is_refused(change, expected):
    record = saving.framed(SETTINGS, {"loss": 1.0})
    assert saving.problems(record) == []
    assert expected in "; ".join(saving.problems(record | change))


def test_a_record_that_measured_nothing_is_refused():
    assert saving.problems(saving.framed(SETTINGS, {})) == ["nothing was measured"]
    assert saving.problems({"runs": []})[0] == "it has no settings"


def test_a_result_may_not_take_the_name_of_what_every_record_says():
    with pytest.raises(ValueError, match=r"Received: \['date'\]"):
        saving.framed(SETTINGS, {"date": 3})


def test_what_cannot_be_written_leaves_the_old_record(tmp_path):
    path = tmp_path / "mine.json"
    saving.save(path, {"loss": 1})
    with pytest.raises(TypeError):
        saving.save(path, {"loss": object()})
    assert json.loads(path.read_text()) == {"loss": 1}


def test_a_record_that_is_measured_in_one_go_is_saved_with_its_settings(tmp_path):
    module = SimpleNamespace(SETTINGS=SETTINGS, measure=lambda: {"loss": 0.25})
    path = saving.make("mine", module, folder=tmp_path)
    record = json.loads(path.read_text())
    assert record["settings"] == SETTINGS
    assert record["loss"] == 0.25
    assert list(tmp_path.iterdir()) == [path]


def growing(stops_after=None, settings=SETTINGS):
    """A record of three runs, whose measurement may be interrupted."""

    def measure(stored):
        runs = stored.get("runs", [])
        for run in range(len(runs), 3):
            if run == stops_after:
                raise KeyboardInterrupt
            measured.append(run)
            runs.append(run)
            yield {"runs": runs}

    measured = []
    return SimpleNamespace(SETTINGS=settings, measure=measure, measured=measured)


def interrupted(folder):
    with pytest.raises(KeyboardInterrupt):
        saving.make("mine", growing(stops_after=2), folder=folder)


def test_an_interrupted_record_goes_on_where_it_stopped(tmp_path):
    interrupted(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.part.json"]
    rest = growing()
    path = saving.make("mine", rest, folder=tmp_path)
    assert rest.measured == [2]
    assert json.loads(path.read_text())["runs"] == [0, 1, 2]
    assert list(tmp_path.iterdir()) == [path]


def test_an_interruption_leaves_the_whole_record_as_it_was(tmp_path):
    path = saving.make("mine", growing(), folder=tmp_path)
    before = path.read_text()
    interrupted(tmp_path)
    assert path.read_text() == before


def test_a_record_does_not_go_on_with_other_settings(tmp_path):
    interrupted(tmp_path)
    other = growing(settings={"seed": 2})
    with pytest.raises(saving.OtherSettings, match="Use --again"):
        saving.make("mine", other, folder=tmp_path)
    saving.make("mine", other, again=True, folder=tmp_path)
    assert other.measured == [0, 1, 2]
