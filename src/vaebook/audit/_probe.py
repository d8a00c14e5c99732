"""One training step of any model, taken apart while it runs.

`Probe` calls the model's own `train_step` eagerly and looks over its shoulder. It sees what the
gradient tape is asked for, what the optimizer is given, each loss of `compile`, each `add_loss`
and each regulariser. Every term of the loss is multiplied by a switch, a variable of value 1.
The derivative of the total with respect to a switch is what the term adds to the total,
whatever the step does with the term.
"""

import contextlib
import functools
import inspect
import random
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from vaebook.audit._state import Preserved, parts_of

UNCHANGED = object()
REGULARISERS = "regularisers"


@dataclass
class Term:
    """One call of one loss that `compile` was given."""

    key: str
    path: tuple
    loss: Any
    y_true: Any
    y_pred: Any
    value: float

    def values(self, y_true=None, y_pred=None):
        """Return what the loss returns before Keras reduces it."""
        y_true = self.y_true if y_true is None else y_true
        y_pred = self.y_pred if y_pred is None else y_pred
        kind = self.loss.dtype
        y_true, y_pred = (
            keras.tree.map_structure(lambda t: ops.convert_to_tensor(t, dtype=kind), each)
            for each in (y_true, y_pred)
        )
        return self.loss.call(y_true, y_pred)


@dataclass
class Added:
    """One call of `add_loss`."""

    layer: Any
    shape: tuple
    value: float


@dataclass
class Step:
    """What one training step did."""

    logs: dict[str, float] = field(default_factory=dict)
    targets: list = field(default_factory=list)
    gradients: dict[int, np.ndarray] = field(default_factory=dict)
    terms: list[Term] = field(default_factory=list)
    added: list[Added] = field(default_factory=list)
    contributions: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    scaled: int = 0
    updates: int = 0

    @property
    def loss(self) -> float:
        """The number whose gradient the step took."""
        return float(sum(np.sum(target) for target in self.targets))

    def flat(self, variables) -> np.ndarray:
        """Return the gradient as one vector, zero where there is none."""
        zeros = (np.zeros(variable.shape) for variable in variables)
        parts = [
            np.ravel(self.gradients.get(id(variable), zero))
            for variable, zero in zip(variables, zeros, strict=True)
        ]
        return np.concatenate([*parts, [0.0]]).astype("float64")


class Probe:
    """A context in which `step()` runs one training step and returns what it did.

    Args:
        model: a compiled, built model.
        x, y, sample_weight: one batch of tensors, as `train_step` gets them.
    """

    def __init__(self, model, x, y=None, sample_weight=None):
        self.model, self.x, self.y, self.sample_weight = model, x, y, sample_weight
        self.variables = list(model.trainable_variables)
        self._ids = {id(variable) for variable in self.variables}
        self.switches: dict[str, tf.Variable] = {}
        self.recording, self.plain = None, False
        self.scale = 1.0

    # Set-up and its opposite

    def __enter__(self):
        self._stack = contextlib.ExitStack()
        with contextlib.ExitStack() as stack:
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            self.state = stack.enter_context(Preserved(self.model))
            self.parts = list(parts_of(self.model))
            self.layers = [part for part in self.parts if isinstance(part, keras.Layer)]
            stack.enter_context(_patched(tf.GradientTape, "gradient", self._gradient))
            stack.enter_context(_patched(keras.Layer, "add_loss", self._add_loss))
            stack.enter_context(self._switched_regularisers())
            for name in ("normal", "uniform", "truncated_normal"):
                stack.enter_context(self._repeatable(name))
            self._replace_compiled()
            self._replace_optimizers()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error):
        return self._stack.__exit__(*error)

    @contextlib.contextmanager
    def _repeatable(self, name):
        """Let a random function of TensorFlow draw the same after each rewind.

        Its state cannot be set back. So its stateless twin takes its place, with seeds from
        Python's generator, whose state can be.
        """
        original, stateless = (
            getattr(tf.random, prefix + name) for prefix in ("", "stateless_")
        )
        signature = inspect.signature(original)

        def replaced(*args, **kwargs):
            if not tf.executing_eagerly():
                return original(*args, **kwargs)
            given = signature.bind(*args, **kwargs).arguments
            given["seed"] = [random.getrandbits(31), random.getrandbits(31)]
            return stateless(**given)

        setattr(tf.random, name, replaced)
        try:
            yield
        finally:
            setattr(tf.random, name, original)

    def _replace_compiled(self):
        """Give the model copies of what `compile` made, which a step would build and fill."""
        own = vars(self.model)
        losses, metrics = own.get("_compile_loss"), own.get("_compile_metrics")
        if losses is not None:
            self.compiled_loss = type(losses)(
                losses._user_loss,
                losses._user_loss_weights,
                output_names=losses.output_names,
            )
            build = self.compiled_loss.build

            def build_and_switch(y_true, y_pred):
                build(y_true, y_pred)
                self._switch_losses(self.compiled_loss)

            vars(self.compiled_loss)["build"] = build_and_switch
            own["_compile_loss"] = self.compiled_loss
        else:
            self.compiled_loss = None
        self.compiled_metrics = None
        if metrics is not None:
            self.compiled_metrics = type(metrics)(
                metrics._user_metrics,
                metrics._user_weighted_metrics,
                output_names=metrics.output_names,
            )
            own["_compile_metrics"] = self.compiled_metrics

    def _switch_losses(self, compiled):
        entries = []
        for number, entry in enumerate(compiled._flat_losses):
            loss = self._switched_loss(f"loss {number}", entry)
            entries.append(entry._replace(loss=loss))
        compiled._flat_losses[:] = entries

    def _switched_loss(self, key, entry):
        def switched(y_true, y_pred, sample_weight=None):
            recording = self.recording is not None and not self.plain
            if recording:
                term = Term(key, entry.path, entry.loss, y_true, y_pred, float("nan"))
                self.recording.terms.append(term)
            value = entry.loss(y_true, y_pred, sample_weight)
            if recording:
                term.value = _number(value)
            return self._switched(key, value)

        return switched

    def _switched(self, key, value):
        if self.plain:
            return value
        if key not in self.switches:
            self.switches[key] = tf.Variable(1.0, dtype="float32")
        return value * ops.cast(self.switches[key].value(), value.dtype)

    @contextlib.contextmanager
    def _switched_regularisers(self):
        own = [v for v in self.variables if getattr(v, "regularizer", None) is not None]
        before = [variable.regularizer for variable in own]
        for variable, regulariser in zip(own, before, strict=True):
            variable.regularizer = self._switched_regulariser(regulariser)
        try:
            yield
        finally:
            for variable, regulariser in zip(own, before, strict=True):
                variable.regularizer = regulariser

    def _switched_regulariser(self, regulariser):
        def switched(_, value):
            result = regulariser(value)
            if self.recording is not None and not self.plain:
                self.recording.added.append(Added(REGULARISERS, (), _number(result)))
            return self._switched(REGULARISERS, result)

        # Keras 3.13 takes nothing but a Regularizer; since 3.14 a function would do.
        return type("Switched", (keras.regularizers.Regularizer,), {"__call__": switched})()

    def _add_loss(self, original, layer, loss):
        flat = [ops.convert_to_tensor(each) for each in keras.tree.flatten(loss)]
        if self.recording is not None and not self.plain:
            for each in flat:
                value = float(np.sum(_number(each)))
                self.recording.added.append(Added(layer, tuple(each.shape), value))
        key = f"layer {id(layer)}"
        original(layer, [self._switched(key, each) for each in flat])

    def _gradient(self, original, tape, target, sources, *args, **options):
        flat = tf.nest.flatten(sources)
        if self.recording is None or not any(id(source) in self._ids for source in flat):
            return original(tape, target, sources, *args, **options)
        extra = {} if self.plain else dict(self.switches)
        found = original(tape, target, [*flat, *extra.values()], *args, **options)
        self.recording.targets += [
            each if self.plain else np.asarray(_number(each))
            for each in tf.nest.flatten(target)
        ]
        for key, value in zip(extra, found[len(flat) :], strict=True):
            if value is not None:
                self.recording.contributions[key] += float(value)
        return tf.nest.pack_sequence_as(sources, found[: len(flat)])

    def _replace_optimizers(self):
        """Let each optimizer record the gradient that it gets, and change no weight."""
        self.optimizers = [
            part for part in self.parts if isinstance(part, keras.optimizers.Optimizer)
        ]
        for optimizer in self.optimizers:
            vars(optimizer)["apply"] = self._keep
            vars(optimizer)["scale_loss"] = self._scale

    def _scale(self, loss):
        if self.recording is not None:
            self.recording.scaled += 1
        return loss * ops.cast(self.scale, loss.dtype)

    def _keep(self, grads, trainable_variables=None):
        if self.recording is None or self.plain:
            return
        self.recording.updates += 1
        variables = self.variables if trainable_variables is None else trainable_variables
        for gradient, variable in zip(grads, variables, strict=False):
            if gradient is not None:
                gradient = np.asarray(tf.convert_to_tensor(gradient), "float64") / self.scale
                before = self.recording.gradients.get(id(variable), 0.0)
                self.recording.gradients[id(variable)] = before + gradient

    # Runs

    def step(
        self,
        x: Any = UNCHANGED,
        y: Any = UNCHANGED,
        sample_weight: Any = UNCHANGED,
        off: tuple = (),
        seed: int = 0,
        prepare: Callable | None = None,
        scale: float = 1.0,
    ) -> Step:
        """Run one training step from where the model stands, with the same noise each time.

        Args:
            x, y, sample_weight: other data than the probe's own.
            off: keys of terms to multiply by 0.
            seed: another number than 0 draws other noise.
            prepare: called after everything has been set back, before the step.
            scale: what an optimizer that scales the loss multiplies it with.
        """
        self.state.rewind(seed)
        for key, switch in self.switches.items():
            switch.assign(0.0 if key in off else 1.0)
        if prepare:
            prepare()
        self.model.reset_metrics()
        self.recording, self.plain, self.scale = Step(), False, scale
        try:
            logs = self._run(x, y, sample_weight)
        finally:
            self.last = step = self.recording
            self.recording = None
        if isinstance(logs, dict):
            step.logs = {
                name: float(np.mean(value))
                for name, value in logs.items()
                if not isinstance(value, dict)
            }
            for value in logs.values():
                if isinstance(value, dict):
                    step.logs.update({k: float(np.mean(v)) for k, v in value.items()})
        return step

    def again(self, x, y, sample_weight) -> None:
        """Run one more step from where the seeds now stand."""
        self.recording, self.plain = Step(), False
        try:
            self._run(x, y, sample_weight)
        finally:
            self.recording = None

    def _run(self, x, y, sample_weight):
        """Run the model's step eagerly, functions that it has traced included."""
        traced = not tf.config.functions_run_eagerly()
        tf.config.run_functions_eagerly(True)
        try:
            return self.model.train_step(self.data(x, y, sample_weight))
        finally:
            tf.config.run_functions_eagerly(not traced)

    def data(self, x=UNCHANGED, y=UNCHANGED, sample_weight=UNCHANGED):
        """Return what `fit` hands to `train_step`."""
        x = self.x if x is UNCHANGED else x
        y = self.y if y is UNCHANGED else y
        weight = self.sample_weight if sample_weight is UNCHANGED else sample_weight
        return keras.utils.pack_x_y_sample_weight(x, y, weight)

    def predict(self, x=UNCHANGED, training=False, rewind=True):
        """Return what the model makes of x."""
        if rewind:
            self.state.rewind()
        x = self.x if x is UNCHANGED else x
        if takes(self.model.call, "training"):
            return self.model(x, training=training)
        return self.model(x)

    @contextlib.contextmanager
    def unwatched(self) -> Iterator[Step]:
        """Let a step be traced: no weight changes, and only the tape's target is kept."""
        self.recording, self.plain = Step(), True
        try:
            yield self.recording
        finally:
            self.recording, self.plain = None, False

    @contextlib.contextmanager
    def as_compiled(self) -> Iterator[None]:
        """Take out what the probe put into the model, so that it can be saved."""
        own, before = vars(self.model), {}
        for part, attributes in self.state.attributes:
            if part is self.model:
                before = attributes
        names = ("_compile_loss", "_compile_metrics")
        swapped = {name: own[name] for name in names if name in own}
        hidden = [
            (vars(optimizer), {n: vars(optimizer).pop(n) for n in ("apply", "scale_loss")})
            for optimizer in self.optimizers
        ]
        self.state.rewind()
        try:
            own.update({name: before[name] for name in swapped if name in before})
            yield
        finally:
            own.update(swapped)
            for attributes, methods in hidden:
                attributes.update(methods)

    def two_losses_in_a_graph(self, x, y, sample_weight):
        """Trace the step once, run it twice without setting anything back."""
        self.state.rewind()

        @tf.function(autograph=False)
        def traced():
            with self.unwatched() as step:
                self.model.train_step(self.data(x, y, sample_weight))
                return [tf.cast(each, "float32") for each in step.targets]

        return [np.concatenate([np.ravel(each) for each in traced()]) for _ in range(2)]

    @contextlib.contextmanager
    def watching(self, seen: Callable, training: bool | None = None) -> Iterator[None]:
        """Call `seen(layer, args, kwargs, outputs)` after each call of each layer.

        Args:
            seen: gets every call, inner layers before the models that hold them.
            training: if given, what each layer gets as its argument of that name.
        """
        for layer in self.layers:
            vars(layer)["call"] = _watched(layer, seen, training)
        try:
            yield
        finally:
            for layer in self.layers:
                vars(layer).pop("call", None)


def takes(function: Callable, name: str) -> bool:
    """Tell whether a function has an argument of this name."""
    try:
        return name in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False


def _watched(layer, seen, training):
    call = layer.call
    force = training is not None and takes(call, "training")

    @functools.wraps(call)
    def watched(*args, **kwargs):
        if force:
            kwargs["training"] = training
        outputs = call(*args, **kwargs)
        seen(layer, args, kwargs, outputs)
        return outputs

    return watched


def _number(value):
    """Return a tensor as an array of numbers; in a graph a tensor has none."""
    if hasattr(value, "numpy"):
        return (
            np.asarray(tf.cast(value, "float64")).item()
            if value.shape == ()
            else (np.asarray(tf.cast(value, "float64")))
        )
    return float("nan")


@contextlib.contextmanager
def _patched(owner, name, function):
    original = getattr(owner, name)

    def replaced(self, *args, **kwargs):
        return function(original, self, *args, **kwargs)

    setattr(owner, name, replaced)
    try:
        yield
    finally:
        setattr(owner, name, original)
