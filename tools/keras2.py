"""Keras 2 beside the book: tf_keras in a folder of its own, and what errors say there.

The book does not need tf_keras. The records that show the answers of Keras 2 install tf_keras
in a temporary folder and run it there. If the environment variable KERAS2_PYTHON names an
interpreter that has tf_keras, they use that one.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from vaebook.notebook import outcome

VERSION = "2.21.0"  # of tf_keras and of the TensorFlow that it belongs to


def install(folder):
    """Make an interpreter with tf_keras in a folder, and return its path."""
    uv = Path(sys.executable).with_name("uv")
    python = folder / "bin" / "python"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder], check=True)
    packages = [f"{name}=={VERSION}" for name in ("tensorflow", "tf_keras")]
    subprocess.run([uv, "pip", "install", "--quiet", "--python", python, *packages], check=True)
    return python


@contextlib.contextmanager
def interpreter():
    """Yield the path of an interpreter that has tf_keras."""
    with tempfile.TemporaryDirectory() as folder:
        yield os.environ.get("KERAS2_PYTHON") or install(Path(folder, "keras2"))


def said(message):
    """Return an error's own message, without colours or the frames that name folders.

    Keras 2 puts the frames before the message. Keras 3 puts the name of a layer before it,
    and the layer's arguments after it.
    """
    message = message.split("Arguments received by")[0]
    for before in (
        r"(?:TypeError|ValueError): ",
        r"Exception encountered when calling .*?\.call\(\)\.",
        r"Error encountered:",
    ):
        message = re.split(before, message, maxsplit=1)[-1]
    return " ".join(re.sub(r"\x1b\[\d*m", "", message).split())


def ask_porting(python, module):
    """Run `breaks.py` with one version of Keras, and return its answers in words."""
    script = Path(__file__).with_name("breaks.py")
    done = subprocess.run([python, script, module], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"Expected {script.name} to succeed. Received: {done.stderr}")
    answers = json.loads(done.stdout.splitlines()[-1])
    for part in ("breaks", "kept", "fixed"):
        answers[part] = {name: in_words(each) for name, each in answers[part].items()}
    return answers


def in_words(answer):
    """Return an answer as one line. An error is raised again, so that `outcome` words it."""

    def raise_again():
        raise type(answer["error"], (Exception,), {})(said(answer["message"]))

    return answer["says"] if "says" in answer else outcome(raise_again)
