"""A run over a server: broken off and gone on with, its record without keys, its cost counted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchbench.backends.api import client
from benchbench.backends.engines import ModelOptions
from benchbench.core.errors import BackendError
from benchbench.runner.run import run
from benchbench.runner.settings import RunSettings
from benchbench.store.folder import RunFolder
from tests.backends.servers import FaultyServer, serving
from tests.runner.toy import make_world, part_bytes, settings

KEY = "sk-secret-4711"


def asking(world: FaultyServer, **more: str) -> ModelOptions:
    args = {"base_url": world.url, "concurrency": "2", "retries": "1", **more}
    return ModelOptions("words", backend="api", model_args=tuple(args.items()))


def asked(folder: Path, options: ModelOptions, output: Path, *, fresh: bool = False) -> RunSettings:
    return replace(settings(folder), model=options, output=output, fresh=fresh)


def test_a_run_goes_on_where_its_server_died(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "FIRST_WAIT", 0.01)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    folder = make_world(tmp_path)
    with serving(FaultyServer(key=KEY)) as server:
        options = asking(server, input_price="1", output_price="2")
        whole = run(asked(folder, options, tmp_path / "whole"))

        def dying(world: FaultyServer, handler: Any, body: dict[str, Any]) -> bool:
            if " kolik je 7 " not in body["prompt"]:
                return False
            handler.reply(503, {})
            return True

        broken = asked(folder, options, tmp_path / "broken")
        server.fault = lambda world, handler, body: len(world.seen) > before + 30 and (handler.reply(502, {}), True)[1]
        before = len(server.seen)
        with pytest.raises(BackendError, match="no longer answers"):
            run(broken)
        server.fault = dying
        sent = len(server.seen)
        done = run(broken)
        assert done.resumed
        assert done.record.tasks["toy_quiz"].counts.failed == 1, "one doc's prompt is always refused"
        items = RunFolder(done.path).items("toy_quiz")
        failed = [item for item in items if item.outcome == "failed"]
        assert [item.doc_id for item in failed] == [6]
        assert "HTTP 503" in (failed[0].failure or "")
        assert len(server.seen) - sent < len(server.seen[:before]), "what was answered was not asked again"
        server.fault = None
        again = run(asked(folder, options, tmp_path / "broken", fresh=True))
    assert part_bytes(again.path) == part_bytes(whole.path)
    work = whole.record.provenance.tasks
    assert sum(task["cost"] for task in work.values()) == pytest.approx(
        sum(task["prompt_tokens"] + 2 * task["completion_tokens"] for task in work.values()) / 1e6
    )
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or KEY.encode() not in path.read_bytes(), path
    assert KEY not in json.dumps(whole.record.to_json())
