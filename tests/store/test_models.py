"""Which model a record is of: records that do not say it, models that share a name, names that share their weights."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchbench.core.errors import StoreError
from benchbench.core.record import RunRecord
from benchbench.store.models import completed, distinct_tails, same_weights, told_apart, twins

EMPTY: dict[str, Any] = {"backend": {}, "tasks": {}, "groups": [], "rows": [], "provenance": {}}


def read(values: dict[str, Any]) -> RunRecord:
    return RunRecord.from_json(completed({**EMPTY, **values}), "run.json")


def record(location: str, weights: str = "w1", **changes: Any) -> dict[str, Any]:
    """A record as it is written today, of a model at `location`."""
    from benchbench.store.names import home_of, names_at

    found = names_at(location)
    said = {"model": found.model, "series": found.series, "step": found.reading.step, "tokens_seen": None}
    provenance = {"location": location, "home": home_of(location), "finished": "2026-01-01"}
    base = {"settings": {"model": location}, "backend": {"model_identity": weights}, "provenance": provenance}
    return {**said, **base, **changes}


def imported(location: str, weights: str, **arguments: str) -> dict[str, Any]:
    """A record as an import writes it."""
    settings = {"model": "x", "model_args": arguments}
    return record(location, f"unknown, {weights}", settings=settings, origin={}, provenance={"location": location})


def old(model: str, **changes: Any) -> dict[str, Any]:
    """A record of a former version."""
    return {"model": model, "settings": {"model": model}, "backend": {"model_identity": "w"}, **changes}


def names(*records: dict[str, Any]) -> list[str]:
    return [found.model for found in told_apart(list(map(read, records)))]


def series(*records: dict[str, Any]) -> list[str]:
    return [found.series for found in told_apart(list(map(read, records)))]


@pytest.mark.parametrize(
    ("given_record", "said"),
    [
        (old("gpt2"), ("gpt2", "gpt2", None, None)),
        (old("m@main"), ("m@main", "m@main", None, None)),
        (old("csmpt@checkpoint-500"), ("csmpt@checkpoint-500", "csmpt", 500, None)),
        (
            old("allenai/OLMo-1B@step1000-tokens4B"),
            ("allenai/OLMo-1B@step1000-tokens4B", "allenai/OLMo-1B", 1000, 4 * 10**9),
        ),
        (
            old("csmpt@final", checkpoint={"step": 130_000, "tokens_seen": 5}),
            ("csmpt@final", "csmpt", 130_000, 5),
        ),
        (
            old("75", settings={"model": "/runs/train2/75"}, checkpoint={"step": 75, "tokens_seen": None}),
            ("train2@75", "train2", 75, None),
        ),
        (
            old("step-1M", settings={"model": "/runs/r/step-1M"}, checkpoint={"step": 1, "tokens_seen": None}),
            ("r@step-1M", "r", 1_000_000, None),
        ),
        (old("./gamma-small"), ("gamma-small", "gamma-small", None, None)),
        (old("models2/gamma-small/"), ("gamma-small", "gamma-small", None, None)),
        (old("BUT-FIT/csmpt7b", checkpoint=None), ("BUT-FIT/csmpt7b", "BUT-FIT/csmpt7b", None, None)),
        (old("m", checkpoint="damaged", settings=3), ("m", "m", None, None)),
        (old("m", checkpoint={"step": float("nan")}), ("m", "m", None, None)),
    ],
)
def test_a_record_of_a_former_version_is_filled_in_by_the_one_rule(given_record: dict[str, Any], said: tuple) -> None:
    found = completed(given_record)
    assert (found["model"], found["series"], found["step"], found["tokens_seen"]) == said


def test_what_a_record_says_itself_is_left_as_it_is() -> None:
    said = {"model": "a@step5", "series": "b", "step": 7, "tokens_seen": 9}
    assert completed(said) == said
    assert completed({}) == {}


def test_two_folders_with_one_last_part_are_two_models() -> None:
    assert names(record("/exp/runA/final", "w1"), record("/exp/runB/final", "w2")) == ["runA/final", "runB/final"]
    deeper = record("/x/a/same/final", "w1"), record("/x/b/same/final", "w2"), record("/x/a/final", "w3")
    assert names(*deeper) == ["a/same/final", "b/same/final", "x/a/final"]


def test_two_trainings_with_one_name_are_two_series_although_no_step_is_in_both() -> None:
    found = record("/one/run/checkpoint-500", "w1"), record("/two/run/checkpoint-1000", "w2")
    assert names(*found) == ["one/run@checkpoint-500", "two/run@checkpoint-1000"]
    assert series(*found) == ["one/run", "two/run"]


def test_the_same_weights_in_two_folders_are_one_model() -> None:
    assert names(record("/old/final", "w1"), record("/new/final", "w1")) == ["final", "final"]
    moved = record("/old/run/step5", "w5"), record("/new/run/step5", "w5"), record("/new/run/step9", "w9")
    assert series(*moved) == ["run", "run", "run"]


def test_an_overwritten_checkpoint_keeps_its_name() -> None:
    found = record("/exp/run/step5", "w1"), record("/exp/run/step5", "w2")
    assert names(*found) == ["run@step5", "run@step5"]


def test_a_name_that_the_user_gave_is_told_from_a_folder_of_that_name() -> None:
    mine = record("/x/y/step7", "w1", model="mix", series="mix")
    assert names(mine, record("/exp/mix", "w2")) == ["mix", "exp/mix"]
    other = record("/x/z/step9", "w3", model="mix@step9", series="mix", step=9)
    assert series(mine, other) == ["mix", "mix"], "a list may name checkpoints of many folders"


def test_an_old_record_without_its_place_goes_with_the_one_training_of_its_name() -> None:
    relative = old("run@step5", settings={"model": "runs/run/step5"})
    assert series(relative, record("/exp/run/step9", "w9")) == ["run", "run"]
    many = relative, record("/one/run/step9", "w9"), record("/two/run/step9", "w8")
    assert series(*many) == ["run", "one/run", "two/run"]


def test_imported_models_are_told_apart_by_path_and_by_what_changes_their_numbers() -> None:
    assert names(imported("/exp/runA/final", "a"), imported("/exp/runB/final", "b")) == ["runA/final", "runB/final"]
    types = imported("org/m", "a", dtype="float16", max_length="9"), imported("org/m", "b", max_length="9")
    assert names(*types) == ["org/m [dtype=float16]", "org/m"]
    steps = imported("/e/r/step5", "a", dtype="f"), imported("/e/r/step9", "b", dtype="f"), imported("/e/r/step5", "c")
    assert series(*steps) == ["r [dtype=f]", "r [dtype=f]", "r"]
    assert names(*steps)[0] == "r [dtype=f]@step5"


def test_checkpoints_of_one_adapter_are_one_series() -> None:
    peft = [imported("org/m", f"w{i}", peft=f"/lora/checkpoint-{i}") for i in (5, 9)]
    for i, found in zip((5, 9), peft, strict=True):
        found |= {"model": f"org/m+lora@checkpoint-{i}", "series": "org/m+lora", "step": i}
    assert series(*peft) == ["org/m+lora", "org/m+lora"]


@pytest.mark.parametrize("key", ["provenance", "settings", "backend", "origin", "tasks", "rows", "groups"])
def test_a_damaged_record_is_refused_in_a_sentence_with_file_and_key(key: str) -> None:
    with pytest.raises(StoreError, match=f"^`{key}` of run.json is no "):
        read({"model": "m", key: 5})


PARTS = st.text("abc", min_size=1, max_size=2)


@given(st.lists(st.lists(PARTS, min_size=1, max_size=4).map("/".join), min_size=1, max_size=6, unique=True))
def test_tails_tell_paths_apart_and_are_their_ends(paths: list[str]) -> None:
    found = distinct_tails(f"/{path}/final" for path in paths)
    assert len(set(found.values())) == len(paths)
    assert all(path.endswith(f"/{tail}") for path, tail in found.items())
    assert all("/" in tail for tail in found.values())


def test_names_of_the_same_weights_know_of_each_other() -> None:
    given = record("/a/m", "w1"), record("/a/copy", "w1"), record("/a/n", "w2"), imported("/a/x", "i")
    found = told_apart(list(map(read, given)))
    assert twins(found) == [("copy",), ("m",), (), ()]
    assert twins([read(imported("/a/x", "i")), read(imported("/a/y", "i"))]) == [(), ()], (
        "nobody has seen these weights"
    )
    assert same_weights(("copy",)) == "same weights as copy"
    assert same_weights(("a", "b", "c", "d")) == "same weights as a, b and 2 more"
    assert same_weights(()) == ""
