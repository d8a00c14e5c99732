"""A real browser for the tests of pages: found, never downloaded; driven; watched.

    with open_browser() as browser, served(folder) as address:
        browser.viewport(390)
        browser.open(f"{address}/index.html")
        assert browser.run("return document.title") == "…"
        assert browser.complaints() == []
        assert browser.strangers() == []

The machine's own Chromium or Chrome, with the driver of the same version, runs without a
window. Names of hosts other than the loopback do not resolve in it, so that a page that needs
the network fails here as it would without one. Without a browser the tests are skipped, unless
VAEBOOK_BROWSER_REQUIRED=1 makes that a failure.
"""

import contextlib
import functools
import http.server
import json
import os
import re
import shutil
import subprocess
import threading
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",  # the tests run as root in containers, and open our own pages only
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


def _major(program):
    said = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
    version = re.search(r"(\d+)\.\d+\.\d+", said)
    return version and version[1]


@functools.cache
def find():
    """Return (browser, driver), two paths to programs of one version, or None."""
    drivers = [os.environ.get("CHROMEWEBDRIVER", "") + "/chromedriver", "chromedriver"]
    drivers = [path for name in drivers if (path := shutil.which(name))]
    for browser in filter(None, map(shutil.which, _BROWSERS)):
        for driver in drivers:
            if _major(browser) == _major(driver):
                return browser, driver
    return None


class Browser:
    """One tab. What it cannot do in a line, `driver` does: it is Selenium's."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, address):
        """Open an http address, or a file given as a Path."""
        self.driver.get(address.resolve().as_uri() if isinstance(address, Path) else address)

    def run(self, script, *arguments):
        """Run JavaScript in the page; a promise that it returns is awaited."""
        return self.driver.execute_script(script, *arguments)

    def command(self, name, **parameters):
        """Send a command of the DevTools protocol."""
        return self.driver.execute_cdp_cmd(name, parameters)

    def viewport(self, width, height=900):
        """Give the page so many CSS pixels."""
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def prefer(self, dark=False, less_motion=False, media=""):
        """Set what the reader's system prefers, or media="print"; calls do not add up."""
        features = {
            "prefers-color-scheme": "dark" if dark else "light",
            "prefers-reduced-motion": "reduce" if less_motion else "no-preference",
        }
        features = [{"name": name, "value": value} for name, value in features.items()]
        self.command("Emulation.setEmulatedMedia", media=media, features=features)

    def scripting(self, on):
        """Let the pages opened from now on run scripts of their own, or not."""
        self.command("Emulation.setScriptExecutionDisabled", value=not on)

    def press(self, *keys):
        """Press keys one after another, in whatever has the focus."""
        ActionChains(self.driver).send_keys(*keys).perform()

    def picture(self, path):
        """Save what the viewport shows as a PNG."""
        self.driver.save_screenshot(str(path))

    def overflow(self):
        """Return by how many pixels the page is wider than its viewport."""
        root = "document.documentElement"
        return self.run(f"return {root}.scrollWidth - {root}.clientWidth")

    def complaints(self):
        """Return what the console said at level warning or above since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self):
        """Return the addresses that pages asked for since the last call."""
        events = (json.loads(entry["message"]) for entry in self.driver.get_log("performance"))
        sent = [event["message"] for event in events]
        sent = [event for event in sent if event["method"] == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in sent]

    def strangers(self):
        """Return the requests since the last call that left this machine."""
        own = ("file", "data", "blob", "about", "chrome")
        addresses = map(urlsplit, self.requests())
        away = [it for it in addresses if it.scheme not in own and it.hostname != "127.0.0.1"]
        return [it.geturl() for it in away]


@contextlib.contextmanager
def open_browser():
    """Give a Browser with one tab; skip, or fail if one is required, without a browser."""
    programs = find()
    if programs is None:
        missing = "no Chromium or Chrome with a chromedriver of its version on this machine"
        if os.environ.get("VAEBOOK_BROWSER_REQUIRED") == "1":
            pytest.fail(missing)
        pytest.skip(missing)
    options = Options()
    options.binary_location, driver_path = programs
    for argument in _ARGUMENTS:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "WARNING", "performance": "INFO"})
    driver = webdriver.Chrome(options, Service(driver_path))
    try:
        yield Browser(driver)
    finally:
        driver.quit()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@contextlib.contextmanager
def served(folder):
    """Serve a folder over http on the loopback; give its address, without a last slash."""
    handler = functools.partial(_Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
