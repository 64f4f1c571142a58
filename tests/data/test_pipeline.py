import os
import subprocess
import sys
import zlib

import keras
import numpy as np
import pytest
from PIL import Image

from tfflows import data
from tfflows.data import digits
from tfflows.errors import DataError
from tfflows.zoo.recipe import DataConfig

DIGITS = DataConfig("digits", (8, 8, 1), num_values=17, source_values=17)
ON_TENSORFLOW = keras.backend.backend() == "tensorflow"


def take(batches, number):
    """The first batches as dicts of numpy arrays, from either backend's type."""
    if ON_TENSORFLOW:
        return list(batches.take(number).as_numpy_iterator())
    return [batches[index] for index in range(number)]


def images_of(batches):
    return np.concatenate([batch["image"] for batch in batches])


def write_images(folder, number, size=(9, 7), seed=0):
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.random.RandomState(seed).randint(0, 256, (number, *size), np.uint8)
    for index, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{index:03}.png")
    return pixels[..., None]


def test_digits_are_split_in_file_order():
    splits = [data.arrays(DIGITS, split) for split in ("train", "validation", "test")]
    assert [len(split["image"]) for split in splits] == [1297, 140, 360]
    everything = images_of(splits)
    assert everything.dtype == np.uint8
    assert everything.shape[1:] == (8, 8, 1)
    assert (everything.min(), everything.max()) == (0, 16)
    assert splits[0]["label"][:4].tolist() == [0, 1, 2, 3]
    # the pixel sum of scikit-learn's whole set, so nothing is lost or repeated
    assert everything.sum() == 561718


def test_an_epoch_is_a_permutation_without_the_remainder():
    batches, steps = data.training_batches(DIGITS, 100, seed=3, limit=250)
    assert steps == 2
    first, second = images_of(take(batches, 2)), images_of(take(batches, 4)[2:])
    pool = {image.tobytes() for image in data.arrays(DIGITS, "train", limit=250)["image"]}
    assert len(pool) == 250
    for epoch in (first, second):
        assert len({image.tobytes() for image in epoch} & pool) == 200
    assert not np.array_equal(first, second)


def test_labels_stay_with_their_images():
    known = data.arrays(DIGITS, "train")
    label_of = {image.tobytes(): label for image, label in zip(known["image"], known["label"], strict=True)}
    batches, _ = data.training_batches(DIGITS, 64, seed=0)
    for batch in take(batches, 25):
        assert [label_of[image.tobytes()] for image in batch["image"]] == batch["label"].tolist()


@pytest.mark.parametrize("flip", [False, True])
def test_a_stream_resumes_exactly_at_any_epoch(tmp_path, flip):
    write_images(tmp_path, 40, size=(8, 8))
    recipe = DataConfig("folder", (8, 8, 1), flip=flip)
    whole, steps = data.training_batches(recipe, 10, seed=5, path=tmp_path)
    resumed, _ = data.training_batches(recipe, 10, seed=5, first_epoch=2, path=tmp_path)
    other, _ = data.training_batches(recipe, 10, seed=6, path=tmp_path)
    expected = images_of(take(whole, 4 * steps)[2 * steps :])
    np.testing.assert_array_equal(images_of(take(resumed, 2 * steps)), expected)
    assert not np.array_equal(images_of(take(other, steps)), images_of(take(whole, steps)))


def test_the_order_is_the_same_on_every_backend_and_in_every_release():
    batches, _ = data.training_batches(DIGITS, 64, seed=1, first_epoch=1)
    assert zlib.crc32(images_of(take(batches, 3)).tobytes()) == 3296310868


def test_flips_mirror_about_half_of_the_training_images_only(tmp_path):
    write_images(tmp_path / "train", 200, size=(8, 8))
    write_images(tmp_path / "val", 5, size=(8, 8), seed=2)
    write_images(tmp_path / "test", 5, size=(8, 8), seed=1)
    recipe = DataConfig("folder", (8, 8, 1), flip=True)
    plain = {image.tobytes() for image in data.arrays(recipe, "train", path=tmp_path)["image"]}
    batches, steps = data.training_batches(recipe, 200, seed=0, path=tmp_path)
    epochs = [batch["image"] for batch in take(batches, 2 * steps)]
    mirrored = [np.array([image.tobytes() not in plain for image in epoch]) for epoch in epochs]
    for epoch, flipped in zip(epochs, mirrored, strict=True):
        assert 70 < flipped.sum() < 130
        assert {image[:, ::-1].tobytes() for image in epoch[flipped]} <= plain
    # drawn anew in each epoch: who is mirrored in the first does not stay so in the second
    assert {i.tobytes() for i in epochs[0][mirrored[0]]} != {i.tobytes() for i in epochs[1][mirrored[1]]}
    test = data.arrays(recipe, "test", path=tmp_path)["image"]
    np.testing.assert_array_equal(images_of(take(data.batches(recipe, "test", 5, path=tmp_path), 1)), test)


def test_evaluation_batches_keep_order_and_remainder():
    batches = data.batches(DIGITS, "test", 100)
    assert (len(batches) if ON_TENSORFLOW else batches.num_batches) == 4
    parts = take(batches, 4)
    assert [len(part["image"]) for part in parts] == [100, 100, 100, 60]
    np.testing.assert_array_equal(images_of(parts), data.arrays(DIGITS, "test")["image"])


def test_crop_resize_and_fewer_values(tmp_path):
    pixels = np.zeros((10, 10, 12, 3), np.uint8)
    pixels[:, 1:9, 2:10] = 200  # the central 8x8, all of one colour, within a black frame
    pixels[:, 1, 2] = 255
    np.savez(tmp_path / "images.npz", image=pixels)
    path = tmp_path / "images.npz"
    cropped = data.arrays(DataConfig("file", (8, 8, 3), crop=(8, 8)), "train", path=path)["image"]
    np.testing.assert_array_equal(cropped, pixels[:8, 1:9, 2:10])
    small = data.arrays(DataConfig("file", (2, 2, 3), crop=(8, 8)), "train", path=path)["image"]
    assert small.shape == (8, 2, 2, 3)
    assert (small[:, 1, 1] == 200).all()
    assert 200 < small[0, 0, 0, 0] < 255  # antialiased: one pixel of many counts
    five_bits = data.arrays(DataConfig("file", (8, 8, 3), num_values=32, crop=(8, 8)), "train", path=path)["image"]
    np.testing.assert_array_equal(five_bits, cropped // 8)


def test_resize_does_not_alias(tmp_path):
    """A checkerboard of single pixels, reduced, is its mean grey; a filter without antialiasing keeps it."""
    board = np.indices((32, 32)).sum(0) % 2 * 255
    np.savez(tmp_path / "board.npz", test=board[None].astype(np.uint8))
    small = data.arrays(DataConfig("file", (8, 8, 1)), "test", path=tmp_path / "board.npz")["image"]
    assert np.abs(small[0, 1:-1, 1:-1].astype(int) - 127).max() <= 2


def test_a_folder_without_subfolders_is_split_by_name(tmp_path):
    pixels = write_images(tmp_path, 20)
    recipe = DataConfig("folder", (9, 7, 1))
    parts = {split: data.arrays(recipe, split, path=tmp_path)["image"] for split in data.SPLITS}
    np.testing.assert_array_equal(parts["validation"], pixels[[8, 18]])
    np.testing.assert_array_equal(parts["test"], pixels[[9, 19]])
    assert len(parts["train"]) == 16
    limited = data.arrays(recipe, "train", limit=9, path=tmp_path)["image"]
    np.testing.assert_array_equal(limited, parts["train"][:9])


def test_a_folder_has_256_values_and_any_mode_becomes_the_recipes(tmp_path):
    Image.new("RGBA", (8, 8), (255, 0, 0, 128)).save(tmp_path / "a.png")
    Image.new("P", (8, 8), 0).save(tmp_path / "b.png")
    grey = data.arrays(DIGITS, "train", path=tmp_path)["image"]
    assert grey.shape == (2, 8, 8, 1)
    assert (grey[0] == 76 * 17 // 256).all()
    colour = data.arrays(DataConfig("folder", (8, 8, 3)), "train", path=tmp_path)["image"]
    assert colour[0, 0, 0].tolist() == [255, 0, 0]


def test_npz_with_named_splits_and_labels(tmp_path):
    path = tmp_path / "named.npz"
    images = np.arange(6 * 16, dtype=np.int64).reshape(6, 4, 4)
    np.savez(path, train=images[:4], train_label=[3, 1, 0, 2], test=images[4:])
    recipe = DataConfig("file", (4, 4, 1), num_classes=4)
    train = data.arrays(recipe, "train", path=path)
    np.testing.assert_array_equal(train["image"][..., 0], images[:4])
    assert train["label"].tolist() == [3, 1, 0, 2]
    with pytest.raises(DataError, match="has no labels"):
        data.arrays(recipe, "test", path=path)


def test_labels_in_words_are_left_out(tmp_path):
    save(tmp_path / "x.npz", image=np.zeros((10, 8, 8), int), label=["cat", "dog"] * 5)
    assert data.arrays(DIGITS, "train", path=tmp_path / "x.npz").keys() == {"image"}


def png(path):
    Image.new("L", (8, 8)).save(path)


def broken(path):
    path.write_bytes(b"\x89PNG\r\n\x1a\nno more")


def interrupted(path):
    """A PNG with zeros from its second block of data on, as a download that broke off may leave it."""
    Image.fromarray(np.random.RandomState(0).randint(0, 255, (400, 400), np.uint8)).save(path)
    whole = path.read_bytes()
    end = whole.index(b"IDAT", whole.index(b"IDAT") + 4) - 4
    path.write_bytes(whole[:end] + bytes(len(whole) - end))


@pytest.mark.parametrize(
    ("recipe", "make", "sentence"),
    [
        (DIGITS, lambda path: None, "is neither an .npz file nor a folder"),
        (DIGITS, lambda path: path.mkdir(), "has no images"),
        (DIGITS, lambda path: path.write_text("no archive"), "is neither an .npz file nor a folder"),
        (DIGITS, lambda path: (path.mkdir(), broken(path / "a.png")), "a.png is not a readable image"),
        (DIGITS, lambda path: (path.mkdir(), interrupted(path / "a.png")), "a.png is not a readable image"),
        (
            DIGITS,
            lambda path: (path.mkdir(), (path / "test").mkdir()),
            "has the subfolders test and not train",
        ),
        (DIGITS, lambda path: save(path, pixels=np.zeros((3, 8, 8), int)), "holds pixels, expected 'train'"),
        (DIGITS, lambda path: save(path, image=np.array([None])), "cannot be read"),
        (DIGITS, lambda path: save(path, image=np.zeros((3, 8, 8))), "are float64, expected integers"),
        (DIGITS, lambda path: save(path, image=np.full((3, 8, 8), 17)), "are 17 to 17, expected 0 to 16"),
        (DIGITS, lambda path: save(path, image=np.zeros((3, 8, 8, 3), int)), "the recipe wants 1 channels"),
        (
            DIGITS,
            lambda path: save(path, image=np.zeros((3, 8, 8), int), label=[1]),
            "3 images and 1 labels",
        ),
        (
            DataConfig("file", (8, 8, 1), crop=(9, 9)),
            lambda path: save(path, image=np.zeros((3, 8, 8), int)),
            "smaller than the crop",
        ),
        (
            DataConfig("file", (8, 8, 1), num_classes=2),
            lambda path: save(path, image=np.zeros((3, 8, 8), int), label=[0, 1, 2]),
            "are 0 to 2, expected 0 to 1",
        ),
    ],
)
def test_unusable_files_are_one_sentence(tmp_path, recipe, make, sentence):
    path = tmp_path / "given"
    make(path)
    with pytest.raises(DataError, match=sentence) as error:
        data.arrays(recipe, "train", path=path)
    assert "\n" not in str(error.value)


def save(path, **arrays):
    with open(path, "wb") as file:
        np.savez(file, **arrays)


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(DataError, match="10 training images do not fill a batch of 64"):
        data.training_batches(DIGITS, 64, seed=0, limit=10)


def test_version_names_the_data(tmp_path):
    assert data.version(DIGITS) == digits.FULL_NAME
    assert data.version(DIGITS, tmp_path) == str(tmp_path)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.data's threads")
@pytest.mark.parametrize(("gigabytes", "batch_size"), [("4", 2000), ("0", 64)])
def test_python_ends_while_a_data_set_reads_ahead(tmp_path, gigabytes, batch_size):
    np.savez(tmp_path / "images.npz", train=np.zeros((4000, 64, 64, 3), "uint8"))
    script = (
        "from tfflows import data\nfrom tfflows.zoo.recipe import DataConfig\n"
        "described = DataConfig('images', (64, 64, 3), flip=True)\n"
        f"batches, _ = data.training_batches(described, {batch_size}, 0, path={str(tmp_path / 'images.npz')!r})\n"
        "reader = iter(batches)\n"
        "for _ in range(50):\n    next(reader)\n"
    )
    environment = {**os.environ, "TFFLOWS_IN_MEMORY_GB": gigabytes}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True, timeout=300)


@pytest.mark.skipif(not ON_TENSORFLOW, reason="tf.data's threads")
@pytest.mark.parametrize("gigabytes", ["4", "0"])
def test_no_data_set_has_the_tuner_that_delays_the_end_of_fit(monkeypatch, gigabytes):
    monkeypatch.setenv("TFFLOWS_IN_MEMORY_GB", gigabytes)
    for batches in (data.training_batches(DIGITS, 100, seed=0)[0], data.batches(DIGITS, "test", 100)):
        assert batches.options().autotune.enabled is False
