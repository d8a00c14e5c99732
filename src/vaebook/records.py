"""Measurements that take too long for a chapter: made by a command, shown from their record.

A record is a JSON file in this package. It says what was measured, when, on which processor
and with which versions: see `tools/records`.
"""

import json
from importlib import resources
from pathlib import Path
from typing import Any

import keras
import vaebook.layers  # registers what a saved model may hold

RECORDS = resources.files("vaebook") / "recorded"


def load_recorded_model(name: str) -> keras.Model:
    """Return a trained model that comes with the package, not compiled.

    Args:
        name: that of its file. "first_vae" is chapter 0's VAE: from images, shape
            (batch, 28, 28, 1), to a dict of reconstruction, mu and log_var, with a layer
            `decoder` from z, shape (batch, 6), to images.

    Raises:
        ValueError: if there is no model of this name; the message lists those there are.

    Source: chapter 0.
    """
    file = RECORDS / f"{name}.keras"
    if not file.is_file():
        there = sorted(path.stem for path in Path(str(RECORDS)).glob("*.keras"))
        raise ValueError(f"Expected a model out of {there}. Received: {name!r}.")
    with resources.as_file(file) as path:
        return keras.saving.load_model(path, compile=False, safe_mode=True)


def load_record(name: str) -> dict[str, Any]:
    """Return a record by its name.

    Raises:
        ValueError: if there is no record of this name; the message lists those there are.
    """
    file = RECORDS / f"{name}.json"
    if not file.is_file():
        there = sorted(path.stem for path in Path(str(RECORDS)).glob("*.json"))
        raise ValueError(f"Expected a record out of {there}. Received: {name!r}.")
    return json.loads(file.read_text("utf8"))
