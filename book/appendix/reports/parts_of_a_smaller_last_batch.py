"""With several outputs, logged parts do not add up to the loss if the last batch is smaller.

This happens in a graph. With run_eagerly=True they add up.

Where: `CompileLoss.call` in keras/src/trainers/compile_utils.py weights each part by the
static size of the batch, `y_pred.shape[0]`, which is None in a graph. What would fix it:
`ops.shape(y_pred)[0]`.
"""

import keras
import numpy as np

x = np.array([[0.0], [0.0], [3.0]])
for run_eagerly in (False, True):
    inputs = keras.Input((1,))
    identity = keras.layers.Identity
    model = keras.Model(inputs, {"a": identity()(inputs), "b": identity()(inputs)})
    model.compile(loss={"a": "mae", "b": "mae"}, run_eagerly=run_eagerly)
    y = {"a": np.zeros((3, 1)), "b": np.zeros((3, 1))}
    logs = model.evaluate(x, y, batch_size=2, verbose=0, return_dict=True)
    print(
        f"run_eagerly={run_eagerly}: loss",
        logs["loss"],
        "parts",
        logs["a_loss"],
        logs["b_loss"],
    )
