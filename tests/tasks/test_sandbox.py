"""A stranger's template: the same bytes as lm-eval when it is honest, a sentence when it is not."""

from __future__ import annotations

import threading
import time
import tracemalloc
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchbench.core import limits
from benchbench.core.errors import TaskError
from benchbench.tasks.sandbox import compile_template
from benchbench.tasks.template import Field

DOC: Mapping[str, Any] = {
    "q": " Why? ",
    "opts": ["a [x] b", "c"],
    "t": {"en": "dog", "fr": "chien"},
    "n": 3,
    "none": None,
}


def render(source: str, doc: Mapping[str, Any] = DOC) -> Any:
    """The text of a template, as a task would render it."""
    return Field(source, "t.yaml:7: task: `doc_to_text`", ()).text(doc, 4)


HONEST = [
    "Q: {{q}}\nA:\n",
    "{{q.strip()}}\nA. {{opts[0]}}\nB. {{opts[1]}}\n\n",
    "{% for o in opts %}{{ loop.index }}/{{ loop.length }} {{ o|trim }}{% if not loop.last %}, {% endif %}{% endfor %}",
    "{% for o in opts if 'c' in o %}\n  {{ o }}\n{% else %}none{% endfor %}",
    "{{t.en}} {{t['fr']}} {{ t | length }} {{none}} {{n / 2}} {{n ** 2}} {{n % 2}} {{ -n }} {{ n * 'ab' }}",
    "{{ opts }} {{ [n, q, none] }} {{ {'a': n} }} {{ (n, q) }}",
    "{{ q ~ n ~ none ~ opts }}",
    r"{{ opts | map('regex_replace', '\\[.*?\\]', '') | join(' | ') }}",
    r"{{ q | regex_replace('(W)(h)', '\\2\\1') | replace('?', '!') | upper }}",
    "{{ opts[1:] + ['z'] }} {{ 'abc'[::-1] }} {{ 'a,b'.split(',')[-1] }} {{ ['1','2','3'].index('2') }}",
    "{% set x = q|trim %}{% set y %}<{{ x }}>{% endset %}{{ y }}{{ y|tojson }} {{ opts|tojson }}",
    "{% macro m(a, b='z') %}[{{ a }}{{ b }}]{% endmacro %}{{ m(1) }}{{ m(2, b=3) }}",
    "{% set ns = namespace(i=0) %}{% for o in opts %}{% set ns.i = ns.i + 1 %}{% endfor %}{{ ns.i }}",
    "{{ 'yes' if n == 3 and q is defined else 'no' }} {{ opts is iterable }} {{ missing is defined }}",
    "{{ opts | sort | first }} {{ opts | sum(start=0) if false else 'x' }} {{ '%.2f' % 1.5 }}",
    "{{ n | string | center(9) }}|",
    "{{ ['A', 'B'][n - 2] }}{# a comment #}\t{{ 'x' | default('y') }} {{ '' | default('y', true) }}\r\n",
    "{{ dict(a=1).items() | list }} {{ range(3) | list }} {{ 'title case' | title }} {{ [1, 2] | sum }}",
]


@pytest.mark.parametrize("source", HONEST)
def test_an_honest_template_renders_to_lm_evals_bytes(source: str) -> None:
    lm_eval_utils = pytest.importorskip("lm_eval.utils")
    assert render(source) == lm_eval_utils.apply_template(source, dict(DOC))


@settings(max_examples=200)
@given(
    st.lists(st.sampled_from([*HONEST, "\n", "  ", "{{q}}", "{% if n %}", "x\n\n"]), max_size=4), st.text(max_size=20)
)
def test_joined_templates_and_odd_text_render_to_lm_evals_bytes(parts: list[str], text: str) -> None:
    lm_eval_utils = pytest.importorskip("lm_eval.utils")
    source = "".join(parts)
    source += "{% endif %}" * source.count("{% if n %}")
    doc = {**DOC, "q": text}
    assert render(source, doc) == lm_eval_utils.apply_template(source, doc)


HOSTILE = {
    "{{ ''.__class__.__mro__ }}": "'__class__' of 'str' object is unsafe",
    "{{ ''['__class__'] }}": "unsafe",
    "{{ cycler.__init__.__globals__ }}": "unsafe",
    "{{ self.__init__ }}": "unsafe",
    "{{ dict.mro() }}": "unsafe",
    "{{ [''] | map(attribute='__class__') | list | string | upper ~ missing }}": "missing",
    "{{ ''|attr('__class__') }}": "no filter named 'attr'",
    "{{ '{0.__class__}'.format(1) }}": "'format' of 'str' object is unsafe",
    "{{ '{a.__class__}'.format_map({'a': 1}) }}": "unsafe",
    "{{ opts.append(1) }}": "unsafe",
    "{{ t.update({'a': 1}) }}": "unsafe",
    "{{ (1).to_bytes(10**9, 'big') }}": "unsafe",
    "{% include '/etc/passwd' %}": "`include` is not allowed",
    "{% import 'os' as os %}": "`import` is not allowed",
    "{% extends 'x' %}": "`extends` is not allowed",
    "{{ lipsum(10**6) }}": "'lipsum' is undefined",
    "{% for i in range(10**9) %}{% endfor %}": "Range too big",
    "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}": "steps|seconds",
    "{% for x in [1] recursive %}{{ loop([1, 1]) }}{% endfor %}": "`recursive` loops are not allowed",
    "{{ 'a' * 10**9 }}": "characters",
    "{{ 10**9 * 'a' }}": "characters",
    "{{ [0] * 10**9 }}": "characters",
    "{{ 'a'|center(10**9) }}": "characters",
    "{{ 'a'.center(10**9) }}": "characters",
    "{{ 'a'.ljust(10**9) }}": "characters",
    "{{ 'a'.zfill(10**9) }}": "characters",
    "{{ '%1000000000d' % 1 }}": "thousand characters",
    "{{ '%*d' % (1000000000, 1) }}": "thousand characters",
    "{{ '%(a)1000000000d' % {'a': 1} }}": "thousand characters",
    "{{ '%((a))1000000000d' % {'(a)': 1} }}": "thousand characters",
    "{{ '%.1000000000f' % 1.5 }}": "thousand characters",
    "{{ ('%(a)s' * 9000) % {'a': 'x' * 100000} }}": "characters",
    "{{ ('%s' * 99) % (('x' * 100000,) * 99) }}": "characters",
    "{{ ('%999d' * 9000) % 1 }}": "characters",
    "{{ '%a' % ('\u20ac' * 1000000) }}": "characters",
    "{{ ('%%' * 1000000) % () }}": "more than 100,000 fields",
    "{{ 5 | round(-999999999) }}": "rounds to more than 20 digits",
    "{{ q" + ".a" * 5000 + " }}": "nested too deeply",
    "{{ 'a'" + " | upper" * 9000 + " }}": "nested too deeply",
    "{{ ('a' * 10**6).replace('a', 'b' * 10**6) }}": "characters",
    "{{ ('a' * 10**6) | replace('a', 'b' * 10**6) }}": "characters",
    "{{ ('a' * 10**6) | regex_replace('a', 'b' * 10**4) }}": "characters",
    "{{ ('a' * 10**6) | join('b' * 10**6) }}": "characters",
    "{{ ('b' * 10**6).join('a' * 10**6) }}": "characters",
    "{{ 2 ** (10 ** 9) }}": "digits",
    "{{ 99999999 ** 99999999 }}": "digits",
    "{{ 1.5 | round(10**9, 'floor') }}": "rounds to more than 20 digits",
    "{{ ('f' * 10**6) | int(base=16) }}": "digits",
    "{{ " + "9" * 9000 + " }}": "does not parse",
    "{% set n = namespace(x=9) %}{% for i in range(9999) %}{% set n.x = n.x + n.x %}{% endfor %}": "digits",
    "{% set n = namespace(x=9) %}{% for i in range(99) %}{% set n.x = n.x * n.x %}{% endfor %}": "digits",
    "{% set n = namespace(x='a') %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}": "characters",
    "{% set n = namespace(x='a') %}{% for i in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}": "characters",
    "{% set n = namespace(x='a') %}{% for i in range(99) %}{% set n.x %}{{ n.x*2 }}{% endset %}{% endfor %}": "charac",
    "{% set n = namespace(x=[]) %}{% for i in range(99) %}{% set n.x = [n.x, n.x] %}{% endfor %}": "charac|second",
    "{% set n = namespace(x=[]) %}{% for i in range(99) %}{% set n.x = dict(a=n.x, b=n.x) %}{% endfor %}": "charac|sec",
    "{% for i in range(90000) %}{{ 'a' * 90000 }}{% endfor %}": "characters",
    "{% set x %}{% for i in range(90000) %}{{ 'a' * 90000 }}{% endfor %}{% endset %}": "characters in all",
    "{{ range(99999) | map('string') | map('center', 100000) | list | length }}": "characters in all",
    "{{ range(99999) | select('in', range(99999) | list) | list | length }}": "seconds",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}": "calls itself without end",
    "{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(60) }}": "steps|seconds",
    "{{ ('a' * 40 ~ '!') | regex_replace('(a+)+$', '') }}": "regular expression.*seconds",
    "{{ ('a' * 40) | regex_replace('(a|a)*$x', '') }}": "regular expression.*seconds",
    r"{{ ('[' * 10**6) | regex_replace('\\[.*?\\]', '') }}": "regular expression.*seconds",
    "{{ 'a' | regex_replace('(' * 5000, '') }}": "more than 2,000 characters",
    "{{ 'a' | regex_replace('(', '') }}": "unterminated subpattern",
    "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}": "nested too deeply",
    "{{ " + "a" * 100_001 + " }}": "more than 100,000 characters",
    "{{ unfinished": "does not parse",
    "{{ opts | map('trim') }}": "generator",
    "{{ [q, misssing] }}": "'misssing' is undefined",
    "{{ q | trimm }}": "no filter named 'trimm'. Did you mean trim",
    "{{ q is defind }}": "no test named 'defind'. Did you mean defined",
}


@pytest.mark.parametrize("source", HOSTILE, ids=lambda source: source[:60])
def test_a_hostile_template_is_stopped_with_a_sentence(source: str) -> None:
    started = time.process_time()
    tracemalloc.start()
    try:
        with pytest.raises(TaskError, match=HOSTILE[source]) as caught:
            render(source)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert str(caught.value).startswith("t.yaml:7: task: `doc_to_text`: ")
    assert time.process_time() - started < 60
    assert peak < 600_000_000


HEAVY = {
    "{% set t = 'x' * 39999 %}{{ [" + "t[1:], " * 99 + "1] | length }}": "characters in all",
    "{% set l = range(4999) | list %}{{ " + "l ~ " * 99 + "1 }}": "characters or",
    "{% set l = range(999) | list %}{% set x %}" + "{{ l }}" * 999 + "{% endset %}": "characters in all",
    "{{ cycler(*('x' * 1001)) }}": "more than 1,000 arguments",
    "{{ ([[1]] * 4000) | sum(start=[]) }}": "characters",
    "{{ (['a'] * 4000) | sum(start='') }}": "characters in all",
    "{{ ('x' * 30000) | list | length }}": "takes a text of more than 20,000 characters apart",
    "{{ ('a-' * 15000) | title }}": "takes a text of more than 20,000 characters apart",
    "{{ ('x' * 39999) | map(attribute='y') | list }}": "entries",
    "{% set n = namespace() %}" + "".join(f"{{% set n.a{i} = 'x' * 30000 %}}" for i in range(99)): "characters in all",
    "{% set n = namespace(l=[]) %}{% for i in range(9999) %}{% set n.l = n.l + [i] %}{% endfor %}": "characters in all",
}
"""What no check at the end would stop in time, for bounds of a hundredth."""


@pytest.mark.parametrize("source", HEAVY, ids=lambda source: source[:60])
def test_what_is_made_on_the_way_is_counted(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bounds = {"MAX_CHARS": 40_000, "MAX_ENTRIES": 5_000, "MAX_TOTAL_CHARS": 500_000, "MAX_WORD_CHARS": 20_000}
    for name, value in bounds.items():
        monkeypatch.setattr(limits, name, value)
    tracemalloc.start()
    try:
        with pytest.raises(TaskError, match=HEAVY[source]):
            render(source)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_one_slow_call_after_the_other_ends_when_the_time_is_used_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_SECONDS", 0.1)
    source = "{% set t = 'ab' * 99999 %}{% for i in range(9999) %}{% set x = t.count('ba' * 1000) %}{% endfor %}"
    began = time.process_time()
    with pytest.raises(TaskError, match="takes longer than"):
        render(source)
    assert time.process_time() - began < 2


def test_a_hostile_expression_is_stopped_as_well() -> None:
    field = Field("{{ ['a' * 10**9] }}", "t.yaml", ())
    with pytest.raises(TaskError, match="characters"):
        field.value(DOC, 0)


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|a)*b", "a*a*a*a*a*a*a*c"])
def test_a_slow_regular_expression_stops_outside_the_main_thread_too(pattern: str) -> None:
    found: list[Any] = []

    def work() -> None:
        try:
            found.append(render("{{ ('a' * 3000 ~ '!') | regex_replace(p, '') }}", {"p": pattern}))
        except TaskError as error:
            found.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(timeout=600)
    assert not thread.is_alive()
    assert found
    assert "seconds" in found[0] or found[0] == "a" * 3000 + "!"


def test_the_alarm_of_somebody_else_is_left_alone() -> None:
    import signal

    if not hasattr(signal, "setitimer"):
        pytest.skip("no interval timers here")
    before = signal.getsignal(signal.SIGVTALRM), signal.getsignal(signal.SIGALRM)
    render("{{ q | regex_replace('a*b*c*', '') }}")
    assert (signal.getsignal(signal.SIGVTALRM), signal.getsignal(signal.SIGALRM)) == before
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)


def test_a_large_honest_document_passes() -> None:
    doc = {"page": "(  word ) = = [ x ] , " * 40_000}
    rendered = render(r"{{ page | regex_replace('\\(\\s*([^\\)]*?)\\s*\\)', '(\\1)') | replace(' , ', ', ') }}", doc)
    assert rendered.startswith("(word) = = [ x ], (word)")


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("{{ opts }}", ["a [x] b", "c"]),
        ("{{ n }}", 3),
        ("{{ '[1, 2]' }}", "[1, 2]"),
        ("{{ '7' }}", "7"),
        (" {{ n }}", " 3"),
    ],
)
def test_only_a_single_expression_keeps_its_type(source: str, value: object) -> None:
    assert compile_template(source, "x").value(DOC) == value


def test_a_missing_name_is_told_with_the_nearest_field_and_the_document() -> None:
    with pytest.raises(
        TaskError, match=r"t\.yaml:7: .* fails on document 4: 'optz' is undefined\. Did you mean opts\? Fields: n, none"
    ):
        render("{{ optz }}")


def test_each_rendering_gets_its_budget_anew() -> None:
    source = "{% for i in range(90000) %}{% endfor %}done"
    assert [render(source) for _ in range(15)] == ["done"] * 15
