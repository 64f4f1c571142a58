"""The digits as a TensorFlow Datasets builder: after this import, `tfds.load("digits")` works."""

from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds

from tfflows.data.digits import FULL_NAME, SPLITS, load_digits


class Digits(tfds.core.GeneratorBasedBuilder):
    """scikit-learn's handwritten digits, 8x8 pixels with values 0..16, split by writer."""

    VERSION = tfds.core.Version(FULL_NAME.split("/")[1])

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(8, 8, 1), encoding_format="png"),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://archive.ics.uci.edu/dataset/80",
            # tfds sorts examples by a hash of their key unless told not to; file order is part of the split
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        return {split: self._generate_examples(split) for split in SPLITS}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        digits = load_digits(split)
        for index, (image, label) in enumerate(zip(digits["image"], digits["label"], strict=True)):
            yield index, {"image": image, "label": int(label)}
