"""What the log shows, and what a file keeps."""

from itertools import combinations

import numpy as np
from vaebook.audit._case import ROUNDING, Case
from vaebook.audit._questions import (
    log_before_and_after_predict,
    logged_metrics,
    logs_of_batches,
    reloaded,
    sum_of_parts,
)
from vaebook.audit._report import joined


def metrics(case: Case) -> None:
    """Look for metrics of compile that are not in the log."""
    wanted, names, missing = logged_metrics(case.probe, case.step.logs)
    if len(names) < len(wanted) or missing:
        shown = missing or [
            each if isinstance(each, str) else getattr(each, "name", str(each))
            for each in wanted
        ]
        case.find(
            "metrics-not-logged",
            joined(shown),
            f"compile got {len(wanted)} metrics, and {len(names) - len(missing)} of them reach "
            f"the log, which has {joined(sorted(case.step.logs), 6)}",
        )


def predictions(case: Case) -> None:
    """Look for trackers whose mean a prediction changes."""
    try:
        before, after = log_before_and_after_predict(case.probe)
    except Exception as error:
        case.skip("log-moved-by-predict", f"x of zeros raises {type(error).__name__}")
        return
    moved = [
        name
        for name in before
        if not np.isclose(before[name], after[name], rtol=1e-5, equal_nan=True)
    ]
    for name in moved:
        case.find(
            "log-moved-by-predict",
            name,
            f"after a training step it is {before[name]:.4g}, and {after[name]:.4g} after a "
            "prediction",
        )


def parts(case: Case) -> None:
    """Compare the logged parts with the logged total, and say why they differ."""
    logs, step = case.step.logs, case.step
    if "loss" not in logs:
        case.skip("parts-do-not-add-up", "the log has no total named loss")
        return
    if len(step.terms) > 1:
        expected = {f"{case.name_of(term)}_loss" for term in step.terms}
        if len(expected) < len(step.terms) and not case.own_step:
            case.find(
                "parts-do-not-add-up",
                "log",
                f"{len(step.terms)} losses share {len(expected)} name, "
                f"{joined(sorted(expected))}: the last one overwrites the others",
            )
            return
    total = sum_of_parts(logs)
    if total is None:
        return
    if np.isclose(total, logs["loss"], rtol=1e-3, atol=1e-6):
        _uneven(case)
        return
    message = f"the parts sum to {total:.4g}, the total is {logs['loss']:.4g}"
    if case.own_step or case.own_loss:
        case.find(
            "parts-do-not-add-up", "log", f"{message}; the step logs what it likes", False
        )
        return
    weighted = sum(step.contributions.get(term.key, 0.0) for term in step.terms)
    plain = sum(term.value for term in step.terms)
    unlogged = {case.label(term): step.contributions.get(term.key, 0.0) for term in step.terms}
    if len(step.terms) > 1:
        unlogged = {}
    for key in case.added_values():
        unlogged[case.name_of_key(key)] = step.contributions.get(key, 0.0)
    reasons = []
    if len(step.terms) > 1 and not np.isclose(plain, weighted, rtol=1e-3, atol=1e-9):
        reasons.append("the log shows parts without their loss_weights")
    gap = logs["loss"] - total - (weighted - plain if len(step.terms) > 1 else 0.0)
    for count in range(len(unlogged) + 1):
        for names in combinations(list(unlogged)[:8], count):
            if np.isclose(sum(unlogged[n] for n in names), gap, rtol=2e-3, atol=1e-5):
                reasons += [
                    f"{name} adds {unlogged[name]:.4g} that is not logged" for name in names
                ]
                case.find("parts-do-not-add-up", "log", f"{message}: {joined(reasons)}", False)
                return
    case.find("parts-do-not-add-up", "log", message)


def _uneven(case):
    """Log a large and a small batch."""
    if sum(name.endswith("_loss") for name in case.step.logs) < 2 or case.batch.size < 4:
        return
    small = max(1, case.batch.size // 8)
    large = case.batch.size - small
    try:
        logs = logs_of_batches(case.probe, large)
    except Exception as error:
        case.skip("parts-do-not-add-up", f"uneven batches: {type(error).__name__}")
        return
    parts, total = sum_of_parts(logs), logs.get("loss")
    if None not in (parts, total) and not np.isclose(total, parts, rtol=1e-4, atol=1e-7):
        case.find(
            "parts-do-not-add-up",
            "log",
            f"after batches of {large} and {small} samples the parts sum to {parts:.4g} and "
            f"the total is {total:.4g}: Keras weighs a smaller last batch in the total only",
            wrong=False,
        )


def reload(case: Case) -> None:
    """Save, load in safe mode, and take the same step."""
    answer = reloaded(case.probe)
    differs = {
        "weights": "the loaded model has other weights",
        "compile": "the loaded model is not compiled",
        "optimizer": "the loaded optimizer is in another state",
    }
    if answer.error is not None:
        text = " ".join(str(answer.error).split("Exception encountered: ")[-1].split())
        message = f"{type(answer.error).__name__}: {text.split('. ')[0][:200]}"
        if answer.place == "step":
            message = f"the loaded model does not train: {message}"
        case.find("does-not-reload", "model", message)
        return
    for where, message in differs.items():  # other seeds only draw other noise
        if where in answer.differs:
            case.find("does-not-reload", where, message)
            return
    if not np.isclose(answer.step.loss, case.step.loss, rtol=ROUNDING, atol=1e-7):
        case.find(
            "does-not-reload",
            "loss",
            f"the loss is {case.step.loss:.6g}, and {answer.step.loss:.6g} after loading",
        )
    elif answer.needs:
        case.find(
            "does-not-reload",
            "model",
            f"it loads in another process once that has {joined(answer.needs)}",
            wrong=False,
        )
