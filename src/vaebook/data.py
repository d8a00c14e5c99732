"""Images to train on: MNIST if it is available, and small digits if it is not."""

import hashlib
import os
import tempfile
import urllib.error
import urllib.request
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from sklearn.datasets import load_digits

MNIST_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
TIMEOUT = 5  # seconds without an answer, after which the network counts as unavailable

# SHA-256 of each array's bytes: the same for every genuine copy, however it was zipped.
MNIST_SHA256 = {
    "x_train": "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
    "y_train": "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
    "x_test": "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
    "y_test": "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
}
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error)
DIGITS_TRAIN = 1408  # of 1,797: eleven batches of 128


class ImageData(NamedTuple):
    """Images float32 (n, 28, 28, 1) in [0, 1], classes int64 (n,), and the set's name."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    name: str


class DatasetUnavailable(OSError):
    """A dataset is not on this machine and cannot be downloaded."""


def load_images(
    name: str = "auto", n_train: int | None = None, n_test: int | None = None
) -> ImageData:
    """Return the first n_train training and n_test test images of a dataset.

    Args:
        name: "mnist" (70,000 images; the file named by the environment variable
            `VAEBOOK_MNIST`, else Keras's cached copy, else a download into that cache);
            "digits" (scikit-learn's 1,797 images of 8 × 8 pixels, enlarged to 28 × 28); or
            "auto": MNIST, or the digits with a warning if MNIST is unavailable.
        n_train, n_test: how many images, from the start of the set; None for all. If "auto"
            falls back to the digits, which are fewer, it returns at most all of them.

    Raises:
        ValueError: for an unknown name, a count that is negative or larger than the set, or
            a file that is not the genuine MNIST; the message names the file.
        DatasetUnavailable: if name is "mnist" and MNIST is unavailable.

    Source: LeCun et al. (1998) for MNIST; the UCI repository for the digits.
    """
    if name not in ("auto", "mnist", "digits"):
        raise ValueError(f"Expected name 'auto', 'mnist' or 'digits'. Received: {name!r}.")
    for argument, count in (("n_train", n_train), ("n_test", n_test)):
        if count is not None and count < 0:
            raise ValueError(f"Expected {argument} ≥ 0 or None. Received: {argument}={count}.")
    if name == "digits":
        return _take(_digits(), n_train, n_test)
    try:
        return _take(_mnist(), n_train, n_test)
    except DatasetUnavailable as reason:
        if name == "mnist":
            raise
        warnings.warn(f"{reason} Using scikit-learn's digits instead.", stacklevel=2)
        digits = _digits()
        return _take(
            digits,
            None if n_train is None else min(n_train, len(digits.x_train)),
            None if n_test is None else min(n_test, len(digits.x_test)),
        )


def _take(data, n_train, n_test):
    for what, count, there in (
        ("training", n_train, len(data.x_train)),
        ("test", n_test, len(data.x_test)),
    ):
        if count is not None and count > there:
            raise ValueError(
                f"Expected at most the {there} {what} images of {data.name}. Received: {count}."
            )
    return ImageData(
        _pixels(data.x_train[:n_train]),
        data.y_train[:n_train].astype("int64"),
        _pixels(data.x_test[:n_test]),
        data.y_test[:n_test].astype("int64"),
        data.name,
    )


def _pixels(images):
    """float32 (n, 28, 28, 1) in [0, 1], from uint8 (n, 28, 28) or from float32 as it is."""
    if images.dtype == np.uint8:
        return images[..., np.newaxis].astype("float32") / 255
    return images


def _digits():
    bunch = load_digits()
    small = bunch.images[..., np.newaxis].astype("float32") / 16  # (1797, 8, 8, 1)
    large = keras.ops.image.resize(small, (28, 28), interpolation="bilinear")
    images = np.clip(keras.ops.convert_to_numpy(large), 0, 1)
    train, test = slice(None, DIGITS_TRAIN), slice(DIGITS_TRAIN, None)
    return ImageData(
        images[train], bunch.target[train], images[test], bunch.target[test], "digits"
    )


def _mnist():
    if named := os.environ.get("VAEBOOK_MNIST"):
        path = Path(named)
        if not path.is_file():
            raise ValueError(
                f"Expected the file mnist.npz named by VAEBOOK_MNIST. Received: {path}, "
                "which is not a file."
            )
        return _read_mnist(path)
    home = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))
    path = home / "datasets" / "mnist.npz"
    if not path.is_file():
        _download(MNIST_URL, path)
    return _read_mnist(path)


def _read_mnist(path, source=None):
    """Read the four arrays and check the SHA-256 of each; an error names the source."""
    source = source or f"{path}. Remove it, and it is downloaded again"
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in MNIST_SHA256}
    except (OSError, ValueError, TypeError, KeyError, EOFError, *_ZIP_ERRORS) as reason:
        raise ValueError(
            f"Expected the MNIST file, an archive of {list(MNIST_SHA256)}. Received a damaged "
            f"or different file ({type(reason).__name__}: {reason}): {source}."
        ) from reason
    for name, array in arrays.items():
        received = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
        if received != MNIST_SHA256[name]:
            raise ValueError(
                f"Expected the genuine MNIST, with {name} of SHA-256 {MNIST_SHA256[name]}. "
                f"Received a different {name}, of SHA-256 {received}: {source}."
            )
    return ImageData(**arrays, name="mnist")


def _download(url, path):
    """Download a file under a temporary name, check it, and only then rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="mnist-") as folder:
        partial = Path(folder, path.name)
        try:
            with (
                urllib.request.urlopen(url, timeout=TIMEOUT) as answer,
                open(partial, "wb") as file,
            ):
                while block := answer.read(1 << 20):
                    file.write(block)
        except (urllib.error.URLError, TimeoutError, ConnectionError) as reason:
            raise DatasetUnavailable(
                f"MNIST is not at {path} and cannot be downloaded ({reason}). "
                "Name a copy in the environment variable VAEBOOK_MNIST."
            ) from reason
        _read_mnist(partial, source=f"the download from {url}")
        partial.replace(path)
