"""The task file's keys and their types, checked by pydantic, which stands at this border and nowhere behind it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from benchbench.core.errors import TaskError, did_you_mean
from benchbench.core.types import Json, OutputType
from benchbench.tasks.dialect import FILE_KEYS, PYTHON_HINT, TaskVariant, where

Text = str | int | float | None
"""A value that stays as YAML says it."""

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    Value = Json
else:
    Value = object  # pydantic cannot build a schema of a type that names itself, and would copy the values


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


MAX_COUNT = 10_000
"""Shots, repeats of a question and the like: more than anybody asks for, and few enough to be tried."""
MAX_TOKENS = 1_000_000
MAX_ENTRIES = 100
"""Metrics, filters, steps of a filter."""

Names = Annotated[list[str], BeforeValidator(_as_list)]
Tokens = Annotated[int | None, Field(ge=1, le=MAX_TOKENS)]
Target = str | int | list[int] | list[str]
Choices = str | list[str] | dict[str, str]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Open(BaseModel):
    """Keeps unknown keys: they are keyword arguments of the function that the entry names."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    def arguments(self) -> dict[str, Json]:
        return dict(self.model_extra or {})


class MetricEntry(_Open):
    """One entry of `metric_list`; further keys go to the metric."""

    metric: str
    aggregation: str | None = None
    higher_is_better: bool | None = None
    hf_evaluate: bool = False


class FilterStep(_Open):
    """One function of a filter pipeline; further keys go to it."""

    function: str


class FilterPipeline(_Strict):
    """One entry of `filter_list`."""

    name: str
    filter: Annotated[list[FilterStep], Field(max_length=MAX_ENTRIES)]


class GenerationKwargs(_Strict):
    """How to generate; names as in lm-eval and transformers."""

    until: Annotated[list[str] | None, BeforeValidator(_as_list)] = None
    max_gen_toks: Tokens = None
    max_new_tokens: Tokens = None
    max_tokens: Tokens = None
    max_completion_tokens: Tokens = None
    do_sample: bool | None = None
    temperature: float | None = Field(None, ge=0, allow_inf_nan=False)
    top_k: int | None = Field(None, ge=-1, le=MAX_TOKENS)
    top_p: float | None = Field(None, allow_inf_nan=False)
    num_beams: int = Field(1, ge=1, le=MAX_COUNT)
    length_penalty: float = Field(1.0, allow_inf_nan=False)
    repetition_penalty: float = Field(1.0, allow_inf_nan=False)
    no_repeat_ngram_size: int = Field(0, ge=0, le=MAX_COUNT)


class PromptVariant(_Strict):
    """What a prompt is made of. In `prompts`, a key that is not given keeps the task's own value."""

    doc_to_text: str | int | None = None
    doc_to_target: Target | None = None
    doc_to_choice: Choices | None = None
    description: str | None = None
    gen_prefix: str | None = None
    target_delimiter: str | None = None
    fewshot_delimiter: str | None = None
    src_lang: str | None = None
    tgt_lang: str | None = None


class FewshotConfig(PromptVariant):
    """Where shots come from and how they differ from the question."""

    sampler: Literal["default", "first_n"] = "default"
    split: str | None = None
    samples: list[dict[str, Value]] | None = None
    description: None = None
    src_lang: None = None
    tgt_lang: None = None


class Join(_Strict):
    """Another configuration of the same data set, whose rows are put beside this one's."""

    field: str
    """Where the other row goes."""
    dataset_name: str
    by: str
    """The field that two rows which belong together share."""


class TaskConfig(_Strict):
    """One task, after `include` and the matrix are worked in. See `tasks/README.md` for each key."""

    task: str
    task_alias: str | None = None
    tag: Names = []
    group: Names = []
    weight_by_size: bool = True
    version: Text = None
    dataset_path: str
    dataset_name: str | None = None
    dataset_revision: str | None = None
    dataset_kwargs: dict[str, Value] | None = None
    join: Join | None = None
    explode: Names = []
    keep: str | None = None
    training_split: str | None = None
    validation_split: str | None = None
    test_split: str | None = None
    fewshot_split: str | None = None
    output_type: OutputType = "generate_until"
    doc: dict[str, Value] = {}
    doc_to_text: str | int = ""
    doc_to_target: Target = ""
    doc_to_choice: Choices | None = None
    doc_to_length: str | None = None
    doc_to_answer: str | None = None
    doc_to_source: str | None = None
    doc_to_program: str | None = None
    turns: str | None = None
    doc_to_temperature: str | float | None = None
    cluster: str | None = None
    description: str | None = None
    gen_prefix: str | None = None
    target_delimiter: str = " "
    fewshot_delimiter: str = "\n\n"
    src_lang: str | None = None
    tgt_lang: str | None = None
    prompts: dict[str, PromptVariant] = {}
    fewshot_config: FewshotConfig | None = None
    num_fewshot: int | None = Field(None, ge=0, le=MAX_COUNT)
    generation_kwargs: GenerationKwargs | None = None
    repeats: int = Field(1, ge=1, le=MAX_COUNT)
    metric_list: list[MetricEntry] | None = Field(None, max_length=MAX_ENTRIES)
    filter_list: list[FilterPipeline] | None = Field(None, max_length=MAX_ENTRIES)
    chance: float | None = Field(None, ge=0, le=1)
    licence: str | None = None
    citation: str | None = None
    metadata: dict[str, Value] | None = None
    should_decontaminate: bool = False
    doc_to_decontamination_query: str | None = None

    @property
    def eval_split(self) -> str | None:
        """The split that is evaluated: test, else validation."""
        return self.test_split if self.test_split is not None else self.validation_split

    @property
    def shot_split(self) -> str | None:
        """The split that shots come from; None if the task brings its own samples.

        As lm-eval: the few-shot split, else inline samples, else the training, validation or test split.
        """
        shots = self.fewshot_config
        named = (shots.split if shots is not None else None) or self.fewshot_split
        if named is not None or (shots is not None and shots.samples is not None):
            return named
        return self.training_split or self.validation_split or self.test_split


PYTHON_KEYS = ("process_docs", "process_results", "custom_dataset", "class")
"""Keys of lm-eval that stand for functions."""


def check(variant: TaskVariant) -> TaskConfig:
    """The variant as a TaskConfig; TaskError with file, line, key and nearest key."""
    try:
        return TaskConfig.model_validate(dict(variant.raw))
    except ValidationError as error:
        raise TaskError("\n".join(_sentences(variant, error.errors()))) from error


def _sentences(variant: TaskVariant, errors: Sequence[ErrorDetails]) -> Iterator[str]:
    seen: set[tuple[int | str, ...]] = set()
    for error in errors:
        location = tuple(step for step in error["loc"] if not _is_union_branch(step))
        if location in seen:
            continue
        seen.add(location)
        path = variant.origins.get(str(location[0]), variant.path)
        yield f"{where(path, location)}: {_problem(location, error)}"


def _is_union_branch(step: int | str) -> bool:
    return isinstance(step, str) and re.fullmatch(r"(str|int|float|bool|none|(list|dict)\[.*\])", step) is not None


def _problem(location: tuple[int | str, ...], error: ErrorDetails) -> str:
    key = ".".join(str(step) for step in location)
    if error["type"] == "extra_forbidden":
        if key in PYTHON_KEYS:
            return f"the key {key!r} names Python, which a task file never runs.{PYTHON_HINT}"
        return f"unknown key {key!r}.{did_you_mean(str(location[-1]), _known_keys(location))}"
    if error["type"] == "missing":
        return f"the key {key!r} is missing."
    given = repr(error["input"])
    given = given if len(given) <= 60 else given[:57] + "…"
    hint = (
        " Quote it: YAML reads a bare yes, no, on or off as true or false." if isinstance(error["input"], bool) else ""
    )
    problem = re.sub(r"a valid dictionary or instance of \w+", "a mapping of keys to values", error["msg"].lower())
    return f"wrong value for {key!r}: {problem}, given {given}.{hint}"


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    models: dict[int | str, type[BaseModel]] = {
        "generation_kwargs": GenerationKwargs,
        "fewshot_config": FewshotConfig,
        "prompts": PromptVariant,
        "filter_list": FilterPipeline,
        "join": Join,
    }
    model = models.get(location[0], TaskConfig) if len(location) > 1 else TaskConfig
    return [*model.model_fields, *(FILE_KEYS if len(location) == 1 else ())]
