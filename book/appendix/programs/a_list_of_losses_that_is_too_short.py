"""Two outputs: a string is a loss for each, a list of one string is a loss for the first.

The second output then trains on nothing, without an error. None in a list says the same on
purpose, and that output needs no target.
"""

import keras
import numpy as np

x, y = np.ones((4, 2), "float32"), np.zeros((4, 1), "float32")
inputs = keras.Input((2,))
outputs = [
    keras.layers.Dense(1, name=name, kernel_initializer=start)(inputs)
    for name, start in (("first", "ones"), ("second", keras.initializers.Constant(2)))
]


def total(loss, targets):
    model = keras.Model(inputs, outputs)
    model.compile(loss=loss)
    return model.evaluate(x, targets, verbose=0, return_dict=True)["loss"]


print('"mse":           ', total("mse", [y, y]))
print('["mse"]:         ', total(["mse"], [y, y]))
print('["mse", "mse"]:  ', total(["mse", "mse"], [y, y]))
print('["mse", None]:   ', total(["mse", None], [y, y]))
print("without a target:", total(["mse", None], [y]))
