"""Large tasks rendered to a temporary file, and templates that need no Jinja: the same docs as ever."""

import errno
import os

import pytest

from benchbench.core.errors import DataError
from benchbench.core.ids import DataHash, content_hash
from benchbench.tasks.prepare import prepare
from benchbench.tasks.sandbox import Program
from benchbench.tasks.settings import RenderSettings
from benchbench.tasks.shots import Hashes
from benchbench.tasks.spool import Spool, held
from tests.tasks.conftest import CHOICE, QUESTIONS
from tests.windows import window_of


@pytest.mark.parametrize("mode", ["fixed", "per_doc", "lm_eval"])
@pytest.mark.parametrize("shots", [0, 3])
def test_a_large_task_is_prepared_as_a_small_one(make_task, monkeypatch, mode, shots):
    task = make_task(CHOICE + "    fewshot_split: test\n", {"test": QUESTIONS})
    settings = RenderSettings(num_fewshot=shots, fewshot_mode=mode)
    whole = prepare(task, settings)
    window_of(5, monkeypatch.setattr)
    spooled = prepare(task, settings)
    assert isinstance(whole.docs, tuple)
    assert isinstance(spooled.docs, Spool)
    assert tuple(spooled.docs) == whole.docs
    assert (spooled.data_hash, spooled.notes, spooled.asked) == (whole.data_hash, whole.notes, whole.asked)
    assert whole.data_hash
    assert spooled.asked.requests == sum(len(doc.requests) for doc in whole.docs)


def test_docs_of_one_window_share_their_shots(make_task, monkeypatch):
    window_of(5, monkeypatch.setattr)
    task = make_task(CHOICE + "    fewshot_split: test\n", {"test": QUESTIONS})
    docs = prepare(task, RenderSettings(num_fewshot=2)).docs[5:10]
    blocks = {id(request.prompt.shots) for doc in docs for request in doc.requests}
    assert len(blocks) < len(docs)


def test_a_spool_is_read_by_place_and_by_slice(monkeypatch):
    window_of(4, monkeypatch.setattr)
    assert held(range(4)) == (0, 1, 2, 3)
    values = held(range(11))
    assert isinstance(values, Spool)
    assert list(values) == list(range(11))
    assert len(values) == 11
    assert (values[0], values[7], values[-1]) == (0, 7, 10)
    assert values[2:9] == [2, 3, 4, 5, 6, 7, 8]
    assert values[::-3] == [10, 7, 4, 1]
    with pytest.raises(IndexError):
        values[11]


def test_a_full_disk_is_a_sentence(monkeypatch):
    window_of(4, monkeypatch.setattr)

    def no_room(prefix: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("benchbench.tasks.spool.TemporaryFile", no_room)
    with pytest.raises(DataError, match=r"temporary file: .* TMPDIR"):
        held(range(11))


def test_hashes_are_held_as_numbers():
    hashes = [content_hash(n) for n in range(50)] + ["00000000000000ff"]
    assert list(Hashes(hashes)) == hashes
    assert Hashes(hashes)[-1:] == hashes[-1:]


def test_the_hash_of_data_that_come_one_by_one_is_that_of_all():
    docs, shots = [content_hash(n) for n in range(5)], [content_hash("shot")]
    for some in ([], docs[:1], docs):
        for used in ([], shots):
            hashed = DataHash()
            for one in some:
                hashed.add(one)
            assert hashed.of_all(used) == content_hash([some, used])


SCOPE = {"q": "otázka", "n": 3, "x": 0.5, "yes": True, "none": None, "list": ["a"], "empty": "", "long": "a" * 100_001}
SOURCES = [
    *("", "text", "text\n", "{{ q }}", "{{q}}: {{empty}}\nA:", "{{ n }}", "a {{ n }}", "{{ x }}", "{{ yes }}"),
    *("{{ none }}", "{{ list }}", "{{ list[0] }}", "{{ q|upper }}", "{% if n %}{{ q }}{% endif %}", "{{ q }}{{ q }}"),
    *(
        "{{ long }}",
        "{{ 'text' }}",
        "{# nothing #}{{ q }}",
        "{% raw %}{{ q }}{% endraw %}",
        "{{ true }}",
        "{{ q ~ n }}",
    ),
]


@pytest.mark.parametrize("source", SOURCES)
def test_plain_templates_are_put_together_as_jinja_does(source, monkeypatch):
    program = Program(source, "here")
    text, value = program.text(SCOPE), program.value(SCOPE)
    program._pieces = None
    assert (text, value) == (program.text(SCOPE), program.value(SCOPE))
    assert type(value) is type(program.value(SCOPE))


def test_a_missing_name_is_told_as_ever():
    with pytest.raises(Exception, match="'gone' is undefined"):
        Program("a {{ gone }}", "here").text(SCOPE)


@pytest.mark.parametrize(
    ("source", "is_plain"), [("Q: {{ q }}\nA:", True), ("{{ q|upper }}", False), ("{{ n }}", True)]
)
def test_most_templates_are_plain(source, is_plain):
    assert (Program(source, "here")._pieces is not None) == is_plain
