"""`python -m tests.parity`: benchbench against lm_eval 0.4.13 on the same rows and the same model."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchbench.core.chat import ChatSettings
from tests.parity.compare import Model, Row, compare
from tests.parity.tasks import cases, packaged

TASKS = (
    "hellaswag,arc_easy,arc_challenge,piqa,sciq,boolq,belebele_eng_Latn,mmlu_anatomy,mmlu_college_computer_science,"
    "mmlu_high_school_us_history,mmlu_moral_scenarios,mmlu_professional_law,lambada_openai,wikitext,triviaqa,nq_open,"
    "gsm8k,wmt14-en-fr,wmt14-fr-en"
)
"""Compared on a model unless others are named: those whose documents the project's data root has."""
FIXTURES = Path(__file__).parent / "fixtures"


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, read."""
    parser = argparse.ArgumentParser(prog="python -m tests.parity", description=__doc__)
    parser.add_argument("--model", help="folder or hub name; both sides load it in fp32 on the CPU")
    parser.add_argument("--data-root", type=Path, help="BENCHBENCH_DATA; --prompts-only: fixtures")
    parser.add_argument("--tasks", help="names, separated by commas; --prompts-only: all that ship")
    parser.add_argument("--num-fewshot", help="numbers of shots: 0,5; --prompts-only: 0,3")
    parser.add_argument("--limit", type=int, default=200, help="docs per task; 0 is the whole split")
    parser.add_argument("--batch-size", type=int, default=16, help="of lm-eval's backend")
    parser.add_argument("--trust-remote-code", action="store_true", help="run the model's own code, on both sides")
    parser.add_argument("--prompts-only", action="store_true", help="no model: compare what would be asked")
    parser.add_argument("--apply-chat-template", action="store_true", help="prompts as conversations, on both sides")
    parser.add_argument("--system", help="a system prompt for them")
    parser.add_argument("--no-fewshot-as-multiturn", action="store_true", help="shots in the user's turn")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout instead of the table")
    args = parser.parse_args(argv)
    args.tasks = args.tasks or (",".join(case.name for case in cases()) if args.prompts_only else TASKS)
    args.num_fewshot = args.num_fewshot or ("0,3" if args.prompts_only else "0,5")
    if args.data_root is None:
        given = None if args.prompts_only else os.environ.get("BENCHBENCH_DATA")
        args.data_root = Path(given) if given else FIXTURES if args.prompts_only else None
    if args.data_root is None:
        parser.error("name the rows: --data-root DIR or BENCHBENCH_DATA")
    if args.model is None and (not args.prompts_only or args.apply_chat_template):
        parser.error("name a model with --model, or compare plain prompts alone with --prompts-only")
    return args


def model_of(args: argparse.Namespace) -> Model | None:
    """The model that the command names, and how it is asked."""
    chat = ChatSettings(args.system, not args.no_fewshot_as_multiturn) if args.apply_chat_template else None
    if args.prompts_only and chat is None:
        return None
    return Model(args.model, args.batch_size, args.trust_remote_code, chat, args.prompts_only)


def main(argv: Sequence[str] | None = None) -> int:
    """Compare every task at every number of shots; 1 if anything disagrees."""
    args = arguments(argv)
    model = model_of(args)
    rows = []
    if not args.json:
        print(HEAD)
    for name in args.tasks.split(","):
        for shots in [0] if is_rolling(name) else map(int, args.num_fewshot.split(",")):
            start = time.monotonic()
            row = compare(name, shots, data_root=args.data_root, limit=args.limit or None, model=model, adapt=True)
            rows.append(row)
            if not args.json:
                print(line(row, time.monotonic() - start), flush=True)
    if args.json:
        print(json.dumps({"ok": all(row.ok for row in rows), "rows": [asdict(row) for row in rows]}, indent=1))
    else:
        bad = sum(not row.ok for row in rows)
        print(f"{len(rows) - bad} of {len(rows)} rows agree with what they are held against, read by lm_eval.")
    return int(not all(row.ok for row in rows))


def is_rolling(name: str) -> bool:
    """Its requests hold no prompt: compared once, at 0 shots."""
    return packaged().task(name).output_type == "loglikelihood_rolling"


HEAD = (
    f"{'task':<42} {'held against':<12} {'shots':>5} {'docs':>6} {'prompts equal':>15} {'max |Δ ll|':>10} "
    f"{'texts equal':>12}  metrics"
)


def line(row: Row, seconds: float) -> str:
    """The row as text, with what disagrees and what to know on lines of their own."""
    delta = "-" if row.largest_difference is None else f"{row.largest_difference:.1e}"
    texts = f"{row.generations_equal}/{row.generations}" if row.generations else "-"
    values = " ".join(f"{name}={value['end_to_end']:.4f}" for name, value in row.metrics.items() if value["end_to_end"])
    text = (
        f"{row.task:<42} {row.definition:<12} {row.num_fewshot:>5} {row.docs:>6} "
        f"{f'{row.prompts_equal}/{row.prompts}':>15} {delta:>10} {texts:>12}  {values or '-'}  "
        f"{'ok' if row.ok else 'DIFFERS'} ({seconds:.0f} s)"
    )
    more = [*row.problems, *([row.first_difference] if row.first_difference else [])]
    return "\n".join([text, *(f"    {part}" for part in more), *([f"    note: {row.note}"] if row.note else [])])


if __name__ == "__main__":
    sys.exit(main())
