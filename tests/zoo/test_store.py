"""The store: what is published is complete and verified, whatever happens to the writer."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from tfflows.errors import CorruptError, NotFoundError, StoreError
from tfflows.zoo import store

pytestmark = pytest.mark.backend_free


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TFFLOWS_HOME", str(tmp_path))
    return tmp_path


def write(text="weights"):
    def fill(folder):
        (folder / "variables").mkdir()
        (folder / "variables" / "a.bin").write_text(text)
        (folder / "recipe.toml").write_text("name = 'x'\n")

    return fill


def test_the_highest_version_wins_and_numbers_are_compared_as_numbers(home):
    for version in (1, 9, 10):
        store.publish(home / "model", write(str(version)), version)
    assert store.resolve("model") == home / "model" / "10"
    assert store.resolve("model", 9) == home / "model" / "9"
    assert store.publish(home / "model", write()).name == "11"
    assert "model" in store.names()


def test_the_user_s_store_goes_before_the_bundled_one(home, tmp_path, monkeypatch):
    bundled = tmp_path / "bundled"
    monkeypatch.setattr(store, "packaged_folder", lambda folder: bundled)
    for version in (1, 2):
        store.publish(bundled / "model", write(), version)
    assert store.resolve("model") == bundled / "model" / "2"
    store.publish(home / "model", write())
    assert store.resolve("model") == home / "model" / "1"
    assert store.resolve("model", 2) == bundled / "model" / "2"
    assert store.next_version(home / "model") == 3  # of what is trained: no number means two things
    assert store.next_version(home / "another") == 1


def test_home_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("TFFLOWS_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert store.home() == tmp_path / "tfflows"


@pytest.mark.parametrize(
    ("damage", "culprit"),
    [
        (lambda folder: (folder / "variables" / "a.bin").unlink(), "a.bin"),
        (lambda folder: (folder / "variables" / "a.bin").write_text("weighty"), "a.bin"),
        (lambda folder: (folder / "variables" / "a.bin").write_text("weig"), "a.bin"),
        (lambda folder: (folder / store.MANIFEST).unlink(), store.MANIFEST),
        (lambda folder: (folder / store.MANIFEST).write_text('{"sha256": {"rec'), store.MANIFEST),
        (lambda folder: (folder / store.MANIFEST).write_text("[]"), store.MANIFEST),
    ],
    ids=["missing", "altered", "truncated", "no-manifest", "half-manifest", "strange-manifest"],
)
def test_a_damaged_artefact_is_refused_and_the_file_named(home, damage, culprit):
    damage(store.publish(home / "model", write()))
    with pytest.raises(CorruptError, match=f"{culprit} is"):
        store.resolve("model")


def test_what_is_not_there_is_said(home):
    with pytest.raises(NotFoundError, match=f"no weights of absent in {home}"):
        store.resolve("absent")
    store.publish(home / "model", write())
    with pytest.raises(NotFoundError, match="no version 7: there is 1"):
        store.resolve("model", 7)
    with pytest.raises(ValueError, match="cannot name a model"):
        store.resolve("../model")


def test_a_failed_write_leaves_nothing(home):
    def fail(folder):
        write()(folder)
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        store.publish(home / "model", fail)
    assert [path.name for path in (home / "model").iterdir()] == [".lock"]


def test_a_version_that_exists_is_never_overwritten(home):
    folder = store.publish(home / "model", write("first"), 3)
    with pytest.raises(StoreError, match="exists"):
        store.publish(home / "model", write("second"), 3)
    assert (folder / "variables" / "a.bin").read_text() == "first"


def test_a_killed_writer_leaves_no_version_and_is_cleaned_up_after(home):
    script = (
        "import pathlib, sys, time; from tfflows.zoo import store\n"
        "def write(folder): (folder / 'half').write_text('x'); print('writing', flush=True); time.sleep(60)\n"
        "store.publish(pathlib.Path(sys.argv[1]), write)"
    )
    writer = subprocess.Popen([sys.executable, "-c", script, home / "model"], stdout=subprocess.PIPE)
    assert writer.stdout.readline() == b"writing\n"
    os.kill(writer.pid, signal.SIGKILL)
    writer.communicate()
    assert store.versions(home / "model") == []
    folder = store.publish(home / "model", write())
    assert folder.name == "1"
    assert not (folder / "half").exists()
    store.verify(folder)


def test_writers_at_once_all_succeed_with_numbers_of_their_own(home):
    writers = [threading.Thread(target=store.publish, args=(home / "model", write(str(k)))) for k in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert store.versions(home / "model") == list(range(1, 9))
    for version in store.versions(home / "model"):
        store.verify(home / "model" / str(version))
