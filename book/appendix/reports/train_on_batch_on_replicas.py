"""`train_on_batch` hands the whole batch to each replica; `fit` gives each a share.

Where: `TensorFlowTrainer.train_on_batch` in keras/src/backend/tensorflow/trainer.py passes
plain tensors to `strategy.run`. What would fix it: distribute them as `fit` does, or say so
in the documentation.
"""

import sys

import keras
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
halves = 2 * [tf.config.LogicalDeviceConfiguration()]
tf.config.set_logical_device_configuration(cpu, halves)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


class Look(keras.layers.Layer):
    def call(self, inputs):
        seen = tf.shape(inputs)[0]
        tf.print("a replica sees", seen, "images of 4", output_stream=sys.stdout)
        return inputs


with strategy.scope():
    inputs = keras.Input((1,))
    model = keras.Model(inputs, Look()(keras.layers.Dense(1)(inputs)))
    model.compile("sgd", loss="mse")
x = np.ones((4, 1))
print("fit", flush=True)
model.fit(x, x, batch_size=4, verbose=0)
print("train_on_batch", flush=True)
model.train_on_batch(x, x)
