"""Let `audit` examine every mistake of the book, and every route.

Chapter 19 shows the record, and the tests examine each mistake and each route again. It takes
about a minute.
"""

import vaebook  # isort: skip
import time

import numpy as np
import tensorflow as tf
from vaebook.audit import audit
from vaebook.behaviours import IMAGES, SEED, SPEC
from vaebook.mistakes import MISTAKES
from vaebook.routes import ROUTES

SETTINGS = {"image_shape": SPEC.image_shape, "images": IMAGES, "seed": SEED}


def measure():
    tf.get_logger().setLevel("ERROR")  # it warns of many models; here they are intended
    mistakes, seconds = {}, []
    for name, mistake in MISTAKES.items():
        arguments = {"reload": False, **mistake.build()}
        start = time.process_time()
        report = audit(**arguments)
        seconds.append(time.process_time() - start)
        listed = report.information if mistake.harmless else report.findings
        [first, *_] = [each for each in listed if each.code == mistake.code]
        mistakes[name] = {
            "chapter": mistake.chapter,
            "code": mistake.code,
            "where": first.where,
            "message": first.message,
            "also": sorted({each.code for each in report.findings} - {mistake.code}),
        }
        print(f"{name:36} {mistake.code:24} {mistakes[name]['also']}", flush=True)
    images = np.random.default_rng(SEED).uniform(size=(IMAGES, *SPEC.image_shape))
    routes = {}
    for name, route in ROUTES.items():
        report = audit(route.build(SPEC, weight=0.25, seed=SEED), images, route.targets(images))
        routes[name] = [each.code for each in report.findings]
    return {
        "mistakes": mistakes,
        "routes": routes,
        "cpu_seconds_median": float(np.median(seconds)),
        "cpu_seconds_longest": float(np.max(seconds)),
    }
