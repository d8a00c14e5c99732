"""Three heads with missing labels: the masked loss, learned weights, and their behaviours."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from vaebook.behaviours import check, grey_images
from vaebook.heads import (
    CLASSES,
    SPEC,
    THREE_HEADS,
    build_three_heads,
    gradient_norms,
    heads_loss_and_gradients,
    heads_targets,
    slants,
)
from vaebook.losses import MaskedLoss
from vaebook.models import UncertaintyWeighted, losses_by_output
from vaebook.reference import GradientKeeper, relative_error
from vaebook.replicas import check_on_replicas

NAN = float("nan")


pytestmark = pytest.mark.usefixtures("quiet")


# --- the masked loss ---------------------------------------------------------------------

TRUE = np.array([[1.0], [NAN], [3.0], [NAN]], "float32")
GUESS = np.array([[2.0], [9.0], [6.0], [9.0]], "float32")  # squared errors 1 and 9


@pytest.mark.parametrize(
    "loss",
    [
        "mse",
        "MeanSquaredError",
        keras.losses.MeanSquaredError(),
        keras.losses.mean_squared_error,
    ],
    ids=["a name", "a class's name", "a loss", "a function"],
)
def test_it_is_the_mean_over_the_labelled_ones(loss):
    assert float(MaskedLoss(loss)(TRUE, GUESS)) == pytest.approx(5)
    assert float(MaskedLoss(loss)(TRUE[:, 0], GUESS)) == pytest.approx(5)


def test_keras_divides_by_all_and_mask_and_ignore_class_do_not():
    weights = np.array([1.0, 0.0, 1.0, 0.0])
    mse = keras.losses.MeanSquaredError()
    assert float(mse(np.nan_to_num(TRUE), GUESS, weights)) == pytest.approx(10 / 4)
    labels, logits = np.array([1, -1]), np.zeros((2, 4), "float32")
    ignoring = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1)
    assert float(ignoring(labels, logits)) == pytest.approx(np.log(4))
    assert float(MaskedLoss(ignoring, missing=-1)(labels, logits)) == pytest.approx(np.log(4))


def test_it_returns_one_value_per_sample():
    assert MaskedLoss("mse").call(TRUE, GUESS).numpy().tolist() == [2, 0, 18, 0]


def test_without_missing_labels_it_is_the_loss_itself():
    true = np.array([[1.0], [2.0]], "float32")
    assert float(MaskedLoss("mse")(true, GUESS[:2])) == pytest.approx((1 + 49) / 2)


def test_a_batch_without_labels_gives_0_and_a_gradient_of_0():
    guess = tf.Variable(GUESS)
    with tf.GradientTape() as tape:
        loss = MaskedLoss("mse")(np.full((4, 1), NAN), guess)
    assert float(loss) == 0
    assert tape.gradient(loss, guess).numpy().ravel().tolist() == [0, 0, 0, 0]


def test_the_gradient_of_a_missing_label_is_0_and_not_nan():
    guess = tf.Variable(GUESS)
    with tf.GradientTape() as tape:
        loss = MaskedLoss("mse")(TRUE, guess)
    # 2 · (guess − true) / labelled
    assert tape.gradient(loss, guess).numpy().ravel().tolist() == [1, 0, 3, 0]


def test_a_sample_weight_multiplies_and_the_number_of_labels_divides():
    loss = MaskedLoss("mse")(TRUE, GUESS, sample_weight=np.array([4.0, 7.0, 0.0, 7.0]))
    assert float(loss) == pytest.approx(4 * 1 / 2)


def test_integer_labels_may_be_missing_too():
    logits = np.log(np.array([[0.5, 0.25, 0.25]] * 3, "float32"))
    loss = MaskedLoss(keras.losses.SparseCategoricalCrossentropy(from_logits=True), missing=-1)
    assert float(loss(np.array([0, -1, 1]), logits)) == pytest.approx(1.5 * np.log(2))


def test_a_one_hot_row_with_one_nan_is_missing():
    rows = np.array([[1.0, 0.0], [NAN, 0.0]], "float32")
    guess = np.array([[0.5, 0.5], [0.9, 0.1]], "float32")
    loss = MaskedLoss("categorical_crossentropy")
    assert float(loss(rows, guess)) == pytest.approx(np.log(2))


def test_each_value_is_counted_by_itself():
    true = np.array([[1.0, NAN], [0.0, 1.0]], "float32")
    guess = np.array([[2.0, 9.0], [2.0, 1.0]], "float32")  # squares 1, 4 and 0
    loss = MaskedLoss("mse", each_value=True)
    assert float(loss(true, guess)) == pytest.approx(5 / 3)
    assert loss.call(true, guess).shape == (2,)


def test_an_image_loss_is_averaged_over_its_pixels():
    true = np.zeros((2, 2, 2, 1), "float32")
    true[1] = NAN
    assert float(MaskedLoss("mse")(true, np.ones((2, 2, 2, 1), "float32"))) == pytest.approx(1)


@pytest.mark.parametrize(
    "loss",
    [
        MaskedLoss("mse"),
        MaskedLoss(keras.losses.SparseCategoricalCrossentropy(from_logits=True), missing=-1),
        MaskedLoss("binary_crossentropy", each_value=True),
    ],
    ids=["name", "loss", "each value"],
)
def test_it_survives_serialisation(loss):
    copy = keras.losses.deserialize(keras.losses.serialize(loss))
    assert keras.losses.serialize(copy) == keras.losses.serialize(loss)
    config = copy.get_config()
    assert (config["missing"], config["each_value"]) == (loss.missing, loss.each_value)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: MaskedLoss(3), (TypeError, ValueError), "3"),
        (lambda: MaskedLoss("mse", missing="no"), TypeError, "Received: 'no'"),
        (lambda: MaskedLoss("mse", reduction="sum"), ValueError, "Received: reduction='sum'"),
        (
            lambda: MaskedLoss(lambda true, guess: ops.mean(guess))(TRUE, GUESS),
            ValueError,
            "one value per sample.*returns a scalar",
        ),
        (
            lambda: MaskedLoss("mse", each_value=True)(TRUE[:, 0], GUESS),
            ValueError,
            r"each_value. Received: shapes \(4,\) and \(4, 1\)",
        ),
    ],
)
def test_a_wrong_masked_loss_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_over_batches_each_is_divided_by_its_own_labels():
    """Of 3 and 1 samples: (3 · mean over 2 labels + 1 · 0) / 4, and the log of it, too."""
    inputs = keras.Input((1,))
    model = keras.Model(inputs, {"a": keras.layers.Identity()(inputs), "b": inputs})
    model.compile(loss={"a": MaskedLoss("mse"), "b": MaskedLoss("mse")})
    y = {"a": TRUE, "b": TRUE}
    logs = model.evaluate(GUESS, y, batch_size=3, verbose=0, return_dict=True)
    assert logs["loss"] == pytest.approx(2 * (3 * 5 + 1 * 0) / 4)


# --- through the table of behaviours -----------------------------------------------------

RIGHT = (
    "graph",
    "eager",
    "xla",
    "bfloat16",
    "sample_weight",
    "last_batch",
    "steps_per_execution",
    "save_and_load",
)


@pytest.mark.parametrize("behaviour", RIGHT)
def test_the_three_heads_behave(behaviour):
    found = check(THREE_HEADS, behaviour)
    assert found["holds"], found


def test_on_two_replicas_the_labels_of_both_are_counted():
    labels = heads_targets(grey_images())["class"]
    halves = [np.isfinite(half).sum() for half in np.split(labels, 2)]
    assert halves[0] != halves[1]  # or a mean over each half would be right as well
    found = check_on_replicas("three_heads")["three_heads"]["replicas"]
    assert found["holds"], found


_THREE_SAMPLES_ON_TWO_REPLICAS = """
import vaebook, keras, numpy as np, tensorflow as tf
from vaebook.losses import MaskedLoss
from vaebook.reference import GradientKeeper
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, 2 * [tf.config.LogicalDeviceConfiguration()])
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    inputs, keeper = keras.Input((1,)), GradientKeeper()
    model = keras.Model(inputs, keras.layers.Dense(1, kernel_initializer="zeros")(inputs))
    model.compile(keeper, loss=MaskedLoss("mse"))
x = np.array([0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0])[:, np.newaxis]
y = np.array([0.0, 0.0, 0.0, 0.0, 1.0, np.nan, 5.0])[:, np.newaxis]
model.fit(x, y, batch_size=4, shuffle=False, verbose=0)  # the last batch: 2 and 1 samples
print(*(gradient.item() for gradient in keeper.kept))
"""


def test_two_replicas_that_share_a_batch_unevenly_have_the_gradient_of_one():
    """Of (wx + b − y)² at 0, over two labels: (−2·1·1 − 2·5·3) / 2 and (−2·1 − 2·5) / 2."""
    command = [sys.executable, "-c", _THREE_SAMPLES_ON_TWO_REPLICAS]
    answer = subprocess.run(command, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert [float(word) for word in answer.stdout.split()] == pytest.approx([-16, -6])


def test_a_loss_that_divides_by_all_does_not_pass():
    """The check has eyes: the same gradient, but for labels that are counted otherwise."""
    keeper = GradientKeeper()
    model = THREE_HEADS.build(SPEC, weight=0.25, seed=1, optimizer=keeper)
    x = grey_images()
    y = heads_targets(x)
    weights = {name: np.ones(len(x)) for name in y}
    weights["class"] *= np.isfinite(y["class"]).mean()  # what dividing by all amounts to
    noise = model.get_layer("encoder").get_layer("z").noise((len(x), SPEC.latent_dim)).numpy()
    start = model.get_weights()
    model = THREE_HEADS.build(SPEC, weight=0.25, seed=1, optimizer=keeper)
    model.train_on_batch(x, y, weights)
    _, right = heads_loss_and_gradients(start, x, noise, 1.0, 0.25)
    assert relative_error(keeper.kept, right) > 1e-2


# --- the network -------------------------------------------------------------------------


def test_a_straight_line_has_the_slant_it_is_drawn_with():
    rows = np.arange(28)
    image = np.zeros((3, 28, 28, 1), "float32")
    image[0, rows, 14] = 1
    image[1, rows, 27 - rows] = 1  # from bottom left to top right
    image[2, rows, 14 - (rows - 14) // 2] = 1
    assert slants(image) == pytest.approx([0, 45, 26.6], abs=0.3)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((1, 8, 8, 1)), "ink in two rows of each image. Received: image 0"),
        (np.ones((1, 8, 8, 3)), "one channel"),
        (np.ones((8, 8, 1)), "Expected images"),
    ],
)
def test_an_image_without_a_slant_is_refused(image, message):
    with pytest.raises(ValueError, match=message):
        slants(image)


def test_one_seed_is_one_network_and_another_is_not():
    one, same, other = (
        build_three_heads(SPEC, 3, seed=seed).get_weights() for seed in (1, 1, 2)
    )
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not np.array_equal(one[0], other[0])
    with pytest.raises(ValueError, match="classes ≥ 1"):
        build_three_heads(SPEC, 0)


# --- weights of tasks --------------------------------------------------------------------

TASKS = {"vae": ["reconstruction", "mu", "log_var"], "class": ["class"], "slant": ["slant"]}


def learner(start=None, **options):
    network = build_three_heads(SPEC, CLASSES, seed=1)
    model = UncertaintyWeighted(network, TASKS, start)
    losses = THREE_HEADS.build(SPEC, weight=0.25).loss
    model.compile(loss=losses, **options)
    return model


def test_the_gradient_norm_of_a_task_by_hand():
    inputs = keras.Input((1,))
    heads = {
        name: keras.layers.Dense(1, use_bias=False, kernel_initializer="ones", name=name)(
            inputs
        )
        for name in ("a", "b")
    }
    model = keras.Model(inputs, heads)
    model.compile(loss={name: keras.losses.MeanSquaredError() for name in heads})
    x = np.full((2, 1), 2.0, "float32")  # d/dw of (2w − y)² is 4 · (2 − y) at w = 1
    y = {"a": np.ones((2, 1), "float32"), "b": np.full((2, 1), 5.0, "float32")}
    norms = gradient_norms(model, x, y, {"a": ["a"], "b": ["b"], "both": ["a", "b"]})
    assert norms == pytest.approx({"a": 4, "b": 12, "both": np.hypot(4, 12)})
    with pytest.raises(ValueError, match=r"out of \['a', 'b'\]. Received: \['c'\]"):
        gradient_norms(model, x, y, {"c": ["c"]})
    model.compile(loss="mse")
    with pytest.raises(TypeError, match="dict of keras.losses.Loss.*Received: loss='mse'"):
        losses_by_output(model)


@pytest.mark.parametrize("loss", [0.2, 3.0, 250.0])
def test_the_best_s_is_the_logarithm_of_the_loss(loss):
    s = np.linspace(np.log(loss) - 3, np.log(loss) + 3, 60_001)
    total = np.exp(-s) * loss + s
    assert s[total.argmin()] == pytest.approx(np.log(loss), abs=1e-3)
    assert total.min() == pytest.approx(1 + np.log(loss))


def test_the_objective_and_the_gradient_of_s_by_hand():
    model = learner(optimizer="sgd")
    x = grey_images()
    y = heads_targets(x)
    for s, value in zip(model.log_scales.values(), (0.5, -1.0, 2.0), strict=True):
        s.assign(value)
    y_pred = model(x)
    with tf.GradientTape() as tape:
        total = model.compute_loss(x, y, y_pred)
    slopes = tape.gradient(total, [s.value for s in model.log_scales.values()])
    of_tasks = [
        sum(float(model.loss[name](y[name], y_pred[name])) for name in names)
        for names in TASKS.values()
    ]
    expected = sum(
        np.exp(-s) * loss + s for s, loss in zip((0.5, -1.0, 2.0), of_tasks, strict=True)
    )
    assert float(total) == pytest.approx(expected, rel=1e-6)
    by_hand = [
        1 - np.exp(-s) * loss for s, loss in zip((0.5, -1.0, 2.0), of_tasks, strict=True)
    ]
    assert [float(slope) for slope in slopes] == pytest.approx(by_hand, rel=1e-5)


def test_the_learned_weights_go_to_one_over_the_loss():
    """With the network frozen, the weight of each task settles at 1 / L."""
    model = learner(optimizer=keras.optimizers.Adam(0.1))
    model.network.trainable = False
    model.compile(optimizer=keras.optimizers.Adam(0.1), loss=model.loss)
    x = grey_images()
    y = heads_targets(x)
    model.network.get_layer("encoder").get_layer("log_var").bias.assign([-50.0] * 3)  # no noise
    model.fit(tf.data.Dataset.from_tensors((x, y)).repeat(150), shuffle=False, verbose=0)
    y_pred = model(x)
    for task, names in TASKS.items():
        loss = sum(float(model.loss[name](y[name], y_pred[name])) for name in names)
        assert model.task_weights()[task] == pytest.approx(1 / loss, rel=2e-2), task


def test_s_starts_where_it_is_told_to():
    start = {"vae": 0.25, "class": 2.0, "slant": 100.0}
    model = learner(start)
    assert model.task_weights() == pytest.approx({"vae": 4, "class": 0.5, "slant": 0.01})
    assert UncertaintyWeighted.from_config(model.get_config()).start == start


@pytest.mark.parametrize("start", [{"vae": 1.0}, {"vae": 1.0, "class": 0.0, "slant": 1.0}])
def test_a_wrong_start_is_refused(start):
    with pytest.raises(ValueError, match="start"):
        learner(start)


def test_it_logs_each_output_and_saves_and_loads(tmp_path):
    model = learner(optimizer="adam")
    x = grey_images()
    history = model.fit(x, heads_targets(x), verbose=0).history
    assert sorted(history) == sorted(
        ["loss", *(f"{name}_loss" for name in THREE_HEADS_OUTPUTS)]
    )
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.task_weights() == model.task_weights()
    assert loaded.tasks == TASKS
    again = loaded.fit(x, heads_targets(x), verbose=0).history
    model.fit(x, heads_targets(x), verbose=0)
    assert np.isfinite(again["loss"][0])


THREE_HEADS_OUTPUTS = ("reconstruction", "mu", "log_var", "class", "slant")


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ({"all": ["reconstruction", "klass"]}, "name outputs out of.*'klass'"),
        ({"a": ["mu"], "b": ["mu"]}, "each in one task"),
        ({"a": []}, "Received: tasks={'a': "),
    ],
)
def test_tasks_that_do_not_share_out_the_outputs_are_refused(tasks, message):
    with pytest.raises(ValueError, match=message):
        UncertaintyWeighted(build_three_heads(SPEC, 3, seed=1), tasks)


def test_a_loss_in_no_task_is_refused():
    model = UncertaintyWeighted(build_three_heads(SPEC, 3, seed=1), {"class": ["class"]})
    model.compile(loss=THREE_HEADS.build(SPEC).loss)
    x = grey_images()
    with pytest.raises(ValueError, match=r"a loss for each of \['class'\]"):
        model.fit(x, heads_targets(x), verbose=0)
