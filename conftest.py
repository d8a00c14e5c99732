"""What nbval compares: words exactly, decimal numbers within a tolerance.

A cell may set its own tolerance in its metadata, ``nbval: {rtol: 0.2}``. A cell whose
output depends on the data carries the tag ``mnist``: if MNIST is unavailable, it runs on
the digits and its output is not compared.
"""

import os
from functools import cache
from pathlib import Path

from compare import ATOL, RTOL, outputs_differ

if os.environ.get("VAEBOOK_MNIST"):  # kernels run in the folder of their notebook
    os.environ["VAEBOOK_MNIST"] = str(Path(os.environ["VAEBOOK_MNIST"]).resolve())


@cache
def mnist_is_here():
    """Tell, once per session, whether MNIST is available."""
    from vaebook.data import DatasetUnavailable, load_images

    try:
        load_images("mnist", n_train=1, n_test=1)
    except DatasetUnavailable:
        return False
    return True


def compare_with_tolerance(item):
    """Let a notebook's cell compare its outputs as tools/compare.py does."""
    limits = {"rtol": RTOL, "atol": ATOL, **item.cell.metadata.get("nbval", {})}

    def compare_outputs(new, stored, skip_compare=None):
        found = outputs_differ(stored, new, **limits)
        item.comparison_traceback = [found]  # nbval prints this below the cell
        return not found

    item.compare_outputs = compare_outputs


def pytest_collection_modifyitems(items):
    for item in items:
        if type(item).__name__ == "IPyNbCell":
            compare_with_tolerance(item)
            if "mnist" in item.cell.metadata.get("tags", []) and not mnist_is_here():
                item.options["check"] = False


def pytest_report_collectionfinish(items):
    """Say which data the notebooks run on, if any do: this imports TensorFlow."""
    if not any(type(item).__name__ == "IPyNbCell" for item in items):
        return None
    if mnist_is_here():
        return "vaebook: MNIST is here, every stored output is compared"
    return (
        "vaebook: no MNIST, the chapters run on the digits; "
        "cells tagged mnist run, and their output is not compared"
    )
