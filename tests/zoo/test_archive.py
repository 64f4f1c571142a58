"""Archives of artefacts: the same bytes everywhere, and whatever is in one, nothing is written that should not be."""

import os
import random
import shutil
import zipfile
from pathlib import Path

import pytest
from conftest import TINY

from tfflows.errors import ArchiveError
from tfflows.zoo import archive, download, store
from tfflows.zoo.recipe import WeightsConfig

pytestmark = pytest.mark.backend_free


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TFFLOWS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_the_same_files_make_the_same_bytes(tmp_path):
    """The sum is that of every machine and release of Python, whatever the dates, the modes and the order."""
    sums = []
    for index, names in enumerate((["b.txt", "a/c.bin"], ["a/c.bin", "b.txt"])):

        def write(folder, names=names, index=index):
            for name in names:
                (folder / name).parent.mkdir(exist_ok=True)
                (folder / name).write_bytes(name.encode() * 100)
                (folder / name).chmod(0o600 + index * 0o44)
                os.utime(folder / name, (10**9 * index, 10**9 * index))

        folder = store.publish(tmp_path / str(index), write)
        (folder / ".DS_Store").write_bytes(b"no part of it")
        archive.pack(folder, tmp_path / f"{index}.zip")
        sums.append(store.sha256(tmp_path / f"{index}.zip"))
    assert sums == ["d1d0f7cbfdf227946fe07ddabe23f4e52838f6fb8a56b3715c25d01efd277401"] * 2
    archive.unpack(tmp_path / "0.zip", tmp_path / "unpacked")
    assert sorted(path.name for path in (tmp_path / "unpacked").rglob("*")) == ["a", "b.txt", "c.bin", "manifest.json"]


def member(name, kind=0o100644, content=b"evil", compress=zipfile.ZIP_STORED):
    """A function that adds a member to an archive."""

    def add(file):
        info = zipfile.ZipInfo(name)
        info.create_system, info.external_attr, info.compress_type = 3, kind << 16, compress
        file.writestr(info, content)

    return add


def overlap(file):
    """A member within the bytes of another: both have their megabyte, the archive has it once."""
    path = Path(file.filename).with_suffix(".inner")
    with zipfile.ZipFile(path, "w") as inner:
        inner.writestr("inner.bin", bytes(2**20))
    info = inner.infolist()[0]
    start = file.fp.tell()
    file.writestr("outer.bin", path.read_bytes()[: 30 + len("inner.bin") + 2**20])
    info.header_offset = start + 30 + len("outer.bin")
    file.filelist.append(info)


def many(file):
    for index in range(archive.MAX_FILES):
        file.writestr(f"{index}.txt", "")


NAMES = "expected short names"
UNSAFE = {
    "parent": (member("../evil"), NAMES),
    "parent within": (member("variables/../../evil"), NAMES),
    "absolute": (member("/tmp/evil"), NAMES),
    "drive": (member("C:/evil"), NAMES),
    "backslash": (member("..\\evil"), NAMES),
    "hidden": (member(".evil"), NAMES),
    "not ASCII": (member("evıl"), NAMES),
    "escape code": (member("\x1b[2Jevil"), NAMES),
    "long": (member("e" * 300), NAMES),
    "folder": (member("evil/", 0o040755, b""), NAMES),
    "symbolic link": (member("evil", 0o120777, b"/etc/passwd"), "as a link or a device"),
    "device": (member("evil", 0o060666, b""), "as a link or a device"),
    "pipe": (member("evil", 0o010666, b""), "as a link or a device"),
    "bomb": (member("evil", content=bytes(10**7), compress=zipfile.ZIP_DEFLATED), "compressed or encrypted"),
    "overlap": (overlap, "unpacks to more than its own size|Overlapped entries"),
    "too many": (many, "expected at most 1000"),
    "not in the manifest": (member("evil"), "differ in evil"),
    "file in a file": (member("recipe.toml/evil"), "not an archive or a damaged one"),
}


def rewrite(published, path, add=lambda file: None, leave_out=(), **changes):
    """The published archive with other members."""
    with zipfile.ZipFile(published) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            if name not in leave_out:
                target.writestr(name, changes.get(name.split(".")[0], source.read(name)))
        add(target)
    return path


def refuse(home, path, message):
    with pytest.raises(ArchiveError, match=message) as error:
        download.download("tiny", WeightsConfig(3, path.stat().st_size, store.sha256(path), (path.as_uri(),)))
    assert "\n" not in str(error.value)
    assert str(error.value).isprintable()
    assert [p.name for p in (home / ".downloads" / "tiny").iterdir()] == [".lock"]


@pytest.mark.parametrize("case", UNSAFE)
def test_an_unsafe_archive_is_refused_and_nothing_of_it_stays(case, home, published, tmp_path):
    add, message = UNSAFE[case]
    path = rewrite(published, tmp_path / "evil.zip", add)
    refuse(home, path, message)
    written = [p.name for p in tmp_path.rglob("*") if p.name not in ("evil.zip", "evil.inner")]
    assert sorted(written) == [".downloads", ".lock", "home", "tiny"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"leave_out": ["manifest.json"]}, "and the manifest in it differ"),
        ({"manifest": b"[]"}, "and the manifest in it differ"),
        ({"manifest": b'{"sha256": {"../../../../etc/passwd": "0"}}'}, "differ in"),
        ({"leave_out": ["model.weights.h5"]}, r"differ in model\.weights\.h5"),
        ({"model": b"other"}, "and the manifest in it differ"),
    ],
)
def test_an_archive_that_is_not_what_its_manifest_says_is_refused(changes, message, home, published, tmp_path):
    refuse(home, rewrite(published, tmp_path / "evil.zip", **changes), message)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (TINY.replace('"tiny"', '"huge"'), "holds huge, expected tiny"),
        (TINY.replace("epochs", "epoch"), "did you mean 'epochs'"),
        (None, "no valid recipe.toml"),
    ],
)
def test_an_archive_of_another_model_is_refused(recipe, message, home, tmp_path):
    def write(folder):
        (folder / "recipe.txt" if recipe is None else folder / "recipe.toml").write_text(recipe or "")

    archive.pack(store.publish(tmp_path / "other", write), tmp_path / "other.zip")
    refuse(home, tmp_path / "other.zip", message)


def test_damage_anywhere_is_an_archive_error(published, tmp_path):
    """Bytes are altered or lost at random, most of them where the format's own fields are."""
    chance, path, whole = random.Random(2), tmp_path / "damaged.zip", published.read_bytes()
    fields = [*range(60), *range(len(whole) - 700, len(whole))]
    refused = 0
    for index in range(200):
        data = bytearray(whole)
        for _ in range(chance.randrange(1, 4)):
            data[chance.choice(fields)] = chance.randrange(256)
        path.write_bytes(data[: chance.randrange(len(data))] if index % 10 == 0 else data)
        folder = tmp_path / str(index)
        folder.mkdir()
        try:
            archive.unpack(path, folder)
        except ArchiveError:
            refused += 1
        else:  # a field that does not matter, as a date: the files are right
            store.verify(folder)
        shutil.rmtree(folder)
    assert refused > 100
