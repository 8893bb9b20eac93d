"""The schema, as the steps that led to it. A file that was shipped is never changed; what is new is a new one.

`python` reads them in the order of their numbers; the number of the last is the version of the database.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def migrations() -> dict[int, str]:
    """SQL scripts by the version that they lead to, in order."""
    found = {
        int(file.name.split("_", 1)[0]): file.read_text(encoding="utf-8")
        for file in files(__name__).iterdir()
        if file.name.endswith(".sql")
    }
    return dict(sorted(found.items()))
