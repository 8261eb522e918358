"""A Hugging Face Hub in a few hundred lines: repositories with revisions, files behind redirects, refusals on demand.

It answers what `huggingface_hub` and `datasets` ask: repository and tree, paths, refs, and files by `resolve`, with the
headers that they check. What it was asked is kept, so that a test can count.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

Kind = Literal["model", "dataset"]
LARGE = 512
"""Bytes from which a file lies behind a redirect, as files in Git LFS do."""
TOKEN = "hf_right"
"""The only token that opens what is gated."""


@dataclass
class Repo:
    """A repository: its commits, and the branches and tags that name them."""

    kind: Kind
    name: str
    gated: bool = False
    commits: dict[str, Mapping[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def commit(self, files: Mapping[str, bytes], *, branch: str = "main", tag: str | None = None) -> str:
        """A new commit on a branch, or under a tag alone; its name."""
        digest = hashlib.sha1(self.name.encode(), usedforsecurity=False)
        for path in sorted(files):
            digest.update(path.encode() + b"\0" + files[path])
        name = digest.hexdigest()
        self.commits[name] = dict(files)
        (self.branches if tag is None else self.tags)[branch if tag is None else tag] = name
        return name

    def find(self, revision: str) -> str | None:
        """The commit that a branch, a tag or a commit's name stands for."""
        return (
            self.branches.get(revision) or self.tags.get(revision) or (revision if revision in self.commits else None)
        )


@dataclass
class Trouble:
    """What goes wrong with requests for a path."""

    path: re.Pattern[str]
    status: int
    times: int
    headers: Mapping[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    """The answer is right but ends after so many bytes."""


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    range: str | None
    token: str | None
    status: int


class Hub:
    """The server. A context manager: it listens while it is open."""

    def __init__(self) -> None:
        self.repos: dict[tuple[Kind, str], Repo] = {}
        self.troubles: list[Trouble] = []
        self.asked: list[Asked] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.elsewhere = f"http://localhost:{self._server.server_port}"
        """Where redirects of large files lead: another host, by its name."""

    def __enter__(self) -> Hub:
        threading.Thread(target=self._server.serve_forever, daemon=True, kwargs={"poll_interval": 0.02}).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def model(self, name: str, files: Mapping[str, bytes] | None = None, *, gated: bool = False) -> Repo:
        """A new repository of a model, with its first commit on main."""
        return self._repo("model", name, files, gated)

    def dataset(self, name: str, files: Mapping[str, bytes] | None = None, *, gated: bool = False) -> Repo:
        """The same of a data set."""
        return self._repo("dataset", name, files, gated)

    def _repo(self, kind: Kind, name: str, files: Mapping[str, bytes] | None, gated: bool) -> Repo:
        made = self.repos[kind, name] = Repo(kind, name, gated)
        if files is not None:
            made.commit(files)
        return made

    def fail(self, path: str, status: int, *, times: int = 10**6, **headers: str) -> None:
        """The next `times` requests whose path matches get that status; headers are written with `_` for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.troubles.append(Trouble(re.compile(path), status, times, named))

    def cut(self, path: str, after: int, *, times: int = 1) -> None:
        """The next `times` downloads of a matching path end after so many bytes."""
        self.troubles.append(Trouble(re.compile(path), 0, times, cut_after=after))

    def trouble(self, method: str, path: str) -> Trouble | None:
        """What goes wrong with this request, counted down."""
        with self._lock:
            for one in self.troubles:
                if one.times > 0 and one.path.search(path) and not (one.cut_after is not None and method != "GET"):
                    one.times -= 1
                    return one
        return None

    def paths(self, pattern: str, method: str = "GET") -> list[Asked]:
        """The requests so far whose path matches."""
        return [one for one in self.asked if one.method == method and re.search(pattern, one.path)]


@dataclass(frozen=True)
class _RefusedError(Exception):
    status: int
    code: str
    message: str


_API = re.compile(r"/api/(models|datasets)/([^/]+/[^/]+)(?:/(revision|tree|paths-info|refs)(?:/(.*))?)?")
_FILE = re.compile(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.*)")


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer()

        def do_HEAD(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def log_message(self, *_: object) -> None:
            """Nothing."""

        def _answer(self) -> None:
            self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.route = unquote(urlsplit(self.path).path)
            trouble = hub.trouble(self.command, self.route)
            self.cut_after = None if trouble is None else trouble.cut_after
            if trouble is not None and trouble.cut_after is None:
                self._send(trouble.status, b'{"error": "as the test wants it"}', trouble.headers)
                return
            try:
                self._find()
            except _RefusedError as refusal:
                headers = {"X-Error-Code": refusal.code, "X-Error-Message": refusal.message}
                self._send(refusal.status, json.dumps({"error": refusal.message}).encode(), headers)

        def _find(self) -> None:
            if self.route.startswith("/cdn/"):
                self._send_file(self._blob(self.route.removeprefix("/cdn/")), {})
            elif (found := _API.fullmatch(self.route)) is not None:
                kind, name, what, rest = found.groups()
                self._api(self._repo("model" if kind == "models" else "dataset", name), what, rest or "")
            elif (found := _FILE.fullmatch(self.route)) is not None:
                repo = self._repo("dataset" if found[1] else "model", found[2])
                self._resolve(repo, found[3], found[4])
            else:
                raise _RefusedError(404, "NotFound", f"no such page: {self.route}")

        def _blob(self, digest: str) -> bytes:
            for repo in hub.repos.values():
                for files in repo.commits.values():
                    for content in files.values():
                        if hashlib.sha256(content).hexdigest() == digest:
                            return content
            raise _RefusedError(404, "EntryNotFound", "no such blob")

        def _repo(self, kind: Kind, name: str) -> Repo:
            repo = hub.repos.get((kind, name))
            if repo is None:
                raise _RefusedError(401, "RepoNotFound", "Repository not found")
            return repo

        def _check_gate(self, repo: Repo) -> None:
            if repo.gated and self.headers.get("Authorization") != f"Bearer {TOKEN}":
                raise _RefusedError(401, "GatedRepo", f"Access to {repo.kind} {repo.name} is restricted.")

        def _commit(self, repo: Repo, revision: str) -> str:
            found = repo.find(revision)
            if found is None:
                raise _RefusedError(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return found

        def _api(self, repo: Repo, what: str | None, rest: str) -> None:
            if what == "refs":
                self._send_json(_refs(repo))
                return
            revision, _, path = rest.partition("/")
            commit = self._commit(repo, revision or "main")
            files = repo.commits[commit]
            if what in (None, "revision"):
                self._send_json(_info(repo, commit))
            elif what == "tree":
                self._check_gate(repo)
                recursive = parse_qs(urlsplit(self.path).query).get("recursive", ["false"])[0].lower() in ("true", "1")
                self._send_json([*_tree(files, path, recursive=recursive)])
            else:
                wanted = self._wanted()
                entries = {entry["path"]: entry for entry in _tree(files, "", recursive=True)}
                self._send_json([entries[one.strip("/")] for one in wanted if one.strip("/") in entries])

        def _wanted(self) -> list[str]:
            if "json" in (self.headers.get("Content-Type") or ""):
                return list(json.loads(self.body)["paths"])
            return parse_qs(self.body.decode()).get("paths", [])

        def _resolve(self, repo: Repo, revision: str, path: str) -> None:
            commit = self._commit(repo, revision)
            self._check_gate(repo)
            content = repo.commits[commit].get(path)
            if content is None:
                headers = {
                    "X-Repo-Commit": commit,
                    "X-Error-Code": "EntryNotFound",
                    "X-Error-Message": "Entry not found",
                }
                self._send(404, b"Entry not found", headers)
                return
            if len(content) < LARGE:
                self._send_file(content, {"X-Repo-Commit": commit, "ETag": f'"{_git(content)}"'})
                return
            digest = hashlib.sha256(content).hexdigest()
            headers = {
                "X-Repo-Commit": commit,
                "X-Linked-Etag": f'"{digest}"',
                "X-Linked-Size": str(len(content)),
                "ETag": f'"{digest}"',
                "Location": f"{hub.elsewhere}/cdn/{digest}",
            }
            self._send(302, b"", headers)

        def _send_file(self, content: bytes, headers: Mapping[str, str]) -> None:
            asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
            if asked is None:
                self._send(200, content, {**headers, "Accept-Ranges": "bytes"})
                return
            start, end = int(asked[1]), min(int(asked[2] or len(content) - 1), len(content) - 1)
            place = f"bytes {start}-{end}/{len(content)}"
            self._send(206, content[start : end + 1], {**headers, "Content-Range": place})

        def _send_json(self, value: Any) -> None:
            self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

        def _send(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
            token = self.headers.get("Authorization")
            hub.asked.append(Asked(self.command, self.route, self.headers.get("Range"), token, status))
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "HEAD":
                return
            whole = self.cut_after is None
            self.wfile.write(content if whole else content[: self.cut_after])
            if not whole:
                self.close_connection = True

    return Handler


def _git(content: bytes) -> str:
    """What git calls a file's content."""
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content, usedforsecurity=False).hexdigest()


def _info(repo: Repo, commit: str) -> dict[str, Any]:
    siblings = [{"rfilename": path} for path in sorted(repo.commits[commit])]
    return {
        "id": repo.name,
        "sha": commit,
        "siblings": siblings,
        "private": False,
        "gated": "manual" if repo.gated else False,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": [],
        "lastModified": "2026-01-01T00:00:00.000Z",
        "createdAt": "2026-01-01T00:00:00.000Z",
    }


def _refs(repo: Repo) -> dict[str, Any]:
    return {
        "branches": [{"name": n, "ref": f"refs/heads/{n}", "targetCommit": c} for n, c in repo.branches.items()],
        "tags": [{"name": n, "ref": f"refs/tags/{n}", "targetCommit": c} for n, c in repo.tags.items()],
        "converts": [],
    }


def _tree(files: Mapping[str, bytes], folder: str, *, recursive: bool) -> Iterator[dict[str, Any]]:
    """Files and folders below `folder`."""
    start = f"{folder.strip('/')}/" if folder.strip("/") else ""
    inside = {path: content for path, content in sorted(files.items()) if path.startswith(start)}
    if start and not inside:
        raise _RefusedError(404, "EntryNotFound", f"{folder} does not exist")
    folders: dict[str, None] = {}
    for path, content in inside.items():
        parents = path.removeprefix(start).split("/")[:-1]
        steps = [start + "/".join(parents[: n + 1]) for n in range(len(parents))]
        folders |= dict.fromkeys(steps if recursive else steps[:1])
        if recursive or not parents:
            yield _entry(path, content)
    yield from ({"type": "directory", "path": path, "oid": "0" * 40, "size": 0} for path in folders)


def _entry(path: str, content: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": _git(content)}
    if len(content) >= LARGE:
        entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
    return entry
