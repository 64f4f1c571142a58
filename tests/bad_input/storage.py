"""What the store and the zoo refuse: (call, exception, what was given, what to do)."""

from pathlib import Path

from conftest import limited_files
from filelock import FileLock

from tfflows import store, zoo
from tfflows.recipe import Recipe


def write(folder):
    (folder / "a.bin").write_bytes(bytes(10**5))


def publish_on_a_full_disk(parent):
    with limited_files(20_000):
        store.publish(parent, write)


def train_while_another_trains(w):
    from tfflows.train import fit

    with FileLock(w.home / "small" / ".training.lock"):
        fit(Recipe.from_toml(w.home / "small" / "1" / "recipe.toml"))


CASES = {
    "no such name": (lambda w: zoo.load("smal"), store.NotFoundError, "no model 'smal'", "did you mean 'small'"),
    "no name": (lambda w: zoo.load("a/b"), ValueError, "'a/b' cannot name a model", "use letters"),
    "name that is a number": (lambda w: zoo.load(7), ValueError, "7 cannot name a model", "use letters"),
    "untrained": (lambda w: zoo.load("nice_svhn"), zoo.NotTrainedError, "nice_svhn", "`tfflows train nice_svhn`"),
    "absent version": (lambda w: zoo.load("small", 7), store.NotFoundError, "small has no version 7", "there is 1"),
    "version in words": (lambda w: zoo.load("small", "1"), TypeError, "version is '1'", "must be an integer"),
    "missing weights": (lambda w: zoo.load("missing"), store.CorruptError, "weights.h5 is missing", "write it again"),
    "truncated weights": (lambda w: zoo.load("truncated"), store.CorruptError, "weights.h5 is not", "write it again"),
    "altered weights": (lambda w: zoo.load("altered"), store.CorruptError, "sha256 differs", "write it again"),
    "damaged manifest": (lambda w: zoo.load("half_listed"), store.CorruptError, "manifest.json", "write it again"),
    "damaged metrics": (lambda w: zoo.metrics("altered"), store.CorruptError, "metrics.json", "write it again"),
    "version that exists": (
        lambda w: store.publish(w.home / "small", write, 1),
        store.ExistsError,
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
        store.StoreError,
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
