"""How tasks are rendered: what a person may say of it, before any task is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from benchbench.core.chat import ChatSettings
from benchbench.core.errors import ArgumentError
from benchbench.core.settings import Setting
from benchbench.tasks.gen_kwargs import GenKwargs, parse_gen_kwargs

FewshotMode = Literal["fixed", "per_doc", "lm_eval"]
"""One block of shots per task, other shots for each doc, or lm-eval's sequential sampler."""

DataRoot = Annotated[
    Path | None,
    Setting("Folder with data sets, instead of the Hub.", panel="Tasks", env="BENCHBENCH_DATA", record=False),
]


@dataclass(frozen=True, slots=True)
class RenderSettings:
    """Everything that may change a prompt without touching the task. ArgumentError if a value makes no sense."""

    num_fewshot: Annotated[
        int | None, Setting("Shots for every task. Default: what each task says.", panel="Prompts")
    ] = None
    fewshot_mode: Annotated[
        FewshotMode,
        Setting("One block of shots per task, one per doc, or lm-eval's sequential sampler.", panel="Prompts"),
    ] = "fixed"
    seed: Annotated[int, Setting("Seeds the draw of shots and every bootstrap.", panel="Prompts")] = 1234
    limit: Annotated[int | None, Setting("Only the first N docs of each task.", panel="Tasks")] = None
    prompt: Annotated[str, Setting("Name of a prompt variant that the task offers.", panel="Prompts")] = "default"
    data_root: DataRoot = None
    split: Annotated[str | None, Setting("Evaluate this split instead of each task's own.", panel="Tasks")] = None
    fewshot_split: Annotated[str | None, Setting("Draw shots from this split instead.", panel="Prompts")] = None
    chat: Annotated[
        ChatSettings | None,
        Setting(
            "Format prompts as conversations, with the model's chat template.",
            panel="Prompts",
            flags=("--apply-chat-template",),
            part_flags_do="shapes a conversation",
            identity="if set",
        ),
    ] = None
    trust_task_code: Annotated[
        bool,
        Setting("Run Python that comes with lm_eval: tasks.", panel="Tasks", identity=False, record=False),
    ] = False
    gen_kwargs: Annotated[
        GenKwargs,
        Setting(
            "Generation settings that replace the tasks' own: max_gen_toks=64,temperature=0.7, or a JSON object.",
            panel="Generation",
            cli_type=str,
            parse=parse_gen_kwargs,
            pairs=True,
            identity="if set",
            record="if set",
        ),
    ] = ()

    def __post_init__(self) -> None:
        if self.num_fewshot is not None and self.num_fewshot < 0:
            raise ArgumentError(f"--num-fewshot is {self.num_fewshot}; it must be 0 or more.")
        if self.limit is not None and self.limit < 1:
            raise ArgumentError(f"--limit is {self.limit}; it must be 1 or more (leave it out for all docs).")
