"""Downloads from real servers: whatever a mirror does, what is used is what was published, and nothing else stays."""

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from conftest import TINY
from filelock import FileLock

from tfflows import zoo
from tfflows.cli import main
from tfflows.errors import DownloadError, NotFoundError, StoreError
from tfflows.zoo import cache, download, store
from tfflows.zoo.recipe import WeightsConfig

pytestmark = pytest.mark.backend_free
ROOT = Path(__file__).resolve().parents[2]
WAIT = 20  # seconds after which something hangs
PIECE = 30_000  # bytes after which a server breaks off; the archive has ten times as many
LOADER = """
import sys
from pathlib import Path
from tfflows import zoo
zoo.packaged_folder = lambda folder: Path(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
print(zoo.artefact("tiny"))
"""


class Handler(BaseHTTPRequestHandler):
    """Serves one file in the ways that the path names, as `/drop-without-ranges`."""

    def do_GET(self):
        server, way, asked = self.server, self.path[1:], self.headers["Range"]
        server.requests.append((way, asked))
        if way.startswith("to="):
            self.send_response(302)
            self.send_header("Location", way[3:])
            self.end_headers()
            return
        if way.isdigit():
            self.send_error(int(way))
            return
        body = {"other": bytes(len(server.body)), "shorter": server.body[:-9]}.get(way.split("-")[0], server.body)
        start = 0 if asked is None or "without-ranges" in way else int(asked.removeprefix("bytes=").removesuffix("-"))
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if "without-length" not in way:
            self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        if way.startswith("drop"):
            self.wfile.write(body[start : start + PIECE])
        elif way.startswith("crumb"):
            self.wfile.write(body[start : start + 100])
        elif way.startswith("reset"):
            self.wfile.write(body[start : start + PIECE])
            time.sleep(0.05)  # so that the bytes leave before the reset
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif way.startswith("slow"):
            for index in range(start, len(body), PIECE):
                self.wfile.write(body[index : index + PIECE])
                time.sleep(0.03)
        elif way.startswith("stall") and not server.go_on.is_set():
            self.wfile.write(body[start:PIECE])
            server.go_on.wait(WAIT)
        else:
            self.wfile.write(body[start:])

    def log_message(self, *arguments):
        pass


class Server(ThreadingHTTPServer):
    def handle_error(self, request, client_address):  # clients that were killed, and resets that were asked for
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


@contextlib.contextmanager
def serving(body, certificate=None):
    with Server(("127.0.0.1", 0), Handler) as server:
        server.body, server.requests, server.go_on = body, [], threading.Event()
        server.url = f"http://127.0.0.1:{server.server_port}"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
            server.url = f"https://localhost:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.go_on.set()
            server.shutdown()
            thread.join()


@pytest.fixture
def server(published):
    with serving(published.read_bytes()) as server:
        yield server


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TFFLOWS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TFFLOWS_OFFLINE", raising=False)
    return tmp_path / "home"


def weights(path, *urls):
    data = path.read_bytes()
    return WeightsConfig(3, len(data), hashlib.sha256(data).hexdigest(), urls)


@pytest.fixture
def get(home, server, published):
    """get("drop", "good") downloads from mirrors that answer so, and checks what lies in the store."""

    def get(*ways):
        urls = [way if way.startswith(("http", "file:")) else f"{server.url}/{way}" for way in ways]
        folder = download.download("tiny", weights(published, *urls))
        assert folder == home / ".downloads" / "tiny" / "3"
        store.verify(folder)
        assert (folder / "model.weights.h5").read_bytes() == random.Random(0).randbytes(300_000)
        assert left(home) == ["3"]
        return server.requests

    return get


def left(home):
    """What lies in the folder of the downloads of `tiny`, but for the lock."""
    return sorted(path.name for path in (home / ".downloads" / "tiny").iterdir() if path.name != ".lock")


@pytest.fixture
def zoo_folder(tmp_path, monkeypatch, server, published):
    """zoo_folder("good") makes a zoo whose only entry, `tiny`, has such mirrors."""

    def make(*ways):
        table = weights(published, *(f"{server.url}/{way}" for way in ways))
        lines = [f"{key} = {json.dumps(getattr(table, key))}" for key in ("version", "size", "sha256", "urls")]
        (tmp_path / "zoo").mkdir(exist_ok=True)
        (tmp_path / "zoo" / "tiny.toml").write_text("\n".join([TINY, "[weights]", *lines]))
        return tmp_path / "zoo"

    for module in (zoo, store):
        monkeypatch.setattr(module, "packaged_folder", lambda folder: tmp_path / folder)
    return make


def start_loader(zoo_folder, **options):
    command = [sys.executable, "-c", LOADER, zoo_folder]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options)


# What mirrors do


def test_a_download_is_asked_for_once(get):
    assert get("good") == [("good", None)]
    assert get("good") == [("good", None)]


@pytest.mark.parametrize("bad", ["404", "500", "shorter", "other", "to=http://192.0.2.1/x", "to=file:///etc/passwd"])
def test_the_next_mirror_is_tried_where_one_fails(get, bad):
    assert get(bad, "good", "404") == [(bad, None), ("good", None)]


def test_mirrors_that_are_not_there_or_do_not_answer_are_passed_over(get, server, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.3)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}/x"
        rest = f"bytes={PIECE}-"  # what stalled had sent something, so it is asked once more
        assert get(nobody, "file:///no/such/file", "stall", "good") == [
            ("stall", None),
            ("stall", rest),
            ("good", rest),
        ]


def test_a_mirror_that_sends_crumbs_is_passed_over(get):
    assert get("crumb", "good") == [("crumb", None), ("good", "bytes=100-")]


@pytest.mark.parametrize("way", ["drop", "reset"])
def test_a_connection_that_breaks_is_resumed_where_it_broke(get, server, way):
    starts = range(PIECE, len(server.body), PIECE)
    assert get(way) == [(way, None), *((way, f"bytes={start}-") for start in starts)]


def test_a_server_without_ranges_starts_again(get, server):
    ways = [way for way, _ in get("drop-without-ranges", "good-without-ranges")]
    assert ways == ["drop-without-ranges", "drop-without-ranges", "good-without-ranges"]


def test_a_server_need_not_say_the_length(get):
    assert len(get("good-without-length")) == 1


def test_a_wrong_beginning_from_one_mirror_does_not_spoil_the_next(get, server, home):
    partial = home / ".downloads" / "tiny" / f".{hashlib.sha256(server.body).hexdigest()}"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(bytes(1000))
    assert get("good") == [("good", "bytes=1000-"), ("good", None)]


def test_redirects_are_followed(get, server):
    assert [way for way, _ in get(f"to={server.url}/good")] == [f"to={server.url}/good", "good"]


def test_loopback_needs_no_proxy(get, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert [way for way, _ in get("good")] == ["good"]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate")
def test_certificates_are_verified_and_https_does_not_lead_to_http(get, server, tmp_path, monkeypatch):
    path = tmp_path / "certificate.pem"
    make = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    subprocess.run([*make.split(), "-keyout", path, "-out", tmp_path / "public.pem"], check=True, capture_output=True)
    path.write_text(path.read_text() + (tmp_path / "public.pem").read_text())
    monkeypatch.setenv("no_proxy", "localhost")
    with serving(server.body, path) as secure:
        down = f"to={server.url}/good"
        assert get(f"{secure.url}/good", "good") == [("good", None)]
        assert secure.requests == []
        cache.clear()
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "public.pem"))
        get(f"{secure.url}/{down}", f"{secure.url}/to={secure.url}/good")
        assert [way for way, _ in secure.requests] == [down, f"to={secure.url}/good", "good"]
        assert len(server.requests) == 1


def test_files_are_mirrors_too(get, published):
    assert get(published.as_uri()) == []


def test_where_every_mirror_fails_each_reason_is_said_and_nothing_stays(home, server, published):
    urls = [f"{server.url}/{way}" for way in ("404", "other", "shorter", "to=https:")]
    with pytest.raises(DownloadError) as error:
        download.download("tiny", weights(published, *urls))
    message = str(error.value)
    for url, reason in zip(urls, ("HTTP Error 404", "its sha256 is", "it sends", "no URL to load from"), strict=True):
        assert f"{url}: " in message
        assert reason in message
    assert "\n" not in message
    assert left(home) == []


def test_a_disk_that_is_too_small_is_noticed_before_anything_is_sent(home, server):
    with pytest.raises(DownloadError, match="make room, or set TFFLOWS_HOME"):
        download.download("tiny", WeightsConfig(3, 10**18, "0" * 64, (f"{server.url}/good",)))
    assert server.requests == []
    assert left(home) == []


# Offline


def test_offline_nothing_is_asked_and_what_is_here_is_used(get, server, home, published, zoo_folder, monkeypatch):
    zoo_folder("good")
    monkeypatch.setenv("TFFLOWS_OFFLINE", "1")
    with pytest.raises(DownloadError, match="TFFLOWS_OFFLINE is set: unset it to download"):
        zoo.artefact("tiny")
    assert get("good", published.as_uri()) == []
    assert zoo.artefact("tiny") == home / ".downloads" / "tiny" / "3"
    assert server.requests == []


# Processes


def test_sixteen_processes_load_at_once_and_one_downloads(home, server, zoo_folder):
    folder = zoo_folder("slow")
    loaders = [start_loader(folder) for _ in range(16)]
    for loader in loaders:
        assert loader.stdout.readline() == "ready\n"
    for loader in loaders:
        loader.stdin.write("\n")
        loader.stdin.flush()
    printed = [loader.communicate(timeout=WAIT)[0] for loader in loaders]
    assert [loader.returncode for loader in loaders] == [0] * 16
    assert set(printed) == {f"{home / '.downloads' / 'tiny' / '3'}\n"}
    assert server.requests == [("slow", None)]
    assert left(home) == ["3"]


def test_a_killed_download_goes_on_where_it_was(get, server, home, zoo_folder):
    with start_loader(zoo_folder("stall")) as loader:
        loader.stdin.write("\n")
        loader.stdin.flush()
        end = time.monotonic() + WAIT
        while sum(size for path, size in cache.entries() if path.is_file()) < PIECE:
            assert time.monotonic() < end
            time.sleep(0.01)
        loader.kill()
        loader.communicate()
    assert store.versions(home / ".downloads" / "tiny") == []
    server.go_on.set()
    assert get("stall") == [("stall", None), ("stall", f"bytes={PIECE}-")]


def test_kills_at_random_moments_leave_no_corrupt_artefact(server, home, zoo_folder):
    folder, moments = zoo_folder("slow"), random.Random(1)
    for _ in range(8):
        with start_loader(folder) as loader:
            loader.stdout.readline()
            loader.stdin.write("\n")
            loader.stdin.flush()
            time.sleep(moments.uniform(0.0, 0.15))
            os.kill(loader.pid, signal.SIGKILL)
            loader.communicate()
        for version in store.versions(home / ".downloads" / "tiny"):
            store.verify(home / ".downloads" / "tiny" / str(version))
    store.verify(zoo.artefact("tiny"))
    cache.clear()  # who was killed after the last step may have left the archive
    assert left(home) == []
    starts = [int(asked[6:-1]) for _, asked in server.requests if asked]
    assert starts == sorted(starts)


def test_a_terminal_shows_the_progress(zoo_folder, home, server):
    pty, termios = (pytest.importorskip(name, reason="terminals of Unix") for name in ("pty", "termios"))
    terminal, side = pty.openpty()
    termios.tcsetwinsize(side, (24, 80))
    with start_loader(zoo_folder("good"), stderr=side) as loader:
        loader.communicate("\n", timeout=WAIT)
    os.close(side)
    shown = os.read(terminal, 2**16).decode()
    os.close(terminal)
    assert "tiny: 100%" in shown
    assert "kB/s" in shown or "MB/s" in shown


# The zoo


def test_weights_are_looked_for_here_before_they_are_downloaded(home, server, zoo_folder, tmp_path, published):
    zoo_folder("good")
    with pytest.raises(NotFoundError, match="tiny has no version 2: 3 is published"):
        zoo.artefact("tiny", 2)
    for root in ("saved_models", "home"):
        shutil.copytree(published.parent / "tiny" / "3", tmp_path / root / "tiny" / "1")
        assert zoo.artefact("tiny") == tmp_path / root / "tiny" / "1"
    assert server.requests == []
    assert zoo.artefact("tiny", 3) == home / ".downloads" / "tiny" / "3"
    assert len(server.requests) == 1


def run(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_what_is_packed_and_put_into_a_recipe_can_be_downloaded(home, zoo_folder, tmp_path, published, capsys):
    recipe = zoo_folder("good") / "tiny.toml"
    recipe.write_text(TINY)
    shutil.copytree(published.parent / "tiny" / "3", home / "tiny" / "3")
    code, table, _ = run(capsys, "pack", "tiny", tmp_path / "tiny.zip")
    assert code == 0
    assert (tmp_path / "tiny.zip").read_bytes() == published.read_bytes()
    recipe.write_text(TINY + table)
    shutil.rmtree(home)
    assert "tiny  download" in run(capsys, "list")[1]
    assert "# 0.3 MB of weights are downloaded when" in run(capsys, "show", "tiny")[1]
    assert not home.exists()
    store.verify(zoo.artefact("tiny"))
    assert "2.500" in run(capsys, "list")[1]
    assert run(capsys, "pack", "tiny", tmp_path / "tiny.zip")[::2] == (
        2,
        f"tfflows: {tmp_path / 'tiny.zip'} exists: delete it or choose another file\n",
    )
    code, _, message = run(capsys, "pack", "tiny", tmp_path / "2.zip", "--url", "http://example.org/2.zip")
    assert code == 2
    assert "no URL to load from" in message
    assert not (tmp_path / "2.zip").exists()
    urls = ["--url", "https://a.org/2.zip", "--url", "https://b.org/2.zip"]
    assert (
        'urls = ["https://a.org/2.zip", "https://b.org/2.zip"]'
        in run(capsys, "pack", "tiny", tmp_path / "2.zip", *urls)[1]
    )


# The cache


def test_the_cache_is_listed_and_cleared_and_what_was_trained_stays(get, home, published, capsys):
    assert run(capsys, "cache", "list") == (0, "", "")
    get("good")
    trained = shutil.copytree(published.parent / "tiny" / "3", home / "tiny" / "1")
    other = home / ".downloads" / "other" / f".{'0' * 64}"
    other.parent.mkdir()
    other.write_bytes(bytes(2_000_000))
    code, listing, _ = run(capsys, "cache", "list")
    assert code == 0
    assert [line.split()[:3] for line in listing.splitlines()] == [
        ["2.0", "MB", str(other)],
        ["0.3", "MB", str(home / ".downloads" / "tiny" / "3")],
    ]
    assert "broken off" in listing.splitlines()[0]
    assert run(capsys, "cache", "clear", "other") == (0, "2.0 MB freed\n", "")
    assert left(home) == ["3"]
    assert run(capsys, "cache", "clear") == (0, "0.3 MB freed\n", "")
    assert left(home) == []
    store.verify(trained)
    code, _, message = run(capsys, "cache", "clear", "tiny")
    assert code == 2
    assert "nothing of 'tiny' was downloaded" in message


def test_what_is_being_downloaded_is_not_cleared(get, home):
    get("good")
    with FileLock(home / ".downloads" / "tiny" / ".lock"), pytest.raises(StoreError, match="being downloaded"):
        cache.clear()
    assert left(home) == ["3"]
