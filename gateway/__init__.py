"""Gateway makes happen what the tables of `statemachine` allow. Start at `app.py`."""

__version__ = "0.1.0"
