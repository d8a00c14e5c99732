"""The checks of an audit, in the order in which they run."""

import keras
import numpy as np
import tensorflow as tf
from vaebook.audit._batches import batch_size, loss_scale, replicas, sample_weights
from vaebook.audit._case import Case, as_numbers
from vaebook.audit._data import leaves
from vaebook.audit._log import metrics, parts, predictions, reload
from vaebook.audit._losses import check_range, each_loss
from vaebook.audit._noise import noise, training_flag
from vaebook.audit._report import ORDER, Audit, joined
from vaebook.audit._wiring import (
    constant_output,
    gradients,
    layer_losses,
    losses_by_position,
    output_without_loss,
    rows,
    targets_by_position,
    weights_by_position,
)

COLLAPSED = 0.01  # nats


def data_is_finite(case: Case) -> None:
    """Look for NaN in the data, and replace those of the batch so that the rest can run."""
    for name, value in (("x", case.batch.all_x), ("y", case.batch.all_y)):
        for where, array in leaves(value):
            if array.dtype.kind != "f" or np.isfinite(array).all():
                continue
            count = int((~np.isfinite(array)).sum())
            weight = _weight_for(case, where) if name == "y" else None
            if weight is not None:
                bad = ~np.isfinite(array).reshape(len(array), -1).all(axis=1)
                chosen = np.unique(
                    np.linspace(0, len(array) - 1, case.batch.size).round().astype(int)
                )
                weights = np.asarray(weight).reshape(case.batch.size, -1).max(axis=1)
                if bad[chosen].any() and (weights[bad[chosen]] == 0).all():
                    case.find(
                        "nan-target-with-zero-weight",
                        f"{name}{where}",
                        f"{bad.sum()} of {len(array)} targets are not finite; those in the "
                        "batch have the weight 0, and their loss is NaN all the same",
                    )
                    continue
            case.find(
                "not-finite",
                f"{name}{where}",
                f"{count:,} of {array.size:,} values in the data",
            )
    case.probe.x, case.probe.y = (
        keras.tree.map_structure(_finite, each) for each in (case.probe.x, case.probe.y)
    )


def _weight_for(case, where):
    weights = leaves(case.batch.sample_weight)
    if len(weights) == 1:
        return weights[0][1]
    return dict(weights).get(where)


def _finite(tensor):
    if tensor is None or not tensor.dtype.is_floating:
        return tensor
    return tf.where(tf.math.is_finite(tensor), tensor, tf.zeros_like(tensor))


def first_step(case: Case) -> bool:
    """Run one step, and report an error or numbers that are not finite. Tell if all is well."""
    try:
        case.step = case.probe.step()
    except Exception as error:
        case.step = case.probe.last
        text = " ".join(str(error).split()) or "without a message"
        case.find("does-not-train", "train_step", f"{type(error).__name__}: {text[:300]}")
        return False
    if not case.step.targets and not case.step.gradients:
        case.find(
            "no-gradient",
            "train_step",
            "the step asked no gradient tape for a gradient of the model's weights",
        )
        return False
    case.y_pred = case.probe.predict(training=False)
    return _all_finite(case)


def _all_finite(case) -> bool:
    step = case.step
    bad = [
        variable.path
        for variable in case.probe.variables
        if not np.isfinite(step.gradients.get(id(variable), 0.0)).all()
    ]
    if np.isfinite(step.loss) and not bad:
        return True
    first = []

    def seen(layer, args, kwargs, outputs):
        if first or layer is case.model:
            return
        for tensor in keras.tree.flatten(outputs):
            if as_numbers(tensor) is not None and not np.isfinite(as_numbers(tensor)).all():
                inputs = [as_numbers(each) for each in keras.tree.flatten((args, kwargs))]
                sound = all(np.isfinite(each).all() for each in inputs if each is not None)
                first.append(f"layer {layer.name}" + ("" if sound else ", from its inputs on"))
                return

    with case.probe.watching(seen):
        case.probe.step()
    weights = [v.path for v in case.model.variables if not _finite_variable(v)]
    losses = [case.label(term) for term in step.terms if not np.isfinite(term.value)]
    if weights:
        where = f"weights {joined(weights, 2)}"
    elif first:
        where = first[0]
    elif losses:
        where = f"loss of {joined(losses)}"
    else:
        where = "loss" if not np.isfinite(step.loss) else f"gradient of {joined(bad, 2)}"
    case.find(
        "not-finite",
        where,
        f"the loss is {step.loss:.4g}, and {len(bad)} of {len(case.probe.variables)} gradients "
        "are not finite",
    )
    return False


def _finite_variable(variable):
    value = variable.numpy()
    return value.dtype.kind != "f" or np.isfinite(value).all()


def collapsed(case: Case, codes) -> None:
    """Look for latent variables whose KL is practically 0."""
    case.probe.state.rewind()
    mu, log_var = (as_numbers(each) for each in codes(case.probe.x))
    kl = 0.5 * np.mean(mu**2 + np.expm1(log_var) - log_var, axis=0).ravel()
    idle = np.flatnonzero(kl < COLLAPSED)
    if int(case.model.optimizer.iterations) == 0:
        case.skip("posterior-collapsed", "the model has not been trained")
    elif len(idle):
        case.find(
            "posterior-collapsed",
            f"latent variables {joined(map(str, idle), 8)}",
            f"{len(idle)} of {len(kl)} have a KL below {COLLAPSED} nats; all have "
            f"{kl.sum():.3g} nats together",
        )


CHECKS = (
    rows,
    output_without_loss,
    weights_by_position,
    losses_by_position,
    targets_by_position,
    each_loss,
    layer_losses,
    gradients,
    constant_output,
    batch_size,
    sample_weights,
    replicas,
    loss_scale,
    noise,
    training_flag,
    metrics,
    predictions,
    parts,
)
"""The checks that need a step that ran and was finite, in the order in which they run."""


NEEDS_STEP = (
    "output-without-loss",
    "weights-by-position",
    "losses-by-position",
    "targets-by-position",
    "target-broadcast",
    "targets-out-of-range",
    "logits-mismatch",
    "constant-output",
    "no-gradient",
    "loss-weight-trained",
    "sum-over-batch",
    "divided-by-batch",
    "counted-twice",
    "layer-losses-ignored",
    "same-noise",
    "training-flag-ignored",
    "loss-not-scaled",
    "scalar-loss",
    "loss-keeps-axes",
    "sample-weight-ignored",
    "metrics-not-logged",
    "log-moved-by-predict",
    "parts-do-not-add-up",
    "does-not-reload",
)


def run(case: Case, reloads: bool = True) -> None:
    """Run every check that can be run."""
    data_is_finite(case)
    if not first_step(case):
        for term in case.step.terms if case.step else ():
            if not keras.tree.is_nested(term.y_true) and len(term.y_pred.shape) > 1:
                check_range(case, term)
        for code in NEEDS_STEP:
            case.skip(code, "the first step did not end well")
        return
    for check in CHECKS:
        check(case)
    if reloads:
        reload(case)
    else:
        case.skip("does-not-reload", "reload=False")


def beta(case: Case, measured) -> None:
    """Report what `measured_beta` found."""
    case.report.beta = measured
    if not measured.fits:
        case.find("kl-other-form", "loss", measured.why)
    elif measured.beta < 1e-6:
        case.find("kl-absent", "loss", f"the measured beta is {measured.beta:.2g}")


def sort(report: Audit) -> None:
    """Put the most harmful findings first."""
    for found in (report.findings, report.information):
        found.sort(key=lambda finding: ORDER[finding.code])
