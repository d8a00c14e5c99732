"""One output: the log's `loss` holds the regularizers too. A metric shows the loss alone.

The metric is the function that you gave as loss. What else is in the total is the sum of
`model.losses`.
"""

import keras
import numpy as np

x, y = np.ones((4, 2), "float32"), np.zeros((4, 1), "float32")
inputs = keras.Input((2,))
dense = keras.layers.Dense(
    1, kernel_initializer="ones", kernel_regularizer=keras.regularizers.L2(0.5)
)
model = keras.Model(inputs, dense(inputs))
model.compile(loss="mse", metrics=["mse"])
logs = model.evaluate(x, y, verbose=0, return_dict=True)
print("in the log:       ", logs)
print("sum of its losses:", float(sum(model.losses)))
