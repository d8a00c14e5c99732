"""Each report of a fault of Keras still shows the fault, and is on the page of reports.

A script that prints something else is good news: Keras has mended the fault, or moved it.
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
PAGE = ROOT / "book" / "appendix" / "reports.md"
PRINTS = {
    "scalar_loss_on_replicas": "one value per sample: 0.5\na scalar:             1.0\n",
    "uneven_last_batch_on_replicas": "what each of the three samples counts: "
    "[0.25, 0.25, 0.5]\n",
    "same_noise_on_replicas": "both replicas draw the same: True\n",
    "train_on_batch_on_replicas": "fit\n"
    + 2 * "a replica sees 2 images of 4\n"
    + "train_on_batch\n"
    + 2 * "a replica sees 4 images of 4\n",
    "wrong_key_in_loss_weights": "the loss of a is 1.0 and of b 0.0\nthe total is 100.0\n",
    "sample_weight_without_target": "sample_weight: arrives\nsample_weight: is None\n",
    "parts_of_a_smaller_last_batch": "run_eagerly=False: loss 2.0 parts 1.5 1.5\n"
    "run_eagerly=True: loss 2.0 parts 1.0 1.0\n",
    "add_loss_in_bfloat16": "TypeError: Cannot convert a list containing a tensor of dtype "
    "<dtype: 'bfloat16'> to <dtype: 'float32\n",
    "empty_error_of_add_loss": "NotImplementedError, its message: ''\n",
}


ON_REPLICAS = [name for name in PRINTS if name.endswith("_on_replicas")]


def run(name):
    """Run one script in a process of its own; return what it prints, and says besides."""
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
    """What the scripts print that divide the processor, which one process can do once.

    Two run at a time: each spends most of it on its imports.
    """
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(ON_REPLICAS, pool.map(run, ON_REPLICAS), strict=True))


@pytest.mark.parametrize("name", ON_REPLICAS)
def test_keras_still_has_the_fault_on_replicas(name, printed_on_replicas):
    received, besides = printed_on_replicas[name]
    assert received == PRINTS[name], besides


@pytest.mark.parametrize("name", [name for name in PRINTS if name not in ON_REPLICAS])
def test_keras_still_has_the_fault(name, capfd):
    policy = keras.config.dtype_policy()
    try:
        runpy.run_path(FOLDER / f"{name}.py")
    finally:
        keras.config.set_dtype_policy(policy)
    assert capfd.readouterr().out == PRINTS[name]


@pytest.mark.parametrize("name", PRINTS)
def test_a_report_says_where_it_was_seen_and_what_would_mend_it(name):
    docstring = (FOLDER / f"{name}.py").read_text("utf8").split('"""')[1]
    words = " ".join(docstring.split())
    assert re.search(r"Seen with Keras [\d.]+ and TensorFlow [\d.]+", words)
    assert "What would mend it:" in words


def test_the_page_shows_each_report_and_what_it_prints():
    page = PAGE.read_text("utf8")
    shown = re.findall(r"^```\{literalinclude\} reports/(\w+)\.py$", page, re.MULTILINE)
    prints = re.findall(r"^It prints\n\n```text\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert sorted(shown) == sorted(path.stem for path in FOLDER.glob("*.py"))
    assert dict(zip(shown, prints, strict=True)) == PRINTS
