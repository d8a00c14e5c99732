"""A loaded model with dropout draws its masks from the start again.

The model takes two steps, is saved and loaded, and takes two more. The script reads the mask of
a step from the output for a row of ones.

Where: a layer's `SeedGenerator` keeps its state in a variable that is neither among the
layer's weights nor what `save_own_variables` in keras/src/layers/layer.py saves. What would
fix it: saving the state of the seed generators of a layer with its variables.
"""

import tempfile
from pathlib import Path

import keras
import numpy as np


def masks(model):
    ones = np.ones((1, 64))
    return [np.asarray(model(ones, training=True)) for _ in range(2)]


model = keras.Sequential([keras.Input((64,)), keras.layers.Dropout(0.5, seed=1)])
first = masks(model)
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder, "model.keras")
    model.save(path)
    loaded = keras.saving.load_model(path)
saved_goes_on_with, loaded_goes_on_with = masks(model), masks(loaded)
print("both go on alike:", np.array_equal(saved_goes_on_with, loaded_goes_on_with))
print("the loaded one starts again:", np.array_equal(first, loaded_goes_on_with))
