"""Speed and memory against lm-eval's HF backend: same model, same documents, same prompts, in one go.

Read `rows.py` (what is measured), `worker.py` (one side, one process), `pair.py` (both sides of a row, checked against
each other), `__main__.py` (the command).
"""
