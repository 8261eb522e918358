from dataclasses import replace

import pytest

from benchbench.core.types import BackendInfo
from benchbench.store.names import compute_identity, folder_name, names_at, run_id

INFO = BackendInfo("hf", "5", "/m/a", "weights", "tokenizer", "float32", "cuda:0", 2048, 100)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("BUT-FIT/csmpt7b", "BUT-FIT/csmpt7b"),
        ("/models/SmolLM2-135M", "SmolLM2-135M"),
        ("./SmolLM2-135M/", "SmolLM2-135M"),
        ("runs/csmpt/checkpoint-500", "csmpt@checkpoint-500"),
        ("/runs/csmpt/step500/", "csmpt@step500"),
        ("a/b/model.Q4_K_M.gguf", "model.Q4_K_M.gguf"),
        ("gpt2", "gpt2"),
    ],
)
def test_a_model_is_called_what_people_call_it(given, name):
    assert names_at(given).model == name


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
