"""How long what takes: `python -m tests.bench`."""
