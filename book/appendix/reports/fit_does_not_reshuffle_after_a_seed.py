"""After `keras.utils.set_random_seed`, `fit` shuffles once: each epoch has the same order.

`fit(shuffle=True)`, the default, promises to shuffle "before each epoch". The script reads the
order from the losses: each batch is one sample, and each sample has a target of its own.

Where: `ArrayDataAdapter` in keras/src/trainers/data_adapters/array_data_adapter.py shuffles
with `tf.random.shuffle` in a dataset. With a global seed the operation has a fixed seed, and
the new iterator of each epoch begins with this seed again. What would fix it: a new seed for
each epoch, such as `Dataset.shuffle(reshuffle_each_iteration=True)` draws.
"""

import keras
import numpy as np


class Orders(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.epochs = []

    def on_epoch_begin(self, epoch, logs=None):
        self.epochs.append([])
        self.total = 0.0

    def on_train_batch_end(self, batch, logs=None):
        # The logged loss is the mean over the batches so far.
        total = logs["loss"] * (batch + 1)
        self.epochs[-1].append(round(total - self.total))
        self.total = total


keras.utils.set_random_seed(1)
model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])  # maps 0 to 0
model.compile(loss="mae", optimizer=keras.optimizers.SGD(0.0))
n, orders = 20, Orders()
x = np.zeros((n, 1))
y = np.arange(n).reshape(n, 1)
model.fit(x, y, batch_size=1, epochs=3, verbose=0, callbacks=[orders])
first, *others = orders.epochs
print("every sample once:", sorted(first) == list(range(n)))
print("in order:", first == list(range(n)))
print("each epoch in the order of the first:", all(each == first for each in others))
