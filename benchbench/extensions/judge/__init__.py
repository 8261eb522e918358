"""Language models that judge written answers: one answer on a scale, or two against each other.

`options.py` says which judge, `prompts.py` what it reads, `verdicts.py` what its answer means, `bench.py` asks it and
keeps every judgement, `metric.py` makes a metric of its grades, `pairs.py` compares models and `arena.py` ranks them.
"""
