"""Measurements that take too long for a chapter: made by a command, shown from their record.

A record is a JSON file in this package. It says what was measured, when, on which processor
and with which versions: see `tools/records`.
"""

import json
from importlib import resources
from pathlib import Path
from typing import Any

RECORDS = resources.files("vaebook") / "recorded"


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
