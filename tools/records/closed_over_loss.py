"""Try the textbook recipe under Keras 2.

A loss closes over the encoder's symbolic tensors. Chapter 3 runs it under this book's Keras,
and shows from the record how Keras 2, as tf_keras, answers in three modes: compiled, eager,
and with TensorFlow's eager execution switched off, as in TensorFlow 1. The book does not need
tf_keras, so it is installed in a temporary folder. This takes a few minutes.
"""

import json
import os
import subprocess

from keras2 import interpreter, said

SETTINGS = {"seed": 3}

# This program runs in the other interpreter, once for each mode of execution.
CHILD = """
import json, sys
import numpy as np
import tensorflow as tf
from importlib.metadata import version

mode = sys.argv[1]
if mode == "eager execution disabled":
    tf.compat.v1.disable_eager_execution()
import tf_keras as keras
from tf_keras import layers

tf.random.set_seed(3)
image = keras.Input((8, 8, 1))
features = layers.Dense(8, activation="relu")(layers.Flatten()(image))
mu = layers.Dense(2, name="mu")(features)
log_var = layers.Dense(2, name="log_var")(features)

def draw_z(heads):
    return heads[0] + tf.exp(heads[1] / 2) * tf.random.normal(tf.shape(heads[0]))

pixels = layers.Dense(64, activation="sigmoid")(layers.Lambda(draw_z)([mu, log_var]))
model = keras.Model(image, layers.Reshape((8, 8, 1))(pixels))

def closed_over_loss(target, reconstruction):
    crossentropy = tf.reduce_mean(keras.losses.binary_crossentropy(target, reconstruction))
    k = tf.square(mu) + tf.exp(log_var) - 1 - log_var
    return crossentropy + 1e-3 * tf.reduce_mean(k)

options = {"run_eagerly": True} if mode == "run_eagerly=True" else {}
model.compile("adam", loss=closed_over_loss, **options)
x = np.random.default_rng(3).uniform(size=(64, 8, 8, 1)).astype("float32")
answer = {
    "mode": mode,
    "tensor": type(mu).__name__,
    "versions": {name: version(name) for name in ("tensorflow", "tf_keras")},
}
try:
    model.fit(x, x, verbose=0)
except Exception as error:
    answer["error"], answer["message"] = type(error).__name__, str(error)
print(json.dumps(answer))
"""
MODES = ("fit as it is", "run_eagerly=True", "eager execution disabled")


def ask(python, mode):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [python, "-c", CHILD, mode], check=True, capture_output=True, text=True, env=environment
    )
    answer = json.loads(done.stdout.splitlines()[-1])
    if "message" in answer:
        answer["message"] = said(answer["message"])
    print(f"{mode:26} {answer.get('error', 'runs')}", flush=True)
    return answer


def measure():
    with interpreter() as python:
        runs = [ask(python, mode) for mode in MODES]
    versions = [run.pop("versions") for run in runs]
    return {"versions": versions[0], "runs": runs}
