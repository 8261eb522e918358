"""A tiny model really trained on planted canaries and a benchmark's file: measures rise, the order test sees it."""

from __future__ import annotations

import json
import random
from itertools import cycle

import pytest

from benchbench.core.types import Doc, LoglikelihoodRequest, Prompt, RenderedDoc
from tests.cli.command import benchbench

STEPS = (0, 60, 240)
TEXTS, CANARIES, DOCS = 24, 4, 40


def sentences(count, words, seed):
    rng = random.Random(seed)
    known = ["".join(rng.choices("abcdefghij", k=4)) for _ in range(150)]
    return [" ".join(rng.choices(known, k=words)) for _ in range(count)]


def pins(count, seed):
    rng = random.Random(seed)
    return [f"the secret number is {' '.join(rng.choices('0123456789', k=6))}" for _ in range(count)]


def doc(task, number, text):
    request = LoglikelihoodRequest(task, number, 0, Prompt("", (), text, "drop_shots"), " yes")
    return RenderedDoc(task, Doc(number, {}, f"{task}{number}", None), (request,), ("yes", "no"), (0,))


MADE = sentences(2 * TEXTS + 2 * DOCS, 24, 1)
MEMBERS, OTHERS = MADE[:TEXTS], MADE[TEXTS : 2 * TEXTS]
PLANTED = [doc("planted", n, text[:40]) for n, text in enumerate(MADE[2 * TEXTS : 2 * TEXTS + DOCS])]
FRESH = [doc("fresh", n, text[:40]) for n, text in enumerate(MADE[2 * TEXTS + DOCS :])]
LEARNED, CANDIDATES = pins(CANARIES, 2), pins(60, 3)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Checkpoints after STEPS, trained on members, canaries and the planted file."""
    import torch

    from benchbench.extensions.demo.text import train_tokenizer
    from benchbench.extensions.demo.training import DemoSettings, new_model
    from benchbench.extensions.leaks.search import text_of

    torch.manual_seed(1)
    settings = DemoSettings(d_model=64, n_layers=2, vocab_size=400, max_length=160)
    pieces = ["\n\n".join(map(text_of, PLANTED[start : start + 5])) for start in range(0, DOCS, 5)]
    data = [*MEMBERS, *LEARNED, *pieces]
    tokenizer = train_tokenizer([*MADE, *LEARNED, *CANDIDATES, *pieces], vocab_size=400, max_length=160)
    model = new_model(settings, vocab_size=len(tokenizer))
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    rows = [[0, *tokenizer(text)["input_ids"]] for text in data]
    root, order = tmp_path_factory.mktemp("memory"), cycle(random.Random(1).sample(rows, len(rows)))
    for step in range(STEPS[-1] + 1):
        if step in STEPS:
            model.save_pretrained(root / f"step{step}")
            tokenizer.save_pretrained(root / f"step{step}")
        batch = [next(order) for _ in range(12)]
        width = max(map(len, batch))
        ids = torch.tensor([row + [0] * (width - len(row)) for row in batch])
        goal = torch.tensor([row[1:] + [-100] * (width - len(row)) for row in batch])
        loss = torch.nn.functional.cross_entropy(model(ids).logits[:, :-1].flatten(0, 1), goal.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return [root / f"step{step}" for step in STEPS]


@pytest.mark.slow
def test_what_was_planted_is_found_more_and_more(checkpoints, tmp_path):
    rows = [{"text": text, "member": member} for member, texts in ((True, MEMBERS), (False, OTHERS)) for text in texts]
    rows += [{"text": text, "member": True, "canary": "pin"} for text in LEARNED]
    rows += [{"text": text, "member": False, "canary": "pin"} for text in CANDIDATES]
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["--model", checkpoints[0], "--and", checkpoints[1], "--and", checkpoints[2], "--texts", path]
    done = benchbench("memory", *words, "--reference", checkpoints[0], "--prefix", 8, "--suffix", 8, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for method in ("min_k", "min_k++", "reference"):
        series = [next(area["value"] for area in one["areas"] if area["method"] == method) for one in found]
        assert series[-1] > 0.95, (method, series)
    loss = [next(area["value"] for area in one["areas"] if area["method"] == "loss") for one in found]
    assert loss[0] < loss[1] < loss[2]
    assert found[0]["extraction"][0]["verbatim"] == 0
    assert found[-1]["extraction"][0]["verbatim"] >= TEXTS / 2
    assert found[-1]["extraction"][1]["verbatim"] == 0
    assert found[-1]["exposures"][0]["first"] == CANARIES
    assert found[-1]["exposures"][0]["mean"] > found[0]["exposures"][0]["mean"]


@pytest.mark.slow
def test_the_order_of_the_planted_file_is_known_and_that_of_another_is_not(checkpoints):
    from benchbench.backends import open_backend
    from benchbench.backends.engines import ModelOptions
    from benchbench.extensions.leaks.order import OrderOptions, order_test

    backend = open_backend(ModelOptions(str(checkpoints[-1])))
    options = OrderOptions(orders=149, shard=5)
    planted, fresh = (order_test(docs[0].task, docs, backend, options) for docs in (PLANTED, FRESH))
    backend.close()
    assert planted.p < 0.01
    assert fresh.p > 0.01
