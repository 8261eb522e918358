"""Final answers of MATH are found and normalised as by lm-eval, on what is put together at random."""

from __future__ import annotations

import random
import sys
import types

import pytest

pytest.importorskip("lm_eval", reason="lm_eval is the reference; install the extra [lm-eval]")

from benchbench.core.math_answers import final_answer, normalized

CASES = [
    r"\frac12", "x=5", "10,000", "0,1", r"\sqrt[3]8", r"\sqrt2", "5 cm", r"2\pi cm", r"\left(3,2\right)", r"\text{(A)}",
    r"90^\circ", r"\$5.00", "1{,}000", "12 dollars", r"\boxed{\textbf{7}}", r"\overline{AB}", r"5 \mbox{ m}",
]  # fmt: skip


def test_random_answers_are_treated_as_lm_eval_treats_them(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets  # noqa: F401 - whole, before the version of something is made up
    import lm_eval.tasks  # noqa: F401

    for name in ("antlr4", "math_verify", "sympy.parsing.latex"):  # what its module imports and this test does not use
        if name not in sys.modules:
            fake = types.ModuleType(name)
            fake.parse = fake.verify = fake.parse_latex = None  # type: ignore[attr-defined]
            monkeypatch.setitem(sys.modules, name, fake)
    monkeypatch.setattr("importlib.metadata.version", lambda name: "4.11.1")
    from lm_eval.tasks.minerva_math import utils

    rng = random.Random(1)
    pieces = [*CASES, "$", " ", "=", "\\ ", "square", "ft", "\n", "{", "}", "^", ",", ".", "an "]
    for _ in range(400):
        text = "".join(rng.choice(pieces) for _ in range(rng.randint(1, 6)))
        assert normalized(text) == utils.normalize_final_answer(text)
        told = f"Final Answer: The final answer is {text}{rng.choice(['. I hope it is correct.', '', '.'])}"
        assert final_answer(told) == utils.normalize_final_answer(utils.get_unnormalized_answer(told))
