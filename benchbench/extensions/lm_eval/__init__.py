"""lm-eval's own tasks as tasks of benchbench: `lm_eval:NAME`. Import the parts by name: this module loads nothing.

Reading order: `source.py` (what benchbench calls: names to tasks, a task to requests), `names.py` (which tasks there
are), `library.py` (the only door to the package lm_eval), `data.py` (the rows that its tasks load), `task.py` (one
task, its Python still unread), `results.py` (lm-eval's values of each answer), `upstream_scoring.py` (values to scores
and rows).
"""

PREFIX = "lm_eval:"
"""What the name of such a task begins with."""
