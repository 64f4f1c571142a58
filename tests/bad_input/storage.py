"""What the store and the zoo refuse: (call, exception, what was given, what to do)."""

from pathlib import Path

from conftest import limited_files
from filelock import FileLock

from tfflows import zoo
from tfflows.errors import CorruptError, ExistsError, NotFoundError, NotTrainedError, StoreError
from tfflows.zoo import store
from tfflows.zoo.recipe import Recipe


def write(folder):
    (folder / "a.bin").write_bytes(bytes(10**5))


def publish_on_a_full_disk(parent):
    with limited_files(20_000):
        store.publish(parent, write)


def train_while_another_trains(w):
    from tfflows.training import Run, train

    with FileLock(w.home / "small" / ".training.lock"):
        train(Run(Recipe.from_toml(w.home / "small" / "1" / "recipe.toml")))


CASES = {
    "no such name": (lambda w: zoo.load("smal"), NotFoundError, "no model 'smal'", "did you mean 'small'"),
    "no name": (lambda w: zoo.load("a/b"), ValueError, "'a/b' cannot name a model", "use letters"),
    "name that is a number": (lambda w: zoo.load(7), ValueError, "7 cannot name a model", "use letters"),
    "untrained": (lambda w: zoo.load("nice_svhn"), NotTrainedError, "nice_svhn", "`tfflows train nice_svhn`"),
    "absent version": (lambda w: zoo.load("small", 7), NotFoundError, "small has no version 7", "there is 1"),
    "version in words": (lambda w: zoo.load("small", "1"), TypeError, "version is '1'", "must be an integer"),
    "missing weights": (lambda w: zoo.load("missing"), CorruptError, "weights.h5 is missing", "write it again"),
    "truncated weights": (lambda w: zoo.load("truncated"), CorruptError, "weights.h5 is not", "write it again"),
    "altered weights": (lambda w: zoo.load("altered"), CorruptError, "sha256 differs", "write it again"),
    "damaged manifest": (lambda w: zoo.load("half_listed"), CorruptError, "manifest.json", "write it again"),
    "damaged metrics": (lambda w: zoo.metrics("altered"), CorruptError, "metrics.json", "write it again"),
    "version that exists": (
        lambda w: store.publish(w.home / "small", write, 1),
        ExistsError,
        "small/1 exists",
        "delete it or choose another folder",
    ),
    "folder that is a file": (
        lambda w: store.publish(w.files / "bad.toml" / "x", write),
        OSError,
        "bad.toml",
        "choose another path",
    ),
    "two trainings at once": (
        train_while_another_trains,
        StoreError,
        "another process is training",
        "wait until it ends",
    ),
    "full disk": (lambda w: publish_on_a_full_disk(w.out / "x"), OSError, "(File too large)", "free some space"),
    "recipe that is not there": (
        lambda w: Recipe.from_toml(Path(w.files / "no.toml")),
        FileNotFoundError,
        "no.toml",
        "No such file",
    ),
}
ON_LINUX = {
    "no permission": (
        lambda w: store.publish(Path("/sys/tfflows"), write),
        OSError,
        "/sys/tfflows",
        "choose a folder that you may write to",
    ),
}
