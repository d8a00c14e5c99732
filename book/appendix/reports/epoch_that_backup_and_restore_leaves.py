"""After `BackupAndRestore` has resumed a training, the next `fit` trains fewer epochs.

A training is interrupted in its third epoch and resumed, which is as it should be. Then the
model is trained for three epochs more, without the callback.

Where: `_load_model` in keras/src/callbacks/backup_and_restore.py sets `model._initial_epoch`,
which each `fit` reads and nothing sets back. What would fix it: set it to None in
`on_train_end`.
"""

import tempfile

import keras
import numpy as np


class Interrupt(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt


model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
model.compile("sgd", loss="mse")
x = np.ones((2, 1))
with tempfile.TemporaryDirectory() as folder:
    for more in [Interrupt()], []:
        backup = keras.callbacks.BackupAndRestore(folder)
        try:
            resumed = model.fit(x, x, epochs=5, callbacks=[backup, *more], verbose=0)
        except KeyboardInterrupt:
            print("interrupted in epoch 3 of 5")
print("resumed, epochs:", len(resumed.epoch))
print("trained for 3 epochs more, epochs:", len(model.fit(x, x, epochs=3, verbose=0).epoch))
