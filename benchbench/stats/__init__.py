"""Pure functions on arrays: estimates, standard errors, intervals. numpy and scipy only.

Read `influence.py` first: every metric becomes an estimate with one influence value per item, and
`intervals.py` turns influence values into a standard error and an interval in one way for all.

Two models: `difference.py`, `evidence.py`, then `duel.py`. Checkpoints of a run: `series.py`, `sweep.py`,
`sentence.py`. Many models: `matrix.py`, `ranks.py`.
"""
