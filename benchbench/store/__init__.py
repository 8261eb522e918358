"""Run folders on disk: written so that a kill loses nothing, read as tables. Knows nothing of tasks or models.

results/<model>/<run-id>/plan.json                 what the run is, written first
                         items/<task>/live.jsonl   one write per item while running
                         items/<task>/part-00000.parquet   the task's items, sealed
                         log.jsonl                 sessions, times, tokens computed
                         run.json                  the record, written last: its presence means finished
                         scores/<task>/            metrics that were added after that
"""
