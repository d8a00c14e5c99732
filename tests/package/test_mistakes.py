"""Every mistake of the book is found by its code, or it is said why it cannot be."""

import re
from pathlib import Path

import keras
import pytest
from vaebook.audit import CODES, audit
from vaebook.mistakes import BEYOND, MISTAKES
from vaebook.records import load_record
from vaebook.routes import ROUTES

BOOK = Path(__file__).parents[2] / "book"
PAGES = sorted((BOOK / "chapters").glob("*.md"))
ERRORS = BOOK / "appendix" / "errors.md"

# Keras 3.13 does not yet divide what a regularizer returns by the batch size (keras#22021).
DIVIDES = tuple(map(int, keras.__version__.split(".")[:2])) > (3, 13)
CASES = [name for name in MISTAKES if DIVIDES or name != "a mean as regulariser"]


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_of_the_book_is_found_by_its_code(name):
    mistake = MISTAKES[name]
    report = audit(**{"reload": False, **mistake.build()})
    found = report.information if mistake.harmless else report.findings
    assert mistake.code in [each.code for each in found], str(report)


def test_the_record_of_chapter_19_has_every_mistake():
    rows = load_record("doctor")["mistakes"]
    assert {name: row["code"] for name, row in rows.items()} == {
        name: mistake.code for name, mistake in MISTAKES.items()
    }
    assert all(row["message"] for row in rows.values())
    assert list(load_record("doctor")["routes"]) == list(ROUTES)
    assert not any(load_record("doctor")["routes"].values())


TRAPS = {
    1: ["codes drawn from another place"],
    2: ["exp(log_var) as spread", "the ½ forgotten", "a mean for a sum"],
    3: ["KL of numbers from before"],
    4: ["noise of an integer seed"],
    5: ["mu and log_var swapped"],
    6: ["a loss of one number"],
    7: ["labels as targets of mu"],
    8: ["the log's number is not the model's"],
    9: [
        "a KL layer beside the path",
        "one number for each image",
        "a weight that is trained",
        "a tracker that predict moves",
    ],
    10: ["a plain mean on two devices", "sample weights, no target"],
    11: ["no scale_loss", "no training flag"],
    12: ["one number on two devices"],
}
"""The sections of each chapter that are called a trap, in the order of the page."""

HELD = {"kl-absent", "kl-other-form"}
SECTIONS = re.compile(r"^## (A trap: .*)\n((?:(?!^## ).*\n)*)", re.M)


def sections():
    return [
        (int(page.name[:2]), *found)
        for page in PAGES
        for found in SECTIONS.findall(page.read_text("utf8"))
    ]


@pytest.mark.parametrize(("chapter", "heading", "text"), sections())
def test_a_trap_of_a_chapter_names_the_code_that_finds_it(chapter, heading, text):
    codes = {MISTAKES[name].code for name in TRAPS.get(chapter, ()) if name in MISTAKES}
    assert "(19-a-doctor-for-your-model.ipynb)" in text, heading
    if codes:
        assert any(f"`{code}`" in text for code in codes), heading


def test_every_trap_is_a_mistake_that_is_found_or_beyond():
    named = [name for names in TRAPS.values() for name in names]
    assert set(named) <= {*MISTAKES, *BEYOND}
    with_a_section = {chapter for chapter, _, _ in sections()}
    assert with_a_section <= set(TRAPS)
    for name, (_, reason) in BEYOND.items():
        assert reason, name


def silent_rows():
    table = ERRORS.read_text("utf8").split("## What it does not say")[1]
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in table.splitlines()
        if line.startswith("| ") and not line.startswith("| what")
    ]


@pytest.mark.parametrize("row", silent_rows(), ids=lambda row: f"{row[0]}, {row[1]}"[:60])
def test_a_silent_row_of_the_index_has_a_code_or_a_reason(row):
    assert len(row) == 5
    if row[4].startswith("no: "):
        assert len(row[4]) > 10
    else:
        assert row[4].strip("`") in {mistake.code for mistake in MISTAKES.values()}


def test_every_mistake_names_a_code_and_a_chapter_that_there_is():
    chapters = {int(page.name[:2]) for page in PAGES}
    for name, mistake in MISTAKES.items():
        assert mistake.code in CODES, name
        assert mistake.chapter in chapters, name
