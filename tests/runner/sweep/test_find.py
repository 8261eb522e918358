import json
from types import SimpleNamespace

import pytest

from benchbench.core.checkpoint_names import read_name
from benchbench.core.errors import ArgumentError, ModelError
from benchbench.runner.checkpoint import Checkpoint, step_at, tokens_at
from benchbench.runner.sweep.find import Search, find_checkpoints
from tests import models


def test_the_rule_of_names_is_the_one_of_core():
    for name in ("step-500k", "step-50K-105b", "tokens-100B", "20240101", "main"):
        assert (step_at(name), tokens_at(name)) == (read_name(name).step, read_name(name).tokens)


def test_the_trainers_state_tells_step_and_tokens(tmp_path):
    state = {"global_step": 7, "num_input_tokens_seen": 7168}
    (tmp_path / "trainer_state.json").write_text(json.dumps(state))
    assert (step_at(str(tmp_path)), tokens_at(str(tmp_path))) == (7, 7168)
    (tmp_path / "trainer_state.json").write_text(json.dumps({"global_step": 7, "num_input_tokens_seen": 0}))
    assert tokens_at(str(tmp_path)) is None, "the Trainer did not count"
    (tmp_path / "trainer_state.json").write_text("{")
    assert step_at(str(tmp_path)) is None


def test_a_run_is_named_after_its_series_and_its_own_name_or_the_step_that_a_list_says():
    assert Checkpoint("s", 500, "/runs/csmpt/checkpoint-500").name == "s@checkpoint-500"
    assert Checkpoint("s", 900, "/runs/csmpt/checkpoint-500").name == "s@step900"
    assert Checkpoint("csmpt", 500, "/runs/csmpt/ep0-ba500-rank0.pt").name == "csmpt@ep0-ba500-rank0"
    assert Checkpoint("csmpt", 500, "/runs/csmpt/ep0-ba500/rank0.pt").name == "csmpt@ep0-ba500"
    assert Checkpoint("org/name", 9, "org/name", "step9").name == "org/name@step9"
    assert Checkpoint("v", None, "/v/100B", tokens_seen=10**11).name == "v@100B"
    assert Checkpoint("v", None, "/v/last", tokens_seen=10**11).name == "v@tokens100000000000"
    assert Checkpoint("o@stage2", 5, "/o/stage2-step5").name == "o@stage2-step5"


def make(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in (".pt", ".txt"):
            path.write_text("")
        else:
            path.mkdir()
    return folder


def names(found):
    return [(checkpoint.step, checkpoint.location.rpartition("/csmpt/")[2]) for checkpoint in found]


def test_checkpoints_of_all_kinds_come_by_step(tmp_path):
    folder = make(
        tmp_path / "csmpt",
        *("checkpoint-1000", "checkpoint-90", "step200", "iter_0000300", "ep0-ba400-rank0.pt", "ep0-ba500/rank0.pt"),
        *("tmp-checkpoint-7", ".checkpoint-8", "ep0-ba400-rank1.pt", "logs", "step12.txt", "latest-rank0.pt"),
    )
    (folder / "step777").symlink_to(folder / "step200")
    found = find_checkpoints(str(folder))
    assert names(found) == [
        *((90, "checkpoint-90"), (200, "step200"), (300, "iter_0000300"), (400, "ep0-ba400-rank0.pt")),
        *((500, "ep0-ba500/rank0.pt"), (1000, "checkpoint-1000")),
    ]
    assert {checkpoint.series for checkpoint in found} == {"csmpt"}


def test_the_folder_we_stand_in_has_a_name_too(tmp_path, monkeypatch):
    monkeypatch.chdir(make(tmp_path / "csmpt", "step5"))
    (found,) = find_checkpoints(".")
    assert found.name == "csmpt@step5"


def test_two_checkpoints_with_one_step_are_refused(tmp_path):
    folder = make(tmp_path / "csmpt", "checkpoint-500", "ep0-ba500-rank0.pt")
    with pytest.raises(ArgumentError, match=r"two checkpoints of csmpt have step 500: .* and .*--checkpoints"):
        find_checkpoints(str(folder))


def test_steps_with_units_are_multiplied_and_come_in_their_order(tmp_path):
    folder = make(tmp_path / "csmpt", "step-1M", "step-500k", "step-50K-105b", "ckpt_001", "75", "epoch=1-step=1000")
    assert [checkpoint.step for checkpoint in find_checkpoints(str(folder))] == [1, 75, 1000, 50_000, 500_000, 10**6]


def test_a_number_that_is_no_step_is_passed_by(tmp_path):
    others = ("20240101", "v1.5", "7b", "llama-2-7b", "mpt-30b-8k", "checkpoint-7b", "2024-01-01")
    folder = make(tmp_path / "csmpt", "checkpoint-500", *others)
    assert [checkpoint.step for checkpoint in find_checkpoints(str(folder))] == [500]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("checkpoint-500", "checkpoint-600-1"), r"cannot be told: checkpoint-600-1 \(.*two numbers"),
        (("checkpoint-20240101",), "checkpoint-20240101 may be a date or a step"),
        (("step-1,500", "step-900"), "comma of step-1,500"),
        (("100B", "200B", "50B"), "cannot be told: 50B .50B may be tokens seen or the size of the model"),
        (("75", "300", "1k"), "cannot be told: 1k .1k may be steps, tokens or a length"),
    ],
)
def test_a_name_with_two_readings_is_refused_with_its_name_and_the_way_out(tmp_path, names, words):
    folder = make(tmp_path / "csmpt", *names)
    with pytest.raises(
        ArgumentError, match=rf"csmpt has checkpoints whose step .*{words}.* in a list with --checkpoints"
    ):
        find_checkpoints(str(folder))
    found = find_checkpoints(str(folder), Search(lenient=True, patient=True))
    assert len(found) == len(names) - 1, "while watching it is left for later"


def test_names_that_tell_tokens_alone_are_ordered_by_tokens(tmp_path):
    found = find_checkpoints(str(make(tmp_path / "viking", "2T", "100B", "1000B")))
    assert [(c.step, c.tokens_seen, c.position) for c in found] == [(None, n * 10**11, n * 10**11) for n in (1, 10, 20)]
    assert [c.name for c in found] == ["viking@100B", "viking@1000B", "viking@2T"]
    make(tmp_path / "viking", "step500")
    with pytest.raises(
        ArgumentError, match=r"some tell only a step and others only tokens.*/step500 and .*/100B.*list"
    ):
        find_checkpoints(str(tmp_path / "viking"))
    make(tmp_path / "mixed", "100B", "step500-tokens90B")
    with pytest.raises(ArgumentError, match="cannot be put in order"):
        find_checkpoints(str(tmp_path / "mixed"))


def test_stages_of_a_training_are_series_of_their_own(tmp_path):
    names = ("stage1-step1000-tokens5B", "stage1-step2000-tokens9B", "stage2-ingredient1-step1000-tokens3B")
    found = find_checkpoints(str(make(tmp_path / "olmo", *names)))
    assert [(c.series, c.step, c.name) for c in found] == [
        ("olmo@stage1", 1000, f"olmo@{names[0]}"),
        ("olmo@stage2-ingredient1", 1000, f"olmo@{names[2]}"),
        ("olmo@stage1", 2000, f"olmo@{names[1]}"),
    ]


def test_a_series_is_called_as_the_user_says(tmp_path):
    found = find_checkpoints(str(make(tmp_path / "out", "step5", "stage2-step7")), Search(name="mix"))
    assert [(c.series, c.name) for c in found] == [("mix", "mix@step5"), ("mix@stage2", "mix@stage2-step7")]


def test_no_checkpoints_is_a_sentence_that_says_what_is_there(tmp_path):
    make(tmp_path / "out" / "run1", "checkpoint-5")
    with pytest.raises(
        ArgumentError, match=r"has no checkpoints: expected folders like checkpoint-500.*There are some in .*run1"
    ):
        find_checkpoints(str(tmp_path / "out"))
    (tmp_path / "out" / "config.json").write_text("{}")
    with pytest.raises(ArgumentError, match=r"is one model.*benchbench run --model"):
        find_checkpoints(str(tmp_path / "out"))
    make(tmp_path / "sizes", "7B", "13B")
    with pytest.raises(
        ArgumentError, match=r"13B may be tokens seen or the size of the model\. Others can be named in"
    ):
        find_checkpoints(str(tmp_path / "sizes"))
    with pytest.raises(ArgumentError, match=r"is not a folder.*--revisions 'step"):
        find_checkpoints(str(tmp_path / "none"))
    assert find_checkpoints(str(tmp_path / "none"), Search(patient=True)) == []


# --- the hub ----------------------------------------------------------------------------------------------------------


class FakeHub:
    """What `HfApi().list_repo_refs` answers; there is no hub where tests run."""

    def list_repo_refs(self, name):
        if name != "EleutherAI/pythia":
            raise OSError("no connection")
        refs = [SimpleNamespace(name=name) for name in ("main", "step1000", "step20", "step3-tokens6M")]
        return SimpleNamespace(branches=refs, tags=[SimpleNamespace(name="step20"), SimpleNamespace(name="v1")])


@pytest.fixture
def hub(monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "HfApi", FakeHub)


def test_revisions_that_fit_the_pattern_come_by_step(hub):
    found = find_checkpoints("EleutherAI/pythia", Search(revisions="step*"))
    assert [(checkpoint.step, checkpoint.revision) for checkpoint in found] == [
        *((3, "step3-tokens6M"), (20, "step20"), (1000, "step1000"))
    ]
    assert found[1].target == "EleutherAI/pythia@step20"
    assert found[1].name == "EleutherAI/pythia@step20"


def test_revisions_that_do_not_fit_or_cannot_be_listed_are_sentences(hub, tmp_path):
    with pytest.raises(ArgumentError, match="no revision of EleutherAI/pythia fits --revisions 'ckpt"):
        find_checkpoints("EleutherAI/pythia", Search(revisions="ckpt*"))
    with pytest.raises(ModelError, match="cannot list the revisions of 'org/none' on the Hub: no connection"):
        find_checkpoints("org/none", Search(revisions="step*"))
    with pytest.raises(ArgumentError, match="--revisions needs a hub name"):
        find_checkpoints(str(tmp_path), Search(revisions="step*"))


# --- lists ------------------------------------------------------------------------------------------------------------

YAML = "checkpoints:\n  - {step: 900, path: final, tokens: 9e6}\n  - {step: 300, path: org/name, revision: a1b2}\n"
CSV = "step,path,tokens,revision\n900,final,9e6,\n300,org/name,,a1b2\n"
JSONL = '{"step": 900, "path": "final", "tokens": 9000000}\n\n{"step": 300, "path": "org/name", "revision": "a1b2"}\n'


@pytest.mark.parametrize(("suffix", "text"), [("yaml", YAML), ("csv", CSV), ("jsonl", JSONL)])
def test_lists_of_every_kind_say_the_same(tmp_path, suffix, text):
    (tmp_path / "final").mkdir()
    listed = tmp_path / f"list.{suffix}"
    listed.write_text(text)
    assert find_checkpoints("cs", Search(listed=listed)) == [
        Checkpoint("cs", 300, "org/name", "a1b2"),
        Checkpoint("cs", 900, str(tmp_path / "final"), tokens_seen=9_000_000),
    ]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("l.yaml", "- {step: 1, pth: a}", "entry 1 has the unknown key 'pth'.*Did you mean path"),
        ("l.yaml", "- {step: 1}", "entry 1 has no path"),
        ("l.yaml", "- {path: a}", "entry 1: step is None"),
        ("l.yaml", "- {step: -1, path: a}", "entry 1: step is -1; expected a whole number"),
        ("l.yaml", "- {step: true, path: a}", "entry 1: step is True"),
        ("l.csv", "step,path\n1.5,a\n", "entry 1: step is '1.5'"),
        ("l.yaml", "a: [", "cannot be read as yaml"),
        ("l.yaml", "just text", "expected a list of entries"),
        ("l.yaml", "- a", "entry 1: expected step and path, got 'a'"),
        ("l.jsonl", "{", "cannot be read as jsonl"),
        ("l.txt", "1 a", "expected a file that ends in .yaml, .csv or .jsonl"),
        ("l.yaml", "[]", "lists no checkpoints"),
        ("l.jsonl", '{"step": 1, "path": "a"}\n{"step": 1, "path": "b"}', "two checkpoints of cs have step 1"),
    ],
)
def test_a_wrong_list_is_a_sentence_with_its_place(tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    with pytest.raises(ArgumentError, match=words):
        find_checkpoints("cs", Search(listed=tmp_path / name))


def test_a_list_may_give_tokens_instead_of_steps(tmp_path):
    (tmp_path / "l.csv").write_text("path,tokens\n./b,2e9\n./a,1e9\n")
    found = find_checkpoints("cs", Search(listed=tmp_path / "l.csv"))
    assert [(c.step, c.tokens_seen, c.name) for c in found] == [
        (None, 10**9, "cs@tokens1000000000"),
        (None, 2 * 10**9, "cs@tokens2000000000"),
    ]


def test_a_missing_list_is_a_sentence(tmp_path):
    with pytest.raises(ArgumentError, match=r"cannot read the list --checkpoints .*none.yaml: No such file"):
        find_checkpoints("cs", Search(listed=tmp_path / "none.yaml"))


def left_out(folder, *names, lenient=False, scored=()):
    said = {}
    how = Search(
        lenient=lenient,
        scored=frozenset(str(folder / name) for name in scored),
        on_left_out=lambda checkpoint, why: said.setdefault(checkpoint.location.rpartition("/")[2], why),
    )
    found = find_checkpoints(str(make(folder, *names)), how)
    return [checkpoint.location.rpartition("/")[2] for checkpoint in found], said


@pytest.mark.parametrize(
    "suffix", ["-best", "-ema", "-merged", "_hf", "-unsharded", "_fp32", "-swa", "_unsharded-hf", "-latest"]
)
def test_a_copy_of_a_step_is_left_out_and_named(suffix, tmp_path):
    kept, said = left_out(tmp_path / "run", "step1000", f"step1000{suffix}", "step2000")
    assert kept == ["step1000", "step2000"]
    assert list(said) == [f"step1000{suffix}"]
    assert "two checkpoints of run have step 1000: " in said[f"step1000{suffix}"]


def test_copies_alone_are_a_series(tmp_path):
    assert left_out(tmp_path / "run", "step1000-ema", "step2000-ema") == (["step1000-ema", "step2000-ema"], {})


def test_what_was_scored_stays_whatever_its_name(tmp_path):
    kept, said = left_out(tmp_path / "run", "step10", "step10-ema", lenient=True, scored=["step10-ema"])
    assert (kept, list(said)) == (["step10-ema"], ["step10"])


def test_of_two_names_of_a_step_a_watch_keeps_the_first(tmp_path):
    kept, said = left_out(tmp_path / "run", "checkpoint-500", "step500", lenient=True)
    assert (kept, list(said)) == (["checkpoint-500"], ["step500"])


def test_the_only_usable_form_of_a_step_is_kept(tmp_path):
    folder = make(tmp_path / "run", "step10", "step20")
    (folder / "step10/model.pt").write_text("")
    (folder / "step10/config.yaml").write_text("")
    models.tiny_llama(folder / "step10-hf")
    kept, said = left_out(folder)
    assert (kept, list(said)) == (["step10-hf", "step20"], ["step10"])


def test_links_to_checkpoints_elsewhere_are_checkpoints(tmp_path):
    store = make(tmp_path / "store", "a", "b")
    folder = make(tmp_path / "run")
    folder.mkdir(exist_ok=True)
    (folder / "step500").symlink_to(store / "a")
    (folder / "step1000").symlink_to(store / "b")
    (folder / "step7777").symlink_to("step1000")
    assert [checkpoint.step for checkpoint in find_checkpoints(str(folder))] == [500, 1000]


def test_a_model_one_folder_below_a_step_is_its_checkpoint(tmp_path):
    for step, name in ((1000, "hf"), (2000, "huggingface")):
        models.tiny_mpt(tmp_path / f"step{step}" / name)
    (tmp_path / "step2000/mp_rank_00").mkdir()
    models.tiny_mpt(tmp_path / "step3000" / "one")
    models.tiny_mpt(tmp_path / "step3000" / "two")
    found = find_checkpoints(str(tmp_path))
    places = [f"{tmp_path}/step1000/hf", f"{tmp_path}/step2000/huggingface", f"{tmp_path}/step3000"]
    assert [(one.step, one.location) for one in found] == list(zip((1000, 2000, 3000), places, strict=True))
    assert found[0].name == f"{tmp_path.name}@step1000"


def test_lightnings_files_are_called_by_their_name(tmp_path):
    (tmp_path / "epoch=1-step=1000.ckpt").write_bytes(b"PK")
    with pytest.raises(ArgumentError, match="are Lightning's: load each with your module"):
        find_checkpoints(str(tmp_path))
