"""A run that goes on from an ExactBackup ends as the run that was never interrupted."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from keras.callbacks import EarlyStopping, ModelCheckpoint
from vaebook._small import SPEC
from vaebook.resume import ExactBackup, _variables_of
from vaebook.routes import ROUTES
from vaebook.training import WeightScheduler

X = np.random.default_rng(0).uniform(size=(10, 3)).astype("float32")
EPOCHS = 3  # of 5 batches of 2


class PowerCut(Exception):
    """What ends a run early here; a process of its own is killed in test_killed.py."""


class CutAfter(keras.callbacks.Callback):
    def __init__(self, batches):
        super().__init__()
        self.left = batches

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            raise PowerCut


def small_model(units=3):
    """A model with dropout, so that it draws noise, and with Adam, which has a state."""
    x = keras.Input((3,))
    model = keras.Model(x, layers.Dense(units)(layers.Dropout(0.5)(x)))
    model.compile("adam", loss="mse", run_eagerly=True)
    return model


def run(path, cut=None, seed=1, model=None, others=(), epochs=EPOCHS, extra=(), **options):
    """Train a new model with a backup; `seed` starts all that is random."""
    keras.utils.set_random_seed(seed)
    model = model or small_model()
    backup = ExactBackup(path, every=2)
    x = options.pop("x", X)
    y = options.pop("y", x)
    batches = backup.batches(x, y, batch_size=2, seed=options.pop("order", 3))
    callbacks = [*backup.callbacks(*others), *extra]
    if cut:
        callbacks.append(CutAfter(cut))
    model.fit(batches, epochs=epochs, shuffle=False, verbose=0, callbacks=callbacks, **options)
    return model


def cut_run(path, after, **options):
    with pytest.raises(PowerCut):
        run(path, cut=after, **options)


def state(model):
    return [variable.numpy() for variable in _variables_of(model)]


def same(one, other):
    pairs = zip(state(one), state(other), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that was never cut."""
    return run(tmp_path_factory.mktemp("whole") / "run")


@pytest.mark.parametrize("after", [1, 2, 3, 5, 6, 14])
def test_a_cut_run_ends_as_the_whole_one(tmp_path, whole, after):
    cut_run(tmp_path / "run", after)
    # A model with other weights and other noise: all of its own state is replaced. A run that
    # is cut before its first backup begins again, with whatever seed the program sets.
    went_on = run(tmp_path / "run", seed=1 if after < 2 else 9)
    assert same(went_on, whole)
    assert went_on.history.history == whole.history.history
    assert went_on.history.epoch == [0, 1, 2]


def test_a_run_may_be_cut_again_and_again(tmp_path, whole):
    for seed, after in enumerate((4, 3, 5)):
        cut_run(tmp_path / "run", after, seed=1 + seed)
    assert same(run(tmp_path / "run", seed=9), whole)


def test_the_whole_state_counts():
    """The comparison sees weights, optimizer, noise and metrics."""
    paths = [getattr(variable, "path", "") for variable in _variables_of(small_model())]
    assert any("seed_generator_state" in path for path in paths)
    assert any("kernel" in path for path in paths)
    assert any("learning_rate" in path for path in paths)


def test_a_cut_run_starts_over_without_a_backup(tmp_path, whole):
    """The counterpart: other seeds do end elsewhere."""
    assert not same(run(tmp_path / "run", seed=9), whole)


@pytest.mark.parametrize(("name", "steps", "after"), [("kl_layer", 2, 2), ("train_step", 1, 4)])
def test_a_route_goes_on(tmp_path, name, steps, after):
    route = ROUTES[name]
    x = np.random.default_rng(0).uniform(size=(9, *SPEC.image_shape)).astype("float32")

    def build(seed):
        return route.build(SPEC, seed=seed, steps_per_execution=steps)

    data = {"x": x, "y": route.targets(x), "epochs": 2}
    uncut = run(tmp_path / "uncut", model=build(1), **data)
    cut_run(tmp_path / "run", after, model=build(1), **data)
    assert same(run(tmp_path / "run", model=build(9), **data), uncut)


def test_each_epoch_has_an_order_of_its_own_and_sees_every_sample_once(tmp_path):
    backup = ExactBackup(tmp_path / "run")
    batches = backup.batches(np.arange(7), batch_size=3, seed=1)
    orders = []
    for epoch in (0, 1, 1):
        backup._epoch = epoch
        orders.append(np.concatenate([rows for (rows,) in batches.as_numpy_iterator()]))
    assert all(sorted(order) == list(range(7)) for order in orders)
    assert list(orders[0]) != list(orders[1]) == list(orders[2])


def test_the_callbacks_go_on_too(tmp_path):
    def others(number):
        keras.utils.set_random_seed(1)
        weight = keras.Variable(0.0)
        model = small_model()

        def weighted(y_true, y_pred):
            return weight * keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)

        model.compile("adam", loss=weighted, run_eagerly=True)
        early = EarlyStopping("loss", min_delta=0.5, patience=9, restore_best_weights=True)
        path = tmp_path / f"{number}.weights.h5"
        best = ModelCheckpoint(path, "loss", save_best_only=True, save_weights_only=True)
        # Less is better, and the loss grows with the weight: the first epoch stays the best.
        return model, [WeightScheduler(weight, lambda epoch: 0.1 + epoch), early, best]

    model, uncut = others(1)
    run(tmp_path / "uncut", model=model, others=uncut)
    model, cut = others(2)
    cut_run(tmp_path / "run", 13, model=model, others=cut)
    model, went_on = others(3)
    run(tmp_path / "run", seed=9, model=model, others=went_on)
    for name in ("wait", "best", "best_epoch", "min_delta", "monitor_op"):
        assert getattr(went_on[1], name) == getattr(uncut[1], name), name
    assert uncut[1].wait == 2
    assert went_on[2].best == uncut[2].best
    assert not (tmp_path / "3.weights.h5").exists()  # its best is the earlier run's
    assert all(map(np.array_equal, went_on[1].best_weights, uncut[1].best_weights))


def test_a_setting_that_you_change_stays_changed(tmp_path):
    cut_run(tmp_path / "run", 7, others=[EarlyStopping("loss", patience=5)])
    early = EarlyStopping("loss", patience=8)
    run(tmp_path / "run", others=[early])
    assert early.patience == 8


def test_a_run_that_ended_trains_no_more(tmp_path, whole):
    run(tmp_path / "run")
    again = run(tmp_path / "run", seed=9)
    assert same(again, whole)
    assert again.history.history == whole.history.history


def test_more_epochs_go_on_from_the_end(tmp_path, whole):
    run(tmp_path / "run", epochs=1)
    assert same(run(tmp_path / "run", seed=9), whole)


def test_a_run_that_stopped_early_stays_stopped(tmp_path):
    others = [EarlyStopping("loss", min_delta=9.0, patience=1)]
    stopped = run(tmp_path / "run", others=others)
    assert stopped.history.epoch == [0, 1]
    again = run(tmp_path / "run", seed=9, others=[EarlyStopping("loss", patience=1)])
    assert same(again, stopped)


def test_numpy_and_python_and_keras_draw_on(tmp_path):
    class Draw(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["drawn"] = np.random.uniform()  # noqa: NPY002
            logs["keras"] = float(keras.random.uniform(()))

    uncut = run(tmp_path / "uncut", others=[Draw()])
    cut_run(tmp_path / "run", 12, others=[Draw()])
    went_on = run(tmp_path / "run", seed=9, others=[Draw()])
    assert went_on.history.history == uncut.history.history


def test_noise_hidden_in_tensorflow_is_not_kept(tmp_path):
    """What the documentation says it does not do."""

    class Hidden(layers.Layer):
        def call(self, x):
            return x + tf.random.normal(tf.shape(x))

    def build():
        keras.utils.set_random_seed(1)
        x = keras.Input((3,))
        model = keras.Model(x, layers.Dense(3)(Hidden()(x)))
        model.compile("adam", loss="mse", run_eagerly=True)
        return model

    uncut = run(tmp_path / "uncut", model=build())
    cut_run(tmp_path / "run", 7, model=build())
    assert not same(run(tmp_path / "run", model=build()), uncut)


def refused(path, message, **options):
    """Expect that `fit` refuses, and leaves the file as it is."""
    before = path.read_bytes()
    with pytest.raises(ValueError, match=message):
        run(path, **options)
    assert path.read_bytes() == before


def test_a_backup_of_another_training_is_refused(tmp_path):
    cut_run(tmp_path / "run", 7)
    model = small_model()
    model.compile("sgd", loss="mse", run_eagerly=True)
    refused(tmp_path / "run", "(?i)a variable .*adam.*this training has .*sgd", model=model)


def test_another_model_is_refused_before_it_changes(tmp_path):
    cut_run(tmp_path / "run", 7)
    model = keras.Sequential([keras.Input((3,)), layers.Dense(3), layers.Dense(3)])
    model.compile("adam", loss="mse")
    before = model.get_weights()
    refused(tmp_path / "run", "Expected a backup of this training", model=model)
    assert all(map(np.array_equal, model.get_weights(), before))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"x": X + 1}, "'checksum'"),
        ({"order": 4}, "'seed': 3.*'seed': 4"),
        (
            {"others": [EarlyStopping("loss")]},
            r"callbacks \[\], and .* has \['EarlyStopping'\]",
        ),
        ({"initial_epoch": 2, "epochs": 9, "cut": 1}, "without initial_epoch"),
        ({"epochs": 1}, "Expected more than 1 epochs"),
    ],
    ids=["data", "order", "callbacks", "initial_epoch", "epochs"],
)
def test_what_does_not_fit_a_backup_is_refused(tmp_path, options, message):
    path = tmp_path / "run"
    after = 2 if message == "without initial_epoch" else 7
    cut_run(path, after)
    refused(path, message, **options)


@pytest.mark.parametrize("damage", ["cut short", "changed", "emptied", "replaced"])
def test_a_damaged_backup_is_refused_if_there_is_no_other(tmp_path, damage):
    path = tmp_path / "run"
    cut_run(path, 2)
    path.write_bytes(damaged(path.read_bytes(), damage))
    refused(path, "Expected a (whole backup|file that ExactBackup wrote)")


def damaged(content, damage):
    middle = len(content) // 2
    return {
        "cut short": content[:-100],
        "changed": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        "emptied": b"",
        "replaced": b"my own notes",
    }[damage]


def test_a_damaged_backup_leaves_the_one_before_to_go_on_from(tmp_path, whole):
    path = tmp_path / "run"
    cut_run(path, 7)
    before = path.with_name("run.previous").read_bytes()
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.warns(UserWarning, match=r"cut short or damaged.*Going on from .*run.previous"):
        cut_run(path, 2, seed=8)
    # A new backup has taken the place of the damaged one, and the good one is where it was.
    assert path.with_name("run.previous").read_bytes() == before
    assert same(run(path, seed=9), whole)


def test_a_run_killed_between_two_renames_goes_on(tmp_path, whole):
    path = tmp_path / "run"
    cut_run(path, 7)
    path.replace(path.with_name("run.previous"))
    assert same(run(path, seed=9), whole)


def test_a_run_stopped_within_an_epoch_goes_on_there(tmp_path, whole):
    class Stop(CutAfter):
        def on_train_batch_end(self, batch, logs=None):
            self.left -= 1
            if self.left == 0:
                self.model.stop_training = True

    run(tmp_path / "run", extra=[Stop(8)])
    assert same(run(tmp_path / "run", seed=9), whole)


def test_fit_on_something_else_is_refused(tmp_path):
    backup = ExactBackup(tmp_path / "run")
    callbacks = backup.callbacks()
    with pytest.raises(ValueError, match="no batches of this backup"):
        small_model().fit(X, X, verbose=0, callbacks=callbacks)
    backup.batches(X, X)
    with pytest.raises(ValueError, match=r"Expected fit on the batches.*Received: 1 steps"):
        small_model().fit(X, X, verbose=0, callbacks=callbacks)
    unknown = tf.data.Dataset.from_tensors((X, X)).filter(lambda x, y: True)
    with pytest.raises(ValueError, match="Received: other data"):
        small_model().fit(unknown, shuffle=False, verbose=0, callbacks=callbacks)
    alone = ExactBackup(tmp_path / "run")
    with pytest.raises(ValueError, match="no callbacks of this backup"):
        small_model().fit(alone.batches(X, X), shuffle=False, verbose=0, callbacks=[alone])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda path: ExactBackup(path, every=0), "every=0"),
        (lambda path: ExactBackup(path).batches(X, X[:3]), r"lengths \[3, 10\]"),
        (lambda path: ExactBackup(path).batches(X, batch_size=0), "batch_size=0"),
        (lambda path: ExactBackup(path).batches(X, seed=-1), "seed=-1"),
        (lambda path: ExactBackup(path).batches(X, sample_weight=X), "y=None"),
    ],
)
def test_a_wrong_argument_is_refused_by_its_name(tmp_path, wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong(tmp_path / "run")


def test_only_callbacks_are_callbacks(tmp_path):
    with pytest.raises(TypeError, match=r"Expected keras.callbacks.Callback.*\[\]"):
        ExactBackup(tmp_path / "run").callbacks([])
