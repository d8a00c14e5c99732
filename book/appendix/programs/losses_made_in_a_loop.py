"""Losses that are made in a loop all use the loop's last value, unless they keep their own.

A function looks a name up when it is called. By then the loop is over. A default argument keeps
the value of its turn; so does an object of `keras.losses.Loss`.
"""

import keras
import numpy as np
from keras import ops

factors = {"near": 1.0, "far": 10.0}
late, kept = {}, {}
for name, factor in factors.items():
    late[name] = lambda y, p: factor * ops.mean(ops.square(y - p), axis=-1)  # noqa: B023
    kept[name] = lambda y, p, factor=factor: factor * ops.mean(ops.square(y - p), axis=-1)


def losses_of(losses):
    inputs = keras.Input((1,))
    outputs = {name: keras.layers.Identity()(inputs) for name in factors}
    model = keras.Model(inputs, outputs)
    model.compile(loss=losses)
    x = np.ones((4, 1), "float32")
    logs = model.evaluate(x, {name: 0 * x for name in factors}, verbose=0, return_dict=True)
    return {name: logs[f"{name}_loss"] for name in factors}


print("the loop's last factor:", losses_of(late))
print("a factor each:         ", losses_of(kept))
