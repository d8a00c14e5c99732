"""The built book as a reader meets it: it fits, asks nobody, answers to keys and words."""

import re

import pytest
from browser import served
from built import PAGES, site
from selenium.webdriver.common.keys import Keys

CHAPTER = "book/notebooks/06-a-loss-for-each-output"


@pytest.fixture(scope="module", autouse=True)
def focused(browser):
    """Let the page believe that its window is in front, as a reader's is."""
    browser.command("Emulation.setFocusEmulationEnabled", enabled=True)


@pytest.fixture(scope="module")
def address():
    with served(site()) as where:
        yield where


def settle(browser, condition, seconds=8):
    """Wait until a JavaScript condition holds; tell whether it came to hold."""
    script = """
    const [condition, until] = [new Function("return " + arguments[0]), arguments[1]];
    return new Promise((done) => {
      const started = performance.now();
      const look = () => {
        if (condition()) done(true);
        else if (performance.now() - started > until) done(false);
        else setTimeout(look, 50);
      };
      look();
    });"""
    return browser.run(script, condition, seconds * 1000)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_asks_nobody_and_raises_nothing(browser, address, name):
    browser.requests(), browser.complaints()
    for width in (390, 320):
        browser.viewport(width)
        browser.open(f"{address}/{name}.html")
        assert settle(browser, "document.fonts.status === 'loaded'")
        browser.run("document.querySelectorAll('details').forEach((it) => { it.open = true; })")
        assert browser.overflow() <= 0, f"{width} px: {wide(browser)}"
        assert browser.run(WIDE_TABLES) == []
    assert browser.run(BAD_FORMULAS) == []
    assert browser.strangers() == []
    assert browser.complaints() == []


# A table that was stacked for a narrow screen has nothing left to scroll to.
WIDE_TABLES = """
return [...document.querySelectorAll("table.stacks")]
  .filter((it) => it.scrollWidth > it.parentElement.clientWidth + 1)
  .map((it) => it.innerText.slice(0, 80));"""

# A formula that was not set, or in which a command is left as it was typed.
BAD_FORMULAS = """
const bad = () => [...document.querySelectorAll("article .math")]
  .filter((it) => {
    const set = it.querySelectorAll("mjx-assistive-mml");
    const words = [...set].map((its) => its.textContent).join("");
    return !set.length || words.includes("\\\\") || it.querySelector("merror, [mathcolor]");
  })
  .map((it) => it.innerHTML.slice(0, 120));
return Promise.resolve(window.MathJax?.startup?.promise).then(bad);"""


def wide(browser):
    """Name what sticks out of the page."""
    return browser.run("""
    const room = document.documentElement.clientWidth;
    const out = [...document.querySelectorAll("body *")].filter((it) =>
      it.getBoundingClientRect().right > room + 1 && !it.closest("pre, .bd-sidebar"));
    return out.slice(-3).map((it) => it.outerHTML.slice(0, 120));""")


def test_the_address_of_the_site_leads_to_the_first_page(browser, address):
    browser.open(f"{address}/index.html")
    assert settle(browser, "location.pathname === '/book/index.html'")
    text = (site() / "index.html").read_text("utf8")
    assert "<title>Where the KL Loss Goes</title>" in text


@pytest.mark.parametrize("name", PAGES)
def test_a_page_works_as_a_file(browser, name):
    browser.requests(), browser.complaints()
    browser.viewport(1280)
    browser.open(site() / f"{name}.html")
    assert browser.run(
        "return document.querySelector('main :is(h1, h2)').getBoundingClientRect().top > 0"
    )
    assert settle(
        browser, "[...document.images].every((it) => it.complete || it.loading === 'lazy')"
    )
    assert (
        browser.run(
            "return [...document.images].filter((it) => it.complete && !it.naturalWidth).length"
        )
        == 0
    )
    assert browser.strangers() == []
    assert [line for line in browser.complaints() if "SEVERE" in line] == []


# --- keys --------------------------------------------------------------------------------

CONTROLS = """
const seen = (it) => it.checkVisibility({visibilityProperty: true, opacityProperty: true});
return [...document.querySelectorAll("a[href], button, input, select, summary")]
  .filter((it) => seen(it) && !it.disabled && it.tabIndex >= 0).length;"""
STOP = """
const it = document.activeElement;
if (!it || it === document.body || it.dataset.met) return null;
it.dataset.met = "yes";
const style = getComputedStyle(it);
const box = it.getBoundingClientRect();
const ring = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
return {
  name: it.outerHTML.slice(0, 120),
  control: it.matches("a[href], button, input, select, summary"),
  seen: ring || it.matches("input[type=search]"),
  there: box.width > 0 && box.bottom > 0 && box.top < innerHeight,
};"""


@pytest.mark.parametrize("name", ["book/index", CHAPTER, "book/appendix/errors"])
def test_every_control_is_reached_and_seen_by_keyboard(browser, address, name):
    browser.viewport(1280)
    browser.prefer(less_motion=True)  # or what has the focus is still on its way
    browser.open(f"{address}/{name}.html")
    settle(browser, "document.readyState === 'complete'")
    controls = browser.run(CONTROLS)
    met, unseen = 0, []
    for _ in range(controls + 200):  # boxes that scroll are stops as well
        browser.press(Keys.TAB)
        stop = browser.run(STOP)
        if stop is None:
            break
        met += stop["control"]
        if not (stop["seen"] and stop["there"]):
            unseen.append(stop["name"])
    assert unseen == []
    assert met >= controls


def test_a_definition_shows_on_focus_and_goes_with_escape(browser, address):
    browser.viewport(1280)
    browser.open(f"{address}/{CHAPTER}.html")
    settle(browser, "document.readyState === 'complete'")
    browser.run("document.querySelector('a.term[href$=term-nats]').focus()")
    shown = "document.querySelectorAll('.tip:not([hidden])').length"
    assert browser.run(f"return {shown}") == 1
    words = browser.run("return document.querySelector('.tip:not([hidden])').innerText")
    assert "unit of information" in words
    browser.press(Keys.ESCAPE)
    assert browser.run(f"return {shown}") == 0


def test_a_link_to_the_glossary_leads_to_its_term(browser, address):
    browser.open(f"{address}/{CHAPTER}.html")
    links = browser.run(
        "return [...document.querySelectorAll('a.term')].map(a => [a.innerText, a.href])"
    )
    [target] = [href for words, href in links if words == "Binary cross-entropy"]
    assert target.endswith("glossary.html#term-binary-cross-entropy")


def test_a_solution_is_folded_with_its_output(browser, address):
    browser.open(f"{address}/{CHAPTER}.html")
    folds = "document.querySelectorAll('#solutions details.solution')"
    outputs = f"[...{folds}].flatMap((it) => [...it.querySelectorAll('.cell_output')])"
    assert browser.run(f"return {folds}.length") >= 2
    assert browser.run(f"return {outputs}.some((it) => it.checkVisibility())") is False
    browser.run("document.querySelector('#solutions details.solution > summary').click()")
    assert browser.run(f"return {outputs}.some((it) => it.checkVisibility())") is True


# --- search ------------------------------------------------------------------------------

# What is looked for, and the head of a page's name that must be among what is found.
SEARCHES = {
    "mixed precision": "09-",
    "posterior collapse": "02-",
    "reparameterization": "04-",
    "MirroredStrategy": "12-",
    "sample_weight": "06-",
    "loss_weights": "06-",
    "class_weight": "16-",
    "missing labels": "16-",
    "multi-task learning": "16-",
    "metrics per output": "16-",
    "mask": "16-",
    "bfloat16": "09-",
    "NaN": "",
    "add_loss": "10-",
    "train_step": "11-",
    "beta": "02-",
    "KL divergence": "02-",
    "SeedGenerator": "04-",
    "MNIST": "01-",
    "named outputs": "06-",
    "XLA": "04-",
    "load_model": "04-",
    "GradientTape": "11-",
    "dummy target": "07-",
    "evidence lower bound": "02-",
}


# What is looked for in distress, and must be among the first three.
FIRST = {
    "KL is zero": "15-",
    "NaN loss": "15-",
    "exploding KL": "15-",
    "negative KL": "15-",
    "posterior collapse": "15-",
}


def found_by(browser, address, words):
    browser.open(f"{address}/search.html?q={words.replace(' ', '+')}")
    finished = "document.querySelector('#search-results h2')?.innerText === 'Search Results'"
    assert settle(browser, finished)
    return browser.run(
        "return [...document.querySelectorAll('ul.search > li > a')].map((it) => it.href)"
    )


@pytest.mark.parametrize("words", FIRST)
def test_a_search_finds_its_page_among_the_first_three(browser, address, words):
    found = found_by(browser, address, words)[:3]
    assert any(f"/{FIRST[words]}" in it for it in found), found


@pytest.mark.parametrize("words", SEARCHES)
def test_a_search_finds_its_page(browser, address, words):
    found = found_by(browser, address, words)
    wanted = f"/{SEARCHES[words]}"
    assert any(wanted in address for address in found), found


def test_what_a_search_quotes_is_text_of_the_page(browser, address):
    browser.open(f"{address}/search.html?q=importance-weighted")
    assert settle(browser, "document.querySelector('ul.search p.context')")
    quoted = browser.run(
        "return [...document.querySelectorAll('ul.search p.context')].map((it) => it.innerText)"
    )
    for text in quoted:
        assert not re.search(r"Colab|\.ipynb|Show the code|\n", text), text


# --- paper -------------------------------------------------------------------------------


def test_print_shows_every_fold_and_cuts_no_line(browser, address):
    browser.viewport(700)
    browser.open(f"{address}/{CHAPTER}.html")
    browser.prefer(media="print")
    try:
        browser.run("window.dispatchEvent(new Event('beforeprint'))")
        folded = "[...document.querySelectorAll('details *')]"
        assert (
            browser.run(
                f"return {folded}.some((it) => it.matches('pre') && !it.checkVisibility())"
            )
            is False
        )
        cut = browser.run(
            "return [...document.querySelectorAll('article pre')]"
            ".filter((it) => it.scrollWidth > it.clientWidth + 1).length"
        )
        assert cut == 0
    finally:
        browser.prefer()
