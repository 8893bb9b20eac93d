"""What an account's receiver, network, timer and persons may do, told as moves."""

from __future__ import annotations

from collections.abc import Iterator

from statemachine.promela.move import Move

OWN_ENDS = {
    "LOST": "lost",
    "CONFLICT": "conflict",
    "REFUSED_BY_NETWORK": "refused",
    "SPENT": "spent",
    "CRASHED": "crashed",
}
DEADLINES = ("start_overdue", "stop_overdue")
DUE = ("retry_due", "fence_due", "conflict_over")


def moves(account: int) -> Iterator[Move]:
    """All that can happen to one account by itself, or because a person asks."""
    for move in (*_receiver(), *_fence(), *_timers(), *_sleep(), *_persons(account)):
        guard = f"!ended && {move.guard}".replace("[c]", f"[{account}]")
        yield Move(f"account {account}: {move.label}", guard, (f"c = {account}", *move.body))


def _receiver() -> Iterator[Move]:
    yield Move(
        "its first receive is complete",
        "receiver[c] == OPENING && !hangs[c]",
        ("receiver[c] = UP", "ev_current = 1", "channel_receiver_ready()"),
    )
    yield Move(
        "its receiver is found stalled",
        "watched[c] && hangs[c] && !told[c]",
        ("watched[c] = 0", "ev_current = 1", "channel_receiver_stalled()"),
    )
    yield Move("its receiver, told to end, has ended", "told[c] && !hangs[c]", _ends("CLOSED"))
    # A late end is no promise: it counts only where a deadline or a fence would come as well.
    yield Move(
        "its hanging receiver ends late",
        "told[c] && hangs[c] && (channel_timer[c] != NO_TIMER || fencing[c])",
        _ends("CLOSED"),
    )
    for cause, word in OWN_ENDS.items():
        yield Move(
            f"its receiver ends by itself: {word}", "receiver[c] != NONE && budget > 0", ("budget--", *_ends(cause))
        )
    yield Move("its receiver hangs", "receiver[c] != NONE && !hangs[c] && budget > 0", ("budget--", "hangs[c] = 1"))


def _ends(cause: str) -> tuple[str, ...]:
    return ("lose_receiver()", "ev_current = 1", f"ev_cause = {cause}", "channel_receiver_ended()")


def _fence() -> Iterator[Move]:
    yield Move(
        "its receiver is cut off",
        "fencing[c]",
        (
            "fencing[c] = 0",
            "found = (receiver[c] != NONE)",
            "lose_receiver()",
            "ev_current = 1",
            "ev_cause = LOST",
            "channel_receiver_fenced()",
            "cut_off[c] = found && took != REFUSED && receiver[c] == NONE",
        ),
    )
    yield Move(
        "cutting it off fails",
        "fencing[c] && budget > 0",
        ("budget--", "fencing[c] = 0", "ev_current = 1", "channel_fence_failed()"),
    )


def _timers() -> Iterator[Move]:
    """A deadline passes only for what hangs: slowness that ends in time changes nothing."""
    for trigger in (*DEADLINES, *DUE):
        hangs = " && hangs[c]" if trigger in DEADLINES else ""
        yield Move(
            f"the timer rings: {trigger}",
            f"channel_timer[c] == TIMER_{trigger.upper()}{hangs}",
            ("channel_timer[c] = NO_TIMER", "ev_current = 1", f"channel_{trigger}()"),
        )


def _sleep() -> Iterator[Move]:
    """For a while, or for longer than any wait."""
    for long, how in ((0, "slept"), (1, "slept for long")):
        yield Move(
            f"the host {how}",
            "budget > 0",
            (
                "budget--",
                f"ev_slept_long = {long}",
                "found = (channel_state[c] == CHANNEL_RUNNING)",
                "channel_host_woke()",
                "if :: found && !told[c] -> BREAK_wakes :: else fi",
            ),
        )


def _persons(account: int) -> Iterator[Move]:
    for trigger in ("start", "stop", "restart"):
        yield Move(
            f"a person asks: {trigger}",
            "TAKES_CALLS && budget > 0",
            ("budget--", "ev_person = 1", f"ev_run = SETTINGS({account}, ledger)", f"channel_{trigger}()"),
        )
