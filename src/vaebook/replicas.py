"""The checks that need a process of their own: two replicas, and loading a saved model.

TensorFlow copes badly with a second set of replicas in one process, and can divide a
processor into devices only before its first use. So `check_on_replicas()` starts a process
that runs `python -m vaebook.replicas`. `check_reloading()` starts one that runs
`import vaebook` before it loads the models, and nothing that would register more.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from vaebook._small import (
    EXACT,
    IMAGES,
    SPEC,
    WEIGHT,
    build_small,
    cell,
    grey_images,
    reference_of,
)
from vaebook.heads import THREE_HEADS
from vaebook.reference import GradientKeeper, flat, relative_error
from vaebook.routes import ROUTES, Route
from vaebook.traps import TRAPS

TRAP_REPLICA_CHECKS = ("replicas", "replica_noise")
REPLICA_CHECKS = (*TRAP_REPLICA_CHECKS, "uneven_on_replicas", "xla_on_replicas")
"""The checks that need two replicas, and therefore a process of their own.

`replicas`: a and b of the gradient a · ∇reconstruction + b · ∇KL; right is 1, 1.
`replica_noise`: whether each replica draws its own noise.
`uneven_on_replicas`: for a last batch of 3 images, the factor of the mean gradient of the 2
images on one replica, and that of the 1 image on the other; right is ⅔, ⅓.
`xla_on_replicas`: whether `jit_compile=True` trains.

Traps are checked for the first two only.
"""


_LOAD_AND_TRAIN = """
import sys, vaebook, keras, numpy as np
folder, *names = sys.argv[1:]
for name in names:
    data = dict(np.load(f"{folder}/{name}.npz"))
    x, y = data.pop("x"), data.pop("y", None)
    try:
        model = keras.saving.load_model(f"{folder}/{name}.keras", safe_mode=True)
    except (TypeError, ValueError) as error:
        np.savez(f"{folder}/{name}.npz", error=type(error).__name__)
        continue
    loss = model.train_on_batch(x, data if y is None else y, return_dict=True)["loss"]
    np.savez(f"{folder}/{name}.npz", loss, *model.get_weights())
"""


def check_reloading(routes: Mapping[str, Route]) -> dict[str, dict[str, Any]]:
    """Save a model of each route, go on training in another process, return cells by name.

    Before that process loads the models in safe mode, it runs `import vaebook` and nothing
    else that would register their classes.

    Args:
        routes: routes or traps by name.

    Raises:
        RuntimeError: if that process fails.
    """
    x, models = grey_images(), {}
    with tempfile.TemporaryDirectory() as folder:
        for name, route in routes.items():
            models[name] = model = build_small(route, run_eagerly=True)
            y = route.targets(x)
            model.train_on_batch(x, y)
            model.reset_metrics()
            model.save(f"{folder}/{name}.keras")
            np.savez(f"{folder}/{name}.npz", x=x, **(y if isinstance(y, dict) else {"y": y}))
        _run("-c", _LOAD_AND_TRAIN, folder, *models)
        answers = {name: dict(np.load(f"{folder}/{name}.npz")) for name in models}
    return {name: _reloaded(routes[name], models[name], answers[name]) for name in models}


def _reloaded(route, model, answer):
    """Go on training the model here, and compare with what the other process found."""
    if "error" in answer:
        return cell(False, str(answer["error"]))
    x = grey_images()
    loss = model.train_on_batch(x, route.targets(x), return_dict=True)["loss"]
    error = relative_error(list(answer.values()), [np.array(loss), *model.get_weights()])
    return cell(error < EXACT, "goes on" if error < EXACT else "loads and differs", error)


def _run(*arguments):
    """Run Python in a process of its own; return what it prints."""
    answer = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
    if answer.returncode:
        raise RuntimeError(f"Expected the process to succeed. Received: {answer.stderr}")
    return answer.stdout


def check_on_replicas(*names: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Train routes and traps on two replicas; return cells by name and behaviour.

    Args:
        names: of routes and traps, or "three_heads"; without any, every route and trap.

    Raises:
        RuntimeError: if the process that trains them fails.
    """
    return json.loads(_run("-m", "vaebook.replicas", *names).splitlines()[-1])


def _built_on_replicas(strategy, route, batches):
    """Build a model; return it, its optimizer, and the noise that each replica will draw.

    `batches` are pairs: how many images of a batch the first and the second replica get.
    """
    with strategy.scope():
        keeper = GradientKeeper()
        model = build_small(route, optimizer=keeper)
    sampling = model.get_layer("encoder").get_layer("z")
    state = sampling.seed_generator.state.numpy()

    @tf.function
    def draw():
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        return [
            sampling.noise((tf.constant(shares)[replica], SPEC.latent_dim))
            for shares in batches
        ]

    drawn = [[value.numpy() for value in noise.values] for noise in strategy.run(draw)]
    with strategy.scope():
        sampling.seed_generator.state.assign(state)
    return model, keeper, drawn


def _fit(gradient, parts):
    """Return the least-squares factors of some gradients, and whether they explain one."""
    matrix, received = np.stack([flat(part) for part in parts], axis=1), flat(gradient)
    factors, *_ = np.linalg.lstsq(matrix, received)
    rest = np.linalg.norm(matrix @ factors - received) / np.linalg.norm(received)
    return [float(factor) for factor in factors], bool(rest < EXACT)


def _cells_of_an_even_batch(strategy, route):
    """Fit the gradient of a batch of 8 images on two replicas."""
    x, half = grey_images(), IMAGES // 2
    model, keeper, [drawn] = _built_on_replicas(strategy, route, [(half, half)])
    noise = np.concatenate(drawn)
    # Not train_on_batch, which hands the whole batch to each replica.
    model.fit(x, route.targets(x), batch_size=IMAGES, shuffle=False, verbose=0)
    parts = [
        reference_of(route)(model.get_weights(), x, noise, *factors)[1]
        for factors in ((1.0, 0.0), (0.0, WEIGHT))
    ]
    (a, b), fits = _fit(keeper.kept, parts)
    # The gradients of this noise were fitted: if the fit fails, the training step drew other
    # noise.
    differs = fits and not np.array_equal(*drawn)
    shows = f"{a:.3f}, {b:.3f}" if fits else "no combination of the two"
    return {
        "replicas": cell(fits and np.allclose((a, b), 1, atol=1e-5), shows, [a, b]),
        "replica_noise": cell(differs, "differs" if differs else "same or unknown"),
    }


def _cell_of_an_uneven_batch(strategy, route):
    """Fit the gradient of a last batch of 3 images, 2 for one replica and 1 for the other."""
    x = np.concatenate([grey_images(), grey_images()[:3]])
    half = IMAGES // 2
    model, keeper, drawn = _built_on_replicas(strategy, route, [(half, half), (2, 1)])
    model.fit(x, route.targets(x), batch_size=IMAGES, shuffle=False, verbose=0)
    parts = [
        reference_of(route)(model.get_weights(), share, noise, 1.0, WEIGHT)[1]
        for share, noise in zip((x[-3:-1], x[-1:]), drawn[-1], strict=True)
    ]
    factors, fits = _fit(keeper.kept, parts)
    right = fits and np.allclose(factors, (2 / 3, 1 / 3), atol=1e-5)
    shows = "{:.3f}, {:.3f}".format(*factors) if fits else "no combination of the two"
    return cell(right, shows, factors)


def _cell_of_xla(strategy, route):
    x = grey_images()
    with strategy.scope():
        model = build_small(route, jit_compile=True)
    try:
        model.fit(x, route.targets(x), batch_size=IMAGES, verbose=0)
    except tf.errors.InvalidArgumentError as error:
        return cell(False, type(error).__name__)
    return cell(True, "trains")


def _on_two_replicas(names):
    """Print the cells of the named routes and traps as one line of JSON."""
    known = {**ROUTES, **TRAPS, THREE_HEADS.name: THREE_HEADS}
    routes = {name: known[name] for name in names or [*ROUTES, *TRAPS]}
    tf.get_logger().setLevel("ERROR")  # it warns of many models; here they are intended
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, 2 * [tf.config.LogicalDeviceConfiguration()]
    )
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    cells = {name: _cells_of_an_even_batch(strategy, each) for name, each in routes.items()}
    for name in [name for name in ROUTES if name in routes]:
        route = routes[name]
        cells[name]["uneven_on_replicas"] = _cell_of_an_uneven_batch(strategy, route)
        cells[name]["xla_on_replicas"] = _cell_of_xla(strategy, route)
    print(json.dumps(cells))


if __name__ == "__main__":
    _on_two_replicas(sys.argv[1:])
