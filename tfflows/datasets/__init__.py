"""Sources of images: TensorFlow Datasets, the user's files, the digits that come with the package."""

SPLITS = ("train", "validation", "test")


class DataError(ValueError):
    """Images are not there or are not what the recipe says; one sentence that says what to do."""
