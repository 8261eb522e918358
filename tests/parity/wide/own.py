"""Task files of our own making in lm-eval's dialect, one for each way of saying a thing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

Keys = dict[str, Any]
DATA: Keys = {"dataset_path": "own/questions", "test_split": "test", "fewshot_split": "train"}
CHOICE: Keys = {
    **DATA,
    "output_type": "multiple_choice",
    "doc_to_text": "Q: {{question}}\nA:",
    "doc_to_target": "gold",
    "doc_to_choice": "options",
    "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
}
LIKELIHOOD: Keys = {
    **DATA,
    "output_type": "loglikelihood",
    "doc_to_text": "{{passage}}",
    "doc_to_target": " {{answer}}",
    "metric_list": [{"metric": "perplexity"}, {"metric": "acc"}],
}
ROLLING: Keys = {
    **DATA,
    "output_type": "loglikelihood_rolling",
    "doc_to_text": "",
    "doc_to_target": "passage",
    "metric_list": [{"metric": "word_perplexity"}, {"metric": "byte_perplexity"}, {"metric": "bits_per_byte"}],
}
EXACT: Keys = {"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}
WRITING: Keys = {
    **DATA,
    "output_type": "generate_until",
    "doc_to_text": "Q: {{question}}\nA:",
    "doc_to_target": "{{answer}}",
    "generation_kwargs": {"until": ["\n"], "max_gen_toks": 12},
    "metric_list": [EXACT],
}
SHOTS: Keys = {"num_fewshot": 2}
SAMPLES = [{"question": f"Where is {n}?", "options": ["here", "there"], "gold": n, "answer": "here"} for n in (0, 1)]
REGEX: Keys = {"function": "regex", "regex_pattern": "(lamp|river|bakery|violin)"}
FIRST: Keys = {"function": "take_first"}


def _filter(*steps: Keys, name: str = "own") -> Keys:
    return {"name": name, "filter": [*steps]}


def _metrics(*names: str, **more: Any) -> Keys:
    return {"metric_list": [{"metric": name, **more} for name in names]}


def _generation(**settings: Any) -> Keys:
    return {**WRITING, "generation_kwargs": {"until": ["\n"], **settings}}


OWN: dict[str, Keys] = {
    "own_choice_column": CHOICE,
    "own_text_column": {**CHOICE, "doc_to_text": "question"},
    "own_target_template": {**CHOICE, "doc_to_target": "{{gold}}"},
    "own_target_text": {**CHOICE, "doc_to_target": "{{options[gold]}}"},
    "own_target_letter": {**CHOICE, "doc_to_choice": ["A", "B", "C"], "doc_to_target": "letter"},
    "own_target_constant": {**CHOICE, "doc_to_target": 1},
    "own_target_switch": {**CHOICE, "doc_to_choice": ["no", "yes"], "doc_to_target": "is_right"},
    "own_choice_mapping": {**CHOICE, "doc_to_choice": {"a": "one", "b": "two", "c": "three"}},
    "own_choice_template": {**CHOICE, "doc_to_choice": "{{options}}"},
    "own_choice_written": {**CHOICE, "doc_to_choice": "['{{options[0]}}', '{{options[1]}}', 'neither']"},
    "own_delimiter_none": {**CHOICE, "target_delimiter": ""},
    "own_delimiter_line": {**CHOICE, "target_delimiter": "\n", **SHOTS},
    "own_delimiter_wide": {**CHOICE, "target_delimiter": "  ", **SHOTS},
    "own_description": {**CHOICE, "description": "Answer these.\n\n", **SHOTS},
    "own_description_template": {**CHOICE, "description": "About {{passage}}\n"},
    "own_shots_drawn": {**CHOICE, **SHOTS},
    "own_shots_apart": {**CHOICE, **SHOTS, "fewshot_delimiter": "\n---\n"},
    "own_shots_first": {**CHOICE, **SHOTS, "fewshot_config": {"sampler": "first_n"}},
    "own_shots_listed": {**CHOICE, "fewshot_split": None, **SHOTS,
                         "fewshot_config": {"sampler": "first_n", "samples": SAMPLES}},
    "own_shots_styled": {**CHOICE, **SHOTS, "fewshot_config": {"doc_to_text": "Before: {{question}}\nSo:"}},
    "own_shots_same_split": {**CHOICE, "fewshot_split": "test", **SHOTS},
    "own_prefix": {**CHOICE, "gen_prefix": "I say"},
    "own_prefix_shots": {**CHOICE, "gen_prefix": "I say", **SHOTS},
    "own_prefix_space": {**CHOICE, "gen_prefix": "I say ", **SHOTS},
    "own_several_inputs": {**CHOICE, "doc_to_text": "which", "doc_to_choice": "{{[question, passage]}}",
                           "doc_to_target": "answer"},
    "own_several_golds": {**CHOICE, "doc_to_target": "golds"},
    "own_acc_bytes": {**CHOICE, **_metrics("acc_bytes")},
    "own_mutual_info": {**CHOICE, **_metrics("acc", "acc_mutual_info")},
    "own_brier": {**CHOICE, **_metrics("brier_score")},
    "own_mcc": {**CHOICE, "doc_to_choice": ["no", "yes"], "doc_to_target": "is_right", **_metrics("mcc")},
    "own_f1": {**CHOICE, "doc_to_choice": ["no", "yes"], "doc_to_target": "is_right", **_metrics("f1")},
    "own_likelihood": {**CHOICE, **_metrics("likelihood")},
    "own_median": {**CHOICE, **_metrics("acc", aggregation="median", higher_is_better=True)},
    "own_nanmean": {**CHOICE, **_metrics("acc", aggregation="nanmean", higher_is_better=True)},
    "own_questions_empty": {**CHOICE, "doc_to_text": ""},
    "own_words": LIKELIHOOD,
    "own_words_perplexity": {**LIKELIHOOD, **_metrics("perplexity")},
    "own_words_shots": {**LIKELIHOOD, **SHOTS},
    "own_words_column": {**LIKELIHOOD, "doc_to_target": "answer"},
    "own_words_list": {**LIKELIHOOD, "doc_to_target": "answers"},
    "own_words_number": {**LIKELIHOOD, "doc_to_target": "gold"},
    "own_rolling": ROLLING,
    "own_rolling_words": {**ROLLING, **_metrics("word_perplexity")},
    "own_rolling_template": {**ROLLING, "doc_to_target": "{{passage}} {{question}}"},
    "own_writing": WRITING,
    "own_writing_case": {**WRITING, "metric_list": [{**EXACT, "ignore_case": True, "ignore_punctuation": True}]},
    "own_writing_ignored": {**WRITING, "metric_list": [{**EXACT, "regexes_to_ignore": [",", "The answer is "]}]},
    "own_writing_golds": {**WRITING, "doc_to_target": "answers"},
    "own_writing_list": {**WRITING, "doc_to_target": "{{answers}}"},
    "own_writing_shots": {**WRITING, "num_fewshot": 3},
    "own_writing_prefix": {**WRITING, "gen_prefix": "The answer is", **SHOTS},
    "own_until_text": {**WRITING, "generation_kwargs": {"until": "So"}},
    "own_until_many": {**WRITING, "generation_kwargs": {"until": ["So", "\n\n", "</s>"], "max_gen_toks": 9}},
    "own_until_none": {**WRITING, "generation_kwargs": {"max_gen_toks": 9}},
    "own_length_new": _generation(max_new_tokens=7),
    "own_length_completion": _generation(max_completion_tokens=7),
    "own_penalty": _generation(repetition_penalty=1.3),
    "own_filter_regex": {**WRITING, "filter_list": [_filter(REGEX, FIRST)]},
    "own_filter_last": {**WRITING, "filter_list": [_filter({**REGEX, "group_select": -1}, FIRST)]},
    "own_filter_two": {**WRITING, "filter_list": [_filter(REGEX, FIRST), _filter(FIRST, name="plain")]},
    "own_filter_map": {**WRITING, "filter_list": [
        _filter(REGEX, {"function": "map", "mapping_dict": {"lamp": "river"}, "default_value": "none"}, FIRST)]},
    "own_filter_case": {**WRITING, "filter_list": [
        _filter({"function": "remove_whitespace"}, {"function": "uppercase"}, {"function": "lowercase"}, FIRST)]},
    "own_vote": {**_generation(do_sample=True, temperature=0.7), "repeats": 3, "filter_list": [
        _filter({"function": "majority_vote"}, FIRST), _filter({"function": "take_first_k", "k": 2},
        {"function": "majority_vote"}, FIRST, name="two")]},
    "own_translation": {**WRITING, **_metrics("bleu", "chrf", "ter")},
}  # fmt: skip
"""Name → the file's keys."""


def write_files(folder: Path) -> Path:
    """Writes them; returns the folder."""
    folder.mkdir(parents=True)
    for name, keys in OWN.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({"task": name, **keys}, sort_keys=False))
    return folder
