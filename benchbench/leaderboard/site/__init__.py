"""The static site: records → tables → pages. Reads the store and the statistics, never tasks or backends.

`build.py` is the door. One level up, `records.py` reads; `board.py`, `duels.py` and `trainings.py` compute. Here each
kind of page has its file (`board_page.py` and so on); `parts.py` holds what pages share, and renders them.
"""
