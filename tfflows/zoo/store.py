"""Where trained weights live: numbered version folders, each with a manifest of sha256 sums.

    <root>/<name>/<version>/    manifest.json and the files that it lists

A folder is written under a hidden name, flushed to disk and renamed, so that a reader sees it complete or not
at all; it is verified against its manifest before it is used. Training checkpoints are kept in the same way.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from filelock import FileLock

from tfflows.errors import CorruptError, ExistsError, InputError, InputTypeError, NotFoundError, explained_os_errors
from tfflows.zoo.folders import packaged_folder

MANIFEST, LOCK, PARTIAL = "manifest.json", ".lock", ".partial"
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
FILE = r"\w[\w.-]*(/\w[\w.-]*)*"  # in a folder: nothing absolute, no "..", no backslash, no drive, nothing hidden


def home() -> Path:
    """The user's own store: `$TFFLOWS_HOME`, by default `tfflows` in the user's cache folder."""
    if folder := os.environ.get("TFFLOWS_HOME"):
        return Path(folder).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "tfflows"


def roots() -> tuple[Path, ...]:
    """The folders in which `resolve` looks, first match first."""
    return home(), packaged_folder("saved_models")


def check_name(name: str) -> str:
    """Returns `name` if it can name an artefact (a letter or digit, then letters, digits, `_`, `-`, `.`)."""
    if not isinstance(name, str) or not re.fullmatch(NAME, name):
        raise InputError(f"{name!r} cannot name a model: use letters, digits, '_', '-' and '.'")
    return name


def names() -> list[str]:
    """Sorted names of all artefacts that `resolve` finds."""
    folders = [folder for root in roots() if root.is_dir() for folder in root.iterdir()]
    return sorted({folder.name for folder in folders if re.fullmatch(NAME, folder.name) and versions(folder)})


def versions(parent: Path) -> list[int]:
    """Sorted numbers of the version folders in `parent`."""
    if not parent.is_dir():
        return []
    return sorted(int(p.name) for p in parent.iterdir() if re.fullmatch("[1-9][0-9]*", p.name) and p.is_dir())


def next_version(parent: Path) -> int:
    """Returns the number of the next version in `parent`: after those there, and those that come with tfflows.

    A number then means one thing, and where both are served the user's newer weights are the higher version.
    """
    packaged = packaged_folder("saved_models") / parent.name
    return max([*versions(parent), *versions(packaged)], default=0) + 1


def resolve(name: str, version: int | None = None) -> Path:
    """Returns the folder of an artefact, verified; arguments and errors are those of `find` and `verify`."""
    folder = find(name, version)
    verify(folder)
    return folder


def find(name: str, version: int | None = None, where: Sequence[Path] | None = None) -> Path:
    """Returns the folder of an artefact, as it is.

    Args:
        name: the name of the artefact, as `realnvp_digits`.
        version: its number; by default the highest of the first root that has one: the user's own store, what
            comes with tfflows.
        where: the roots to look in, in place of all.

    Raises:
        NotFoundError: there is no such name or version.
    """
    check_name(name)
    if version is not None and not isinstance(version, int):
        raise InputTypeError(f"version is {version!r}: it must be an integer, or None for the highest")
    found, where = set(), roots() if where is None else where
    for root in where:
        here = versions(root / name)
        found.update(here)
        if here and (version is None or version in here):
            return root / name / str(max(here) if version is None else version)
    if found:
        raise NotFoundError(f"{name} has no version {version}: there is {', '.join(map(str, sorted(found)))}")
    raise NotFoundError(f"there are no weights of {name} in {' or '.join(map(str, where))}")


def verify(folder: Path) -> None:
    """Checks every file of a version folder against its manifest; `CorruptError` names the first wrong one."""
    remedy = f"delete {folder} and write it again"
    for name, expected in manifest(folder).items():
        path = folder / name
        if not path.is_file():
            raise CorruptError(f"{path} is missing: {remedy}")
        if sha256(path) != expected:
            raise CorruptError(f"{path} is not the file that was written (its sha256 differs): {remedy}")


def manifest(folder: Path) -> dict[str, str]:
    """{file: sha256} of a version folder, as its manifest says; `CorruptError` if that cannot be read."""
    try:
        sums = dict(_read_manifest(folder)["sha256"])
        if not all(re.fullmatch(FILE, name, re.ASCII) for name in sums):
            raise ValueError("a name that could lead out of the folder")
        return sums
    except (ValueError, LookupError, TypeError) as error:
        raise _damaged(folder) from error


def number(folder: Path) -> int:
    """Returns the version that a folder holds: the folder's name, or what its manifest says where it is of the hub."""
    if folder.name.isdecimal():
        return int(folder.name)
    try:
        return int(_read_manifest(folder)["version"])
    except (ValueError, LookupError, TypeError) as error:
        raise _damaged(folder) from error


def _read_manifest(folder: Path) -> dict:
    try:
        return json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError) as error:
        raise _damaged(folder) from error


def _damaged(folder: Path) -> CorruptError:
    return CorruptError(f"{folder / MANIFEST} is missing or damaged: delete {folder} and write it again")


def publish(parent: Path | str, write: Callable[[Path], object], version: int | None = None) -> Path:
    """Writes a version folder at once: complete under its number, or not at all.

    Args:
        parent: the folder of the versions; made if it is not there. Writers wait for each other.
        write: function of an empty folder that fills it; the manifest is added after it.
        version: the number; by default the next free one. A number that exists is an `ExistsError`.

    Returns:
        The path of the new folder.

    Raises:
        OSError: the disk refuses; nothing of the version is left.
    """
    parent = Path(parent)
    with explained_os_errors(parent):
        parent.mkdir(parents=True, exist_ok=True)
        with FileLock(parent / LOCK):
            version = version or max(versions(parent), default=0) + 1
            target, partial = parent / str(version), parent / PARTIAL
            if target.exists():
                raise ExistsError(f"{target} exists: delete it or choose another folder")
            shutil.rmtree(partial, ignore_errors=True)  # what a killed writer left
            partial.mkdir()
            try:
                write(partial)
                files = sorted(path for path in partial.rglob("*") if path.is_file())
                sums = {path.relative_to(partial).as_posix(): sha256(path) for path in files}
                (partial / MANIFEST).write_text(json.dumps({"sha256": sums}, indent=1) + "\n")
                for path in [*partial.rglob("*"), partial]:
                    _flush(path)
                partial.rename(target)
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise
            _flush(parent)
    return target


def sha256(path: Path) -> str:
    """The sha256 sum of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    """Waits until a file or a folder's entries are on the disk; Windows flushes no folders."""
    if path.is_dir() and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
