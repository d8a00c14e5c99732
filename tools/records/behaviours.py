"""Run every check on every route and every trap: the table of behaviours.

Chapter 12 shows the record, and the tests run the checks again and compare. It takes some
minutes.
"""

import vaebook  # isort: skip
import tensorflow as tf
from vaebook.behaviours import CHECKS, SEED, SPEC, TRAPS, check, check_on_replicas
from vaebook.routes import ROUTES

SETTINGS = {
    "latent_dim": SPEC.latent_dim,
    "image_shape": SPEC.image_shape,
    "seed": SEED,
}


def measure():
    tf.get_logger().setLevel("ERROR")  # it warns of many models; here they are intended
    cells = {}
    for name, route in {**ROUTES, **TRAPS}.items():
        cells[name] = {behaviour: check(route, behaviour) for behaviour in CHECKS}
        wrong = [behaviour for behaviour, cell in cells[name].items() if not cell["holds"]]
        print(f"{name:20} does not hold: {wrong}", flush=True)
    for name, found in check_on_replicas().items():
        cells[name].update(found)
        print(f"{name:20} on replicas a, b: {found['replicas']['shows']}")
    return {
        "routes": {name: cells[name] for name in ROUTES},
        "traps": {name: cells[name] for name in TRAPS},
    }
