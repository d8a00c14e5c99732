"""A chapter is made for reading: a picture first, short cells, and folded machinery."""

import re
from itertools import takewhile

import pytest
import sync

CHAPTERS = sync.chapters()
LONGEST_CELL = 25  # lines
WORDS_BEFORE_A_PICTURE = 200  # about one screen

each_chapter = pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)


def cells(chapter):
    return sync.read_chapter(chapter).cells


def tags(cell):
    return set(cell.metadata.get("tags", []))


def shows_a_figure(cell):
    return cell.cell_type == "code" and any(
        "<figure" in out.get("data", {}).get("text/html", "") for out in cell.outputs
    )


@each_chapter
def test_no_code_cell_is_longer_than_a_screen(chapter):
    lengths = {
        number: len(cell.source.splitlines())
        for number, cell in enumerate(sync.code_cells(sync.read_chapter(chapter)))
    }
    assert {number: n for number, n in lengths.items() if n > LONGEST_CELL} == {}


@each_chapter
def test_a_picture_stands_on_the_first_screen(chapter):
    stored = sync.read_notebook(sync.notebook_path(chapter)).cells
    before = list(takewhile(lambda cell: not shows_a_figure(cell), stored))
    assert len(before) < len(stored), "the chapter shows no figure"
    words = " ".join(cell.source for cell in before if cell.cell_type == "markdown").split()
    assert len(words) <= WORDS_BEFORE_A_PICTURE


@each_chapter
def test_the_install_cell_is_not_on_the_page(chapter):
    assert "remove-cell" in tags(sync.code_cells(sync.read_chapter(chapter))[0])


@each_chapter
def test_imports_are_folded(chapter):
    for cell in sync.code_cells(sync.read_chapter(chapter))[1:]:
        own = re.sub('""".*?"""', "", cell.source, flags=re.DOTALL)  # not a program to be shown
        if len(re.findall(r"^(?:import|from) ", own, re.MULTILINE)) >= 3:
            assert tags(cell) & {"hide-input", "hide-cell"}, cell.source[:80]


@each_chapter
def test_solutions_are_folded(chapter):
    below = False
    for cell in cells(chapter):
        below = below or "### Solutions" in cell.source
        if below and cell.cell_type == "code":
            assert tags(cell) & {"hide-input", "hide-cell"}, cell.source[:80]
