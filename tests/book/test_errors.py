"""Each error of the page of errors is raised here, and says what the page says.

The messages stand on the page only. RAISES has a function for each row, in the same order.
"""

import re
import tempfile
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
from address import ROOT
from keras import layers, ops

PAGE = ROOT / "book" / "appendix" / "errors.md"
x = np.ones((4, 2), "float32")
Y = {"image": x, "mu": x}


def two_outputs(loss=None, **options):
    """A model with outputs `image` and `mu`, compiled."""
    inputs = keras.Input((2,))
    model = keras.Model(
        inputs, {"image": layers.Dense(2)(inputs), "mu": layers.Dense(2)(inputs)}
    )
    model.compile(loss=loss or {"image": "mse", "mu": "mse"}, **options)
    return model


def fit(y=Y, callbacks=None, **options):
    return two_outputs(**options).fit(x, y, callbacks=callbacks, verbose=0)


def close_over_a_tensor():
    inputs = keras.Input((2,))
    mu = layers.Dense(2)(inputs)
    model = keras.Model(inputs, layers.Dense(2)(mu))
    model.compile(loss=lambda target, guess: ops.mean(ops.square(mu)))
    model.fit(x, x, verbose=0)


def save_and_load(layer):
    inputs = keras.Input((2,))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.keras")
        keras.Model(inputs, layer(inputs)).save(path)
        keras.saving.load_model(path)


def draw(tensor):
    return tensor + 1


def read_an_old_name():
    class Printer(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            print(logs["decoder_loss"])

    fit(callbacks=[Printer()])


def add_a_bfloat16_loss():
    class AddLoss(layers.Layer):
        def call(self, inputs):
            self.add_loss(ops.mean(inputs))
            return inputs

    inputs = keras.Input((2,))
    dtype = "mixed_bfloat16"
    outputs = AddLoss(dtype=dtype)(layers.Dense(2, dtype=dtype)(inputs))
    model = keras.Model(inputs, outputs)
    model.compile(loss="mse")
    model.fit(x, x, verbose=0)


def add_a_symbolic_loss():
    inputs = keras.Input((2,))
    model = keras.Model(inputs, layers.Dense(2)(inputs))
    model.add_loss(ops.mean(model.output))


def add_a_function_as_loss():
    class AddLoss(layers.Layer):
        def call(self, inputs):
            self.add_loss(lambda: ops.mean(inputs))
            return inputs

    AddLoss()(x)


def add_the_loss_to_a_tensor():
    keras.Input((2,)).add_loss(0.0)


def layer_of_your_own_at_each_step():
    layers.TimeDistributed(Unregistered())(keras.Input((3, 2)))


def validate_without_test_step():
    class Model(keras.Model):
        def call(self, inputs):
            return inputs

        def train_step(self, data):
            return {"loss": 0.0}

    model = Model()
    model.compile()
    model.fit(x, x, validation_data=(x, x), verbose=0)


def name_a_method_losses():
    class Model(keras.Model):
        def _losses(self, inputs):
            return ops.mean(inputs)

        def call(self, inputs):
            return inputs

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return self._losses(x)

    model = Model()
    model.compile()
    model.fit(x, x, verbose=0)


def lambda_without_registration():
    save_and_load(layers.Lambda(draw))


def python_lambda():
    save_and_load(layers.Lambda(lambda tensor: tensor + 1))


def shape_from_a_number():
    keras.Input(shape=(2))


def units_from_numpy():
    layers.Dense(np.prod((2, 3)))


def target_left_out():
    fit({"image": x})


def target_under_a_wrong_key():
    fit({"image": x, "mean": x})


def loss_under_a_wrong_key():
    fit(loss={"image": "mse", "mean": "mse"})


def one_loss_weight_of_two():
    fit(loss_weights={"image": 1.0})


def one_loss_for_two_outputs_and_two_weights():
    fit(loss="mse", loss_weights={"image": 1.0, "mu": 1.0})


def one_loss_in_a_list_for_a_dict_of_two():
    fit(loss=["mse"])


def target_none():
    fit({"image": x, "mu": None})


def target_of_another_length():
    fit({"image": x, "mu": x[:3]})


class Unregistered(layers.Layer):
    def call(self, inputs):
        return inputs


def layer_without_registration():
    save_and_load(Unregistered())


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(2)

    def call(self, inputs):
        return self.dense(inputs)


def a_setting_of_a_later_keras():
    model = keras.Sequential([keras.Input((2,)), layers.Dense(2)])
    saved = model.to_json().replace('"seed": null', '"seed": null, "of_later": null')
    keras.models.model_from_json(saved)


def weights_of_another_model():
    inputs = keras.Input((2,))
    other = keras.Model(inputs, layers.Dense(3)(layers.Dense(2)(inputs)))
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns before it fails
        path = Path(folder, "model.weights.h5")
        two_outputs().save_weights(path)
        other.load_weights(path)


def save_before_a_call():
    with tempfile.TemporaryDirectory() as folder:
        Subclassed().save_weights(Path(folder, "model.weights.h5"))


def load_before_a_call():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.weights.h5")
        model = Subclassed()
        model(x)
        model.save_weights(path)
        Subclassed().load_weights(path)


def load_by_name():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.weights.h5")
        two_outputs().save_weights(path)
        two_outputs().load_weights(path, by_name=True)


def saved_and_loaded(model, name="model.keras"):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        model.save(path)
        return keras.saving.load_model(path)


def one_output(loss):
    model = keras.Sequential([keras.Input((2,)), layers.Dense(2)])
    model.compile("adam", loss=loss)
    return model


def squared(y_true, y_pred):
    return ops.square(y_true - y_pred)


def loss_function_without_registration():
    saved_and_loaded(one_output(squared))


class Around(layers.Layer):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def call(self, inputs):
        return self.inner(inputs)


def layer_as_an_argument():
    save_and_load(Around(layers.Dense(2)))


def train_what_was_loaded_from_h5():
    saved_and_loaded(one_output(keras.losses.MeanSquaredError()), "model.h5").fit(
        x, x, verbose=0
    )


def load_a_loss_named_in_h5():
    saved_and_loaded(one_output("mse"), "model.h5")


def load_weights_before_the_optimizer_is_built():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.weights.h5")
        model = one_output("mse")
        model.fit(x, x, verbose=0)
        model.save_weights(path)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            one_output("mse").load_weights(path)
    raise next(each.message for each in caught if each.category is UserWarning)


def weights_of_other_shapes():
    inputs = keras.Input((2,))
    keras.Model(inputs, layers.Dense(3)(inputs)).set_weights(one_output("mse").get_weights())


def save_the_best_of_what_is_not_logged():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.keras")
        fit(
            callbacks=[
                keras.callbacks.ModelCheckpoint(path, "val_mu_loss", 0, True, mode="min")
            ]
        )


def stop_early_on_what_is_not_logged():
    fit(callbacks=[keras.callbacks.EarlyStopping("val_mu_loss", mode="min")])


def model_without_call():
    class Empty(keras.Model):
        pass

    model = Empty()
    model.compile(loss="mse")
    model.fit(x, x, verbose=0)


def class_weight_for_two_outputs():
    two_outputs().fit(x, Y, class_weight={0: 1.0, 1: 2.0}, verbose=0)


def class_weight_for_each_pixel():
    model = keras.Sequential([keras.Input((2, 2, 1)), layers.Conv2D(2, 1)])
    model.compile(loss="sparse_categorical_crossentropy")
    weights = {0: 1.0, 1: 2.0}
    model.fit(np.ones((4, 2, 2, 1)), np.zeros((4, 2, 2)), class_weight=weights, verbose=0)


class WeightedBatches(keras.utils.PyDataset):
    def __len__(self):
        return 1

    def __getitem__(self, number):
        return x, Y, dict.fromkeys(Y, np.ones(4))


def class_weight_beside_sample_weight():
    two_outputs().fit(WeightedBatches(), class_weight={0: 1.0}, shuffle=False, verbose=0)


def sample_weight_of_one_output_of_a_batch():
    two_outputs().train_on_batch(x, Y, {"image": np.ones(4)})


def missing_class_with_weight_0():
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    loss(np.array([0, -1]), np.zeros((2, 3), "float32"), np.array([1.0, 0.0]))


def metrics_in_a_string():
    fit(metrics="accuracy")


def metric_under_a_wrong_key():
    fit(metrics={"image": ["mse"], "mean": ["mse"]})


def sample_weight_of_one_output():
    two_outputs().fit(x, Y, sample_weight={"image": np.ones(4)}, verbose=0)


def sample_weights_in_a_dict_for_a_list_of_outputs():
    inputs = keras.Input((2,))
    model = keras.Model(inputs, [layers.Dense(2, name=name)(inputs) for name in Y])
    model.compile(loss=dict.fromkeys(Y, "mse"))
    model.fit(x, Y, sample_weight=dict.fromkeys(Y, np.ones(4)), verbose=0)


def target_in_a_dict_for_one_output():
    inputs = keras.Input((2,))
    model = keras.Model(inputs, layers.Dense(2, name="image")(inputs))
    model.compile(loss={"image": "mse"})
    model.fit(x, {"image": x}, verbose=0)


def generator_that_yields_a_list():
    def batches():
        while True:
            yield [x, Y]

    two_outputs().fit(batches(), steps_per_epoch=1, shuffle=False, verbose=0)


def loss_without_a_gradient():
    fit(loss=dict.fromkeys(Y, lambda target, output: ops.mean(ops.stop_gradient(output))))


def loss_of_one_output_without_a_gradient():
    free = {"image": "mse", "mu": lambda target, output: ops.mean(ops.stop_gradient(output))}
    fit(loss=free)


def checkpoint_of_weights_as_h5():
    keras.callbacks.ModelCheckpoint("vae.h5", save_weights_only=True)


def loss_of_the_code_alone():
    fit(loss={"mu": "mse"})


def loss_without_a_derivative():
    fit(loss=dict.fromkeys(Y, lambda target, output: ops.max(ops.argmax(output, axis=-1))))


def stop_early_on_a_loss():
    fit(callbacks=[keras.callbacks.EarlyStopping(monitor="mu_loss")])


def no_loss_in_compile():
    inputs = keras.Input((2,))
    model = keras.Model(inputs, layers.Dense(2)(inputs))
    model.compile()
    model.fit(x, x, verbose=0)


def losses_by_name_for_a_tuple():
    class Pair(Subclassed):
        def call(self, inputs):
            return self.dense(inputs), self.dense(inputs)

    model = Pair()
    model.compile(loss={"image": "mse", "mu": "mse"})
    model.fit(x, Y, verbose=0)


def target_of_another_structure():
    model = two_outputs(loss={"image": "mse"})
    model.evaluate(x, x, verbose=0)  # no gradient: `mu` has none, and Keras would warn
    model.evaluate(x, Y, verbose=0)


def metric_without_every_target():
    model = two_outputs(loss={"image": "mse"}, metrics={"image": ["mae"]})
    model.evaluate(x, {"image": x}, verbose=0)


RAISES = (
    close_over_a_tensor,
    lambda_without_registration,
    python_lambda,
    layer_without_registration,
    a_setting_of_a_later_keras,
    weights_of_another_model,
    save_before_a_call,
    load_before_a_call,
    load_by_name,
    loss_function_without_registration,
    layer_as_an_argument,
    train_what_was_loaded_from_h5,
    load_a_loss_named_in_h5,
    load_weights_before_the_optimizer_is_built,
    weights_of_other_shapes,
    save_the_best_of_what_is_not_logged,
    stop_early_on_what_is_not_logged,
    shape_from_a_number,
    units_from_numpy,
    target_left_out,
    target_under_a_wrong_key,
    target_in_a_dict_for_one_output,
    target_of_another_structure,
    metric_without_every_target,
    loss_under_a_wrong_key,
    one_loss_weight_of_two,
    one_loss_for_two_outputs_and_two_weights,
    one_loss_in_a_list_for_a_dict_of_two,
    metric_under_a_wrong_key,
    metrics_in_a_string,
    class_weight_for_two_outputs,
    class_weight_for_each_pixel,
    class_weight_beside_sample_weight,
    sample_weight_of_one_output,
    sample_weight_of_one_output_of_a_batch,
    missing_class_with_weight_0,
    sample_weights_in_a_dict_for_a_list_of_outputs,
    losses_by_name_for_a_tuple,
    loss_without_a_gradient,
    loss_of_one_output_without_a_gradient,
    loss_of_the_code_alone,
    loss_without_a_derivative,
    read_an_old_name,
    target_none,
    target_of_another_length,
    generator_that_yields_a_list,
    stop_early_on_a_loss,
    checkpoint_of_weights_as_h5,
    add_a_bfloat16_loss,
    add_a_symbolic_loss,
    add_a_function_as_loss,
    add_the_loss_to_a_tensor,
    layer_of_your_own_at_each_step,
    validate_without_test_step,
    no_loss_in_compile,
    name_a_method_losses,
    model_without_call,
)


def first_column(section):
    """Return the first column of the table below a heading, without its code marks."""
    text = PAGE.read_text("utf8").split(f"\n## {section}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| ", text, re.MULTILINE)
    return [row.replace("`", "").strip() for row in rows[1:]]


MESSAGES = first_column("What Keras says")


def test_each_row_has_a_function_that_raises_it():
    assert len(MESSAGES) == len(RAISES)


@pytest.mark.parametrize(
    ("message", "function"),
    zip(MESSAGES, RAISES, strict=False),
    ids=[function.__name__ for function in RAISES[: len(MESSAGES)]],
)
def test_keras_says_what_the_page_says(message, function):
    with pytest.raises(Exception) as caught:  # noqa: PT011  its type is compared below
        function()
    said = str(caught.value).replace("`", "") or "without a message"
    received = f"{caught.type.__name__}: {said}".replace(": without", " without")
    pattern = ".*".join(re.escape(part) for part in message.split("…"))
    assert re.match(pattern, received, re.DOTALL), received
