"""Answers that are programs: stop strings, and the program that is run, are those of lm-eval."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("lm_eval", reason="lm_eval is the reference; install the extra [lm-eval]")

from benchbench.tasks.recorded_task import program_writer
from tests.parity import ours, upstream
from tests.parity.tasks import packaged

FIXTURES = Path(__file__).parent / "fixtures"


def test_prompts_and_stops_are_those_of_lm_eval() -> None:
    for name in ("humaneval", "mbpp"):
        theirs = upstream.config_of(name)["generation_kwargs"]
        ours = packaged().task(name).config.generation_kwargs
        assert ours is not None
        assert (ours.until, ours.do_sample) == (theirs["until"], theirs["do_sample"])
        assert ours.max_gen_toks == theirs.get("max_gen_toks")


def test_the_program_is_what_lm_eval_runs() -> None:
    source = upstream.Source(FIXTURES)
    for name, shots in (("humaneval", 0), ("mbpp", 3)):
        task, docs = upstream.load(name, source, shots), ours.load(name, source, shots, None).docs
        write = program_writer(ours.packaged().task(name), {one.doc.id: one for one in docs})
        instances = upstream.build(task, None)
        for (instance,) in instances:
            instance.resps.append("    return 1\n")
        task.apply_filters()
        assert docs
        for doc, (instance,) in zip(docs, instances, strict=True):
            (said,) = instance.filtered_resps.values()
            answer = said[0] if isinstance(said, list) else said
            assert write(doc.doc.id, "    return 1\n") == f"{answer}\n{task.doc_to_target(instance.doc)}"
