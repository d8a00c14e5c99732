"""`add_loss` of a bfloat16 tensor fails beside a loss of `compile`, which is float32.

Where: `Trainer.compute_loss` in keras/src/trainers/trainer.py sums a list of both precisions;
`_aggregate_additional_loss` casts integers only. What would fix it: cast every additional loss
to floatx().
"""

import keras
import numpy as np


class AddLoss(keras.layers.Layer):
    def call(self, inputs):
        self.add_loss(keras.ops.mean(inputs))
        return inputs


keras.config.set_dtype_policy("mixed_bfloat16")
inputs = keras.Input((1,))
model = keras.Model(inputs, AddLoss()(keras.layers.Dense(1)(inputs)))
model.compile("sgd", loss="mse")
try:
    model.train_on_batch(np.ones((2, 1)), np.ones((2, 1)))
    print("trains")
except TypeError as error:
    print("TypeError:", str(error)[:90])
