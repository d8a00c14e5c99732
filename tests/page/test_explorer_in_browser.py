"""The live explorer as a reader meets it, and its numbers beside Keras's."""

import vaebook  # isort: skip
import base64
import html
import re
from importlib.resources import files
from urllib.parse import quote

import keras
import numpy as np
import pytest
from browser import served
from keras import layers
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from vaebook import explorer
from vaebook.networks import NetworkSpec, build_decoder

POINTS = 1000
LIMITS = {"float16": 1e-3, "float32": 1e-5}

SMALL = {"image_shape": (12, 8, 1), "encoder_filters": (4, 4, 6), "decoder_filters": (5, 4, 1)}
COLOUR = {**SMALL, "image_shape": (12, 8, 3), "decoder_filters": (5, 4, 3)}
DECODERS = {
    "leaky_relu": NetworkSpec(**SMALL),
    "relu": NetworkSpec(**SMALL, activation="relu"),
    "selu": NetworkSpec(**SMALL, activation="selu"),
    "batch norm": NetworkSpec(**SMALL, batch_norm=True, dropout=0.2),
    "five variables": NetworkSpec(**SMALL, latent_dim=5),
    "colour": NetworkSpec(**COLOUR),
    "even kernels": NetworkSpec(**COLOUR, decoder_kernels=(4, 2, 5)),
    "stride 3, smaller kernels": NetworkSpec(
        **{**SMALL, "image_shape": (12, 12, 1)},
        encoder_strides=(1, 3, 2),
        decoder_strides=(3, 1, 2),
        decoder_kernels=(2, 3, 1),
    ),
}


def rectangular():
    """Return a decoder whose strides and kernels are not square, as a reader may build it."""
    return keras.Sequential(
        [
            keras.Input((2,)),
            layers.Dense(4 * 3 * 2),
            layers.Reshape((4, 3, 2)),
            layers.Conv2DTranspose(3, (2, 3), strides=(1, 2), padding="same"),
            layers.LeakyReLU(),
            layers.Conv2DTranspose(
                1, (3, 2), strides=(3, 1), padding="same", activation="sigmoid"
            ),
        ]
    )


AXE = (files("selenium_axe_python") / "axe-core" / "axe.min.js").read_text("utf-8")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def built(kind):
    """Return the network of one kind and its number of latent variables."""
    if kind == "rectangular":
        return in_use(rectangular()), 2
    spec = DECODERS[kind]
    return in_use(build_decoder(spec, seed=1)), spec.latent_dim


def in_use(decoder):
    """Give every weight a value that training might, biases and batch norm included."""
    random = np.random.default_rng(1)
    for weight in decoder.weights:
        if weight.name == "kernel":
            weight.assign(1.5 * weight)  # else images hardly differ from z to z
            continue
        values = random.normal(0, 0.3, weight.shape)
        weight.assign(np.exp(values) if weight.name in ("gamma", "moving_variance") else values)
    return decoder


def write(folder, *explorers, name="page.html", theme=""):
    """Write a page that holds what cells put out, and return its path."""
    figures = "".join(f"<h2>Cell {i}</h2>{e.html}" for i, e in enumerate(explorers))
    page = folder / name
    page.write_text(
        f'<!doctype html><html lang="en" {theme}><meta charset="utf-8"><title>A page</title>'
        '<meta name="viewport" content="width=device-width">'
        '<link rel="icon" href="data:,"><style>html{color-scheme:light dark}</style>'
        f"<main><h1>A page</h1>{figures}</main></html>",
        "utf-8",
    )
    return page


def decoded(browser, z, which=0):
    """Return what the page's decoder makes of each z."""
    answer = browser.run(
        """
        const [points, which] = arguments;
        const root = document.querySelectorAll(".vaebook-explorer")[which];
        const images = points.map((z) => root.decode(z));
        const all = new Float32Array(images.length * images[0].length);
        images.forEach((image, i) => all.set(image, i * image.length));
        const bytes = new Uint8Array(all.buffer);
        let text = "";
        for (let i = 0; i < bytes.length; i += 8192) {
          text += String.fromCharCode(...bytes.subarray(i, i + 8192));
        }
        return btoa(text);
        """,
        z.tolist(),
        which,
    )
    return np.frombuffer(base64.b64decode(answer), "<f4").reshape(len(z), -1)


def part(browser, name):
    return browser.driver.find_element(By.CLASS_NAME, f"vaebook-explorer-{name}")


def position(browser):
    """Return the two numbers beside the sliders."""
    values = browser.driver.find_elements(By.CLASS_NAME, "vaebook-explorer-value")
    return [float(value.text.replace("\u2212", "-")) for value in values]


def pixels(browser):
    """Return the image on show, as the browser's own PNG of it."""
    return browser.run("return arguments[0].toDataURL()", part(browser, "image"))


def settled(browser):
    """Wait until the point has rested so long that the live text has been told."""
    browser.run("return new Promise((done) => setTimeout(done, 600))")


@pytest.fixture(scope="module")
def decoder():
    return in_use(build_decoder(NetworkSpec(**SMALL), seed=1))


@pytest.fixture(scope="module")
def codes():
    return np.random.default_rng(0).normal(size=(60, 2))


@pytest.fixture
def ten_classes(decoder, codes):
    return explorer.explore(decoder, codes, np.arange(60) % 10)


@pytest.fixture
def opened(browser, ten_classes, tmp_path):
    """A page with one explorer, on a wide light screen; no complaint is left unread."""
    browser.viewport(1000)
    browser.prefer()
    browser.open(write(tmp_path, ten_classes))
    yield browser
    assert browser.complaints() == []


@pytest.mark.parametrize("precision", LIMITS)
@pytest.mark.parametrize("kind", [*DECODERS, "rectangular"])
def test_the_page_decodes_as_keras_does(browser, tmp_path, kind, precision):
    network, latent_dim = built(kind)
    browser.open(write(tmp_path, explorer.explore(network, precision=precision)))
    z = np.random.default_rng(2).normal(0, 2, (POINTS, latent_dim)).astype("float32")
    expected = network.predict(z, batch_size=POINTS, verbose=0).reshape(POINTS, -1)
    assert expected.std(axis=0).max() > 0.02  # a constant image would prove nothing
    assert np.abs(decoded(browser, z) - expected).max() < LIMITS[precision]


def test_the_articles_decoder_is_small_fast_and_right(browser, tmp_path):
    network = in_use(build_decoder(NetworkSpec(), seed=1))
    random = np.random.default_rng(0)
    figure = explorer.explore(network, random.normal(size=(1000, 2)), np.arange(1000) % 10)
    assert len(figure.html.encode()) <= 350_000
    browser.open(write(tmp_path, figure))
    z = random.normal(0, 2, (100, 2)).astype("float32")
    expected = network.predict(z, verbose=0).reshape(100, -1)
    assert np.abs(decoded(browser, z) - expected).max() < LIMITS["float16"]
    quickest = browser.run(
        """
        const { decode } = document.querySelector(".vaebook-explorer");
        const times = [];
        for (let i = 0; i < 60; i++) {
          const before = performance.now();
          decode([i / 30 - 1, 0.5]);
          times.push(performance.now() - before);
        }
        return Math.min(...times);  // what the image takes where nothing else runs
        """
    )
    assert quickest <= 16


def test_arrow_keys_move_the_point_the_image_and_the_text(opened):
    before = pixels(opened), part(opened, "where").text
    part(opened, "plane").click()
    opened.run("arguments[0].focus()", part(opened, "plane"))
    at = position(opened)
    opened.press(*[Keys.ARROW_RIGHT] * 5, *[Keys.ARROW_UP] * 8)
    settled(opened)
    now = position(opened)
    assert now[0] != at[0]
    assert now[1] != at[1]
    assert pixels(opened) != before[0]
    text = part(opened, "where").text
    assert text != before[1]
    assert text.startswith(f"z[0] = {now[0]:.2f}, z[1] = {now[1]:.2f}. Nearest encoded image: ")


def test_a_slider_moves_its_variable_alone_and_says_its_value(opened):
    slider = opened.driver.find_elements(By.CSS_SELECTOR, "input")[1]
    opened.run("arguments[0].focus()", slider)
    opened.press(*[Keys.ARROW_RIGHT] * 10)
    settled(opened)
    across, up = position(opened)
    assert across == 0
    assert up > 0
    assert slider.get_attribute("aria-valuetext") == f"{up:.2f}"
    assert slider.accessible_name == "z[1]"


def test_a_mouse_drags_the_point(opened):
    plane = part(opened, "plane")
    units = 6 / plane.size["width"]
    # One chain: between two the driver lets go of the button.
    mouse = ActionChains(opened.driver, duration=0)
    mouse.move_to_element_with_offset(plane, 80, -40).click_and_hold().move_by_offset(-100, 0)
    mouse.release().move_by_offset(50, 50).perform()  # let go, the point stays
    assert position(opened) == pytest.approx([-20 * units, 40 * units], abs=0.05)


def test_a_click_moves_the_point(opened):
    plane = part(opened, "plane")
    mouse = ActionChains(opened.driver, duration=0)
    mouse.move_to_element_with_offset(plane, 80, -40).click().perform()
    units = 6 / plane.size["width"]
    assert position(opened) == pytest.approx([80 * units, 40 * units], abs=0.05)


def test_a_finger_moves_the_point(opened):
    plane = part(opened, "plane")
    finger = {"x": plane.location["x"] + 40, "y": plane.location["y"] + 60}
    opened.command("Input.dispatchTouchEvent", type="touchStart", touchPoints=[finger])
    opened.command("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
    across, up = position(opened)
    assert across < -1
    assert up > 1


def test_the_nearest_encoded_image_is_named(browser, decoder, tmp_path):
    codes = np.array([[-2.0, 0], [2, 0], [0, 2]])
    figure = explorer.explore(decoder, codes, [0, 1, 2], names=["boot", "shirt", "<coat>"])
    browser.open(write(tmp_path, figure))
    browser.run("arguments[0].focus()", part(browser, "plane"))
    browser.press(*[Keys.ARROW_UP] * 10)
    settled(browser)
    assert part(browser, "where").text.endswith("Nearest encoded image: <coat>.")


def test_the_live_text_waits_until_the_point_rests(opened):
    opened.run(
        """
        window.told = 0;
        const count = () => { window.told += 1; };
        const options = { childList: true, characterData: true, subtree: true };
        new MutationObserver(count).observe(arguments[0], options);
        """,
        part(opened, "where"),
    )
    opened.run("arguments[0].focus()", part(opened, "plane"))
    opened.press(*[Keys.ARROW_LEFT] * 20)
    settled(opened)
    assert opened.run("return window.told") == 1
    assert part(opened, "where").aria_role == "status"


def test_back_to_the_start(opened):
    opened.run("arguments[0].focus()", part(opened, "plane"))
    opened.press(Keys.ARROW_LEFT)
    assert position(opened) != [0, 0]
    opened.driver.find_element(By.CSS_SELECTOR, "button").click()
    assert position(opened) == [0, 0]


def test_the_reader_chooses_two_of_five_variables_and_the_others_stay(browser, tmp_path):
    network = in_use(build_decoder(DECODERS["five variables"], seed=1))
    at = np.array([0.1, -0.2, 0.3, -0.4, 0.5])
    browser.open(write(tmp_path, explorer.explore(network, at=at, shown=(0, 1))))
    assert position(browser) == [0.1, -0.2]
    across, up = browser.driver.find_elements(By.CSS_SELECTOR, "select")
    across.send_keys("z[4]")
    up.send_keys("z[3]")
    assert position(browser) == [0.5, -0.4]
    settled(browser)
    shown = browser.run(
        "return [...arguments[0].getContext('2d').getImageData(0, 0, 8, 12).data]",
        part(browser, "image"),
    )
    expected = 255 * network.predict(at[None], verbose=0).ravel()
    np.testing.assert_allclose(np.array(shown)[::4], expected, atol=1)


def test_choosing_the_other_variable_swaps_the_two(browser, tmp_path):
    network = in_use(build_decoder(DECODERS["five variables"], seed=1))
    browser.open(write(tmp_path, explorer.explore(network, shown=(0, 1))))
    across, up = browser.driver.find_elements(By.CSS_SELECTOR, "select")
    across.send_keys("z[1]")
    assert [across.get_attribute("value"), up.get_attribute("value")] == ["1", "0"]


def test_a_colour_image_is_shown_in_its_colours(browser, tmp_path):
    network = in_use(build_decoder(DECODERS["colour"], seed=1))
    browser.open(write(tmp_path, explorer.explore(network)))
    settled(browser)
    shown = browser.run(
        "return [...arguments[0].getContext('2d').getImageData(0, 0, 8, 12).data]",
        part(browser, "image"),
    )
    expected = 255 * network.predict(np.zeros((1, 2)), verbose=0).reshape(-1, 3)
    np.testing.assert_allclose(np.array(shown).reshape(-1, 4)[:, :3], expected, atol=1)


def test_two_explorers_share_a_page_and_each_has_its_own_decoder(browser, tmp_path):
    networks = [in_use(build_decoder(DECODERS[kind], seed=1)) for kind in ("relu", "selu")]
    browser.open(write(tmp_path, *map(explorer.explore, networks)))
    z = np.array([[0.5, -1]], "float32")
    for which, network in enumerate(networks):
        expected = network.predict(z, verbose=0).reshape(1, -1)
        np.testing.assert_allclose(decoded(browser, z, which), expected, atol=1e-3)
    browser.run("arguments[0].focus()", part(browser, "plane"))
    browser.press(Keys.ARROW_LEFT)
    assert position(browser) == [-0.12, 0, 0, 0]  # the first's two numbers, the second's two
    assert browser.run("return document.querySelectorAll('.vaebook-explorer [id]').length") == 0
    assert browser.complaints() == []


def test_it_works_from_a_server_and_a_file_and_asks_for_nothing(browser, ten_classes, tmp_path):
    page = write(tmp_path, ten_classes)
    with served(tmp_path) as address:
        for place in (f"{address}/page.html", page):
            browser.requests()
            browser.open(place)
            settled(browser)
            assert part(browser, "live").is_displayed()
            assert not part(browser, "still").is_displayed()
            assert [it for it in browser.requests() if not it.startswith("data:")] == [
                place if isinstance(place, str) else page.as_uri()
            ]


def test_it_starts_when_a_notebook_inserts_it(browser, ten_classes, tmp_path):
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
        ten_classes.html,
    )
    assert part(browser, "live").is_displayed()
    assert position(browser) == [0, 0]


COLAB = """<script>
const host = document.body.appendChild(document.createElement("div"));
const output = document.createRange().createContextualFragment(decodeURIComponent("{output}"));
host.append(output);
</script>"""


def test_it_starts_in_the_frame_of_another_origin(browser, ten_classes, tmp_path):
    """Colab inserts what a cell puts out into a frame that may touch nothing outside."""
    browser.viewport(1000)
    page = write(tmp_path)
    frame = html.escape("<body>" + COLAB.replace("{output}", quote(ten_classes.html)))
    page.write_text(
        f'<iframe sandbox="allow-scripts" width="900" height="800" srcdoc="{frame}"></iframe>',
        "utf-8",
    )
    browser.open(page)
    browser.driver.switch_to.frame(0)
    try:
        assert browser.run("return self.origin") == "null"
        assert part(browser, "live").is_displayed()
        before = pixels(browser)
        browser.run("arguments[0].focus()", part(browser, "plane"))
        browser.press(*[Keys.ARROW_UP] * 5)
        assert position(browser)[1] > 0
        assert pixels(browser) != before
    finally:
        browser.driver.switch_to.default_content()
    assert browser.complaints() == []


def test_a_notebook_that_drops_its_scripts_leaves_a_picture(browser, ten_classes, tmp_path):
    """JupyterLab does so until the reader trusts the notebook; styles go as well."""
    page = write(tmp_path, ten_classes)
    kept = re.sub(r"<(script|style)\b.*?</\1>", "", page.read_text("utf-8"), flags=re.S)
    page.write_text(kept, "utf-8")
    browser.open(page)
    assert part(browser, "still").is_displayed()
    assert not part(browser, "live").is_displayed()


def test_without_scripts_there_is_a_picture_with_words(browser, ten_classes, tmp_path):
    browser.scripting(False)
    try:
        browser.open(write(tmp_path, ten_classes))
        still = part(browser, "still")
        assert still.is_displayed()
        assert still.size["width"] > 100
        assert still.get_attribute("alt") == ten_classes.alt
        assert not part(browser, "live").is_displayed()
    finally:
        browser.scripting(True)


def colours(browser):
    """Return the grounds and inks in use: figure, text, first class, and the map's pixels."""
    return browser.run(
        """
        const style = (name) =>
          getComputedStyle(document.querySelector(`.vaebook-explorer ${name}`));
        const map = document.querySelector(".vaebook-explorer-map");
        return [
          style("figure").backgroundColor,
          style("figure").color,
          style(".vaebook-explorer-marker").color,
          map.toDataURL(),
        ];
        """
    )


@pytest.mark.parametrize("theme", ['data-theme="dark"', 'theme="dark"'])
def test_it_follows_the_system_and_a_theme_goes_first(browser, ten_classes, tmp_path, theme):
    page = write(tmp_path, ten_classes)
    browser.prefer()
    browser.open(page)
    light = colours(browser)
    browser.prefer(dark=True)  # while the page is open
    settled(browser)
    dark = colours(browser)
    assert all(one != other for one, other in zip(light, dark, strict=True))
    browser.open(write(tmp_path, ten_classes, theme='data-theme="light"'))
    assert colours(browser) == light
    browser.prefer()
    browser.open(write(tmp_path, ten_classes, theme=theme))
    assert colours(browser) == dark


@pytest.mark.parametrize("variables", [2, 5])
def test_it_fits_a_screen_of_320_pixels(browser, tmp_path, variables):
    network = build_decoder(NetworkSpec(**SMALL, latent_dim=variables), seed=1)
    codes = np.random.default_rng(0).normal(size=(50, variables))
    names = [f"a class with a long name, {i}" for i in range(10)]
    browser.viewport(320)
    figure = explorer.explore(network, codes, np.arange(50) % 10, names=names)
    browser.open(write(tmp_path, figure))
    assert browser.overflow() == 0
    assert part(browser, "plane").size["width"] > 200


def test_every_control_is_reached_by_tab_and_its_focus_is_seen(browser, tmp_path):
    browser.viewport(1000)
    network = build_decoder(DECODERS["five variables"], seed=1)
    browser.open(write(tmp_path, explorer.explore(network)))
    reached = []
    for _ in range(6):
        browser.press(Keys.TAB)
        reached.append(browser.run("return document.activeElement.tagName"))
        width = browser.run("return getComputedStyle(document.activeElement).outlineWidth")
        assert width == "3px", f"no visible focus on {reached[-1]}"
    assert reached == ["DIV", "SELECT", "SELECT", "INPUT", "INPUT", "BUTTON"]


def test_nothing_moves_by_itself(opened):
    assert opened.run("return document.getAnimations().length") == 0
    before = pixels(opened), position(opened)
    settled(opened)
    assert (pixels(opened), position(opened)) == before


@pytest.mark.parametrize("names", [None, [f"class {i}" for i in range(10)]])
@pytest.mark.parametrize("width", [1000, 320])
@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing_in_an_explorer(browser, tmp_path, names, width, dark):
    network = build_decoder(DECODERS["five variables"], seed=1)
    codes = np.random.default_rng(0).normal(size=(60, 5))
    browser.viewport(width)
    browser.prefer(dark=dark)
    figure = explorer.explore(network, codes, np.arange(60) % 10, names=names)
    browser.open(write(tmp_path, figure))
    browser.run(AXE)
    found = browser.run("return axe.run({ runOnly: arguments[0] })", RULES)
    assert len(found["passes"]) > 20
    assert [(it["id"], it["nodes"][0]["failureSummary"]) for it in found["violations"]] == []
    browser.prefer()
