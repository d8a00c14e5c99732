"""Each code of the audit has a model that it finds and one that it leaves alone."""

import inspect
import random

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from test_audit_models import skip_before_keras_3_14
from vaebook import behaviours
from vaebook.audit import CODES, _batches, _log, _questions, _wiring, audit

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 4)).astype("float32")
Y = {
    "a": RNG.uniform(size=(12, 2)).astype("float32"),
    "b": RNG.normal(size=(12, 3)).astype("float32"),
}
WEIGHTS = RNG.uniform(size=12).astype("float32")


def two_heads(order=("b", "a"), activation="sigmoid", hidden=None):
    x = keras.Input((4,), name="x")
    h = hidden(x) if hidden else layers.Dense(5, activation="tanh")(x)
    heads = {
        "a": layers.Dense(2, activation=activation, name="head_a")(h),
        "b": layers.Dense(3, name="head_b")(h),
    }
    return keras.Model(x, {name: heads[name] for name in order})


def compiled(model=None, loss=None, optimizer="sgd", **options):
    model = model or two_heads()
    loss = loss or {"a": "binary_crossentropy", "b": "mse"}
    model.compile(optimizer, loss=loss, **options)
    return model


def regressor(*inner, loss="mse", outputs=1, optimizer="sgd", activation=None, **options):
    x = keras.Input((4,))
    h = layers.Dense(6, activation="tanh")(x)
    for layer in inner:
        h = layer(h)
    model = keras.Model(x, layers.Dense(outputs, activation=activation, name="out")(h))
    model.compile(optimizer, loss=loss, **options)
    return model


def with_hidden_output():
    x = keras.Input((4,))
    h = layers.Dense(5)(x)
    model = keras.Model(x, {"b": layers.Dense(3)(h), "h": h})
    model.compile("sgd", loss={"b": "mse"})
    return model


def target(width=1, low=0.0, high=1.0):
    return RNG.uniform(low, high, size=(12, width)).astype("float32")


class Added(layers.Layer):
    """Adds a loss, reduced as the test wants it."""

    def __init__(self, reduce=ops.mean, **kwargs):
        super().__init__(**kwargs)
        self.reduce = reduce

    def call(self, inputs):
        self.add_loss(self.reduce(ops.square(inputs)))
        return inputs


class OwnStep(keras.Model):
    """A training step with a switch for each of its duties."""

    def __init__(self, inner, training=True, scale=True, losses=True, metrics=True):
        super().__init__()
        self.inner = inner
        self.does = {"training": training, "scale": scale, "losses": losses, "metrics": metrics}
        self.build(inner.input_shape)

    def call(self, x, training=None):
        return self.inner(x, training=training)

    def train_step(self, data):
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        y = x[:, :1] if y is None else y
        options = {"training": True} if self.does["training"] else {}
        with tf.GradientTape() as tape:
            y_pred = self.inner(x, **options)
            each = ops.mean(ops.square(y - y_pred), axis=-1)
            if weight is not None:
                each = each * weight
            loss = ops.mean(each)
            if self.does["losses"]:
                loss += sum(self.losses)
            if self.does["scale"]:
                loss = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        if self.does["metrics"]:
            return {"loss": loss, **self.compute_metrics(x, y, y_pred, weight)}
        return {"loss": loss}


def own_step(*inner, optimizer="sgd", metrics=None, **duties):
    model = OwnStep(regressor(*inner), **duties)
    model.compile(optimizer, metrics=metrics)
    return model


def own_step_without_metrics():
    model = OwnStep(regressor(), metrics=False)
    model.compile("sgd", metrics=["mae"])
    return model


class FixedNoise(layers.Layer):
    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        self.generator = keras.random.SeedGenerator(1)

    def call(self, inputs):
        shape = ops.shape(inputs)
        noise = {
            "integer": lambda: keras.random.normal(shape, seed=11),
            "numpy": lambda: np.random.normal(size=(12, 6)).astype("float32"),  # noqa: NPY002
            "one row": lambda: keras.random.normal((1, inputs.shape[1]), seed=self.generator),
            "generator": lambda: keras.random.normal(shape, seed=self.generator),
            "tensorflow": lambda: tf.random.normal(shape),
        }
        return inputs + noise[self.kind]()


class Unused(layers.Layer):
    def build(self, shape):
        self.used = self.add_weight(shape=(shape[-1],), initializer="ones")
        self.idle = self.add_weight(shape=(shape[-1],), initializer="ones", name="idle")

    def call(self, inputs):
        return inputs * self.used


class Blocked(layers.Layer):
    def call(self, inputs):
        return 0.0 * inputs


class TrainedWeight(layers.Layer):
    def build(self, shape):
        self.factor = self.add_weight(shape=(), initializer="ones", name="factor")

    def call(self, inputs):
        self.add_loss(self.factor * ops.mean(ops.square(inputs)))
        return inputs


class Log(layers.Layer):
    def call(self, inputs):
        return ops.log(inputs)


class Learned(layers.Layer):
    """Learned uncertainty: a scalar that trains and is bounded."""

    def build(self, shape):
        self.s = self.add_weight(shape=(), initializer="zeros", name="s")

    def call(self, inputs):
        self.add_loss(ops.exp(-self.s) * ops.mean(ops.square(inputs)) + self.s)
        return inputs


def called_twice():
    x = keras.Input((4,))
    added = Added()
    model = keras.Model(x, layers.Dense(1)(added(added(x))))
    model.compile("sgd", loss="mse")
    return model


@keras.saving.register_keras_serializable("test_audit")
class TwiceInTotal(keras.Model):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        total = super().compute_loss(x, y, y_pred, sample_weight)
        return total + (sum(self.losses) if self.losses else 0.0)


def twice_in_total(layer):
    x = keras.Input((4,))
    model = TwiceInTotal(x, layers.Dense(1)(layer(x)))
    model.compile("sgd", loss="mse")
    return model


def nan_labels():
    y = target()
    y[:3] = np.nan
    return y, np.repeat([0.0, 1.0], (3, 9)).astype("float32")


def keeps_axes(y_true, y_pred):
    return ops.square(y_true - y_pred)


def scalar(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred))


def ignores(y_true, y_pred):
    return ops.mean(ops.square(y_pred), axis=-1)


def naive(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


class WithoutSqueeze(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return ops.mean(ops.square(y_true - y_pred), axis=-1)


SUM = keras.losses.MeanSquaredError(reduction="sum")
SCALED = keras.optimizers.LossScaleOptimizer

WRONG = {
    "loss weights in a list": lambda: (
        "weights-by-position",
        compiled(loss_weights=[3.0, 1.0]),
        Y,
    ),
    "a wrong key of the weights": lambda: (
        "weights-by-position",
        compiled(loss_weights={"a": 2.0, "c": 1.0}),
        Y,
    ),
    "losses in a list": lambda: ("losses-by-position", compiled(loss=["mse", "mae"]), Y),
    "targets in a list": lambda: (
        "targets-by-position",
        compiled(
            keras.Model(
                x := keras.Input((4,)),
                {"b": layers.Dense(3)(x), "a": layers.Dense(3)(x)},
            ),
            {"a": "mse", "b": "mae"},
        ),
        [target(3), target(3)],
    ),
    "no loss for a target": lambda: ("output-without-loss", compiled(loss={"b": "mse"}), Y),
    "a loss of None": lambda: (
        "output-without-loss",
        compiled(loss={"a": None, "b": "mse"}),
        Y,
    ),
    "one number": lambda: ("scalar-loss", regressor(loss=scalar), target()),
    "axes kept": lambda: ("loss-keeps-axes", regressor(loss=keeps_axes, outputs=3), target(3)),
    "a column for three outputs": lambda: ("target-broadcast", regressor(outputs=3), target()),
    "a flat target": lambda: (
        "target-broadcast",
        regressor(loss=WithoutSqueeze()),
        target()[:, 0],
    ),
    "pixels to 255": lambda: (
        "targets-out-of-range",
        regressor(loss="binary_crossentropy", activation="sigmoid"),
        target(high=255),
    ),
    "a target of 3": lambda: (
        "targets-out-of-range",
        regressor(loss=keras.losses.BinaryCrossentropy(from_logits=True)),
        target(low=3, high=3.5),
    ),
    "a label too many": lambda: (
        "targets-out-of-range",
        regressor(loss="sparse_categorical_crossentropy", outputs=3, activation="softmax"),
        np.array([0, 1, 2, -1] * 3),
    ),
    "a linear output": lambda: (
        "logits-mismatch",
        regressor(loss="binary_crossentropy"),
        target(),
    ),
    "two sigmoids": lambda: (
        "logits-mismatch",
        regressor(loss=keras.losses.BinaryCrossentropy(from_logits=True), activation="sigmoid"),
        target(),
    ),
    "two softmaxes": lambda: (
        "logits-mismatch",
        regressor(
            loss=keras.losses.CategoricalCrossentropy(from_logits=True),
            activation="softmax",
            outputs=3,
        ),
        np.eye(3, dtype="float32")[[0, 1, 2] * 4],
    ),
    "sparse labels, two softmaxes": lambda: (
        "logits-mismatch",
        regressor(
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            activation="softmax",
            outputs=3,
        ),
        np.array([0, 1, 2] * 4),
    ),
    "a sum of compile": lambda: ("sum-over-batch", regressor(loss=SUM), target()),
    "a vector added": lambda: (
        "sum-over-batch",
        regressor(Added(lambda t: ops.mean(t, axis=-1))),
        target(),
    ),
    "a sum added": lambda: ("sum-over-batch", regressor(Added(ops.sum)), target()),
    "divided again": lambda: (
        "divided-by-batch",
        regressor(Added(lambda t: ops.mean(t) / ops.cast(ops.shape(t)[0], "float32"))),
        target(),
    ),
    "a layer called twice": lambda: ("counted-twice", called_twice(), target()),
    "losses added again": lambda: ("counted-twice", twice_in_total(Added()), target()),
    "regularisers added again": lambda: (
        "counted-twice",
        twice_in_total(layers.Dense(3, kernel_regularizer="l2")),
        target(),
    ),
    "an idle weight": lambda: ("no-gradient", regressor(Unused()), target()),
    "a gradient of 0": lambda: ("no-gradient", regressor(Blocked()), target()),
    "a trained weight": lambda: ("loss-weight-trained", regressor(TrainedWeight()), target()),
    "a layer's loss and sample weights": lambda: (
        "sample-weight-ignored",
        regressor(Added()),
        target(),
        WEIGHTS,
    ),
    "weights without a target": lambda: ("sample-weight-ignored", own_step(), None, WEIGHTS),
    "integer seed": lambda: ("same-noise", regressor(FixedNoise("integer")), target()),
    "noise of numpy": lambda: ("same-noise", regressor(FixedNoise("numpy")), target()),
    "one row of noise": lambda: ("same-noise", regressor(FixedNoise("one row")), target()),
    "log of a negative": lambda: ("not-finite", regressor(Log()), target()),
    "NaN in x": lambda: ("not-finite", regressor(), target(), None, np.where(X > 1, np.nan, X)),
    "NaN labels that weigh 0": lambda: (
        "nan-target-with-zero-weight",
        regressor(),
        *nan_labels(),
    ),
    "no scale_loss": lambda: (
        "loss-not-scaled",
        own_step(optimizer=SCALED(keras.optimizers.SGD()), scale=False),
        target(),
    ),
    "no training flag, dropout": lambda: (
        "training-flag-ignored",
        own_step(layers.Dropout(0.5), training=False),
        target(),
    ),
    "no training flag, batch norm": lambda: (
        "training-flag-ignored",
        own_step(layers.BatchNormalization(), training=False),
        target(),
    ),
    "no regulariser": lambda: (
        "layer-losses-ignored",
        own_step(layers.Dense(3, kernel_regularizer="l2"), losses=False),
        target(),
    ),
    "no layer loss": lambda: (
        "layer-losses-ignored",
        own_step(Added(), losses=False),
        target(),
    ),
    "no metrics": lambda: ("metrics-not-logged", own_step_without_metrics(), target()),
    "one name for two parts": lambda: (
        "parts-do-not-add-up",
        compiled(
            keras.Model(x := keras.Input((4,)), two_tensors(name="net")(x)), ["mse", "mse"]
        ),
        [target(2), target(2)],
    ),
    "a lambda": lambda: (
        "does-not-reload",
        regressor(layers.Lambda(lambda t: 2 * t)),
        target(),
    ),
    "a class that is not registered": lambda: (
        "does-not-reload",
        regressor(Unregistered()),
        target(),
    ),
    "a class registered in a function": lambda: (
        "does-not-reload",
        regressor(registered_in_a_function()()),
        target(),
    ),
    "a class put in by hand": lambda: ("does-not-reload", regressor(by_hand()()), target()),
    "an optimizer that forgets": lambda: ("does-not-reload", forgets(), target()),
    "a softmax of one unit": lambda: (
        "constant-output",
        regressor(loss="binary_crossentropy", activation="softmax"),
        target(),
    ),
    "a tracker of all calls": lambda: (
        "log-moved-by-predict",
        regressor(Tracked()),
        target(),
    ),
    "an error in the step": lambda: ("does-not-train", regressor(loss=raises), target()),
}


class Unregistered(layers.Layer):
    def call(self, inputs):
        return inputs


def registered_in_a_function():
    @keras.saving.register_keras_serializable("test_audit")
    class Inside(layers.Layer):
        def call(self, inputs):
            return inputs

    return Inside


def by_hand():
    class ByHand(Unregistered):
        pass

    keras.saving.get_custom_objects()["ByHand"] = ByHand
    return ByHand


@keras.saving.register_keras_serializable("test_audit")
class Known(layers.Layer):
    def call(self, inputs):
        return inputs


@keras.saving.register_keras_serializable("test_audit")
class Forgetful(keras.optimizers.SGD):
    def load_own_variables(self, store):
        pass


def forgets():
    model = regressor(optimizer=Forgetful(momentum=0.9))
    model.train_on_batch(X, target())
    return model


class Tracked(layers.Layer):
    def __init__(self):
        super().__init__()
        self.tracker = keras.metrics.Mean(name="size")

    def call(self, inputs):
        self.tracker.update_state(ops.abs(inputs))
        return inputs


def raises(y_true, y_pred):
    raise RuntimeError("on purpose")


def two_tensors(name):
    x = keras.Input((4,))
    return keras.Model(x, [layers.Dense(2)(x), layers.Dense(2)(x)], name=name)


def unpacked(model, y=None, weight=None, x=X):
    return model, x, y, weight


@pytest.mark.parametrize("name", WRONG)
def test_finds(name):
    code, *case = WRONG[name]()
    model, x, y, weight = unpacked(*case)
    report = audit(model, x, y, weight, reload=code == "does-not-reload")
    assert report.found(code), str(report)


RIGHT = {
    "two heads": lambda: (compiled(), Y),
    "two heads, weights by name": lambda: (compiled(loss_weights={"a": 3.0, "b": 1.0}), Y),
    "a weight that is a variable": lambda: (
        compiled(loss_weights={"a": keras.Variable(3.0), "b": 1.0}),
        Y,
    ),
    "targets in the order of the alphabet": lambda: (compiled(), [Y["a"], Y["b"]]),
    "an output that nothing was meant for": lambda: (with_hidden_output(), {"b": Y["b"]}),
    "one value per sample": lambda: (regressor(loss=naive), target()),
    "a flat target, squeezed by Keras": lambda: (regressor(), target()[:, 0]),
    "sample weights": lambda: (compiled(), Y, WEIGHTS),
    "logits": lambda: (
        regressor(loss=keras.losses.BinaryCrossentropy(from_logits=True)),
        target(),
    ),
    "probabilities": lambda: (
        regressor(loss="binary_crossentropy", activation="sigmoid"),
        target(),
    ),
    "classes": lambda: (
        regressor(loss="sparse_categorical_crossentropy", outputs=3, activation="softmax"),
        np.array([0, 1, 2] * 4),
    ),
    "one hot": lambda: (
        regressor(loss="categorical_crossentropy", outputs=3, activation="softmax"),
        np.eye(3, dtype="float32")[[0, 1, 2] * 4],
    ),
    "a mean added": lambda: (regressor(Added()), target()),
    "an activity regulariser": lambda: (
        regressor(layers.Dense(4, activity_regularizer="l2")),
        target(),
    ),
    "weights regularised": lambda: (
        regressor(layers.Dense(4, kernel_regularizer="l2")),
        target(),
    ),
    "learned uncertainty": lambda: (regressor(Learned()), target()),
    "noise that moves": lambda: (regressor(FixedNoise("generator")), target()),
    "noise of TensorFlow": lambda: (regressor(FixedNoise("tensorflow")), target()),
    "dropout and batch norm": lambda: (
        regressor(layers.BatchNormalization(), layers.Dropout(0.5)),
        target(),
    ),
    "a step of its own": lambda: (own_step(layers.Dropout(0.5), metrics=["mae"]), target()),
    "a step that scales": lambda: (
        own_step(optimizer=SCALED(keras.optimizers.SGD())),
        target(),
    ),
    "a step that adds the layers' losses": lambda: (
        own_step(Added(), layers.Dense(3, kernel_regularizer="l2")),
        target(),
    ),
    "a loss of its own": lambda: (twice_in_total(layers.Dense(3)), target()),
    "metrics": lambda: (regressor(metrics=["mae"], weighted_metrics=["mse"]), target()),
    "labels without NaN": lambda: (
        regressor(),
        np.nan_to_num(nan_labels()[0]),
        nan_labels()[1],
    ),
}


@pytest.mark.parametrize("name", RIGHT)
def test_leaves_alone(name):
    skip_before_keras_3_14(name)
    model, x, y, weight = unpacked(*RIGHT[name]())
    report = audit(model, x, y, weight, reload=False)
    assert report.findings == [], str(report)


def test_a_model_of_registered_parts_reloads():
    report = audit(regressor(layers.Dropout(0.5), layers.BatchNormalization()), X, target())
    assert report.findings == [], str(report)


def test_a_registered_class_reloads_and_its_module_is_named():
    report = audit(regressor(Known()), X, target())
    assert report.findings == [], str(report)
    (told,) = [each for each in report.information if each.code == "does-not-reload"]
    assert told.message.endswith(f"once that has {__name__}")


def test_a_class_that_only_a_scope_knows_does_not_reload():
    model = regressor(Unregistered())
    with keras.saving.custom_object_scope({"Unregistered": Unregistered}):
        report = audit(model, X, target())
    assert report.found("does-not-reload")


def test_the_registry_is_afterwards_as_it_was():
    by_hand()
    registry = keras.saving.get_custom_objects()
    for model in (regressor(Known()), regressor(layers.Lambda(lambda t: t))):
        before = dict(registry)
        audit(model, X, target())
        assert list(registry.items()) == list(before.items())
        assert keras.saving.get_custom_objects() is registry


def test_the_routes_are_asked_by_the_same_functions():
    public = [
        name
        for name, value in vars(_questions).items()
        if inspect.isfunction(value)
        and value.__module__ == _questions.__name__
        and not name.startswith("_")
        and name != "terms_of"
    ]
    users = (_batches, _log, _wiring)
    assert len(public) == 8
    for name in public:
        assert getattr(behaviours, name) is getattr(_questions, name), name
        assert any(hasattr(module, name) for module in users), name


def test_every_code_has_a_model_that_it_finds():
    given_codes = {"kl-absent", "kl-other-form", "posterior-collapsed"}
    only_information = {"not-divided-by-replicas", "target-not-read"}
    found = {case()[0] for case in WRONG.values()}
    assert found == set(CODES) - given_codes - only_information


def information(report):
    return {each.code for each in report.information}


def test_tells_a_target_that_is_not_read():
    report = audit(regressor(loss=ignores), X, target(), reload=False)
    assert report.findings == []
    assert "target-not-read" in information(report)
    assert "target-not-read" not in information(audit(regressor(), X, target(), reload=False))


def test_tells_what_two_replicas_would_count_twice():
    report = audit(own_step(), X, target(), reload=False)
    assert "not-divided-by-replicas" in information(report)
    assert "not-divided-by-replicas" not in information(audit(regressor(), X, target()))


def test_tells_that_a_smaller_last_batch_splits_parts_and_total():
    report = audit(compiled(), X, Y, reload=False)
    assert "parts-do-not-add-up" in information(report)


def test_the_weight_in_the_table_is_the_one_that_acts():
    report = audit(compiled(loss_weights=[3.0, 1.0]), X, Y, reload=False)
    weights = {row.name: row.weight for row in report.outputs}
    assert weights == pytest.approx({"a": 3.0, "b": 1.0})


def test_the_gradient_share_of_a_single_loss_is_all_of_it():
    (row,) = audit(regressor(), X, target(), reload=False).outputs
    assert row.gradient_share == 1.0


def fingerprint(model):
    """Everything that an audit must not change, as values."""
    variables = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
    return (
        [np.array(v.numpy()).tobytes() for v in variables],
        random.getstate(),
        np.random.get_state()[1].tobytes(),  # noqa: NPY002
        np.random.get_state()[2],  # noqa: NPY002
        sorted(vars(model)),
        [name for name in vars(model) if name in ("train_function", "stop_training")],
        [metric.name for metric in model.metrics],
        len(model.losses),
    )


def after(model, y):
    """What the model and the program draw next, and what the next step of training does."""
    drawn = [
        random.random(),
        float(np.random.uniform()),  # noqa: NPY002
        float(tf.random.normal(())),
        float(keras.random.normal(())),
    ]
    model.fit(X, y, epochs=2, batch_size=4, verbose=0)
    return drawn, [np.array(v.numpy()) for v in model.variables]


KINDS = {
    "dict outputs": lambda: (compiled(optimizer="adam", metrics={"a": ["mae"]}), Y),
    "noise, dropout, batch norm": lambda: (
        regressor(FixedNoise("generator"), layers.BatchNormalization(), layers.Dropout(0.3)),
        target(),
    ),
    "global noise": lambda: (regressor(FixedNoise("tensorflow")), target()),
    "a step of its own": lambda: (own_step(layers.Dropout(0.5), metrics=["mae"]), target()),
    "regularised": lambda: (
        regressor(layers.Dense(3, kernel_regularizer="l2"), Added()),
        target(),
    ),
}


@pytest.mark.parametrize("trained", [False, True], ids=["fresh", "trained"])
@pytest.mark.parametrize("kind", KINDS)
def test_changes_nothing(kind, trained):
    outcomes = []
    for audited in (True, False):
        RNG.bit_generator.state = np.random.default_rng(3).bit_generator.state
        keras.utils.set_random_seed(5)
        model, y = KINDS[kind]()
        if trained:
            model.fit(X, y, epochs=1, batch_size=4, verbose=0)
        before = fingerprint(model)
        if audited:
            audit(model, X, y)
        assert fingerprint(model) == before
        outcomes.append(after(model, y))
    (drawn, weights), (expected_draws, expected) = outcomes
    assert drawn == expected_draws
    assert all(map(np.array_equal, weights, expected))


def test_changes_nothing_before_any_seed_was_set():
    from keras.src.backend.common import global_state

    global_state.set_global_attribute("global_seed_generator", None)
    audit(regressor(FixedNoise("tensorflow")), X, target(), reload=False)
    assert global_state.get_global_attribute("global_seed_generator") is None


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (lambda: (object(), X), TypeError, "Expected a keras.Model"),
        (lambda: (two_heads(), X), ValueError, "Expected a compiled model"),
        (lambda: (unbuilt(), X, target()), ValueError, "Expected a model that has its weights"),
        (lambda: (regressor(), X, None), ValueError, "Expected targets in y"),
        (lambda: (regressor(), X[:0], target()[:0]), ValueError, "Expected at least 2 samples"),
        (lambda: (regressor(), X[:1], target()[:1]), ValueError, "Expected at least 2 samples"),
        (lambda: (regressor(), X, target()[:5]), ValueError, "Expected arrays of one length"),
        (lambda: (regressor(), X[:, :3], target()), ValueError, "Expected x of shape"),
        (lambda: (compiled(), X, {"a": Y["a"]}), ValueError, "Expected targets for"),
        (lambda: (compiled(), X, {**Y, "c": X}), ValueError, "Expected targets for"),
        (lambda: (compiled(), X, X), ValueError, "Expected a target for each of"),
        (lambda: (compiled(), X, [X, X, X]), ValueError, "Expected 2 targets"),
        (lambda: (regressor(), iter([X])), TypeError, "a generator cannot be set back"),
        (lambda: (regressor(), 3.0, target()), TypeError, "Expected x to be arrays"),
        (lambda: (regressor(), dataset(), target()), ValueError, "Expected y=None"),
        (lambda: (regressor(), dataset().take(0)), ValueError, "at least one batch"),
    ],
)
def test_refuses_what_it_cannot_run(arguments, error, words):
    with pytest.raises(error, match=words):
        audit(*arguments())


def unbuilt():
    model = keras.Sequential([layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


def dataset():
    return tf.data.Dataset.from_tensor_slices((X, target())).batch(4)


class Sequence(keras.utils.PyDataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        return X[:6], target()[:6]


def test_takes_data_as_fit_does():
    for data in (dataset(), Sequence()):
        assert audit(regressor(), data, reload=False).findings == []
    listed = keras.Model(
        x := [keras.Input((4,)), keras.Input((4,))], layers.Dense(1)(layers.Add()(x))
    )
    listed.compile("sgd", "mse")
    assert audit(listed, [X, X], target(), reload=False).findings == []


def test_the_report_reads_as_text_and_as_a_table():
    report = audit(compiled(loss_weights=[3.0, 1.0]), X, Y, reload=False)
    assert "1. weights-by-position (loss_weights)" in str(report)
    assert "written: b 3, a 1; acting: a 3, b 1" in str(report)
    assert "<td>weights-by-position</td>" in report._repr_html_()


def test_the_most_harmful_finding_comes_first():
    report = audit(regressor(Log(), loss=scalar), X, target(), reload=False)
    assert report.findings[0].code == "not-finite"
    order = list(CODES)
    wrong = compiled(loss={"a": scalar, "b": "mse"}, loss_weights=[3.0, 1.0])
    found = [order.index(each.code) for each in audit(wrong, X, Y).findings]
    assert found == sorted(found)
    assert len(found) > 1


def test_a_collapsed_latent_variable_is_named():
    model = regressor()
    model.fit(X, target(), verbose=0)

    def codes(x):
        spread = tf.concat([x[:, :2], 0 * x[:, 2:]], axis=1)
        return spread, 0 * spread - 1.0 * tf.cast(tf.range(4) < 2, "float32")

    report = audit(model, X, target(), codes=codes, reload=False)
    (found,) = report.findings
    assert found.code == "posterior-collapsed"
    assert "2, 3" in found.where
    spread = audit(model, X, target(), codes=lambda x: (x, x), reload=False)
    assert spread.findings == []


def test_keras_still_has_the_private_names_that_the_audit_reads():
    model = compiled(metrics={"a": ["mae"]}, loss_weights={"a": 1.0, "b": 2.0})
    model.train_on_batch(X, Y)
    losses, metrics = vars(model)["_compile_loss"], vars(model)["_compile_metrics"]
    assert losses._user_loss_weights == {"a": 1.0, "b": 2.0}
    assert [entry.path for entry in losses._flat_losses] == [("a",), ("b",)]
    assert losses._flat_losses[0].loss_weights == 1.0
    assert metrics._user_metrics == {"a": ["mae"]}
