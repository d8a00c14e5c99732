"""Noise that does not change, and layers that are called without training=True."""

import keras
import numpy as np
import tensorflow as tf
from vaebook.audit._case import Case, as_numbers
from vaebook.audit._probe import takes
from vaebook.audit._report import joined
from vaebook.audit._state import parts_of


def noise(case: Case) -> None:
    """Look for noise that is the same at each call, or for each sample of a batch."""
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
            probe.again(*data)
    except Exception as error:
        case.skip("same-noise", f"the step fails on equal samples ({type(error).__name__})")
        return
    if len(runs[0]) != len(runs[1]):
        case.skip("same-noise", "two steps call other layers")
        return
    moving, frozen = [], []
    for (layer, ins, outs), (_, ins2, outs2) in zip(*runs, strict=True):
        if not all(map(_same_rows, ins)) or not close(ins, ins2):
            # Noise that the step draws itself shows in what a layer is given.
            if not moving and not frozen and not all(map(_same_rows, ins)):
                (moving if not close(ins, ins2) else frozen).append((layer, "before"))
            continue
        varied = not all(map(_same_rows, outs))
        if not varied and close(outs, outs2):
            continue
        if varied and close(outs, outs2):
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
            "equal samples come out different, so there is noise, and the next call draws the "
            "same noise again",
        )
    elif moving and not _moves_a_seed(case, moving[0][0]):
        _noise_in_a_graph(case, moving[0], data)


def _rows(tensor, size):
    numbers = as_numbers(tensor)
    return numbers if numbers is not None and numbers.ndim and len(numbers) == size else None


def _same_rows(array):
    return not array.size or np.abs(array - array[:1]).max() <= 1e-5 * (np.abs(array).max() + 1)


def close(ones, others):
    return len(ones) == len(others) and all(
        a.shape == b.shape
        and (not a.size or np.abs(a - b).max() <= 1e-5 * (np.abs(a).max() + 1))
        for a, b in zip(ones, others, strict=True)
    )


def _moves_a_seed(case, layer):
    """Tell whether a layer has drawn from a seed generator of its own since the rewind."""
    before = {id(variable): value.numpy() for variable, value in case.probe.state.values}
    return any(
        isinstance(part, keras.random.SeedGenerator)
        and not np.array_equal(part.state.numpy(), before.get(id(part.state)))
        for part in parts_of(layer)
    )


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
    """Look for layers that a step calls as at inference, although it matters to them."""
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
            f"called without training=True in the step; {len(asleep)} would do something else "
            "with it",
        )


def _is_sensitive(case, layer, args, kwargs):
    results = []
    for training in (True, False):
        case.probe.state.rewind()
        before = [np.array(v.numpy()) for v in layer.non_trainable_variables]
        outputs = layer.call(*args, **{**kwargs, "training": training})
        after = [np.array(v.numpy()) for v in layer.non_trainable_variables]
        moved = any(not np.array_equal(a, b) for a, b in zip(before, after, strict=True))
        flat = [as_numbers(each) for each in keras.tree.flatten(outputs)]
        results.append(([each for each in flat if each is not None], moved))
    case.probe.state.rewind()
    (one, moved), (other, _) = results
    return moved or not close(one, other)
