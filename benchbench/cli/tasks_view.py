"""What `benchbench tasks check` says of a task."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchbench.cli.console import tell_lines
from benchbench.core.chat import ChatSettings, Conversation
from benchbench.core.errors import ArgumentError, BenchbenchError, DataError
from benchbench.core.format import several
from benchbench.core.types import GenerateRequest, LoglikelihoodRequest, Prompt, Request, RollingRequest

if TYPE_CHECKING:
    from benchbench.backends.chat import ChatTemplate
    from benchbench.core.types import RenderedDoc
    from benchbench.tasks.index import TaskIndex
    from benchbench.tasks.settings import RenderSettings
    from benchbench.tasks.task import PreparedTask, Task


MOST_SHOWN = 20
FIRST = 5
"""Documents that are named where many have the same."""

Sizes = Callable[[Sequence[str]], list[int]]
"""From texts to their numbers of tokens."""

Report = dict[str, Any]
"""task, file, docs, documents_stated (in the file), num_fewshot, prompts, errors, warnings; tokens if counted."""


class Checker:
    """Checks tasks of one index under the same settings, each with all of its prompts."""

    def __init__(
        self, index: TaskIndex, settings: RenderSettings, tokenizer: str | None, *, only_read_without_data: bool
    ) -> None:
        self._index, self._settings = index, settings
        self._size = _sizes(tokenizer) if tokenizer is not None else None
        self._only_read = only_read_without_data

    def report(self, name: str) -> Report:
        """The report on one task. One that cannot be read or rendered has an error like any other."""
        report = _empty(name, self._index.variants.listed(name).path)
        from benchbench.tasks.documents import NothingKeptError

        try:
            task = self._index.task(name)
            if not (self._only_read and _has_no_data(task, self._settings)):
                self._render(task, report)
        except BenchbenchError as error:
            if not (self._only_read and isinstance(error, NothingKeptError)):
                report["errors"].append(str(error))
        return report

    def unread(self, path: Path) -> Report:
        """The report on a file that was skipped, although it is meant for a task."""
        return _empty(path.name, path) | {"errors": [str(self._index.skipped[path])]}

    def _render(self, task: Task, report: Report) -> None:
        """Every prompt of the task over every document; what holds for several prompts is reported once."""
        from dataclasses import replace

        from benchbench.cli.tasks_gold import gold_findings
        from benchbench.tasks.check import findings
        from benchbench.tasks.prepare import prepare

        for prompt in ("default", *task.config.prompts):
            prepared = prepare(task, replace(self._settings, prompt=prompt))
            report |= {"docs": len(prepared.docs), "num_fewshot": prepared.num_fewshot}
            report["prompts"].append(prompt)
            for finding in chain(findings(prepared), gold_findings(prepared, self._size)):
                place = "" if finding.doc_id is None else f"document {finding.doc_id}: "
                _add(report, "errors" if finding.is_error else "warnings", f"{place}{finding.text}")
            if self._size is not None and prompt == "default":
                report["tokens"] = _tokens(prepared, self._size)
        stated = (task.config.metadata or {}).get("documents")
        report["documents_stated"] = stated if isinstance(stated, int) else None


def _empty(name: str, path: Path) -> Report:
    return {
        "task": name,
        "file": str(path),
        "docs": 0,
        "documents_stated": None,
        "num_fewshot": None,
        "prompts": [],
        "errors": [],
        "warnings": [],
    }


def _add(report: Report, kind: str, text: str) -> None:
    if text not in report[kind]:
        report[kind].append(text)


def _has_no_data(task: Task, settings: RenderSettings) -> bool:
    """The data root lacks the task's data set or its evaluated split."""
    from benchbench.tasks.documents import open_rows

    try:
        return (
            task.config.eval_split not in open_rows(task, settings.data_root, trusted=settings.trust_task_code).splits()
        )
    except DataError:
        return True


def _sizes(name: str) -> Sizes:
    """A function from texts to their numbers of tokens."""
    from benchbench.backends.models.find import find_tokenizer
    from benchbench.backends.models.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(find_tokenizer(name), trusted=False)
    return lambda texts: [len(ids) for ids in tokenizer(list(texts))["input_ids"]]


def _tokens(prepared: PreparedTask, sizes: Sizes) -> dict[str, float]:
    """Tokens of the prompts: mean, and most."""
    from benchbench.tasks.finding import request_text

    counts = sizes([request_text(rendered.requests[0]) for rendered in prepared.docs])
    return {"mean": sum(counts) / len(counts), "most": max(counts)}


def print_report(report: Report) -> None:
    """A line for the task, then one for each thing found, with the file that it was found in."""
    verdict = "ok" if not report["errors"] else several(len(report["errors"]), "error")
    tokens = report.get("tokens")
    counted = f", {tokens['mean']:.0f} tokens a prompt, {tokens['most']} at most" if tokens else ""
    prompts = f", {len(report['prompts'])} prompts" if len(report["prompts"]) > 1 else ""
    stated = report["documents_stated"]
    of = f"{report['docs']:,} of " if stated is not None and stated != report["docs"] else ""
    documents = f"{of}{several(stated if of else report['docs'], 'document')}"
    shots = f"{documents}, {several(report['num_fewshot'] or 0, 'shot')}"
    tell_lines(f"{report['task']}: {verdict} ({shots}{prompts}{counted})")
    if report["errors"] or report["warnings"]:
        tell_lines(f"  in {report['file']}")
    for kind in ("errors", "warnings"):
        found = _together(report[kind])
        for text in found[:MOST_SHOWN]:
            tell_lines(f"  {kind[:-1]}: {text}")
        if len(found) > MOST_SHOWN:
            tell_lines(f"  … and {len(found) - MOST_SHOWN} more {kind}; --json lists them all")


_DOCUMENT = re.compile(r"document (\d+): ")


def _together(found: Sequence[str]) -> list[str]:
    """What is the same in several documents once, with the numbers of the first of these."""
    documents: dict[str, list[str]] = {}
    for text in found:
        place = _DOCUMENT.match(text)
        documents.setdefault(text if place is None else text[place.end() :], []).extend(place.groups() if place else [])
    return [f"{_numbered(numbers)}{text}" for text, numbers in documents.items()]


def _numbered(numbers: Sequence[str]) -> str:
    if len(numbers) < 2:
        return "".join(f"document {number}: " for number in numbers)
    more = f" and {len(numbers) - FIRST:,} more" if len(numbers) > FIRST else ""
    return f"documents {', '.join(numbers[:FIRST])}{more}: "


def print_summary(reports: Sequence[Report]) -> None:
    """One sentence on all of them."""
    rendered = [report for report in reports if report["docs"]]
    broken = sum(bool(report["errors"]) for report in reports)
    tell_lines(
        f"{several(len(reports), 'task')} read, {len(rendered):,} of them rendered "
        f"({several(sum(report['docs'] for report in rendered), 'document')}): "
        f"{'no errors' if not broken else f'errors in {broken}'}."
    )


def template(chat: ChatSettings | None, tokenizer: str | None, *, trust_remote_code: bool) -> ChatTemplate | None:
    """The chat template of `tokenizer`, where conversations are asked for. ArgumentError where only one is given."""
    if chat is None:
        if tokenizer is not None:
            raise ArgumentError("--tokenizer gives a chat template; it needs --apply-chat-template beside it.")
        return None
    if tokenizer is None:
        raise ArgumentError("--apply-chat-template needs --model M or --tokenizer M: whose template is it?")
    from benchbench.backends.models.find import open_template

    return open_template(tokenizer, trust_remote_code=trust_remote_code)


def rendered_json(prepared: PreparedTask, rendered: RenderedDoc, written: ChatTemplate | None) -> dict[str, Any]:
    """The document and its requests as one JSON object."""
    template = {} if written is None else {"chat_template_sha256": written.sha256}
    return {
        "task": rendered.task,
        "doc_id": rendered.doc.id,
        "doc_hash": rendered.doc.hash,
        "cluster": rendered.doc.cluster,
        "num_fewshot": prepared.num_fewshot,
        "prompt_hash": prepared.prompt_hash,
        **template,
        "requests": [_request_json(request, written) for request in rendered.requests],
        "choices": list(rendered.choices),
        "gold": list(rendered.gold),
        "targets": list(rendered.targets),
    }


def _request_json(request: Request, written: ChatTemplate | None) -> dict[str, Any]:
    match request:
        case RollingRequest(text=text):
            return {"text": text}
        case LoglikelihoodRequest(prompt=prompt, continuation=continuation):
            if isinstance(prompt, Conversation) and written is not None:
                continuation = written.continuation(prompt, continuation)
            return {**_prompt_json(prompt, written), "continuation": continuation}
        case GenerateRequest(prompt=prompt, params=params):
            return {**_prompt_json(prompt, written), "params": params.as_json()}


def _prompt_json(prompt: Prompt | Conversation, written: ChatTemplate | None) -> dict[str, Any]:
    if isinstance(prompt, Conversation) and written is not None:
        return {"prompt": written.text(prompt), "messages": [asdict(message) for message in prompt.messages]}
    return {"prompt": prompt.text}


def rendered_lines(rendered: RenderedDoc, written: ChatTemplate | None) -> Iterator[str]:
    """The prompts as they are, then each answer in quotes, so that spaces can be seen."""
    requests = [_request_json(request, written) for request in rendered.requests]
    last = None
    for number, request in enumerate(requests):
        text = request.get("prompt", request.get("text"))
        if text != last:
            yield f"--- {'text' if 'text' in request else 'prompt'}\n{text}"
            last = text
        if number == 0 and (code := request.get("params", {}).get("tgt_lang")) is not None:
            yield f"--- languages: {request['params'].get('src_lang')} to {code}"
        if "continuation" in request:
            mark = " (right)" if number in rendered.gold else ""
            yield f"--- answer {number}{mark}: {json.dumps(request['continuation'], ensure_ascii=False)}"
    if rendered.targets and "continuation" not in requests[0]:
        yield f"--- right: {json.dumps(list(rendered.targets), ensure_ascii=False)}"
