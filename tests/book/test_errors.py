"""Each error of the page of errors is raised here, and says what the page says."""

import re
import tempfile
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


RAISES = {
    "ValueError: A KerasTensor cannot be used as input to a TensorFlow function.": (
        close_over_a_tensor
    ),
    "TypeError: …Could not locate function …": lambda: save_and_load(layers.Lambda(draw)),
    "ValueError: Requested the deserialization of a Lambda layer …": lambda: save_and_load(
        layers.Lambda(lambda tensor: tensor + 1)
    ),
    "ValueError: Cannot convert '…' to a shape.": lambda: keras.Input(shape=(2)),
    "ValueError: Received an invalid value for units, expected a positive integer. …": (
        lambda: layers.Dense(np.prod((2, 3)))
    ),
    "ValueError: y_true and y_pred have different structures.": lambda: fit({"image": x}),
    "TypeError: Expected float32, but got … of type 'str'.": lambda: fit(
        {"image": x, "mean": x}
    ),
    'KeyError: "The path: …': lambda: fit(loss={"image": "mse", "mean": "mse"}),
    "ValueError: loss_weights must match the number of losses, …": lambda: fit(
        loss_weights={"image": 1.0}
    ),
    "KeyError: 'decoder_loss'": read_an_old_name,
    "ValueError: None values not supported.": lambda: fit({"image": x, "mu": None}),
    "ValueError: Data cardinality is ambiguous.": lambda: fit({"image": x, "mu": x[:3]}),
    "TypeError: Cannot convert a list containing a tensor of dtype <dtype: 'bfloat16'>": (
        add_a_bfloat16_loss
    ),
    "NotImplementedError without a message": add_a_symbolic_loss,
    "ValueError: No loss to compute.": validate_without_test_step,
    "TypeError: 'TrackedList' object is not callable": name_a_method_losses,
}


def first_column(section):
    """Return the first column of the table below a heading, without its code marks."""
    text = PAGE.read_text("utf8").split(f"\n## {section}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| ", text, re.MULTILINE)
    return [row.replace("`", "").strip() for row in rows[1:]]


def test_the_page_lists_what_is_raised_here():
    assert first_column("What Keras says") == list(RAISES)


@pytest.mark.parametrize("message", RAISES)
def test_keras_says_what_the_page_says(message):
    with pytest.raises(Exception) as caught:  # noqa: PT011  its type is compared below
        RAISES[message]()
    said = str(caught.value).replace("`", "") or "without a message"
    received = f"{caught.type.__name__}: {said}".replace(": without", " without")
    pattern = ".*".join(re.escape(part) for part in message.split("…"))
    assert re.match(pattern, received, re.DOTALL), received
