"""Real builders of TensorFlow Datasets, prepared in a temporary folder without a network."""

import pickle

import numpy as np
import pytest

from tfflows import data
from tfflows.data.pipeline import open_split
from tfflows.errors import DataError
from tfflows.zoo.recipe import DataConfig

tf = pytest.importorskip("tensorflow", reason="TensorFlow Datasets needs TensorFlow")
tfds = pytest.importorskip("tensorflow_datasets")


@pytest.fixture(autouse=True)
def data_dir(tmp_path, monkeypatch):
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(tmp_path / "tfds"))
    tfds.disable_progress_bar()
    return tmp_path / "tfds"


def photo(index):
    """A photo whose size depends on its index."""
    return np.full((20 + index, 24, 3), 3 * index, np.uint8)


class TinyPhotos(tfds.core.GeneratorBasedBuilder):
    """Unlabelled photos of several sizes, with a feature that a flow does not want."""

    VERSION = tfds.core.Version("2.1.0")

    def _info(self):
        features = {"image": tfds.features.Image(encoding_format="png"), "camera": tfds.features.Text()}
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.__doc__,
            features=tfds.features.FeaturesDict(features),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for index in range(30):
            yield index, {"image": photo(index), "camera": "a"}


class FailingPhotos(TinyPhotos):
    """Breaks in the middle, as a full disk or a changed archive does."""

    def _generate_examples(self):
        yield 0, {"image": photo(0), "camera": "a"}
        raise RuntimeError("the archive\nends early")


class RemotePhotos(TinyPhotos):
    """Has to be downloaded from where nobody listens."""

    url_infos = {"http://localhost:9/photos.zip": None}  # noqa: RUF012  (tfds's own attribute)


def test_digits_from_the_builder_are_the_embedded_ones():
    embedded = DataConfig("digits", (8, 8, 1), num_values=17, source_values=17)
    sliced = DataConfig("digits", (8, 8, 1), num_values=17, source_values=17, train="train[:100%]")
    for key, array in data.arrays(embedded, "train").items():
        np.testing.assert_array_equal(data.arrays(sliced, "train")[key], array)


def test_slices_crop_and_limit_on_images_of_several_sizes():
    recipe = DataConfig("tiny_photos", (16, 16, 3), crop=(16, 16), train="train[:80%]", test="train[90%:]")
    train = data.arrays(recipe, "train")
    assert set(train) == {"image"}
    assert train["image"][:, 0, 0, 0].tolist() == [3 * index for index in range(24)]
    assert data.arrays(recipe, "test")["image"][:, 0, 0, 0].tolist() == [81, 84, 87]
    assert len(data.arrays(recipe, "train", limit=5)["image"]) == 5
    assert data.version(recipe) == "tiny_photos/2.1.0"


def test_large_data_sets_are_read_by_index_where_they_are_array_records(monkeypatch, tmp_path):
    recipe = DataConfig("tiny_photos", (16, 16, 3), crop=(16, 16), train="train[:80%]")
    expected = data.arrays(recipe, "train")["image"]
    monkeypatch.setenv("TFFLOWS_IN_MEMORY_GB", "0")
    with pytest.raises(DataError, match="tfds build tiny_photos --file_format=array_record --data_dir=FOLDER") as error:
        open_split(recipe, "train")
    assert "\n" not in str(error.value)
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(tmp_path / "records"))
    tfds.builder("tiny_photos", file_format="array_record").download_and_prepare()
    split = open_split(recipe, "train")
    np.testing.assert_array_equal(split.take(range(24))["image"], expected)
    copy = pickle.loads(pickle.dumps(split))  # as worker processes get it
    np.testing.assert_array_equal(copy.take([7, 2])["image"], expected[[7, 2]])
    np.testing.assert_array_equal(data.arrays(recipe, "train", limit=9)["image"], expected[:9])


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        (DataConfig("tiny_fotos", (16, 16, 3)), "no data set 'tiny_fotos'; did you mean 'tiny_photos'"),
        (DataConfig("tiny_photos", (16, 16, 3), train="trein"), "has no split 'trein'"),
        (DataConfig("tiny_photos", (16, 16, 3), train="train[:x]"), "has no split 'train\\[:x\\]'"),
    ],
)
def test_wrong_names_are_one_sentence(recipe, sentence):
    with pytest.raises(DataError, match=sentence) as error:
        data.arrays(recipe, "train")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("remote_photos", "localhost cannot be reached"), ("failing_photos", "the archive ends early")],
)
def test_data_that_cannot_be_had_leave_nothing_behind(data_dir, name, reason):
    with pytest.raises(DataError, match=f"cannot be downloaded \\({reason}\\): set TFDS_DATA_DIR") as error:
        data.arrays(DataConfig(name, (16, 16, 3)), "train")
    assert "\n" not in str(error.value)
    assert not data_dir.exists()
