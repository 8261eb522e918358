"""From settings to a finished run: prepare tasks, ask the backend, score, keep every item, write the record."""
