"""The same tables for Spin: one gateway process, N accounts, a file, a network and an outside that does its worst.

The rows come from the tables; what their guards and actions mean stands in `lifecycle` and `channel`, what surrounds
the machines in `process` and `account`. Nothing here is shared with `statemachine.explore` and its world but the names
of the promises: the two say the same of the same tables, or one of them is wrong.

The model is one loop, each round of which is one indivisible move.
Safety: a statement after each move calls a promise broken, and the story goes on.
Liveness: the outside is bounded by budgets, and may at any moment do nothing more. When no move is left, nothing may be
outstanding. That suffices as long as every run ends: the moves of the outside are counted, so a run without an end would be
a cycle of the inside's own moves, and Spin's search for non-progress cycles (without a progress label every cycle is one)
says that there is none.

Sources: G. J. Holzmann, "The SPIN Model Checker", 2004; the language is described at spinroot.com.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from statemachine._machine import Machine
from statemachine.channel import SETTLED, WAITING, Channel
from statemachine.lifecycle import ALIVE, Lifecycle, LifecycleState
from statemachine.lifecycle_events import RestartBy
from statemachine.promela import account, channel, lifecycle, process, table
from statemachine.promela.move import Move, declarations
from statemachine.promela.promises import MODEL_FITS, WORDS, declare

AnyMachine = type[Machine[Any, Any]]


STOPS = 3
"""So many requests end it, whatever hangs."""


def promela(
    lifecycle_class: AnyMachine = Lifecycle,
    channel_class: AnyMachine = Channel,
    *,
    accounts: int = 1,
    budget: int = 2,
    reload: bool = True,
    restart_by: RestartBy = RestartBy.IN_PROCESS,
) -> str:
    """The model as a text for Spin. Raises VocabularyError for a guard or action that has no translation.

    `budget` says how many things the outside may do: save or write the file, ask for something, fail, kill the process.
    `reload` is False for reload mode `off`; `restart_by` says how the process restarts.
    """
    tickets = budget + 1
    words = lifecycle.vocabulary(tickets), channel.CHANNEL
    return "\n".join(
        [
            "/* Made from the tables by `python -m statemachine promela`: change those, not this. */",
            *_constants(lifecycle_class, channel_class, accounts, tickets, reload=reload),
            *(f"#define BY_{by.name} {'true' if by is restart_by else 'false'}" for by in RestartBy),
            *declare(WORDS | {"model_fits": MODEL_FITS}),
            *declarations(),
            f"byte budget = {budget}, stops = {STOPS};",
            channel.DECLARATIONS,
            lifecycle.DECLARATIONS,
            *table.inlines(lifecycle_class, words[0], _alphabet(Lifecycle)),
            *table.inlines(channel_class, words[1], _alphabet(Channel)),
            process.HELPERS,
            *_world(lifecycle_class, channel_class, words, accounts, tickets),
            "",
        ]
    )


def _alphabet(machine: AnyMachine) -> dict[str, Any]:
    """Of the real table: what happens happens, whether or not a changed table has a row for it."""
    return {event.trigger: event for event in table.events(machine)}


def _constants(
    lifecycle_class: AnyMachine, channel_class: AnyMachine, accounts: int, tickets: int, *, reload: bool
) -> Iterator[str]:
    yield f"#define ACCOUNTS {accounts}"
    yield f"#define TICKETS {tickets}"
    yield f"#define RELOAD {'true' if reload else 'false'}"
    yield "#define REFUSED 255"
    for machine in (lifecycle_class, channel_class):
        yield from table.states(machine)
        yield f"#define INITIAL_{machine.kind.upper()} {table.constant(machine, machine.initial)}"
    settled = " || ".join(f"channel_state[n] == {table.constant(channel_class, state)}" for state in _in_order(SETTLED))
    waiting = " || ".join(f"channel_state[n] == {table.constant(channel_class, state)}" for state in WAITING)
    yield f"#define SETTLED(n) ({settled})"
    yield f"#define WAITS(n) ({waiting})"
    timers = [f"TIMER_{trigger.upper()}" for trigger in _alphabet(Lifecycle) | _alphabet(Channel)]
    yield "#define NO_TIMER 0"
    yield from (
        f"#define {timer} {number}" for number, timer in enumerate(timers, 1) if timer.endswith(("DUE", "OVER"))
    )
    yield f"#define TICKET_IS_OPEN ({lifecycle.some_ticket(tickets)})"
    alive = " || ".join(f"lifecycle_state == {table.constant(lifecycle_class, state)}" for state in ALIVE)
    yield f"#define ALIVE ({alive})"
    restarting = table.constant(lifecycle_class, LifecycleState.RESTARTING)
    yield f"#define TAKES_CALLS (ALIVE && !((BY_EXEC || BY_EXIT) && lifecycle_state == {restarting}))"


def _in_order(states: Any) -> list[Any]:
    return sorted(states, key=lambda state: str(state.value))


def _world(
    lifecycle_class: AnyMachine, channel_class: AnyMachine, words: Any, accounts: int, tickets: int
) -> Iterator[str]:
    yield "active proctype world() {"
    yield "  d_step { disk = 1; begin_process(); forget() };"
    yield "  do"
    for move in (*process.moves(accounts, tickets), *_every_account(accounts), _rest()):
        yield from move.promela()
    for stale in _stale(lifecycle_class, channel_class, words, accounts):
        # Only until it is told: a way that stays open would hide that nothing else is left to happen.
        yield f"  :: d_step {{ !ended && c_expr {{ !IS_TOLD_stale }} && ({stale}) -> BREAK_stale }}; goto end"
    yield "  :: else -> break"
    yield "  od;"
    yield from _final(accounts, tickets)
    yield "end: skip"
    yield "}"


def _every_account(accounts: int) -> Iterator[Move]:
    for number in range(accounts):
        yield from account.moves(number)


def _rest() -> Move:
    return Move("the outside does nothing more", "budget + stops > 0", ("budget = 0", "stops = 0"))


def _stale(lifecycle_class: AnyMachine, channel_class: AnyMachine, words: Any, accounts: int) -> Iterator[str]:
    """What an older timer, work or generation may still say, and a receiver that was cut off, must be refused."""
    yield table.stale_is_taken(lifecycle_class, words[0])
    ended = _alphabet(Channel)["receiver_ended"]
    late = table.taken(channel_class, words[1], ended, current=True)
    for number in range(accounts):
        anything = f"({table.stale_is_taken(channel_class, words[1])}) || (cut_off[c] && ({late}))"
        yield anything.replace("[c]", f"[{number}]")


def _final(accounts: int, tickets: int) -> Iterator[str]:
    """Nothing is left to happen: what is still outstanding never comes."""
    yield "  skip;"
    yield "  d_step {"
    yield '    printf("-- nothing more happens\\n");'
    unanswered = " || ".join(f"told_open[{n}]" for n in range(tickets))
    yield f"    if :: asked != 0 || {unanswered} || TICKET_IS_OPEN -> BREAK_one_outcome :: else fi;"
    yield "    if"
    yield "    :: ended -> skip"
    yield "    :: !ended && lifecycle_state == LIFECYCLE_STOPPING -> BREAK_stop_arrives"
    yield "    :: !ended && lifecycle_state != LIFECYCLE_STOPPING && lifecycle_state != LIFECYCLE_RUNNING -> BREAK_ends"
    yield "    :: else ->"
    astray = " || ".join(
        f"(channel_state[{n}] == CHANNEL_STOPPED -> SETTINGS({n}, ledger) != OFF && !held[{n}] : settings[{n}] != SETTINGS({n}, ledger))"
        for n in range(accounts)
    )
    yield f"      if :: !excused && disk != BAD && (IMPACT(ledger, disk) != NO_IMPACT || {astray}) -> BREAK_change_kept :: else fi"
    yield "    fi;"
    for n in range(accounts):
        waits = f"WAITS({n}) || channel_timer[{n}] != NO_TIMER || (channel_state[{n}] == CHANNEL_RUNNING && in_conflict[{n}])"
        yield f"    if :: !ended && (!SETTLED({n}) || {waits} || hangs[{n}]) -> BREAK_ends :: else fi;"
    yield "    skip"
    yield "  }"
