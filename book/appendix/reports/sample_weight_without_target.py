"""`fit(x, sample_weight=w)` without y drops the weights, without a warning.

Where: `pack_x_y_sample_weight` in keras/src/trainers/data_adapters/data_adapter_utils.py
returns x alone if y is None. What would fix it: return (x, None, sample_weight), or raise an
error.
"""

import keras
import numpy as np


class Model(keras.Model):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        print("sample_weight:", "arrives" if sample_weight is not None else "is None")
        return keras.ops.mean(y_pred)


inputs = keras.Input((1,))
model = Model(inputs, keras.layers.Dense(1)(inputs))
model.compile("sgd", run_eagerly=True)
x = np.ones((2, 1))
model.fit(x, x, sample_weight=np.ones(2), verbose=0)
model.fit(x, sample_weight=np.ones(2), verbose=0)
