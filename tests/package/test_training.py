import json
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
from test_networks import SMALL
from vaebook.losses import LogVarLoss, MuLoss
from vaebook.networks import NetworkSpec
from vaebook.routes import ROUTES
from vaebook.training import EpochLine, WeightScheduler, shuffled_batches, weight_variable


def model_with(weight=1e-3):
    return ROUTES["pass_through"].build(NetworkSpec(**SMALL), weight=weight, seed=1)


@pytest.mark.parametrize("verbose", [0, 1])
def test_each_epoch_gets_one_line(images, capsys, verbose):
    model, y = model_with(), ROUTES["pass_through"].targets(images)
    history = model.fit(images, y, epochs=2, verbose=verbose, callbacks=[EpochLine()]).history
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    assert lines == [
        f"epoch {epoch + 1}  "
        + "  ".join(
            f"{name} {history[key][epoch]:.4f}"
            for name, key in [
                ("loss", "loss"),
                ("reconstruction", "reconstruction_loss"),
                ("mu", "mu_loss"),
                ("log_var", "log_var_loss"),
            ]
        )
        for epoch in range(2)
    ]


def test_the_line_stands_under_the_progress_bar(images, capsys):
    y = ROUTES["pass_through"].targets(images)
    model_with().fit(images, y, verbose=2, callbacks=[EpochLine()])
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[-1].startswith("epoch 1  loss ")


def test_validation_comes_after_training(images, capsys):
    y = ROUTES["pass_through"].targets(images)
    model_with().fit(images, y, validation_data=(images, y), verbose=0, callbacks=[EpochLine()])
    line = capsys.readouterr().out
    words = [word for word in line.split()[2:] if not word[0].isdigit()]
    parts = ["loss", "reconstruction", "mu", "log_var"]
    assert words == parts + [f"val_{part}" for part in parts]


def test_a_weight_follows_its_schedule(images):
    weight = keras.Variable(0.0)
    model, y = model_with(weight), ROUTES["pass_through"].targets(images)
    history = model.fit(
        images,
        y,
        epochs=3,
        verbose=0,
        callbacks=[WeightScheduler(weight, lambda epoch: 0.5 * epoch)],
    ).history
    assert history["weight"] == [0, 0.5, 1]
    assert history["mu_loss"][0] == 0
    assert np.all(np.array(history["mu_loss"][1:]) > 0)


def test_a_number_cannot_follow_a_schedule():
    with pytest.raises(TypeError, match="Expected a keras.Variable.*Received: weight=0.5"):
        WeightScheduler(0.5, lambda epoch: 1.0)


ON_REPLICAS = """
import json, vaebook, keras, numpy as np, tensorflow as tf
from vaebook.behaviours import SPEC
from vaebook.routes import ROUTES
from vaebook.training import WeightScheduler, weight_variable

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, 2 * [tf.config.LogicalDeviceConfiguration()])
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
x = np.random.default_rng(0).uniform(size=(8, *SPEC.image_shape)).astype("float32")
for name in ("direct_outputs", "kl_layer", "train_step"):
    route = ROUTES[name]
    with strategy.scope():
        weight = keras.Variable(0.25)
        sgd = keras.optimizers.SGD(0.0)
        model = route.build(SPEC, weight=weight, seed=1, optimizer=sgd)
    schedule = WeightScheduler(weight, lambda epoch: (epoch + 1) / 4)
    y = route.targets(x)
    log = model.fit(x, y, batch_size=8, epochs=2, verbose=0, callbacks=[schedule]).history
    model.save("model.keras")
    loaded = weight_variable(keras.saving.load_model("model.keras"))
    print(json.dumps({"loaded": float(loaded), **log}))
"""


def test_a_variable_made_in_the_scope_of_a_strategy_is_a_weight(tmp_path):
    """TensorFlow divides a processor only before its first use: a process of its own."""
    ended = subprocess.run(
        [sys.executable, "-c", ON_REPLICAS],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=300,
    )
    logs = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]
    assert len(logs) == 3, ended.stderr
    for log in logs:
        assert log["weight"] == [0.25, 0.5]
        assert log["loaded"] == 0.5
        weak, strong = (
            sum(
                log[name][epoch]
                for name in log
                if name in ("kl_loss", "mu_loss", "log_var_loss")
            )
            for epoch in (0, 1)
        )
        assert strong == pytest.approx(2 * weak, rel=1e-5)


def scheduled(model, weight, schedule=lambda epoch: 1.0):
    """Begin to train a model as `fit` does, up to the first batch."""
    callback = WeightScheduler(weight, schedule)
    callback.set_model(model)
    callback.on_train_begin()
    callback.on_epoch_begin(0)


@pytest.mark.parametrize("wrong", [-1, float("inf"), float("nan")])
def test_a_schedule_that_leaves_the_range_is_refused(wrong):
    weight = keras.Variable(0.0)
    message = rf"finite schedule\(0\) ≥ 0. Received: schedule\(0\)={float(wrong)}"
    with pytest.raises(ValueError, match=message):
        scheduled(model_with(weight), weight, lambda epoch: wrong)


@pytest.mark.parametrize(
    "schedule",
    [{0: 0.0, 1: 0.5, 3: 1.0}.get, {0: 0.0, 1: 0.5, 3: 1.0}.__getitem__],
    ids=["None", "KeyError"],
)
def test_a_schedule_with_a_gap_is_refused_before_a_step_is_taken(images, schedule):
    weight = keras.Variable(0.25)
    model, y = model_with(weight), ROUTES["pass_through"].targets(images)
    message = "for each epoch from 0 to 4. Received: none for the epochs [2, 4]."
    with pytest.raises(ValueError, match=re.escape(message)):
        model.fit(images, y, epochs=5, verbose=0, callbacks=[WeightScheduler(weight, schedule)])
    assert int(model.optimizer.iterations) == 0
    assert float(weight) == 0.25


def test_a_schedule_needs_no_weight_for_epochs_that_are_over(images):
    weight = keras.Variable(0.0)
    model, y = model_with(weight), ROUTES["pass_through"].targets(images)
    callback = WeightScheduler(weight, {2: 0.5, 3: 1.0}.get)
    options = {"epochs": 4, "initial_epoch": 2, "verbose": 0, "callbacks": [callback]}
    assert model.fit(images, y, **options).history["weight"] == [0.5, 1.0]


def test_a_later_weight_that_is_wrong_is_refused_at_the_start(images):
    weight = keras.Variable(0.0)
    model, y = model_with(weight), ROUTES["pass_through"].targets(images)
    callback = WeightScheduler(weight, lambda epoch: 1.0 - epoch)
    with pytest.raises(ValueError, match=r"schedule\(2\) ≥ 0. Received: schedule\(2\)=-1.0"):
        model.fit(images, y, epochs=3, verbose=0, callbacks=[callback])
    assert int(model.optimizer.iterations) == 0


def test_a_schedule_that_is_no_function_is_refused():
    with pytest.raises(TypeError, match=r"Expected schedule to be a function.*\[0.0, 1.0\]"):
        WeightScheduler(keras.Variable(0.0), [0.0, 1.0])


def test_a_variable_that_no_loss_reads_is_refused():
    with pytest.raises(ValueError, match="a loss of this model reads. Received: weight=<"):
        scheduled(model_with(keras.Variable(0.0)), keras.Variable(0.0))


GLOBAL = keras.Variable(0.5)


def test_a_variable_in_a_loss_of_the_user_s_own_is_taken():
    enclosed, weighing, own = (keras.Variable(0.5) for _ in range(3))

    class OwnLoss(keras.losses.Loss):
        def __init__(self):
            super().__init__()
            self.factor = {"value": own}

        def call(self, y_true, y_pred):
            return self.factor["value"] * GLOBAL * y_pred

    def function(y_true, y_pred):
        return enclosed * y_pred

    x = keras.Input((2,))
    model = keras.Model(x, {"a": keras.layers.Dense(1)(x), "b": keras.layers.Dense(1)(x)})
    model.compile(loss={"a": OwnLoss(), "b": function}, loss_weights={"a": weighing, "b": 1.0})
    for weight in (enclosed, weighing, own, GLOBAL):
        scheduled(model, weight)
        assert float(weight) == 1
    with pytest.raises(ValueError, match="none of them reads"):
        scheduled(model, keras.Variable(0.5))


def test_the_weight_of_a_model_with_a_number_is_no_variable():
    with pytest.raises(ValueError, match=r"one keras.Variable. Received: .*\[0.25, 0.25\]"):
        weight_variable(model_with(0.25))


def test_two_variables_are_not_the_weight():
    x = keras.Input((2,))
    model = keras.Model(
        x, {"mu": keras.layers.Dense(1)(x), "log_var": keras.layers.Dense(1)(x)}
    )
    one, other = keras.Variable(0.5), keras.Variable(0.25)
    model.compile(loss={"mu": MuLoss(one), "log_var": LogVarLoss(other)})
    with pytest.raises(ValueError, match="from one keras.Variable. Received"):
        weight_variable(model)


def orders(dataset, epochs=3):
    return [np.concatenate([batch.numpy() for batch in dataset]) for _ in range(epochs)]


def test_shuffled_batches_come_in_another_order_in_each_epoch():
    keras.utils.set_random_seed(1)
    first, second, third = orders(shuffled_batches(np.arange(50), batch_size=8))
    assert sorted(first) == sorted(second) == list(range(50))
    assert not np.array_equal(first, second)
    assert not np.array_equal(second, third)


def test_one_seed_gives_the_same_orders_again():
    one, other = (orders(shuffled_batches(np.arange(50), seed=3)) for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_shuffled_batches_keep_x_and_y_together():
    x = np.arange(10)
    y = {"a": 2 * x, "b": np.zeros((10, 0))}
    for images, targets in shuffled_batches(x, y, batch_size=4, seed=1):
        np.testing.assert_array_equal(targets["a"], 2 * images)
        assert targets["b"].shape == (len(images), 0)


def test_shuffled_batches_refuse_arrays_of_different_lengths():
    with pytest.raises(ValueError, match="Expected x and y of one length"):
        shuffled_batches(np.arange(3), np.arange(4))
