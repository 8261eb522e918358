"""Options that several verbs share, so that they mean and say the same everywhere."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from benchbench.core.chat import ChatSettings
from benchbench.core.errors import ArgumentError


class FewshotMode(StrEnum):
    """The values of --fewshot-mode."""

    fixed = "fixed"
    per_doc = "per_doc"
    lm_eval = "lm_eval"


class WeightsRule(StrEnum):
    """The values of --weights."""

    benchmarks = "benchmarks"
    tasks = "tasks"


Weights = Annotated[
    WeightsRule,
    typer.Option(help="What counts alike in a mean of tasks: benchmarks (MMLU's subjects share one weight) or tasks."),
]
Tasks = Annotated[
    list[str] | None,
    typer.Option(
        "--tasks",
        help="Names, groups, suites or globs, separated by commas; may be repeated. Default: the default suite.",
    ),
]
ModelName = Annotated[str | None, typer.Option("--name", help="What to call the model. Default: as its folder.")]
Shots = Annotated[int | None, typer.Option("--num-fewshot", help="Shots for every task. Default: what each task says.")]
Limit = Annotated[int | None, typer.Option(help="Only the first N docs of each task.")]
DataRoot = Annotated[
    Path | None, typer.Option(envvar="BENCHBENCH_DATA", help="Folder with data sets, instead of the Hub.")
]
Output = Annotated[Path, typer.Option(help="Results folder.")]
BatchTokens = Annotated[
    int | None, typer.Option(help="Most tokens in one batch, shared prefixes and padding included.")
]
Dtype = Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")]
BackendName = Annotated[str, typer.Option(help="auto, hf, vllm, gguf, api or scripted.")]
TokenizerName = Annotated[
    str | None, typer.Option(help="Folder or hub name of the tokenizer. Default: the one beside the weights.")
]
TrustRemoteCode = Annotated[bool, typer.Option("--trust-remote-code", help="Run the model's own code.")]
MaxLength = Annotated[int | None, typer.Option(help="Tokens the model may see at once.")]
ModelArgs = Annotated[str, typer.Option(help="Options of one backend, name=value,name=value; a wrong name lists them.")]
Mode = Annotated[
    FewshotMode, typer.Option(help="One block of shots per task, one per doc, or lm-eval's sequential sampler.")
]
PromptName = Annotated[str, typer.Option(help="Name of a prompt variant that the task offers.")]
Split = Annotated[str | None, typer.Option(help="Evaluate this split instead of each task's own.")]
FewshotSplit = Annotated[str | None, typer.Option(help="Draw shots from this split instead.")]
GenKwargsText = Annotated[
    str,
    typer.Option(
        "--gen-kwargs",
        help="Generation settings that replace the tasks' own: max_gen_toks=64,temperature=0.7, or a JSON object.",
    ),
]
ApplyChatTemplate = Annotated[
    bool, typer.Option("--apply-chat-template", help="Put prompts as conversations, through the model's chat template.")
]
System = Annotated[
    str | None, typer.Option(help="System prompt of every conversation, or @FILE; the task's description follows it.")
]
Multiturn = Annotated[
    bool | None,
    typer.Option(
        "--fewshot-as-multiturn/--no-fewshot-as-multiturn",
        help="Shots as turns (default), or all in the user's first turn.",
        show_default=False,
    ),
]
Seed = Annotated[int, typer.Option(help="Seeds the draw of shots and every bootstrap.")]
IncludePath = Annotated[list[Path] | None, typer.Option(help="Folder or file with more tasks; may be repeated.")]
TrustTaskCode = Annotated[bool, typer.Option("--trust-task-code", help="Run Python that comes with lm_eval: tasks.")]
MaxFailed = Annotated[float, typer.Option(help="Exit with 1 if a larger share of docs failed.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


def joined(given: list[str] | None) -> str | None:
    """What a repeatable option of names lists in all, separated by commas; None where it was not given."""
    return ",".join(given) if given else None


def chat_settings(apply: bool, system: str | None, multiturn: bool | None) -> ChatSettings | None:
    """What the three options say together; None for plain prompts. ArgumentError where they contradict each other."""
    if not apply:
        for option, given in (("--system", system), ("--fewshot-as-multiturn", multiturn)):
            if given is not None:
                raise ArgumentError(f"{option} shapes a conversation; it needs --apply-chat-template beside it.")
        return None
    if system is not None and system.startswith("@"):
        path = Path(system[1:]).expanduser()
        try:
            system = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ArgumentError(f"--system @{path} cannot be read: {error}") from error
    if system is not None and not system.strip():
        raise ArgumentError("--system is empty; leave it out for none.")
    return ChatSettings(system, multiturn is not False)
