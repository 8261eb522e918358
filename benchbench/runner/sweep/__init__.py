"""Every checkpoint of a training run, scored as it appears: find, wait until whole, run, remember, draw."""
