"""A model that was loaded from an `.h5` file cannot be trained further.

One Dense layer is enough to show it, saved after a step of training.

Where: `load_model_from_hdf5` in keras/src/legacy/saving/legacy_h5_format.py builds the
optimizer with `model._trainable_variables`, the model's own variables without those of its
layers: an empty list. What would fix it: `model.trainable_variables`. A model saved as
`.keras` goes on training.
"""

import tempfile
from pathlib import Path

import keras
import numpy as np

model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
model.compile(loss=keras.losses.MeanSquaredError(), optimizer="sgd")
x = np.ones((2, 1))
model.train_on_batch(x, x)
for ending in ("keras", "h5"):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"model.{ending}")
        model.save(path)
        loaded = keras.saving.load_model(path)
    try:
        loaded.train_on_batch(x, x)
        print(f"{ending}: trains on")
    except ValueError as error:
        print(f"{ending}: {type(error).__name__}: {str(error).split(':')[0]}")
