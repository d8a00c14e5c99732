"""How a step treats the batch's size, sample weights, replicas, and the scale of the loss."""

import keras
import numpy as np
import tensorflow as tf
from vaebook.audit._case import ROUNDING, Case, key_name
from vaebook.audit._probe import REGULARISERS
from vaebook.audit._questions import OWN, left_without_weight, weighted_by_mean

# A term whose noise moves it by more than this share is measured as the mean of some draws.
NOISY, DRAWS = 0.1, 8


def batch_size(case: Case) -> None:
    """Look for terms that grow or shrink if every sample is repeated."""

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
    # Shifted by some places, each sample gets another's noise: this shows noise of a fixed
    # seed.
    noise += [probe.step(*(_rolled(each, by) for each in _data(probe))) for by in (1, 3)]
    known = set()
    drawn = {}
    for key in [*(term.key for term in case.step.terms), *case.added_values()]:
        if key == REGULARISERS:
            continue
        values = [steps[times].contributions.get(key, 0.0) for times in (1, 2, 4)]
        spread = max(abs(each.contributions.get(key, 0.0) - values[0]) for each in noise)
        if spread > NOISY * abs(values[0]):  # one draw tells little: take their mean
            drawn = drawn or {
                times: [
                    probe.step(*(tiled(each, times) for each in _data(probe)), seed=seed)
                    for seed in range(1, DRAWS + 1)
                ]
                for times in (1, 2, 4)
            }
            values = [
                float(np.mean([each.contributions.get(key, 0.0) for each in drawn[times]]))
                for times in (1, 2, 4)
            ]
            spread /= DRAWS**0.5
        known.add(key)
        _growth(case, key_name(case, key), values, spread, alone=True)
    own = [each.loss - sum(each.contributions.values()) for each in (*steps.values(), *noise)]
    if (case.own_step or case.own_loss) and abs(own[0]) > ROUNDING * abs(case.step.loss):
        name = "train_step" if case.own_step else "compute_loss"
        spread = max(abs(each - own[0]) for each in own[3:])
        _growth(case, name, own[:3], spread)


def _data(probe):
    return probe.x, probe.y, probe.sample_weight


def _rolled(structure, by):
    return keras.tree.map_structure(
        lambda t: None if t is None else tf.roll(t, by, axis=0), structure
    )


def _growth(case, name, values, spread, alone=False):
    one, two, four = values
    if abs(one) < 1e-12:
        return
    first, second = two - one, four - two
    scale = max(abs(one), abs(four))
    loud = 3 * spread + 0.02 * scale
    if abs(four - one) > loud and abs(second - 2 * first) < 0.25 * abs(second) + loud / 3:
        growth = f"the term is {one:.4g}, with twice the batch {two:.4g}, four times {four:.4g}"
        if first > 0 and (not alone or (two > 1.5 * one and four > 2.5 * one)):
            case.find("sum-over-batch", name, growth)
    elif np.isclose(two / one, 0.5, rtol=0.1) and np.isclose(four / one, 0.25, rtol=0.1):
        growth = f"the term is {one:.4g}, with twice the batch {two:.4g}, four times {four:.4g}"
        case.find("divided-by-batch", name, growth)


def sample_weights(case: Case) -> None:
    """Look for terms that remain if every sample weight is 0."""
    probe, given = case.probe, case.batch.sample_weight is not None
    if case.batch.dropped_weight:
        case.find(
            "sample-weight-ignored", "y", "fit drops sample weights if it gets no targets"
        )
        return
    if case.batch.y is None:
        case.skip("sample-weight-ignored", "fit drops sample weights if it gets no targets")
        return
    weights = probe.sample_weight if given else tf.zeros((case.batch.size,))
    blind = []
    try:
        left = left_without_weight(probe, case.step, weights)
        if (case.own_step or case.own_loss) and not left:
            blind = weighted_by_mean(probe, case.batch.size)
    except Exception as error:
        text = type(error).__name__
        if given:
            case.find("sample-weight-ignored", "sample_weight", f"they raise an error: {text}")
        else:
            case.skip("sample-weight-ignored", f"weights of shape (batch,) raise: {text}")
        return
    if not all(map(np.isfinite, left.values())):
        case.skip("sample-weight-ignored", "with weights of 0 the loss is not finite")
        return
    for key, value in left.items():
        case.find(
            "sample-weight-ignored",
            key_name(case, key),
            f"with all weights 0 it still adds {value:.4g} of {case.step.loss:.4g}",
            wrong=given,
        )
    if OWN in blind:  # for a loss of compile, its shape tells as much: scalar-loss
        case.find(
            "sample-weight-ignored",
            key_name(case, OWN),
            "only the mean of the weights counts, not which sample has which weight",
            wrong=given,
        )


def replicas(case: Case) -> None:
    """Look for a term that does not halve on each of two replicas, as it must.

    Two real replicas need a process of their own, and a function that builds the model there.
    `vaebook.replicas` has both for the book's routes, and measures what is imitated here.
    """
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
                key_name(case, key),
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
    """Check that a step scales its loss, if its optimizer divides by the scale."""
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
