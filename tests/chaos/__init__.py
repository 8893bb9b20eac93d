"""Chaos on the real process, for as long as it is told, with a referee outside. `python -m tests.chaos --help`."""
