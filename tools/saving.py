"""What every record says about its own making, and how a record is saved.

A record is a JSON file that comes with the package. Beside the measurements it holds

    settings      what was asked for; its `seed` is a number, a list of numbers, or null
    environment   the processor, the number of cores, and the versions
    date          the day of the last measurement
"""

import datetime
import inspect
import json
import os
import platform
import re
from importlib.metadata import version
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "src" / "vaebook" / "recorded"
SCHEMA = ("settings", "environment", "date")
ENVIRONMENT = ("processor", "cores", "python", "tensorflow", "keras", "numpy")


def processor():
    """Return the processor's name, and the instruction set that decides the last digits."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return platform.processor()
    fields = dict(
        line.split(":", 1) for line in cpuinfo.read_text().splitlines() if ":" in line
    )
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    flags = fields.get("flags", "").split()
    best = next((isa for isa in ("avx512f", "avx2", "sse4_1") if isa in flags), "")
    return f"{fields.get('model name', platform.machine())} {best}".strip()


def environment():
    """Return the processor, and the versions that the numbers come from."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("tensorflow", "keras", "numpy")},
    }


def framed(settings, results):
    """Return a record: the measurements, with what every record says about its making."""
    about = {
        "settings": settings,
        "environment": environment(),
        "date": datetime.date.today().isoformat(),
    }
    taken = sorted(set(about) & set(results))
    if taken:
        raise ValueError(
            f"Expected results under names other than {list(SCHEMA)}. Received: {taken}."
        )
    return about | results


def problems(record):
    """List what is missing from a record, or wrong in it."""
    found = [f"it has no {key}" for key in SCHEMA if key not in record]
    if found:
        return found
    seed = record["settings"].get("seed", "missing")
    seeds = seed if isinstance(seed, list) else [seed]
    if not seeds or not all(one is None or type(one) is int for one in seeds):
        found.append(f"settings: expected a seed, a list of seeds or null, received {seed!r}")
    lacking = [name for name in ENVIRONMENT if not record["environment"].get(name)]
    if lacking:
        found.append(f"environment: it lacks {lacking}")
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", record["date"]):
        found.append(f"date: expected one such as 2026-11-22, received {record['date']!r}")
    if not set(record) - set(SCHEMA):
        found.append("nothing was measured")
    return found


def save(path, record):
    """Write a record under a temporary name, then rename it."""
    path.parent.mkdir(exist_ok=True)
    beside = path.with_name(f"{path.name}.new")
    beside.write_text(json.dumps(record, indent=1) + "\n", "utf8")
    os.replace(beside, path)


def unfinished(path):
    """Return the path of a record that is not yet whole."""
    return path.with_suffix(".part.json")


class OtherSettings(ValueError):
    """An interrupted record was begun with other settings or versions."""


def make(name, module, again=False, folder=FOLDER):
    """Measure a record and save it; go on from where an interrupted measurement stopped.

    Only a complete record replaces a complete one. `again` discards the interrupted part.

    Returns:
        The path of the record.

    Raises:
        OtherSettings: if the interrupted part was made with other settings or versions.
    """
    path = folder / f"{name}.json"
    part = unfinished(path)
    if not inspect.isgeneratorfunction(module.measure):
        save(path, framed(module.SETTINGS, module.measure()))
        return path
    if again:
        part.unlink(missing_ok=True)
    stored = json.loads(part.read_text("utf8")) if part.exists() else {}
    now = json.loads(json.dumps(framed(module.SETTINGS, {})))  # tuples become lists
    for key in ("settings", "environment"):
        if stored and stored[key] != now[key]:
            raise OtherSettings(
                f"Expected to go on with {key} {stored[key]}, as {part.name} says. "
                f"Received: {now[key]}. Use --again to start over."
            )
    results = {key: value for key, value in stored.items() if key not in SCHEMA}
    for measured in module.measure(results):
        save(part, framed(module.SETTINGS, measured))
    os.replace(part, path)
    return path
