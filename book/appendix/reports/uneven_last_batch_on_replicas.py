"""If two replicas share the last batch unevenly, a lone sample counts twice as much.

There is a batch of 4 samples and one of 3. Of the last, one replica gets 2 samples and the
other gets 1. In the gradient of a mean over 3 samples, each should count a third.

Where: `Loss` in keras/src/losses/loss.py takes the mean over the replica's own samples, and
`scale_loss_for_distribution` divides by the number of replicas, however large their shares
are. What would fix it: divide the sum over a replica's samples by the size of the whole batch,
an `all_reduce` of the sizes. Until then: `drop_remainder=True`, or a batch size that divides
the number of samples.
"""

import keras
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
halves = 2 * [tf.config.LogicalDeviceConfiguration()]
tf.config.set_logical_device_configuration(cpu, halves)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    inputs = keras.Input((3,))
    outputs = keras.layers.Dense(1, kernel_initializer="zeros", use_bias=False)(inputs)
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.SGD(1.0), loss=lambda y, p: -p[:, 0])
# The first four samples change no weight. Each of the last three changes a weight of its own.
x = np.concatenate([np.zeros((4, 3)), np.eye(3)])
model.fit(x, np.zeros((7, 1)), batch_size=4, shuffle=False, verbose=0)
print("what each of the three samples counts:", model.get_weights()[0].ravel().tolist())
