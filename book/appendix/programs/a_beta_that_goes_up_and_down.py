"""Cyclic annealing: a callback that sets the weight of the KL term before each batch.

The weight is a `keras.Variable` that the losses hold. A plain number would be compiled into the
training step, and no callback could reach it.
"""

import keras
import numpy as np
from vaebook.losses import weight_from_beta
from vaebook.networks import NetworkSpec
from vaebook.routes import ROUTES


class Cycle(keras.callbacks.Callback):
    """Beta rises from 0 to 1 in the first half of each cycle, and stays there."""

    def __init__(self, weight, highest, batches):
        super().__init__()
        self.weight, self.highest, self.batches = weight, highest, batches
        self.step, self.seen = 0, []

    def on_train_batch_begin(self, batch, logs=None):
        beta = min(1.0, 2 * (self.step % self.batches) / self.batches)
        self.weight.assign(beta * self.highest)
        self.seen.append(beta)
        self.step += 1


spec = NetworkSpec(image_shape=(8, 8, 1), encoder_filters=(2, 2, 2), decoder_filters=(2, 2, 1))
weight = keras.Variable(0.0)
cycle = Cycle(weight, weight_from_beta(1, spec.image_shape, spec.latent_dim), batches=4)
model = ROUTES["direct_outputs"].build(spec, weight, seed=1)
x = np.random.default_rng(1).uniform(size=(8, 8, 8, 1)).astype("float32")
y = ROUTES["direct_outputs"].targets(x)
model.fit(x, y, batch_size=2, epochs=2, verbose=0, callbacks=[cycle])
print("beta of each batch:", cycle.seen)
