"""Conversations against lm_eval 0.4.13: the same text through the same template, and a tiny model's scores of it."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("lm_eval", reason="lm_eval is the reference; install the extra [lm-eval]")

from benchbench.core.chat import ChatSettings
from tests import models
from tests.parity.__main__ import arguments, model_of
from tests.parity.compare import LOGLIKELIHOOD_TOLERANCE, Model, compare

FIXTURES = Path(__file__).parent / "fixtures"
TURNS, ONE_TURN = ChatSettings(), ChatSettings("Answer briefly.", multiturn=False)
CASES = [
    ("arc_easy", 0, TURNS),
    ("belebele_ces_Latn", 2, ONE_TURN),
    ("mmlu_anatomy", 2, TURNS),
    ("winogrande", 2, TURNS),
    ("lambada_openai", 0, TURNS),
    ("gsm8k", 2, TURNS),
    ("wmt14-en-fr", 2, ONE_TURN),
    ("mmlu_prox_cs_law", 3, TURNS),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(models.with_chat_template(models.tiny_llama(tmp_path_factory.mktemp("model"), max_length=2048)))


@pytest.mark.parametrize(("name", "num_fewshot", "chat"), CASES)
def test_prompts_are_lm_evals(name: str, num_fewshot: int, chat: ChatSettings, folder: str) -> None:
    row = compare(name, num_fewshot, data_root=FIXTURES, limit=None, model=Model(folder, chat=chat, only_prompts=True))
    assert row.problems == []
    assert row.prompts == row.prompts_equal > 0
    assert row.loglikelihoods + row.generations == 0


@pytest.mark.parametrize(("name", "num_fewshot"), [("arc_easy", 2), ("lambada_openai", 0)])
def test_scores_are_lm_evals(name: str, num_fewshot: int, folder: str) -> None:
    row = compare(name, num_fewshot, data_root=FIXTURES, limit=2, model=Model(folder, batch_size=4, chat=TURNS))
    assert row.problems == []
    assert row.loglikelihoods == row.prompts > 0
    assert row.largest_difference is not None
    assert row.largest_difference <= LOGLIKELIHOOD_TOLERANCE


def test_the_command_reads_conversations() -> None:
    args = arguments(["--prompts-only", "--apply-chat-template", "--model", "m", "--system", "Be brief."])
    assert model_of(args) == Model("m", chat=ChatSettings("Be brief."), only_prompts=True)
    assert model_of(arguments(["--prompts-only"])) is None
    with pytest.raises(SystemExit):
        arguments(["--prompts-only", "--apply-chat-template"])
