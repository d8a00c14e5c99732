"""The appendix "From Keras 2 to Keras 3" says what both versions answer, entry by entry."""

import re
import sys

import breaks
import pytest
from address import ROOT
from keras2 import ask_porting, in_words, said
from vaebook.records import load_record

PAGE = (ROOT / "book" / "appendix" / "from-keras-2.md").read_text("utf8")
RECORD = load_record("porting")
BREAKS = [function.__name__ for function in breaks.BREAKS]
KEPT = [function.__name__ for function in breaks.KEPT]


def plain(text):
    """Return the words of Markdown code and text alike, on one line."""
    return " ".join(text.replace("`", "").split())


def entry_name(label):
    return label.replace("-", "_")


def read_entries(page):
    """Return the rows of each entry's table by the entry's name, which is its label."""
    _, *pieces = re.split(r"^\(porting-([\w-]+)\)=$", page, flags=re.M)
    entries = {}
    for label, text in zip(pieces[::2], pieces[1::2], strict=True):
        table = re.search(r"^:::\{list-table\}$(.*?)^:::$", text, re.M | re.S)[1]
        rows = re.findall(r"^\* - (.+)\n  - (.+(?:\n    .+)*)", table, re.M)
        assert entry_name(label) not in entries, f"two entries are labelled {label}"
        entries[entry_name(label)] = {head: plain(cell) for head, cell in rows}
    return entries


def read_kept(page):
    section = page.split("## What did not break")[1]
    rows = re.findall(r"^\| (.+) \| (.+) \|$", section, re.M)
    return [plain(answer) for _, answer in rows[1:]]


ENTRIES = read_entries(PAGE)


def compare(shown, answer, where):
    """Compare an answer with the page, which may end it early with three dots."""
    beginning = shown.removesuffix("…")
    if beginning != shown:
        same = plain(answer).startswith(beginning.rstrip())
    else:
        same = plain(answer) == shown
    assert same, f"{where} shows\n  {shown}\nand the answer is\n  {answer}"


@pytest.fixture(scope="module")
def today():
    """What the Keras that is installed answers, in a process of its own."""
    return ask_porting(sys.executable, "keras")


def test_the_page_and_the_record_have_every_break_in_order():
    assert list(ENTRIES) == BREAKS
    assert list(RECORD["breaks"]) == BREAKS
    assert list(RECORD["kept"]) == KEPT
    assert len(read_kept(PAGE)) == len(KEPT)


@pytest.mark.parametrize("name", BREAKS)
def test_an_entry_has_five_rows(name):
    assert list(ENTRIES[name]) == ["in 2022", "Keras 2", "Keras 3", "write", "then it"]


@pytest.mark.parametrize("name", BREAKS)
def test_keras_2_answered_what_the_entry_says(name):
    compare(ENTRIES[name]["Keras 2"], RECORD["breaks"][name], f"Keras 2 in {name}")


@pytest.mark.parametrize("name", BREAKS)
def test_keras_3_answers_what_the_entry_says(name, today):
    compare(ENTRIES[name]["Keras 3"], today["breaks"][name], f"Keras 3 in {name}")


@pytest.mark.parametrize("name", BREAKS)
def test_what_the_entry_says_to_write_works(name, today):
    compare(ENTRIES[name]["then it"], today["fixed"][name], f"the fix of {name}")
    assert "Error" not in today["fixed"][name]
    assert "never calls" not in today["fixed"][name]


@pytest.mark.parametrize("name", BREAKS)
def test_a_break_is_a_break(name, today):
    assert today["breaks"][name] != RECORD["breaks"][name]


@pytest.mark.parametrize(("number", "name"), enumerate(KEPT), ids=KEPT)
def test_what_did_not_break_answers_alike(number, name, today):
    shown = read_kept(PAGE)[number]
    compare(shown, today["kept"][name], f"What did not break, {name}, today")
    compare(shown, RECORD["kept"][name], f"What did not break, {name}, Keras 2")


def test_the_page_lists_what_raises_nothing(today):
    section = PAGE.split("## What raises nothing")[1].split("\n## ")[0]
    now, then = section.split("that Keras 2 did not raise")
    listed = [
        [entry_name(label) for label in re.findall(r"<porting-([\w-]+)>", part)]
        for part in (now, then)
    ]
    silent_now = [name for name in BREAKS if "Error" not in today["breaks"][name]]
    silent_then = [name for name in BREAKS if "never calls" in RECORD["breaks"][name]]
    assert listed == [silent_now, silent_then]


def test_the_page_names_the_version_that_was_asked():
    assert f"`tf_keras`\n{RECORD['versions']['tf_keras']}" in PAGE


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("in user code:\n\n  File 'a.py'\n\n    ValueError: two\n  lines", "two lines"),
        (
            "Exception encountered when calling Draw.call().\n\n\x1b[1mno exp\x1b[0m\n\n"
            "Arguments received by Draw.call():\n  • inputs",
            "no exp",
        ),
        ("None values not supported.", "None values not supported."),
    ],
)
def test_an_error_is_told_without_its_surroundings(message, words):
    assert said(message) == words


def test_an_answer_is_told_as_the_chapters_tell_errors():
    assert in_words({"says": "trains"}) == "trains"
    assert in_words({"error": "KeyError", "message": "'mu'"}) == "KeyError: 'mu'"
    told = in_words({"error": "NotImplementedError", "message": ""})
    assert told == "NotImplementedError without a message"


def test_an_entry_that_differs_is_named():
    compare("trains", "trains", "here")
    compare("ValueError: No …", "ValueError: No shape.", "here")
    for shown, answer in (("trains", "trains; badly"), ("ValueError: No …", "KeyError: No")):
        with pytest.raises(AssertionError, match="here shows"):
            compare(shown, answer, "here")
