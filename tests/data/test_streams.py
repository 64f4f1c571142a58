"""Splits that are too large for memory: the same batches, read from disk by worker processes."""

import tracemalloc

import keras
import numpy as np
import pytest
from PIL import Image

from tfflows import data
from tfflows.data.pipeline import open_split
from tfflows.data.split import HeldSplit, StoredSplit
from tfflows.data.stream import OrderedBatches, ShuffledBatches
from tfflows.errors import DataError, InputError
from tfflows.flow.batches import one_sentence
from tfflows.zoo.recipe import DataConfig

RECIPE = DataConfig("images", (8, 8, 1), num_values=32, crop=(9, 9), flip=True)
BATCH = 12


def write_folder(folder):
    """60 images of two sizes, of which 48 train."""
    folder.mkdir()
    random = np.random.RandomState(0)
    for index in range(60):
        Image.fromarray(random.randint(0, 256, (9 + index % 2, 12), np.uint8)).save(folder / f"{index:02}.png")
    return folder


def write_npz(path, write=np.savez):
    images = np.random.RandomState(1).randint(0, 256, (48, 9, 10)).astype("uint8")
    with path.open("wb") as file:
        parts = {"train": np.asfortranarray(images), "validation": images[:9], "test": images[:9]}
        write(file, **parts, train_label=np.arange(48) % 3)
    return path


@pytest.fixture
def on_disk(monkeypatch):
    """Returns a function that opens a split which memory has no room for."""

    def stored(*args, **kwargs):
        monkeypatch.setenv("TFFLOWS_IN_MEMORY_GB", "0")
        found = open_split(*args, **kwargs)
        monkeypatch.delenv("TFFLOWS_IN_MEMORY_GB")
        assert isinstance(found, StoredSplit)
        return found

    return stored


def same(batch, expected):
    assert batch.keys() == expected.keys()
    for key, array in batch.items():
        assert array.dtype == expected[key].dtype
        np.testing.assert_array_equal(array, expected[key])


@pytest.mark.backend_free
@pytest.mark.parametrize("make", [write_folder, write_npz])
def test_batches_from_disk_are_those_from_memory(tmp_path, monkeypatch, make):
    path = make(tmp_path / "images")
    held = open_split(RECIPE, "train", path=path)
    assert isinstance(held, HeldSplit)
    monkeypatch.setenv("TFFLOWS_IN_MEMORY_GB", "0")
    stored = open_split(RECIPE, "train", path=path)
    assert isinstance(stored, StoredSplit)
    assert len(stored) == len(held) == 48
    for share in ((0, 1), (1, 3)):
        one, other = (ShuffledBatches(split, BATCH, 7, RECIPE.flip, share) for split in (stored, held))
        for step in (0, 3, 4, 41):
            same(one(step), other(step))
            assert len(one(step)["image"]) == BATCH // share[1]
    for index in range(4):
        same(OrderedBatches(stored, 13)(index), OrderedBatches(held, 13)(index))
    assert len(open_split(RECIPE, "train", limit=5, path=path)) == 5


def numpy_batches(batches, number):
    if keras.backend.backend() == "jax":
        return [batches[index] for index in range(number)]
    return list(batches.take(number).as_numpy_iterator())


def test_worker_processes_give_the_batches_of_memory_and_resume(tmp_path, monkeypatch):
    path = write_npz(tmp_path / "images.npz")
    batches, steps = data.training_batches(RECIPE, BATCH, seed=5, path=path)
    whole = numpy_batches(batches, 3 * steps)
    monkeypatch.setenv("TFFLOWS_IN_MEMORY_GB", "0")
    resumed, _ = data.training_batches(RECIPE, BATCH, seed=5, first_epoch=1, path=path)
    for batch, expected in zip(numpy_batches(resumed, 2 * steps), whole[steps:], strict=True):
        same(batch, expected)


def test_an_image_that_cannot_be_read_is_one_sentence(tmp_path, monkeypatch):
    folder = write_folder(tmp_path / "images")
    (folder / "17.png").write_bytes(b"no image")
    monkeypatch.setenv("TFFLOWS_IN_MEMORY_GB", "0")
    batches, steps = data.training_batches(RECIPE, BATCH, seed=0, path=folder)
    sentence = r"17.png is not a readable image \(.*\): repair or remove it"
    with pytest.raises(DataError, match=sentence) as error, one_sentence():  # as in `Flow.fit`
        numpy_batches(batches, steps)
    assert "\n" not in str(error.value)


@pytest.mark.backend_free
def test_what_is_held_does_not_grow_with_the_number_of_images(tmp_path, on_disk):
    path = tmp_path / "images.npz"
    np.savez(path, train=np.zeros((4000, 32, 32), np.uint8))  # 4 MB, as an array too
    batches = OrderedBatches(on_disk(DataConfig("images", (32, 32, 1)), "train", path=path), 32)
    tracemalloc.start()
    seen = sum(len(batches(index)["image"]) for index in range(len(batches)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seen == 3200  # a fifth validates and tests
    assert peak < 300_000


@pytest.mark.backend_free
def test_a_compressed_file_and_a_limit_without_meaning_are_one_sentence(tmp_path, monkeypatch):
    path = write_npz(tmp_path / "images.npz", np.savez_compressed)
    monkeypatch.setenv("TFFLOWS_IN_MEMORY_GB", "0")
    with pytest.raises(DataError, match=r"is compressed and takes .* too much for memory: write it again with"):
        open_split(RECIPE, "train", path=path)
    monkeypatch.setenv("TFFLOWS_IN_MEMORY_GB", "much")
    with pytest.raises(InputError, match="TFFLOWS_IN_MEMORY_GB is 'much', expected a number of gigabytes"):
        open_split(RECIPE, "train", path=path)
