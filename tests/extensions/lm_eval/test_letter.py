"""lm-eval's tasks to the letter: what it draws, writes and averages, beside lm-eval itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("lm_eval", reason="needs lm-eval: pip install 'benchbench-eval[lm-eval]'")

from benchbench.backends.encode import EncodedPair, Encoder
from benchbench.backends.models.find import open_template
from benchbench.core.chat import ChatSettings
from benchbench.core.errors import ArgumentError, TaskError
from benchbench.core.types import LoglikelihoodRequest, Request, RollingRequest
from benchbench.extensions.lm_eval.library import inside
from benchbench.extensions.lm_eval.source import LmEvalTasks
from benchbench.runner.events import Note, ignore
from benchbench.runner.plan import Plan, make_plan
from benchbench.runner.run import run
from benchbench.tasks.settings import parse_metadata
from tests import models
from tests.extensions.lm_eval.conftest import World, our_figures, their_figures
from tests.extensions.lm_eval.engines import Answers, Ours, theirs
from tests.extensions.lm_eval.rows import CHOICES, WRITING, write
from tests.extensions.lm_eval.test_metrics import settings
from tests.parity import upstream
from tests.parity.wide.pair import Sides
from tests.parity.wide.rows import MAKERS

GPQA = "Idavidrein/gpqa"


@pytest.fixture(scope="module")
def sides(world: World, tmp_path_factory: pytest.TempPathFactory) -> Sides:
    for config in ("gpqa_main", "gpqa_diamond"):
        place = f"{GPQA}/{config}/train"
        write(world.data_root / f"{place}.jsonl", [MAKERS[place](number) for number in range(6)])
    return Sides(world.data_root, world.files, tmp_path_factory.mktemp("results"))


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., str]:
    """Writes a task file and, beside it, `own.py`; returns its entry for --tasks."""

    def written(name: str, python: str, more: str = "", **keys: Any) -> str:
        (tmp_path / "own.py").write_text(python)
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump({"task": name, **keys}, sort_keys=False) + more)
        return f"lm_eval:{tmp_path / name}.yaml"

    return written


def asked(plan: Plan) -> list[tuple[str, str]]:
    """Prompt and continuation of every log-likelihood."""
    requests = [request for prepared in plan.tasks for doc in prepared.docs for request in doc.requests]
    return [(one.prompt.text, one.continuation) for one in requests if isinstance(one, LoglikelihoodRequest)]


@pytest.mark.parametrize("name", ["gpqa_main_zeroshot", "gpqa_main_n_shot"])
def test_a_task_that_shuffles_asks_what_lm_eval_asks(sides: Sides, name: str) -> None:
    pair = sides.pair(name)
    if name.endswith("_n_shot"):  # lm-eval scores other docs than it asked
        assert pair.said.startswith("other figures"), pair.said
    else:
        assert (pair.outcome, pair.said) == ("equal", "")
    assert pair.requests == 4 * 6


def test_no_task_finds_what_another_left_in_its_variables(world, sides, tmp_path) -> None:
    alone = make_plan(settings(world, ["gpqa_diamond_n_shot"], tmp_path), ignore)
    after = make_plan(settings(world, ["gpqa_main_n_shot", "gpqa_diamond_n_shot"], tmp_path), ignore)
    assert after.tasks[1].data_hash == alone.tasks[0].data_hash
    assert asked(after)[len(asked(alone)) :] == asked(alone)


BOTH = """
def spread(pairs):
    groups = {}
    for group, right in pairs:
        groups.setdefault(group, []).append(right)
    return sum(groups[1]) / len(groups[1]) - sum(groups[0]) / len(groups[0])
def results(doc, answers):
    return {"gap": (doc["idx"] in (0, 1), float(answers[0][0] > answers[1][0]))}
"""


def test_a_value_stays_where_a_draw_of_the_bootstrap_has_none(world, make, tmp_path) -> None:
    gap = "process_results: !function own.results\nmetric_list:\n- {metric: gap, aggregation: !function own.spread}\n"
    keys = {key: value for key, value in CHOICES.items() if key != "metric_list"}
    result = run(settings(world, [], tmp_path, tasks=make("both", BOTH, gap, **keys)), backend=Ours(Answers()))
    (row,) = result.rows
    assert row.value is not None
    assert row.n == 7
    assert (row.ci_low, row.stderr) == (None, None)
    assert "its aggregation raised on draws of the docs, KeyError" in (row.note or "")
    assert result.without_value == {}


def test_a_function_of_a_group_is_never_called_and_that_is_said(world, make, tmp_path) -> None:
    inner = "  - {metric: acc, aggregation: !function own.least, weight_by_size: false}\n"
    text = f"group: own_least\ntask: [mrpc, own_mutual]\naggregate_metric_list:\n{inner}"
    (world.files / "own.py").write_text("def least(*values):\n    raise SystemExit\n")
    (world.files / "own_least.yaml").write_text(text)
    answers = Answers()
    expected = their_figures(world, ["own_least"], theirs(answers))
    rows = run(settings(world, ["own_least"], tmp_path), backend=Ours(answers)).rows
    found = our_figures(rows, expected)
    assert found["own_least", "acc,none"] == pytest.approx(expected["own_least", "acc,none"], abs=1e-12)
    (row,) = [row for row in rows if row.task == "lm_eval:own_least"]
    assert "which lm-eval 0.4.13 never calls: this is the mean, as there" in (row.note or "")
    assert LmEvalTasks().select("lm_eval:lingoly")[1][0].note is not None


@pytest.mark.parametrize(("target", "kind"), [("both", "list"), ("label", "int")])
def test_a_likelihood_is_asked_of_one_text_alone(world, make, tmp_path, target: str, kind: str) -> None:
    rows = [{"sentence1": "He ate a", "both": ["plum", "a plum"], "label": 1}]
    write(world.data_root / "own/lists/default/test.jsonl", rows)
    entry = make(
        "lists",
        "",
        dataset_path="own/lists",
        test_split="test",
        output_type="loglikelihood",
        doc_to_text="sentence1",
        doc_to_target=target,
    )
    with pytest.raises(TaskError, match=f"document 0 gives a {kind}, .*one text is expected"):
        make_plan(settings(world, [], tmp_path, tasks=entry), ignore)


MAKES = """
import datasets
def docs(lengths=(1,), tokenizer=None, **_):
    rows = [{"question": "a " * n, "answer": str(n), "by": str(tokenizer)} for n in lengths]
    return {"test": datasets.Dataset.from_list(rows)}
"""


def test_metadata_reach_a_task_that_makes_its_docs(world, make, tmp_path) -> None:
    keys = {"test_split": "test", "output_type": "generate_until", "doc_to_text": "{{question}}{{by}}"}
    entry = make("made", MAKES, "custom_dataset: !function own.docs\n", **keys, doc_to_target="answer")
    given = parse_metadata("tokenizer=M,lengths=[1,3]")
    plan = make_plan(settings(world, [], tmp_path, tasks=entry, metadata=given), ignore)
    assert [doc.requests[0].prompt.text for doc in plan.tasks[0].docs] == ["a M", "a a a M"]
    assert parse_metadata('{"lengths": [1, 3], "tokenizer": "M"}') == given
    usual = make_plan(settings(world, [], tmp_path, tasks=entry), ignore)
    assert usual.docs == 1
    assert usual.tasks[0].prompt_hash != plan.tasks[0].prompt_hash
    assert plan.tasks[0].task.resolved()["metadata"] == {"lengths": [1, 3], "tokenizer": "M"}


def test_metadata_are_for_tasks_of_lm_eval_alone(world, tmp_path) -> None:
    with pytest.raises(ArgumentError, match="--metadata is read by tasks of lm_eval: alone"):
        make_plan(settings(world, [], tmp_path, tasks="piqa", metadata=parse_metadata("a=1")), ignore)
    with pytest.raises(ArgumentError, match="--metadata begins like a JSON object, but is none"):
        parse_metadata("{a: 1")


def test_tasks_that_a_group_gives_one_name_are_told(world, tmp_path) -> None:
    (task, *_) = [one for one in LmEvalTasks().select("lm_eval:openllm")[0] if one.name == "lm_eval:mmlu"]
    assert "gives 57 tasks the one name lm_eval:mmlu" in task.remarks[0]
    assert "cais/mmlu world_religions alone" in task.remarks[0]
    assert all(not one.remarks for one in LmEvalTasks().select("lm_eval:mmlu_stem")[0])
    told: list[object] = []
    with pytest.raises(Exception, match="its data are not at"):
        make_plan(settings(world, ["openllm"], tmp_path, data_root=tmp_path), told.append)
    assert Note(task.remarks[0]) in told


CONVERSATIONS = [
    ("mrpc", 2, ChatSettings()),
    ("piqa", 2, ChatSettings("Be brief.", multiturn=False)),
    ("winogrande", 1, ChatSettings()),
    ("lambada_openai", 0, ChatSettings("Go on.")),
    ("lambada_openai", 1, ChatSettings()),
    ("gsm8k", 2, ChatSettings("Think.")),
    ("gsm8k_cot_llama", None, ChatSettings()),
    ("mmlu_anatomy", 2, ChatSettings(multiturn=False)),
    ("wikitext", 0, ChatSettings()),
]
REFUSES_SYSTEM = (
    "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "<{{ m['role'] }}>{{ m['content'] }}</>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chat")
    models.tokenizer(folder, bos=True)
    return models.with_chat_template(folder)


def their_conversations(prepared: Any, name: str, folder: Path, chat: ChatSettings, shots: int | None) -> Any:
    """lm-eval's requests with the template of a model: (text, continuation or nothing) by doc."""
    engine = upstream.templates(str(folder))
    with inside():
        from lm_eval.tasks import TaskManager  # noqa: F401 - fills the registries
    task = prepared.own_scoring._results._task
    if shots is not None:
        task.set_config(key="num_fewshot", value=shots)
    task.set_fewshot_seed(seed=1234)
    task.build_all_requests(
        apply_chat_template=True,
        fewshot_as_multiturn=chat.multiturn,
        system_instruction=chat.system,
        chat_template=engine.apply_chat_template,
        tokenizer_name="",
    )
    return [(str(one.args[0]), *(part for part in one.args[1:] if isinstance(part, str))) for one in task.instances]


def our_conversation(request: Request, template: Any) -> tuple[str, ...]:
    if isinstance(request, RollingRequest):
        return (request.text,)
    text = request.prompt.written(template)
    if isinstance(request, LoglikelihoodRequest):
        return text, request.prompt.continued(template, request.continuation)
    return (text,)


@pytest.mark.parametrize(("name", "shots", "chat"), CONVERSATIONS)
def test_conversations_are_lm_evals(world, model, tmp_path, name, shots, chat) -> None:
    plan = make_plan(settings(world, [name], tmp_path, num_fewshot=shots, chat=chat), ignore)
    (prepared,) = plan.tasks
    template = open_template(str(model))
    ours = [our_conversation(request, template) for doc in prepared.docs for request in doc.requests]
    assert ours == their_conversations(prepared, name, model, chat, shots)
    assert len(ours) >= len(prepared.docs) > 0
    if name == "lambada_openai":
        assert all(continuation.startswith(" ") for _, continuation in ours)


def test_a_template_that_refuses_a_system_prompt_loses_it_as_in_lm_eval(world, tmp_path) -> None:
    models.tokenizer(tmp_path / "refuses")
    folder = models.with_chat_template(tmp_path / "refuses", REFUSES_SYSTEM)
    chat = ChatSettings("Be brief.")
    (prepared,) = make_plan(settings(world, ["piqa"], tmp_path, num_fewshot=1, chat=chat), ignore).tasks
    template = open_template(str(folder))
    ours = [our_conversation(request, template) for doc in prepared.docs for request in doc.requests]
    assert ours == their_conversations(prepared, "piqa", folder, chat, 1)
    assert "Be brief" not in ours[0][0]
    assert any("Where a lm_eval: task is asked they are left out" in note for note in template.notes)


def test_tokens_of_a_conversation_are_lm_evals(world, tmp_path) -> None:
    folder = models.with_chat_template(models.tiny_llama(tmp_path / "llama", max_length=2048))
    asked_for = settings(world, ["lambada_openai", "mrpc"], tmp_path, limit=2, chat=ChatSettings("Go on."))
    plan = make_plan(asked_for, ignore)
    engine = upstream.backend(str(folder), 1, False)
    encoder = Encoder(engine.tokenizer, 2048, "causal")
    requests = [one for prepared in plan.tasks for doc in prepared.docs for one in doc.requests]
    assert len(requests) > 4
    for request in requests:
        assert isinstance(request, LoglikelihoodRequest)
        text, continuation = our_conversation(request, encoder.chat)
        context, ending = engine._encode_pair(text, continuation)
        (pair,) = encoder.pairs([request])
        assert isinstance(pair, EncodedPair)
        assert (list(pair.context), list(pair.continuation)) == (context, ending)


def test_turns_of_a_conversation_change_who_a_run_is(world, tmp_path) -> None:
    def prompt_hash(chat: ChatSettings | None) -> str:
        return make_plan(settings(world, ["mrpc"], tmp_path, chat=chat), ignore).tasks[0].prompt_hash

    hashes = {prompt_hash(chat) for chat in (None, ChatSettings(), ChatSettings("Be brief."))}
    assert len(hashes) == 3
    assert WRITING["output_type"] == "generate_until"
