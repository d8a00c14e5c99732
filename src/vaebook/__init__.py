"""The tested package behind the book *Where the KL Loss Goes*.

Import this package before Keras or TensorFlow: it silences the lines that TensorFlow
writes while it starts, which would otherwise land in a notebook's output. Importing
it does nothing else.
"""

import contextlib
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@contextlib.contextmanager
def _quiet_stderr():
    """Send file descriptor 2 to nowhere: TensorFlow logs there before its log level is read."""
    saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)


with _quiet_stderr():
    import tensorflow  # noqa: F401

__version__ = "0.1.0"
