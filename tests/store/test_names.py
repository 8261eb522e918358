from dataclasses import replace

import pytest

from benchbench.core.types import BackendInfo
from benchbench.store.names import compute_identity, find_location, folder_name, home_of, names_at, names_called, run_id

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
