"""A terminal: its colours, and what moves while somebody waits. Imported when there is one; a pipe gets plain lines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from gateway.cli.plain import clean

TONES = {
    "running": "good", "committed": "good", "applied": "good", "done": "good", "sent": "good", "ok": "good",
    "starting": "busy", "hot_reloading": "busy", "restarting": "busy", "connecting": "busy", "sending": "busy",
    "probation": "busy", "pending": "busy",
    "restart_pending": "warn", "stopping": "warn", "stop_overdue": "warn", "backoff": "warn", "retry_wait": "warn",
    "unknown": "warn", "warning": "warn", "half_open": "warn", "cancelled": "warn",
    "conflict": "bad", "suppressed": "bad", "failed": "bad", "dead": "bad", "rolled_back": "bad", "rejected": "bad",
    "refused": "bad", "error": "bad", "open": "bad",
    "held": "good", "acquiring": "busy", "releasing": "busy", "fenced": "bad", "lost": "bad",
}  # fmt: skip
"""What a state means to whoever looks, as the page has it; of any other nothing is to be thought."""
COLOURS = {"good": "green", "busy": "blue", "warn": "yellow", "bad": "bold red", "calm": "default"}
MARKS = {"good": "●", "busy": "◐", "warn": "▲", "bad": "✖", "calm": "○"}
"""A tone is never said by its colour alone."""
SOFT = "dim"
MOVES = 8
"""Times a second that what moves is drawn."""


def screen(*, errors: bool = False) -> Console:
    """The terminal. What is printed on it is text, and never taken for instructions to it; NO_COLOR is heeded."""
    return Console(stderr=errors, highlight=False, markup=False, emoji=False)


def plain(text: object, style: str = "") -> Text:
    """A text of whomever, harmless."""
    return Text(clean(str(text)), style)


def toned(state: str, tone: str | None = None, said: str | None = None) -> Text:
    """A state, or what is `said` in its place, with the mark and in the colour of its tone."""
    tone = TONES.get(state, "calm") if tone is None else tone
    return plain(f"{MARKS[tone]} {state if said is None else said}", COLOURS[tone])


@contextmanager
def moving(text: str) -> Iterator[Callable[[str], None]]:
    """Something that moves on the standard error as long as the body takes: what is waited for, and how long already.

    What is yielded takes what there is to add, as often as that changes.
    """
    began, told = time.monotonic(), ""

    def tell(more: str) -> None:
        nonlocal told
        told = more

    def drawn() -> Spinner:
        more = f": {told}" if told else ""
        spinner.update(text=plain(f"{text}{more} ({time.monotonic() - began:.0f} s)"))
        return spinner

    spinner = Spinner("dots", style=COLOURS["busy"])
    live = Live(
        console=screen(errors=True), transient=True, refresh_per_second=MOVES, get_renderable=drawn,
        redirect_stdout=False, redirect_stderr=False,
    )  # fmt: skip
    with live:
        yield tell
