"""A generator yields (inputs, targets, sample weights), and each of the three may be a dict.

The keys are the names of inputs and outputs, in any order.
"""

import keras
import numpy as np

left, right = keras.Input((1,), name="left"), keras.Input((1,), name="right")
outputs = {
    "difference": keras.layers.Subtract()([left, right]),
    "sum": keras.layers.Add()([left, right]),
}
model = keras.Model({"left": left, "right": right}, outputs)
model.compile(loss={"sum": "mae", "difference": "mae"})


def batches():
    one = np.ones((2, 1), "float32")
    while True:
        x = {"right": 2 * one, "left": 5 * one}
        y = {"sum": 0 * one, "difference": 0 * one}
        weights = {"sum": np.array([1, 1]), "difference": np.array([1, 0])}
        yield x, y, weights


logs = model.evaluate(batches(), steps=3, verbose=0, return_dict=True)
print(dict(sorted(logs.items())))
