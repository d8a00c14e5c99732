"""Every replica draws the same random numbers from a `SeedGenerator`.

Built-in layers such as GaussianNoise and Dropout therefore give both replicas the same noise.
What would fix it: fold the replica's number into the seed, `tf.random.fold_in(seed,
replica_id)`, if a strategy has more than one replica.
"""

import keras
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
halves = 2 * [tf.config.LogicalDeviceConfiguration()]
tf.config.set_logical_device_configuration(cpu, halves)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    layer = keras.layers.GaussianNoise(1.0, seed=1)


@tf.function
def draw():
    return strategy.run(lambda: layer(tf.zeros((1, 3)), training=True))


one, two = (value.numpy() for value in draw().values)
print("both replicas draw the same:", np.array_equal(one, two))
