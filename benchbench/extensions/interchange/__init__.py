"""Results of other harnesses and plain tables, as run folders of our own with a mark of where they come from.

`found.py` reads a file or a folder; `lm_eval.py`, `lm_eval_items.py` and `table.py` know the formats; `record.py`
writes.
"""
