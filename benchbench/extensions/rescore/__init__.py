"""Metrics of a finished run, computed again or added, from what it stored: no model, no run's own result changed."""
