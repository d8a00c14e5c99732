"""The checks of an audit. Each runs the model and reports what it measured."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from vaebook.audit._data import Batch, leaves
from vaebook.audit._probe import REGULARISERS, Probe, Step, takes
from vaebook.audit._report import CODES, ORDER, Audit, Finding, Output, joined
from vaebook.audit._state import parts_of

NOTHING = 1e-9  # of a total: what counts as no contribution
ROUNDING = 1e-4  # relative, of two float32 losses that should be one
COLLAPSED = 0.01  # nats


@dataclass
class Case:
    """What the checks share: the model under the probe, a batch of data, the first step."""

    model: keras.Model
    batch: Batch
    probe: Probe
    report: Audit
    step: Step | None = None
    y_pred: Any = None

    def find(self, code: str, where: str, message: str, wrong: bool = True) -> None:
        """Add a finding, or, if nothing is wrong, information."""
        known = CODES[code]
        finding = Finding(code, where, message, known.fix, known.chapter)
        (self.report.findings if wrong else self.report.information).append(finding)

    def skip(self, code: str, reason: str) -> None:
        """Say why a code was not checked."""
        self.report.not_checked.setdefault(code, reason)

    @property
    def own_step(self) -> bool:
        return type(self.model).train_step is not keras.Model.train_step

    @property
    def own_loss(self) -> bool:
        return type(self.model).compute_loss is not keras.Model.compute_loss

    def name_of(self, term) -> str:
        """Return the name of the output that a term belongs to."""
        if term.path:
            last = term.path[-1]
            if isinstance(last, int):
                names = getattr(self.model, "output_names", None)
                return names[last] if names and len(names) > last else f"output {last}"
            return "/".join(map(str, term.path))
        names = getattr(self.model, "output_names", None)
        return names[0] if names and len(names) == 1 else "output"

    def label(self, term) -> str:
        """Return the name of an output, with its place if another has the same name."""
        name = self.name_of(term)
        same = [each for each in self.step.terms if self.name_of(each) == name]
        return name if len(same) == 1 else f"{name} ({self.step.terms.index(term)})"

    def layer_keys(self) -> dict[str, Any]:
        """Return the layers that add a loss, by the key of their switch."""
        return {
            REGULARISERS if added.layer is REGULARISERS else f"layer {id(added.layer)}": (
                added.layer
            )
            for added in self.step.added
        }

    def added_values(self, step=None) -> dict[str, list]:
        """Return what each layer added, call by call."""
        values: dict[str, list] = {}
        for added in (step or self.step).added:
            key = REGULARISERS if added.layer is REGULARISERS else f"layer {id(added.layer)}"
            values.setdefault(key, []).append(added)
        return values

    def name_of_key(self, key) -> str:
        layer = self.layer_keys().get(key)
        return key if layer is None or layer is REGULARISERS else layer.name


def loss_name(loss) -> str:
    """Return what a loss is called."""
    if isinstance(loss, keras.Loss):
        return loss.name
    return getattr(loss, "__name__", type(loss).__name__)


# Data, before anything runs


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


# The first step


def first_step(case: Case) -> bool:
    """Run one step; report an error, or numbers that are not finite. Tell whether all is well."""
    try:
        case.step = case.probe.step()
    except Exception as error:
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
            if _numbers(tensor) is not None and not np.isfinite(_numbers(tensor)).all():
                inputs = [_numbers(each) for each in keras.tree.flatten((args, kwargs))]
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


def _numbers(tensor):
    """Return a floating tensor as an array, or None for anything else."""
    if not hasattr(tensor, "numpy") or not hasattr(tensor, "shape"):
        return None
    if not keras.backend.is_float_dtype(keras.backend.standardize_dtype(tensor.dtype)):
        return None
    return np.asarray(tf.cast(tf.convert_to_tensor(tensor), "float64"))


# What is attached to what


def rows(case: Case) -> None:
    """Fill the table: one row for each term of the loss, and for outputs without one."""
    step, probe = case.step, case.probe
    keys = [term.key for term in step.terms] + list(case.added_values())
    whole = np.linalg.norm(step.flat(probe.variables))
    shares = {}
    if 1 < len(keys) <= 12:
        rest = probe.step(off=tuple(keys)).flat(probe.variables)
        for key in keys:
            others = tuple(other for other in keys if other != key)
            part = probe.step(off=others).flat(probe.variables) - rest
            shares[key] = float(np.linalg.norm(part) / whole) if whole else None
    elif keys and whole:
        shares = dict.fromkeys(keys[:1], 1.0)
    for term in step.terms:
        adds = step.contributions.get(term.key, 0.0)
        case.report.outputs.append(
            Output(
                case.label(term),
                loss_name(term.loss),
                adds / term.value if term.value else None,
                _described(term.y_true),
                term.value,
                adds,
                shares.get(term.key),
            )
        )
    used = {term.path for term in step.terms}
    for path in _paths(case.y_pred):
        if step.terms and path not in used and not any(path[: len(u)] == u for u in used):
            case.report.outputs.append(Output("/".join(map(str, path))))
    for key, added in case.added_values().items():
        value = sum(each.value for each in added)
        adds = step.contributions.get(key, 0.0)
        case.report.outputs.append(
            Output(
                case.name_of_key(key),
                "add_loss" if key != REGULARISERS else "regulariser",
                adds / value if value else None,
                None,
                value,
                adds,
                shares.get(key),
            )
        )
    rest = step.loss - sum(step.contributions.values())
    if (case.own_step or case.own_loss) and abs(rest) > ROUNDING * abs(step.loss):
        name = "train_step" if case.own_step else "compute_loss"
        share = None if shares else 1.0
        case.report.outputs.append(Output(name, "its own", None, None, None, rest, share))


def _described(target):
    found = leaves(target)
    return ", ".join(
        f"{tuple(array.shape)} {keras.backend.standardize_dtype(array.dtype)}"
        for _, array in found
    )


def _paths(structure, path=()):
    if isinstance(structure, Mapping):
        return [p for key, value in structure.items() for p in _paths(value, (*path, key))]
    if isinstance(structure, list | tuple):
        return [p for i, value in enumerate(structure) for p in _paths(value, (*path, i))]
    return [path]


def output_without_loss(case: Case) -> None:
    """Outputs that have a target and no loss."""
    if not case.step.terms or case.own_step:
        return
    used = {term.path for term in case.step.terms}
    for path in _paths(case.y_pred):
        if any(path[: len(each)] == each for each in used):
            continue
        name = "/".join(map(str, path))
        target = case.batch.y
        try:
            for key in path:
                target = target[key]
        except (KeyError, IndexError, TypeError):
            target = None
        case.find(
            "output-without-loss",
            name,
            "a target is given, and no loss reads the output"
            if target is not None
            else "no loss of compile reads it, and no target is given",
            wrong=target is not None,
        )


def written_names(case) -> list[str] | None:
    """Return the names of dict outputs in the order in which they were written."""
    output = (
        getattr(case.model, "output", None) if getattr(case.model, "inputs", None) else None
    )
    if isinstance(output, Mapping) and all(
        not keras.tree.is_nested(each) for each in output.values()
    ):
        return list(output)
    return None


def weights_by_position(case: Case) -> None:
    """Compare the weight that acts on each output with the one that names it."""
    given = getattr(case.probe.compiled_loss, "_user_loss_weights", None)
    if not given or isinstance(given, float):
        return
    names = written_names(case) or list(getattr(case.model, "output_names", None) or [])
    acting = {}
    for term in case.step.terms:
        adds = case.step.contributions.get(term.key, 0.0)
        acting[case.name_of(term)] = adds / term.value if term.value else None
    if isinstance(given, Mapping):
        named = {name: _float(value) for name, value in given.items()}
        unknown = [name for name in named if names and name not in names]
        if not names:
            unknown = [name for name in named if name not in acting]
    else:
        if len(given) != len(names):
            return
        named, unknown = dict(zip(names, map(_float, given), strict=True)), []
    moved = [
        name
        for name, weight in acting.items()
        if weight is not None
        and not np.isclose(weight, named.get(name, np.nan), rtol=1e-3, atol=1e-12)
    ]
    if unknown or (moved and len(acting) > 1):
        acts = ", ".join(
            f"{name} {weight:.4g}" for name, weight in acting.items() if weight is not None
        )
        wrote = ", ".join(f"{name} {weight:.4g}" for name, weight in named.items())
        case.find(
            "weights-by-position",
            "loss_weights" if not unknown else f"loss_weights[{unknown[0]!r}]",
            f"written: {wrote}; acting: {acts}",
        )


def _float(value):
    return float(ops.convert_to_numpy(value))


def losses_by_position(case: Case) -> None:
    """Look for losses of a list that act on another output than stands at their place."""
    names, given = written_names(case), case.model.loss
    if names is None or not isinstance(given, list | tuple) or len(given) != len(names):
        return
    wrong = []
    for term in case.step.terms:
        written = given[names.index(case.name_of(term))]
        if callable(written) and loss_name(written) != loss_name(term.loss):
            wrong.append(f"{loss_name(term.loss)} on {case.name_of(term)}")
        elif isinstance(written, str) and written != loss_name(term.loss):
            wrong.append(f"{loss_name(term.loss)} on {case.name_of(term)}")
    if wrong:
        case.find("losses-by-position", "loss", f"acting: {', '.join(wrong)}")


def targets_by_position(case: Case) -> None:
    """Look for targets of a list that are compared with another output than their place says."""
    names, given = written_names(case), case.batch.y
    if names is None or not isinstance(given, list | tuple) or len(given) != len(names):
        return
    pairs = {}
    for term in case.step.terms:
        received = np.asarray(term.y_true)
        same = [i for i, each in enumerate(given) if _equal(np.asarray(each), received)]
        expected = names.index(case.name_of(term))
        if same and expected not in same:
            pairs[case.name_of(term)] = (same[0], expected, term)
    fits = [
        np.shape(given[expected])[1:] == tuple(term.y_pred.shape)[1:]
        for _, expected, term in pairs.values()
    ]
    fitted = [
        np.shape(given[place])[1:] == tuple(term.y_pred.shape)[1:]
        for place, _, term in pairs.values()
    ]
    if pairs:
        acting = ", ".join(f"{name} gets y[{place}]" for name, (place, _, _) in pairs.items())
        # A list in the order of the alphabet is right, if only its shapes allow that order.
        meant = sum(fitted) > sum(fits)
        case.find("targets-by-position", "y", acting, wrong=not meant)


def _equal(one, other):
    return one.shape == other.shape and np.array_equal(
        one.astype("float64"), other.astype("float64"), equal_nan=True
    )


# Each loss of compile


def each_loss(case: Case) -> None:
    """Shape, target and kind of every loss that `compile` was given."""
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
            _range(case, term)


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
    """Report a target that is not read or broadcast; tell whether the loss reads it."""
    if keras.tree.is_nested(term.y_true) or keras.tree.is_nested(term.y_pred):
        return False
    y_true, y_pred, name = term.y_true, term.y_pred, case.label(term)
    numbers = _numbers(y_true)
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


def _range(case, term):
    """Targets and predictions of a cross-entropy."""
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
        if _equal(np.asarray(part), np.asarray(term.y_true)):
            return whole
    return np.asarray(term.y_true)


def _logits(case, term, kind):
    """See what range the prediction keeps to when the weights become large."""
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
        y_pred = _numbers(y_pred)
        if y_pred is not None and y_pred.size and np.isfinite(y_pred).all():
            low.append(y_pred.min())
            high.append(y_pred.max())
            ones.append(np.abs(y_pred.sum(axis=-1) - 1).max())
    case.probe.state.rewind()
    now = _numbers(term.y_pred)
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


# What the batch does


def batch_size(case: Case) -> None:
    """Terms that grow or shrink when every sample is there twice."""

    def tiled(structure, times):
        return keras.tree.map_structure(
            lambda t: None if t is None else tf.concat([t] * times, axis=0), structure
        )

    probe = case.probe
    steps = {1: case.step}
    try:
        for times in (2, 4):
            steps[times] = probe.step(
                *(tiled(each, times) for each in (probe.x, probe.y, probe.sample_weight))
            )
    except Exception as error:
        case.skip("sum-over-batch", f"the step does not take a larger batch ({error})"[:120])
        case.skip("divided-by-batch", "the step does not take a larger batch")
        return
    noise = [probe.step(seed=seed) for seed in (1, 2)]
    known = set()
    for key in [*(term.key for term in case.step.terms), *case.added_values()]:
        if key == REGULARISERS:
            continue
        values = [steps[times].contributions.get(key, 0.0) for times in (1, 2, 4)]
        spread = max(abs(each.contributions.get(key, 0.0) - values[0]) for each in noise)
        known.add(key)
        _growth(case, _key_name(case, key), values, spread)
    own = [each.loss - sum(each.contributions.values()) for each in (*steps.values(), *noise)]
    if (case.own_step or case.own_loss) and abs(own[0]) > ROUNDING * abs(case.step.loss):
        name = "train_step" if case.own_step else "compute_loss"
        spread = max(abs(each - own[0]) for each in own[3:])
        _growth(case, name, own[:3], spread)


def _key_name(case, key):
    for term in case.step.terms:
        if term.key == key:
            return case.label(term)
    return case.name_of_key(key)


def _growth(case, name, values, spread):
    one, two, four = values
    if abs(one) < 1e-12:
        return
    first, second = two - one, four - two
    scale = max(abs(one), abs(four))
    loud = 3 * spread + 0.02 * scale
    if abs(four - one) > loud and abs(second - 2 * first) < 0.25 * abs(second) + loud / 3:
        growth = f"the term is {one:.4g}, with twice the batch {two:.4g}, four times {four:.4g}"
        if first > 0:
            case.find("sum-over-batch", name, growth)
    elif np.isclose(two / one, 0.5, rtol=0.1) and np.isclose(four / one, 0.25, rtol=0.1):
        growth = f"the term is {one:.4g}, with twice the batch {two:.4g}, four times {four:.4g}"
        case.find("divided-by-batch", name, growth)


def layer_losses(case: Case) -> None:
    """Losses of layers that are left out of the total, or counted more than once."""
    for key, added in case.added_values().items():
        name = case.name_of_key(key)
        value = sum(each.value for each in added)
        adds = case.step.contributions.get(key, 0.0)
        if abs(value) < 1e-12:
            continue
        if abs(adds) < 1e-6 * abs(value):
            case.find(
                "layer-losses-ignored",
                name,
                f"its loss is {value:.4g}, and it adds nothing to the total",
            )
            continue
        times = adds / value
        if key != REGULARISERS and times > 1.5:
            case.find("counted-twice", name, f"its loss enters the total {times:.3g} times")
        elif key == REGULARISERS:
            _regularisers(case, added, adds)
        repeated = [
            each.value
            for number, each in enumerate(added)
            if any(
                np.isclose(each.value, other.value, rtol=1e-6, atol=0)
                for other in added[:number]
            )
        ]
        if key != REGULARISERS and repeated:
            case.find(
                "counted-twice",
                name,
                f"the layer is called {len(added)} times in one step, and "
                f"{len(repeated) + 1} of its losses are equal ({repeated[0]:.4g})",
            )


def _regularisers(case, added, adds):
    """Regularisers enter a total once, though `losses` may be read more often than that."""
    own = [v for v in case.probe.variables if getattr(v, "regularizer", None) is not None]
    once = sum(float(variable.regularizer(variable)) for variable in own)
    if once and adds / once > 1.5:
        case.find(
            "counted-twice", REGULARISERS, f"they enter the total {adds / once:.3g} times"
        )


def gradients(case: Case) -> None:
    """Trainable weights without a gradient, and loss weights that train."""
    dead = []
    for variable in case.probe.variables:
        gradient = case.step.gradients.get(id(variable))
        if gradient is None or not np.any(gradient):
            dead.append(variable)
    if dead and case.step.gradients:
        for seed in (1, 2):  # a dead unit wakes up elsewhere; a weight without a path does not
            moved = case.probe.step(seed=seed, prepare=lambda seed=seed: _shake(case, seed))
            dead = [v for v in dead if not np.any(moved.gradients.get(id(v), 0.0))]
    if not case.step.gradients and case.step.targets:
        case.skip("no-gradient", "the step gives its gradients to no Keras optimizer")
        dead = []
    if dead:
        count = sum(int(np.prod(variable.shape)) for variable in dead)
        case.find(
            "no-gradient",
            joined([variable.path for variable in dead]),
            f"{len(dead)} of {len(case.probe.variables)} trainable weights, {count:,} numbers, "
            "get no gradient, wherever the weights stand",
        )
    for variable in case.probe.variables:
        if variable.shape == () and variable not in dead:
            _trained_weight(case, variable)


def _shake(case, seed):
    rng = np.random.default_rng(seed)
    for variable in case.probe.variables:
        scale = 0.1 + 0.5 * float(np.std(variable.numpy()))
        variable.assign_add(rng.normal(0, scale, variable.shape))


def _trained_weight(case, variable):
    """A scalar in which the loss is linear, and on which no prediction depends."""
    found = []
    for move in (1.0, 2.0, -3.0):
        step = case.probe.step(prepare=lambda move=move: variable.assign_add(move))
        found.append((step.loss - case.step.loss) / move)
    case.probe.state.rewind()
    before = case.probe.predict()
    case.probe.state.rewind()
    variable.assign_add(1.0)
    after = case.probe.predict(rewind=False)
    case.probe.state.rewind()
    same = all(
        _equal(np.asarray(a), np.asarray(b))
        for a, b in zip(keras.tree.flatten(before), keras.tree.flatten(after), strict=True)
    )
    if same and abs(found[0]) > 1e-9 and np.allclose(found, found[0], rtol=1e-2):
        case.find(
            "loss-weight-trained",
            variable.path,
            f"the loss falls by {found[0]:.4g} for each 1 that the optimizer takes off it, "
            "without end, and no prediction depends on it",
        )


def sample_weights(case: Case) -> None:
    """Terms that stay when every sample weighs nothing."""
    probe, given = case.probe, case.batch.sample_weight is not None
    if case.batch.dropped_weight:
        case.find(
            "sample-weight-ignored", "y", "fit drops sample weights if it gets no targets"
        )
        return
    if case.batch.y is None:
        case.skip("sample-weight-ignored", "fit drops sample weights if it gets no targets")
        return
    if given:
        zeros = keras.tree.map_structure(
            lambda t: None if t is None else tf.zeros_like(t), probe.sample_weight
        )
    else:
        zeros = tf.zeros((case.batch.size,))
    try:
        step = probe.step(sample_weight=zeros)
    except Exception as error:
        text = " ".join(str(error).split())[:120]
        if given:
            case.find("sample-weight-ignored", "sample_weight", f"they raise an error: {text}")
        else:
            case.skip("sample-weight-ignored", f"weights of shape (batch,) raise: {text}")
        return
    if not np.isfinite(step.loss):
        case.skip("sample-weight-ignored", "with weights of 0 the loss is not finite")
        return
    left = {
        _key_name(case, key): value
        for key, value in step.contributions.items()
        if key != REGULARISERS and abs(value) > NOTHING * max(1.0, abs(case.step.loss))
    }
    rest = step.loss - sum(step.contributions.values())
    if abs(rest) > 1e-6 * abs(case.step.loss):
        left["train_step" if case.own_step else "compute_loss"] = rest
    for name, value in left.items():
        case.find(
            "sample-weight-ignored",
            name,
            f"with all weights 0 it still adds {value:.4g} of {case.step.loss:.4g}",
            wrong=given,
        )


def replicas(case: Case) -> None:
    """What the total would be on two replicas, each of which must count for half."""
    original = tf.distribute.get_strategy

    class Two:
        """The strategy in use, which says that there are two replicas."""

        num_replicas_in_sync = 2

        def __getattr__(self, name):
            return getattr(original(), name)

    tf.distribute.get_strategy = Two
    try:
        step = case.probe.step()
    except Exception as error:
        case.skip("not-divided-by-replicas", f"the step fails ({type(error).__name__})")
        return
    finally:
        tf.distribute.get_strategy = original
    for key, value in step.contributions.items():
        before = case.step.contributions.get(key, 0.0)
        if before and np.isclose(value / before, 1, rtol=1e-3):
            case.find(
                "not-divided-by-replicas",
                _key_name(case, key),
                "two replicas would count this term twice",
                wrong=False,
            )
    rests = [each.loss - sum(each.contributions.values()) for each in (case.step, step)]
    if abs(rests[0]) > ROUNDING * abs(case.step.loss) and np.isclose(*rests, rtol=1e-3):
        case.find(
            "not-divided-by-replicas",
            "train_step" if case.own_step else "compute_loss",
            "two replicas would count the loss twice",
            wrong=False,
        )


def loss_scale(case: Case) -> None:
    """Whether a step scales its loss for an optimizer that divides by the scale."""
    if not isinstance(case.model.optimizer, keras.optimizers.LossScaleOptimizer):
        return
    if not case.step.gradients:
        case.skip("loss-not-scaled", "the step gives its gradients to no Keras optimizer")
        return
    scale = 1024.0
    step = case.probe.step(scale=scale)
    one, other = (each.flat(case.probe.variables) for each in (case.step, step))
    factor = scale * float(other @ one / (one @ one)) if one.any() else scale
    if not np.isclose(factor, scale, rtol=0.05):
        case.find(
            "loss-not-scaled",
            "train_step",
            f"with a scale of {scale:.0f} the gradient is {factor:.3g} times as large, and the "
            f"optimizer divides it by {scale:.0f}",
        )


# Noise, and the training flag


def noise(case: Case) -> None:
    """Noise that is the same at each call, or for each sample of a batch."""
    probe = case.probe

    def one_sample(structure):
        return keras.tree.map_structure(
            lambda t: None if t is None else tf.repeat(t[:1], case.batch.size, axis=0),
            structure,
        )

    data = [one_sample(each) for each in (probe.x, probe.y, probe.sample_weight)]
    runs: list[list] = [[], []]
    number = 0

    def seen(layer, args, kwargs, outputs):
        inputs = [_rows(t, case.batch.size) for t in keras.tree.flatten((args, kwargs))]
        outs = [_rows(t, case.batch.size) for t in keras.tree.flatten(outputs)]
        runs[number].append(
            (layer, [t for t in inputs if t is not None], [t for t in outs if t is not None])
        )

    try:
        with probe.watching(seen):
            probe.step(*data)
            number = 1
            _again(probe, data)
    except Exception as error:
        case.skip("same-noise", f"the step fails on equal samples ({type(error).__name__})")
        return
    finally:
        probe.recording = None
    if len(runs[0]) != len(runs[1]):
        case.skip("same-noise", "two steps call other layers")
        return
    moving, frozen = [], []
    for (layer, ins, outs), (_, ins2, outs2) in zip(*runs, strict=True):
        if not all(map(_same_rows, ins)) or not _close(ins, ins2):
            # Noise that the step draws itself shows in what a layer is given.
            if not moving and not frozen and not all(map(_same_rows, ins)):
                (moving if not _close(ins, ins2) else frozen).append((layer, "before"))
            continue
        varied = not all(map(_same_rows, outs))
        if not varied and _close(outs, outs2):
            continue
        if varied and _close(outs, outs2):
            frozen.append((layer, "in"))
        elif not varied:
            case.find(
                "same-noise",
                layer.name,
                f"the {case.batch.size} samples of a batch all get the same noise",
            )
            return
        else:
            moving.append((layer, "in"))
    if frozen:
        layer, place = frozen[0]
        case.find(
            "same-noise",
            layer.name if place == "in" else f"what {layer.name} is given",
            "equal samples come out different, and so does the same sample at the next call: "
            "by the same noise",
        )
    elif moving and not _has_own_seed(moving[0][0]):
        _noise_in_a_graph(case, moving[0], data)


def _again(probe, data):
    """Run the step once more from where the seeds now stand."""
    probe.recording = Step()
    probe.model.train_step(probe.data(*data))
    probe.recording = None


def _rows(tensor, size):
    numbers = _numbers(tensor)
    return numbers if numbers is not None and numbers.ndim and len(numbers) == size else None


def _same_rows(array):
    return not array.size or np.abs(array - array[:1]).max() <= 1e-5 * (np.abs(array).max() + 1)


def _close(ones, others):
    return len(ones) == len(others) and all(
        a.shape == b.shape
        and (not a.size or np.abs(a - b).max() <= 1e-5 * (np.abs(a).max() + 1))
        for a, b in zip(ones, others, strict=True)
    )


def _has_own_seed(layer):
    return any(isinstance(part, keras.random.SeedGenerator) for part in parts_of(layer))


def _noise_in_a_graph(case, origin, data):
    layer, place = origin
    try:
        first, second = case.probe.two_losses_in_a_graph(*data)
    except Exception as error:
        case.skip("same-noise", f"the step cannot be traced ({type(error).__name__})")
        return
    if first.size and np.array_equal(first, second):
        case.find(
            "same-noise",
            layer.name if place == "in" else f"what {layer.name} is given",
            "in a graph, as fit runs the step, two calls draw the same noise: it was drawn "
            "once, while the step was traced",
        )


def training_flag(case: Case) -> None:
    """Layers that a step calls as if it did not train."""
    calls: dict[int, list] = {}

    def seen(layer, args, kwargs, outputs):
        inner = any(p is not layer and isinstance(p, keras.Layer) for p in parts_of(layer))
        if takes(layer.call, "training") and not inner:
            calls.setdefault(id(layer), []).append((layer, args, kwargs, outputs))

    with case.probe.watching(seen):
        case.probe.step()
    asleep = []
    for found in calls.values():
        if any(bool(kwargs.get("training")) for _, _, kwargs, _ in found):
            continue
        layer, args, kwargs, _ = found[0]
        try:
            if _is_sensitive(case, layer, args, kwargs):
                asleep.append(layer.name)
        except Exception:
            case.skip("training-flag-ignored", f"{layer.name} cannot be called alone")
    if asleep:
        case.find(
            "training-flag-ignored",
            joined(asleep),
            f"{len(asleep)} {'layer' if len(asleep) == 1 else 'layers'} got no training=True in "
            "the step, and would do something else with it",
        )


def _is_sensitive(case, layer, args, kwargs):
    results = []
    for training in (True, False):
        case.probe.state.rewind()
        before = [np.array(v.numpy()) for v in layer.non_trainable_variables]
        outputs = layer.call(*args, **{**kwargs, "training": training})
        after = [np.array(v.numpy()) for v in layer.non_trainable_variables]
        moved = any(not np.array_equal(a, b) for a, b in zip(before, after, strict=True))
        flat = [_numbers(each) for each in keras.tree.flatten(outputs)]
        results.append(([each for each in flat if each is not None], moved))
    case.probe.state.rewind()
    (one, moved), (other, _) = results
    return moved or not _close(one, other)


# The log


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
    weighted = sum(step.contributions.get(term.key, 0.0) for term in step.terms)
    plain = sum(term.value for term in step.terms)
    added = sum(step.contributions.get(key, 0.0) for key in case.added_values())
    message = f"the parts sum to {total:.4g}, the total is {logs['loss']:.4g}"
    if step.terms and not case.own_step and np.isclose(total, plain, rtol=1e-3, atol=1e-6):
        reasons = []
        if not np.isclose(plain, weighted, rtol=1e-3, atol=1e-9):
            reasons.append("the log shows parts without their loss_weights")
        if abs(added) > NOTHING:
            reasons.append(f"layers and regularisers add {added:.4g}")
        own = step.loss - weighted - added
        if abs(own) > ROUNDING * abs(step.loss):
            reasons.append(f"compute_loss adds {own:.4g}")
        if reasons:
            case.find(
                "parts-do-not-add-up", "log", f"{message}: {joined(reasons)}", wrong=False
            )
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


# Files


def reload(case: Case) -> None:
    """Save, load in safe mode, and take the same step."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.keras")
        try:
            _save(case, path)
            copy = keras.saving.load_model(path, safe_mode=True)
        except Exception as error:
            text = " ".join(str(error).split("Exception encountered: ")[-1].split())
            case.find("does-not-reload", "model", f"{type(error).__name__}: {text[:160]}")
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


# Codes


def collapsed(case: Case, codes) -> None:
    """Latent variables whose KL is practically 0."""
    case.probe.state.rewind()
    mu, log_var = (_numbers(each) for each in codes(case.probe.x))
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
    batch_size,
    sample_weights,
    replicas,
    loss_scale,
    noise,
    training_flag,
    metrics,
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
    "parts-do-not-add-up",
    "does-not-reload",
)


def run(case: Case, reloads: bool = True) -> None:
    """Run every check that can be run."""
    data_is_finite(case)
    if not first_step(case):
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
