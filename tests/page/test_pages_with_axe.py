"""No page fails axe: WCAG 2.2 A and AA and its best practice, in all that a reader may see."""

from importlib.resources import files

import pytest
from browser import served
from built import PAGES, site

AXE = (files("selenium_axe_python") / "axe-core" / "axe.min.js").read_text("utf8")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
OF_COLOUR = ["color-contrast", "link-in-text-block"]  # all that light and dark can change
# Thousands of words have a few dozen looks. One of each look stays while colours are checked,
# or a page takes axe half a minute instead of a second.
ONE_OF_EACH_LOOK = """
const seen = new Set(), twice = [];
const look = (it) => {
  const style = getComputedStyle(it);
  let key = [it.tagName, it.className, it.parentElement.className, style.color, style.fontSize,
    style.fontWeight, style.textDecorationLine].join("|");
  for (let box = it; box; box = box.parentElement) {
    const ground = getComputedStyle(box).backgroundColor;
    if (ground !== "rgba(0, 0, 0, 0)") key += ground;
  }
  return key;
};
for (const it of document.querySelectorAll("main *, nav *")) {
  if (it.firstElementChild || !it.textContent.trim()) continue;
  const key = look(it);
  if (seen.has(key)) twice.push(it);
  else seen.add(key);
}
for (const it of twice) it.remove();"""
FOLD = "for (const it of document.querySelectorAll('details')) it.open = arguments[0];"
THEME = "document.documentElement.dataset.theme = arguments[0]"
CHECK = """
return axe.run(document, {...arguments[0], resultTypes: ["violations"], preload: false})
  .then((found) => found.violations.flatMap((rule) => rule.nodes.slice(0, 3).map((node) =>
    `${rule.id}: ${node.html.slice(0, 160)}  ${node.failureSummary.slice(0, 240)}`)));"""


@pytest.fixture(scope="module")
def address():
    with served(site()) as where:
        yield where


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing(browser, address, name, width):
    browser.driver.set_script_timeout(120)
    browser.viewport(width)
    browser.open(f"{address}/{name}.html")
    browser.run(AXE)
    found = []
    uncoloured = {"runOnly": RULES, "rules": {rule: {"enabled": False} for rule in OF_COLOUR}}
    for unfolded in (False, True):
        browser.run(FOLD, unfolded)
        found += [f"unfolded {unfolded}: {it}" for it in browser.run(CHECK, uncoloured)]
    browser.run(ONE_OF_EACH_LOOK)
    for theme in ("light", "dark"):
        browser.run(THEME, theme)
        for unfolded in (False, True):
            browser.run(FOLD, unfolded)
            state = f"{theme}, unfolded {unfolded}"
            found += [f"{state}: {it}" for it in browser.run(CHECK, {"runOnly": OF_COLOUR})]
    assert found == []
