"""The two roads for Spin: their rows come through the generator from the tables; the few moves around them stand here."""

from __future__ import annotations

from collections.abc import Iterator

from statemachine.promela import table
from statemachine.promela.move import Move
from statemachine.promela.promises import declare
from statemachine.promises import CHANGE_KEPT, ONE_RECEIVER
from tests.founding.two_roads import RINGS, SIGNAL, WATCHER, Design, Due, ReceiverEnded, Written

DECLARATIONS = """\
#define REFUSED 255
byte took, disk, starts, receivers = 1, oldest;
byte revision[16];  /* Of each receiver that was ever started; those from `oldest` on live. */
byte road[2], snapshot[2], read[2];
bit timer[2], unseen, ending, just_begun;
inline forget() { took = 0 }
inline start_receiver(number) {
  if :: receivers > 0 -> BREAK_one_receiver :: else fi;
  starts++; receivers++; revision[starts] = read[number]
}
"""


def vocabulary(number: int) -> table.Vocabulary:
    """What the guards and actions of one road mean."""
    return table.Vocabulary(
        state=f"road[{number}]",
        guards={"started_since": f"starts != snapshot[{number}]", "restart_has_just_begun": "just_begun"},
        actions={
            "arm": f"snapshot[{number}] = starts; timer[{number}] = 1",
            "read_config": f"read[{number}] = disk",
            "cancel_other": f"timer[{1 - number}] = 0",
            "stop_receiver": "ending = 1; just_begun = 1",
            "start_receiver": f"start_receiver({number})",
        },
    )


def model(design: Design, writes: int) -> str:
    """The model's text."""
    alphabet = {event.trigger: event for event in (Written, Due, ReceiverEnded)}
    lines = [*declare({"one_receiver": ONE_RECEIVER, "change_kept": CHANGE_KEPT})]
    lines.append(DECLARATIONS)
    for number, machine in ((WATCHER, design.watcher), (SIGNAL, design.signal)):
        lines += [*table.states(machine), *table.inlines(machine, vocabulary(number), alphabet)]
    lines += ["active proctype world() {", "  do"]
    for move in moves(writes):
        lines += move.promela()
    lines += ["  :: else -> break", "  od;", *final(), "end: skip", "}", ""]
    return "\n".join(lines)


def moves(writes: int) -> Iterator[Move]:
    yield Move(
        "config.apply writes a revision, and arms a restart",
        f"disk < {writes}",
        ("disk++", "unseen = 1", "signal_written()"),
    )
    yield Move("the watcher sees the write", "unseen", ("unseen = 0", "watcher_written()"))
    for number, name in ((WATCHER, "watcher"), (SIGNAL, "signal")):
        yield Move(RINGS[number], f"timer[{number}]", (f"timer[{number}] = 0", f"{name}_due()"))
    yield Move(
        "the receiver has ended; who waited for that starts one",
        "ending",
        ("ending = 0", "receivers--", "oldest++", "watcher_receiver_ended()", "signal_receiver_ended()"),
    )
    yield Move("some seconds have passed since a restart began", "just_begun", ("just_begun = 0",))


def final() -> Iterator[str]:
    """Nothing is left to happen, and the last write runs in no receiver."""
    yield "  skip;"
    yield "  d_step {"
    yield '    printf("-- nothing more happens\\n");'
    yield "    took = oldest;"
    yield "    do :: took <= starts && revision[took] != disk -> took++ :: else -> break od;"
    yield "    if :: took > starts -> BREAK_change_kept :: else fi;"
    yield "    took = 0"
    yield "  }"
