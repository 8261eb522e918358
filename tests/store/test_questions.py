"""What the docs of a task ask, beside its items."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from benchbench.backends.engines import ModelOptions
from benchbench.core.chat import Conversation
from benchbench.core.errors import DamageError
from benchbench.core.types import Doc, LoglikelihoodRequest, Prompt, RenderedDoc, RollingRequest
from benchbench.runner.run import run
from benchbench.runner.settings import RunSettings
from benchbench.store.damage import damage_of_run
from benchbench.store.folder import RunFolder
from benchbench.store.questions import LONGEST, QUESTIONS, middle_cut, questions, read_questions, writing_questions
from benchbench.tasks.settings import RenderSettings
from tests.runner.toy import make_world


def rendered(*requests: LoglikelihoodRequest | RollingRequest) -> RenderedDoc:
    """A doc that is asked so."""
    return RenderedDoc("t", Doc(0, {}, "0"), requests)


def asked(prompt: Prompt | Conversation, index: int = 0) -> LoglikelihoodRequest:
    """A request with this prompt."""
    return LoglikelihoodRequest("t", 0, index, prompt, " a")


def test_a_question_is_the_doc_s_own_text_without_description_and_shots() -> None:
    prompt = Prompt("Answer. ", ("Q: 1+1 A: 2 ",), "Q: 2+2 A:")
    assert rendered(asked(prompt), asked(prompt, 1)).question == "Q: 2+2 A:"
    assert rendered(RollingRequest("t", 0, 0, "a text")).question == "a text"
    assert rendered(asked(Conversation("be brief", (), "2+2?", "It is"))).question == "2+2?\nIt is"


def test_choices_that_stand_in_different_contexts_are_all_shown() -> None:
    """As in winogrande, where the choice is in the prompt."""
    both = rendered(asked(Prompt("", (), "the cat")), asked(Prompt("", (), "the dog"), 1))
    assert both.question == "the cat\nthe dog"


def test_what_is_written_is_read_and_long_texts_keep_both_ends(tmp_path: Path) -> None:
    long = "begin" + "x" * (2 * LONGEST) + "end"
    with writing_questions(tmp_path / QUESTIONS) as write:
        write([(0, "ěšč\nřž"), (3, long)])
        write([(7, "half \ud800 sign")])
    found = read_questions(tmp_path / QUESTIONS)
    assert (list(found), found[0], found[7]) == ([0, 3, 7], "ěšč\nřž", "half ? sign")
    assert (found[3][:5], found[3][-3:], len(found[3]) < LONGEST + 60) == ("begin", "end", True)
    assert read_questions(tmp_path / QUESTIONS, {3, 9}) == {3: middle_cut(long)}
    assert read_questions(tmp_path / "none") == {}


def test_what_goes_wrong_between_docs_is_no_fault_of_the_file_and_leaves_none(tmp_path: Path) -> None:
    def broken() -> None:
        with writing_questions(tmp_path / QUESTIONS) as write:
            write([(0, "a")])
            raise ConnectionError("the server is gone")

    with pytest.raises(ConnectionError, match="gone"):
        broken()
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    "content",
    [
        b"no gzip",
        gzip.compress(b'{"doc_id": 0, "question": "a"}\n', mtime=0)[:-9],
        gzip.compress(b"[]\n", mtime=0),
        gzip.compress(b'{"doc_id": "0", "question": "a"}\n', mtime=0),
        gzip.compress(b"[" * 100_000 + b"\n", mtime=0),
        gzip.compress(json.dumps({"doc_id": 0, "question": "a" * 300_000}).encode(), mtime=0),
    ],
)
def test_anything_else_is_damage(tmp_path: Path, content: bytes) -> None:
    (tmp_path / QUESTIONS).write_bytes(content)
    with pytest.raises(DamageError, match="questions of a task"):
        read_questions(tmp_path / QUESTIONS)


def test_a_run_keeps_them_and_makes_lost_or_damaged_ones_again(tmp_path: Path) -> None:
    """No number and no other file changes by it."""
    world = make_world(tmp_path)
    settings = RunSettings(
        ModelOptions("hash", "scripted"),
        tasks="toy",
        include_paths=(world / "tasks",),
        render=RenderSettings(data_root=world / "hub"),
        output=world / "results",
    )
    folder = RunFolder(run(settings).path)
    before = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    for task in folder.record().tasks:
        assert list(questions(folder, task)) == [item.doc_id for item in folder.items(task)]
    first, second = sorted(folder.path.glob(f"items/*/{QUESTIONS}"))
    first.unlink()
    second.write_bytes(b"torn")
    assert [damage.path for damage in damage_of_run(folder)] == [second]
    assert run(settings).already_complete
    after = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    assert {path: after.get(path) for path in before} == before


def test_every_bit_counts(tmp_path: Path) -> None:
    with writing_questions(tmp_path / QUESTIONS) as write:
        write((n, f"what is {n}?") for n in range(5))
    sound = (tmp_path / QUESTIONS).read_bytes()
    for place in range(8 * len(sound)):
        changed = bytearray(sound)
        changed[place // 8] ^= 1 << place % 8
        (tmp_path / QUESTIONS).write_bytes(changed)
        with pytest.raises(DamageError):
            read_questions(tmp_path / QUESTIONS)
    for content in (sound[:-1], sound + b"\0", sound[1:], b""):
        (tmp_path / QUESTIONS).write_bytes(content)
        with pytest.raises(DamageError):
            read_questions(tmp_path / QUESTIONS)
    (tmp_path / QUESTIONS).write_bytes(sound)
    assert len(read_questions(tmp_path / QUESTIONS)) == 5
    assert len(gzip.decompress(sound).splitlines()) == 6, "any gzip reads it"
