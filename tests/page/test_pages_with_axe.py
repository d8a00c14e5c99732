"""No page fails axe: WCAG 2.2 A and AA and its best practice, in all that a reader may see."""

from importlib.resources import files

import pytest
from browser import served
from built import PAGES, site

AXE = (files("selenium_axe_python") / "axe-core" / "axe.min.js").read_text("utf8")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
# Thousands of words of code have a few dozen looks. One word of each look stays, or a page
# takes axe ten seconds instead of one.
ONE_WORD_OF_EACH_LOOK = """
const seen = new Set();
for (const word of document.querySelectorAll("pre span")) {
  if (word.firstElementChild) continue;
  const box = word.closest(".cell_input, .cell_output, details, .highlight");
  const look = [word.className, word.parentElement.className, box && box.className].join("|");
  if (seen.has(look)) word.remove();
  else seen.add(look);
}"""
FOLD = "document.querySelectorAll('details').forEach((fold) => { fold.open = arguments[0]; })"
THEME = "document.documentElement.dataset.theme = arguments[0]"
CHECK = """
return axe.run(document, {runOnly: arguments[0], resultTypes: ["violations"], preload: false})
  .then((found) => found.violations.flatMap((rule) => rule.nodes.slice(0, 3).map((node) =>
    `${rule.id}: ${node.html.slice(0, 160)}  ${node.failureSummary.slice(0, 240)}`)));"""


@pytest.fixture(scope="module")
def address():
    with served(site()) as where:
        yield where


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing(browser, address, name, width):
    browser.viewport(width)
    browser.open(f"{address}/{name}.html")
    browser.run(ONE_WORD_OF_EACH_LOOK)
    browser.run(AXE)
    found = []
    for theme in ("light", "dark"):
        browser.run(THEME, theme)
        for unfolded in (False, True):
            browser.run(FOLD, unfolded)
            state = f"{theme}, {'unfolded' if unfolded else 'folded'}"
            found += [f"{state}: {problem}" for problem in browser.run(CHECK, RULES)]
    assert found == []
