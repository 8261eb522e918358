"""The options of built-in metrics and filters: what each may be, told before a model is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchbench.core.errors import TaskError, did_you_mean
from benchbench.core.patterns import check
from benchbench.core.types import Json

SACREBLEU_TOKENIZERS = (
    "13a", "intl", "zh", "char", "ja-mecab", "ko-mecab", "spm", "flores101", "flores200", "spBLEU-1K", "none",
)  # fmt: skip
"""Those of sacrebleu 2.5; a test compares them with the installed one's."""


@dataclass(frozen=True, slots=True)
class OptionInfo:
    """One option."""

    explanation: str
    values: tuple[str, ...] = ()
    """Texts that it may be; empty: true or false."""
    is_list: bool = False
    """A list of regular expressions instead."""


OPTIONS: Mapping[str, OptionInfo] = {
    "regexes_to_ignore": OptionInfo("Patterns that are removed from both texts first.", is_list=True),
    "ignore_case": OptionInfo("Case does not count."),
    "ignore_punctuation": OptionInfo("ASCII punctuation does not count; with `ignore_typography`, none of Unicode's."),
    "ignore_numbers": OptionInfo("Digits do not count."),
    "ignore_typography": OptionInfo(
        "Texts that look equal are equal: composed and decomposed letters, ligatures, full-width signs, straight and "
        "typographic quotes, dashes, kinds and runs of white space, signs that are not seen."
    ),
    "numbers": OptionInfo(
        "How numbers are written: `comma` takes 1 000 for 1000 and 3,14 for 3.14, `point` 1,000 for 1000. Spaces of "
        "all kinds and apostrophes may stand between thousands.",
        ("comma", "point"),
    ),
    "normalization": OptionInfo(
        "Lower case, no ASCII punctuation, no articles of a language.", ("squad", "french", "none")
    ),
    "use_stemmer": OptionInfo("English words are compared by their stems."),
    "tokenizer": OptionInfo("`default` knows a to z and 0 to 9 alone, `unicode` every script.", ("default", "unicode")),
    "tokenize": OptionInfo("sacrebleu's tokenizer.", SACREBLEU_TOKENIZERS),
    "lowercase": OptionInfo("Case does not count."),
    "normalized": OptionInfo("Texts are tokenized as TERCOM does."),
    "no_punct": OptionInfo("Punctuation does not count."),
    "asian_support": OptionInfo("Characters of Asian scripts are words."),
    "case_sensitive": OptionInfo("Case counts."),
    "ties": OptionInfo(
        "Which of equally likely choices is taken: `draw` draws one, the same in every run; `first` takes the first, "
        "as lm-eval does.",
        ("draw", "first"),
    ),
}


FILTER_OPTIONS: Mapping[str, str] = {
    "regex_pattern": "Regular expression that is searched in the text; its groups are what is extracted.",
    "group_select": "Which match is taken: 0 the first, -1 the last.",
    "fallback": "Text for an answer in which nothing is found; `[invalid]` if not given.",
    "ignore_case": "Case does not count when choices are searched.",
    "ignore_punctuation": "Punctuation does not count when choices are searched.",
    "regexes_to_ignore": "Patterns that are removed first when choices are searched.",
    "k": "How many texts are kept.",
    "chars": "Characters that are cut; white space if not given.",
    "start": "What a thought begins with; `<think>` if not given.",
    "end": "What a thought ends with; `</think>` if not given.",
    "mapping_dict": "Text of an answer → text that replaces it.",
    "default_value": "Text for an answer that `mapping_dict` does not have.",
}
"""The options of built-in filters."""


def check_options(metric: str, options: Mapping[str, Json]) -> None:
    """TaskError for the value of an option that no metric can use; null is the default."""
    for name, value in options.items():
        info = OPTIONS.get(name)
        if info is None or value is None or info.is_list:
            continue
        if info.values and value not in info.values:
            near = did_you_mean(value, info.values) if isinstance(value, str) else ""
            raise TaskError(f"Metric {metric!r}: `{name}` is {value!r}; it is one of {', '.join(info.values)}.{near}")
        if not info.values and not isinstance(value, bool):
            raise TaskError(f"Metric {metric!r}: `{name}` is {value!r}; it is true or false.")
    if options.get("tokenizer") == "unicode" and options.get("use_stemmer"):
        raise TaskError(f"Metric {metric!r}: the stemmer is English and goes with `tokenizer: default` only.")


MAX_PATTERNS = 100


def check_patterns(what: str, options: Mapping[str, Json]) -> None:
    """TaskError, which begins with `what`, for an option that should be a regular expression and is none."""
    ignored = options.get("regexes_to_ignore")
    listed = ignored if isinstance(ignored, list) else [] if ignored is None else [*str(ignored)]
    if len(listed) > MAX_PATTERNS:
        raise TaskError(f"{what}: `regexes_to_ignore` has {len(listed):,} entries; {MAX_PATTERNS} are the most.")
    found = [("regexes_to_ignore", pattern) for pattern in listed]
    if "regex_pattern" in options:
        found.append(("regex_pattern", options["regex_pattern"]))
    for option, pattern in found:
        try:
            check(pattern)
        except ValueError as error:
            raise TaskError(f"{what}: `{option}`: {error}.") from error
