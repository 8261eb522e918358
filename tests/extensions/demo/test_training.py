import json
import threading
from dataclasses import replace
from itertools import islice

import pytest
import torch
from safetensors.torch import load_file

from benchbench.core.errors import ArgumentError, StoreError
from benchbench.extensions.demo.text import END_OF_TEXT, corpus
from benchbench.extensions.demo.training import END_TOKEN, DemoSettings, learning_rate, packed_rows, train

TINY = DemoSettings(steps=4, saves=2, vocab_size=400, d_model=32, n_layers=2, n_heads=2, batch_rows=2, row_tokens=32)


SOME = corpus()[::20]


def nothing(progress):
    pass


@pytest.fixture(scope="module", autouse=True)
def less_text():
    """A part of the text: learning a tokenizer from all of it takes most of the time of these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchbench.extensions.demo.training.corpus", lambda: SOME)
        yield


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "demo"
    seen = []
    return folder, train(TINY, folder, on_progress=seen.append), seen


def test_a_checkpoint_is_what_transformers_loads(series):
    from transformers import AutoModelForCausalLM, AutoTokenizer, MptForCausalLM

    _, trained, _ = series
    model = AutoModelForCausalLM.from_pretrained(trained.checkpoints[-1])
    tokenizer = AutoTokenizer.from_pretrained(trained.checkpoints[-1])
    assert isinstance(model, MptForCausalLM)
    assert model.config.attn_config.alibi
    assert not [name for name, _ in model.named_parameters() if name.endswith("bias")]
    assert model.config.vocab_size == len(tokenizer) == TINY.vocab_size
    text = "Příliš žluťoučký kůň. « L'œuf » de l'été ?\n"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert tokenizer.eos_token == END_OF_TEXT
    assert tokenizer.eos_token_id == model.config.eos_token_id == END_TOKEN


def test_checkpoints_carry_their_step_and_tokens(series):
    folder, trained, seen = series
    assert [path.name for path in trained.checkpoints] == ["checkpoint-0", "checkpoint-2", "checkpoint-4"]
    states = [json.loads((path / "trainer_state.json").read_text()) for path in trained.checkpoints]
    assert [state["global_step"] for state in states] == [0, 2, 4]
    assert [state["num_input_tokens_seen"] for state in states] == [0, 2 * 64, 4 * 64]
    assert [progress.saved for progress in seen] == [None, trained.checkpoints[1], None, trained.checkpoints[2]]
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["demo.json", *(path.name for path in trained.checkpoints)]
    )


def test_the_same_settings_give_the_same_weights_and_another_seed_does_not(series, tmp_path):
    _, trained, _ = series
    torch.manual_seed(99)
    before = torch.random.get_rng_state()
    again = train(TINY, tmp_path / "again", on_progress=nothing)
    assert torch.equal(before, torch.random.get_rng_state())
    other = train(replace(TINY, seed=2), tmp_path / "other", on_progress=nothing)
    for one, two in zip(trained.checkpoints, again.checkpoints, strict=True):
        assert (one / "tokenizer.json").read_bytes() == (two / "tokenizer.json").read_bytes()
        first, second = load_file(one / "model.safetensors"), load_file(two / "model.safetensors")
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first)
    first, second = (load_file(run.checkpoints[-1] / "model.safetensors") for run in (trained, other))
    assert not all(torch.equal(first[name], second[name]) for name in first)


def test_training_moves_every_weight(series):
    _, trained, _ = series
    first, last = (load_file(trained.checkpoints[place] / "model.safetensors") for place in (0, -1))
    assert not [name for name in first if torch.equal(first[name], last[name])]


def test_the_same_demo_is_used_again_and_another_replaces_it(tmp_path):
    folder = tmp_path / "demo"
    made = train(TINY, folder, on_progress=nothing)
    again = train(TINY, folder, on_progress=lambda progress: pytest.fail("trained again"))
    assert again.reused
    assert again.checkpoints == made.checkpoints
    (made.checkpoints[1] / "model.safetensors").unlink()
    assert not train(TINY, folder, on_progress=nothing).reused
    shorter = train(replace(TINY, steps=2, saves=1), folder, on_progress=nothing)
    assert not shorter.reused
    assert sorted(path.name for path in folder.glob("checkpoint-*")) == ["checkpoint-0", "checkpoint-2"]


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path):
    (tmp_path / "checkpoint-7").mkdir()
    with pytest.raises(ArgumentError, match="holds something that is no demo"):
        train(TINY, tmp_path, on_progress=nothing)
    assert (tmp_path / "checkpoint-7").is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(ArgumentError, match="--to"):
        train(TINY, tmp_path / "file", on_progress=nothing)


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write its checkpoints"):
        train(TINY, tmp_path / "file" / "demo", on_progress=nothing)


def test_a_watcher_sees_whole_checkpoints_only(tmp_path):
    folder, done, torn = tmp_path / "demo", threading.Event(), []
    files = {"config.json", "model.safetensors", "tokenizer.json", "trainer_state.json"}

    def watch():
        while not done.is_set():
            for path in folder.glob("checkpoint-*"):
                missing = files - {file.name for file in path.iterdir()}
                if missing:
                    torn.append((path, missing))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        train(replace(TINY, saves=4), folder, on_progress=nothing)
    finally:
        done.set()
        watcher.join()
    assert not torn


def test_rows_begin_with_a_document_and_hold_an_end_after_each():
    documents = [[1, 1, 1], [2], [3, 3], [4, 4, 4, 4]]
    rows = list(islice(packed_rows(documents, 6, seed=5), 40))
    assert all(len(row) == 6 for row in rows)
    assert {row[0] for row in rows} == {1, 2, 3, 4}
    for row in rows:
        *whole, cut = " ".join(map(str, row)).split(f" {END_TOKEN}")
        written = {" ".join(map(str, document)) for document in documents}
        assert {part.strip() for part in whole} <= written
        assert any(document.startswith(cut.strip()) for document in written)
    assert rows == list(islice(packed_rows(documents, 6, seed=5), 40))
    assert rows != list(islice(packed_rows(documents, 6, seed=6), 40))


def test_the_learning_rate_rises_then_falls():
    settings = DemoSettings(steps=200)
    rates = [learning_rate(settings, step) for step in range(1, 201)]
    top = rates.index(max(rates)) + 1
    assert top == settings.warmup
    assert rates[: top - 1] == sorted(rates[: top - 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] == pytest.approx(settings.learning_rate / 20, rel=0.01)


def test_the_default_series_has_at_least_eight_checkpoints_and_begins_untrained():
    steps = DemoSettings().saved_steps
    assert len(steps) >= 8
    assert steps[0] == 0
    assert steps[-1] == DemoSettings().steps
    assert DemoSettings(steps=3).saved_steps == (0, 1, 2, 3)


def test_no_steps_is_a_sentence():
    with pytest.raises(ArgumentError, match="--steps is 0"):
        DemoSettings(steps=0)


def test_another_text_is_another_demo(monkeypatch):
    before = DemoSettings().identity()
    assert before == DemoSettings().identity()
    monkeypatch.setattr("benchbench.extensions.demo.training.corpus", lambda: SOME[1:])
    assert before != DemoSettings().identity()
