"""Generation settings of a command: how they are written, what they reach, that fingerprints know them."""

from __future__ import annotations

import json

import pytest

from benchbench.core.errors import ArgumentError
from benchbench.runner.events import ignore
from benchbench.runner.plan import make_plan
from benchbench.runner.run import run
from benchbench.runner.settings import SweepSettings, from_json, to_json
from benchbench.tasks.settings import parse_gen_kwargs
from tests.runner.toy import make_world, settings


def params(plan):
    (task,) = (one for one in plan.tasks if one.task.output_type == "generate_until")
    return task.docs[0].requests[0].params


def test_pairs_and_json_say_the_same():
    pairs = parse_gen_kwargs("max_new_tokens=5, temperature=0.5,do_sample=True")
    assert pairs == parse_gen_kwargs('{"do_sample": true, "temperature": 0.5, "max_new_tokens": 5}')
    assert dict(parse_gen_kwargs(r"until=\n")) == {"until": "\n"}
    assert dict(parse_gen_kwargs('until=["a"]')) == {"until": ["a"]}
    assert parse_gen_kwargs("") == ()


@pytest.mark.parametrize(
    ("given", "sampled"),
    [("temperature=0.7", True), ("temperature=0.7,do_sample=false", False), ("temperature=0", None)],
)
def test_a_temperature_means_to_sample_unless_it_is_said_otherwise(given, sampled):
    assert dict(parse_gen_kwargs(given)).get("do_sample") is sampled


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("max_gen_tokens=3", "no 'max_gen_tokens'.*max_gen_toks"),
        ("max_gen_toks", "name=value"),
        ("top_p=0.5,top_p=0.6", "top_p twice"),
        ("max_gen_toks=many", "max_gen_toks: .*'many'"),
        ("max_gen_toks=0", "max_gen_toks: .*0"),
        ('{"until": [', "begins like a JSON object"),
    ],
)
def test_what_cannot_be_meant_is_a_sentence(given, said):
    with pytest.raises(ArgumentError, match=said):
        parse_gen_kwargs(given)


def test_they_replace_the_tasks_own_and_leave_the_rest(tmp_path):
    world = make_world(tmp_path)
    given = parse_gen_kwargs("max_new_tokens=3,temperature=0.5")
    plain, changed = (make_plan(settings(world, gen_kwargs=k), ignore) for k in ((), given))
    own, made = params(plain), params(changed)
    assert (own.until, own.max_gen_toks, own.do_sample) == (("\n",), 8, False)
    assert (made.until, made.max_gen_toks, made.do_sample, made.temperature) == (("\n",), 3, True, 0.5)
    hashes = [{one.task.name: one.prompt_hash for one in plan.tasks} for plan in (plain, changed)]
    assert hashes[0]["toy_quiz"] == hashes[1]["toy_quiz"]
    assert hashes[0]["toy_write"] != hashes[1]["toy_write"]


def test_a_run_with_them_is_another_run_and_its_record_says_so(tmp_path):
    world = make_world(tmp_path)
    plain = run(settings(world))
    changed = run(settings(world, gen_kwargs=parse_gen_kwargs("max_gen_toks=3")))
    assert plain.path != changed.path
    record = json.loads((changed.path / "run.json").read_text())
    assert record["settings"]["gen_kwargs"] == {"max_gen_toks": 3}
    assert record["tasks"]["toy_write"]["resolved"]["generation_kwargs"]["max_gen_toks"] == 3
    assert "gen_kwargs" not in json.loads((plain.path / "run.json").read_text())["settings"]


def test_a_run_that_writes_nothing_refuses_them(tmp_path):
    asked = settings(make_world(tmp_path), tasks="toy_quiz", gen_kwargs=parse_gen_kwargs("max_gen_toks=3"))
    with pytest.raises(ArgumentError, match="none of the tasks writes texts"):
        run(asked)


def test_a_sweep_hands_them_on(tmp_path):
    world = make_world(tmp_path)
    given = parse_gen_kwargs('{"until": ["\\n", "."], "max_gen_toks": 3}')
    sweep = SweepSettings(settings(world, gen_kwargs=given), ("m",))
    assert from_json(json.loads(json.dumps(to_json(sweep)))).run.render.gen_kwargs == given
    assert sweep.sweep_id() != SweepSettings(settings(world), ("m",)).sweep_id()
