"""The page of questions leads each of them to an answer, and the short programs print theirs.

`test_chapters.py` follows the links. Here stands what a question needs: its form, an answer of
a sentence or two, and a place within a page.
"""

import re
import runpy

import keras
import pytest
from address import ROOT
from test_reports import prints_of

APPENDIX = ROOT / "book" / "appendix"
QUESTIONS = (APPENDIX / "questions.md").read_text("utf8")
PROGRAMS = (APPENDIX / "programs.md").read_text("utf8")
FEWEST = 4  # questions in a group
LONGEST = 45  # words of an answer
OUTSIDE = "Outside this book"


def groups_of(page):
    """Return the rows of each group of questions, as lists of their cells."""
    parts = re.split(r"^## (.+)$", page, flags=re.MULTILINE)[1:]
    return {
        title: [
            re.split(r" *(?<!\\)\| *", line.strip("| "))
            for line in text.splitlines()
            if re.match(r"\| (?!question |subject |-)", line)
        ]
        for title, text in zip(parts[::2], parts[1::2], strict=True)
    }


GROUPS = groups_of(QUESTIONS)
ROWS = [row for rows in GROUPS.values() for row in rows]
INSIDE = [row for title, rows in GROUPS.items() if title != OUTSIDE for row in rows]


def plain(words):
    return " ".join(re.findall(r"\w+", words.lower()))


def problems_of(question, answer, where):
    """List what is wrong with one row."""
    links = re.findall(r"\]\(([^)]+)\)", where)
    words = re.sub(r"\]\([^)]+\)", "]", answer).split()
    return [
        what
        for what, wrong in (
            ("is no question", not (question[0].isupper() and "?" in question[-2:])),
            ("has no answer", not answer.endswith(".")),
            ("is answered at length", len(words) > LONGEST),
            ("leads nowhere", not links),
            ("leads to a whole page", any("#" not in link for link in links)),
        )
        if wrong
    ]


@pytest.mark.parametrize("title", [title for title in GROUPS if title != OUTSIDE])
def test_a_group_has_questions(title):
    assert len(GROUPS[title]) >= FEWEST


@pytest.mark.parametrize("row", INSIDE, ids=lambda row: plain(row[0])[:60])
def test_a_question_has_a_short_answer_and_a_place(row):
    assert problems_of(*row) == []


@pytest.mark.parametrize("row", GROUPS[OUTSIDE], ids=lambda row: plain(row[0])[:60])
def test_what_is_outside_has_a_pointer(row):
    subject, pointer = row
    assert subject
    assert re.search(r"\]\(([^)]+)\)", pointer)


def test_no_question_is_asked_twice():
    asked = [plain(row[0]) for row in ROWS]
    assert sorted(asked) == sorted(set(asked))


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (("Losses", "They add up.", "[6](a#b)"), ["is no question"]),
        (("Why?", "They add up", "[6](a#b)"), ["has no answer"]),
        (("Why?", "They add up." + 50 * " So."[:4] + " So.", "[6](a#b)"), None),
        (("Why?", "They add up.", "chapter 6"), ["leads nowhere"]),
        (("Why?", "They add up.", "[6](a)"), ["leads to a whole page"]),
        (("Why?", "They add up.", "[6](a#b)"), []),
    ],
)
def test_a_row_without_its_parts_is_found(row, expected):
    assert problems_of(*row) == (["is answered at length"] if expected is None else expected)


# --- the short programs ------------------------------------------------------------------

FOLDER = APPENDIX / "programs"
PRINTS = prints_of(PROGRAMS)
SHOWN = list(PRINTS)


def test_the_page_shows_each_program_once():
    assert sorted(SHOWN) == sorted(path.stem for path in FOLDER.glob("*.py"))


@pytest.mark.parametrize("name", SHOWN)
def test_a_program_prints_what_its_page_says(name, capfd):
    keras.utils.clear_session()  # names of layers are counted anew
    runpy.run_path(FOLDER / f"{name}.py")
    assert capfd.readouterr().out == PRINTS[name]


@pytest.mark.parametrize("name", SHOWN)
def test_a_question_leads_to_each_program(name):
    before = PROGRAMS.split(f"programs/{name}.py")[0]
    heading = re.findall(r"^## (.+)$", before, re.MULTILINE)[-1]
    anchor = re.sub(r"[^a-z0-9]+", "-", heading.lower().replace("`", "")).strip("-")
    assert f"programs.md#{anchor})" in QUESTIONS
