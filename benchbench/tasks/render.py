"""One document into requests: the only place that joins questions, answers and delimiters.

Joins as lm-eval's `fewshot_context`, `build_qa_turn` and `construct_requests` do, byte for byte.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from benchbench.core.chat import ChatSettings, Conversation, Overflow, Shot
from benchbench.core.errors import TaskError, did_you_mean
from benchbench.core.format import kind_of
from benchbench.core.turns import PENDING, turn_prompts
from benchbench.core.types import (
    Doc,
    GenerateRequest,
    GenerationParams,
    Json,
    LoglikelihoodRequest,
    Prompt,
    RenderedDoc,
    Request,
    RollingRequest,
)
from benchbench.tasks.choice_hints import label_hint, list_hint, no_list, written_list
from benchbench.tasks.config import FewshotConfig, PromptVariant
from benchbench.tasks.documents import Deriver
from benchbench.tasks.finding import look
from benchbench.tasks.settings import generation_params
from benchbench.tasks.task import Task
from benchbench.tasks.template import Field
from benchbench.tasks.turns import user_turns

Answer = int | str | tuple[int, ...] | tuple[str, ...]
"""A gold index or text, or several that are right."""


class Block:
    """The shots of a document. Documents with the same shots share one object, and so its tuples."""

    __slots__ = ("shots", "texts")

    def __init__(self, shots: Sequence[Shot] = ()) -> None:
        self.shots = tuple(shots)
        """For conversations."""
        self.texts = tuple(shot.text for shot in shots)
        """For plain prompts."""


class Turn:
    """Question, choices and answer of a document under one prompt; shots and questions each have one."""

    def __init__(self, task: Task, prompt: PromptVariant, columns: Collection[str]) -> None:
        def field(key: str) -> Field:
            spec = getattr(prompt, key)
            if key == "doc_to_choice" and isinstance(spec, str) and spec not in columns:
                spec = written_list(spec) or spec
            return Field(spec, task.where(key), columns)

        self._task, self._columns, self._spec = task, columns, prompt.doc_to_target
        self._question, self._target = field("doc_to_text"), field("doc_to_target")
        self._choices = field("doc_to_choice") if prompt.doc_to_choice is not None else None
        self._prefix = field("gen_prefix") if prompt.gen_prefix is not None else None
        self.target_delimiter = prompt.target_delimiter if prompt.target_delimiter is not None else " "
        self.shot_delimiter = prompt.fewshot_delimiter if prompt.fewshot_delimiter is not None else "\n\n"
        if self._choices is not None and self._choices.is_template and not self._choices.is_expression:
            raise no_list(str(prompt.doc_to_choice), self._choices.where, columns)

    def question(self, scope: Mapping[str, Json], doc: object) -> str | int:
        """The question's text; or, for tasks with several inputs, the index of the right one."""
        value = self._question.text(scope, doc)
        if isinstance(value, (str, int)):
            return value
        raise TaskError(f"{self._question.where}: document {doc} gives {kind_of(value)}, not text.")

    def asks_for_index(self, scope: Mapping[str, Json], doc: object) -> bool:
        """The question is the number of the right context: a number, or a template that gives digits."""
        question = self.question(scope, doc)
        return isinstance(question, int) or (self._question.is_template and question.isdecimal())

    def choices(self, scope: Mapping[str, Json], doc: object) -> tuple[str, ...] | None:
        """The choices as rendered, or None for tasks without. TaskError unless a list of texts."""
        if self._choices is None:
            return None
        value = self._choices.value(scope, doc)
        if not isinstance(value, (list, tuple)) and isinstance(value, Mapping):
            value = list(value.values())
        if not isinstance(value, (list, tuple)) or not value:
            hint = list_hint(value, self._choices)
            raise TaskError(
                f"{self._choices.where}: document {doc} gives {kind_of(value)}, not a list of choices.{hint}"
            )
        for choice in value:
            if not isinstance(choice, str):
                raise TaskError(
                    f"{self._choices.where}: document {doc} has a choice that is {kind_of(choice)}, not text. "
                    f"Numbers become text by {{{{ {self._choices.column or 'list'}|map('string')|list }}}}."
                )
        return tuple(value)

    def answer(self, scope: Mapping[str, Json], doc: object) -> Answer:
        """The target: an index where there are choices and it is a number (digits count when rendered), else text."""
        field = self._target
        value = field.value(scope, doc)
        if isinstance(value, (list, tuple)):
            if not value:
                raise TaskError(f"{field.where}: document {doc} has an empty list of targets.")
            return tuple(value) if all(isinstance(part, int) for part in value) and self._choices else _texts(value)
        if field.is_template and not (isinstance(value, int) and not isinstance(value, bool) and self._choices):
            value = str(value)
            return int(value) if self._choices is not None and value.isdecimal() else value
        if value is None:
            raise TaskError(f"{field.where}: document {doc} has no target.")
        if isinstance(value, int) and self._choices is not None:
            return int(value)
        return str(value)

    def prefix(self, scope: Mapping[str, Json], doc: object) -> str:
        """What the answer begins with, already written; usually nothing."""
        return "" if self._prefix is None else str(self._prefix.text(scope, doc))

    def gold(self, answer: Answer, choices: Sequence[str], doc: object) -> tuple[int, ...]:
        """Indices of the right choices. TaskError for one that is not there."""
        if isinstance(answer, tuple):
            return tuple([self._index(part, choices, doc) for part in answer])
        return (self._index(answer, choices, doc),)

    def _index(self, part: int | str, choices: Sequence[str], doc: object) -> int:
        if isinstance(part, int) and 0 <= part < len(choices):
            return part
        if isinstance(part, str) and part in choices:
            return choices.index(part)
        raise TaskError(
            f"{self._target.where}: document {doc} has the target {part!r}, which is none of its {len(choices)} "
            f"choices.{self._target_hint(part, choices)}"
        )

    def _target_hint(self, part: int | str, choices: Sequence[str]) -> str:
        field = self._target
        if isinstance(part, str) and field.column is None and part == self._spec:
            return f" There is no column {part!r}.{did_you_mean(part, self._columns)}"
        alike = [choice for choice in choices if isinstance(part, str) and look(choice) == look(part)]
        if alike:
            return f" It differs from {alike[0]!r} only in case, white space or Unicode form."
        return label_hint(part, len(choices), field.column)


def _texts(values: Sequence[Any]) -> tuple[str, ...]:
    return tuple(str(value) for value in values)


class PromptRenderer:
    """Everything of a task and prompt that is compiled once and used per document."""

    def __init__(
        self,
        task: Task,
        *,
        prompt: str,
        first_row: Mapping[str, Json],
        overflow: Overflow,
        seed: int,
        chat: ChatSettings | None = None,
    ) -> None:
        variant = task.prompt(prompt)
        self.task, self.prompt_name, self._overflow, self._chat = task, prompt, overflow, chat
        self.deriver = Deriver(task, first_row)
        columns = self.deriver.columns
        self.turn = Turn(task, variant, columns)
        self.shot_turn = Turn(task, _shot_prompt(task, variant), columns)
        self._description = (
            Field(variant.description, task.where("description"), columns) if variant.description else None
        )
        length = task.config.doc_to_length
        self._length = None if length is None else Field(length, task.where("doc_to_length"), columns)
        self._params = _params(task, self.turn.shot_delimiter, seed)
        self._seed = seed
        turns, temperature = task.config.turns, task.config.doc_to_temperature
        self._turns = None if turns is None else Field(turns, task.where("turns"), columns)
        self._temperature = (
            None if temperature is None else Field(temperature, task.where("doc_to_temperature"), columns)
        )
        self._languages = tuple(
            None if code is None else Field(code, task.where(key), columns)
            for key, code in (("src_lang", variant.src_lang), ("tgt_lang", variant.tgt_lang))
        )
        self._mutual = any(metric.name == "acc_mutual_info" for metric in task.scoring.metrics)
        self._empty = Prompt("", (), "", overflow)
        self.several_inputs = False
        """The choices are contexts and share one continuation (winogrande)."""

    def doc(self, row: Mapping[str, Json], number: int) -> Doc:
        """The row as a Doc with its derived fields."""
        return self.deriver.doc(row, number)

    def learn_inputs(self, doc: Doc) -> None:
        """Learn from the first document whether the choices are contexts, as lm-eval does."""
        if self.task.output_type == "multiple_choice":
            self.several_inputs = self.turn.asks_for_index(self.deriver.scope(doc), doc.id)

    def shot(self, doc: Doc, name: str) -> Shot:
        """A worked example. `name` says which, for error sentences."""
        turn, scope = self.shot_turn, self.deriver.scope(doc)
        question, choices, answer = turn.question(scope, name), turn.choices(scope, name), turn.answer(scope, name)
        if self.several_inputs:
            question = self._input(question, choices or (), name)
        elif isinstance(answer, int):
            answer = (choices or ())[turn.gold(answer, choices or (), name)[0]]
        text = answer[0] if isinstance(answer, tuple) else answer
        if isinstance(text, int):
            text = (choices or ())[turn.gold(text, choices or (), name)[0]]
        prefix = turn.prefix(scope, name)
        answered = _joined(prefix, text, " ")
        if text == "":
            plain = _with_prefix(str(question), prefix, turn.target_delimiter)
        else:
            join = turn.target_delimiter if not prefix or _needs_space(str(question), prefix) else ""
            plain = str(question) + join + answered + turn.shot_delimiter
        return Shot(str(question), answered, plain)

    def _input(self, question: str | int, choices: Sequence[str], doc: object) -> str:
        index = self.turn.gold(int(question) if str(question).isdecimal() else question, choices, doc)
        return choices[index[0]]

    def render(self, doc: Doc, shots: Block) -> RenderedDoc:
        """All requests of a document, with what scoring needs besides the responses."""
        scope = self.deriver.scope(doc)
        match self.task.output_type:
            case "multiple_choice":
                return self._multiple_choice(doc, scope, shots)
            case "loglikelihood":
                target = self._target_text(scope, doc)
                prompt = self._prompt(doc, scope, shots)
                if prompt.answer_begins_turn:
                    target = target.lstrip(" ")  # it begins the assistant's turn: nothing to be kept apart from
                request = LoglikelihoodRequest(self.task.name, doc.id, 0, prompt, target)
                return self._rendered(doc, (request,), targets=(target,))
            case "loglikelihood_rolling":
                text = self._target_text(scope, doc)
                length = text if self._length is None else str(self._length.text(scope, doc.id))
                return self._rendered(doc, (RollingRequest(self.task.name, doc.id, 0, text),), targets=(length,))
            case "generate_until":
                return self._generate(doc, scope, shots)
        raise AssertionError(self.task.output_type)

    def _multiple_choice(self, doc: Doc, scope: Mapping[str, Json], shots: Block) -> RenderedDoc:
        turn, name, number, delimiter = self.turn, self.task.name, doc.id, self._answer_delimiter(scope, doc)
        choices = turn.choices(scope, number) or ()
        answer = turn.answer(scope, number)
        if self.several_inputs:
            right = turn.question(scope, number)
            gold = turn.gold(int(right) if str(right).isdecimal() else right, choices, number)
            ending = delimiter + str(answer)
            asked = [
                LoglikelihoodRequest(name, number, index, self._prompt(doc, scope, shots, choice), ending)
                for index, choice in enumerate(choices)
            ]
        else:
            gold = turn.gold(answer, choices, number)
            prompt = self._prompt(doc, scope, shots)
            asked = [
                LoglikelihoodRequest(name, number, index, prompt, delimiter + choice)
                for index, choice in enumerate(choices)
            ]
        if self._mutual:
            asked += [
                LoglikelihoodRequest(name, number, index, self._empty, delimiter + choice)
                for index, choice in enumerate(choices, len(choices))
            ]
        return RenderedDoc(name, doc, tuple(asked), choices, gold, (), self.prompt_name)

    def _answer_delimiter(self, scope: Mapping[str, Json], doc: Doc) -> str:
        """What stands between a prompt and a choice: nothing where the choice begins the assistant's turn."""
        delimiter = self.turn.target_delimiter
        if self._chat is None:
            return delimiter
        prefix = self.turn.prefix(scope, doc.id)
        return delimiter if prefix and not prefix[-1].isspace() else ""

    def _generate(self, doc: Doc, scope: Mapping[str, Json], shots: Block) -> RenderedDoc:
        turn = self.turn
        answer = turn.answer(scope, doc.id)
        choices = turn.choices(scope, doc.id)
        if choices is not None:
            answer = tuple(choices[index] for index in turn.gold(answer, choices, doc.id))
        targets = _texts(answer) if isinstance(answer, tuple) else (str(answer),)
        turns = () if self._turns is None else user_turns(self._turns, scope, doc.id)
        prompt = self._prompt(doc, scope, shots, turns[0] if turns else None)
        source, target = (None if code is None else str(code.text(scope, doc.id)) for code in self._languages)
        params = replace(self._at_temperature(scope, doc.id), src_lang=source, tgt_lang=target)
        pending = [PENDING] * max(0, len(turns) - 1)
        prompts = [prompt, *(turn_prompts(prompt, turns, pending[:n]) for n in range(1, len(turns)))]
        asked = enumerate(prompts * self.task.config.repeats)
        requests = tuple(GenerateRequest(self.task.name, doc.id, i, one, params) for i, one in asked)
        return self._rendered(doc, requests, targets=targets, turns=turns)

    def _at_temperature(self, scope: Mapping[str, Json], doc: object) -> GenerationParams:
        """The task's settings at the doc's own temperature; 0 is greedy."""
        if self._temperature is None:
            return self._params
        value = self._temperature.value(scope, doc)
        try:
            temperature = float(value)
        except (TypeError, ValueError):
            temperature = math.nan
        if not 0 <= temperature < math.inf:
            raise TaskError(f"{self._temperature.where}: document {doc} gives {value!r}; it is a number from 0.")
        sampled = temperature > 0
        at = temperature if sampled else 1.0
        return replace(self._params, do_sample=sampled, temperature=at, seed=self._seed if sampled else 0)

    def _target_text(self, scope: Mapping[str, Json], doc: Doc) -> str:
        answer = self.turn.answer(scope, doc.id)
        if isinstance(answer, tuple):
            raise TaskError(
                f"{self.task.where('doc_to_target')}: document {doc.id} gives a list; this task has one text."
            )
        return str(answer)

    def _prompt(
        self, doc: Doc, scope: Mapping[str, Json], shots: Block, question: str | None = None
    ) -> Prompt | Conversation:
        turn = self.turn
        description = "" if self._description is None else str(self._description.text(scope, doc.id) or "")
        prefix = turn.prefix(scope, doc.id)
        asked = turn.question(scope, doc.id) if question is None else question
        if not isinstance(asked, str):
            raise TaskError(f"{self.task.where('doc_to_text')}: document {doc.id} gives a number, not text.")
        if self._chat is None:
            if prefix:
                asked = _with_prefix(asked, prefix, turn.target_delimiter if question is None else "")
            return Prompt(description, shots.texts, asked, self._overflow)
        given = self._chat.system or ""
        return Conversation(
            system=_joined(given, description, turn.shot_delimiter),
            shots=shots.shots,
            question=asked,
            prefix=prefix,
            bare_system=given,
            multiturn=self._chat.multiturn,
            overflow=self._overflow,
        )

    def _rendered(
        self,
        doc: Doc,
        requests: tuple[Request, ...],
        *,
        choices: tuple[str, ...] = (),
        gold: tuple[int, ...] = (),
        targets: tuple[str, ...] = (),
        turns: tuple[str, ...] = (),
    ) -> RenderedDoc:
        return RenderedDoc(self.task.name, doc, requests, choices, gold, targets, self.prompt_name, turns)


def _shot_prompt(task: Task, variant: PromptVariant) -> PromptVariant:
    """The prompt of shots: the question's, with what `fewshot_config` gives on top."""
    config = task.config.fewshot_config
    if config is None:
        return variant
    given = {key: getattr(config, key) for key in PromptVariant.model_fields if getattr(config, key) is not None}
    return FewshotConfig.model_construct(**{key: getattr(variant, key) for key in PromptVariant.model_fields} | given)


def _needs_space(before: str, after: str) -> bool:
    return before != "" and not (before[-1].isspace() or after[0].isspace())


def _joined(before: str, after: str, delimiter: str) -> str:
    if not before or not after:
        return before or after
    return before + after if before[-1].isspace() or after[0].isspace() else before + delimiter + after


def _with_prefix(question: str, prefix: str, delimiter: str) -> str:
    """A question without its answer: the delimiter stands only before a prefix."""
    return question + (delimiter if prefix and _needs_space(question, prefix) else "") + prefix


def _params(task: Task, shot_delimiter: str, seed: int) -> GenerationParams:
    """`generation_kwargs` with lm-eval's defaults: greedy, 256 tokens, stop at the shots' delimiter."""
    stated = task.config.generation_kwargs
    if stated is None:
        return GenerationParams(until=(shot_delimiter,))
    until = (shot_delimiter,) if stated.until is None else tuple(stated.until)
    sampled = bool(stated.do_sample) and (stated.temperature is None or stated.temperature > 0)
    return generation_params(stated.model_dump(exclude_none=True), until, sampled=sampled, seed=seed)
