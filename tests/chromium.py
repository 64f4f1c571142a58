"""A headless Chromium, driven by WebDriver's protocol, and a server of a folder; nothing is needed but the browser."""

import functools
import http.server
import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request

AVAILABLE = bool(shutil.which("chromedriver") and (shutil.which("chromium") or shutil.which("google-chrome")))


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Says nothing."""


class Server:
    """Serves a folder on this machine, as any web server of static files does."""

    def __init__(self, folder):
        handler = functools.partial(_Quiet, directory=str(folder))
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class Browser:
    """A page in Chromium."""

    def __init__(self, width=1280, height=1400):
        self.size = f"--window-size={width},{height}"

    def __enter__(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"http://127.0.0.1:{free.getsockname()[1]}"
        port = self.address.rpartition(":")[2]
        self.driver = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"{self.address}/status").close()
                break
            except urllib.error.URLError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        arguments = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", self.size]
        options = {"goog:chromeOptions": {"args": arguments}, "goog:loggingPrefs": {"browser": "ALL"}}
        self.session = ""
        self.session = "/session/" + self._call("/session", capabilities={"alwaysMatch": options})["sessionId"]
        self._call("/timeouts", script=300_000, pageLoad=300_000)
        return self

    def __exit__(self, *_):
        self._call("", method="DELETE")
        self.driver.terminate()
        self.driver.wait()

    def _call(self, path, method="POST", **body):
        request = urllib.request.Request(
            self.address + self.session + path,
            method=method,
            data=json.dumps(body).encode() if method == "POST" else None,
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=600) as response:
            return json.load(response)["value"]

    def open(self, url):
        """Loads a page."""
        self._call("/url", url=url)

    def run(self, script, *arguments):
        """What the body of a function returns, or the promise that it returns."""
        return self._call("/execute/sync", script=script, args=list(arguments))

    def errors(self):
        """Messages of the console that are errors."""
        return [entry for entry in self._call("/se/log", type="browser") if entry["level"] == "SEVERE"]
