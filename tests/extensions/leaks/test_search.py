"""Planted docs are found, others are not; pieces, packed files, broken lines, resuming; scores on clean docs."""

from __future__ import annotations

import gzip
import json
import random

import numpy as np
import pytest

from benchbench.core.errors import ArgumentError
from benchbench.core.types import Doc, LoglikelihoodRequest, Prompt, RenderedDoc
from benchbench.extensions.leaks import corpus as corpus_module
from benchbench.extensions.leaks.clean import difference_on_clean
from benchbench.extensions.leaks.ngrams import grams_of, normalised, numbers_of, words_of
from benchbench.extensions.leaks.search import SearchOptions, search, text_of
from tests.cli.command import World, benchbench

WORDS = ["".join(random.Random(n).choices("abcdefghijklmnop", k=3 + n % 7)) for n in range(3000)]


def prose(count, seed):
    return " ".join(random.Random(seed).choices(WORDS, k=count))


def doc(number, question, answer="yes"):
    request = LoglikelihoodRequest("t", number, 0, Prompt("", (), question, "drop_shots"), f" {answer}")
    return RenderedDoc("t", Doc(number, {}, f"hash{number}", None), (request,), (answer, "no"), (0,))


DOCS = [doc(n, f"Question: {prose(25, n).capitalize()}, is it?") for n in range(20)]


def found(tmp_path, *, docs=DOCS, **options):
    return search({"t": docs}, [tmp_path / "corpus"], tmp_path / "out", SearchOptions(**options))


def write(tmp_path, name, text, pack=False):
    path = tmp_path / "corpus" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()) if pack else text.encode())
    return path


def leaked(result):
    return [flag.doc_id for flag in result.flags["t"] if flag.is_leaked]


def test_planted_docs_are_found_exactly_or_whatever_their_capitals_and_points(tmp_path):
    shouted = text_of(DOCS[7]).upper().replace(" ", " - ")
    write(tmp_path, "a.txt", f"{prose(5000, 900)}\n{text_of(DOCS[3])}\n{prose(900, 901)} {shouted} {prose(50, 902)}")
    result = found(tmp_path)
    assert leaked(result) == [3, 7]
    by = {flag.doc_id: flag for flag in result.flags["t"]}
    assert by[3].exact == by[3].found == by[3].grams > 0
    assert (by[7].exact, by[7].found) == (0, by[7].grams)
    lines = (tmp_path / "out" / "t.jsonl").read_text().splitlines()
    assert json.loads(lines[3])["found"] == by[3].found
    assert len(lines) == len(DOCS)


def test_a_part_of_a_doc_shorter_than_the_words_asked_for_is_no_match(tmp_path):
    part = " ".join(text_of(DOCS[3]).split()[:12])
    write(tmp_path, "a.txt", f"{prose(50, 900)} {part} {prose(50, 901)}")
    assert leaked(found(tmp_path)) == []
    assert leaked(found(tmp_path, words=12)) == [3]


def test_json_lines_packed_files_and_broken_lines(tmp_path):
    rows = [json.dumps({"text": f"{prose(30, 50)}\n{text_of(DOCS[n])}"}) for n in (1, 2)]
    write(tmp_path, "b.jsonl", "\n".join([rows[0], '{"text": "cut', "[1]", json.dumps({"other": "x"}), rows[1]]))
    write(tmp_path, "c.jsonl.gz", json.dumps({"text": text_of(DOCS[9])}) + "\n", pack=True)
    write(tmp_path, "d.txt.gz", text_of(DOCS[11]), pack=True)
    (tmp_path / "corpus" / "e.txt.gz").write_bytes(gzip.compress(prose(9999, 1).encode())[:-20])
    result = found(tmp_path)
    assert leaked(result) == [1, 2, 9, 11]
    assert result.broken_lines == 3
    assert len(result.broken_files) == 1
    assert "e.txt.gz" in result.broken_files[0]


def test_no_match_goes_over_the_end_of_a_text(tmp_path):
    words = text_of(DOCS[3]).split()
    halves = [" ".join(words[:12]), " ".join(words[12:24])]
    write(tmp_path, "b.jsonl", "".join(json.dumps({"text": half}) + "\n" for half in halves))
    assert leaked(found(tmp_path)) == []


def test_nothing_is_cut_at_the_borders_of_pieces(tmp_path, monkeypatch):
    for name, size in (("PIECE", 4096), ("OVERLAP", 512), ("BLOCK", 1024)):
        monkeypatch.setattr(corpus_module, name, size)
    text = "".join(f"{prose(61 + n, 100 + n)} {text_of(DOCS[n])} " for n in range(20))
    write(tmp_path, "a.txt", text)
    write(tmp_path, "b.jsonl", json.dumps({"text": prose(5000, 3)}) + "\n")
    result = found(tmp_path)
    assert leaked(result) == list(range(20))
    assert result.pieces > 2


def test_it_goes_on_where_it_stopped_and_searches_changed_files_again(tmp_path):
    path = write(tmp_path, "a.txt", text_of(DOCS[3]))
    assert found(tmp_path).resumed == 0
    write(tmp_path, "b.txt", text_of(DOCS[4]))
    again = found(tmp_path)
    assert (again.resumed, leaked(again)) == (1, [3, 4])
    path.write_text(prose(100, 777))
    assert leaked(found(tmp_path)) == [4]
    assert leaked(found(tmp_path, processes=2)) == [4]


def test_what_all_docs_say_tells_nothing_and_short_docs_are_counted(tmp_path):
    same = "read the text with care and then say which of the two answers below is right please"
    docs = [doc(n, f"{same}: {prose(20, n)}") for n in range(30)] + [doc(99, "too short")]
    write(tmp_path, "a.txt", f"{same} {prose(50, 1000)}")
    result = found(tmp_path, docs=docs)
    assert leaked(result) == []
    assert result.flags["t"][-1].grams == 0


def test_numbers_of_ngrams_are_those_of_their_words_alone():
    plain = normalised(b"One two, THREE four; one two three four")
    numbers = numbers_of(plain, words_of(plain), 4)
    assert numbers[0] == numbers[-1]
    assert len(set(numbers.tolist())) == 4
    assert list(grams_of("a b c", 4)) == []
    assert normalised("Žluť".encode()) == "Žluť".encode()


def test_bad_input_gets_a_sentence(tmp_path):
    with pytest.raises(ArgumentError, match="there is no corpus"):
        found(tmp_path)
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(ArgumentError, match="write their text as JSON lines first"):
        found(tmp_path)
    with pytest.raises(ArgumentError, match="n-grams have 3 to 100 words"):
        SearchOptions(words=2)


def test_the_interval_on_clean_docs_holds_the_true_difference():
    held = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        kept = rng.random(400) < 0.7
        scores = (rng.random(400) < np.where(kept, 0.4, 0.7)).astype(float)
        value, clean, interval = difference_on_clean(scores, kept)
        assert clean - value == pytest.approx(scores[kept].mean() - scores.mean())
        held.append(interval.low <= 0.4 - 0.49 <= interval.high)
    assert 0.92 <= np.mean(held) <= 0.98
    assert difference_on_clean(np.ones(3), np.zeros(3, dtype=bool))[1:] == (None, None)


@pytest.mark.slow
def test_the_command_shows_leaks_and_scores_on_clean_docs(tmp_path):
    world = World(tmp_path)
    assert world.run().returncode == 0
    write(tmp_path, "a.txt", "Otázka: kolik je 3 + 3? prosím prosím prosím Odpověď: 6")
    words = ["--tasks", "toy_quiz", "--corpus", tmp_path / "corpus", "--words", 5]
    words += ["--include-path", world.path / "tasks", "--data-root", world.path / "hub", "--output", world.results]
    shown = benchbench("leaks", "search", *words, columns=120)
    assert shown.returncode == 0, shown.stderr
    assert "clean − all" in shown.stdout
    facts = json.loads(benchbench("leaks", "search", *words, "--json").stdout)
    assert facts["tasks"]["toy_quiz"]["leaked"] >= 1
    assert facts["resumed"] == 1
    assert facts["scores"][0]["clean"] == 12 - facts["tasks"]["toy_quiz"]["leaked"]
    wrong = benchbench("leaks", "search", *words, "--words", 1)
    assert wrong.returncode == 2
