import json

import pytest

from benchbench.backends.engines import ModelOptions
from benchbench.backends.scripted import ScriptedBackend
from benchbench.core.errors import ModelError
from benchbench.core.types import (
    Failure,
    GenerateRequest,
    GenerationParams,
    LoglikelihoodRequest,
    Prompt,
    RollingRequest,
)


def ask(doc_id: int, text: str, continuation: str) -> LoglikelihoodRequest:
    return LoglikelihoodRequest("t", doc_id, 0, Prompt("", (), text), continuation)


def write(text: str) -> GenerateRequest:
    return GenerateRequest("t", 0, 0, Prompt("", (), text), GenerationParams(until=(".",)))


@pytest.fixture
def open_table(tmp_path):
    def opened(*lines: dict) -> ScriptedBackend:
        path = tmp_path / "answers.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return ScriptedBackend(ModelOptions(str(path)))

    return opened


def test_a_table_answers_what_it_names(open_table):
    backend = open_table(
        {"prompt": "2 + 2 =", "continuation": " 4", "loglikelihood": -0.5, "is_greedy": True},
        {"continuation": " 5", "loglikelihood": -3},
        {"rolling": "celý text", "loglikelihood": -7},
        {"prompt": "Napiš", "text": "Ano. Ne."},
    )
    right, wrong, unknown = backend.loglikelihood([ask(0, "2 + 2 =", " 4"), ask(1, "any", " 5"), ask(2, "x", " 6")])
    assert {(r.request.doc_id, r.total) for r in (right, wrong, unknown) if not isinstance(r, Failure)} == {
        (0, -0.5),
        (1, -3),
    }
    assert [r.kind for r in (right, wrong, unknown) if isinstance(r, Failure)] == ["not_in_table"]
    assert [r.total for r in backend.loglikelihood_rolling([RollingRequest("t", 0, 0, "celý text")])] == [-7]
    (text,) = backend.generate([write("Napiš")])
    assert (text.text, text.finish_reason) == ("Ano", "stop")


def test_nan_in_the_table_is_a_failure_and_not_a_number(open_table):
    (answer,) = open_table({"continuation": " a", "loglikelihood": float("nan")}).loglikelihood([ask(0, "q", " a")])
    assert isinstance(answer, Failure)
    assert answer.kind == "nan_logits"


def test_the_identity_follows_the_answers(open_table):
    first, again = (open_table({"continuation": " a", "loglikelihood": -1}).info for _ in range(2))
    other = open_table({"continuation": " a", "loglikelihood": -2}).info
    assert first.model_identity == again.model_identity != other.model_identity


def test_skipped_requests_leave_the_other_values_as_they_were():
    requests = [ask(n, f"otázka {n}" + " x" * (n % 3), " ano") for n in range(20)]
    backend = ScriptedBackend(ModelOptions("hash"))
    whole = {r.request.key: r for r in backend.loglikelihood(requests)}
    skip = frozenset(request.key for request in requests[::3])
    part = {r.request.key: r for r in backend.loglikelihood(requests, skip=skip)}
    assert part == {key: answer for key, answer in whole.items() if key not in skip}
    alone = {r.request.key: r for r in backend.loglikelihood([r for r in requests if r.key not in skip])}
    assert alone != part  # so a runner that passes only what is left is found out


@pytest.mark.parametrize(
    "line", ["{", "[]", '"x"', '{"loglikelihood": "low", "continuation": " a"}', '{"prompt": "x"}']
)
def test_a_wrong_line_is_named(tmp_path, line):
    path = tmp_path / "answers.jsonl"
    path.write_text('{"text": "ok"}\n' + line + "\n")
    with pytest.raises(ModelError, match="line 2: expected an object"):
        ScriptedBackend(ModelOptions(str(path)))


@pytest.mark.parametrize(
    ("model", "words"), [("hash,delay=x", "must be a number"), ("nothing", "cannot read the table")]
)
def test_a_wrong_model_is_a_sentence(model, words):
    with pytest.raises(ModelError, match=words):
        ScriptedBackend(ModelOptions(model))
