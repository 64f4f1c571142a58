"""An artefact as one file: a zip archive of its version folder, stored without compression.

Nothing is compressed, because weights do not shrink: so the same folder makes the same bytes on every machine, and
no small archive can become a large folder.
"""

import os
import re
import shutil
import stat
import struct
import zipfile
from pathlib import Path

from tfflows.errors import ArchiveError, CorruptError, ExistsError
from tfflows.zoo import store

MAX_FILES, MAX_NAME, CHUNK = 1000, 200, 2**20
# plain names joined by "/": nothing absolute, no "..", no backslash, no drive, nothing hidden
MEMBER = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*", re.ASCII)
DAMAGE = (zipfile.BadZipFile, EOFError, NotImplementedError, ValueError, struct.error)  # what zipfile raises


def pack(folder: str | Path, path: str | Path) -> None:
    """Writes a verified version folder to an archive, whole or not at all.

    Args:
        folder: the version folder.
        path: of the archive.

    Raises:
        ExistsError: there is a file at `path`.
    """
    folder, path = Path(folder), Path(path)
    if path.exists():
        raise ExistsError(f"{path} exists: delete it or choose another file")
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with zipfile.ZipFile(partial, "w") as archive:
            for name in sorted([*store.manifest(folder), store.MANIFEST]):
                member = zipfile.ZipInfo(name)  # dated 1980, whatever the date of the file
                member.create_system, member.external_attr = 3, (stat.S_IFREG | 0o644) << 16  # as on Unix
                member.file_size = (folder / name).stat().st_size
                _check(member, folder)
                with open(folder / name, "rb") as source, archive.open(member, "w") as target:
                    shutil.copyfileobj(source, target, CHUNK)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def unpack(path: str | Path, folder: str | Path) -> None:
    """Unpacks an archive and verifies what it holds against the manifest in it.

    Args:
        path: of the archive.
        folder: an empty folder.

    Raises:
        ArchiveError: a member is compressed, a link, a device or a folder, or has a name that could lead out of
            `folder`; there are more than MAX_FILES, or together they are larger than the archive; or they are
            not the files of the manifest.
    """
    folder, left = Path(folder), Path(path).stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > MAX_FILES:
                raise ArchiveError(f"{path} holds {len(members)} files, expected at most {MAX_FILES}")
            for member in members:
                _check(member, path)
                if member.header_offset < 0:  # which zipfile would seek to
                    raise zipfile.BadZipFile("a negative offset")
                target = folder / member.filename
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, open(target, "xb") as file:
                    while chunk := source.read(CHUNK):
                        left -= len(chunk)  # counted as they come, whatever the headers say
                        if left < 0:
                            raise ArchiveError(f"{path} unpacks to more than its own size, expected less")
                        file.write(chunk)
        listed = store.manifest(folder).keys() | {store.MANIFEST}
        for name in listed.symmetric_difference(member.filename for member in members):
            raise ArchiveError(f"{path} and the manifest in it differ in {name}: pack the folder again")
        store.verify(folder)
    except (*DAMAGE, FileExistsError, NotADirectoryError) as error:
        raise ArchiveError(f"{path} is not an archive or a damaged one ({error}): pack the folder again") from error
    except CorruptError as error:
        raise ArchiveError(f"{path} and the manifest in it differ: pack the folder again") from error


def _check(member: zipfile.ZipInfo, path: Path | str) -> None:
    """Raises ArchiveError unless `member` is a plain file under a plain name."""
    name = member.orig_filename
    if not MEMBER.fullmatch(name) or len(name) > MAX_NAME:
        raise ArchiveError(f"{path} holds {name!r}, expected short names of letters, digits, '_', '-' and '.'")
    if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
        raise ArchiveError(f"{path} holds {name} as a link or a device, expected plain files")
    if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
        raise ArchiveError(f"{path} holds {name} compressed or encrypted, expected it stored as it is")
