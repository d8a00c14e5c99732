"""What is attached to what: the rows of the table, names, positions, gradients."""

from collections.abc import Mapping

import keras
import numpy as np
from keras import ops
from vaebook.audit._case import ROUNDING, Case, as_numbers, equal, loss_name
from vaebook.audit._data import leaves
from vaebook.audit._probe import REGULARISERS
from vaebook.audit._questions import regularisers
from vaebook.audit._report import Output, joined


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
    """Look for outputs that have a target and no loss."""
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
        if target is None:
            said, wrong = "no loss of compile reads it, and no target is given", False
        elif case.step.added and not sum(np.prod(array.shape) for _, array in leaves(target)):
            said = (
                "no loss of compile reads it; its target has no bytes, and a layer adds a loss"
            )
            wrong = False
        else:
            said, wrong = "a target is given, and no loss reads the output", True
        case.find("output-without-loss", name, said, wrong=wrong)


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
    """Look for losses in a list that do not act on the output at the same position."""
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
    """Look for targets in a list that do not go to the output at the same position."""
    names, given = written_names(case), case.batch.y
    if names is None or not isinstance(given, list | tuple) or len(given) != len(names):
        return
    pairs = {}
    for term in case.step.terms:
        received = np.asarray(term.y_true)
        same = [i for i, each in enumerate(given) if equal(np.asarray(each), received)]
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
        # If the shapes fit the alphabetical order better, the list was meant that way.
        meant = sum(fitted) > sum(fits)
        case.find("targets-by-position", "y", acting, wrong=not meant)


def layer_losses(case: Case) -> None:
    """Look for losses of layers that are left out of the total, or counted more than once."""
    own, penalty, adds = regularisers(case.probe, case.step)
    if penalty and not adds:
        case.find(
            "layer-losses-ignored",
            f"{REGULARISERS} of {joined([variable.path for variable in own], 2)}",
            f"they are {penalty:.4g}, and add nothing to the total",
        )
    for key, added in case.added_values().items():
        name = case.name_of_key(key)
        value = sum(each.value for each in added)
        adds = case.step.contributions.get(key, 0.0)
        if abs(value) < 1e-12 or (key == REGULARISERS and not adds):
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
        elif key == REGULARISERS and penalty and adds / penalty > 1.5:
            # They should enter the total once, even if `losses` is read more often.
            times = f"{adds / penalty:.3g} times"
            case.find("counted-twice", REGULARISERS, f"they enter the total {times}")
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


def gradients(case: Case) -> None:
    """Look for trainable weights without a gradient, and for loss weights that train."""
    dead = []
    for variable in case.probe.variables:
        gradient = case.step.gradients.get(id(variable))
        if gradient is None or not np.any(gradient):
            dead.append(variable)
    if dead and case.step.gradients:
        for seed in (1, 2):  # a dead unit wakes up elsewhere; a weight without a path does not
            moved = case.probe.step(seed=seed, prepare=lambda seed=seed: shake(case, seed))
            dead = [v for v in dead if not np.any(moved.gradients.get(id(v), 0.0))]
    if not case.step.gradients and case.step.targets:
        case.skip("no-gradient", "the step gives its gradients to no Keras optimizer")
        dead = []
    # A bias may cancel out of a difference. If a kernel does, the loss does not depend on it.
    lost = [v for v in dead if id(v) not in case.step.gradients or len(v.shape) > 1]
    cancelled = [v for v in dead if not any(v is each for each in lost)]
    for found, wrong in ((lost, True), (cancelled, False)):
        if found:
            count = sum(int(np.prod(variable.shape)) for variable in found)
            case.find(
                "no-gradient",
                joined([variable.path for variable in found]),
                f"{len(found)} of {len(case.probe.variables)} trainable weights, {count:,} "
                f"numbers, get {'no gradient' if wrong else 'a gradient of 0'}, wherever the "
                "weights stand",
                wrong=wrong,
            )
    for variable in case.probe.variables:
        if variable.shape == () and not any(variable is each for each in dead):
            _trained_weight(case, variable)


def constant_output(case: Case) -> None:
    """Look for outputs that a loss reads, and that neither weights nor inputs change."""
    if not case.step.terms:
        case.skip("constant-output", "the step computes its losses itself")
        return
    made = [case.y_pred]
    for seed in (1, 2):
        case.probe.state.rewind()
        shake(case, seed)
        made.append(case.probe.predict(rewind=False))
    case.probe.state.rewind()
    for term in case.step.terms:
        arrays = [as_numbers(_at(each, term.path)) for each in made]
        if any(each is None or not each.size for each in arrays):
            continue
        first = arrays[0][:1]
        if np.isfinite(first).all() and all((each == first).all() for each in arrays):
            case.find(
                "constant-output",
                case.label(term),
                f"it is {np.ravel(first)[0]:.4g} for each of {case.batch.size} samples, "
                "wherever the weights stand",
            )


def _at(structure, path):
    try:
        for key in path:
            structure = structure[key]
    except (KeyError, TypeError, IndexError):
        return None
    return structure


def shake(case, seed):
    rng = np.random.default_rng(seed)
    for variable in case.probe.variables:
        scale = 0.1 + 0.5 * float(np.std(variable.numpy()))
        variable.assign_add(rng.normal(0, scale, variable.shape))


def _trained_weight(case, variable):
    """Report a scalar in which the loss is linear, and on which no prediction depends."""
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
        equal(np.asarray(a), np.asarray(b))
        for a, b in zip(keras.tree.flatten(before), keras.tree.flatten(after), strict=True)
    )
    if same and abs(found[0]) > 1e-9 and np.allclose(found, found[0], rtol=1e-2):
        case.find(
            "loss-weight-trained",
            variable.path,
            f"the loss falls by {found[0]:.4g} for each 1 that the optimizer takes off it, "
            "without end, and no prediction depends on it",
        )
