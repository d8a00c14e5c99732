"""A wrong key in `loss_weights` raises no error: the weights go by the sorted keys.

The weight 1 is meant for output "a", and 100 for "b", which is mistyped as "A". Sorted, "A"
comes before "a".

Where: `CompileLoss.build` in keras/src/trainers/compile_utils.py catches the ValueError of
`tree.assert_same_structure(loss, loss_weights)`, and packs the flattened weights into the
losses by position. What would fix it: if both are dicts, the KeyError that a wrong key in
`loss` already gets.
"""

import keras
import numpy as np

inputs = keras.Input((1,))
identity = keras.layers.Identity
model = keras.Model(inputs, {"a": identity()(inputs), "b": identity()(inputs)})
model.compile(loss={"a": "mae", "b": "mae"}, loss_weights={"a": 1, "A": 100})
x = np.ones((2, 1))
logs = model.evaluate(x, {"a": x - 1, "b": x}, verbose=0, return_dict=True)
print("the loss of a is", logs["a_loss"], "and of b", logs["b_loss"])
print("the total is", logs["loss"])
