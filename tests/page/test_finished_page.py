"""The finishing step, on small pages that look as the theme writes them."""

import base64
import json

import finished_page
import pytest
from bs4 import BeautifulSoup
from sphinx.errors import ExtensionError

PAGE = """<html><head><title>6. A loss — The book</title>
<script>document.documentElement.dataset.mode = "";</script>
<script src="../../_static/vendor/fontawesome/6.5.2/js/all.min.js"></script>
<script src="../../_static/mathjax/mathjax.js"></script></head><body>
<header class="bd-header"></header>
<div class="sidebar-primary-item"><a class="navbar-brand"><img class="logo__image" src="l.svg">
</a></div>
<main id="main-content" role="main"><button class="primary-toggle" title="x"></button>
<article class="bd-article"><section id="a-loss"><h1>6. A loss</h1>
<p>The first words of a page say what it is about, and search engines show them.</p>
{body}</section></article></main>
<footer class="bd-footer-content"><div class="bd-footer-content__inner">By</div></footer>
</body></html>"""
NAME = "book/notebooks/06-a-loss"


@pytest.fixture
def site():
    return finished_page.Site(
        title="The book",
        repository="https://github.com/Me/book",
        terms={"nats": ("term-nats", "Units of information.")},
        versions="Tested with Keras 3",
    )


def finished(site, body="", name=NAME):
    text = finished_page.finish_page(PAGE.format(body=body), name, site)
    return BeautifulSoup(text, "html.parser")


@pytest.mark.parametrize(
    ("lost", "wanted"),
    [
        ('<header class="bd-header"></header>', "header.bd-header"),
        ("fontawesome", 'script[src*="fontawesome"]'),
        ("bd-footer-content__inner", "bd-footer-content__inner"),
        ("navbar-brand", ".navbar-brand"),
        ("primary-toggle", ".primary-toggle"),
        ("dataset.mode", "dataset.mode"),
    ],
)
def test_an_unknown_theme_stops_the_build_and_says_what_was_looked_for(site, lost, wanted):
    text = PAGE.format(body="").replace(lost, "")
    with pytest.raises(ExtensionError) as raised:
        finished_page.finish_page(text, NAME, site)
    assert wanted in str(raised.value)
    assert f"{NAME}.html" in str(raised.value)
    assert "sphinx-book-theme" in str(raised.value)


def test_a_script_of_search_that_changed_stops_the_build(tmp_path):
    script = tmp_path / "searchtools.js"
    script.write_text("another")
    with pytest.raises(ExtensionError, match=r'Expected .*role="main".* in searchtools\.js'):
        finished_page.replace_in(script, (finished_page.SEARCH_SCOPE, "article"))


def test_a_finished_page_is_left_alone(site):
    once = finished_page.finish_page(PAGE.format(body=""), NAME, site)
    assert finished_page.finish_page(once, NAME, site) == once


def test_a_page_without_mathematics_loads_no_mathjax(site):
    assert not finished(site).select('script[src*="mathjax"]')
    assert finished(site, '<div class="math">x</div>').select('script[src*="mathjax"]')


def test_a_page_says_what_it_is(site):
    head = finished(site).head
    words = "The first words of a page say what it is about, and search engines show them."
    assert head.select_one("meta[name=description]")["content"] == words
    assert head.select_one('meta[property="og:title"]')["content"] == "6. A loss"
    assert (
        head.select_one("link[rel=canonical]")["href"]
        == f"https://me.github.io/book/{NAME}.html"
    )


def test_a_placeholder_address_is_not_called_canonical(site):
    site.repository = "https://github.com/OWNER/book"
    assert not finished(site).select("link[rel=canonical], meta[property='og:url']")


SOLUTION = """<section id="solutions"><h3>Solutions</h3>
<p>Exercise 1. It is 2.</p><div class="cell"><details class="hide above-input">
<summary><p class="collapsed">Show code</p><p class="expanded">Hide code</p></summary>
<div class="cell_input">1 + 1</div></details><div class="cell_output">2</div></div>
<p>Exercise 2. None.</p></section>"""


def test_folds_of_code_that_follow_one_another_are_one_fold(site):
    cell = """<div class="cell tag_hide-input"><details class="above-input">
    <summary><p>Show</p><p>Hide</p></summary>
    <div class="cell_input">{}</div></details>{}</div>"""
    output = '<div class="cell_output">a picture</div>'
    body = cell.format("one", "") + cell.format("two", "") + cell.format("three", output)
    folds = finished(site, body + "<p>Between.</p>" + cell.format("four", "")).select("details")
    assert [[code.get_text() for code in fold.select(".cell_input")] for fold in folds] == [
        ["one", "two"],
        ["three"],
        ["four"],
    ]


def test_each_solution_is_folded_whole(site):
    folds = finished(site, SOLUTION).select("#solutions details")
    assert [fold.summary.span.get_text() for fold in folds] == [
        "Show the solution of exercise 1",
        "Show the solution of exercise 2",
    ]
    assert "It is 2." in folds[0].get_text()
    assert folds[0].select(".cell_input")
    assert folds[0].select(".cell_output")


def test_an_answer_is_folded_and_what_stands_around_it_is_not(site):
    text = "<p>Why?</p><p><strong>Answer.</strong> No reason.</p><p>The test.</p>"
    page = finished(site, f"<section><h2>A case</h2>{text}</section>")
    (fold,) = page.select("article details")
    assert fold.summary.get_text(" ") == "Show the answer Hide the answer"
    assert fold.p.get_text().strip() == "No reason."
    assert [it.get_text() for it in page.select("h2 ~ p")] == ["Why?", "The test."]


def test_an_answer_within_a_sentence_stays(site):
    text = "<p>He said <strong>Answer.</strong> and left.</p>"
    assert not finished(site, text).select("article details")


GLOSSARY_LINK = '<p>in <a href="../appendix/glossary.html">{}</a></p>'


@pytest.mark.parametrize("words", ["nats", "Nats", "<strong>nats</strong>"])
def test_a_link_to_the_glossary_goes_to_its_term_and_carries_the_definition(site, words):
    page = finished(site, GLOSSARY_LINK.format(words))
    link = page.select_one("a.term")
    assert link["href"] == "../appendix/glossary.html#term-nats"
    tip = page.find(id=link["aria-describedby"])
    assert tip.get_text() == "Units of information."
    assert not tip.find_parent("article")


def test_a_link_to_the_glossary_that_names_no_term_is_reported(site):
    finished(site, GLOSSARY_LINK.format("gnats"))
    assert site.lost == [f"{NAME}: 'gnats'"]


TABLE = """<table class="table"><thead><tr><th>message</th><th>fix</th></tr></thead><tbody>
<tr><td><p>{long}</p></td><td>{long}</td></tr><tr><td><p>{long}</p></td><td>d</td></tr>
</tbody></table>"""


def test_a_wide_table_carries_its_heads_in_its_cells(site):
    cells = finished(site, TABLE.format(long="word " * 40)).select("table.stacks td")
    assert [cell.get("data-label") for cell in cells] == ["message", "fix"] * 2
    assert [cell["role"] for cell in cells] == ["cell"] * 4


def test_an_empty_cell_of_a_wide_table_carries_no_head(site):
    text = TABLE.format(long="word " * 40).replace("<td>d</td>", "<td></td>")
    assert finished(site, text).select("table.stacks td")[-1].get("data-label") is None


def test_code_in_a_table_that_a_program_wrote_is_set_as_code(site):
    table = '<table class="vaebook"><tr><td>what `fit` does &lt; all</td></tr></table>'
    [cell] = finished(site, table).select("td")
    assert cell.decode_contents() == "what <code>fit</code> does &lt; all"


def test_a_narrow_table_stays_a_table(site):
    assert not finished(site, TABLE.format(long="a")).select("table.stacks")


def test_each_row_of_an_appendix_has_an_address(site):
    page = finished(site, TABLE.format(long="KeyError: 'x'"), "book/appendix/errors")
    rows = page.select("tbody tr")
    assert [row["id"] for row in rows] == ["keyerror-x", "keyerror-x-2"]
    assert rows[0].select_one("a.headerlink")["href"] == "#keyerror-x"


DRAWING = """<?xml version="1.0"?><!DOCTYPE svg><svg width="72pt" height="36pt"
viewBox="0 0 72 36" xmlns="http://www.w3.org/2000/svg"><defs><clipPath id="a"/></defs>
<path d="M0 0" clip-path="url(#a)" style="fill: #ffffff; stroke: #0072b2"/>
<text style="fill: #ffffff">encoder</text><text style="fill: #1a1a1a">mu</text></svg>"""
GROUND = """<path style="fill: #222222; stroke: #222222"/><path style="fill: #ffffff"/>
<text style="font-size: 10px">black</text></svg>"""


def test_a_drawing_is_text_in_the_colours_of_the_page(site):
    data = base64.b64encode(DRAWING.encode()).decode()
    page = finished(site, f'<img alt="Boxes" src="data:image/svg+xml;base64,{data}">')
    drawing = page.select_one("svg.drawing")
    assert drawing["aria-label"] == "Boxes"
    assert (drawing["width"], drawing["height"]) == ("96", "48")
    assert [text.get_text() for text in drawing.select("text")] == ["encoder", "mu"]
    assert "var(--drawing-paper)" in drawing.path["style"]
    assert "#0072b2" in drawing.path["style"]
    assert [text["style"] for text in drawing.select("text")] == [
        "fill: #ffffff",
        "fill: var(--drawing-ink)",
    ]
    assert drawing.path["clip-path"] == f"url(#{drawing.find('clippath')['id']})"


def test_a_drawing_has_no_white_ground_and_no_black_words_at_night(site):
    """Matplotlib gives axes a ground without an edge, and writes no colour for black."""
    data = base64.b64encode(DRAWING.replace("</svg>", GROUND).encode()).decode()
    page = finished(site, f'<img alt="Boxes" src="data:image/svg+xml;base64,{data}">')
    drawing = page.select_one("svg.drawing")
    assert drawing["style"] == "fill: var(--drawing-ink)"
    box = drawing.select("path")[-2]["style"]
    assert box == "fill: var(--drawing-solid); stroke: var(--drawing-ink)"
    assert drawing.select("path")[-1]["style"] == "fill: var(--drawing-paper)"
    assert drawing.select("text")[-1]["style"] == "font-size: 10px"


def test_a_long_name_in_a_table_may_break_after_a_dot_or_an_underscore(site):
    name = '<code><span class="pre">{}</span></code>'
    cells = "".join(
        f"<td>{name.format(each)}</td>" for each in ("keras.saving.a_long_name(__x)", "a_b.c")
    )
    page = finished(site, f"<table><tr>{cells}</tr></table><p>{name.format('a_b' * 9)}</p>")
    long, short, prose = page.select(".pre")
    assert list(long.stripped_strings) == ["keras.", "saving.", "a_", "long_", "name(__x)"]
    assert len(long.select("wbr")) == 4
    assert not short.wbr
    assert not prose.wbr


def test_a_value_of_the_package_is_shown_if_it_fits_in_a_line(site):
    value = '<dl class="py data"><dt><em class="property">{}</em></dt></dl>'
    page = finished(site, value.format(" = 0.001") + value.format(" = " + "x" * 80))
    assert [it.get_text() for it in page.select("dt")] == [" = 0.001", ""]


def test_a_picture_of_a_cell_becomes_a_file(site):
    data = b"webp" * 1000
    text = base64.b64encode(data).decode()
    picture = f'<img alt="Digits" src="data:image/webp;base64,{text}">'
    page = finished(site, f'<div class="cell_output">{picture}</div>')
    [(name, kept)] = site.pictures.items()
    assert page.select_one(".cell_output img")["src"] == f"../../_images/{name}"
    assert name.endswith(".webp")
    assert kept == data


def test_the_picture_of_an_explorer_stays_in_it(site):
    picture = f'<img alt="Digits" src="data:image/png;base64,{"A" * 4000}">'
    explorer = f'<div class="vaebook-explorer">{picture}</div>'
    finished(site, f'<div class="cell_output">{explorer}</div>')
    assert not site.pictures


def test_a_notebook_to_download_holds_no_outputs(tmp_path):
    path = tmp_path / "book" / "06.ipynb"
    path.parent.mkdir()
    cell = {"cell_type": "code", "source": ["1 + 1"], "outputs": [{"data": 2}]}
    text = {"cell_type": "markdown", "source": ["Two"]}
    path.write_text(json.dumps({"cells": [text, {**cell, "execution_count": 3}]}))
    finished_page.empty_notebooks(tmp_path)
    [left, code] = json.loads(path.read_text())["cells"]
    assert left == text
    assert code == {**cell, "outputs": [], "execution_count": None}


def test_code_without_a_colour_has_no_marks(site):
    code = (
        '<span></span><span class="n">fit</span><span class="p">(</span>'
        '<span class="mi">1</span><span class="p">)</span>'
    )
    page = finished(site, f'<div class="highlight"><pre>{code}</pre></div>')
    assert page.select_one(".highlight pre").get_text() == "fit(1)"
    assert [mark["class"] for mark in page.select(".highlight pre span[class]")] == [["mi"]]


def test_a_colour_for_code_whose_marks_are_dropped_stops_the_build(tmp_path):
    sheet = tmp_path / "pygments.css"
    plain = (
        "html .highlight { background: #fff; color: #080808 }\nhtml .highlight .o{color: red}\n"
    )
    sheet.write_text(plain + "html .highlight .n { color: #080808 } /* Name */\n", "utf8")
    finished_page.check_colours(sheet)
    sheet.write_text(plain + "html .highlight .n { color: red } /* Name */\n", "utf8")
    with pytest.raises(ExtensionError, match=r"marked n .*#080808\. Received: red\."):
        finished_page.check_colours(sheet)
