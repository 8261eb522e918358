"""lm-eval's command lines, typed by habit, get the command that does the same."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from benchbench.cli import run as run_module
from benchbench.cli import sweep as sweep_module
from benchbench.cli.lm_eval_habits import OPTIONS, OURS_TOO, refuse_habits
from benchbench.cli.options import flags_of
from benchbench.core.errors import ArgumentError
from benchbench.runner.settings import RunSettings, SweepSettings
from tests.cli.command import benchbench


def told(line: str) -> tuple[str, str]:
    """(the command, what is said beside it) of what is told about a command line."""
    with pytest.raises(ArgumentError) as caught:
        refuse_habits(shlex.split(line))
    text = str(caught.value)
    command = next(one for one in text.splitlines() if one.startswith("  "))
    assert text.count(command) == 1
    return command.strip(), text.partition(command)[2]


def settings_of(command: str, monkeypatch: pytest.MonkeyPatch) -> RunSettings:
    """What the command would run: so that every command that is told can be pasted."""
    words, made = shlex.split(command), []
    assert words[:2] == ["benchbench", "run"]
    monkeypatch.setattr(run_module, "execute", lambda settings, **_: made.append(settings))
    typer.main.get_command(run_module.app).main(words[2:], standalone_mode=False)
    return made[0]


HF = "--model hf --model_args pretrained=m --tasks hellaswag"
CASES = {
    HF: "--model m --tasks hellaswag",
    f"run {HF}": "--model m --tasks hellaswag",
    f"lm_eval {HF}": "--model m --tasks hellaswag",
    f"lm-eval run {HF}": "--model m --tasks hellaswag",
    "run -M hf -a pretrained=m -t hellaswag -f 5 -b 8 -s -L 3": "--model m --tasks hellaswag --num-fewshot 5 --limit 3",
    "run -M hf -a pretrained=m -t hellaswag -L 0.1": "--model m --tasks hellaswag --limit 0.1",
    "run --model hf --model-args pretrained=m,dtype=bfloat16": "--model m --dtype bfloat16",
    "run --model m --tasks hellaswag --num_fewshot=5": "--model m --tasks hellaswag --num-fewshot 5",
    "run --model m --tasks hellaswag,belebele_ces_Latn --batch-size auto": (
        "--model m --tasks hellaswag,belebele_ces_Latn"
    ),
    "run --model_args pretrained=m revision=step5 dtype=float16 --tasks hellaswag winogrande": (
        "--model m --dtype float16 --revision step5 --tasks hellaswag,winogrande"
    ),
    "run --model hf --model_args pretrained=m,peft=a,load_in_4bit=True,parallelize=True,device=cuda:1": (
        "--model m --device cuda:1 --model-args load_in_4bit=True,parallelize=True,peft=a"
    ),
    'run --model hf --model_args \'{"pretrained": "m", "chat_template_args": {"a": 1}}\'': (
        "--model m --model-args 'chat_template_args={\"a\": 1}'"
    ),
    "run --model hf --model_args pretrained=m,trust_remote_code=True --trust_remote_code": (
        "--model m --trust-remote-code"
    ),
    "run --model m --apply_chat_template --fewshot_as_multiturn --system_instruction 'Be nice.'": (
        "--model m --apply-chat-template --fewshot-as-multiturn --system 'Be nice.'"
    ),
    "run --model m --apply_chat_template tool --fewshot_as_multiturn false": (
        "--model m --apply-chat-template --no-fewshot-as-multiturn --model-args chat_template=tool"
    ),
    "run --model m --gen_kwargs temperature=0.7,max_gen_toks=64": (
        "--model m --gen-kwargs temperature=0.7,max_gen_toks=64"
    ),
    'run --model m --gen_kwargs temperature=0.5 \'stop=["a", "b"]\'': (
        '--model m --gen-kwargs \'{"temperature": 0.5, "until": ["a", "b"]}\''
    ),
    "run --model m --seed 0,1,2,3 --output_path out/results.json": "--model m --seed 3 --results out",
    "run --model m --seed 7 --output_path out --include_path tasks": (
        "--model m --include-path tasks --seed 7 --results out"
    ),
    "run --model hf --model_args pretrained=org/m,gguf_file=m.gguf,max_length=64": (
        "--model org/m:m.gguf --max-length 64"
    ),
    "run --model m --data-root here --log_samples --max-failed 0.5": "--model m --data-root here --max-failed 0.5",
    "run --model vllm --model_args pretrained=m,tensor_parallel_size=2,max_model_len=64": (
        "--model m --backend vllm --max-length 64 --model-args tensor_parallel_size=2"
    ),
    "run --model local-chat-completions --model_args model=m,base_url=http://h/v1/chat/completions,num_concurrent=4": (
        "--model m --backend api --model-args base_url=http://h/v1,concurrency=4,endpoint=chat"
    ),
    "run --model openai-completions --model_args model=m": (
        "--model m --backend api --model-args base_url=https://api.openai.com/v1,endpoint=completions"
    ),
}


@pytest.mark.parametrize("line", CASES)
def test_the_whole_command_is_told_and_can_be_pasted(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    command, _ = told(line)
    assert command == f"benchbench run {CASES[line]}"
    settings_of(command, monkeypatch)


def test_what_a_command_means_is_what_was_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    line = (
        "--model hf --model_args pretrained=m,dtype=float32 --tasks hellaswag --num_fewshot 5 --limit 10 --device cpu"
    )
    found = settings_of(told(line)[0], monkeypatch)
    assert (found.model.model, found.model.dtype, found.model.device) == ("m", "float32", "cpu")
    assert (found.tasks, found.render.num_fewshot, found.render.limit) == ("hellaswag", 5, 10)


@pytest.mark.parametrize("name", [name for name, option in OPTIONS.items() if option.left_out])
def test_what_has_no_counterpart_is_said(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    value = {"none": "", "one": " x", "many": " a=b c=d", "maybe": ""}[OPTIONS[name].takes]
    command, beside = told(f"run --model m --{name}{value}")
    assert command == "benchbench run --model m"
    assert f"Without --{name}" in beside
    assert OPTIONS[name].left_out in beside


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("run --model m --limit 1.5 --log_samples", "a number of docs, or a share of them below 1"),
        ("run --model hf --model_args pretrained=m,softmax_dtype=float32", "always computed in float32"),
        ("run --model hf --model_args pretrained=m,nothing=1", "the engine hf has nothing of that name"),
        ("run --model hf --tasks hellaswag", "MODEL is a folder or a name on the Hub"),
        ("run --model sglang --model_args pretrained=m", "There is no engine sglang"),
        ("run --model m --num_fewshot 5", "--fewshot-mode lm_eval"),
        ("run --model m --system_instruction x", "part of a conversation"),
        ("run --model m --tasks no_such_task --batch_size 1", "lm-eval's own task"),
    ],
)
def test_what_is_to_be_known_stands_beside_the_command(line: str, sentence: str) -> None:
    assert sentence in told(line)[1]


def test_tasks_that_only_lm_eval_has_are_taken_from_it() -> None:
    assert told("run --model m --tasks hellaswag,pile_10k --batch_size 1")[0].endswith(
        "--tasks hellaswag,lm_eval:pile_10k"
    )


def test_its_other_verbs_are_translated() -> None:
    assert told("ls tasks")[0] == told("lm-eval ls tasks")[0] == "benchbench tasks ls"
    assert told("validate --tasks a,b")[0] == "benchbench tasks check a,b"


def test_a_sweep_stays_one() -> None:
    assert told("sweep --model runs --num_fewshot 5")[0] == "benchbench sweep --model runs --num-fewshot 5"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "--help",
        "--version",
        "run --help",
        "run --model m --tasks a --num-fewshot 5 --apply-chat-template --trust-remote-code --limit 3 --seed 4",
        "run --model m --model-args attn_implementation=eager --gen-kwargs temperature=0.5 --include-path x",
        "sweep --model runs --watch --until 500",
        "results list --model hf",
        "tasks ls",
    ],
)
def test_our_own_commands_are_no_habit(line: str) -> None:
    assert not is_refused(shlex.split(line))


def is_refused(words: list[str]) -> bool:
    """Whether the words are taken for lm-eval's."""
    try:
        refuse_habits(words)
    except ArgumentError:
        return True
    return False


def test_a_folder_called_as_an_engine_is_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["run", "--model", "hf", "--tasks", "a"]
    assert is_refused(words)
    (tmp_path / "hf").mkdir()
    assert not is_refused(words)


@pytest.mark.parametrize("kind", [RunSettings, SweepSettings])
def test_no_option_of_ours_is_taken_for_a_habit(kind: Any) -> None:
    ours = {flag.name for flag in flags_of(kind)}
    assert ours & OPTIONS.keys() <= OURS_TOO
    assert sweep_module.app is not None


def test_the_command_line_ends_with_the_sentence_and_exit_code_2() -> None:
    ended = benchbench("run", "--model", "hf", "--model_args", "pretrained=m", "--batch_size", "auto")
    assert ended.returncode == 2
    assert ended.stderr.startswith(
        "error: these are options of lm-eval. The same here:\n\n  benchbench run --model m\n"
    )
    assert "Traceback" not in ended.stderr
