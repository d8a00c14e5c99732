"""Two networks, two losses, two optimizers in one `train_step`, as in a GAN.

One tape may be asked for several gradients if it is persistent. Give each optimizer the
variables of its own network, and build it with these. `fit` runs the rest.
"""

import keras
import numpy as np
import tensorflow as tf
from keras import ops


class Pair(keras.Model):
    def __init__(self):
        super().__init__()
        self.maker, self.judge = keras.layers.Dense(1), keras.layers.Dense(1)
        self.trackers = [keras.metrics.Mean(name=name) for name in ("maker", "judge")]

    def build(self, input_shape):
        for layer in (self.maker, self.judge):
            layer.build((None, 1))

    def compile(self, maker_optimizer, judge_optimizer):
        super().compile()
        self.optimizers = [maker_optimizer, judge_optimizer]

    def train_step(self, real):
        networks = (self.maker, self.judge)
        with tf.GradientTape(persistent=True) as tape:
            made = self.judge(self.maker(ops.ones_like(real)))
            losses = (-ops.mean(made), ops.mean(made) - ops.mean(self.judge(real)))
        for network, loss, optimizer, tracker in zip(
            networks, losses, self.optimizers, self.trackers, strict=True
        ):
            gradients = tape.gradient(loss, network.trainable_variables)
            optimizer.apply(gradients, network.trainable_variables)
            tracker.update_state(loss)
        return {tracker.name: tracker.result() for tracker in self.trackers}


real = np.ones((8, 1), "float32")
model = Pair()
model.compile(keras.optimizers.SGD(0.0), keras.optimizers.SGD(0.1))
model.build(real.shape)
before = [layer.get_weights()[0] for layer in (model.maker, model.judge)]
history = model.fit(real, verbose=0).history
after = [layer.get_weights()[0] for layer in (model.maker, model.judge)]
print("in the log:", *sorted(history))
print("moved with rate 0:  ", bool((before[0] != after[0]).any()))
print("moved with rate 0.1:", bool((before[1] != after[1]).any()))
