"""From responses to item scores, and from items to rows with a standard error and an interval.

Reading order: `score.py` (one doc, and all that a run calls), the families `choice.py` and `generation.py` with
`filters.py`, then `aggregation.py` (many items).
"""
