"""An OpenAI-compatible server that answers soundly for a while and then as the edits say, to the byte."""

from __future__ import annotations

import contextlib
import json
import socketserver
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.backends.servers import FaultyServer, TooLongError
from tests.fuzz.edits import Edit, placed
from tests.fuzz.watch import ALLOWED_PORTS

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: @LENGTH@\r\n\r\n"
MODELS = {"object": "list", "data": [{"id": "words", "object": "model", "max_model_len": 200}]}


@dataclass
class Answers:
    """What is said: sound answers, changed by edits of `answer-N.json` and `head-N` from the N-th answer on, and of
    `models.json`.
    """

    edits: Sequence[Edit]
    box: Path
    said: int = 0

    def __post_init__(self) -> None:
        self.world = FaultyServer()

    def reply(self, path: str, body: dict[str, Any]) -> bytes:
        """The whole answer: status line, headers, body."""
        if path.endswith("/models"):
            return self._changed("models.json", MODELS, 0)
        self.said += 1
        try:
            if path.endswith("/chat/completions"):
                value = self.world.complete({**body, "prompt": str(body["messages"][-1]["content"])})
                first = value["choices"][0]
                first["message"] = {"role": "assistant", "content": first.pop("text")}
            else:
                value = self.world.complete(body)
        except (TooLongError, KeyError, TypeError, ValueError) as error:
            value = {"error": {"message": f"no answer: {error}"}}
        return self._changed("answer", {"id": "x", "object": "x", "model": "words", **value}, self.said)

    def _changed(self, name: str, value: Any, number: int) -> bytes:
        head, data = HEAD, json.dumps(value).encode()
        for edit in self.edits:
            kind, _, since = edit.file.removesuffix(".json").partition("-")
            if number < int(since or 0) or edit.__class__.__name__ == "Instead":
                continue
            if kind == name.removesuffix(".json"):
                data = edit.change(data)
            elif kind == "head":
                head = edit.change(head)
        data = placed(data, self.box)
        return head.replace(b"@LENGTH@", str(len(data)).encode()) + data


class _Handler(socketserver.StreamRequestHandler):
    answers: Answers
    lock: threading.Lock

    def handle(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while self._one():
                pass

    def _one(self) -> bool:
        line = self.rfile.readline()
        if not line:
            return False
        size = 0
        while (header := self.rfile.readline()).strip():
            name, _, value = header.partition(b":")
            size = int(value) if name.lower() == b"content-length" else size
        body = json.loads(self.rfile.read(size) or b"{}")
        with self.lock:
            reply = self.answers.reply(line.split()[1].decode(), body)
        self.wfile.write(reply)
        return reply.startswith(HEAD[: HEAD.index(b"@")])  # behind another head the rest may be misread


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


@contextlib.contextmanager
def serving(answers: Answers) -> Iterator[str]:
    """Serves until the end of the block; yields the address."""
    handler = type("Bound", (_Handler,), {"answers": answers, "lock": threading.Lock()})
    server = _Server(("127.0.0.1", 0), handler)
    port = server.server_address[1]
    ALLOWED_PORTS.add(port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        ALLOWED_PORTS.discard(port)
