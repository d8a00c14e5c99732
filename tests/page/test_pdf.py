"""The printed book: one PDF, with bookmarks, links that lead within it, and no fold."""

from html.parser import HTMLParser

import pdf
import pytest
from browser import find
from built import site
from pypdf import PdfReader

FIRST = "book/index"
PARTS = [("Appendices", ["book/appendix/glossary", "book/appendix/references"])]
CHAPTER = next(file for _, files in pdf.contents()[1] for file in files if "/06-" in file)


class Anchors(HTMLParser):
    """What a page of HTML names, what it links to, and how many folds are shut."""

    def __init__(self):
        super().__init__()
        self.names, self.links, self.shut = [], set(), 0

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if "id" in attributes:
            self.names.append(attributes["id"])
        if tag == "use":  # a mark or a tick in a drawing
            self.links.add(attributes["xlink:href"].removeprefix("#"))
        if tag == "a" and attributes.get("href", "").startswith("#"):
            self.links.add(attributes["href"][1:])
        self.shut += tag == "details" and "open" not in attributes


def test_the_one_page_has_each_anchor_once_and_no_link_to_a_lost_one():
    found = Anchors()
    found.feed(pdf.one_page(site(), *pdf.contents()))
    assert len(found.names) > 500
    assert len(found.names) == len(set(found.names))
    assert found.links - set(found.names) == set()
    assert found.shut == 0


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    if find() is None:
        pytest.skip("no browser on this machine")
    target = tmp_path_factory.mktemp("pdf") / "book.pdf"
    parts = [("A part", [CHAPTER]), *PARTS]
    pdf.print_pdf(pdf.one_page(site(), FIRST, parts), target)
    return PdfReader(target)


def titles(outline):
    for entry in outline:
        yield from titles(entry) if isinstance(entry, list) else [entry.title]


def test_its_bookmarks_are_the_headings(printed):
    found = list(titles(printed.outline))
    assert "6. A loss for each output" in found
    assert "Glossary" in found
    assert "Exercises" in found


def test_its_links_lead_within_it(printed):
    notes = [note.get_object() for page in printed.pages for note in page.get("/Annots", [])]
    assert sum("/Dest" in note for note in notes) > 50


def test_its_solutions_are_printed(printed):
    text = "".join(page.extract_text() for page in printed.pages)
    assert "the mean of 0 and 4 is [2.]" in text
