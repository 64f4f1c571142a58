"""The part of the Hugging Face hub's API that uploads, tags, lists and downloads models, on this machine, in memory.

Small text files are stored as git's blobs, others by git-lfs's protocol, as the hub does for clients without its own
storage protocol (`HF_HUB_DISABLE_XET=1`).
"""

import base64
import contextlib
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

LFS = (".h5", ".png", ".pb", ".index", ".data-00000-of-00001")


class Repository:
    """The files of each commit, and what the branch and the tags point to."""

    def __init__(self):
        self.commits, self.references = {"0" * 40: {}}, {"main": "0" * 40}

    def resolve(self, revision):
        revision = self.references.get(revision, revision)
        return revision if revision in self.commits else None

    def commit(self, branch, files):
        """The id of a new commit on a branch."""
        content = json.dumps([self.references[branch], *sorted((k, blob_id(v)) for k, v in files.items())])
        oid = hashlib.sha1(content.encode()).hexdigest()
        self.commits[oid], self.references[branch] = files, oid
        return oid


class Hub(ThreadingHTTPServer):
    """`repositories` {"org/name": Repository}; `blobs` of git-lfs by their sha256; `requests` (method, path)."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories, self.blobs, self.requests = {}, {}, []
        self.url = f"http://127.0.0.1:{self.server_port}"


@contextlib.contextmanager
def running_hub():
    """A context with a hub that answers."""
    with Hub() as hub:
        threading.Thread(target=hub.serve_forever, daemon=True).start()
        try:
            yield hub
        finally:
            hub.shutdown()


def blob_id(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.answer(
            (r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", self.info),
            (r"/api/models/([^/]+/[^/]+)/tree/([^/]+)", self.tree),
            (r"/api/models/([^/]+/[^/]+)/refs", self.references),
            (r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.file),
        )

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self):
        self.answer(
            (r"/api/repos/create", self.create),
            (r"/api/validate-yaml", lambda: self.send({"errors": [], "warnings": []})),
            (r"/api/models/([^/]+/[^/]+)/preupload/(.+)", self.preupload),
            (r"/api/models/([^/]+/[^/]+)/commit/(.+)", self.commit),
            (r"/api/models/([^/]+/[^/]+)/tag/(.+)", self.tag),
            (r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", self.lfs_batch),
            (r"/lfs/verify", lambda: self.send({})),
        )

    def do_PUT(self):
        self.answer((r"/lfs/(\w+)", self.lfs_object))

    def answer(self, *routes):
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append((self.command, path))
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        for pattern, function in routes:
            if found := re.fullmatch(pattern, path):
                return function(*found.groups())
        return self.fail(404, "EntryNotFound")

    def send(self, content, status=200, **headers):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": len(data), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def fail(self, status, code):
        self.send({"error": code}, status, X_Error_Code=code, X_Error_Message=code)

    def found(self, name, revision="main"):
        """(repository, commit), or None after an answer that says what is missing."""
        repository = self.server.repositories.get(name)
        if repository is None:
            return self.fail(404, "RepoNotFound")
        commit = repository.resolve(revision)
        return (repository, commit) if commit else self.fail(404, "RevisionNotFound")

    def info(self, name, revision):
        if found := self.found(name, revision or "main"):
            repository, commit = found
            files = [{"rfilename": path} for path in sorted(repository.commits[commit])]
            self.send({"id": name, "modelId": name, "sha": commit, "siblings": files, "private": False, "tags": []})

    def tree(self, name, revision):
        if found := self.found(name, revision):
            repository, commit = found
            self.send([self.entry(path, data) for path, data in sorted(repository.commits[commit].items())])

    @staticmethod
    def entry(path, data):
        entry = {"type": "file", "path": path, "size": len(data), "oid": blob_id(data)}
        if path.endswith(LFS):
            entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
        return entry

    def references(self, name):
        if found := self.found(name):
            all_of_them = found[0].references.items()
            tags = [{"name": k, "ref": f"refs/tags/{k}", "targetCommit": v} for k, v in all_of_them if k != "main"]
            self.send({"branches": [], "converts": [], "tags": tags})

    def file(self, name, revision, path):
        if not (found := self.found(name, revision)):
            return
        repository, commit = found
        if path not in repository.commits[commit]:
            self.fail(404, "EntryNotFound")
            return
        data = repository.commits[commit][path]
        entry, headers = self.entry(path, data), {"X_Repo_Commit": commit}
        if "lfs" in entry:
            headers |= {"X_Linked_Etag": f'"{entry["lfs"]["oid"]}"', "X_Linked_Size": len(data)}
        self.send(data, ETag=f'"{entry["oid"]}"', **headers)

    def create(self):
        given = json.loads(self.body)
        name = f"{given['organization']}/{given['name']}" if given.get("organization") else given["name"]
        if name in self.server.repositories:
            self.send({"url": f"{self.server.url}/{name}", "error": "it exists"}, 409)
            return
        self.server.repositories[name] = Repository()
        self.send({"url": f"{self.server.url}/{name}", "id": name, "name": name})

    def preupload(self, name, revision):
        if self.found(name, revision):
            paths = [file["path"] for file in json.loads(self.body)["files"]]
            modes = {path: "lfs" if path.endswith(LFS) else "regular" for path in paths}
            self.send({"files": [{"path": p, "uploadMode": m, "shouldIgnore": False} for p, m in modes.items()]})

    def lfs_batch(self, name):
        upload, verify = f"{self.server.url}/lfs", {"href": f"{self.server.url}/lfs/verify"}
        objects = [
            {**each, "actions": {"upload": {"href": f"{upload}/{each['oid']}"}, "verify": verify}}
            for each in json.loads(self.body)["objects"]
        ]
        self.send({"transfer": "basic", "objects": objects})

    def lfs_object(self, oid):
        assert hashlib.sha256(self.body).hexdigest() == oid
        self.server.blobs[oid] = self.body
        self.send({})

    def commit(self, name, branch):
        if not (found := self.found(name, branch)):
            return
        repository, parent = found
        files = dict(repository.commits[parent])
        for line in self.body.splitlines():
            operation = json.loads(line)
            key, value = operation["key"], operation["value"]
            if key == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif key == "lfsFile":
                files[value["path"]] = self.server.blobs[value["oid"]]
            elif key == "deletedFile":
                del files[value["path"]]
        oid = repository.commit(branch, files)
        self.send({"commitUrl": f"{self.server.url}/{name}/commit/{oid}", "commitOid": oid, "hookOutput": ""})

    def tag(self, name, revision):
        if found := self.found(name, revision):
            repository, commit = found
            repository.references[json.loads(self.body)["tag"]] = commit
            self.send({})
