"""A layer that returns a dict: the keys are the names of the losses and the metrics.

With the two tensors in a list, both outputs carry the name of the one layer that made them, and
the log keeps one of them.
"""

import keras
import numpy as np


class Heads(keras.layers.Layer):
    def __init__(self):
        super().__init__(name="heads")
        self.depth, self.angle = keras.layers.Dense(1), keras.layers.Dense(1)

    def call(self, features):
        return {"depth": self.depth(features), "angle": self.angle(features)}


x, y = np.ones((4, 2), "float32"), np.ones((4, 1), "float32")
features = keras.Input((2,))
outputs = Heads()(features)

by_name = keras.Model(features, outputs)
by_name.compile(loss={"depth": "mse", "angle": "mae"}, metrics={"angle": ["mse"]})
logs = by_name.evaluate(x, {"depth": y, "angle": y}, verbose=0, return_dict=True)
print("as a dict:", *sorted(logs))

by_place = keras.Model(features, [outputs["depth"], outputs["angle"]])
by_place.compile(loss=["mse", "mae"])
logs = by_place.evaluate(x, [y, y], verbose=0, return_dict=True)
print("as a list:", *sorted(logs))
