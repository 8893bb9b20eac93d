"""The channel's table: each row, each cell, each guard, and above all: never two receivers of one account."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from enum import Enum
from itertools import accumulate
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from statemachine import Channel, ChannelState, Event, Outcome, Refusal
from statemachine.channel import (
    CLOSING,
    LIVE,
    OPEN,
    SETTLED,
    WAITING,
    ChannelData,
    Then,
    has_let_go,
    has_spent_its_starts,
    is_broken,
    is_running,
    is_settled,
    is_stopped,
    waits_for_lease,
)
from statemachine.channel_events import (
    Adjust,
    By,
    Cause,
    ChannelPolicy,
    CloseReceiver,
    ConflictOver,
    FenceDue,
    FenceFailed,
    FenceReceiver,
    HostWoke,
    LeaseGained,
    LeaseLost,
    OpenReceiver,
    ReceiverEnded,
    ReceiverFenced,
    ReceiverReady,
    ReceiverStalled,
    Restart,
    RetryDue,
    Start,
    StartOverdue,
    Stop,
    StopOverdue,
    WatchReceiver,
)
from statemachine.effects import ArmTimer, DisarmTimer

from .builders import (
    PATIENCE,
    Case,
    Story,
    channel,
    channel_data,
    ended,
    holds,
    only,
    restart,
    run_of,
    start,
)
from .tables import TableTests

S = ChannelState

OLD, NEW = run_of(), run_of("new token", "b", policy=replace(PATIENCE, start_timeout=32.0, stop_timeout=8.0))
OFF = run_of(enabled=False)
ENDED = (S.BACKOFF, S.CONFLICT, S.SUPPRESSED, S.FAILED)
"""There is no receiver, although one is wanted."""


def d(**changes: Any) -> ChannelData:
    """Generation 4 and timer 7 are current."""
    return channel_data(**changes)


def armed(event: Event, after: float, at_least: float = 0.0) -> ArmTimer:
    return ArmTimer(event, None, after, at_least=at_least)


def backoff(token: int, longest: float, at_least: float = 0.0) -> ArmTimer:
    return ArmTimer(RetryDue(token), None, longest, jitter=True, at_least=at_least)


# Rows: one entry a row, in the order of the table

ROWS: tuple[tuple[Case, ...], ...] = (
    (
        Case(
            "a person starts it", (S.STOPPED,), d(held=True), start(run=NEW), S.STARTING,
            (OpenReceiver(5, NEW), armed(StartOverdue(8), 32.0)),
            {"run": NEW, "held": False, "generation": 5, "timer": 8},
        ),
        Case(
            "the gateway starts it", (S.STOPPED,), d(), start(By.GATEWAY, NEW), S.STARTING,
            (OpenReceiver(5, NEW), armed(StartOverdue(8), 32.0)), {"run": NEW, "generation": 5, "timer": 8},
        ),
    ),
    (
        Case(
            "a person does not want to wait", ENDED, d(failures=(1.0, 2.0), attempts=4, half_open=True), start(run=NEW),
            S.STARTING,
            (OpenReceiver(5, NEW), armed(StartOverdue(8), 32.0)),
            {"run": NEW, "generation": 5, "timer": 8, "failures": (), "attempts": 0, "half_open": False},
        ),
    ),
    (
        Case(
            "the first receive after a conflict is complete: it may not be over yet", (S.STARTING,),
            d(conflict_since=0.0, conflicts=(0.0,), last_error="409", last_cause=Cause.CONFLICT), ReceiverReady(4),
            S.RUNNING, (WatchReceiver(4, 55.0), armed(ConflictOver(8), 45.0)),
            {"last_error": "", "last_cause": Cause.CLOSED, "timer": 8},
        ),
    ),
    (
        Case(
            "the first receive is complete", (S.STARTING,),
            d(attempts=4, half_open=True, last_error="x", last_cause=Cause.LOST, failures=(1.0,)), ReceiverReady(4),
            S.RUNNING, (WatchReceiver(4, 55.0), DisarmTimer()),
            {"attempts": 0, "half_open": False, "last_error": "", "last_cause": Cause.CLOSED, "timer": 8},
        ),
        Case(
            "of one that has no receives to complete", (S.STARTING,),
            d(run=run_of(policy=replace(PATIENCE, stall_after=None))), ReceiverReady(4),
            S.RUNNING, (WatchReceiver(4, None), DisarmTimer()), {"timer": 8},
        ),
    ),
    (
        Case(
            "nobody else receives any more", (S.RUNNING,), d(conflict_since=900.0, conflicts=(900.0,)), ConflictOver(7),
            None, (), {"conflict_since": None},
        ),
    ),
    (
        Case(
            "the start takes too long", (S.STARTING,), d(), StartOverdue(7), S.STOPPING,
            (CloseReceiver(4, confirm=False), armed(StopOverdue(8), 6.0)),
            {"then": Then.RETRY, "last_error": "the start did not end in time", "timer": 8},
        ),
    ),
    (
        Case(
            "nothing comes any more", (S.RUNNING,), d(failures=(1.0,)), ReceiverStalled(4), S.STOPPING,
            (CloseReceiver(4, confirm=False), armed(StopOverdue(8), 6.0)),
            {
                "then": Then.RETRY, "timer": 8,
                "last_error": "no receive was completed within 55.0 s: its network does not answer",
            },
        ),
    ),
    tuple(
        Case(
            f"the old one has ended ({cause.value}): the new one begins", CLOSING, d(then=Then.RUN, run=NEW),
            ended(cause), S.STARTING,
            (OpenReceiver(5, NEW), armed(StartOverdue(8), 32.0)), {"then": Then.REST, "generation": 5, "timer": 8},
        )
        for cause in Cause
    ),
    tuple(
        Case(
            f"it has ended ({cause.value}), as it was told", CLOSING, d(half_open=True), ended(cause), S.STOPPED,
            (DisarmTimer(),), {"timer": 8},
        )
        for cause in Cause
    ),
    tuple(
        Case(
            f"the network refuses the account, then {data.then.value}", states, data,
            ended(Cause.REFUSED, why="wrong token"), S.FAILED, (DisarmTimer(),),
            {
                "failures": (900.0, 1000.0), "attempts": 3, "last_error": "wrong token", "last_cause": Cause.REFUSED,
                "half_open": False, "timer": 8,
            },
        )
        for states, data in (
            (OPEN, d(failures=(600.0, 900.0), attempts=2, half_open=True)),
            (CLOSING, d(failures=(600.0, 900.0), attempts=2, then=Then.RETRY)),
        )
    ),
    tuple(
        Case(
            f"somebody else receives since {since}, then {data.then.value}", states, data, ended(Cause.CONFLICT, 5000.0, why="409"),
            S.CONFLICT, (armed(RetryDue(8), 45.0),),
            {
                "conflicts": (1401.0, 5000.0), "last_error": "409", "last_cause": Cause.CONFLICT,
                "half_open": False, "timer": 8, "wait": 45.0, "conflict_since": since,
            },
        )
        for states, since, data in (
            (OPEN, 5000.0, d(conflicts=(1400.0, 1401.0), half_open=True)),
            (OPEN, 0.0, d(conflicts=(1400.0, 1401.0), half_open=True, conflict_since=0.0)),
            (CLOSING, 5000.0, d(conflicts=(1400.0, 1401.0), then=Then.RETRY, failures=(4999.0,) * 9)),
        )
    ),
    tuple(
        Case(
            f"another host had it, and has let it go in this moment, then {data.then.value}", states, data,
            ended(Cause.STANDBY, why="host-b"), S.STARTING, (OpenReceiver(5, OLD), armed(StartOverdue(8), 31.0)),
            {"generation": 5, "timer": 8, "lease_came": False, "then": Then.REST},
        )
        for states, data in ((OPEN, d(lease_came=True)), (CLOSING, d(lease_came=True, then=Then.RETRY)))
    ),
    tuple(
        Case(
            f"another host has it, then {data.then.value}", states, data, ended(Cause.STANDBY, why="host-b"), S.CONFLICT,
            (DisarmTimer(),),
            {
                "last_error": "host-b", "last_cause": Cause.STANDBY, "half_open": False, "conflict_since": None, "timer": 8,
                "wait": 0.0,
            },
        )
        for states, data in (
            (OPEN, d(failures=(600.0, 900.0), half_open=True, conflict_since=900.0, wait=9.0)),
            (CLOSING, d(failures=(600.0, 900.0), then=Then.RETRY)),
        )
    ),
    tuple(
        Case(
            f"no session may be started before {asked:g} s have passed, then {data.then.value}", states, data,
            ended(Cause.SPENT, why="1000 of 1000", retry_after=asked), S.SUPPRESSED,
            (armed(RetryDue(8), 120.0, asked),),
            {
                "failures": (900.0, 1000.0), "attempts": 3, "last_error": "1000 of 1000", "last_cause": Cause.SPENT,
                "half_open": False, "timer": 8, "wait": max(asked, 120.0),
            },
        )
        for states, asked, data in (
            (OPEN, 40_000.0, d(failures=(600.0, 900.0), attempts=2)),
            (OPEN, 119.0, d(failures=(600.0, 900.0), attempts=2, half_open=True)),
            (CLOSING, 121.0, d(failures=(600.0, 900.0), attempts=2, then=Then.RETRY)),
        )
    ),
    tuple(
        Case(
            name, states, data, ended(at=1000.0), S.SUPPRESSED, (armed(RetryDue(8), 120.0),),
            {
                "failures": (*data.failures, 1000.0), "attempts": 3, "last_error": "it broke", "last_cause": Cause.LOST,
                "half_open": False, "timer": 8, "wait": 120.0,
            },
        )
        for name, states, data in (
            ("the third failure within the period", OPEN, d(failures=(701.0, 900.0), attempts=2)),
            ("also of a start that took too long", CLOSING, d(failures=(701.0, 900.0), attempts=2, then=Then.RETRY)),
            ("the single attempt failed", OPEN, d(attempts=2, half_open=True)),
            ("the single attempt took too long", CLOSING, d(attempts=2, half_open=True, then=Then.RETRY)),
        )
    ),
    (
        Case(
            "the network was lost", OPEN, d(failures=(700.0, 701.0), attempts=1), ended(at=1000.0), S.BACKOFF,
            (backoff(8, 2.0),),
            {
                "failures": (701.0, 1000.0), "attempts": 2, "last_error": "it broke", "last_cause": Cause.LOST,
                "timer": 8, "wait": 2.0,
            },
        ),
        Case(
            "it asked for patience", OPEN, d(), ended(retry_after=77.0), S.BACKOFF, (backoff(8, 1.0, 77.0),),
            {
                "failures": (1000.0,), "attempts": 1, "last_error": "it broke", "last_cause": Cause.LOST, "timer": 8,
                "wait": 77.0,
            },
        ),
        Case(
            "the adapter broke", OPEN, d(), ended(Cause.CRASHED), S.BACKOFF, (backoff(8, 1.0),),
            {
                "failures": (1000.0,), "attempts": 1, "last_error": "it broke", "last_cause": Cause.CRASHED, "timer": 8,
                "wait": 1.0,
            },
        ),
        Case(
            "its lease has come, which has nothing to do with it", OPEN, d(lease_came=True), ended(Cause.CLOSED), S.BACKOFF,
            (backoff(8, 1.0),),
            {"failures": (1000.0,), "attempts": 1, "last_error": "it broke", "timer": 8, "wait": 1.0},
        ),
        Case(
            "it returned by itself", OPEN, d(), ended(Cause.CLOSED), S.BACKOFF, (backoff(8, 1.0),),
            {"failures": (1000.0,), "attempts": 1, "last_error": "it broke", "timer": 8, "wait": 1.0},
        ),
        Case(
            "it took too long to start, and says nothing of its own", CLOSING,
            d(then=Then.RETRY, last_error="too late", attempts=40), ended(Cause.CLOSED, why=""), S.BACKOFF,
            (backoff(8, 30.0),), {"failures": (1000.0,), "attempts": 41, "timer": 8, "wait": 30.0},
        ),
    ),
    (
        Case(
            "the wait is over", (S.BACKOFF, S.CONFLICT), d(attempts=2, failures=(1.0,)), RetryDue(7), S.STARTING,
            (OpenReceiver(5, OLD), armed(StartOverdue(8), 31.0)), {"generation": 5, "timer": 8},
        ),
    ),
    (
        Case(
            "the single attempt", (S.SUPPRESSED,), d(attempts=2), RetryDue(7), S.STARTING,
            (OpenReceiver(5, OLD), armed(StartOverdue(8), 31.0)), {"generation": 5, "timer": 8, "half_open": True},
        ),
    ),
    (
        Case(
            "a person stops it", OPEN, d(half_open=True, conflict_since=900.0), Stop(By.PERSON), S.STOPPING,
            (CloseReceiver(4, confirm=False), armed(StopOverdue(8), 6.0)),
            {"held": True, "half_open": False, "timer": 8, "conflict_since": None},
        ),
        Case(
            "the gateway stops it, and says goodbye", OPEN, d(), Stop(By.GATEWAY, confirm=True), S.STOPPING,
            (CloseReceiver(4, confirm=True), armed(StopOverdue(8), 6.0)), {"timer": 8},
        ),
    ),
    (
        Case(
            "a person stops what is ending already", CLOSING, d(then=Then.RUN, half_open=True), Stop(By.PERSON), None,
            (CloseReceiver(4, confirm=False),), {"then": Then.REST, "held": True, "half_open": False},
            Outcome.COALESCED,
        ),
        Case(
            "the gateway stops what is ending already", CLOSING, d(then=Then.RETRY), Stop(By.GATEWAY), None,
            (CloseReceiver(4, confirm=False),), {"then": Then.REST}, Outcome.COALESCED,
        ),
        Case(
            "the gateway does not undo what a person said", CLOSING, d(held=True), Stop(By.GATEWAY, confirm=True), None,
            (CloseReceiver(4, confirm=True),), {}, Outcome.COALESCED,
        ),
    ),
    (
        Case(
            "a person stops what waits", ENDED, d(), Stop(By.PERSON), S.STOPPED, (DisarmTimer(),),
            {"held": True, "timer": 8},
        ),
        Case("the gateway stops what waits", ENDED, d(), Stop(By.GATEWAY), S.STOPPED, (DisarmTimer(),), {"timer": 8}),
    ),
    (
        Case(
            "a person stops what is stopped: from now on it is held", (S.STOPPED,), d(), Stop(By.PERSON), None, (),
            {"held": True}, Outcome.COALESCED,
        ),
        Case("the gateway stops what is stopped", (S.STOPPED,), d(), Stop(By.GATEWAY), None, (), {}, Outcome.COALESCED),
        Case(
            "or held", (S.STOPPED,), d(held=True), Stop(By.GATEWAY), None, (), {}, Outcome.COALESCED,
        ),
    ),
    (
        Case(
            "a restart of what is stopped is a start", (S.STOPPED,), d(), restart(run=NEW), S.STARTING,
            (OpenReceiver(5, NEW), armed(StartOverdue(8), 32.0)), {"run": NEW, "generation": 5, "timer": 8},
        ),
        Case(
            "a person restarts what a person stopped", (S.STOPPED,), d(held=True), restart(By.PERSON, NEW), S.STARTING,
            (OpenReceiver(5, NEW), armed(StartOverdue(8), 32.0)),
            {"run": NEW, "held": False, "generation": 5, "timer": 8},
        ),
    ),
    (
        Case(
            "the old one ends first, within the new one's time", OPEN, d(), restart(run=NEW), S.STOPPING,
            (CloseReceiver(4, confirm=False), armed(StopOverdue(8), 8.0)),
            {"run": NEW, "then": Then.RUN, "timer": 8},
        ),
        Case(
            "with the same settings, too", OPEN, d(), restart(By.PERSON, OLD), S.STOPPING,
            (CloseReceiver(4, confirm=False), armed(StopOverdue(8), 6.0)), {"then": Then.RUN, "timer": 8},
        ),
    ),
    (
        Case(
            "a restart joins the stop that is under way", CLOSING, d(), restart(run=NEW), None, (),
            {"run": NEW, "then": Then.RUN}, Outcome.COALESCED,
        ),
        Case(
            "a person's does so in spite of a person's stop", CLOSING, d(held=True), restart(By.PERSON, NEW), None, (),
            {"run": NEW, "then": Then.RUN, "held": False}, Outcome.COALESCED,
        ),
        Case(
            "also where it would have been tried again later", CLOSING, d(then=Then.RETRY), restart(run=NEW), None, (),
            {"run": NEW, "then": Then.RUN}, Outcome.COALESCED,
        ),
    ),
    (
        Case(
            "new settings are a reason to try at once", ENDED,
            d(failures=(1.0,), attempts=4, half_open=True, conflict_since=900.0),
            restart(run=NEW), S.STARTING,
            (OpenReceiver(5, NEW), armed(StartOverdue(8), 32.0)),
            {
                "run": NEW, "generation": 5, "timer": 8, "failures": (), "attempts": 0, "half_open": False,
                "conflict_since": None,
            },
        ),
        Case(
            "so is a person, who ends no conflict", ENDED,
            d(failures=(1.0,), attempts=4, half_open=True, conflict_since=900.0), restart(By.PERSON, OLD), S.STARTING,
            (OpenReceiver(5, OLD), armed(StartOverdue(8), 31.0)),
            {"generation": 5, "timer": 8, "failures": (), "attempts": 0, "half_open": False},
        ),
    ),
    (
        Case(
            "the same settings wait on", WAITING, d(failures=(1.0,), attempts=4),
            restart(run=replace(OLD, revision="b")), None, (), {"run": replace(OLD, revision="b")}, Outcome.DEFERRED,
        ),
    ),
    (
        Case(
            "the host has slept: its connection is gone, and it begins anew", (S.RUNNING,),
            d(failures=(1.0,), conflict_since=900.0), HostWoke(45.0), S.STOPPING,
            (CloseReceiver(4, confirm=False), armed(StopOverdue(8), 6.0)), {"then": Then.RUN, "timer": 8},
        ),
    ),
    (
        Case(
            "the wait went by while the host slept", (S.BACKOFF, S.CONFLICT), d(wait=77.0, attempts=2), HostWoke(77.0),
            S.STARTING, (OpenReceiver(5, OLD), armed(StartOverdue(8), 31.0)), {"generation": 5, "timer": 8},
        ),
    ),
    (
        Case(
            "so did that of the single attempt", (S.SUPPRESSED,), d(wait=120.0, attempts=2), HostWoke(120.0),
            S.STARTING, (OpenReceiver(5, OLD), armed(StartOverdue(8), 31.0)),
            {"generation": 5, "timer": 8, "half_open": True},
        ),
    ),
    (
        Case(
            "its wait is longer than the sleep", WAITING, d(wait=77.0), HostWoke(76.9), None, (), {}, Outcome.COALESCED,
        ),
        Case(
            "it is under way, stopped or refused", (S.STARTING, *CLOSING, S.STOPPED, S.FAILED),
            d(then=Then.RUN, held=True), HostWoke(1e6), None, (), {}, Outcome.COALESCED,
        ),
    ),
    (
        Case(
            "its lease comes", (S.CONFLICT,), d(last_cause=Cause.STANDBY, last_error="host-b"), LeaseGained(), S.STARTING,
            (OpenReceiver(5, OLD), armed(StartOverdue(8), 31.0)), {"generation": 5, "timer": 8},
        ),
    ),
    (
        Case(
            "it is not waited for, or not yet", tuple(S), d(then=Then.RUN), LeaseGained(), None, (),
            {"lease_came": True}, Outcome.COALESCED,
        ),
    ),
    (
        Case(
            "its lease is lost", OPEN, d(lease_came=True, half_open=True), LeaseLost(), S.STOP_OVERDUE,
            (CloseReceiver(4, confirm=False), DisarmTimer(), FenceReceiver(4)), {"then": Then.RUN, "timer": 8},
        ),
    ),
    tuple(
        Case(
            "it has no time to end politely", (S.STOPPING,), d(then=then), LeaseLost(), S.STOP_OVERDUE,
            (DisarmTimer(), FenceReceiver(4)), {"timer": 8},
        )
        for then in Then
    ),
    (
        Case(
            "there is no receiver, or it is being cut off", (S.STOP_OVERDUE, *ENDED, S.STOPPED), d(then=Then.RETRY),
            LeaseLost(), None, (), {}, Outcome.COALESCED,
        ),
    ),
    (
        Case(
            "what is read at its next use is changed in passing", tuple(S), d(then=Then.RUN), Adjust(NEW), None, (),
            {"run": NEW},
        ),
    ),
    (
        Case(
            "it does not end in time: it is cut off", (S.STOPPING,), d(then=Then.RUN), StopOverdue(7), S.STOP_OVERDUE,
            (FenceReceiver(4),),
        ),
    ),
    (
        Case(
            "it is cut off: the new one begins", (S.STOP_OVERDUE,), d(then=Then.RUN), ReceiverFenced(4, 1000.0),
            S.STARTING,
            (OpenReceiver(5, OLD), armed(StartOverdue(8), 31.0)), {"then": Then.REST, "generation": 5, "timer": 8},
        ),
    ),
    (
        Case(
            "it is cut off, as it was told to end", (S.STOP_OVERDUE,), d(), ReceiverFenced(4, 1000.0), S.STOPPED,
            (DisarmTimer(),), {"timer": 8},
        ),
    ),
    tuple(
        Case(
            name, (S.STOP_OVERDUE,), data, ReceiverFenced(4, 1000.0), S.SUPPRESSED, (armed(RetryDue(8), 120.0),),
            {
                "failures": (*data.failures, 1000.0), "attempts": 1, "last_cause": Cause.LOST,
                "last_error": "it did not end and was cut off", "half_open": False, "timer": 8, "wait": 120.0,
            },
        )
        for name, data in (
            ("it is cut off after the third failure", d(then=Then.RETRY, failures=(701.0, 900.0))),
            ("it is cut off after the single attempt", d(then=Then.RETRY, half_open=True)),
        )
    ),
    (
        Case(
            "it is cut off after a start that took too long", (S.STOP_OVERDUE,),
            d(then=Then.RETRY, failures=(700.0, 701.0), attempts=2), ReceiverFenced(4, 1000.0), S.BACKOFF,
            (backoff(8, 4.0),),
            {
                "failures": (701.0, 1000.0), "attempts": 3, "last_cause": Cause.LOST,
                "last_error": "it did not end and was cut off", "timer": 8, "wait": 4.0,
            },
        ),
    ),
    (
        Case(
            "it cannot be cut off: again in a moment", (S.STOP_OVERDUE,), d(then=Then.RUN), FenceFailed(4, "stuck"),
            None, (armed(FenceDue(8), 5.0),), {"last_error": "stuck", "timer": 8}, Outcome.DEFERRED,
        ),
    ),
    (Case("again", (S.STOP_OVERDUE,), d(then=Then.RUN), FenceDue(7), None, (FenceReceiver(4),)),),
)  # fmt: skip

# The table

ALLOWED = {
    S.STOPPED: {"adjust", "host_woke", "lease_gained", "lease_lost", "start", "stop", "restart"},
    S.STARTING: {
        "adjust",
        "host_woke",
        "lease_gained",
        "lease_lost",
        "receiver_ready",
        "receiver_ended",
        "start_overdue",
        "stop",
        "restart",
    },
    S.RUNNING: {
        "adjust",
        "host_woke",
        "lease_gained",
        "lease_lost",
        "receiver_ended",
        "receiver_stalled",
        "conflict_over",
        "stop",
        "restart",
    },
    S.STOPPING: {
        "adjust",
        "host_woke",
        "lease_gained",
        "lease_lost",
        "receiver_ended",
        "stop_overdue",
        "stop",
        "restart",
    },
    S.STOP_OVERDUE: {
        "adjust",
        "host_woke",
        "lease_gained",
        "lease_lost",
        "receiver_ended",
        "receiver_fenced",
        "fence_failed",
        "fence_due",
        "stop",
        "restart",
    },
    S.BACKOFF: {"adjust", "host_woke", "lease_gained", "lease_lost", "start", "stop", "restart", "retry_due"},
    S.CONFLICT: {"adjust", "host_woke", "lease_gained", "lease_lost", "start", "stop", "restart", "retry_due"},
    S.SUPPRESSED: {"adjust", "host_woke", "lease_gained", "lease_lost", "start", "stop", "restart", "retry_due"},
    S.FAILED: {"adjust", "host_woke", "lease_gained", "lease_lost", "start", "stop", "restart"},
}
GUARDS: dict[str, tuple[list[tuple[ChannelData, Event]], list[tuple[ChannelData, Event]]]] = {
    "generation_is_current": (
        [(d(), ended()), (d(), ReceiverReady(4)), (d(generation=5), ReceiverFenced(5, 0.0))],
        [(d(), ended(generation=3)), (d(), ReceiverReady(5)), (d(), FenceFailed(0, "x"))],
    ),
    "timer_is_current": (
        [(d(), RetryDue(7)), (d(timer=8), FenceDue(8))],
        [(d(), RetryDue(6)), (d(), StartOverdue(8)), (d(), StopOverdue(0))],
    ),
    "is_enabled": ([(d(), start()), (d(run=OFF), restart())], [(d(), start(run=OFF)), (d(), restart(run=OFF))]),
    "may_start": (
        [(d(), start(By.GATEWAY)), (d(held=True), start()), (d(held=True), restart(By.PERSON)), (d(), start())],
        [(d(held=True), start(By.GATEWAY)), (d(held=True), restart(By.GATEWAY, NEW))],
    ),
    "asked_by_person": ([(d(), start())], [(d(), start(By.GATEWAY)), (d(), start(By.GATEWAY, NEW))]),
    "deserves_attempt": (
        [(d(), restart(By.PERSON)), (d(), restart(By.GATEWAY, NEW))],
        [
            (d(), restart(By.GATEWAY)),
            (d(), restart(By.GATEWAY, replace(OLD, revision="b", policy=ChannelPolicy()))),
        ],
    ),
    "network_refuses": (
        [(d(), ended(Cause.REFUSED))],
        [(d(), ended(cause)) for cause in Cause if cause is not Cause.REFUSED],
    ),
    "somebody_else_receives": (
        [(d(), ended(Cause.CONFLICT))],
        [(d(), ended(cause)) for cause in Cause if cause is not Cause.CONFLICT],
    ),
    "starts_are_spent": (
        [(d(), ended(Cause.SPENT))],
        [(d(), ended(cause)) for cause in Cause if cause is not Cause.SPENT],
    ),
    "another_host_may_receive": (
        [(d(), ended(Cause.STANDBY))],
        [(d(), ended(cause)) for cause in Cause if cause is not Cause.STANDBY],
    ),
    "lease_has_come": ([(d(lease_came=True), ended())], [(d(), ended())]),
    "waits_for_the_lease": (
        [(d(last_cause=Cause.STANDBY), LeaseGained())],
        [(d(last_cause=cause), LeaseGained()) for cause in Cause if cause is not Cause.STANDBY],
    ),
    "intensity_is_spent": (
        [
            (d(failures=(701.0, 999.0)), ended(at=1000.0)),
            (d(failures=(1.0, 2.0, 701.0, 702.0)), ReceiverFenced(4, 1000.0)),
            (d(half_open=True), ended(at=1000.0)),
            (d(run=run_of(policy=replace(PATIENCE, intensity=1))), ended()),
        ],
        [
            (d(), ended(at=1000.0)),
            (d(failures=(999.0,)), ended(at=1000.0)),
            (d(failures=(700.0, 999.0)), ended(at=1000.0)),
            (d(failures=(1.0, 2.0, 3.0, 701.0)), ReceiverFenced(4, 1000.0)),
            (d(failures=(998.0, 999.0), run=run_of(policy=replace(PATIENCE, intensity=4))), ended(at=1000.0)),
            (d(failures=(998.0, 999.0), run=run_of(policy=replace(PATIENCE, period=1.0))), ended(at=1000.0)),
        ],
    ),
    "runs_again": ([(d(then=Then.RUN), ended())], [(d(then=Then.REST), ended()), (d(then=Then.RETRY), ended())]),
    "conflict_is_open": ([(d(conflict_since=0.0), ReceiverReady(4))], [(d(conflicts=(1.0,)), ReceiverReady(4))]),
    "slept_through_the_wait": (
        [(d(wait=45.0), HostWoke(45.0)), (d(wait=0.0), HostWoke(45.0))],
        [(d(wait=45.1), HostWoke(45.0)), (d(wait=120.0), HostWoke(119.0))],
    ),
    "rests": ([(d(then=Then.REST), ended())], [(d(then=Then.RUN), ended()), (d(then=Then.RETRY), ended())]),
}


class TestTable(TableTests):
    """Each row, each cell, each guard."""

    machine = Channel
    rows = ROWS
    allowed = ALLOWED
    events = 17
    guards = GUARDS
    guarded_in = S.RUNNING

    def variants(self, state: Enum, case: Case) -> Iterator[tuple[ChannelData, Event]]:
        yield case.data, case.event
        yield replace(case.data, timer=8, generation=5), case.event
        yield replace(case.data, held=True), case.event
        if isinstance(case.event, Start | Restart):
            yield case.data, type(case.event)(OFF, case.event.by)


REFUSED = [
    ("a disabled account is not started", S.STOPPED, d(), start(run=OFF), "is_enabled"),
    ("nor restarted, stopped", S.STOPPED, d(), restart(By.PERSON, OFF), "is_enabled"),
    *(("nor restarted, live", state, d(), restart(By.PERSON, OFF), "is_enabled") for state in LIVE),
    *(("nor restarted, ended", state, d(), restart(By.PERSON, OFF), "is_enabled") for state in ENDED),
    *(("nor started, ended", state, d(), start(By.PERSON, OFF), "is_enabled") for state in ENDED),
    ("the gateway does not start what a person stopped", S.STOPPED, d(held=True), start(By.GATEWAY), "may_start"),
    ("nor restart it", S.STOPPED, d(held=True), restart(run=NEW), "may_start"),
    *(("nor while it ends", state, d(held=True), restart(run=NEW), "may_start") for state in CLOSING),
    *(("the gateway waits where a wait is", state, d(), start(By.GATEWAY, NEW), "asked_by_person") for state in ENDED),
    ("the same settings do not mend a refused account", S.FAILED, d(), restart(), "deserves_attempt"),
    *(("a stale end", state, d(), ended(generation=3), "generation_is_current") for state in LIVE),
    *(("an end from the future", state, d(), ended(generation=5), "generation_is_current") for state in LIVE),
    ("a stale stall", S.RUNNING, d(), ReceiverStalled(3), "generation_is_current"),
    ("a stale end of a conflict", S.RUNNING, d(conflict_since=1.0), ConflictOver(6), "timer_is_current"),
    (
        "a stale first receive after a conflict",
        S.STARTING,
        d(conflict_since=1.0),
        ReceiverReady(3),
        "generation_is_current",
    ),
    ("a stale first receive", S.STARTING, d(), ReceiverReady(3), "generation_is_current"),
    ("a stale fence", S.STOP_OVERDUE, d(), ReceiverFenced(3, 0.0), "generation_is_current"),
    ("a stale failure of a fence", S.STOP_OVERDUE, d(), FenceFailed(3, "x"), "generation_is_current"),
    ("a stale start deadline", S.STARTING, d(), StartOverdue(6), "timer_is_current"),
    ("a stale stop deadline", S.STOPPING, d(), StopOverdue(6), "timer_is_current"),
    ("a stale fence timer", S.STOP_OVERDUE, d(), FenceDue(6), "timer_is_current"),
    *(("a stale retry", state, d(), RetryDue(6), "timer_is_current") for state in WAITING),
]


@pytest.mark.parametrize(
    ("state", "data", "event", "name"),
    [refused[1:] for refused in REFUSED],
    ids=[f"{refused[0]}: {refused[1].value}" for refused in REFUSED],
)
def test_the_whole_table_refuses_and_names_the_guard(state, data, event, name):
    machine = channel(state, data)
    refusal = machine.fire(event)
    assert isinstance(refusal, Refusal), "accepted"
    assert name in refusal.guards
    assert not any(holds(Channel, guard, data, event) for guard in refusal.guards)
    assert (machine.state, machine.data) == (state, data)


# What can be asked of a machine


@pytest.mark.parametrize("state", S, ids=lambda state: state.value)
def test_what_can_be_asked_of_a_machine(state):
    machine = channel(state)
    under_way = {S.STARTING, S.STOPPING, S.STOP_OVERDUE}
    assert is_settled(machine) == (state not in under_way) == (state in SETTLED)
    assert has_let_go(machine) == (state not in {S.STOPPING, S.STOP_OVERDUE})
    assert is_stopped(machine) == (state is S.STOPPED)
    assert is_running(machine) == (state is S.RUNNING)
    assert not is_broken(machine)


@pytest.mark.parametrize("cause", Cause, ids=lambda cause: cause.value)
def test_only_a_crash_of_the_adapter_is_a_broken_account(cause):
    """What the network does to an account is no fault of the reload that was applied to it."""
    story = Story(channel(S.STARTING))
    story.machine.fire(ended(cause))
    assert is_broken(story.machine) == (cause is Cause.CRASHED)
    assert not is_broken(channel(S.RUNNING, d(last_cause=cause)))
    if cause is Cause.CRASHED:
        story.fire(RetryDue(story.token), S.STARTING)
        story.fire(ReceiverReady(story.generation), S.RUNNING)
        assert not is_broken(story.machine)


# Stories


def running() -> Story:
    """Generation 1 is running."""
    story = Story(Channel("telegram/main", ChannelData()))
    story.fire(start(By.GATEWAY), S.STARTING)
    story.fire(ReceiverReady(story.generation), S.RUNNING)
    return story


def stopping() -> Story:
    story = running()
    story.fire(Stop(By.GATEWAY), S.STOPPING)
    return story


def overdue() -> Story:
    """The receiver of generation 1 was told to end and does not."""
    story = stopping()
    story.ring(S.STOP_OVERDUE)
    return story


def broken(cause: Cause, after: ChannelState) -> Story:
    story = running()
    story.fire(ended(cause, generation=1), after)
    return story


def generations(story: Story) -> list[int]:
    return [effect.generation for effect in story.said(OpenReceiver)]


def test_a_restart_during_a_stop_joins_it_and_the_newest_run_follows():
    story = stopping()
    story.fire(restart(run=NEW), S.STOPPING, Outcome.COALESCED)
    story.fire(restart(run=OLD), S.STOPPING, Outcome.COALESCED)
    story.fire(restart(run=NEW), S.STOPPING, Outcome.COALESCED)
    assert generations(story) == [1], "nothing is opened while the old one lives"
    assert len(story.said(CloseReceiver)) == 1, "nor is it told twice"
    effects = story.fire(ended(Cause.CLOSED, generation=1), S.STARTING)
    assert only(effects, OpenReceiver) == OpenReceiver(2, NEW)


def test_a_stop_during_a_restart_wins():
    story = running()
    story.fire(restart(run=NEW), S.STOPPING)
    story.fire(Stop(By.GATEWAY), S.STOPPING, Outcome.COALESCED)
    story.fire(ended(Cause.CLOSED, generation=1), S.STOPPED)
    assert generations(story) == [1]


def test_a_restart_opens_the_next_generation_only_when_the_old_one_has_ended():
    story = running()
    effects = story.fire(restart(run=NEW), S.STOPPING)
    assert effects == (CloseReceiver(1, confirm=False), armed(StopOverdue(story.token), 8.0))
    effects = story.fire(ended(Cause.CLOSED, generation=1), S.STARTING)
    assert only(effects, OpenReceiver) == OpenReceiver(2, NEW)
    story.refuse(ReceiverReady(1), "generation_is_current")
    story.fire(ReceiverReady(2), S.RUNNING)
    assert story.armed is None


def test_a_persons_stop_survives_what_the_gateway_asks_for():
    story = running()
    story.fire(Stop(By.PERSON), S.STOPPING)
    story.refuse(restart(By.GATEWAY, NEW), "may_start")
    story.fire(ended(Cause.CLOSED, generation=1), S.STOPPED)
    story.refuse(start(By.GATEWAY, NEW), "may_start")
    story.refuse(restart(By.GATEWAY, NEW), "may_start")
    story.fire(Stop(By.GATEWAY), S.STOPPED, Outcome.COALESCED)
    story.refuse(start(By.GATEWAY), "may_start")
    story.fire(start(By.PERSON), S.STARTING)
    assert not story.data.held


def test_a_stop_by_the_gateway_is_not_remembered():
    story = stopping()
    story.fire(ended(Cause.CLOSED, generation=1), S.STOPPED)
    story.fire(start(By.GATEWAY, NEW), S.STARTING)


@pytest.mark.parametrize(
    ("cause", "after"),
    [(Cause.LOST, S.BACKOFF), (Cause.CONFLICT, S.CONFLICT), (Cause.REFUSED, S.FAILED)],
    ids=["backoff", "conflict", "failed"],
)
def test_a_persons_stop_during_a_wait_ends_the_wait_and_is_remembered(cause, after):
    story = broken(cause, after)
    token = story.token
    story.fire(Stop(By.PERSON), S.STOPPED)
    assert story.armed is None
    story.refuse(RetryDue(token))
    story.refuse(start(By.GATEWAY, NEW), "may_start")


def test_a_start_while_a_receiver_lives_is_refused():
    for story in (running(), stopping(), overdue()):
        story.refuse(start(By.PERSON, NEW))


def test_nothing_starts_while_the_old_receiver_may_live():
    """Neither a person nor the gateway nor a timer nor an old generation opens anything."""
    story = overdue()
    assert story.effects[-1] == FenceReceiver(1)
    story.refuse(start(By.PERSON, NEW))
    story.refuse(RetryDue(story.token))
    story.refuse(StopOverdue(story.token))
    story.refuse(ReceiverReady(1))
    story.refuse(ended(Cause.CLOSED, generation=0), "generation_is_current")
    story.refuse(ReceiverFenced(0, 0.0), "generation_is_current")
    story.refuse(ReceiverFenced(2, 0.0), "generation_is_current")
    story.fire(restart(By.PERSON, NEW), S.STOP_OVERDUE, Outcome.COALESCED)
    for _ in range(3):
        story.fire(FenceFailed(1, "stuck"), S.STOP_OVERDUE, Outcome.DEFERRED)
        assert story.armed == armed(FenceDue(story.token), PATIENCE.fence_retry)
        assert story.ring(S.STOP_OVERDUE) == (FenceReceiver(1),)
    assert generations(story) == [1]
    effects = story.fire(ReceiverFenced(1, 1000.0), S.STARTING)
    assert only(effects, OpenReceiver) == OpenReceiver(2, NEW)


def test_a_receiver_that_ends_late_is_as_good_as_a_fence_and_the_fence_is_stale_then():
    story = overdue()
    story.fire(restart(run=NEW), S.STOP_OVERDUE, Outcome.COALESCED)
    effects = story.fire(ended(Cause.CLOSED, generation=1), S.STARTING)
    assert only(effects, OpenReceiver) == OpenReceiver(2, NEW)
    story.refuse(ReceiverFenced(1, 1000.0))
    story.fire(Stop(By.GATEWAY), S.STOPPING)
    story.ring(S.STOP_OVERDUE)
    story.refuse(ReceiverFenced(1, 1000.0), "generation_is_current")
    story.refuse(FenceFailed(1, "x"), "generation_is_current")


def test_a_fenced_receiver_that_ends_later_is_stale():
    story = overdue()
    story.fire(restart(run=NEW), S.STOP_OVERDUE, Outcome.COALESCED)
    story.fire(ReceiverFenced(1, 1000.0), S.STARTING)
    story.refuse(ended(Cause.CLOSED, generation=1), "generation_is_current")
    story.fire(ReceiverReady(2), S.RUNNING)
    story.refuse(ended(Cause.CONFLICT, generation=1), "generation_is_current")


def test_a_stopped_account_that_was_cut_off_stays_stopped():
    story = overdue()
    story.fire(ReceiverFenced(1, 1000.0), S.STOPPED)
    story.refuse(ended(Cause.CLOSED, generation=1))
    assert story.armed is None


def test_what_the_network_refuses_is_left_only_by_a_person_or_new_settings():
    for event in (start(By.PERSON), restart(By.PERSON), restart(By.GATEWAY, NEW)):
        story = broken(Cause.REFUSED, S.FAILED)
        assert story.armed is None, "no timer brings it back"
        story.refuse(start(By.GATEWAY), "asked_by_person")
        story.refuse(start(By.GATEWAY, NEW), "asked_by_person")
        story.refuse(restart(By.GATEWAY), "deserves_attempt")
        story.refuse(RetryDue(story.token))
        story.fire(event, S.STARTING)


def test_a_conflict_waits_for_a_long_poll_and_a_margin_each_time():
    story = broken(Cause.CONFLICT, S.CONFLICT)
    for generation in (2, 3, 4):
        assert story.armed == armed(RetryDue(story.token), PATIENCE.conflict_wait)
        story.ring(S.STARTING)
        story.fire(ended(Cause.CONFLICT, at=1000.0 + generation, generation=generation), S.CONFLICT)
    assert len(story.data.conflicts) == 4
    assert story.data.failures == (), "a conflict is no failure: it is never suppressed"
    story.fire(restart(), S.CONFLICT, Outcome.DEFERRED)
    assert story.armed == armed(RetryDue(story.token), PATIENCE.conflict_wait), "nor hurried by a reload"


def test_conflicts_are_counted_over_an_hour():
    story = broken(Cause.CONFLICT, S.CONFLICT)
    story.ring(S.STARTING)
    story.fire(ended(Cause.CONFLICT, at=1000.0 + 3600.0, generation=2), S.CONFLICT)
    assert story.data.conflicts == (4600.0,)


def patient() -> Story:
    """An account that is never suppressed."""
    story = Story(Channel("telegram/main", ChannelData()))
    story.fire(start(run=run_of(policy=replace(PATIENCE, intensity=10**6))), S.STARTING)
    return story


def test_backoff_doubles_up_to_a_cap_and_begins_anew_after_success():
    story = patient()
    waits = []
    for at_time in range(8):
        effects = story.fire(ended(at=float(at_time), generation=story.generation), S.BACKOFF)
        waits.append(only(effects, ArmTimer))
        story.ring(S.STARTING)
    assert [wait.after for wait in waits] == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    assert all(wait.jitter and wait.at_least == 0.0 and wait.at is None for wait in waits)
    story.fire(ReceiverReady(story.generation), S.RUNNING)
    effects = story.fire(ended(at=99.0, generation=story.generation), S.BACKOFF)
    assert only(effects, ArmTimer).after == 1.0


def test_backoff_is_never_shorter_than_the_network_asked_for():
    story = patient()
    effects = story.fire(ended(generation=1, retry_after=77.0), S.BACKOFF)
    assert only(effects, ArmTimer) == backoff(story.token, 1.0, 77.0)
    story.ring(S.STARTING)
    effects = story.fire(ended(generation=2), S.BACKOFF)
    assert only(effects, ArmTimer) == backoff(story.token, 2.0, 0.0)


def test_a_year_of_attempts_does_not_overflow():
    story = Story(channel(S.STARTING, d(attempts=10**9)))
    effects = story.fire(ended(), S.BACKOFF)
    assert only(effects, ArmTimer).after == PATIENCE.backoff_cap


def suppressed() -> Story:
    """Three failures in a row, which is the intensity."""
    story = running()
    for generation in (1, 2):
        story.fire(ended(at=1000.0 + generation, generation=generation), S.BACKOFF)
        story.ring(S.STARTING)
    story.fire(ended(at=1003.0, generation=3), S.SUPPRESSED)
    return story


def test_too_many_failures_suppress_the_account_and_a_single_attempt_follows():
    story = suppressed()
    assert story.armed == armed(RetryDue(story.token), PATIENCE.half_open_after)
    story.ring(S.STARTING)
    assert story.data.half_open
    story.fire(ended(at=9000.0, generation=4), S.SUPPRESSED)
    assert not story.data.half_open
    assert story.armed == armed(RetryDue(story.token), PATIENCE.half_open_after), "long after the period, too"
    story.ring(S.STARTING)
    story.fire(ReceiverReady(5), S.RUNNING)
    assert not story.data.half_open
    story.fire(ended(at=9500.0, generation=5), S.BACKOFF)


def test_a_suppressed_account_waits_no_shorter_than_its_network_asked_for():
    for cause in (Cause.LOST, Cause.SPENT):
        story = suppressed()
        story.ring(S.STARTING)
        story.fire(ended(cause, at=9000.0, generation=4, retry_after=600.0), S.SUPPRESSED)
        assert story.armed == armed(RetryDue(story.token), PATIENCE.half_open_after, 600.0)
        assert story.data.wait == 600.0


def test_one_whose_starts_are_spent_is_suppressed_at_once_and_by_whatever_road_it_is_tried():
    """A person, new settings, a long sleep: each attempt is refused again, and leads back to the wait."""
    roads = (start(), restart(By.PERSON), restart(By.GATEWAY, NEW), HostWoke(50_000.0))
    for road in roads:
        story = running()
        story.fire(ended(Cause.SPENT, generation=1, retry_after=40_000.0), S.SUPPRESSED)
        story.refuse(start(By.GATEWAY), "asked_by_person")
        story.fire(restart(By.GATEWAY), S.SUPPRESSED, Outcome.DEFERRED)
        story.fire(HostWoke(39_999.0), S.SUPPRESSED, Outcome.COALESCED)
        story.fire(road, S.STARTING)
        story.fire(ended(Cause.SPENT, at=1100.0, generation=2, retry_after=39_900.0), S.SUPPRESSED)
        assert story.armed == armed(RetryDue(story.token), PATIENCE.half_open_after, 39_900.0)


def test_a_single_attempt_that_takes_too_long_is_a_failed_one():
    story = suppressed()
    story.ring(S.STARTING)
    story.ring(S.STOPPING)
    story.fire(ended(Cause.CLOSED, at=9000.0, generation=4, why=""), S.SUPPRESSED)
    assert story.data.last_error == "the start did not end in time"


def test_failures_that_lie_apart_do_not_suppress():
    story = running()
    for generation in range(1, 20):
        story.fire(ended(at=generation * 150.0, generation=generation), S.BACKOFF)
        story.ring(S.STARTING)


def test_a_person_or_new_settings_end_the_suppression_and_forget_what_led_to_it():
    for event in (start(By.PERSON), restart(By.PERSON), restart(By.GATEWAY, run_of("another token"))):
        story = suppressed()
        story.refuse(start(By.GATEWAY), "asked_by_person")
        story.fire(restart(By.GATEWAY), S.SUPPRESSED, Outcome.DEFERRED)
        story.fire(event, S.STARTING)
        assert (story.data.failures, story.data.attempts, story.data.half_open) == ((), 0, False)
        story.fire(ended(at=1004.0, generation=4), S.BACKOFF)


def test_a_start_that_takes_too_long_is_tried_again_after_its_receiver_has_ended():
    story = Story(Channel("telegram/main", ChannelData()))
    story.fire(start(), S.STARTING)
    assert story.ring(S.STOPPING)[0] == CloseReceiver(1, confirm=False)
    story.refuse(ReceiverReady(1))
    story.fire(ended(Cause.CLOSED, generation=1, why=""), S.BACKOFF)
    assert generations(story) == [1]
    story.ring(S.STARTING)
    assert generations(story) == [1, 2]


def test_a_stop_during_the_end_of_an_overdue_start_wins():
    story = Story(Channel("telegram/main", ChannelData()))
    story.fire(start(), S.STARTING)
    story.ring(S.STOPPING)
    story.fire(Stop(By.GATEWAY), S.STOPPING, Outcome.COALESCED)
    story.fire(ended(Cause.CLOSED, generation=1), S.STOPPED)


def test_a_reload_with_the_same_settings_does_not_hurry_a_wait():
    """The run is adopted; the timer that is armed stays."""
    story = broken(Cause.LOST, S.BACKOFF)
    before = story.armed
    assert story.fire(restart(run=replace(OLD, revision="b")), S.BACKOFF, Outcome.DEFERRED) == ()
    assert story.armed is before
    effects = story.ring(S.STARTING)
    assert only(effects, OpenReceiver).run.revision == "b"


@pytest.mark.parametrize("cause", Cause, ids=lambda cause: cause.value)
def test_starts_are_spent_while_it_waits_for_the_next_one(cause):
    story = Story(channel(S.RUNNING, d(failures=(999.0, 999.5))))
    story.machine.fire(ended(cause))
    assert has_spent_its_starts(story.machine) == (cause is Cause.SPENT)
    if cause is Cause.SPENT:
        story.fire(RetryDue(story.token), S.STARTING)
        assert not has_spent_its_starts(story.machine)


# Properties, over random sequences of events

SEEDS, STEPS = 500, 60


def number(random: Random, current: int) -> int:
    """Mostly the current one."""
    return current if random.random() < 0.75 else current + random.choice((-2, -1, 1))


QUICK = replace(PATIENCE, intensity=2)
RUNS = (run_of(policy=QUICK), run_of("new token", policy=QUICK), run_of("new token", "b", policy=QUICK), OFF)
CAUSES = (*Cause, Cause.LOST, Cause.LOST, Cause.CRASHED)
MAKERS: dict[Callable[[Random, ChannelData, float], Event], int] = {
    lambda r, d, now: Start(r.choice(RUNS), r.choice((By.PERSON, By.GATEWAY))): 4,
    lambda r, d, now: Restart(r.choice(RUNS), r.choice((By.PERSON, By.GATEWAY))): 3,
    lambda r, d, now: Stop(r.choice((By.PERSON, By.GATEWAY)), r.random() < 0.5): 1,
    lambda r, d, now: ReceiverReady(number(r, d.generation)): 4,
    lambda r, d, now: ended(r.choice(CAUSES), now, number(r, d.generation)): 6,
    lambda r, d, now: StartOverdue(number(r, d.timer)): 2,
    lambda r, d, now: StopOverdue(number(r, d.timer)): 4,
    lambda r, d, now: RetryDue(number(r, d.timer)): 4,
    lambda r, d, now: FenceDue(number(r, d.timer)): 3,
    lambda r, d, now: ReceiverFenced(number(r, d.generation), now): 3,
    lambda r, d, now: FenceFailed(number(r, d.generation), "stuck"): 3,
    lambda r, d, now: ReceiverStalled(number(r, d.generation)): 1,
    lambda r, d, now: HostWoke(r.choice((45.0, 100.0, 3600.0))): 1,
    lambda r, d, now: LeaseGained(): 1,
    lambda r, d, now: LeaseLost(): 1,
    lambda r, d, now: ConflictOver(number(r, d.timer)): 1,
}
MAKERS_UP_TO = tuple(accumulate(MAKERS.values()))
DEADLINES = {
    S.STARTING: StartOverdue,
    S.STOPPING: StopOverdue,
    S.BACKOFF: RetryDue,
    S.CONFLICT: RetryDue,
    S.SUPPRESSED: RetryDue,
}


class Watch:
    """Follows one machine, and asserts after each step what must always be true."""

    def __init__(self) -> None:
        self.machine = Channel("telegram/main", ChannelData())
        self.alive: int | None = None
        """The generation whose receiver may receive."""
        self.newest = 0
        self.wanted_by_person = True
        """No person has stopped it since one started it."""
        self.armed: Event | None = None
        self.fencing = False
        self.watched: int | None = None

    def fire(self, event: Event) -> None:
        state, before = self.machine.state, self.machine.data
        answer = self.machine.fire(event)
        if isinstance(answer, Refusal):
            assert self.machine.state is state
            assert self.machine.data is before
            return
        self._hear(event)
        for effect in answer.effects:
            self._follow(effect)
        self._look()

    def _hear(self, event: Event) -> None:
        """What the accepted event says, before what the step asks for."""
        if event == self.armed:
            self.armed = None
        if isinstance(event, ReceiverEnded | ReceiverFenced):
            assert event.generation == self.alive, "the word of another generation was taken"
            self.alive, self.fencing = None, False
        elif isinstance(event, ReceiverReady):
            assert event.generation == self.alive
        elif isinstance(event, FenceFailed):
            self.fencing = False
        elif isinstance(event, Stop) and event.by is By.PERSON:
            self.wanted_by_person = False
        elif isinstance(event, Start | Restart) and event.by is By.PERSON:
            self.wanted_by_person = True

    def _follow(self, effect: object) -> None:
        if isinstance(effect, OpenReceiver):
            assert self.alive is None, f"generation {effect.generation} beside {self.alive}"
            assert effect.generation > self.newest
            assert effect.run.enabled
            assert self.wanted_by_person, "a person stopped it"
            self.alive = self.newest = effect.generation
        elif isinstance(effect, CloseReceiver | FenceReceiver):
            assert effect.generation == self.alive
            self.fencing = self.fencing or isinstance(effect, FenceReceiver)
        elif isinstance(effect, WatchReceiver):
            assert effect.generation == self.alive
            self.watched = self.alive
        elif isinstance(effect, ArmTimer):
            self.armed = effect.then
        elif isinstance(effect, DisarmTimer):
            self.armed = None

    def _look(self) -> None:
        state, data = self.machine.state, self.machine.data
        assert (self.alive is not None) == (state in LIVE)
        assert self.alive in (None, data.generation)
        assert data.generation == self.newest
        assert not data.held or state in (S.STOPPED, *CLOSING)
        assert data.then is Then.REST or state not in OPEN
        assert data.then is not Then.RUN or state in CLOSING
        assert not data.half_open or state in LIVE
        if state is S.STOP_OVERDUE:
            assert self.fencing or self.armed == FenceDue(data.timer), "nothing would ever free it"
        elif waits_for_lease(self.machine):
            assert self.armed is None, "its lease ends it, and no timer"
        elif state in DEADLINES:
            assert self.armed == DEADLINES[state](data.timer), "nothing would ever end it"
        elif state is S.RUNNING and data.conflict_since is not None:
            assert self.armed == ConflictOver(data.timer), "it would never be over"
        else:
            assert self.armed is None
        assert state is not S.RUNNING or self.watched == self.alive, "nobody would see it hang"


def wander(seed: int, steps: int) -> Counter[ChannelState]:
    random, seen = Random(seed), Counter[ChannelState]()
    watch, now = Watch(), 0.0
    makers = tuple(MAKERS)
    for _ in range(steps):
        now += random.uniform(0, 10)
        watch.fire(random.choices(makers, cum_weights=MAKERS_UP_TO)[0](random, watch.machine.data, now))
        seen[watch.machine.state] += 1
    return seen


def test_never_two_receivers_whatever_happens():
    """Between two `OpenReceiver` lies the accepted end or fence of the older one; generations only ever grow."""
    seen: Counter[ChannelState] = Counter()
    for seed in range(SEEDS):
        try:
            seen += wander(seed, STEPS)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error!r}") from error
    assert set(seen) == set(S), "the wandering is worth nothing where it does not come"
    assert min(seen.values()) > SEEDS * STEPS / 200


# Faults that the table had, and what holds in their place


def test_an_account_that_crashed_and_was_stopped_as_asked_is_not_broken():
    """Else the reload that disables or removes a crashing account counts as failed, and the gateway restarts."""
    story = broken(Cause.CRASHED, S.BACKOFF)
    story.fire(Stop(By.GATEWAY), S.STOPPED)
    assert not is_broken(story.machine)


def test_a_goodbye_that_is_asked_for_while_the_receiver_ends_is_said():
    """A stop of the gateway may meet an account in the middle of a reload; nobody confirms after it."""
    story = running()
    story.fire(restart(run=NEW), S.STOPPING)
    effects = story.fire(Stop(By.GATEWAY, confirm=True), S.STOPPING, Outcome.COALESCED)
    assert CloseReceiver(1, confirm=True) in effects


def test_new_settings_during_the_single_attempt_are_no_single_attempt():
    """The next generation runs with other settings; its first failure is an ordinary one, as after `suppressed`."""
    story = suppressed()
    story.ring(S.STARTING)
    story.fire(restart(By.GATEWAY, NEW), S.STOPPING)
    story.fire(ended(Cause.CLOSED, at=9000.0, generation=4), S.STARTING)
    assert not story.data.half_open


@pytest.mark.parametrize("event", [start(By.PERSON), restart(By.PERSON)], ids=["start", "restart"])
def test_a_persons_stop_and_start_is_as_good_as_a_start(event):
    """A start out of `suppressed` forgets the failures; a stop before it must not bring them back.

    A restart of what is stopped is a start.
    """
    story = suppressed()
    story.fire(Stop(By.PERSON), S.STOPPED)
    story.fire(event, S.STARTING)
    assert (story.data.failures, story.data.attempts) == ((), 0)


# Stalls, sleep, and conflicts that come back


def test_a_stall_is_one_failure_and_the_next_generation_waits_for_the_old_one_to_end():
    story = running()
    effects = story.fire(ReceiverStalled(1), S.STOPPING)
    assert effects == (CloseReceiver(1, confirm=False), armed(StopOverdue(story.token), 6.0))
    story.refuse(ReceiverStalled(1))
    story.fire(ended(Cause.CLOSED, generation=1, why=""), S.BACKOFF)
    assert story.data.failures == (1000.0,)
    assert "does not answer" in story.data.last_error
    assert generations(story) == [1]
    story.ring(S.STARTING)
    story.refuse(ReceiverStalled(1))
    story.fire(ReceiverReady(2), S.RUNNING)
    story.refuse(ReceiverStalled(1), "generation_is_current")


def test_a_stalled_receiver_that_will_not_die_is_cut_off_before_the_next_begins():
    story = running()
    story.fire(ReceiverStalled(1), S.STOPPING)
    assert FenceReceiver(1) in story.ring(S.STOP_OVERDUE)
    story.fire(ReceiverFenced(1, 1000.0), S.BACKOFF)
    assert generations(story) == [1]
    story.ring(S.STARTING)
    assert generations(story) == [1, 2]


def test_a_sleep_counts_no_failure():
    story = running()
    story.fire(HostWoke(3600.0), S.STOPPING)
    story.fire(ended(Cause.LOST, generation=1), S.STARTING)
    assert (story.data.failures, story.data.attempts, story.data.last_error) == ((), 0, "")
    story.fire(ReceiverReady(2), S.RUNNING)


def test_a_person_stops_an_account_and_no_sleep_wakes_it():
    story = running()
    story.fire(Stop(By.PERSON), S.STOPPING)
    story.fire(HostWoke(3600.0), S.STOPPING, Outcome.COALESCED)
    story.fire(ended(Cause.CLOSED, generation=1), S.STOPPED)
    story.fire(HostWoke(3600.0), S.STOPPED, Outcome.COALESCED)
    assert generations(story) == [1]
    assert story.data.held


def test_a_conflict_that_comes_back_began_when_it_first_came():
    story = running()
    story.fire(ended(Cause.CONFLICT, at=1000.0, generation=1), S.CONFLICT)
    story.ring(S.STARTING)
    story.fire(ReceiverReady(2), S.RUNNING)
    assert story.data.conflict_since == 1000.0, "our first poll has ended the other's, no more"
    story.fire(ended(Cause.CONFLICT, at=1050.0, generation=2), S.CONFLICT)
    assert story.data.conflict_since == 1000.0
    story.ring(S.STARTING)
    story.fire(ReceiverReady(3), S.RUNNING)
    assert story.armed == armed(ConflictOver(story.token), PATIENCE.conflict_wait)
    story.ring(S.RUNNING)
    assert story.data.conflict_since is None
    assert len(story.data.conflicts) == 2, "they are counted on"


def test_the_end_of_a_conflict_is_not_told_by_a_generation_that_is_gone():
    story = running()
    story.fire(ended(Cause.CONFLICT, at=1000.0, generation=1), S.CONFLICT)
    story.ring(S.STARTING)
    story.fire(ReceiverReady(2), S.RUNNING)
    over = ConflictOver(story.token)
    story.fire(HostWoke(50.0), S.STOPPING)
    story.refuse(over)
    story.fire(ended(Cause.CLOSED, generation=2), S.STARTING)
    story.fire(ReceiverReady(3), S.RUNNING)
    story.refuse(over, "timer_is_current")
    assert story.data.conflict_since == 1000.0
