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
const seen = new Set(), kept = new Set();
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
const twice = () => [...document.querySelectorAll("main *, nav *")].filter((it) => {
  if (it.firstElementChild || kept.has(it)) return false;
  if (!it.textContent.trim()) return it instanceof SVGElement; // a line is no text
  const key = look(it);
  if (seen.has(key)) return true;
  seen.add(key);
  kept.add(it);
  return false;
});
for (const it of document.querySelectorAll("mjx-math")) it.remove(); // shapes, not text
// What has lost all of its parts may be the second of its look, so look again.
for (let found = twice(); found.length; found = twice()) {
  for (let it of found) {
    // And what is empty without it.
    for (let box = it.parentElement; box && !it.nextSibling && !it.previousSibling; ) {
      if (!box.matches("main *, nav *") || box.matches("summary")) break;
      [it, box] = [box, box.parentElement];
    }
    it.remove();
  }
}"""
# Words of code, each in a <span> of its colour, lines of drawings, and the shapes of formulas
# that screen readers do not meet are half of all nodes. They have no roles and no names: they
# wait outside while all but colours is checked.
SET_ASIDE = """
const bare = (it) => [...it.attributes].every((its) => /^(class|style)$/.test(its.name));
window.aside = [];
for (const box of document.querySelectorAll("pre, svg[role=img], mjx-math[aria-hidden]")) {
  const code = box.matches("pre"), inside = [...box.querySelectorAll("*")];
  if (!inside.length) continue;
  if (code && !inside.every((it) => it.matches("span") && bare(it))) continue;
  if (!code && box.querySelector("a, [tabindex], [role], [aria-label]")) continue;
  aside.push([box, [...box.childNodes]]);
  box.replaceChildren(...(code ? [box.textContent] : []));
}"""
BRING_BACK = "for (const [box, inside] of aside) box.replaceChildren(...inside);"
FOLD = "for (const it of document.querySelectorAll('details')) it.open = arguments[0];"
HAS_FOLDS = "return document.querySelector('details') !== null"
THEME = "document.documentElement.dataset.theme = arguments[0]"
CHECK = """
return axe.run(document, {...arguments[0], resultTypes: ["violations"], preload: false})
  .then((found) => found.violations.flatMap((rule) => rule.nodes.slice(0, 3).map((node) =>
    `${rule.id}: ${node.html.slice(0, 160)}  ${node.failureSummary.slice(0, 240)}`)));"""


@pytest.fixture(scope="module")
def address():
    with served(site()) as where:
        yield where


def violations(browser, address, width):
    """Return what axe finds in one page, in each state that a reader may see."""
    browser.driver.set_script_timeout(120)
    browser.viewport(width)
    browser.prefer(less_motion=True)  # or colours are still on their way
    browser.open(address)
    browser.run(AXE)
    found = []
    folds = (False, True) if browser.run(HAS_FOLDS) else (True,)
    uncoloured = {"runOnly": RULES, "rules": {rule: {"enabled": False} for rule in OF_COLOUR}}
    browser.run(SET_ASIDE)
    for unfolded in folds:
        browser.run(FOLD, unfolded)
        found += [f"unfolded {unfolded}: {it}" for it in browser.run(CHECK, uncoloured)]
    browser.run(BRING_BACK)
    browser.run(ONE_OF_EACH_LOOK)
    for theme in ("light", "dark"):
        browser.run(THEME, theme)
        for unfolded in folds:
            browser.run(FOLD, unfolded)
            state = f"{theme}, unfolded {unfolded}"
            found += [f"{state}: {it}" for it in browser.run(CHECK, {"runOnly": OF_COLOUR})]
    return found


# Two classes, because a process of tests takes all of a class.
@pytest.mark.parametrize("name", PAGES)
class TestWideScreen:
    def test_axe_finds_nothing(self, browser, address, name):
        assert violations(browser, f"{address}/{name}.html", 1280) == []


@pytest.mark.parametrize("name", PAGES)
class TestPhone:
    def test_axe_finds_nothing(self, browser, address, name):
        assert violations(browser, f"{address}/{name}.html", 390) == []
