"""Measure what the chapters show from a record.

    python tools/records                    measure the records that are missing
    python tools/records cost               measure this record, even if it exists
    python tools/records --list             list the records, with their dates

Each module beside this one measures a record, which gets the module's name in
src/vaebook/recorded. The module has SETTINGS and `measure`. `measure()` returns the results.
If it takes hours, it is a generator, `measure(stored)`: it takes the results so far, {} at
first, and yields them again after each run that it adds. If it is interrupted, the same
command goes on from there.
"""

import argparse
import importlib
import json
import sys
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[1]))  # saving.py and its neighbours

from saving import FOLDER, OtherSettings, make, unfinished


def names():
    """Return the names of all records."""
    modules = Path(__file__).parent.glob("*.py")
    return sorted(path.stem for path in modules if path.stem != "__main__")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("records", nargs="*", metavar="NAME", help=", ".join(names()))
    parser.add_argument("--list", action="store_true", help="measure nothing")
    parser.add_argument("--again", action="store_true", help="forget an interrupted part")
    args = parser.parse_args()
    unknown = sorted(set(args.records) - set(names()))
    if unknown:
        parser.error(f"Expected names out of {names()}. Received: {unknown}.")
    for name in args.records or names():
        path = FOLDER / f"{name}.json"
        if args.list or (path.exists() and not args.records):
            there = json.loads(path.read_text("utf8"))["date"] if path.exists() else "missing"
            print(f"{name:20} {there}{'  interrupted' * unfinished(path).exists()}")
            continue
        print(f"{name}: measuring", flush=True)
        try:
            made = make(name, importlib.import_module(name), again=args.again)
        except OtherSettings as error:
            parser.exit(1, f"{name}: {error}\n")
        print(f"{name}: saved in {made.name}", flush=True)


if __name__ == "__main__":
    main()
