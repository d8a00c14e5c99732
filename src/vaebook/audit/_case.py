"""What the checks of an audit share."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from vaebook.audit._data import Batch
from vaebook.audit._probe import REGULARISERS, Probe, Step
from vaebook.audit._questions import OWN
from vaebook.audit._report import CODES, Audit, Finding

NOTHING = 1e-9  # a share of a total below which a term counts as no contribution
ROUNDING = 1e-4  # the relative difference of two float32 losses that should be equal


@dataclass
class Case:
    """What the checks share: the model in its `Probe`, a batch of data, the first step."""

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


def key_name(case, key):
    """Return what to call a term in a finding."""
    if key == OWN:
        return "train_step" if case.own_step else "compute_loss"
    for term in case.step.terms:
        if term.key == key:
            return case.label(term)
    return case.name_of_key(key)


def as_numbers(tensor):
    """Return a floating tensor as an array, or None for anything else."""
    if not hasattr(tensor, "numpy") or not hasattr(tensor, "shape"):
        return None
    if not keras.backend.is_float_dtype(keras.backend.standardize_dtype(tensor.dtype)):
        return None
    return np.asarray(tf.cast(tf.convert_to_tensor(tensor), "float64"))


def equal(one, other):
    return one.shape == other.shape and np.array_equal(
        one.astype("float64"), other.astype("float64"), equal_nan=True
    )
