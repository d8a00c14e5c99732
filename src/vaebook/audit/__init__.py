"""A doctor for any compiled Keras model: what is attached to what, and what is wrong.

`audit(model, x, y)` runs one batch through the model's own training step, watches it, and
reports. It leaves the model as it was. `measured_beta` measures the beta that a variational
autoencoder trains with, from its gradient.
"""

import time
from collections.abc import Callable
from typing import Any

import keras
from vaebook.audit import _checks
from vaebook.audit._beta import MeasuredBeta, measured_beta
from vaebook.audit._data import batch_of, check_model, check_structure
from vaebook.audit._probe import Probe
from vaebook.audit._report import CODES, Audit, Finding, Output

__all__ = ["CODES", "Audit", "Finding", "MeasuredBeta", "Output", "audit", "measured_beta"]


def audit(
    model: keras.Model,
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    codes: Callable | None = None,
    reconstruct: Callable | None = None,
    error: str = "crossentropy",
    pixel_variance: float = 1.0,
    reload: bool = True,
) -> Audit:
    """Run a compiled model on a batch and report what is wrong with its losses.

    Afterwards the model and the random state are as they were before.

    Args:
        model: a compiled and built `keras.Model` of any kind.
        x, y, sample_weight: data as `fit` takes them: arrays, dicts or lists of them, or a
            `tf.data.Dataset` or `PyDataset` as x. At most 32 samples are used.
        codes: for a variational autoencoder, a function from x to mu and log_var.
        reconstruct: a function from x to the reconstruction. If it and `codes` are given, beta
            is measured.
        error, pixel_variance: as for `measured_beta`.
        reload: whether to save the model to a temporary file and load it.

    Returns:
        An `Audit`: `outputs`, `findings`, `information` and `not_checked`.

    Raises:
        TypeError: if model is not a Keras model, or the data are not arrays or a dataset.
        ValueError: for a model that is not compiled or not built, data that do not fit it,
            or fewer than two samples.

    Source: chapter 19.
    """
    start = time.perf_counter()
    check_model(model)
    batch = batch_of(x, y, sample_weight)
    check_structure(model, batch.x, batch.y)
    report = Audit()
    with Probe(model, batch.x, batch.y, batch.sample_weight) as probe:
        case = _checks.Case(model, batch, probe, report)
        _checks.run(case, reload)
        if codes is None:
            report.not_checked["posterior-collapsed"] = "codes was not given"
        else:
            _checks.collapsed(case, codes)
        ran = not (report.found("does-not-train") or report.found("not-finite"))
    if codes is not None and reconstruct is not None and ran:
        _checks.beta(
            case,
            measured_beta(
                model,
                x,
                y,
                codes=codes,
                reconstruct=reconstruct,
                error=error,
                pixel_variance=pixel_variance,
            ),
        )
    elif codes is None or reconstruct is None:
        for code in ("kl-absent", "kl-other-form"):
            report.not_checked[code] = "codes and reconstruct were not given"
    _checks.sort(report)
    report.seconds = time.perf_counter() - start
    return report
