"""Servers for tests: one of our own that misbehaves as told, and real ones started as processes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from benchbench.core.ids import content_hash

Fault = Callable[["FaultyServer", BaseHTTPRequestHandler, dict[str, Any]], bool]
"""Answers a request wrongly and says so by True; False lets it be answered well."""


@dataclass
class FaultyServer:
    """An OpenAI-compatible server over words: every word is a token, its log-probability made up from what is before.

    `fault` sees every question before it is answered.
    """

    model: str = "words"
    key: str | None = None
    echoes: bool = True
    shift: int = 0
    """Return log-probabilities of the token so many places further on, as broken servers do."""
    max_words: int = 200
    chat_only: bool = False
    fault: Fault | None = None
    port: int = 0
    seen: list[dict[str, Any]] = field(default_factory=list)
    """Bodies of all questions, in order."""
    headers: list[dict[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def questions(self) -> int:
        return len(self.seen)

    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        prompt = str(body["prompt"])
        tokens = words(prompt)
        if len(tokens) + int(body.get("max_tokens", 16)) > self.max_words:
            raise TooLongError(len(tokens))
        new = write(prompt, int(body.get("max_tokens", 16)), body.get("stop") or [])
        reply: dict[str, Any] = {"index": 0, "text": "".join(new.words), "finish_reason": new.reason, "logprobs": None}
        if body.get("echo"):
            reply["text"] = prompt + reply["text"]
        if body.get("logprobs") is not None:
            shown = (tokens if body.get("echo") and self.echoes else []) + new.words
            reply["logprobs"] = self.logprobs(prompt, shown, echo=bool(body.get("echo")))
        return {"choices": [reply], "usage": usage(len(tokens), len(new.words))}

    def logprobs(self, prompt: str, shown: list[str], *, echo: bool) -> dict[str, list[Any]]:
        text = "" if echo else prompt
        columns: dict[str, list[Any]] = {"tokens": [], "token_logprobs": [], "text_offset": [], "top_logprobs": []}
        for i, token in enumerate(shown):
            moved = shown[(i + self.shift) % len(shown)] if echo else token
            value = logprob(text, moved)
            columns["tokens"].append(token)
            columns["text_offset"].append(len(text))
            columns["token_logprobs"].append(None if echo and i == 0 else value)
            columns["top_logprobs"].append(None if echo and i == 0 else {token: value})
            text += token
        return columns


class TooLongError(Exception):
    pass


@dataclass
class Writing:
    words: list[str]
    reason: str


def words(text: str) -> list[str]:
    """`" a\n\n b"` is two tokens; white space belongs to the word behind it."""
    return re.findall(r"\s*\S+|\s+", text)


def logprob(before: str, token: str) -> float:
    return -0.1 - 8 * int(content_hash([before, token], digits=6), 16) / 16**6


def write(prompt: str, count: int, stops: list[str]) -> Writing:
    new: list[str] = []
    for i in range(count):
        new.append(" w" + content_hash([prompt, i], digits=2))
        text = "".join(new)
        for stop in stops:
            if stop in text:
                return Writing([text.split(stop)[0]], "stop")
    return Writing(new, "length")


def usage(prompt: int, completion: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    world: FaultyServer

    def do_GET(self) -> None:
        world = self.world
        if world.key is not None and self.headers.get("Authorization") != f"Bearer {world.key}":
            self.reply(401, {"error": {"message": f"Incorrect API key: {self.headers.get('Authorization')}"}})
        elif self.path == "/v1/models":
            self.reply(200, {"data": [{"id": world.model}]})
        else:
            self.reply(404, {"error": {"message": "Not Found"}})

    def do_POST(self) -> None:
        world = self.world
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with world.lock:
            world.seen.append(body)
            world.headers.append(dict(self.headers))
            world.times.append(time.monotonic())
            world.at_once += 1
            world.most_at_once = max(world.most_at_once, world.at_once)
        try:
            if world.fault is None or not world.fault(world, self, body):
                self.answer(body)
        finally:
            with world.lock:
                world.at_once -= 1

    def answer(self, body: dict[str, Any]) -> None:
        world = self.world
        if world.key is not None and self.headers.get("Authorization") != f"Bearer {world.key}":
            self.reply(401, {"error": {"message": f"Incorrect API key: {self.headers.get('Authorization')}"}})
            return
        try:
            if self.path == "/v1/chat/completions":
                content = body["messages"][-1]["content"]
                answer = world.complete({**body, "prompt": content})
                first = answer["choices"][0]
                first["message"] = {"role": "assistant", "content": first.pop("text")}
            elif self.path == "/v1/completions" and not world.chat_only:
                answer = world.complete(body)
            else:
                self.reply(404, {"error": {"message": "Not Found"}})
                return
        except TooLongError as error:
            said = f"This model's maximum context length is {world.max_words} tokens, you sent {error}."
            self.reply(400, {"error": {"message": said, "code": "context_length_exceeded"}})
            return
        self.reply(200, {"model": body["model"], **answer})

    def reply(self, code: int, value: Any, headers: dict[str, str] | None = None) -> None:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(code)
        for name, text in (headers or {}).items():
            self.send_header(name, text)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def serving(world: FaultyServer) -> Iterator[FaultyServer]:
    """Serves until the end of the block, on a port of its own."""
    handler = type("Bound", (Handler,), {"world": world})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    world.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield world
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def llama_cpp_server(file: Path, *, name: str = "tiny", context: int = 512) -> Iterator[str]:
    """A real `python -m llama_cpp.server`; yields its address."""
    port = free_port()
    command = [sys.executable, "-m", "llama_cpp.server", "--model", str(file), "--model_alias", name]
    command += ["--n_ctx", str(context), "--logits_all", "true", "--port", str(port), "--n_threads", "1"]
    with process([*command, "--verbose", "false"], port, {}) as url:
        yield url


@contextlib.contextmanager
def vllm_server(folder: Path, *, name: str = "tiny", length: int = 512) -> Iterator[str]:
    """A real vLLM server; yields its address."""
    port = free_port()
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder)]
    command += ["--served-model-name", name, "--dtype", "float32", "--enforce-eager", "--block-size", "32"]
    env = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
    with process([*command, "--max-model-len", str(length), "--port", str(port)], port, env) as url:
        yield url


@contextlib.contextmanager
def process(command: list[str], port: int, env: dict[str, str], *, patience: float = 600) -> Iterator[str]:
    import httpx

    url = f"http://127.0.0.1:{port}/v1"
    running = subprocess.Popen(
        command, env={**os.environ, **env}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    said: list[str] = []
    threading.Thread(target=lambda: said.extend(running.stdout or []), daemon=True).start()
    try:
        until = time.monotonic() + patience
        while time.monotonic() < until and running.poll() is None:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{url}/models", timeout=30).status_code == 200:
                    break
            time.sleep(0.2)
        else:
            raise RuntimeError("the server did not come up:\n" + "".join(said[-40:]))
        yield url
    finally:
        running.terminate()
        try:
            running.wait(timeout=120)
        except subprocess.TimeoutExpired:
            running.kill()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
