"""The words that CONTRIBUTING advises against are nowhere to be read."""

import ast
import re

import pytest
import sync
from address import ROOT

GUIDE = ROOT / "CONTRIBUTING.md"
START, END = "<!-- words -->", "<!-- end of words -->"


def guide():
    """Return CONTRIBUTING in three parts: before the table of words, the table, the rest."""
    before, rest = GUIDE.read_text("utf8").split(START)
    table, after = rest.split(END)
    return before, table, after


def advised_against():
    """Return the words of the table's first column."""
    rows = re.findall(r"^\| (.+?) \| .+ \|$", guide()[1], re.MULTILINE)[1:]
    return [word for row in rows for word in row.split(", ")]


SAMPLE = advised_against()[0]
WORDS = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, advised_against()))})(?!\w)", re.I)


def prose_of_code(path):
    """Return a program's docstrings, comments and texts: its names are not prose."""
    source = path.read_text("utf8")
    texts = [
        node.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    return "\n".join([*texts, *re.findall(r"#.*", source)])


def prose(path):
    if path == GUIDE:
        return "".join(guide()[::2])
    return prose_of_code(path) if path.suffix == ".py" else path.read_text("utf8")


FILES = sorted(
    [
        *ROOT.glob("*.md"),
        ROOT / "Makefile",
        *sync.chapters(),
        ROOT / "book" / "index.md",
        *ROOT.glob("book/appendix/**/*.md"),
        *ROOT.glob("book/appendix/**/*.py"),
        *ROOT.glob("src/vaebook/*.py"),
        *ROOT.glob("tools/**/*.py"),
        *ROOT.glob("tests/**/*.py"),
    ]
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_word_that_the_guide_advises_against(path):
    found = [match.group() for match in WORDS.finditer(prose(path))]
    assert found == [], f"CONTRIBUTING.md says what to write instead of {sorted(set(found))}"


@pytest.mark.parametrize("text", [f"It {SAMPLE.upper()} it.", f"({SAMPLE})"])
def test_a_word_is_found_in_any_case(text):
    assert WORDS.search(text)


@pytest.mark.parametrize("text", [f"re{SAMPLE}", f"{SAMPLE}ation"])
def test_a_word_within_another_is_not_found(text):
    assert not WORDS.search(text)
