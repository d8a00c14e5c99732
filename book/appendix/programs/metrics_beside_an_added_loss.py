"""No loss in `compile`, one from a layer: `fit(x)` is enough, and metrics need a target."""

import keras
import numpy as np


class Penalty(keras.layers.Layer):
    def call(self, inputs):
        self.add_loss(keras.ops.mean(keras.ops.square(inputs)))
        return inputs


def log_of(*data, metrics=None):
    inputs = keras.Input((2,))
    model = keras.Model(inputs, Penalty()(keras.layers.Dense(2)(inputs)))
    model.compile("sgd", metrics=metrics)
    return sorted(model.fit(*data, verbose=0).history)


x = np.ones((4, 2), "float32")
print("fit(x):                ", *log_of(x))
print("fit(x, y) with metrics:", *log_of(x, x, metrics=["mae"]))
try:
    log_of(x, metrics=["mae"])
except ValueError as error:
    print("fit(x) with metrics:   ", error)
