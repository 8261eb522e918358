"""What `benchbench tasks render` prints: the requests of one document."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from benchbench.core.chat import ChatSettings, Conversation
from benchbench.core.errors import ArgumentError
from benchbench.core.types import GenerateRequest, LoglikelihoodRequest, Prompt, Request, RollingRequest

if TYPE_CHECKING:
    from benchbench.backends.chat import ChatTemplate
    from benchbench.core.types import RenderedDoc
    from benchbench.tasks.prepare import PreparedTask


def template(chat: ChatSettings | None, tokenizer: str | None, *, trust_remote_code: bool) -> ChatTemplate | None:
    """The chat template of `tokenizer`, where conversations are asked for. ArgumentError where only one is given."""
    if chat is None:
        if tokenizer is not None:
            raise ArgumentError("--tokenizer gives a chat template; it needs --apply-chat-template beside it.")
        return None
    if tokenizer is None:
        raise ArgumentError("--apply-chat-template needs --model M or --tokenizer M: whose template is it?")
    from benchbench.backends.models.preview import open_template

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
