"""What a command writes, a line at a time, and how text of others becomes harmless on the way to a terminal."""

from __future__ import annotations

import json
import sys
import unicodedata
from typing import Any

STEERING = frozenset(map(ord, "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"))
"""They turn the direction of what follows, so that a text reads as something that it is not."""
UNSAFE = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Categories of Unicode: controls (escape sequences begin with one), halves of characters, separators of lines."""
KEPT = frozenset(map(ord, "\n\t"))


class _Escapes(dict[int, str]):
    """For `str.translate`: what a character is shown as. `form` writes those that are not shown as they are."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self._form = form

    def __missing__(self, code: int) -> str:
        unsafe = code not in KEPT and (code in STEERING or unicodedata.category(chr(code)) in UNSAFE)
        shown = self[code] = self._form.format(code) if unsafe else chr(code)
        return shown


_TEXT, _JSON = _Escapes("\\x{:02x}"), _Escapes("\\u{:04x}")


def clean(text: str) -> str:
    """The text, with whatever would steer a terminal shown by its number in hexadecimal. Lines and tabs stay."""
    return text.translate(_TEXT)


def say(text: str) -> None:
    """A line on the standard output, or several; at once, for whoever reads them as they come."""
    sys.stdout.write(clean(text) + "\n")
    sys.stdout.flush()


def say_json(answer: Any, *, ascii_only: bool = True, indent: int | None = 2) -> None:
    """What a program reads. Where letters stay as they are, what would steer a terminal is escaped as JSON escapes it."""
    sys.stdout.write(json.dumps(answer, indent=indent, ensure_ascii=ascii_only).translate(_JSON) + "\n")
    sys.stdout.flush()
