"""Images in shards: whole, in order and out of it, damaged, missing, written again."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from vaebook.shards import INDEX, check_shards, naming_damage, stream_images, write_shards

# 23 images of 2 × 2 pixels: every pixel of image i is i.
IMAGES = np.repeat(np.arange(23, dtype="uint8"), 4).reshape(23, 2, 2, 1)


@pytest.fixture
def folder(tmp_path):
    write_shards(IMAGES, tmp_path / "images", images_per_shard=10)
    return tmp_path / "images"


def numbers(dataset):
    """Return which images came, in the order in which they came."""
    return [round(255 * value) for batch in dataset for value in batch.numpy()[:, 0, 0, 0]]


def test_each_shard_has_its_share_and_a_checksum(folder):
    index = json.loads((folder / INDEX).read_text())
    assert [shard["images"] for shard in index["shards"]] == [10, 10, 3]
    assert (index["images"], index["image_shape"]) == (23, [2, 2, 1])
    assert check_shards(folder) == check_shards(str(folder)) == index


def test_every_image_comes_once_in_each_epoch_and_in_another_order(folder):
    dataset = stream_images(folder, batch_size=4, seed=1)
    one, other = numbers(dataset), numbers(dataset)
    assert sorted(one) == sorted(other) == list(range(23))
    assert one != other
    assert numbers(stream_images(folder, batch_size=4, seed=1)) == one


def test_a_batch_is_float32_in_0_to_1_and_the_last_one_is_smaller(folder):
    batches = list(stream_images(folder, batch_size=4))
    assert [len(batch) for batch in batches] == [4, 4, 4, 4, 4, 3]
    assert all(batch.dtype == tf.float32 and batch.shape[1:] == (2, 2, 1) for batch in batches)
    assert len(stream_images(folder, batch_size=4)) == 6


def test_a_stream_of_arrays_gives_the_same_files_as_one_array(folder, tmp_path):
    parts = (IMAGES[start : start + 7] for start in range(0, 23, 7))
    assert write_shards(parts, tmp_path / "again", images_per_shard=10) == check_shards(folder)


def test_a_missing_shard_is_refused_by_name(folder):
    (folder / "images-00001.tfrecord").unlink()
    with pytest.raises(FileNotFoundError, match=r"Missing: \['images-00001.tfrecord'\]"):
        stream_images(folder, batch_size=4)


def test_a_missing_index_is_refused_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Missing: .*index\.json"):
        check_shards(tmp_path)


@pytest.mark.parametrize("text", ["", "{}", '{"image_shape": [2, 2, 1], "shards": []}', "[1]"])
def test_a_file_that_is_no_index_is_refused(folder, text):
    (folder / INDEX).write_text(text)
    with pytest.raises(ValueError, match=r"Expected an index .* Received: .*index\.json"):
        check_shards(folder)


def damage(path):
    """Flip one bit of the last image."""
    data = bytearray(path.read_bytes())
    data[-6] ^= 1  # four bytes of checksum follow the image
    path.write_bytes(data)


def test_a_damaged_record_is_refused_by_the_name_of_its_shard(folder):
    damage(folder / "images-00002.tfrecord")
    with pytest.raises(ValueError, match=r"Expected images-00002\.tfrecord with sha256"):
        stream_images(folder, batch_size=4)


def test_a_shard_that_was_cut_off_is_refused_by_its_size(folder):
    path = folder / "images-00000.tfrecord"
    path.write_bytes(path.read_bytes()[:-20])  # one record less: TensorFlow would not notice
    with pytest.raises(ValueError, match=r"Expected images-00000\.tfrecord with bytes 200"):
        stream_images(folder, batch_size=4)


def tiny_model(steps_per_execution=1):
    model = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", steps_per_execution=steps_per_execution)
    return model


def test_damage_during_training_is_named(folder):
    batches = stream_images(folder, batch_size=4).map(lambda images: (images, images))
    damage(folder / "images-00002.tfrecord")
    with pytest.raises(ValueError, match=r"images-00002\.tfrecord") as error:
        with naming_damage(folder):
            tiny_model().fit(batches, shuffle=False, verbose=0)
    assert isinstance(error.value.__cause__, tf.errors.DataLossError)


@pytest.mark.parametrize("steps_per_execution", [1, 2])
@pytest.mark.parametrize("cut", [20, 10], ids=["a whole record", "a part of its head is left"])
def test_a_shard_that_is_cut_off_during_training_is_named(folder, cut, steps_per_execution):
    batches = stream_images(folder, batch_size=4).map(lambda images: (images, images))
    path = folder / "images-00000.tfrecord"
    path.write_bytes(path.read_bytes()[:-cut])
    assert len(list(tf.data.TFRecordDataset(str(path)))) == 9  # TensorFlow does not notice
    with pytest.raises(ValueError, match=r"Expected images-00000\.tfrecord with bytes 200"):
        with naming_damage(folder):
            tiny_model(steps_per_execution).fit(batches, shuffle=False, verbose=0)


def test_a_shard_that_disappears_during_training_is_named(folder):
    batches = stream_images(folder, batch_size=4)
    (folder / "images-00002.tfrecord").unlink()
    with pytest.raises(FileNotFoundError, match="images-00002"), naming_damage(folder):
        numbers(batches)


def test_another_error_passes_as_it_is(folder):
    with pytest.raises(tf.errors.InvalidArgumentError), naming_damage(folder):
        tf.linalg.inv([[0.0]])


def test_a_folder_that_exists_is_left_as_it_is(folder):
    before = sorted((path.name, path.read_bytes()) for path in folder.iterdir())
    with pytest.raises(FileExistsError, match="Expected a folder that does not exist"):
        write_shards(IMAGES[:1], folder, images_per_shard=10)
    assert sorted((path.name, path.read_bytes()) for path in folder.iterdir()) == before


def test_writing_that_fails_leaves_nothing_behind(tmp_path):
    def broken():
        yield IMAGES
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        write_shards(broken(), tmp_path / "images", images_per_shard=10)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (IMAGES / 255, TypeError, "Expected images of uint8. Received: float64"),
        ([IMAGES, IMAGES[:, :1]], ValueError, r"of one shape.*Received: \(23, 1, 2, 1\)"),
        (IMAGES[0], ValueError, "of one shape"),
        (IMAGES[:0], ValueError, "at least one image"),
    ],
    ids=["floats", "two shapes", "one image", "none"],
)
def test_images_that_cannot_be_written_are_refused(tmp_path, images, error, message):
    with pytest.raises(error, match=message):
        write_shards(images, tmp_path / "images", images_per_shard=10)
    assert list(tmp_path.iterdir()) == []


def test_sizes_below_one_are_refused(folder, tmp_path):
    with pytest.raises(ValueError, match="Expected images_per_shard ≥ 1"):
        write_shards(IMAGES, tmp_path / "more", images_per_shard=0)
    with pytest.raises(ValueError, match="Expected batch_size ≥ 1"):
        stream_images(folder, batch_size=0)
    with pytest.raises(ValueError, match="Expected buffer ≥ 1"):
        stream_images(folder, batch_size=4, buffer=0)
