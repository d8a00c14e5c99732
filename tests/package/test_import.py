"""What `import vaebook` does, in a process of its own."""

import os
import subprocess
import sys

import pytest


def run(code, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **environment},
    )


def test_importing_the_package_imports_what_models_are_made_of_and_is_silent():
    ended = run("import sys, vaebook; print(*(n for n in sys.modules if 'vaebook.' in n))")
    imported = {name.removeprefix("vaebook.") for name in ended.stdout.split()}
    needed = {"losses", "layers", "metrics", "models", "networks", "routes", "targets"}
    assert imported == needed | {"_checks"}
    assert ended.stderr == ""


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_another_backend_is_refused_in_one_sentence(backend):
    ended = run("import vaebook", KERAS_BACKEND=backend)
    assert ended.stderr.splitlines()[-1] == (
        "ImportError: Expected Keras on TensorFlow (KERAS_BACKEND=tensorflow, set before "
        f"Python starts). Received: backend {backend!r}."
    )
