"""`model.add_loss` of a symbolic tensor raises NotImplementedError without a message.

The docstring of `Trainer.compute_loss` still shows this call. What would fix it: a message
that names `compute_loss` and `add_loss` in a layer's call, and a docstring without the call.
"""

import keras

inputs = keras.Input((1,))
outputs = keras.layers.Dense(1)(inputs)
model = keras.Model(inputs, outputs)
try:
    model.add_loss(keras.ops.sum(outputs))
    print("adds the loss")
except NotImplementedError as error:
    print("NotImplementedError, its message:", repr(str(error)))
