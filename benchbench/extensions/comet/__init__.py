"""COMET, by unbabel-comet, in a process of its own: its environment and ours cannot be one.

`worker.py` runs there and knows nothing of benchbench; `process.py` starts it and asks; `model.py` names models.
"""
