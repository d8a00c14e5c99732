"""Each report of a fault of Keras still shows the fault, and the page of reports shows it.

A script that prints something else is good news: Keras has fixed the fault, or moved it.
Then the report goes, and so does what chapters and tables say of it.
"""

import os
import re
import runpy
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import keras
import pytest
from address import ROOT

FOLDER = ROOT / "book" / "appendix" / "reports"
PAGE = (ROOT / "book" / "appendix" / "reports.md").read_text("utf8")
LOCK = (ROOT / "requirements.txt").read_text("utf8")
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.py"))


def prints_of(page):
    """Return what each script on a page prints; the page is the one place that says it."""
    shown = re.findall(r"^```\{literalinclude\} \w+/(\w+)\.py$", page, re.MULTILINE)
    prints = re.findall(r"^It prints\n\n```text\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(shown) == len(set(shown))
    return dict(zip(shown, prints, strict=True))


PRINTS = prints_of(PAGE)
SHOWN = list(PRINTS)
ON_REPLICAS = [name for name in SHOWN if name.endswith("_on_replicas")]


def run(name):
    """Run one script in a process of its own; return what it prints, and its stderr."""
    done = subprocess.run(
        [sys.executable, FOLDER / f"{name}.py"],
        capture_output=True,
        text=True,
        timeout=900,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    return done.stdout, done.stderr


@pytest.fixture(scope="module")
def printed_on_replicas():
    """What the scripts print that divide the processor, which one process can do only once.

    Nor can they share one that is divided: their collective operations get mixed up. Two run
    at a time, because each spends most of its time on imports.
    """
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(ON_REPLICAS, pool.map(run, ON_REPLICAS), strict=True))


def test_the_page_shows_each_script_once():
    assert sorted(SHOWN) == SCRIPTS


@pytest.mark.parametrize("name", ON_REPLICAS)
def test_keras_still_has_the_fault_on_replicas(name, printed_on_replicas):
    received, stderr = printed_on_replicas[name]
    assert received == PRINTS[name], stderr


@pytest.mark.parametrize("name", [name for name in SHOWN if name not in ON_REPLICAS])
def test_keras_still_has_the_fault(name, capfd):
    policy = keras.config.dtype_policy()
    try:
        runpy.run_path(FOLDER / f"{name}.py")
    finally:
        keras.config.set_dtype_policy(policy)
    assert capfd.readouterr().out == PRINTS[name]


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_report_says_what_would_fix_it(name):
    docstring = (FOLDER / f"{name}.py").read_text("utf8").split('"""')[1]
    assert "What would fix it:" in " ".join(docstring.split())


def test_the_page_names_the_locked_versions():
    locked = [re.search(rf"^{name}==(\S+)", LOCK, re.M)[1] for name in ("keras", "tensorflow")]
    said = re.search(r"seen with Keras (\S+) and TensorFlow (\S+)\. ", " ".join(PAGE.split()))
    assert list(said.groups()) == locked
