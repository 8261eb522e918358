"""Tasks of lm-eval's, run by lm-eval itself and as `lm_eval:` tasks here, on made-up rows in the shape of their data.

`python -m tests.parity.wide` compares them all; `names.py` lists them, `rows.py` makes the rows, `own.py` has files in
lm-eval's dialect, `pair.py` asks both sides.
"""
