"""A loss that returns a scalar counts once per replica: its gradient is doubled on two.

Expected the same number twice, received 0.5 and 1.

Where: `reduce_values` in keras/src/losses/loss.py returns early for a value of shape (),
before `scale_loss_for_distribution`. What would fix it: scale that value too. The logs
are off as well: they undo a scaling that never happened.
"""

import keras
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
halves = 2 * [tf.config.LogicalDeviceConfiguration()]
tf.config.set_logical_device_configuration(cpu, halves)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def change_of_weight(loss):
    with strategy.scope():
        inputs = keras.Input((1,))
        outputs = keras.layers.Dense(1, kernel_initializer="zeros", use_bias=False)(inputs)
        model = keras.Model(inputs, outputs)
        model.compile(keras.optimizers.SGD(0.5), loss=loss)
    model.fit(np.ones((4, 1)), np.ones((4, 1)), batch_size=4, verbose=0)
    return float(model.get_weights()[0].squeeze())


print("one value per sample:", change_of_weight(lambda y, p: -p[:, 0]))
print("a scalar:            ", change_of_weight(lambda y, p: -keras.ops.mean(p)))
