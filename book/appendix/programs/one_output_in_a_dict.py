"""One output in a dict: the loss and the target may be plain, in a list, or in a dict.

Keras 3.0 answered "No loss to compute" to some of these. A wrong key of the loss is refused.
"""

import keras
import numpy as np

x, y = np.ones((4, 2), "float32"), np.ones((4, 1), "float32")
losses = {"plain": "mse", "list": ["mse"], "dict": {"height": "mse"}}
targets = {"plain": y, "list": [y], "dict": {"height": y}}


def evaluate(loss, target):
    inputs = keras.Input((2,))
    dense = keras.layers.Dense(1, kernel_initializer="ones")
    model = keras.Model(inputs, {"height": dense(inputs)})
    model.compile(loss=loss)
    return model.evaluate(x, target, verbose=0)


for loss in losses:
    print(
        f"loss {loss:5}", *(f"target {t} {evaluate(losses[loss], targets[t])}" for t in targets)
    )
try:
    evaluate({"hight": "mse"}, targets["dict"])
except KeyError as error:
    print("KeyError:", error.args[0].split(" in the")[0])
