"""One answer, in the form that suits who reads it: JSON for a program, tables for a terminal, lines for a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from gateway.cli.exits import on_terminal
from gateway.cli.plain import say, say_json


def show(
    answer: Any,
    lines: Callable[[], str],
    drawn: Callable[[Any], Any],
    *,
    as_json: bool = False,
    indent: int | None = 2,
) -> None:
    """`lines` makes the plain text, `drawn` what rich prints; it is handed `gateway.cli.tables`, which a pipe need not import."""
    if as_json:
        say_json(answer, indent=indent)
    elif on_terminal(sys.stdout):
        from gateway.cli import tables, terminal  # noqa: PLC0415 - see above

        terminal.screen().print(drawn(tables))
    else:
        say(lines())
