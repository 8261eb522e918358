"""What one run is asked to do."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from benchbench.backends.options import ModelOptions
from benchbench.core.chat import ChatSettings
from benchbench.core.errors import ArgumentError
from benchbench.tasks.gen_kwargs import GenKwargs

if TYPE_CHECKING:
    from benchbench.tasks.prepared import RenderSettings

FewshotMode = Literal["fixed", "per_doc", "lm_eval"]


@dataclass(frozen=True, slots=True)
class RunSettings:
    """One model, some tasks, how to render them, and where the results go. ArgumentError if a value makes no sense."""

    model: ModelOptions
    tasks: str | None = None
    """Names, tags, groups, suites or globs, separated by commas. None is the default suite."""
    include_paths: tuple[Path, ...] = ()
    """Folders or files with more tasks."""
    num_fewshot: int | None = None
    """Shots for every task; None is what each task says."""
    fewshot_mode: FewshotMode = "fixed"
    seed: int = 1234
    limit: int | None = None
    """First docs of each task only; None is all."""
    prompt: str = "default"
    data_root: Path | None = None
    split: str | None = None
    """Evaluate this split of every task instead of its own."""
    fewshot_split: str | None = None
    """Draw shots from this split instead of the task's own."""
    chat: ChatSettings | None = None
    """Put prompts as conversations, through the model's chat template."""
    trust_task_code: bool = False
    """Python that comes with lm-eval's tasks may run."""
    gen_kwargs: GenKwargs = ()
    """Generation settings that replace the tasks' own."""
    output: Path = Path("results")
    fresh: bool = False
    """Begin a new attempt and compute everything again, whatever is on disk."""
    max_failed: float = 0.01
    """Largest share of failed docs, 0 to 1, with which a run still counts as good."""

    name: str | None = None
    """What to call the model; None: what its folder or hub name says."""
    series: str | None = None
    """The training that the model is a checkpoint of, which names it; None: what its place says."""
    step: int | None = None
    """Optimizer step of the model; None: what its name or its `trainer_state.json` says, if anything."""
    tokens_seen: int | None = None
    """Tokens that the model was trained on; None: what its files or its name say, if anything."""

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.num_fewshot is not None and self.num_fewshot < 0:
            raise ArgumentError(f"--num-fewshot is {self.num_fewshot}; it must be 0 or more.")
        if self.limit is not None and self.limit < 1:
            raise ArgumentError(f"--limit is {self.limit}; it must be 1 or more (leave it out for all docs).")
        if not 0 <= self.max_failed <= 1:
            raise ArgumentError(
                f"--max-failed is {self.max_failed}; it is a share from 0 to 1, e.g. 0.01 for one in a hundred."
            )

    def rendering(self) -> RenderSettings:
        """The part that the tasks room needs."""
        from benchbench.tasks.prepared import RenderSettings

        return RenderSettings(
            num_fewshot=self.num_fewshot,
            fewshot_mode=self.fewshot_mode,
            seed=self.seed,
            limit=self.limit,
            prompt=self.prompt,
            data_root=self.data_root,
            split=self.split,
            fewshot_split=self.fewshot_split,
            chat=self.chat,
            trust_task_code=self.trust_task_code,
            gen_kwargs=self.gen_kwargs,
        )

    def as_record(self) -> dict[str, Any]:
        """The settings that go into the record. Where results and data lie is left out: it moves no number."""
        model = self.model
        return {
            "model": model.model,
            "backend": model.backend,
            "revision": model.revision,
            "tokenizer": model.tokenizer,
            "dtype": model.dtype,
            "max_length": model.max_length,
            "batch_tokens": model.batch_tokens,
            "trust_remote_code": model.trust_remote_code,
            "model_args": dict(model.model_args),
            "tasks": self.tasks,
            "num_fewshot": self.num_fewshot,
            "fewshot_mode": self.fewshot_mode,
            "seed": self.seed,
            "limit": self.limit,
            "prompt": self.prompt,
            "split": self.split,
            "fewshot_split": self.fewshot_split,
            "chat": None if self.chat is None else asdict(self.chat),
            "max_failed": self.max_failed,
            **({"gen_kwargs": dict(self.gen_kwargs)} if self.gen_kwargs else {}),
        }


def check_name(name: str | None) -> None:
    """ArgumentError for a name of nothing."""
    if name is not None and not name.strip():
        raise ArgumentError("--name is empty; give the model a name, or leave --name out.")
