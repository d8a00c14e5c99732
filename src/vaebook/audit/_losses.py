"""Each loss that `compile` was given: its shape, its target, its kind."""

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from vaebook.audit._case import ROUNDING, Case, as_numbers, equal, loss_name
from vaebook.audit._data import leaves


def each_loss(case: Case) -> None:
    """Check shape, target and kind of every loss that `compile` was given."""
    if not case.step.terms:
        reason = "the step computes its losses itself"
        for code in (
            "scalar-loss",
            "loss-keeps-axes",
            "target-broadcast",
            "target-not-read",
            "targets-out-of-range",
            "logits-mismatch",
        ):
            case.skip(code, reason)
        return
    for term in case.step.terms:
        try:
            values = ops.convert_to_numpy(term.values())
        except NotImplementedError:
            case.skip("scalar-loss", f"{loss_name(term.loss)} has no method call")
            continue
        _shape_of_loss(case, term, values)
        reads = _target(case, term, values)
        if reads:
            check_range(case, term)


def _shape_of_loss(case, term, values):
    name, rank = case.label(term), values.ndim
    if rank == 0:
        case.find(
            "scalar-loss",
            name,
            f"{loss_name(term.loss)} returns one number for {case.batch.size} samples",
        )
    elif rank > 1:
        predicted = len(keras.tree.flatten(term.y_pred)[0].shape)
        nothing_reduced = rank >= predicted
        wrong = nothing_reduced or (case.batch.sample_weight is not None and rank > 2)
        case.find(
            "loss-keeps-axes",
            name,
            f"{loss_name(term.loss)} returns shape {values.shape}; sample weights of shape "
            f"({case.batch.size},) do not fit it",
            wrong=wrong,
        )


def _target(case, term, values) -> bool:
    """Report a target that is not read, or is broadcast; tell whether the loss reads it."""
    if keras.tree.is_nested(term.y_true) or keras.tree.is_nested(term.y_pred):
        return False
    y_true, y_pred, name = term.y_true, term.y_pred, case.label(term)
    numbers = as_numbers(y_true)
    reads = True
    if numbers is not None or y_true.dtype.is_integer or y_true.dtype == tf.bool:
        other = tf.cast(y_true, y_pred.dtype) * 0.5 + 0.25
        if y_true.dtype.is_integer:
            other = (y_true + 1) % tf.maximum(
                tf.cast(2, y_true.dtype), tf.reduce_max(y_true) + 1
            )
        try:
            changed = ops.convert_to_numpy(term.values(y_true=other))
            reads = changed.shape != values.shape or not np.array_equal(changed, values)
        except Exception:
            reads = True
    if not reads:
        size = (
            sum(
                array.nbytes
                for where, array in leaves(case.batch.all_y)
                if where in (f"[{name!r}]", "")
            )
            if case.batch.all_y is not None
            else 0
        )
        case.find("target-not-read", name, f"the target takes {size:,} bytes", wrong=False)
        return False
    if tuple(y_true.shape) != tuple(y_pred.shape):
        _broadcast(case, term, values)
    return True


def _broadcast(case, term, values):
    y_true, y_pred = term.y_true, term.y_pred
    shapes = tuple(y_true.shape), tuple(y_pred.shape)
    mean = float(np.mean(values))
    message = f"target {shapes[0]}, prediction {shapes[1]}"
    if np.prod(shapes[0]) == np.prod(shapes[1]):
        straight = term.values(y_true=tf.reshape(y_true, shapes[1]))
        if not np.isclose(float(np.mean(straight)), mean, rtol=ROUNDING, atol=1e-7):
            value = float(np.mean(straight))
            message += f"; the loss is {mean:.4g}, and {value:.4g} with the same shapes"
            case.find("target-broadcast", case.label(term), message)
        return
    try:
        common = tf.broadcast_static_shape(y_true.shape, y_pred.shape)
        wide = [tf.broadcast_to(tf.cast(each, "float32"), common) for each in (y_true, y_pred)]
        result = float(np.mean(term.values(*wide)))
    except Exception:
        return  # no two shapes that broadcast, such as sparse labels
    if np.isclose(result, mean, rtol=ROUNDING, atol=1e-7):
        case.find("target-broadcast", case.label(term), message)


def kind_of_loss(loss) -> str | None:
    """Tell a cross-entropy, and what it expects, from what it returns.

    Returns:
        "binary probabilities", "binary logits", "categorical probabilities", "categorical
        logits", or None for anything else.
    """

    def value(y_true, y_pred, shape):
        y_true, y_pred = np.broadcast_arrays(
            np.asarray(y_true, "float32"), np.asarray(y_pred, "float32")
        )
        y_true, y_pred = np.broadcast_to(y_true, shape), np.broadcast_to(y_pred, shape)
        return float(
            np.mean(loss.call(ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)))
        )

    for shape in ((2, 2), (2, 2, 2, 2)):
        try:
            unit = value(1.0, 0.5, shape)
            ratios = value(1.0, 0.25, shape) / unit, value(0.0, 0.25, shape) / unit
            if np.allclose(ratios, (2, np.log(0.75) / np.log(0.5)), rtol=1e-3):
                return "binary probabilities"
            unit = value(1.0, 0.0, shape)
            ratios = value(1.0, 2.0, shape) / unit, value(0.0, 2.0, shape) / unit
            right = np.log1p(np.exp(-2)) / np.log(2), np.log1p(np.exp(2)) / np.log(2)
            if np.allclose(ratios, right, rtol=1e-3):
                return "binary logits"
            one = np.array([1.0, 0.0])
            values = [
                value(one, np.array(p), shape) for p in ([0.5, 0.5], [0.25, 0.75], [1, 3])
            ]
            if np.allclose(np.array(values[1:]) / values[0], 2, rtol=1e-3):
                return "categorical probabilities"
            values = [
                value(one, np.array(p), shape) for p in ([0.0, 0.0], [2.0, 0.0], [3.0, 1.0])
            ]
            if np.allclose(np.array(values[1:]) / values[0], right[0], rtol=1e-3):
                return "categorical logits"
        except Exception:
            continue
    return None


def check_range(case, term):
    """Check the range of targets and predictions of a cross-entropy."""
    name, sparse = case.label(term), _sparse_kind(term)
    kind = sparse or kind_of_loss(term.loss)
    if kind is None:
        return
    targets = _all_targets(case, term)
    low, high = float(np.min(targets)), float(np.max(targets))
    if sparse:
        classes = term.y_pred.shape[-1]
        if low < 0 or high >= classes:
            case.find(
                "targets-out-of-range",
                name,
                f"labels from {low:g} to {high:g} for {classes} classes",
            )
    elif low < -1e-6 or high > 1 + 1e-6:
        case.find(
            "targets-out-of-range",
            name,
            f"targets from {low:.4g} to {high:.4g}; the loss is {term.value:.4g}",
        )
    _logits(case, term, kind)


def _sparse_kind(term):
    """Recognise a cross-entropy of integer labels by the loss of Keras that it equals."""
    if len(term.y_true.shape) >= len(term.y_pred.shape) and term.y_true.shape[-1] != 1:
        return None
    if term.y_pred.shape[-1] < 2:
        return None
    labels = tf.cast(term.y_true, "int32")
    if len(labels.shape) == len(term.y_pred.shape):
        labels = labels[..., 0]
    labels = tf.clip_by_value(labels, 0, term.y_pred.shape[-1] - 1)
    positive = tf.random.stateless_uniform(term.y_pred.shape, (1, 2), 0.1, 0.9)
    for name, logits in (("probabilities", False), ("logits", True)):
        try:
            own = float(np.mean(term.values(labels, positive)))
            keras_own = keras.ops.sparse_categorical_crossentropy(
                labels, positive, from_logits=logits
            )
        except Exception:
            return None
        if np.isclose(own, float(np.mean(keras_own)), rtol=1e-4):
            return f"sparse {name}"
    return None


def _all_targets(case, term):
    found = [array for _, array in leaves(case.batch.all_y)]
    batch = [array for _, array in leaves(case.batch.y)]
    for whole, part in zip(found, batch, strict=False):
        if equal(np.asarray(part), np.asarray(term.y_true)):
            return whole
    return np.asarray(term.y_true)


def _logits(case, term, kind):
    """Check the range of the prediction when the weights become large."""
    name, path = case.label(term), term.path
    low, high, ones = [], [], []
    for seed in (1, 2):
        case.probe.state.rewind()
        rng = np.random.default_rng(seed)
        for variable in case.probe.variables:
            if len(variable.shape) > 0:
                scale = 0.3 + 2 * float(np.std(variable.numpy()))
                variable.assign_add(rng.normal(0, scale, variable.shape))
        y_pred = case.probe.predict(rewind=False)
        try:
            for key in path:
                y_pred = y_pred[key]
        except (KeyError, TypeError, IndexError):
            break
        y_pred = as_numbers(y_pred)
        if y_pred is not None and y_pred.size and np.isfinite(y_pred).all():
            low.append(y_pred.min())
            high.append(y_pred.max())
            ones.append(np.abs(y_pred.sum(axis=-1) - 1).max())
    case.probe.state.rewind()
    now = as_numbers(term.y_pred)
    low.append(now.min())
    high.append(now.max())
    bounded = min(low) >= -1e-6 and max(high) <= 1 + 1e-6
    expects_logits = kind.endswith("logits")
    if expects_logits and bounded and len(low) > 1:
        case.find(
            "logits-mismatch",
            name,
            f"{loss_name(term.loss)} expects logits, and the output stays within "
            f"[{min(low):.3g}, {max(high):.3g}] whatever the weights: it has been through a "
            "sigmoid or softmax",
        )
    elif not expects_logits and not bounded:
        # Keras normalises positive predictions of a categorical cross-entropy.
        case.find(
            "logits-mismatch",
            name,
            f"{loss_name(term.loss)} expects probabilities, and the output goes from "
            f"{min(low):.3g} to {max(high):.3g}",
        )
