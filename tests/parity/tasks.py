"""Which shipped task is held against which definition.

lm-eval's own file where it has the task; for `cs_hellaswag` the file of BenCzechMark's fork; else our file, read by
lm-eval: its columns derived by plain Jinja, everything that makes a prompt of them done by lm-eval.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from benchbench.tasks.index import TaskIndex

Definition = Literal["lm-eval", "BenCzechMark", "ours"]


@dataclass(frozen=True)
class Case:
    """A task that the table has a row for."""

    name: str
    definition: Definition
    note: str | None = None
    """Why and where the two differ on purpose."""


FILES = {
    "hellaswag": "hellaswag/hellaswag.yaml",
    "arc_easy": "arc/arc_easy.yaml",
    "arc_challenge": "arc/arc_challenge.yaml",
    "piqa": "piqa/piqa.yaml",
    "sciq": "sciq/sciq.yaml",
    "boolq": "super_glue/boolq/default.yaml",
    "openbookqa": "openbookqa/openbookqa.yaml",
    "winogrande": "winogrande/default.yaml",
    "lambada_openai": "lambada/lambada_openai.yaml",
    "wikitext": "wikitext/wikitext.yaml",
    "triviaqa": "triviaqa/default.yaml",
    "nq_open": "nq_open/nq_open.yaml",
    "gsm8k": "gsm8k/gsm8k.yaml",
    "humaneval": "humaneval/humaneval.yaml",
    "mbpp": "mbpp/mbpp.yaml",
    "wmt14-en-fr": "translation/wmt14_en-fr.yaml",
    "wmt14-fr-en": "translation/wmt14_fr-en.yaml",
    "flores_fra-spa": "spanish_bench/flores_es/flores_fr-es.yaml",
    "flores_spa-eng": "spanish_bench/flores_es/flores_es-en.yaml",
}
PATTERNS = (
    (r"(belebele)_\w+", "{1}/{0}.yaml"),
    (r"mmlu_prox_(lite_)?(\w\w)_\w+", "mmlu_prox/{2}/{0}.yaml"),
    (r"(minerva_math)\w+", "{1}/{0}.yaml"),
    (r"mmlu_\w+", "mmlu/default/{0}.yaml"),
    (r"global_mmlu_full_(\w\w)_\w+", "global_mmlu/full/{1}/{0}.yaml"),
    (r"(multiblimp)_\w+", "{1}/{0}.yaml"),
    (r"(global_piqa)_(\w+_cloze)_(\w+)", "{1}/{2}/{3}.yaml"),
    (r"(french_bench)_\w+", "{1}/{0}.yaml"),
)
OTHER_FLORES = re.compile(r"flores_\w+-\w+")

MANY = {
    "mmlu": ("mmlu_anatomy", "mmlu_high_school_us_history", "mmlu_professional_law"),
    "belebele": ("belebele_eng_Latn", "belebele_ces_Latn"),
    "global_mmlu": (
        "global_mmlu_full_cs_anatomy",
        "global_mmlu_full_cs_professional_law",
        "global_mmlu_full_fr_high_school_us_history",
    ),
    "mmlu_prox": (
        "mmlu_prox_cs_law",
        "mmlu_prox_cs_computer_science",
        "mmlu_prox_en_computer_science",
        "mmlu_prox_lite_fr_computer_science",
        "mmlu_prox_lite_cs_law",
    ),
    "multiblimp": ("multiblimp_ces", "multiblimp_fra"),
    "global_piqa": ("global_piqa_parallel_cloze_ces_latn", "global_piqa_nonparallel_cloze_ces_latn"),
    "flores": ("flores_fra-spa", "flores_spa-eng"),
    "ntrex": ("ntrex_eng-ces", "ntrex_ces-fra"),
}
"""Folders whose files make many tasks of one template: these stand for all."""

NOTES = {
    "boolq": "lm-eval loads aps/super_glue, whose passages carry the page's title; both sides were given google/boolq",
    "cs_hellaswag": "lm-eval has no such task; compared with the fork's definition",
}


@cache
def packaged() -> TaskIndex:
    """The tasks that ship, read once."""
    return TaskIndex()


def lm_evals_file(name: str) -> str | None:
    """Path below lm-eval's task folder of the file that defines `name`; None if lm-eval has no such task."""
    if name in FILES:
        return FILES[name]
    for pattern, path in PATTERNS:
        if found := re.fullmatch(pattern, name):
            return path.format(name, *found.groups())
    return None


@cache
def cases() -> tuple[Case, ...]:
    """Every shipped task, those of large matrices by their representatives."""
    return tuple(Case(name, definition_of(name), NOTES.get(name)) for name in _names())


def _names() -> Iterator[str]:
    for name, variant in packaged().variants.items():
        folder = variant.path.parent.name
        is_asked = folder != "demo" and (folder not in MANY or name in MANY[folder])
        if is_asked and "turns" not in variant.raw:  # lm-eval has no conversations
            yield name


def definition_of(name: str) -> Definition:
    """Whose definition the task is held against."""
    if name == "cs_hellaswag":
        return "BenCzechMark"
    return "ours" if lm_evals_file(name) is None else "lm-eval"


OURS = frozenset((
    "version", "dataset_revision", "join", "keep", "doc", "doc_to_length", "doc_to_answer", "doc_to_source", "cluster",
    "doc_to_program",
    "prompts", "chance", "licence", "citation", "group", "weight_by_size",
))  # fmt: skip
"""Keys that lm-eval does not know."""


def ours_for_lm_eval(name: str) -> dict[str, Any]:
    """Our definition as a configuration of lm-eval's: derived fields and matrix variables become columns."""
    variant = packaged().variants[name]
    raw = {key: value for key, value in variant.raw.items() if key not in OURS}
    metric = {"multiple_choice": "acc", "generate_until": "exact_match"}.get(raw["output_type"])
    raw["metric_list"] = None if metric is None else [{"metric": metric, "aggregation": "mean"}]
    raw.pop("filter_list", None)
    if raw["metric_list"] is None:
        del raw["metric_list"]
    return {**raw, "process_docs": _deriver(variant.raw, variant.variables)}


def _deriver(raw: Mapping[str, Any], variables: Mapping[str, Any]) -> Callable[[Any], Any]:
    from jinja2 import Environment

    plain = Environment(keep_trailing_newline=True, autoescape=False)

    def value(template: Any, scope: Mapping[str, Any]) -> Any:
        if not isinstance(template, str):
            return template
        whole = re.fullmatch(r"\s*\{\{((?:(?!\}\}|\{\{).)*)\}\}\s*", template, re.DOTALL)
        if whole:
            return plain.compile_expression(whole[1].strip(), undefined_to_none=False)(**scope)
        return plain.from_string(template).render(**scope)

    def derive(docs: Any) -> Any:
        import datasets

        rows = []
        for row in docs:
            scope = {**row, **variables}
            if "keep" in raw and not value(raw["keep"], scope):
                continue
            for field, template in raw.get("doc", {}).items():
                scope[field] = value(template, scope)
            rows.append(scope)
        return datasets.Dataset.from_list(rows)

    return derive
