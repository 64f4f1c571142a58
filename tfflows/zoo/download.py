"""Downloads published weights into the store: mirrors in turn, resumed where they broke off, verified, then used.

Downloads lie in `$TFFLOWS_HOME/.downloads`, in folders like those of the user's own weights. The archive that arrives
is a hidden file there, named by its sha256 sum, so that any mirror and any process can complete it. With
`TFFLOWS_OFFLINE=1` only `file:` mirrors are read.
"""

import contextlib
import os
import re
import shutil
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO
from urllib.error import HTTPError

from tqdm import tqdm

from tfflows.errors import ArchiveError, DownloadError, ExistsError, InputError
from tfflows.zoo import store
from tfflows.zoo.archive import unpack
from tfflows.zoo.recipe import Recipe, WeightsConfig, check_url

TIMEOUT = 30.0  # seconds without a byte
CHUNK = 2**16


class _MirrorError(Exception):
    """One mirror cannot be reached, broke off, or has another file."""


def download(name: str, weights: WeightsConfig) -> Path:
    """Returns the version folder of published weights, downloaded unless it is there.

    Processes that ask at once wait for the one that downloads. When a download breaks off, what was received is
    kept, and the next call continues from there.

    Args:
        name: the name of the model.
        weights: what is published, and where.

    Raises:
        DownloadError: no mirror gave the archive, TFFLOWS_OFFLINE forbids the network, or the disk is too small.
        ArchiveError: the archive is damaged or unsafe, or holds another model.
    """
    parent = store.downloads() / store.check_name(name)
    archive = parent / f".{weights.sha256}"

    def write(folder: Path) -> None:
        _fetch(name, weights, archive)
        try:
            unpack(archive, folder)
            _check_recipe(folder / "recipe.toml", name)
        except ArchiveError:
            archive.unlink()
            raise
        (folder / store.MANIFEST).unlink()  # `publish` writes the same again

    with contextlib.suppress(ExistsError):  # another process was faster
        store.publish(parent, write, weights.version)
    archive.unlink(missing_ok=True)  # not before: a process that is killed until here need not download it again
    return parent / str(weights.version)


def _check_recipe(path: Path, name: str) -> None:
    """Raises ArchiveError unless the recipe at `path` is that of the model."""
    try:
        held = Recipe.from_toml(path).name
    except (OSError, ValueError) as error:
        raise ArchiveError(f"the archive of {name} has no valid recipe.toml ({error}): pack it again") from error
    if held != name:
        raise ArchiveError(f"the archive holds {held}, expected {name}: correct [weights] in the recipe of {name}")


def _fetch(name: str, weights: WeightsConfig, archive: Path) -> None:
    """Completes the archive, from the first mirror that has it; afterwards its sum is right."""
    offline = os.environ.get("TFFLOWS_OFFLINE", "0") not in ("", "0")
    urls = [url for url in weights.urls if not offline or url.startswith("file:")]
    if not urls:
        raise DownloadError(f"the weights of {name} are not here and TFFLOWS_OFFLINE is set: unset it to download them")
    needed, free = 2 * weights.size - _size(archive), shutil.disk_usage(archive.parent).free
    if needed > free:
        where = f"{needed / 1e6:,.0f} MB in {archive.parent}, where {free / 1e6:,.0f} MB are free"
        raise DownloadError(f"{name} needs {where}: make room, or set TFFLOWS_HOME to another disk")
    failures = []
    with tqdm(desc=name, total=weights.size, unit="B", unit_scale=True, disable=None) as bar:
        for url in urls:
            try:
                _fetch_from(url, archive, weights, bar)
                return
            except _MirrorError as error:
                failures.append(f"{url}: {error}")
    raise DownloadError(f"{name} cannot be downloaded ({'; '.join(failures)}): try again later or add a mirror")


def _fetch_from(url: str, archive: Path, weights: WeightsConfig, bar: tqdm) -> None:
    """Completes the archive from one mirror, trying again as long as each try brings a hundredth of it."""
    reached = _size(archive)
    from_elsewhere = reached > 0
    while True:
        try:
            if _size(archive) < weights.size:
                _receive(url, archive, weights.size, bar)
        except _MirrorError:
            if _size(archive) - reached < max(weights.size / 100, 1):
                raise
            reached = _size(archive)
            continue
        found = store.sha256(archive)
        if found == weights.sha256:
            return
        archive.unlink()
        if not from_elsewhere:
            raise _MirrorError(f"another file, its sha256 is {found} and not {weights.sha256}")
        from_elsewhere, reached = False, 0  # the first bytes were wrong, this mirror's own may be right


def _receive(url: str, archive: Path, size: int, bar: tqdm) -> None:
    """Appends to `archive` what it lacks; a server without support for ranges sends all of it again."""
    offset = _size(archive)
    proxies = urllib.request.getproxies()
    proxies.pop("http", None)  # http: goes to loopback alone, where a proxy has no business
    opener = urllib.request.build_opener(_Redirects, urllib.request.ProxyHandler(proxies))
    headers = {"User-Agent": "tfflows"} | ({"Range": f"bytes={offset}-"} if offset else {})
    with _network():
        response = opener.open(urllib.request.Request(check_url(url), headers=headers), timeout=TIMEOUT)
    with response:
        offset = offset if response.status == 206 else 0
        length, sent = response.headers["Content-Length"], response.headers["Content-Range"]
        expected = f"bytes {offset}-{size - 1}/{size}"
        if length not in (None, str(size - offset)) or (offset and sent != expected):
            raise _MirrorError(f"another file, it sends {length} bytes ({sent or 'all'}) and not {expected}")
        bar.n = offset
        with open(archive, "ab" if offset else "wb") as file:
            while offset < size:
                with _network():
                    chunk = response.read1(min(CHUNK, size - offset))
                if not chunk:
                    raise _MirrorError(f"it broke off after {offset:,} of {size:,} bytes")
                offset += file.write(chunk)
                bar.update(len(chunk))


@contextlib.contextmanager
def _network() -> Iterator[None]:
    """A context that turns errors of the network into `_MirrorError`; a full disk stays an OSError."""
    try:
        yield
    except (OSError, HTTPException, UnicodeError) as error:
        if isinstance(error, HTTPError):
            error.close()
        reason = re.sub("[^ -~]+", " ", str(error))  # a server wrote it: no escape codes for the terminal
        raise _MirrorError(reason or type(error).__name__) from error


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to URLs that a recipe may name, but never from another machine to a port of this one."""

    def redirect_request(
        self,
        request: urllib.request.Request,
        response: IO[bytes],
        code: int,
        message: str,
        headers: HTTPMessage,
        url: str,
    ) -> urllib.request.Request | None:
        try:
            check_url(url)
            if request.type == "https" and not url.startswith("https:"):
                raise InputError(f"{url!r} is not https: as it was")
        except ValueError as error:
            response.close()
            raise HTTPException(f"a redirect: {error}") from error
        return super().redirect_request(request, response, code, message, headers, url)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
