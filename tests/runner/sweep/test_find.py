import json
from types import SimpleNamespace

import pytest

from benchbench.core.errors import ArgumentError, ModelError
from benchbench.runner.checkpoint import Checkpoint, said_step, said_tokens, step_in, tokens_in
from benchbench.runner.sweep.find import find_checkpoints


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("checkpoint-500", 500),
        ("step500", 500),
        ("global_step1000", 1000),
        ("iter_0000500", 500),
        ("ep0-ba75000-rank0.pt", 75000),
        ("ba26500", 26500),
        ("step1000-tokens4B", 1000),
        ("stage1-step140000-tokens294B", 140000),
        ("130000", 130000),
        ("main", None),
        ("v1.5", None),
        ("checkpoints", None),
        ("misstep5", None),
    ],
)
def test_a_name_tells_its_step(name, step):
    assert step_in(name) == step


@pytest.mark.parametrize(
    ("name", "tokens"),
    [("step1000-tokens4B", 4 * 10**9), ("s-tokens1.5T", 15 * 10**11), ("tokens_900", 900), ("x", None)],
)
def test_a_name_tells_its_tokens(name, tokens):
    assert tokens_in(name) == tokens


def test_the_trainers_state_tells_step_and_tokens(tmp_path):
    state = {"global_step": 7, "num_input_tokens_seen": 7168}
    (tmp_path / "trainer_state.json").write_text(json.dumps(state))
    assert (said_step(str(tmp_path)), said_tokens(str(tmp_path))) == (7, 7168)
    (tmp_path / "trainer_state.json").write_text(json.dumps({"global_step": 7, "num_input_tokens_seen": 0}))
    assert said_tokens(str(tmp_path)) is None, "the Trainer did not count"
    (tmp_path / "trainer_state.json").write_text("{")
    assert said_step(str(tmp_path)) is None


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


def test_no_checkpoints_is_a_sentence_that_says_what_is_there(tmp_path):
    make(tmp_path / "out" / "run1", "checkpoint-5")
    with pytest.raises(
        ArgumentError, match=r"has no checkpoints: expected folders like checkpoint-500.*There are some in .*run1"
    ):
        find_checkpoints(str(tmp_path / "out"))
    (tmp_path / "out" / "config.json").write_text("{}")
    with pytest.raises(ArgumentError, match=r"is one model.*benchbench run --model"):
        find_checkpoints(str(tmp_path / "out"))
    with pytest.raises(ArgumentError, match=r"is not a folder.*--revisions 'step"):
        find_checkpoints(str(tmp_path / "none"))
    assert find_checkpoints(str(tmp_path / "none"), patient=True) == []


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
    found = find_checkpoints("EleutherAI/pythia", revisions="step*")
    assert [(checkpoint.step, checkpoint.revision) for checkpoint in found] == [
        *((3, "step3-tokens6M"), (20, "step20"), (1000, "step1000"))
    ]
    assert found[1].target == "EleutherAI/pythia@step20"
    assert found[1].name == "EleutherAI/pythia@step20"


def test_revisions_that_do_not_fit_or_cannot_be_listed_are_sentences(hub, tmp_path):
    with pytest.raises(ArgumentError, match="no revision of EleutherAI/pythia fits --revisions 'ckpt"):
        find_checkpoints("EleutherAI/pythia", revisions="ckpt*")
    with pytest.raises(ModelError, match="cannot list the revisions of 'org/none' on the Hub: no connection"):
        find_checkpoints("org/none", revisions="step*")
    with pytest.raises(ArgumentError, match="--revisions needs a hub name"):
        find_checkpoints(str(tmp_path), revisions="step*")


# --- lists ------------------------------------------------------------------------------------------------------------

YAML = "checkpoints:\n  - {step: 900, path: final, tokens: 9e6}\n  - {step: 300, path: org/name, revision: a1b2}\n"
CSV = "step,path,tokens,revision\n900,final,9e6,\n300,org/name,,a1b2\n"
JSONL = '{"step": 900, "path": "final", "tokens": 9000000}\n\n{"step": 300, "path": "org/name", "revision": "a1b2"}\n'


@pytest.mark.parametrize(("suffix", "text"), [("yaml", YAML), ("csv", CSV), ("jsonl", JSONL)])
def test_lists_of_every_kind_say_the_same(tmp_path, suffix, text):
    (tmp_path / "final").mkdir()
    listed = tmp_path / f"list.{suffix}"
    listed.write_text(text)
    assert find_checkpoints("cs", listed=listed) == [
        Checkpoint("cs", 300, "org/name", "a1b2"),
        Checkpoint("cs", 900, str(tmp_path / "final"), tokens_seen=9_000_000),
    ]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("l.yaml", "- {step: 1, pth: a}", "entry 1 has the unknown key 'pth'.*Did you mean path"),
        ("l.yaml", "- {step: 1}", "entry 1 has no path"),
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
        find_checkpoints("cs", listed=tmp_path / name)


def test_a_missing_list_is_a_sentence(tmp_path):
    with pytest.raises(ArgumentError, match=r"cannot read the list --checkpoints .*none.yaml: No such file"):
        find_checkpoints("cs", listed=tmp_path / "none.yaml")
