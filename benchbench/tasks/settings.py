"""How tasks are rendered, and how a model is to generate: what a person may say of it, before any task is read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Annotated, Literal

from benchbench.core.chat import ChatSettings
from benchbench.core.errors import ArgumentError, did_you_mean
from benchbench.core.settings import Setting, name_value_pairs
from benchbench.core.types import GenerationParams, Json

MAX_SHOTS = 10_000
MAX_DOCS = 1_000_000_000
MAX_SEED = 2**63 - 1
LIMITS = (
    f"it must be 1 or more docs, up to {MAX_DOCS:,}, or a share of each task's docs below 1, such as 0.1 (leave it out "
    "for all docs)"
)
"""What `--limit` may be."""

FewshotMode = Literal["fixed", "per_doc", "lm_eval"]
"""One block of shots per task, other shots for each doc, or lm-eval's sequential sampler."""

DataRoot = Annotated[
    Path | None,
    Setting("Folder with data sets, instead of the Hub.", panel="Tasks", env="BENCHBENCH_DATA", record=False),
]

TrustTaskCode = Annotated[
    bool,
    Setting(
        "Run Python of lm_eval: tasks, and let task files name any data and any judge.",
        panel="Tasks",
        identity=False,
        record=False,
    ),
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
    limit: Annotated[
        int | float | None,
        Setting(
            "Only the first N docs of each task, or a share of them, such as 0.1.",
            panel="Tasks",
            cli_type=str,
            parse=parse_limit,
        ),
    ] = None
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
    trust_task_code: TrustTaskCode = False
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
    repeats: Annotated[
        int | None,
        Setting(
            "Answers to each doc of tasks whose answers are written. Default: what each task says; give a temperature.",
            panel="Generation",
            identity="if set",
            record="if set",
        ),
    ] = None
    metadata: Annotated[
        GenKwargs,
        Setting(
            "Values for lm_eval: tasks that make their own docs: tokenizer=PATH,max_seq_lengths=[4096], or JSON.",
            panel="Tasks",
            cli_type=str,
            parse=parse_metadata,
            pairs=True,
            identity="if set",
            record="if set",
        ),
    ] = ()
    random_docs: Annotated[
        bool,
        Setting(
            "With --limit: docs drawn at random by --seed, instead of the first.",
            panel="Tasks",
            identity="if set",
            record="if set",
        ),
    ] = False

    def __post_init__(self) -> None:
        if self.num_fewshot is not None and not 0 <= self.num_fewshot <= MAX_SHOTS:
            raise ArgumentError(f"--num-fewshot is {self.num_fewshot}; it must be 0 or more, up to {MAX_SHOTS:,}.")
        check_limit(self.limit)
        if self.repeats is not None and not 1 <= self.repeats <= MAX_SHOTS:
            raise ArgumentError(f"--repeats is {self.repeats}; it must be 1 or more, up to {MAX_SHOTS:,}.")
        if not 0 <= self.seed <= MAX_SEED:
            raise ArgumentError(f"--seed is {self.seed}; it must be 0 or more, up to {MAX_SEED:,}.")


def parse_limit(text: str) -> int | float:
    """A number of docs, or a share of them as it is typed. ArgumentError for anything else.

    >>> parse_limit("100"), parse_limit("0.1")
    (100, 0.1)
    """
    for kind in (int, float):
        try:
            limit = kind(text)
        except ValueError:
            continue
        check_limit(limit)
        return limit
    raise ArgumentError(f"--limit is {text!r}; {LIMITS}.")


def check_limit(limit: object) -> None:
    """ArgumentError for a limit that is neither a number of docs nor a share of them."""
    is_count = isinstance(limit, int) and not isinstance(limit, bool) and 1 <= limit <= MAX_DOCS
    if limit is not None and not is_count and not (isinstance(limit, float) and 0 < limit < 1):
        raise ArgumentError(f"--limit is {limit!r}; {LIMITS}.")


def docs_of(limit: float, total: int) -> int:
    """How many of `total` docs a limit leaves: of a share the next whole number, reckoned as it is written.

    >>> docs_of(0.07, 100), docs_of(0.5, 3), docs_of(10, 3)
    (7, 2, 3)
    """
    return min(total, limit if isinstance(limit, int) else ceil(Fraction(str(limit)) * total))


LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
"""Names for the most tokens, in the order in which lm-eval looks for them."""
GenKwargs = tuple[tuple[str, object], ...]
"""(name, JSON value) pairs, sorted by name."""


def parse_gen_kwargs(text: str | Mapping[str, Json]) -> GenKwargs:
    r"""(name, value) pairs of `max_gen_toks=64,temperature=0.7`, a JSON object or a mapping; ArgumentError otherwise.

    A temperature above 0 means to sample, unless `do_sample` says otherwise.

    >>> parse_gen_kwargs('{"until": ["\\n"], "temperature": 0.7}')
    (('do_sample', True), ('temperature', 0.7), ('until', ['\n']))
    """
    given = _pairs_or_json(text, "--gen-kwargs") if isinstance(text, str) else dict(text)
    _check(given)
    temperature = given.get("temperature")
    if isinstance(temperature, int | float) and temperature > 0:
        given.setdefault("do_sample", True)
    return tuple(sorted(given.items()))


def parse_metadata(text: str) -> GenKwargs:
    """(name, value) pairs of `tokenizer=PATH,max_seq_lengths=[4096]` or of a JSON object, sorted. ArgumentError."""
    given = _pairs_or_json(text, "--metadata")
    return tuple(sorted(given.items()))


def _pairs_or_json(text: str, flag: str) -> dict[str, Json]:
    return _from_json(text, flag) if text.lstrip().startswith("{") else _from_pairs(text, flag)


def _from_json(text: str, flag: str) -> dict[str, Json]:
    try:
        found: dict[str, Json] = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArgumentError(f"{flag} begins like a JSON object, but is none: {error}.") from error
    return found


def _from_pairs(text: str, flag: str) -> dict[str, Json]:
    pairs = name_value_pairs(text, flag, otherwise=", or as a JSON object", may_nest=flag == "--metadata")
    return {name: _value(value) for name, value in pairs.items()}


def _value(text: str) -> Json:
    try:
        value: Json = json.loads(text.lower() if text in ("True", "False", "None") else text)
        return value
    except (ValueError, RecursionError):
        return text.encode().decode("unicode_escape") if "\\" in text and text.isascii() else text


def _check(given: Mapping[str, Json]) -> None:
    from pydantic import ValidationError

    from benchbench.tasks.config import GenerationKwargs

    known = list(GenerationKwargs.model_fields)
    for name in given:
        if name not in known:
            near = did_you_mean(name, known)
            raise ArgumentError(f"--gen-kwargs has no {name!r}; there are {', '.join(known)}.{near}")
    try:
        GenerationKwargs.model_validate(dict(given))
    except ValidationError as error:
        first = error.errors()[0]
        raise ArgumentError(f"--gen-kwargs {first['loc'][0]}: {first['msg']}, not {first['input']!r}.") from error


def override(own: Mapping[str, object], given: Mapping[str, object]) -> dict[str, object]:
    """A task's generation settings with those given in their place; a length replaces one by any other name."""
    has_length = any(name in given for name in LENGTHS)
    return {**{name: value for name, value in own.items() if not (has_length and name in LENGTHS)}, **given}


def generation_params(
    given: Mapping[str, float], until: tuple[str, ...], *, sampled: bool, seed: int
) -> GenerationParams:
    """Settings of a request by the names of a task's `generation_kwargs`; without a length 256 tokens.

    Raises:
        TypeError, ValueError: a value is no number.
    """
    return GenerationParams(
        until=until,
        max_gen_toks=next((int(given[name]) for name in LENGTHS if name in given), 256),
        do_sample=sampled,
        temperature=float(given.get("temperature", 1.0)) if sampled else 1.0,
        top_k=int(given["top_k"]) if sampled and "top_k" in given else None,
        top_p=float(given["top_p"]) if sampled and "top_p" in given else None,
        num_beams=int(given.get("num_beams", 1)),
        length_penalty=float(given.get("length_penalty", 1.0)),
        repetition_penalty=float(given.get("repetition_penalty", 1.0)),
        no_repeat_ngram_size=int(given.get("no_repeat_ngram_size", 0)),
        seed=seed if sampled else 0,
    )
