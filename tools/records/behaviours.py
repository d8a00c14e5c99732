"""Run every check on every route and every trap, and record the table of behaviours.

    python tools/records/behaviours.py

Chapter 12 shows the record, and the tests run the checks again and compare. It takes some
minutes.
"""

import datetime

import vaebook  # isort: skip
import tensorflow as tf
from machine import environment
from vaebook.behaviours import CHECKS, SPEC, TRAPS, check, check_on_replicas
from vaebook.records import save_record
from vaebook.routes import ROUTES

NAME = "behaviours"


def main():
    tf.get_logger().setLevel("ERROR")  # it warns of many models, which are meant
    cells = {}
    for name, route in {**ROUTES, **TRAPS}.items():
        cells[name] = {behaviour: check(route, behaviour) for behaviour in CHECKS}
        wrong = [behaviour for behaviour, cell in cells[name].items() if not cell["holds"]]
        print(f"{name:20} does not hold: {wrong}", flush=True)
    for name, found in check_on_replicas().items():
        cells[name].update(found)
        print(f"{name:20} on replicas a, b: {found['replicas']['shows']}")
    record = {
        "settings": {"latent_dim": SPEC.latent_dim, "image_shape": list(SPEC.image_shape)},
        "environment": environment(),
        "date": datetime.date.today().isoformat(),
        "routes": {name: cells[name] for name in ROUTES},
        "traps": {name: cells[name] for name in TRAPS},
    }
    print(f"saved in {save_record(NAME, record).name}")


if __name__ == "__main__":
    main()
