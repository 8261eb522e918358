"""The loggers that `--log` takes, one file each; the table of them is in `benchbench/runner/logs/loggers.py`."""
