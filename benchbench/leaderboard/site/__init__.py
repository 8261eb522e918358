"""The static site: records → tables → pages. Reads the store and the statistics, never tasks or backends.

`build.py` is the door. `records.py` reads; `board.py`, `duels.py` and `sweeps.py` compute; `pages.py` lays out;
`render.py` writes.
"""
