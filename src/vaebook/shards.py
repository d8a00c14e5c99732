"""Images in files that are read while a model trains, with a checksum for each file.

A folder holds shards, TFRecord files with one image a record, and `index.json`, which names
them. Only a part of the images is in memory at any time. What is missing or damaged is named
before training begins; if it happens during training, `naming_damage` names it. TensorFlow
takes a file that was cut off between two records for one that ends there, so the images are
counted, too.
"""

import contextlib
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from vaebook._checks import whole

INDEX = "index.json"


def write_shards(
    batches: np.ndarray | Iterable[np.ndarray], folder: str | Path, images_per_shard: int
) -> dict[str, Any]:
    """Write images into shards, and return their index.

    All of it is written in a temporary folder beside, which is renamed at the end. If writing
    fails, nothing is left behind.

    Args:
        batches: images uint8, shape (n, height, width, channels), or an iterable of such
            arrays, which need not fit into memory together.
        folder: where to write; it must not exist.
        images_per_shard: the number of images in a shard; the last one may hold fewer.

    Returns:
        A dict of `image_shape`, `images`, and `shards`: a list of dicts of `name`, `images`,
        `bytes` and `sha256`.

    Raises:
        FileExistsError: if the folder exists.
        TypeError: if the images are not uint8.
        ValueError: if there are none, they are not of one shape, or images_per_shard < 1.

    Source: chapter 18.
    """
    folder = Path(folder)
    images_per_shard = whole("images_per_shard", images_per_shard)
    if folder.exists():
        raise FileExistsError(f"Expected a folder that does not exist. Received: {folder}.")
    if isinstance(batches, np.ndarray):
        batches = [batches]
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f"{folder.name}-"))
    try:
        index = _write(batches, beside, images_per_shard)
        (beside / INDEX).write_text(json.dumps(index, indent=1) + "\n", "utf8")
        beside.rename(folder)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    return index


def _write(batches, folder, images_per_shard):
    shape, shards, writer, count = None, [], None, 0
    for images in batches:
        images = np.asarray(images)
        if images.dtype != np.uint8:
            raise TypeError(f"Expected images of uint8. Received: {images.dtype}.")
        shape = shape or images.shape[1:]
        if images.ndim != 4 or images.shape[1:] != shape:
            raise ValueError(
                "Expected images of one shape, (n, height, width, channels). "
                f"Received: {images.shape}, after images of shape {shape}."
            )
        for image in images:
            if writer is None:
                path = folder / f"images-{len(shards):05}.tfrecord"
                writer, count = tf.io.TFRecordWriter(str(path)), 0
            writer.write(image.tobytes())
            count += 1
            if count == images_per_shard:
                writer.close()
                shards.append(_described(path, count))
                writer = None
    if writer is not None:
        writer.close()
        shards.append(_described(path, count))
    if not shards:
        raise ValueError("Expected at least one image. Received: none.")
    total = sum(shard["images"] for shard in shards)
    return {"image_shape": list(shape), "images": total, "shards": shards}


def _described(path, images):
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    size = path.stat().st_size
    return {"name": path.name, "images": images, "bytes": size, "sha256": digest}


def check_shards(folder: str | Path) -> dict[str, Any]:
    """Compare each shard with its checksum, and return the index.

    Args:
        folder: what `write_shards` wrote.

    Raises:
        FileNotFoundError: if the index or a shard is missing; the message names it.
        ValueError: if the index is not one, or a shard is damaged; the message names it.

    Source: chapter 18.
    """
    folder = Path(folder)
    index = _read_index(folder)
    missing = [
        each["name"] for each in index["shards"] if not (folder / each["name"]).is_file()
    ]
    if missing:
        raise FileNotFoundError(
            f"Expected {len(index['shards'])} shards in {folder}. Missing: {missing}."
        )
    for shard in index["shards"]:
        found = _described(folder / shard["name"], shard["images"])
        if found != shard:
            differs = "bytes" if found["bytes"] != shard["bytes"] else "sha256"
            raise ValueError(
                f"Expected {shard['name']} with {differs} {shard[differs]}, as {INDEX} says. "
                f"Received a damaged file, with {differs} {found[differs]}: "
                f"{folder / shard['name']}."
            )
    return index


def _read_index(folder):
    path = folder / INDEX
    if not path.is_file():
        raise FileNotFoundError(f"Expected the index of the shards. Missing: {path}.")
    try:
        index = json.loads(path.read_text("utf8"))
        shape = [whole("image_shape", size) for size in index["image_shape"]]
        for shard in index["shards"]:
            Path(shard["name"]), shard["bytes"], shard["sha256"], shard["images"]
        if not index["shards"] or len(shape) != 3:
            raise ValueError("it lists no shards, or no image shape")
    except (ValueError, TypeError, KeyError) as reason:
        raise ValueError(
            f"Expected an index that write_shards wrote. Received: {path} "
            f"({type(reason).__name__}: {reason})."
        ) from reason
    return index


def stream_images(
    folder: str | Path, batch_size: int, buffer: int = 2048, seed: int | None = None
) -> tf.data.Dataset:
    """Return batches of images that are read from shards, in a new order in each epoch.

    The shards come in random order, and a buffer mixes the images of shards that are near
    each other. A dataset of it has as many batches as the images fill, the last one smaller.
    Before anything is read, all shards are compared with their checksums.

    Args:
        folder: what `write_shards` wrote.
        batch_size: the number of images in a batch.
        buffer: how many images wait in memory to be drawn from; 1 keeps the stored order
            within a shard.
        seed: an integer, or None for orders that follow `keras.utils.set_random_seed`.

    Returns:
        A dataset of float32 images in [0, 1], shape (batch, height, width, channels). Map
        `vaebook.targets.add_prior_targets` on it to get what `fit` takes.

    Raises:
        FileNotFoundError, ValueError: as for `check_shards`; ValueError for batch_size or
            buffer < 1.

    Source: chapter 18.
    """
    batch_size, buffer = whole("batch_size", batch_size), whole("buffer", buffer)
    index = check_shards(folder)
    paths = [str(Path(folder, shard["name"])) for shard in index["shards"]]
    height, width, channels = index["image_shape"]

    def to_images(records):
        flat = tf.io.decode_raw(records, tf.uint8)
        return tf.cast(tf.reshape(flat, (-1, height, width, channels)), tf.float32) / 255

    names = tf.data.Dataset.from_tensor_slices(paths).shuffle(len(paths), seed=seed)
    records = names.interleave(tf.data.TFRecordDataset, cycle_length=2, block_length=16)
    counted = tf.data.experimental.assert_cardinality(index["images"])
    batches = records.apply(counted).shuffle(buffer, seed=seed).batch(batch_size)
    return batches.map(to_images).prefetch(1)


@contextlib.contextmanager
def naming_damage(folder: str | Path) -> Iterator[None]:
    """Name the shard if reading fails inside: TensorFlow's error gives a place, and no file.

    Args:
        folder: the folder that the dataset inside reads from.

    Raises:
        FileNotFoundError, ValueError: as for `check_shards`, from TensorFlow's own error.

    Source: chapter 18.
    """
    try:
        yield
    except (
        tf.errors.DataLossError,
        tf.errors.NotFoundError,
        tf.errors.FailedPreconditionError,  # fewer images than the index counts
        tf.errors.InvalidArgumentError,  # or more
    ) as error:
        try:
            check_shards(folder)
        except (FileNotFoundError, ValueError) as reason:
            raise reason from error
        raise
