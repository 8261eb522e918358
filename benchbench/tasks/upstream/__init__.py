"""lm-eval's own tasks under our roof: `lm_eval:NAME`. Import the parts by name: this module loads nothing.

Reading order: `names.py` (which tasks there are), `definition.py` (one of them, its Python still unread), `library.py`
(the only door to the package lm_eval), `prepare.py` (documents and requests), `judge.py` (answers to values).
"""

PREFIX = "lm_eval:"
"""What the name of such a task begins with."""
