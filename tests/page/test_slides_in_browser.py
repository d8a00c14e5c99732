"""Pictures with a slider, as a reader meets them."""

import vaebook  # isort: skip
import re
from importlib.resources import files

import numpy as np
import pytest
from browser import served
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from test_explorer_in_browser import RULES, write
from vaebook.explorer import explore
from vaebook.networks import NetworkSpec, build_decoder
from vaebook.slides import slide

AXE = (files("selenium_axe_python") / "axe-core" / "axe.min.js").read_text("utf-8")
PICTURES = np.linspace(0, 1, 3 * 40 * 80).reshape(3, 40, 80, 1)
TEXTS = ["Rate 3 nats.", "Rate 2 nats.", "Rate <1 nat."]
WORDS = {"name": "beta", "alt": "Drawings of a model.", "caption": "What beta does."}


@pytest.fixture(scope="module")
def slides():
    return slide(PICTURES, ["0.1", "1", "10"], TEXTS, start=1, **WORDS)


@pytest.fixture
def opened(browser, slides, tmp_path):
    browser.viewport(1000)
    browser.prefer()
    browser.open(write(tmp_path, slides))
    yield browser
    assert browser.complaints() == []


def seen(browser):
    """Return the picture's number, its alt, the number beside the slider and the text."""
    find = browser.driver.find_element
    picture = find(By.CLASS_NAME, "vaebook-slides-picture")
    at = browser.run(
        """
        const canvas = document.createElement("canvas");
        const context = canvas.getContext("2d");
        return arguments[0].decode().then(() => {
          context.drawImage(arguments[0], 0, 0);
          return context.getImageData(0, 0, 1, 1).data[0];
        });
        """,
        picture,
    )
    firsts = 255 * PICTURES[:, 0, 0, 0]
    return (
        int(np.argmin(np.abs(firsts - at))),
        picture.get_attribute("alt"),
        find(By.CLASS_NAME, "vaebook-explorer-value").text,
        find(By.CLASS_NAME, "vaebook-slides-text").text,
    )


def settled(browser):
    browser.run("return new Promise((done) => setTimeout(done, 500))")


def slider_of(browser):
    return browser.driver.find_element(By.CSS_SELECTOR, ".vaebook-slides input")


def test_arrow_keys_change_the_picture_and_every_word_about_it(opened):
    assert seen(opened) == (1, "Drawings of a model. beta 1.", "1", "Rate 2 nats.")
    slider = slider_of(opened)
    opened.run("arguments[0].focus()", slider)
    opened.press(Keys.ARROW_RIGHT)
    settled(opened)
    assert seen(opened) == (2, "Drawings of a model. beta 10.", "10", "Rate <1 nat.")
    assert slider.accessible_name == "beta"
    assert slider.get_attribute("aria-valuetext") == "10"
    opened.press(*[Keys.ARROW_LEFT] * 5)
    settled(opened)
    assert seen(opened) == (0, "Drawings of a model. beta 0.1.", "0.1", "Rate 3 nats.")


def test_the_arrow_keys_stay_in_the_slider(opened):
    opened.run("document.onkeydown = () => { window.heard = true; }")
    opened.run("arguments[0].focus()", slider_of(opened))
    opened.press(Keys.ARROW_RIGHT)
    assert opened.run("return window.heard") is None


def test_a_finger_changes_the_picture(opened):
    slider = slider_of(opened)
    right = {
        "x": slider.location["x"] + slider.size["width"] - 4,
        "y": slider.location["y"] + slider.size["height"] / 2,
    }
    opened.command("Input.dispatchTouchEvent", type="touchStart", touchPoints=[right])
    opened.command("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
    settled(opened)
    assert seen(opened)[0] == 2


def test_the_live_text_waits_until_the_slider_rests(opened):
    text = opened.driver.find_element(By.CLASS_NAME, "vaebook-slides-text")
    opened.run(
        """
        window.told = 0;
        const count = () => { window.told += 1; };
        const options = { childList: true, characterData: true, subtree: true };
        new MutationObserver(count).observe(arguments[0], options);
        """,
        text,
    )
    opened.run("arguments[0].focus()", slider_of(opened))
    opened.press(Keys.ARROW_LEFT, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    settled(opened)
    assert opened.run("return window.told") == 1
    assert text.aria_role == "status"


def test_it_asks_for_nothing_from_a_server_or_a_file(browser, slides, tmp_path):
    page = write(tmp_path, slides)
    with served(tmp_path) as address:
        for place in (f"{address}/page.html", page.as_uri()):
            browser.requests()
            browser.driver.get(place)
            settled(browser)
            assert [it for it in browser.requests() if not it.startswith("data:")] == [place]


def test_two_of_them_and_an_explorer_share_a_page(browser, slides, tmp_path):
    spec = NetworkSpec((8, 8, 1), encoder_filters=(2, 2, 4), decoder_filters=(3, 2, 1))
    other = slide(PICTURES, ["a", "b", "c"], TEXTS, **WORDS)
    browser.open(write(tmp_path, slides, explore(build_decoder(spec, seed=1)), other))
    values = browser.driver.find_elements(By.CLASS_NAME, "vaebook-explorer-value")
    assert [value.text for value in values] == ["1", "0.00", "0.00", "a"]
    assert browser.complaints() == []


@pytest.mark.parametrize("how", ["no scripts", "dropped"])
def test_without_scripts_a_picture_with_words_stands_still(browser, slides, tmp_path, how):
    page = write(tmp_path, slides)
    if how == "dropped":  # as JupyterLab does until the reader trusts the notebook
        kept = re.sub(r"<(script|style)\b.*?</\1>", "", page.read_text("utf-8"), flags=re.S)
        page.write_text(kept, "utf-8")
    browser.scripting(how == "dropped")
    try:
        browser.open(page)
        find = browser.driver.find_element
        picture = find(By.CLASS_NAME, "vaebook-slides-picture")
        assert picture.is_displayed()
        assert picture.get_attribute("alt") == "Drawings of a model. beta 1."
        assert find(By.CLASS_NAME, "vaebook-slides-text").text == "Rate 2 nats."
        assert not slider_of(browser).is_displayed()
    finally:
        browser.scripting(True)


def test_it_starts_when_a_notebook_inserts_it(browser, slides, tmp_path):
    """JupyterLab sets innerHTML, then puts a copy in the place of each script."""
    browser.open(write(tmp_path))
    browser.run(
        """
        const host = document.querySelector("main").appendChild(document.createElement("div"));
        host.innerHTML = arguments[0];
        for (const old of host.querySelectorAll("script")) {
          const script = document.createElement("script");
          script.textContent = old.textContent;
          old.replaceWith(script);
        }
        """,
        slides.html,
    )
    assert slider_of(browser).is_displayed()
    assert seen(browser)[0] == 1


@pytest.mark.parametrize("width", [1000, 320])
@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing_and_the_page_fits(browser, slides, tmp_path, width, dark):
    browser.viewport(width)
    browser.prefer(dark=dark)
    browser.open(write(tmp_path, slides))
    assert browser.overflow() == 0
    browser.run(AXE)
    found = browser.run("return axe.run({ runOnly: arguments[0] })", RULES)
    assert len(found["passes"]) > 15
    assert [(it["id"], it["nodes"][0]["failureSummary"]) for it in found["violations"]] == []
    browser.prefer()
