import json

import pytest
from vaebook import records


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "RECORDS", tmp_path)
    return tmp_path


def test_a_record_is_read_as_it_was_saved(folder):
    path = records.save_record("mine", {"loss": [0.25, 0.125]})
    assert records.load_record("mine") == {"loss": [0.25, 0.125]}
    assert [path.name] == [entry.name for entry in folder.iterdir()]


def test_a_record_that_cannot_be_written_leaves_the_old_one(folder):
    records.save_record("mine", {"loss": 1})
    with pytest.raises(TypeError):
        records.save_record("mine", {"loss": object()})
    assert json.loads((folder / "mine.json").read_text()) == {"loss": 1}


def test_an_unknown_record_is_refused(folder):
    records.save_record("mine", {})
    with pytest.raises(ValueError, match=r"out of \['mine'\]. Received: 'yours'"):
        records.load_record("yours")
