"""Records are written as they were read, and what is wrong in them is said with file and key."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchbench.core.errors import StoreError
from benchbench.core.record import Counts, Provenance, RunRecord
from benchbench.store.find import Done
from tests.store.make import record

DONE = {
    **dict.fromkeys(("series", "checkpoint", "target", "stamp", "asked", "run", "run_id"), "x"),
    **dict.fromkeys(("model_identity", "tokenizer_identity", "finished"), "y"),
    "step": 5,
    "tokens_seen": None,
    "group": 0,
    "timing": {"load": 0.0, "first": None, "run": 1.5},
    "failed_share": 0.0,
}


def read(**changes: Any) -> RunRecord:
    return RunRecord.from_json({**record(), **changes}, "a/run.json")


def test_a_record_is_written_with_its_own_keys_in_their_order_also_those_that_nobody_knows() -> None:
    known = record(later={"x": [1, None]}, checkpoint={"step": 5})
    known["rows"][0] = {"unknown": True, **known["rows"][0]}
    assert json.dumps(RunRecord.from_json(known, "run.json").to_json()) == json.dumps(known)


@pytest.mark.parametrize("share", [0.0, 0, 0.25, -0.0])
def test_a_number_is_written_as_it_was_read_zero_too(share: float) -> None:
    read_again = Done.from_json({**DONE, "failed_share": share}, "done.json").to_json()
    assert json.dumps(read_again) == json.dumps({**DONE, "failed_share": share})


def test_a_new_object_has_every_key_and_one_that_was_read_only_those_that_say_something() -> None:
    assert list(Counts(n=3).to_json())[:3] == ["n", "answered", "unanswered"]
    assert "wrong" not in Counts(n=3).to_json()
    assert Counts.from_json({"n": 3}, "x").to_json() == {"n": 3}
    assert Provenance(location="/m").to_json()["location"] == "/m"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "high", [], True])
def test_a_number_that_is_none_is_a_missing_value(value: object) -> None:
    row = {**record()["rows"][0], "value": value}
    assert read(rows=[row]).rows[0].value is None


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"rows": None}, "`rows` of a/run.json is no such list"),
        ({"rows": [3]}, "`rows` of a/run.json is no object"),
        ({"rows": [{"task": "t"}]}, "`rows` of a/run.json lacks metric; it is damaged"),
        ({"tasks": {"t": {}}}, "`t` of `tasks` of a/run.json lacks version, num_fewshot, prompt_hash;"),
        ({"schema_version": 2}, "schema version 2 of a/run.json; this benchbench reads version 1."),
    ],
)
def test_what_is_damaged_is_said_with_file_and_key(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(StoreError) as refused:
        read(**changes)
    assert str(refused.value).startswith(sentence)


def test_scoring_that_names_no_kind_of_output_is_refused() -> None:
    with pytest.raises(StoreError, match="says too little of how toy was scored"):
        read().tasks["toy"].scoring.spec("toy")
