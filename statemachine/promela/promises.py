"""What the Promela model holds, by the names under which the explorer holds the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from statemachine.promises import (
    APPLIED_ONCE,
    CHANGE_KEPT,
    ENDS,
    LEFT_EMPTY,
    ONE_OUTCOME,
    ONE_RECEIVER,
    ONE_WORK,
    OPEN_TICKETS,
    STALE,
    STAYS_STOPPED,
    STOP_ARRIVES,
    WAKES,
)

WORDS: dict[str, str] = {
    "one_receiver": ONE_RECEIVER,
    "applied_once": APPLIED_ONCE,
    "one_outcome": ONE_OUTCOME,
    "open_tickets": OPEN_TICKETS,
    "change_kept": CHANGE_KEPT,
    "stop_arrives": STOP_ARRIVES,
    "stale": STALE,
    "stays_stopped": STAYS_STOPPED,
    "wakes": WAKES,
    "one_work": ONE_WORK,
    "ends": ENDS,
    "left_empty": LEFT_EMPTY,
}
"""Each promise by the word that says in the model that it is broken: `broken_<word>`."""

MODEL_FITS = "the model's bounds hold what happens"
"""Not a promise of the gateway: when this one is broken, the model is too small and proves nothing."""


def declare(promises: Mapping[str, str]) -> Iterator[str]:
    """`BREAK_<word>` for each promise: it is told once, by the shortest story of a breadth-first search, and the search goes on."""
    yield "c_decl {"
    yield "  extern void (*uerror)(char *);"
    yield f"  static unsigned char told_broken[{len(promises)}];"
    yield "  static void broken(int promise, char *name) {"
    yield "    if (!told_broken[promise]) { told_broken[promise] = 1; uerror(name); }"
    yield "  }"
    yield "}"
    for number, (word, name) in enumerate(promises.items()):
        yield f"#define IS_TOLD_{word} told_broken[{number}]"
        yield f'#define BREAK_{word} printf("!! broken: {name}\\n"); c_code {{ broken({number}, "broken: {name}"); }}'
