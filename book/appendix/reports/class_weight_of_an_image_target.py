"""`class_weight` for an output with a class for each pixel fails, and does not say why.

What fails is the conversion of an array to a number. The message does not name `class_weight`.

Where: `class_weight_to_sample_weights` in data_adapter_utils.py, in the folder
keras/src/trainers/data_adapters, looks one class up for each sample, even if the target has a
class for each pixel. What would fix it: refuse such a target, or look a weight up per pixel.
"""

import keras
import numpy as np

model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Conv2D(2, 1)])
model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
classes = np.zeros((2, 4, 4), "int32")
try:
    model.fit(np.ones((2, 4, 4, 1)), classes, class_weight={0: 1.0, 1: 5.0}, verbose=0)
except TypeError as error:
    print("TypeError, its message names class_weight:", "class_weight" in str(error))
each_pixel = np.ones((2, 4, 4))
model.fit(np.ones((2, 4, 4, 1)), classes, sample_weight=each_pixel, verbose=0)
print("with a sample weight for each pixel: trains")
