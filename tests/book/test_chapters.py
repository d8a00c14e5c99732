"""Each chapter has the shape that a reader counts on, and each page can be heard as well."""

import re
from functools import cache
from itertools import pairwise
from urllib.parse import unquote, urlsplit

import pytest
import sync
from address import address, install_cell
from bs4 import BeautifulSoup
from markdown_it import MarkdownIt

BOOK = sync.BOOK
CHAPTERS = sync.chapters()
PAGES = sorted([BOOK / "index.md", *BOOK.glob("appendix/*.md")])
MARKDOWN = MarkdownIt("commonmark", {"html": True})
SHORTEST_ALT = 20  # characters; less than this names a picture and describes nothing

each_chapter = pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
each_text = pytest.mark.parametrize("path", CHAPTERS + PAGES, ids=lambda path: path.stem)


@cache
def words_of(path):
    """Return a page's Markdown without its head; of a chapter, without the code that runs."""
    if path in PAGES:
        return re.sub(r"\A---\n.*?\n---\n", "", path.read_text("utf8"), flags=re.DOTALL)
    cells = sync.read_chapter(path).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def headings(path):
    """Return the level and the text of each heading."""
    tokens = MARKDOWN.parse(words_of(path))
    return [
        (int(token.tag[1]), after.content)
        for token, after in pairwise(tokens)
        if token.type == "heading_open"
    ]


def inline(path, kind):
    """Return the tokens of one kind within the text, such as links and images."""
    tokens = MARKDOWN.parse(words_of(path))
    return [child for token in tokens for child in token.children or () if child.type == kind]


def section(path, title, level=2):
    """Return the text below one heading, up to the next heading of its level."""
    start = re.search(rf"^{'#' * level} {title}$", words_of(path), re.MULTILINE)
    assert start, f"{path.name} has no section {title}"
    rest = words_of(path)[start.end() :]
    end = re.search(rf"^#{{1,{level}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def figure_problems(outputs):
    """List what keeps a cell's figures from being seen and heard."""
    found = []
    for out in outputs:
        kinds = set(out.get("data", {}))
        if any(kind.startswith("image/") for kind in kinds):
            found.append("a figure did not go through vaebook.notebook.show")
        page = BeautifulSoup(out.get("data", {}).get("text/html", ""), "html.parser")
        for image in page.find_all("img"):
            alt, figure = image.get("alt", "").strip(), image.find_parent("figure")
            caption = figure.find("figcaption") if figure else None
            text = caption.get_text().strip() if caption else ""
            if len(alt) < SHORTEST_ALT:
                found.append(f"expected an alt text of {SHORTEST_ALT} characters: {alt!r}")
            if not text:
                found.append(f"the figure has no caption, its alt text is {alt!r}")
            if alt == text:
                found.append(f"alt text and caption are the same: {alt!r}")
    return found


@each_chapter
def test_title_carries_the_number_of_the_file(chapter):
    number = int(chapter.stem.split("-")[0])
    assert headings(chapter)[0][1].startswith(f"{number}. ")


@each_chapter
def test_first_code_cell_installs_the_package_on_colab(chapter):
    first = sync.code_cells(sync.read_chapter(chapter))[0]
    assert first.source == install_cell(address())


@each_chapter
def test_aims_come_before_the_first_section(chapter):
    opening = words_of(chapter).split("\n## ")[0]
    assert "**After this chapter you can**" in opening


@each_chapter
def test_a_check_cell_asserts_what_the_chapter_claims(chapter):
    checks = [
        cell
        for cell in sync.code_cells(sync.read_chapter(chapter))
        if "check" in cell.metadata.get("tags", [])
    ]
    assert checks, "expected a cell tagged check"
    assert all("assert " in cell.source for cell in checks)


@each_chapter
def test_it_ends_with_check_summary_and_exercises(chapter):
    titles = [title for level, title in headings(chapter) if level == 2]
    assert titles[-3:] == ["Check", "Summary", "Exercises"]
    assert section(chapter, "Summary").strip()


@each_chapter
def test_every_exercise_has_its_solution(chapter):
    asked, _, answered = section(chapter, "Exercises").partition("\n### Solutions\n")
    exercises = re.findall(r"^(\d+)\. ", asked, re.MULTILINE)
    solutions = re.findall(r"^\**Exercise (\d+)\.", answered, re.MULTILINE)
    assert exercises
    assert solutions == exercises


@each_chapter
def test_every_figure_has_an_alt_text_and_a_caption(chapter):
    stored = sync.read_notebook(sync.notebook_path(chapter))
    found = [
        f"cell {number}: {problem}"
        for number, cell in enumerate(sync.code_cells(stored))
        for problem in figure_problems(cell.outputs)
    ]
    assert found == []


@each_text
def test_headings_go_down_one_level_at_a_time(path):
    levels = [level for level, _ in headings(path)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


@each_text
def test_every_picture_in_the_text_has_an_alt_text(path):
    assert all(len(image.content) >= SHORTEST_ALT for image in inline(path, "image"))
    for image in BeautifulSoup(words_of(path), "html.parser").find_all("img"):
        assert len(image.get("alt", "")) >= SHORTEST_ALT


def slug(words):
    """Return the anchor that a heading or a row of an appendix's table gets."""
    return re.sub(r"[^a-z0-9]+", "-", words.lower().replace("`", "")).strip("-")


@cache
def anchors(path):
    """Return what a link may name after its #: headings, labels, rows, terms."""
    text = path.read_text("utf8")
    titles = [title for level, title in headings(path) if level <= 3]
    rows = [slug(row)[:60].strip("-") for row in re.findall(r"^\| (.+?) \| ", text, re.M)]
    labels = re.findall(r"^\(([\w-]+)\)=$", text, re.M)
    terms = [
        f"term-{line.replace(' ', '-')}" for line in text.splitlines() if line[:1].isalpha()
    ]
    return {*map(slug, titles), *rows, *labels, *terms}


def links_astray(path):
    """List the links that lead to no file of the book, or to no place in one."""
    # Jupyter Book and Colab read a chapter from the folder of its notebook.
    folder = BOOK / "notebooks" if path in CHAPTERS else path.parent
    found = []
    for link in inline(path, "link_open"):
        parts = urlsplit(link.attrs["href"])
        if parts.scheme:
            continue
        target = (folder / unquote(parts.path)).resolve() if parts.path else path
        if target.suffix == ".ipynb":
            target = BOOK / "chapters" / f"{target.stem}.md"
        if not target.is_file() or (parts.fragment and parts.fragment not in anchors(target)):
            found.append(link.attrs["href"])
    return found


@each_text
def test_every_link_within_the_book_leads_somewhere(path):
    assert links_astray(path) == []


def test_a_link_to_a_heading_that_is_not_there_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A page\n\n[good](#a-page) [bad](#nowhere) [gone](gone.md)\n")
    PAGES.append(page)
    try:
        assert links_astray(page) == ["#nowhere", "gone.md"]
    finally:
        PAGES.remove(page)


def glossary():
    """Return the terms of the glossary, in small letters."""
    text = (BOOK / "appendix" / "glossary.md").read_text("utf8")
    return {line.lower() for line in text.splitlines() if re.match(r"[A-Za-z]", line)}


@each_chapter
def test_a_term_that_leads_to_the_glossary_is_there(chapter):
    defined = re.findall(
        r"\[\*\*([^*]+)\*\*\]\(\.\./appendix/glossary\.md\)", words_of(chapter)
    )
    terms = glossary()
    assert [t for t in defined if not {t.lower(), t.lower().removesuffix("s")} & terms] == []


PICTURE = "data:image/png;base64,AAAA"
GOOD = "A line that falls from 0.26 to 0.20 over six epochs"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"text/html": f'<img alt="{GOOD}" src="{PICTURE}">'}, "no caption"),
        (
            {"text/html": f'<img src="{PICTURE}"><figcaption>Loss</figcaption>'},
            "expected an alt text",
        ),
        (
            {
                "text/html": f'<figure><img alt="{GOOD}" src="{PICTURE}">'
                f"<figcaption>{GOOD}</figcaption></figure>"
            },
            "the same",
        ),
        ({"image/png": "AAAA", "text/plain": "<Figure>"}, "did not go through"),
    ],
)
def test_a_figure_without_its_words_is_refused(data, expected):
    assert expected in "; ".join(figure_problems([{"data": data}]))


def test_a_figure_with_its_words_passes():
    page = f'<figure><img alt="{GOOD}" src="{PICTURE}"><figcaption>Loss</figcaption></figure>'
    assert figure_problems([{"data": {"text/html": page}}]) == []
