"""The subjects that the search knows lead to sections that are there."""

import re

import pytest
from address import ROOT
from search_words import OTHER_NAMES, SUBJECTS

PAGES = sorted([*ROOT.glob("book/chapters/*.md"), *ROOT.glob("book/appendix/*.md")])


def sections(page):
    """Return the anchors of a page's headings."""
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#{2,3} (.+)$", text, re.MULTILINE)
    return [re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") for title in titles]


@pytest.mark.parametrize(("head", "anchor"), sorted({subject[:2] for subject in SUBJECTS}))
def test_a_subject_leads_to_a_section(head, anchor):
    found = [page for page in PAGES if page.stem.startswith(head)]
    assert len(found) == 1
    assert anchor in sections(found[0])


def test_no_words_lead_to_two_places():
    words = [word.lower() for *_, subjects in SUBJECTS for word in subjects.split("; ")]
    assert sorted(words) == sorted(set(words))


@pytest.mark.parametrize("mark", [mark for mark, _ in OTHER_NAMES])
def test_a_page_has_what_other_names_stand_for(mark):
    assert any(re.search(mark, page.read_text("utf8"), re.IGNORECASE) for page in PAGES)
