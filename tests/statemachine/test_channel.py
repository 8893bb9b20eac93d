"""The channel's table: each row, each cell, each guard, and above all: never two receivers of one account."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any

import pytest
from msgspec.structs import replace

from statemachine import Channel, ChannelState, Event, Outcome, Refusal
from statemachine.channel import (
    CLOSING,
    LIVE,
    OPEN,
    WAITING,
    ChannelData,
    Then,
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
from statemachine.effects import DisarmTimer

from .builders import (
    NEW,
    OFF,
    OLD,
    PATIENCE,
    Case,
    armed,
    backoff,
    channel,
    channel_data,
    ended,
    holds,
    restart,
    run_of,
    start,
)
from .tables import TableTests

S = ChannelState

ENDED = (S.BACKOFF, S.CONFLICT, S.SUPPRESSED, S.FAILED)
"""There is no receiver, although one is wanted."""


def d(**changes: Any) -> ChannelData:
    """Generation 4 and timer 7 are current."""
    return channel_data(**changes)


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
