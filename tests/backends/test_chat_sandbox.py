"""Chat templates of strangers: transformers' own text for honest ones, a sentence for those that want too much."""

from __future__ import annotations

import resource
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from benchbench.backends.chat import TROUBLE, template_of
from benchbench.backends.models.find import gguf_template
from benchbench.backends.models.formats.gguf import GGUFHeader
from benchbench.core.chat_sandbox import TODAY, render
from benchbench.core.errors import ModelError
from tests import models
from tests.backends.test_chat import ALTERNATING, DROPS_SYSTEM, tokenizer_with

TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
CHATS = [
    [("user", " Ahoj <b> & „světe“ \n")],
    [("system", "Buď stručný.\n"), ("user", "2 + 2"), ("assistant", "4"), ("user", "3 + 3")],
    [("user", "Proč?"), ("assistant", "Protože  ")],
    [("system", "x"), ("user", "<think>a</think>b"), ("assistant", "")],
]
HONEST = {
    "plain": models.CHAT_TEMPLATE,
    "alternating": ALTERNATING,
    "drops the system prompt": DROPS_SYSTEM,
    "white space of blocks": (
        "\n{% for m in messages %}\n    {% if true %}\n  {{ m.content }}  \n    {% endif %}\n{% endfor %}\n\n"
    ),
    "loop controls": (
        "{% for m in messages %}{% if m.role == 'system' %}{% continue %}{% endif %}{{ m.content }}"
        "{% if loop.index > 1 %}{% break %}{% endif %}{% endfor %}"
    ),
    "generation": (
        "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{{ eos_token }}"
        "{% endgeneration %}{% else %}{{ m.content }}{% endif %}\n{%- endfor %}"
    ),
    "json": (
        "{{ messages | tojson }}{{ messages | tojson(indent=2) }}{{ messages[0] | tojson(ensure_ascii=true) }}"
        "{{ {'b': 1, 'a': [1.5, none, true]} | tojson(sort_keys=true, separators=(',', ':')) }}"
    ),
    "undefined names": (
        "{{ nothing }}[{{ messages[0].nothing }}]{% if nothing is defined %}x{% endif %}{{ messages[0].content }}"
    ),
    "tools and documents": (
        "{% if tools is not none and tools %}t{% endif %}{% if not documents %}d{% endif %}"
        "{{ messages[-1]['content'] }}"
        "{% if add_generation_prompt %}A:{% endif %}"
    ),
    "namespace and macros": (
        "{% set ns = namespace(found=false, texts=[]) %}{% macro turn(m, end='') %}<{{ m['role'] }}>"
        "{{ m['content'] | trim }}{{ end }}"
        "{% endmacro %}{% for m in messages %}{% set ns.found = m.role == 'user' or ns.found %}"
        "{{ turn(m, end=eos_token) }}"
        "{% set ns.texts = ns.texts + [m.content] %}{% endfor %}{{ ns.found }}{{ ns.texts | join('|') }}"
    ),
    "call blocks": (
        "{% macro box(title) %}[{{ title }}:{{ caller() }}]{% endmacro %}"
        "{% for m in messages %}{% call box(m.role) %}{{ m.content }}{% endcall %}{% endfor %}"
    ),
    "methods of texts": (
        "{% for m in messages %}{% set c = m['content'] %}{{ c.strip().split('</think>')[-1].lstrip('\\n') }}"
        "{{ c.startswith('A') }}{{ c.upper().replace('A', 'b') }}{{ '{}-{role:>9}'.format(c, role=m.role) }}"
        "{{ '%s/%5d' % (c, 7) }}{{ c[:3] ~ c[::-1] }}{{ c | length }}{{ c.isascii() }}{% endfor %}"
    ),
    "filters": (
        "{% for m in messages %}{{ m | items | list }}{{ m.content | safe | indent(4, true) }}{{ m.content | e }}"
        "{{ '%s!' | format(m.role) }}{{ m.content | truncate(5) }}{% endfor %}"
        "{{ messages | map(attribute='role') | unique | sort | join(',') }}"
        "{{ messages | selectattr('role', 'equalto', 'user') | list | length }}"
        "{% for role, group in messages | groupby('role') %}{{ role }}{{ group | length }}{% endfor %}"
        "{{ messages | rejectattr('role', 'in', ['system']) | first }}{{ dict(a=1) | dictsort }}"
        "{{ [1, 2] | sum }}{{ 3.7 | round | int }}"
    ),
    "filter that nobody has, where nobody comes": (
        "{% if nothing %}{{ 'x' | no_such }}{% endif %}{{ messages[0].content }}"
    ),
    "date": "{% if strftime_now is defined %}{{ strftime_now('%d %b %Y') }}{% endif %} {{ messages[-1]['content'] }}",
}


class _OneDay(datetime):
    def strftime(self, format: str) -> str:  # noqa: A002 - the name that datetime has
        return TODAY


def theirs(source: str, chat: list[dict[str, str]], go_on: bool) -> str:
    from transformers.utils.chat_template_utils import render_jinja_template

    kwargs: dict[str, Any] = {**TOKENS, "continue_final_message": go_on, "add_generation_prompt": not go_on}
    rendered: Any = render_jinja_template(conversations=[chat], chat_template=source, **kwargs)
    return str(rendered[0][0])


def check_equal(source: str) -> int:
    """Renders every chat both ways; returns how many both could."""
    done = 0
    for turns in CHATS:
        chat = [{"role": role, "content": content} for role, content in turns]
        go_on = chat[-1]["role"] == "assistant"
        try:
            expected = theirs(source, chat, go_on)
        except TROUBLE:
            with pytest.raises(TROUBLE):
                render(source, chat, TOKENS, go_on=go_on)
            continue
        assert render(source, chat, TOKENS, go_on=go_on) == expected
        done += 1
    return done


@pytest.mark.parametrize("name", HONEST)
def test_honest_templates_give_the_text_of_transformers(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transformers.utils.chat_template_utils.datetime", _OneDay)
    assert check_equal(HONEST[name])


@pytest.mark.gguf
def test_templates_of_known_models_give_the_text_of_transformers() -> None:
    from llama_cpp import llama_chat_format

    known = [value for name, value in vars(llama_chat_format).items() if name.endswith("_CHAT_TEMPLATE")]
    assert len(known) >= 4
    assert sum(map(check_equal, known)) >= len(known)


LONG = "'a' * 999999"
HOSTILE = {
    "gigabyte": "{{ 'a' * 999999999 }}",
    "doubling": (
        "{% set ns = namespace(x='a') %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x }}"
    ),
    "loops": (
        "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{% endfor %}"
        "{% endfor %}{% endfor %}"
    ),
    "macro without end": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "width of format": "{{ '{:>999999999}'.format('a') }}",
    "width of format as a field": "{{ '{:>{w}}'.format('a', w=999999999) }}",
    "many fields of format": "{% set x = 'a' * 99999 %}{{ ('{0}' * 99999).format(x) }}",
    "format_map": "{% set x = 'a' * 99999 %}{{ ('{a}' * 99999).format_map({'a': x}) }}",
    "format reaching for attributes": "{{ '{0.__class__.__mro__}'.format('') }}",
    "width of percent": "{{ '%999999999d' % 1 }}",
    "indent": "{{ ('\\n' * 99999) | indent(99999) }}",
    "indent of JSON": "{{ [[[[[[[['a']]]]]]]] | tojson(indent=999999999) }}",
    "separators of JSON": "{% set x = 'a' * 3999999 %}{{ [1, 2, 3, 4, 5] * 9999 | tojson(separators=(x, x)) }}",
    "list": "{% set ns = namespace(x=[1]) %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
    "dict": "{{ dict.fromkeys(range(99999), 'a' * 999999) }}",
    "number": "{{ 9 ** (9 ** 9) }}",
    "marked text": "{% set x = (" + LONG + ") | safe %}{{ [x, x, x] * 99999 | tojson }}",
    "spaces": "{{ 'a'.center(999999999) }}",
    "python": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "globals of a function": "{{ raise_exception.__globals__.x }}",
    "lipsum": "{{ lipsum(n=99999999) }}",
    "include": "{% include 'config.json' %}",
    "recursion": "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "depth": "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
    "attributes": "{{ messages" + ".a" * 5000 + " }}",
    "blocks": "{% if 1 %}" * 500 + "{% endif %}" * 500,
    "size": "{# " + "x" * 200_000 + " #}",
    "no message": "content {{ 1 }}{{ messages[0]['content']['x']['y'] }}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_template_is_a_sentence_within_seconds(name: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF)
    header = GGUFHeader(Path("m.gguf"), 3, {"tokenizer.chat_template": HOSTILE[name]}, ())
    start = time.process_time()
    with pytest.raises(ModelError, match=r"the chat template of m\.gguf fails on a single question: .") as error:
        gguf_template("m.gguf", header, None)
    assert time.process_time() - start < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before.ru_maxrss < 300_000, "kB"
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("template", [7, ["x"], {"default": 7}, {"default": {"a": 1}}])
def test_a_template_that_is_no_text_is_a_sentence(template: Any, tmp_path: Path) -> None:
    tokenizer = tokenizer_with(tmp_path)
    object.__setattr__(tokenizer, "chat_template", template)
    with pytest.raises(ModelError, match=r"the chat template of .* is a (int|list|dict), not text"):
        template_of(tokenizer)
