"""What the log shows, and what a file keeps."""

import tempfile
from itertools import combinations
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from vaebook.audit._case import NOTHING, ROUNDING, Case, as_numbers, equal, key_name, loss_name
from vaebook.audit._data import Batch, leaves
from vaebook.audit._probe import REGULARISERS, Probe, Step, takes
from vaebook.audit._report import CODES, ORDER, Audit, Finding, Output, joined
from vaebook.audit._state import parts_of


def metrics(case: Case) -> None:
    """Metrics of compile that are not in the log."""
    compiled = case.probe.compiled_metrics
    if compiled is None:
        return
    wanted = [
        each
        for each in keras.tree.flatten(
            [compiled._user_metrics or [], compiled._user_weighted_metrics or []]
        )
        if each is not None
    ]
    names = list(compiled.result()) if compiled.built else []
    missing = [name for name in names if name not in case.step.logs]
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


def parts(case: Case) -> None:
    """Logged parts against the logged total, and why they differ."""
    logs, step = case.step.logs, case.step
    if "loss" not in logs:
        case.skip("parts-do-not-add-up", "the log has no total named loss")
        return
    names = [name for name in logs if name.endswith("_loss")]
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
    if not names:
        return
    total = sum(logs[name] for name in names)
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
    """Log a large and a small batch as `fit` does, in a graph that knows no batch size."""
    compiled = case.probe.compiled_loss
    if case.own_step or case.own_loss or len(case.step.terms) < 2 or case.batch.size < 4:
        return
    y, y_pred = case.batch.y, case.y_pred
    copy = type(compiled)(
        compiled._user_loss, compiled._user_loss_weights, output_names=compiled.output_names
    )

    def spec(tensor):
        shape = (None, *tensor.shape[1:])
        return tf.TensorSpec(shape, tensor.dtype)

    structure = {"y": y, "y_pred": y_pred}
    signature = keras.tree.map_structure(spec, structure)

    @tf.function(autograph=False, input_signature=[signature])
    def traced(given):
        return copy(given["y"], given["y_pred"])

    small = max(1, case.batch.size // 8)
    cuts = (slice(None, -small), slice(-small, None))
    try:
        totals = []
        for cut in cuts:
            part = keras.tree.map_structure(lambda t, cut=cut: t[cut], structure)
            totals.append(float(traced(part)))
    except Exception as error:
        case.skip("parts-do-not-add-up", f"uneven batches: {type(error).__name__}")
        return
    total = (totals[0] * (case.batch.size - small) + totals[1] * small) / case.batch.size
    logged = sum(float(metric.result()) for metric in copy.metrics)
    if not np.isclose(total, logged, rtol=1e-4, atol=1e-7):
        case.find(
            "parts-do-not-add-up",
            "log",
            f"after batches of {case.batch.size - small} and {small} samples the parts sum to "
            f"{logged:.4g} and the total is {total:.4g}: Keras weighs a smaller last batch in "
            "the total only",
            wrong=False,
        )


def reload(case: Case) -> None:
    """Save, load in safe mode, and take the same step."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.keras")
        try:
            _save(case, path)
            copy = keras.saving.load_model(path, safe_mode=True)
        except Exception as error:
            text = " ".join(str(error).split("Exception encountered: ")[-1].split())
            case.find(
                "does-not-reload",
                "model",
                f"{type(error).__name__}: {text.split('. ')[0][:200]}",
            )
            return
    ones, others = case.model.get_weights(), copy.get_weights()
    if len(ones) != len(others) or not all(map(np.array_equal, ones, others)):
        case.find("does-not-reload", "weights", "the loaded model has other weights")
        return
    if not copy.compiled or copy.optimizer is None:
        case.find("does-not-reload", "compile", "the loaded model is not compiled")
        return
    try:
        with Probe(copy, case.probe.x, case.probe.y, case.probe.sample_weight) as other:
            case.probe.state.rewind()
            _copy_seeds(case.model, copy)
            step = other.step(prepare=lambda: _copy_seeds(case.model, copy))
    except Exception as error:
        text = " ".join(str(error).split())[:160]
        case.find("does-not-reload", "model", f"the loaded model does not train: {text}")
        return
    if not np.isclose(step.loss, case.step.loss, rtol=ROUNDING, atol=1e-7):
        case.find(
            "does-not-reload",
            "loss",
            f"the loss is {case.step.loss:.6g}, and {step.loss:.6g} after loading",
        )


def _save(case, path):
    """Save the model as it was compiled, without what the probe put into it."""
    own, before = vars(case.model), {}
    for part, attributes in case.probe.state.attributes:
        if part is case.model:
            before = attributes
    swapped = {name: own[name] for name in ("_compile_loss", "_compile_metrics") if name in own}
    hidden = [
        (vars(optimizer), {n: vars(optimizer).pop(n) for n in ("apply", "scale_loss")})
        for optimizer in case.probe.optimizers
    ]
    case.probe.state.rewind()
    try:
        own.update({name: before[name] for name in swapped if name in before})
        case.model.save(path)
    finally:
        own.update(swapped)
        for attributes, methods in hidden:
            attributes.update(methods)


def _copy_seeds(one, other):
    ones, others = (
        [part for part in parts_of(each) if isinstance(part, keras.random.SeedGenerator)]
        for each in (one, other)
    )
    if len(ones) == len(others):
        for source, target in zip(ones, others, strict=True):
            target.state.assign(source.state)
