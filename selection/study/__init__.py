"""Studies of many trainings: which method wins, and with which settings. ``python -m selection.study``."""
