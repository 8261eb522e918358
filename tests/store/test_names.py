"""What models are called: by place, by record, told apart; and names on disk."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchbench.core.errors import StoreError
from benchbench.core.record import RunRecord
from benchbench.core.types import BackendInfo
from benchbench.store.names import (
    completed,
    compute_identity,
    distinct_tails,
    find_location,
    folder_name,
    home_of,
    names_at,
    names_called,
    run_id,
    same_weights,
    told_apart,
    twins,
)

INFO = BackendInfo("hf", "5", "/m/a", "weights", "tokenizer", "float32", "cuda:0", 2048, 100)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("BUT-FIT/csmpt7b", "BUT-FIT/csmpt7b"),
        ("/models/SmolLM2-135M", "SmolLM2-135M"),
        ("./SmolLM2-135M/", "SmolLM2-135M"),
        ("./models/SmolLM2-135M", "SmolLM2-135M"),
        ("/runs/train2/75", "train2@75"),
        ("/runs/csmpt/step-500k", "csmpt@step-500k"),
        ("/runs/viking/100B", "viking@100B"),
        ("/runs/csmpt/ep0-ba500-rank0.pt", "csmpt@ep0-ba500-rank0"),
        ("/runs/csmpt/ep0-ba500/rank0.pt", "csmpt@ep0-ba500"),
        ("/runs/csmpt/step500/hf", "csmpt@step500"),
        ("/runs/csmpt/hf", "hf"),
        ("/models/20240101", "20240101"),
        ("/models/TinyLlama-1.1B-step-50K-105b", "TinyLlama-1.1B-step-50K-105b"),
        ("TinyLlama/TinyLlama-1.1B-step-50K-105b", "TinyLlama/TinyLlama-1.1B-step-50K-105b"),
        ("runs/csmpt/checkpoint-500", "csmpt@checkpoint-500"),
        ("/runs/csmpt/step500/", "csmpt@step500"),
        ("a/b/model.Q4_K_M.gguf", "model.Q4_K_M.gguf"),
        ("gpt2", "gpt2"),
    ],
)
def test_a_model_is_called_what_people_call_it(given, name):
    assert names_at(given).model == name


@pytest.mark.parametrize(
    ("location", "revision", "series"),
    [
        ("/runs/csmpt/checkpoint-500", None, "csmpt"),
        ("/runs/olmo/stage1-step500", None, "olmo@stage1"),
        ("allenai/OLMo-2-1124-7B", "stage2-ingredient1-step1000-tokens3B", "allenai/OLMo-2-1124-7B@stage2-ingredient1"),
        ("EleutherAI/pythia-70m", "step1000", "EleutherAI/pythia-70m"),
        ("EleutherAI/pythia-70m", "main", "EleutherAI/pythia-70m@main"),
        ("/models/final", None, "final"),
        ("/models/TinyLlama-1.1B-step-50K-105b", None, "TinyLlama-1.1B-step-50K-105b"),
    ],
)
def test_a_checkpoint_is_of_a_series_and_another_model_of_its_own(location, revision, series):
    assert names_at(location, revision).series == series


@pytest.mark.parametrize(
    ("name", "series"),
    [("mix", "mix"), ("mix@step500", "mix"), ("mix@2024", "mix"), ("mix@v2", "mix@v2"), ("@5", "@5")],
)
def test_a_name_that_a_user_gives_tells_its_series(name, series):
    assert (names_called(name).model, names_called(name).series) == (name, series)


def test_a_folder_has_one_place_however_it_is_typed(tmp_path, monkeypatch):
    place = tmp_path / "models" / "gamma"
    place.mkdir(parents=True)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    typed = (
        "models/gamma",
        "./models/gamma",
        "models/gamma/",
        "models/../models/gamma",
        str(place),
        "here/../models/gamma",
    )
    assert {find_location(one) for one in typed} == {str(place)}
    monkeypatch.chdir(tmp_path / "here")
    assert find_location("../models/gamma/") == str(place)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_location("~/models/gamma") == str(place)
    assert find_location("models/gamma") == "models/gamma", "nothing of that name is here: it is a hub name"


@pytest.mark.parametrize(
    ("location", "revision", "home"),
    [
        ("/runs/csmpt/step500", None, "/runs/csmpt"),
        ("/runs/csmpt/ep0-ba500/rank0.pt", None, "/runs/csmpt"),
        ("/runs/csmpt/iter_0000500/huggingface", None, "/runs/csmpt"),
        ("/models/final", None, "/models/final"),
        ("org/name", "step5", "org/name"),
        ("org/name", None, "org/name"),
    ],
)
def test_the_checkpoints_of_a_training_have_one_home(location, revision, home):
    assert home_of(location, revision) == home


def test_a_revision_is_part_of_the_name():
    assert names_at("EleutherAI/pythia-70m", "step1000").model == "EleutherAI/pythia-70m@step1000"


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a b\n\x1b[31m", "..", "", "x" * 300, "...", "č/ř"])
def test_a_folder_name_is_one_safe_name(name):
    safe = folder_name(name)
    assert safe
    assert "/" not in safe
    assert not safe.startswith(".")
    assert safe.isprintable()
    assert len(safe) <= 100
    assert folder_name(safe) == safe


def test_long_names_that_differ_at_the_end_stay_apart():
    assert folder_name("x" * 300) != folder_name("x" * 301)


def test_the_run_id_follows_the_weights_and_not_their_path():
    tasks, settings = {"toy": {"prompt": "p"}}, {"limit": None, "seed": 1}
    first = run_id(INFO, tasks, settings)
    assert first == run_id(replace(INFO, model="/other/path", device="cuda:3"), tasks, settings)
    others = [
        run_id(replace(INFO, model_identity="other"), tasks, settings),
        run_id(replace(INFO, dtype="bfloat16"), tasks, settings),
        run_id(replace(INFO, version="6"), tasks, settings),
        run_id(replace(INFO, numerics="4bit"), tasks, settings),
        run_id(replace(INFO, device="cpu"), tasks, settings),
        run_id(INFO, {"toy": {"prompt": "q"}}, settings),
        run_id(INFO, tasks, {"limit": 5, "seed": 1}),
        run_id(INFO, tasks, {"limit": None, "seed": 2}),
    ]
    assert len({first, *others}) == 9


def test_the_compute_identity_names_neither_path_nor_gpu_number():
    assert "/m/a" not in str(compute_identity(INFO))
    assert compute_identity(INFO)["device"] == "cuda"


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
