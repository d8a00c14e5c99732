"""The tested package behind the book *Where the KL Loss Goes*.

Import this package before Keras or TensorFlow: it silences the lines that TensorFlow
writes while it starts, which would otherwise land in a notebook's output.

Importing it also registers the classes that a saved model of this book may contain, so that
`keras.saving.load_model` needs nothing else.
"""

import contextlib
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@contextlib.contextmanager
def _quiet_stderr():
    """Discard what is written to file descriptor 2.

    TensorFlow's libraries log there while they load, before they read any log level. With
    TensorFlow 2.21, neither TF_CPP_MIN_LOG_LEVEL, GLOG_minloglevel, ABSL_MIN_LOG_LEVEL nor
    CUDA_VISIBLE_DEVICES=-1 suppressed a line. TF_ENABLE_ONEDNN_OPTS=0 suppressed one, but it
    changes results. The lines do not pass through `sys.stderr`.
    """
    saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)


def _refuse_backend(backend):
    if backend != "tensorflow":
        raise ImportError(
            "Expected Keras on TensorFlow (KERAS_BACKEND=tensorflow, set before Python "
            f"starts). Received: backend {backend!r}."
        )


_refuse_backend(os.environ.get("KERAS_BACKEND", "tensorflow"))  # it may not be installed

with _quiet_stderr():
    import tensorflow  # noqa: F401

import keras  # noqa: E402

_refuse_backend(keras.config.backend())

# Each registers its classes under "vaebook" for loading.
from vaebook import layers, losses, metrics, models, routes  # noqa: E402

__version__ = "0.1.0"
