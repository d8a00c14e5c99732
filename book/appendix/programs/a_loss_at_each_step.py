"""A layer that adds a loss, within `TimeDistributed`: its loss counts once for each step.

`TimeDistributed` calls the layer on one step after the other, and each call adds a loss. So the
length of the sequence becomes a factor. A layer that sees the whole sequence adds one mean.
"""

import keras
import numpy as np
from keras import layers, ops


class Penalty(layers.Layer):
    def call(self, inputs):
        self.add_loss(ops.mean(ops.square(inputs)))
        return inputs

    def compute_output_shape(self, input_shape):
        return input_shape


def loss_of(layer, steps):
    x = np.ones((4, steps, 2), "float32")
    inputs = keras.Input((steps, 2))
    model = keras.Model(inputs, layer(inputs))
    model.compile(loss="mse")
    return model.evaluate(x, x, verbose=0)


for steps in (3, 6):
    print(steps, "steps, TimeDistributed:", loss_of(layers.TimeDistributed(Penalty()), steps))
    print(steps, "steps, the layer:      ", loss_of(Penalty(), steps))
