"""Which models judge, what they read, and how much they may cost."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from benchbench.backends.engines import ModelOptions, engine_names, parse_model_args
from benchbench.core.errors import ArgumentError, did_you_mean
from benchbench.core.settings import Setting

PANEL = "Judge"
MOST_REPEATS = 100


def _judges(given: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in given))


@dataclass(frozen=True, slots=True)
class Scale:
    """Grades from `low` to `high`, the best."""

    low: float
    high: float

    @classmethod
    def of(cls, text: str) -> Scale:
        """`1-10`, `0-1`. ArgumentError for anything else."""
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*-\s*(\d+(?:\.\d+)?)\s*", text)
        if found is None or not float(found[1]) < float(found[2]) < math.inf:
            raise ArgumentError(f"the judge's scale is {text!r}; it is the worst and the best grade, as 1-10.")
        return cls(float(found[1]), float(found[2]))

    def __str__(self) -> str:
        return f"{self.low:g}-{self.high:g}"


@dataclass(frozen=True, slots=True)
class JudgeOptions:
    """Which models judge, what they read, and how much they may cost. ArgumentError if a value makes no sense."""

    models: Annotated[
        tuple[str, ...],
        Setting(
            "The judge: a model as for `run`, BACKEND:MODEL, or api:NAME@URL; repeated, a panel of judges.",
            panel=PANEL,
            flags=("--judge",),
            cli_type=list[str] | None,
            parse=_judges,
        ),
    ] = ()
    args: Annotated[
        tuple[tuple[str, str], ...],
        Setting(
            "Options of the judge's backend, as --model-args: base_url=...,revision=...",
            panel=PANEL,
            flags=("--judge-args",),
            cli_type=str,
            parse=parse_model_args,
            pairs=True,
        ),
    ] = ()
    prompts: Annotated[
        Path | None,
        Setting(
            "Judge prompts in FastChat's layout (judge_prompts.jsonl). Default: short ones of our own.",
            panel=PANEL,
            flags=("--judge-prompts",),
        ),
    ] = None
    references: Annotated[
        Path | None,
        Setting(
            "Reference answers in FastChat's layout. Default: the task's own targets.",
            panel=PANEL,
            flags=("--judge-references",),
        ),
    ] = None
    labels: Annotated[
        Path | None,
        Setting(
            "What people say, to tell how far the judge agrees: JSON lines with question_id, turn and score; for an "
            "arena model_a, model_b, winner.",
            panel=PANEL,
            flags=("--judge-labels",),
        ),
    ] = None
    repeats: Annotated[
        int,
        Setting("Judge each answer so many times.", panel=PANEL, flags=("--judge-repeats",)),
    ] = 1
    temperature: Annotated[
        float,
        Setting("0: the judge's most likely words; above, drawn ones.", panel=PANEL, flags=("--judge-temperature",)),
    ] = 0.0
    max_gen_toks: Annotated[
        int,
        Setting("Most tokens of one judgement.", panel=PANEL, flags=("--judge-max-gen-toks",)),
    ] = 1024
    scale: Annotated[str, Setting("The worst and the best grade.", panel=PANEL, flags=("--judge-scale",))] = "1-10"
    budget: Annotated[
        int | None,
        Setting(
            "Stop when so many tokens, read and written, were spent; the same command goes on.",
            panel=PANEL,
            flags=("--judge-budget",),
        ),
    ] = None
    by: Annotated[str | None, Setting()] = None
    """Field of the docs whose values get columns of their own: a category."""
    references_in: Annotated[tuple[str, ...], Setting()] = ()
    """Values of `by` for which the judge is shown references; (): wherever there are some."""

    def __post_init__(self) -> None:
        if not 1 <= self.repeats <= MOST_REPEATS:
            raise ArgumentError(f"--judge-repeats is {self.repeats}; it is a number from 1 to {MOST_REPEATS}.")
        if not 0 <= self.temperature < math.inf:
            raise ArgumentError(f"--judge-temperature is {self.temperature}; it is 0 or more.")
        if self.max_gen_toks < 1:
            raise ArgumentError(f"--judge-max-gen-toks is {self.max_gen_toks}; a judgement has a token or more.")
        if self.budget is not None and self.budget < 1:
            raise ArgumentError(f"--judge-budget is {self.budget}; it is a number of tokens from 1.")
        if any(not name for name in self.models):
            raise ArgumentError("--judge is empty; name a model.")
        if self.repeats > 1 and self.temperature == 0:
            raise ArgumentError(
                "--judge-repeats asks the same again, and at --judge-temperature 0 gets the same answers; give a"
                " temperature above 0, e.g. 0.7."
            )
        Scale.of(self.scale)

    def model_options(self) -> list[ModelOptions]:
        """How each judge is opened."""
        return [judge_model(name, self.args) for name in self.models]


def judge_model(text: str, args: tuple[tuple[str, str], ...]) -> ModelOptions:
    """The model that `MODEL`, `BACKEND:MODEL` or `api:NAME@URL` names."""
    backend, colon, name = text.partition(":")
    if not colon or backend not in engine_names():
        backend, name = "auto", text
    model, at, url = name.rpartition("@")
    if at and url.startswith(("http://", "https://")):
        return ModelOptions(model, backend="api", model_args=tuple(sorted({**dict(args), "base_url": url}.items())))
    return ModelOptions(name, backend=backend, model_args=args)


_NUMBERS = {"repeats": int, "temperature": float, "max_gen_toks": int, "budget": int}
_PATHS = ("prompts", "references", "labels")
NAMES = ("model", "args", *_PATHS, *_NUMBERS, "scale", "by", "references_in")


def with_listed(options: JudgeOptions, listed: Mapping[str, str]) -> JudgeOptions:
    """The options with those that a `metric_list` entry or `--option` names; a flag that was given stands above them.

    ArgumentError for an unknown name or a value that is none.
    """
    changes: dict[str, object] = {}
    plain = JudgeOptions()
    for name, text in listed.items():
        if name not in NAMES:
            raise ArgumentError(
                f"the metric judge has no option {name!r}; it has {', '.join(NAMES)}.{did_you_mean(name, NAMES)}"
            )
        field = "models" if name == "model" else name
        if getattr(options, field) != getattr(plain, field):
            continue
        changes[field] = _value(name, text)
    return replace(options, **changes)  # type: ignore[arg-type]


def _value(name: str, text: str) -> object:
    if name == "model":
        return _judges(text.split(","))
    if name == "args":
        return parse_model_args(text)
    if name in _PATHS:
        return Path(text).expanduser()
    if name == "references_in":
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if name in _NUMBERS:
        try:
            return _NUMBERS[name](text)
        except ValueError:
            raise ArgumentError(f"the judge's option {name} is {text!r}; it is a number.") from None
    return text
