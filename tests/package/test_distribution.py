"""Two processes on one machine train as one process does."""

import json
import os
import socket
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from vaebook._small import SPEC
from vaebook.distribution import fit_on, mirrored_strategy
from vaebook.routes import ROUTES
from vaebook.shards import write_shards

# A straight line through seven points, (w·i + b − 3·i)². The batches are of four points and
# of three: of the three, one worker gets two.
WORKER = """
import tensorflow as tf
strategy = tf.distribute.MultiWorkerMirroredStrategy()
import json
import sys
import keras
import numpy as np
from vaebook.distribution import fit_on
from vaebook.models import mean_over_the_whole_batch
from vaebook.shards import stream_images

class Line(keras.Model):
    def __init__(self):
        super().__init__()
        self.line = keras.layers.Dense(1, kernel_initializer="zeros")
        self.tracker = keras.metrics.Mean(name="loss")
        self.build((None, 1))

    def build(self, input_shape):
        self.line.build(input_shape)
        super().build(input_shape)

    def call(self, x):
        return self.line(x)

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            values = tf.square(self(x) - y)[:, 0]
            loss = mean_over_the_whole_batch(values)
        variables = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, variables), variables)
        self.tracker.update_state(values)
        return {}

    @property
    def metrics(self):
        return [self.tracker]

x = np.arange(7.0, dtype="float32")[:, np.newaxis]
batches = tf.data.Dataset.from_tensor_slices((x, 3 * x)).batch(4)
with strategy.scope():
    model = Line()
    model.compile(keras.optimizers.SGD(0.01), jit_compile=False)
history = fit_on(strategy, model, batches, epochs=2)
try:
    model.fit(batches, shuffle=False, verbose=0)
    said = "trains"
except ValueError as error:
    said = str(error)
answer = {"weights": [w.item() for w in model.get_weights()], **history, "fit": said}

answer["seen"] = []
for folder in sys.argv[1:]:
    shared = strategy.experimental_distribute_dataset(stream_images(folder, 4, seed=1))
    own = [strategy.experimental_local_results(batch)[0].numpy() for batch in shared]
    answer["seen"].append([round(255 * image[0, 0, 0].item()) for b in own for image in b])
print(json.dumps(answer))
"""


def on_two_workers(program, folder, *arguments):
    """Run a program in two processes that know of each other; return what each prints last.

    If one of them fails, the other waits for it: hence the timeout. Errors go to a file, since
    a pipe that nobody reads fills up, and stops the process.
    """
    sockets = [socket.create_server(("localhost", 0)) for _ in range(2)]
    workers = [f"localhost:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    processes = []
    for index in range(2):
        cluster = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        with open(folder / f"errors-{index}", "w") as errors:
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-c", program, *arguments],
                    env={**os.environ, "TF_CONFIG": json.dumps(cluster)},
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    text=True,
                )
            )
    answers, end = [], time.monotonic() + 300
    try:
        for index, process in enumerate(processes):
            out, _ = process.communicate(timeout=max(1, end - time.monotonic()))
            assert process.returncode == 0, (folder / f"errors-{index}").read_text()[-3000:]
            answers.append(json.loads(out.splitlines()[-1]))
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return answers


def test_two_workers_train_as_one_process_where_fit_stops(tmp_path):
    x = tf.range(7.0)[:, tf.newaxis]
    layer = keras.layers.Dense(1, kernel_initializer="zeros")
    model = keras.Sequential([keras.Input((1,)), layer])
    model.compile(keras.optimizers.SGD(0.01), loss="mse")
    fitted = model.fit(x, 3 * x, batch_size=4, shuffle=False, epochs=2, verbose=0)
    # Twelve images of 2 × 2 pixels, every pixel of image i is i.
    images = np.repeat(np.arange(12, dtype="uint8"), 4).reshape(12, 2, 2, 1)
    write_shards(images, tmp_path / "images", images_per_shard=3)
    one, other = on_two_workers(WORKER, tmp_path, str(tmp_path / "images"))
    for seen in zip(one.pop("seen"), other.pop("seen"), strict=True):
        assert [len(each) for each in seen] == [6, 6]
        assert sorted(seen[0] + seen[1]) == list(range(12))
    assert {**one, "fit": ""} == {**other, "fit": ""}
    assert one["weights"] == pytest.approx([w.item() for w in model.get_weights()], rel=1e-6)
    assert one["loss"] == pytest.approx(fitted.history["loss"], rel=1e-6)
    assert all(
        each["fit"].startswith("Attempt to convert a value (PerR") for each in (one, other)
    )


@pytest.mark.parametrize("devices", [[], ["GPU:7"], ["CPU:0", "GPU:7"], ["CPU:0", "CPU:0"]])
def test_devices_that_are_not_there_are_refused_by_name(devices):
    with pytest.raises(
        ValueError, match=r"Expected devices out of \['CPU:0'.*Received: "
    ) as error:
        mirrored_strategy(devices)
    assert str(error.value).endswith(f"Received: devices={devices}.")


def test_a_model_of_another_strategy_is_refused():
    strategy = mirrored_strategy(["CPU:0"])
    model = ROUTES["train_step"].build(SPEC, seed=1)
    with pytest.raises(ValueError, match="in the scope of the strategy"):
        fit_on(strategy, model, tf.data.Dataset.range(1))


def test_a_loop_on_one_device_trains_as_fit_does():
    route, strategy = ROUTES["train_step"], mirrored_strategy(["CPU:0"])
    images = tf.random.stateless_uniform((7, *SPEC.image_shape), (1, 2))
    batches = tf.data.Dataset.from_tensor_slices(images).batch(4)
    alone = route.build(SPEC, seed=1, optimizer="sgd")
    logs = alone.fit(batches, shuffle=False, epochs=2, verbose=0).history
    with strategy.scope():
        model = route.build(SPEC, seed=1, optimizer="sgd")
    history = fit_on(strategy, model, batches, epochs=2)
    assert sorted(history) == sorted(logs)
    for name, values in history.items():
        assert values == pytest.approx(logs[name], rel=1e-5), name
