"""The lifecycle's table: each row, each cell, each guard, and the stories that the rows tell together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from enum import Enum
from itertools import accumulate
from random import Random
from typing import Any
from unittest.mock import ANY

import pytest
from msgspec.structs import replace

from statemachine import Effect, Event, Lifecycle, LifecycleState, Outcome, Refusal
from statemachine.effects import ArmTimer, DisarmTimer
from statemachine.lifecycle import ALIVE, BUSY, SERVING, TABLE, is_restarting, is_serving
from statemachine.lifecycle_data import LifecycleData, Waiting
from statemachine.lifecycle_events import (
    AbandonPlan,
    ApplyPlan,
    Boot,
    CancelWork,
    CheckReadiness,
    CloseTicket,
    ConfigChanged,
    ConfigRejected,
    ConfigUnfit,
    Exit,
    Handover,
    HurryStop,
    Impact,
    LifecyclePolicy,
    OpenGateway,
    Origin,
    PlanApplied,
    PlanFailed,
    ReloadOverdue,
    ReplaceProcess,
    RestartBy,
    RestartCancelled,
    RestartDue,
    Restarted,
    RestartFailed,
    RestartGateway,
    RestartOverdue,
    RestartReady,
    RestartRequested,
    ReviewConfig,
    SettleRevision,
    Started,
    StartFailed,
    StartOverdue,
    StopFailed,
    StopFinished,
    StopGateway,
    StopOverdue,
    StopRequested,
    TicketOpened,
    Vacated,
    VacateGateway,
    WarnOfWaiting,
    WorkInFlight,
)

from .builders import (
    POLICY,
    Case,
    Story,
    changed,
    lifecycle,
    lifecycle_data,
    only,
    ticket,
)
from .tables import TableTests

S = LifecycleState

P1, P2 = ticket("p1", 100.0), ticket("p2", 200.0)
"""Tickets of persons."""
FORCED = ticket("forced", 100.0, force=True)
FOR_B, FOR_G = ticket("for b", 100.0, "b"), ticket("for g", 150.0, "g")
"""Tickets of revisions. `g` is one that needs a restart."""
NEXT_POLICY = LifecyclePolicy(cooldown=50.0)
BY_EXEC, BY_EXIT = replace(POLICY, restart_by=RestartBy.EXEC), replace(POLICY, restart_by=RestartBy.EXIT)


def d(**changes: Any) -> LifecycleData:
    """Revision a runs, timer 7 and work 3 are current."""
    return lifecycle_data(**changes)


def armed(event: Event, after: float = 0.0, due: float | None = None) -> ArmTimer:
    return ArmTimer(event, due, after)


# Rows: one entry a row, in the order of the table

ROWS: tuple[tuple[Case, ...], ...] = (
    (
        Case(
            "boot opens the gateway", (S.STOPPED,), d(policy=LifecyclePolicy(), known=""), Boot("b", POLICY),
            S.STARTING,
            (OpenGateway(4, "b"), armed(StartOverdue(8), 61.0)),
            {"policy": POLICY, "known": "b", "applied": "b", "work": 4, "timer": 8},
        ),
        Case(
            "boot takes over what the process before has left", (S.STOPPED,), d(known=""),
            Boot("b", POLICY, Handover((P1, FOR_B), (P2,), 4)), S.STARTING,
            (
                TicketOpened(P1), TicketOpened(FOR_B), TicketOpened(P2),
                OpenGateway(4, "b"), armed(StartOverdue(8), 61.0),
            ),
            {
                "known": "b", "applied": "b", "work": 4, "timer": 8,
                "served": (P1, FOR_B), "tickets": (P2,), "restarts": 4,
            },
        ),
    ),
    (
        Case(
            "started with a ticket", (S.STARTING,), d(applied="", tickets=(P2, P1)), Started(3, "b"), S.RESTART_PENDING,
            (armed(RestartDue(8), due=100.0),),
            {"applied": "b", "waiting": Waiting.DELAY, "timer": 8},
        ),
        Case(
            "started with a ticket and a kept revision", (S.STARTING,), d(tickets=(P1,), kept="b", known="b"),
            Started(3, "a"), S.RESTART_PENDING,
            (armed(RestartDue(8), due=100.0), ReviewConfig("b")),
            {"waiting": Waiting.DELAY, "timer": 8, "kept": None, "reviewed": "b", "known": ""},
        ),
        Case(
            "started, which ends a restart; the next one after the cooldown", (S.STARTING,),
            d(served=(P1,), tickets=(P2,), restarts=4), Started(3, "a", 1000.0), S.RESTART_PENDING,
            (CloseTicket("p1", "done", ""), armed(RestartDue(8), due=1025.0)),
            {"served": (), "restarts": 5, "cooled_at": 1025.0, "waiting": Waiting.COOLDOWN, "timer": 8},
        ),
    ),
    (
        Case(
            "started", (S.STARTING,), d(applied="", waiting=Waiting.DELAY), Started(3, "b"), S.RUNNING,
            (DisarmTimer(),),
            {"applied": "b", "timer": 8, "waiting": Waiting.NOTHING},
        ),
        Case(
            "started with a kept revision", (S.STARTING,), d(kept="b", known="b"), Started(3, "a"), S.RUNNING,
            (DisarmTimer(), ReviewConfig("b")),
            {"timer": 8, "kept": None, "reviewed": "b", "known": ""},
        ),
        Case(
            "started, which ends a restart", (S.STARTING,), d(served=(P1, FOR_B)), Started(3, "a", 1000.0), S.RUNNING,
            (CloseTicket("p1", "done", ""), CloseTicket("for b", "done", ""), DisarmTimer()),
            {"served": (), "restarts": 1, "cooled_at": 1025.0, "timer": 8},
        ),
    ),
    (
        Case(
            "the start failed", (S.STARTING,), d(tickets=(P1, P2), kept="b"), StartFailed(3, "port taken", 5), S.FAILED,
            (
                DisarmTimer(), SettleRevision("b", "failed", "port taken"),
                CloseTicket("p1", "refused", "port taken"), CloseTicket("p2", "refused", "port taken"), Exit(5),
            ),
            {"timer": 8, "tickets": (), "kept": None},
        ),
    ),
    (
        Case(
            "the start took too long", (S.STARTING,), d(tickets=(P1,), kept="b"), StartOverdue(7), S.FAILED,
            (CancelWork(), SettleRevision("b", "failed", ANY), CloseTicket("p1", "refused", ANY), Exit(1)),
            {"work": 4, "tickets": (), "kept": None},
        ),
    ),
    (
        Case(
            "the revision that runs", ALIVE, d(), changed("a"), None,
            (SettleRevision("a", "noop", ANY),), outcome=Outcome.COALESCED,
        ),
        Case(
            "the revision that is being applied: it is answered when that ends", ALIVE, d(known="b", carried="b"),
            changed("b"), None, outcome=Outcome.COALESCED,
        ),
        Case(
            "the revision that is kept: it is answered when it is handled", ALIVE, d(known="b", kept="b"),
            changed("b"), None, outcome=Outcome.COALESCED,
        ),
        Case(
            "a revision that waits for a restart", ALIVE, d(known="b", tickets=(FOR_B,)), changed("b"), None,
            (SettleRevision("b", "restart_pending", ANY),), outcome=Outcome.COALESCED,
        ),
        Case(
            "a revision that was noted", ALIVE, d(known="b", drift=True), changed("b", origin=Origin.FILE), None,
            (SettleRevision("b", "noted", ANY),), outcome=Outcome.COALESCED,
        ),
        Case(
            "a known revision, whatever else is said of it", ALIVE, d(),
            changed("a", Impact.GATEWAY, base="z", origin=Origin.FILE, reload=False), None,
            (SettleRevision("a", "noop", ANY),), outcome=Outcome.COALESCED,
        ),
    ),
    (
        Case(
            "a revision while work is under way", BUSY, d(rejected="x", drift=True), changed("b"), None, (),
            {"known": "b", "kept": "b", "rejected": None, "drift": False}, Outcome.DEFERRED,
        ),
        Case(
            "a newer one takes the place of the one that is kept", BUSY, d(known="b", kept="b"), changed("c"), None,
            (SettleRevision("b", "superseded", "c"),), {"known": "c", "kept": "c"}, Outcome.DEFERRED,
        ),
        Case(
            "and of the one that is being read again", BUSY, d(known="", reviewed="b"), changed("c"), None,
            (SettleRevision("b", "superseded", "c"),), {"known": "c", "kept": "c", "reviewed": None}, Outcome.DEFERRED,
        ),
        Case(
            "the one that was read again", BUSY, d(known="", reviewed="b"), changed("b"), None, (),
            {"known": "b", "kept": "b", "reviewed": None}, Outcome.DEFERRED,
        ),
        Case(
            "a plan made against something else is kept, too: it will be made anew", BUSY, d(),
            changed("b", Impact.NONE, base="z"), None, (), {"known": "b", "kept": "b"}, Outcome.DEFERRED,
        ),
    ),
    (
        Case(
            "a plan made against what no longer runs", SERVING, d(rejected="x", drift=True, tickets=(P1,)),
            changed("b", base="z"), None,
            (ReviewConfig("b"),), {"known": "", "reviewed": "b", "rejected": None, "drift": False}, Outcome.DEFERRED,
        ),
        Case(
            "even if it says that nothing differs", SERVING, d(tickets=(P1,)), changed("b", Impact.NONE, base="z"),
            None,
            (ReviewConfig("b"),), {"known": "", "reviewed": "b"}, Outcome.DEFERRED,
        ),
    ),
    (
        Case(
            "nothing differs from what runs", (S.RUNNING,), d(rejected="x", drift=True), changed("b", Impact.NONE),
            None,
            (SettleRevision("b", "noop", ANY),), {"known": "b", "applied": "b", "rejected": None, "drift": False},
        ),
        Case(
            "nothing differs: the one that was being read again is superseded", (S.RUNNING,), d(known="", reviewed="b"),
            changed("c", Impact.NONE), None,
            (SettleRevision("b", "superseded", "c"), SettleRevision("c", "noop", ANY)),
            {"known": "c", "applied": "c", "reviewed": None},
        ),
    ),
    (
        Case(
            "nothing differs any more: no restart", (S.RESTART_PENDING,),
            d(tickets=(FOR_B, FOR_G), awaiting="b", waiting=Waiting.IDLE, deferred_since=5.0),
            changed("c", Impact.NONE), S.RUNNING,
            (
                SettleRevision("b", "superseded", "c"), SettleRevision("c", "noop", ANY), CloseTicket("for b", "superseded", ANY),
                CloseTicket("for g", "superseded", ANY), DisarmTimer(),
            ),
            {
                "known": "c", "applied": "c", "awaiting": None, "tickets": (), "timer": 8,
                "waiting": Waiting.NOTHING, "deferred_since": None,
            },
        ),
    ),
    (
        Case(
            "nothing differs any more, and a person still asks", (S.RESTART_PENDING,), d(tickets=(FOR_B, P2)),
            changed("c", Impact.NONE), None,
            (
                SettleRevision("c", "noop", ANY), CloseTicket("for b", "superseded", ANY),
                armed(RestartDue(8), due=200.0),
            ),
            {"known": "c", "applied": "c", "tickets": (P2,), "timer": 8, "waiting": Waiting.DELAY},
        ),
    ),
    (
        Case(
            "an edit of the file in reload mode off", SERVING, d(tickets=(P1,), rejected="x"),
            changed("b", origin=Origin.FILE, reload=False), None,
            (SettleRevision("b", "noted", ANY),), {"known": "b", "drift": True, "rejected": None},
        ),
    ),
    (
        Case(
            "a live change is applied, its ticket stands by", SERVING, d(rejected="x", drift=True), changed("b"),
            S.HOT_RELOADING,
            (TicketOpened(FOR_B), ApplyPlan(4, "b"), armed(ReloadOverdue(8), 62.0)),
            {
                "known": "b", "tickets": (FOR_B,), "work": 4, "carried": "b", "timer": 8,
                "rejected": None, "drift": False,
            },
        ),
        Case(
            "a channel's change during a wait for idle work", SERVING,
            d(tickets=(P1,), waiting=Waiting.IDLE, deferred_since=5.0), changed("b", Impact.CHANNEL), S.HOT_RELOADING,
            (TicketOpened(FOR_B), ApplyPlan(4, "b"), armed(ReloadOverdue(8), 62.0)),
            {
                "known": "b", "tickets": (P1, FOR_B), "work": 4, "carried": "b", "timer": 8,
                "waiting": Waiting.NOTHING,
            },
        ),
        Case(
            "the part of a gateway change that can be applied now", SERVING, d(tickets=(FOR_G,)),
            changed("b", Impact.GATEWAY, overlay=True), S.HOT_RELOADING,
            (TicketOpened(FOR_B), ApplyPlan(4, "b"), armed(ReloadOverdue(8), 62.0)),
            {"known": "b", "tickets": (FOR_G, FOR_B), "work": 4, "carried": "b", "timer": 8},
        ),
        Case(
            "the revision that was read again", SERVING, d(known="", reviewed="b"), changed("b"), S.HOT_RELOADING,
            (TicketOpened(FOR_B), ApplyPlan(4, "b"), armed(ReloadOverdue(8), 62.0)),
            {"known": "b", "reviewed": None, "tickets": (FOR_B,), "work": 4, "carried": "b", "timer": 8},
        ),
    ),
    (
        Case(
            "a gateway change waits for a restart", (S.RUNNING,), d(rejected="x", drift=True),
            changed("b", Impact.GATEWAY), S.RESTART_PENDING,
            (TicketOpened(FOR_B), armed(RestartDue(8), due=100.0), SettleRevision("b", "restart_pending", "for b")),
            {
                "awaiting": "b", "known": "b", "tickets": (FOR_B,), "timer": 8, "waiting": Waiting.DELAY,
                "rejected": None, "drift": False,
            },
        ),
        Case(
            "a call in reload mode off waits for a restart", (S.RUNNING,), d(), changed("b", reload=False),
            S.RESTART_PENDING,
            (TicketOpened(FOR_B), armed(RestartDue(8), due=100.0), SettleRevision("b", "restart_pending", "for b")),
            {"awaiting": "b", "known": "b", "tickets": (FOR_B,), "timer": 8, "waiting": Waiting.DELAY},
        ),
        Case(
            "not before the gateway has cooled", (S.RUNNING,), d(cooled_at=500.0), changed("b", Impact.GATEWAY),
            S.RESTART_PENDING,
            (TicketOpened(FOR_B), armed(RestartDue(8), due=500.0), SettleRevision("b", "restart_pending", "for b")),
            {"awaiting": "b", "known": "b", "tickets": (FOR_B,), "timer": 8, "waiting": Waiting.COOLDOWN},
        ),
    ),
    (
        Case(
            "a gateway change joins the restart that is pending", (S.RESTART_PENDING,), d(tickets=(FOR_G,)),
            changed("b", Impact.GATEWAY, due_at=300.0), None,
            (
                TicketOpened(ticket("for b", 300.0, "b")), armed(RestartDue(8), due=150.0),
                SettleRevision("b", "restart_pending", "for g"),
            ),
            {
                "awaiting": "b", "known": "b", "tickets": (FOR_G, ticket("for b", 300.0, "b")), "timer": 8, "waiting": Waiting.DELAY,
            }, Outcome.COALESCED,
        ),
        Case(
            "and pulls it in if it is due earlier", (S.RESTART_PENDING,), d(tickets=(FOR_G,)),
            changed("b", Impact.GATEWAY), None,
            (TicketOpened(FOR_B), armed(RestartDue(8), due=100.0), SettleRevision("b", "restart_pending", "for b")),
            {"awaiting": "b", "known": "b", "tickets": (FOR_G, FOR_B), "timer": 8, "waiting": Waiting.DELAY}, Outcome.COALESCED,
        ),
    ),
    (
        Case(
            "a bad file that is known", ALIVE, d(known="bad", rejected="bad"), ConfigRejected("bad", "no such key"),
            None, outcome=Outcome.COALESCED,
        ),
    ),
    (
        Case(
            "a bad file", ALIVE, d(drift=True), ConfigRejected("bad", "no such key"), None,
            (SettleRevision("bad", "rejected", "no such key"),), {"known": "bad", "rejected": "bad", "drift": False},
        ),
        Case(
            "a bad file where another was being read again", ALIVE, d(known="", reviewed="b"),
            ConfigRejected("bad", "no such key"), None,
            (SettleRevision("b", "superseded", "bad"), SettleRevision("bad", "rejected", "no such key")),
            {"known": "bad", "rejected": "bad", "reviewed": None},
        ),
        Case(
            "the review itself failed", ALIVE, d(known="", reviewed="b"), ConfigRejected("b", "unreadable"), None,
            (SettleRevision("b", "rejected", "unreadable"),), {"known": "b", "rejected": "b", "reviewed": None},
        ),
    ),
    (
        Case(
            "applied, and a person still asks for a restart", (S.HOT_RELOADING,), d(carried="b", tickets=(P2, FOR_B)),
            PlanApplied(3, "b", complete=True), S.RESTART_PENDING,
            (
                CloseTicket("for b", "superseded", ANY), SettleRevision("b", "applied", ""),
                armed(RestartDue(8), due=200.0),
            ),
            {"applied": "b", "carried": None, "tickets": (P2,), "timer": 8, "waiting": Waiting.DELAY},
        ),
        Case(
            "applied in part: the rest still needs its restart", (S.HOT_RELOADING,),
            d(carried="b", tickets=(FOR_G, FOR_B)), PlanApplied(3, "a+b", complete=False), S.RESTART_PENDING,
            (
                CloseTicket("for b", "superseded", "for g"), SettleRevision("b", "restart_pending", ""),
                armed(RestartDue(8), due=FOR_G.due_at),
            ),
            {"applied": "a+b", "carried": None, "awaiting": "b", "tickets": (FOR_G,), "timer": 8, "waiting": Waiting.DELAY},
        ),
    ),
    (
        Case(
            "applied", (S.HOT_RELOADING,), d(carried="b", known="b", tickets=(FOR_G, FOR_B)),
            PlanApplied(3, "b", complete=True), S.RUNNING,
            (
                CloseTicket("for g", "superseded", ANY), CloseTicket("for b", "superseded", ANY),
                SettleRevision("b", "applied", ""), DisarmTimer(),
            ),
            {"applied": "b", "carried": None, "tickets": (), "timer": 8},
        ),
        Case(
            "applied, and the one that was kept is read again", (S.HOT_RELOADING,),
            d(carried="b", known="c", kept="c", tickets=(FOR_B,)), PlanApplied(3, "b", complete=True), S.RUNNING,
            (
                CloseTicket("for b", "superseded", ANY), SettleRevision("b", "applied", ""), DisarmTimer(),
                ReviewConfig("c"),
            ),
            {
                "applied": "b", "carried": None, "tickets": (), "timer": 8,
                "kept": None, "reviewed": "c", "known": "",
            },
        ),
        Case(
            "applied in part, and its restart was cancelled meanwhile", (S.HOT_RELOADING,), d(carried="b"),
            PlanApplied(3, "a+b", complete=False), S.RUNNING,
            (SettleRevision("b", "noted", ""), DisarmTimer()),
            {"applied": "a+b", "carried": None, "timer": 8},
        ),
    ),
    (
        Case(
            "not applied: the ticket that stood by stands", (S.HOT_RELOADING,),
            d(carried="b", known="c", kept="c", tickets=(FOR_B,)), PlanFailed(3, "boom"), S.RESTART_PENDING,
            (AbandonPlan("b"), SettleRevision("b", "restart_pending", "boom"), armed(RestartDue(8), due=100.0), ReviewConfig("c")),
            {
                "carried": None, "awaiting": "b", "timer": 8, "waiting": Waiting.DELAY,
                "kept": None, "reviewed": "c", "known": "",
            },
        ),
    ),
    (
        Case(
            "not applied, and the ticket was cancelled", (S.HOT_RELOADING,), d(carried="b"), PlanFailed(3, "boom"),
            S.RUNNING, (AbandonPlan("b"), SettleRevision("b", "failed", "boom"), DisarmTimer()), {"carried": None, "timer": 8},
        ),
        Case(
            "not applied, and another was kept", (S.HOT_RELOADING,), d(carried="b", known="c", kept="c"),
            PlanFailed(3, "boom"), S.RUNNING,
            (AbandonPlan("b"), SettleRevision("b", "failed", "boom"), DisarmTimer(), ReviewConfig("c")),
            {"carried": None, "timer": 8, "kept": None, "reviewed": "c", "known": ""},
        ),
    ),
    (
        Case(
            "the reload took too long", (S.HOT_RELOADING,), d(carried="b", known="c", kept="c", tickets=(FOR_B,)),
            ReloadOverdue(7), S.RESTART_PENDING,
            (
                CancelWork(), AbandonPlan("b"), SettleRevision("b", "restart_pending", ANY), armed(RestartDue(8), due=100.0),
                ReviewConfig("c"),
            ),
            {
                "work": 4, "carried": None, "awaiting": "b", "timer": 8, "waiting": Waiting.DELAY,
                "kept": None, "reviewed": "c", "known": "",
            },
        ),
    ),
    (
        Case(
            "the reload took too long, and the ticket was cancelled", (S.HOT_RELOADING,),
            d(carried="b", known="c", kept="c"), ReloadOverdue(7), S.RUNNING,
            (CancelWork(), AbandonPlan("b"), SettleRevision("b", "failed", ANY), ReviewConfig("c")),
            {"work": 4, "carried": None, "kept": None, "reviewed": "c", "known": ""},
        ),
    ),
    (
        Case(
            "a request for a restart", (S.RUNNING,), d(cooled_at=100.0), RestartRequested(P1), S.RESTART_PENDING,
            (TicketOpened(P1), armed(RestartDue(8), due=100.0)),
            {"tickets": (P1,), "timer": 8, "waiting": Waiting.DELAY},
        ),
        Case(
            "a request during the cooldown", (S.RUNNING,), d(cooled_at=101.0), RestartRequested(P1), S.RESTART_PENDING,
            (TicketOpened(P1), armed(RestartDue(8), due=101.0)),
            {"tickets": (P1,), "timer": 8, "waiting": Waiting.COOLDOWN},
        ),
    ),
    (
        Case(
            "an earlier request pulls the restart in", (S.RESTART_PENDING,), d(tickets=(P2, FOR_G)),
            RestartRequested(P1), None,
            (TicketOpened(P1), armed(RestartDue(8), due=100.0)),
            {"tickets": (P2, FOR_G, P1), "timer": 8, "waiting": Waiting.DELAY}, Outcome.COALESCED,
        ),
    ),
    (
        Case(
            "a later request does not push it out", (S.RESTART_PENDING,), d(tickets=(P1,)), RestartRequested(P2), None,
            (TicketOpened(P2),), {"tickets": (P1, P2)}, Outcome.COALESCED,
        ),
        Case(
            "one that is due at the same time changes nothing", (S.RESTART_PENDING,), d(tickets=(P1,)),
            RestartRequested(FORCED), None,
            (TicketOpened(FORCED),), {"tickets": (P1, FORCED)}, Outcome.COALESCED,
        ),
    ),
    (
        Case(
            "a request while work is under way is kept", BUSY, d(tickets=(P2,), served=(FOR_G,)), RestartRequested(P1),
            None, (TicketOpened(P1),), {"tickets": (P2, P1)}, Outcome.DEFERRED,
        ),
    ),
    (
        Case(
            "the last ticket is cancelled", (S.RESTART_PENDING,),
            d(tickets=(P1,), waiting=Waiting.IDLE, deferred_since=5.0), RestartCancelled("p1"), S.RUNNING,
            (CloseTicket("p1", "cancelled", ANY), DisarmTimer()),
            {"tickets": (), "timer": 8, "waiting": Waiting.NOTHING, "deferred_since": None},
        ),
    ),
    (
        Case(
            "one of two is cancelled: the other decides when", (S.RESTART_PENDING,), d(tickets=(P1, P2)),
            RestartCancelled("p1"), None,
            (CloseTicket("p1", "cancelled", ANY), armed(RestartDue(8), due=200.0)),
            {"tickets": (P2,), "timer": 8, "waiting": Waiting.DELAY},
        ),
    ),
    (
        Case(
            "a kept ticket is cancelled", BUSY, d(tickets=(P1, FOR_B), served=(P2,)), RestartCancelled("p1"), None,
            (CloseTicket("p1", "cancelled", ANY),), {"tickets": (FOR_B,)},
        ),
    ),
    (
        Case(
            "due: is it ready?", (S.RESTART_PENDING,), d(tickets=(P1,)), RestartDue(7), None, (CheckReadiness(7),),
        ),
    ),
    (
        Case(
            "ready: every open ticket is served", (S.RESTART_PENDING,),
            d(tickets=(P1, FOR_G), waiting=Waiting.IDLE, deferred_since=5.0, rejected="x"), RestartReady(7),
            S.RESTARTING,
            (RestartGateway(4, (P1, FOR_G)), armed(RestartOverdue(8), 93.0)),
            {
                "work": 4, "served": (P1, FOR_G), "tickets": (), "timer": 8,
                "waiting": Waiting.NOTHING, "deferred_since": None, "known": "", "rejected": None,
            },
        ),
        *(
            Case(
                f"ready, and another is to follow by {policy.restart_by.value}", (S.RESTART_PENDING,),
                d(policy=policy, tickets=(P1,)), RestartReady(7), S.RESTARTING,
                (VacateGateway(4, (P1,)), armed(RestartOverdue(8), 93.0)),
                {"work": 4, "served": (P1,), "tickets": (), "timer": 8, "known": ""},
            )
            for policy in (BY_EXEC, BY_EXIT)
        ),
    ),
    (
        Case(
            "the budget for waiting is spent", (S.RESTART_PENDING,),
            d(tickets=(P1,), waiting=Waiting.IDLE, deferred_since=1000.0), WorkInFlight(7, 2, 1300.0), S.RESTARTING,
            (RestartGateway(4, (P1,)), armed(RestartOverdue(8), 93.0)),
            {
                "work": 4, "served": (P1,), "tickets": (), "timer": 8,
                "waiting": Waiting.NOTHING, "deferred_since": None, "known": "",
            },
        ),
    ),
    (
        Case(
            "a ticket forces it", (S.RESTART_PENDING,), d(tickets=(P1, FORCED)), WorkInFlight(7, 2, 1000.0),
            S.RESTARTING,
            (RestartGateway(4, (P1, FORCED)), armed(RestartOverdue(8), 93.0)),
            {"work": 4, "served": (P1, FORCED), "tickets": (), "timer": 8, "known": ""},
        ),
    ),
    (
        Case(
            "it was said long enough ago that it waits", (S.RESTART_PENDING,),
            d(tickets=(P1,), waiting=Waiting.IDLE, deferred_since=1000.0, warned_at=1030.0),
            WorkInFlight(7, 2, 1060.0), None,
            (armed(RestartDue(8), 0.5), WarnOfWaiting(2, 60.0)), {"timer": 8, "warned_at": 1060.0}, Outcome.DEFERRED,
        ),
        Case(
            "it has waited long enough to say so", (S.RESTART_PENDING,),
            d(tickets=(P1,), waiting=Waiting.IDLE, deferred_since=1000.0), WorkInFlight(7, None, 1030.0), None,
            (armed(RestartDue(8), 0.5), WarnOfWaiting(None, 30.0)), {"timer": 8, "warned_at": 1030.0},
            Outcome.DEFERRED,
        ),
    ),
    (
        Case(
            "work is in flight: look again in a moment", (S.RESTART_PENDING,), d(tickets=(P1,), waiting=Waiting.DELAY),
            WorkInFlight(7, 2, 1000.0), None,
            (armed(RestartDue(8), 0.5),), {"waiting": Waiting.IDLE, "deferred_since": 1000.0, "timer": 8},
            Outcome.DEFERRED,
        ),
        Case(
            "unknown is not idle", (S.RESTART_PENDING,), d(tickets=(P1,)), WorkInFlight(7, None, 1000.0), None,
            (armed(RestartDue(8), 0.5),), {"waiting": Waiting.IDLE, "deferred_since": 1000.0, "timer": 8},
            Outcome.DEFERRED,
        ),
        Case(
            "the wait is counted from its beginning", (S.RESTART_PENDING,),
            d(tickets=(P1,), waiting=Waiting.IDLE, deferred_since=1000.0, warned_at=1290.0), WorkInFlight(7, 1, 1299.9),
            None,
            (armed(RestartDue(8), 0.5),), {"timer": 8}, Outcome.DEFERRED,
        ),
    ),
    (
        Case(
            "no restart into a bad file", (S.RESTART_PENDING,),
            d(tickets=(P1, FOR_G), waiting=Waiting.IDLE, deferred_since=5.0), ConfigUnfit(7, "no such key"), S.RUNNING,
            (
                CloseTicket("p1", "refused", "no such key"), CloseTicket("for g", "refused", "no such key"),
                DisarmTimer(),
            ),
            {"tickets": (), "timer": 8, "waiting": Waiting.NOTHING, "deferred_since": None},
        ),
    ),
    (
        Case(
            "vacated, and another process follows", (S.RESTARTING,),
            d(policy=BY_EXIT, served=(P1,), tickets=(P2,)), Vacated(3), S.STOPPED,
            (DisarmTimer(), Exit(75)),
            {"timer": 8},
        ),
    ),
    (
        Case(
            "vacated, and another image follows", (S.RESTARTING,),
            d(policy=BY_EXEC, served=(P1,), tickets=(P2,)), Vacated(3), None,
            (ReplaceProcess(3),),
        ),
    ),
    (
        Case(
            "restarted, and a ticket came meanwhile: after the new run's cooldown", (S.RESTARTING,),
            d(served=(P1, FOR_G), tickets=(P2,), rejected="x", drift=True, restarts=4),
            Restarted(3, "g", 1000.0, NEXT_POLICY), S.RESTART_PENDING,
            (CloseTicket("p1", "done", ""), CloseTicket("for g", "done", ""), armed(RestartDue(8), due=1050.0)),
            {
                "policy": NEXT_POLICY, "applied": "g", "served": (), "restarts": 5, "drift": False,
                "cooled_at": 1050.0, "timer": 8, "waiting": Waiting.COOLDOWN,
            },
        ),
    ),
    (
        Case(
            "restarted", (S.RESTARTING,), d(served=(P1,)), Restarted(3, "g", 1000.0, NEXT_POLICY), S.RUNNING,
            (CloseTicket("p1", "done", ""), DisarmTimer()),
            {"policy": NEXT_POLICY, "applied": "g", "served": (), "restarts": 1, "cooled_at": 1050.0, "timer": 8},
        ),
        Case(
            "restarted, and a revision was kept", (S.RESTARTING,), d(served=(P1,), kept="c", known="c"),
            Restarted(3, "g", 1000.0, NEXT_POLICY), S.RUNNING,
            (CloseTicket("p1", "done", ""), DisarmTimer(), ReviewConfig("c")),
            {
                "policy": NEXT_POLICY, "applied": "g", "served": (), "restarts": 1, "cooled_at": 1050.0, "timer": 8,
                "kept": None, "reviewed": "c", "known": "",
            },
        ),
    ),
    (
        Case(
            "not restarted, the old run is back, a ticket came meanwhile", (S.RESTARTING,),
            d(served=(P1,), tickets=(P2,), kept="c", known="c"), RestartFailed(3, "boom", 1000.0, recovered=True),
            S.RESTART_PENDING,
            (CloseTicket("p1", "failed", "boom"), armed(RestartDue(8), due=1025.0), ReviewConfig("c")),
            {
                "served": (), "cooled_at": 1025.0, "timer": 8, "waiting": Waiting.COOLDOWN,
                "kept": None, "reviewed": "c", "known": "",
            },
        ),
    ),
    (
        Case(
            "not restarted, the old run is back", (S.RESTARTING,), d(served=(P1,)),
            RestartFailed(3, "boom", 1000.0, recovered=True), S.RUNNING,
            (CloseTicket("p1", "failed", "boom"), DisarmTimer()),
            {"served": (), "cooled_at": 1025.0, "timer": 8},
        ),
        Case(
            "not restarted, the old run is back, a revision was kept", (S.RESTARTING,),
            d(served=(P1,), kept="c", known="c"), RestartFailed(3, "boom", 1000.0, recovered=True), S.RUNNING,
            (CloseTicket("p1", "failed", "boom"), DisarmTimer(), ReviewConfig("c")),
            {"served": (), "cooled_at": 1025.0, "timer": 8, "kept": None, "reviewed": "c", "known": ""},
        ),
    ),
    (
        Case(
            "neither the new run nor the old", (S.RESTARTING,), d(served=(P1,), tickets=(P2,), kept="c"),
            RestartFailed(3, "boom", 1000.0, recovered=False), S.FAILED,
            (
                CloseTicket("p1", "failed", "boom"), SettleRevision("c", "failed", "boom"),
                CloseTicket("p2", "refused", "boom"), Exit(1),
            ),
            {"served": (), "tickets": (), "kept": None, "cooled_at": 1025.0},
        ),
    ),
    (
        Case(
            "the restart took too long", (S.RESTARTING,), d(served=(P1,), tickets=(P2,), kept="c"), RestartOverdue(7),
            S.FAILED,
            (
                CancelWork(), SettleRevision("c", "failed", ANY), CloseTicket("p1", "failed", ANY),
                CloseTicket("p2", "refused", ANY), Exit(1),
            ),
            {"work": 4, "served": (), "tickets": (), "kept": None},
        ),
    ),
    (
        Case(
            "stop: whoever waits is answered", ALIVE,
            d(carried="b", kept="c", reviewed="e", served=(P1,), tickets=(P2, FOR_G), waiting=Waiting.DELAY),
            StopRequested("SIGTERM"), S.STOPPING,
            (
                CancelWork(),
                SettleRevision("b", "failed", ANY), SettleRevision("c", "failed", ANY),
                SettleRevision("e", "failed", ANY), CloseTicket("p1", "failed", ANY),
                CloseTicket("p2", "refused", ANY), CloseTicket("for g", "refused", ANY),
                StopGateway(5, 40.0), armed(StopOverdue(8), 40.0),
            ),
            {
                "carried": None, "kept": None, "reviewed": None, "served": (), "tickets": (),
                "work": 5, "timer": 8, "waiting": Waiting.NOTHING, "stop_requests": 1,
            },
        ),
    ),
    (
        Case(
            "the third request ends it", (S.STOPPING,), d(stop_requests=2), StopRequested("SIGINT"), S.STOPPED,
            (CancelWork(), Exit(0)), {"work": 4},
        ),
    ),
    (
        Case(
            "the second request hurries it", (S.STOPPING,), d(stop_requests=1), StopRequested("SIGINT"), None,
            (HurryStop(4.0), armed(StopOverdue(8), 4.0)), {"stop_requests": 2, "timer": 8}, Outcome.COALESCED,
        ),
    ),
    (Case("stop of what has failed", (S.FAILED,), d(), StopRequested("SIGTERM"), S.STOPPED, (Exit(1),)),),
    (Case("stopped", (S.STOPPING,), d(), StopFinished(3), S.STOPPED, (DisarmTimer(), Exit(0)), {"timer": 8}),),
    (Case("stopped badly", (S.STOPPING,), d(), StopFailed(3, "x"), S.STOPPED, (DisarmTimer(), Exit(1)), {"timer": 8}),),
    (Case("stopped late", (S.STOPPING,), d(), StopOverdue(7), S.STOPPED, (CancelWork(), Exit(0)), {"work": 4}),),
)  # fmt: skip

# The table

REQUESTS = {"config_changed", "config_rejected", "restart_requested", "stop_requested"}
ALLOWED = {
    S.STOPPED: {"boot"},
    S.STARTING: REQUESTS | {"restart_cancelled", "started", "start_failed", "start_overdue"},
    S.RUNNING: REQUESTS,
    S.HOT_RELOADING: REQUESTS | {"restart_cancelled", "plan_applied", "plan_failed", "reload_overdue"},
    S.RESTART_PENDING: REQUESTS
    | {"restart_cancelled", "restart_due", "restart_ready", "work_in_flight", "config_unfit"},
    S.RESTARTING: REQUESTS | {"restart_cancelled", "restarted", "vacated", "restart_failed", "restart_overdue"},
    S.STOPPING: {"stop_requested", "stop_finished", "stop_failed", "stop_overdue"},
    S.FAILED: {"stop_requested"},
}
GUARDS: dict[str, tuple[list[tuple[LifecycleData, Event]], list[tuple[LifecycleData, Event]]]] = {
    "work_is_current": (
        [(d(), Started(3, "a")), (d(), PlanFailed(3, "x")), (d(work=4), StopFinished(4))],
        [(d(), Started(2, "a")), (d(), Restarted(4, "a", 0.0, POLICY)), (d(), StopFailed(0, "x"))],
    ),
    "timer_is_current": (
        [(d(), RestartDue(7)), (d(timer=8), StopOverdue(8))],
        [(d(), RestartDue(6)), (d(), ReloadOverdue(8)), (d(), ConfigUnfit(0, "x"))],
    ),
    "revision_is_known": (
        [(d(known="b"), changed("b")), (d(known="bad"), ConfigRejected("bad", "x"))],
        [
            (d(known="b"), changed("a")),
            (d(known=""), changed("a")),
            (d(), ConfigRejected("bad", "x")),
            (d(known="b", drift=True), changed("b")),
            (d(known="b", rejected="b"), changed("b")),
        ],
    ),
    "plan_is_stale": ([(d(), changed("b", base="z"))], [(d(), changed("b", base="a"))]),
    "nothing_differs": (
        [(d(), changed("b", Impact.NONE))],
        [(d(), changed("b", impact)) for impact in (Impact.LIVE, Impact.CHANNEL, Impact.GATEWAY)],
    ),
    "is_drift": (
        [(d(), changed("b", origin=Origin.FILE, reload=False))],
        [
            (d(), changed("b", origin=Origin.FILE)),
            (d(), changed("b", reload=False)),
            (d(), changed("b")),
        ],
    ),
    "may_reload": (
        [
            (d(), changed("b", Impact.LIVE)),
            (d(), changed("b", Impact.CHANNEL)),
            (d(), changed("b", Impact.GATEWAY, overlay=True)),
            (d(), changed("b", origin=Origin.FILE)),
        ],
        [
            (d(), changed("b", Impact.GATEWAY)),
            (d(), changed("b", Impact.LIVE, reload=False)),
            (d(), changed("b", Impact.GATEWAY, overlay=True, reload=False)),
        ],
    ),
    "ticket_is_open": (
        [(d(tickets=(P1,)), Started(3, "a")), (d(tickets=(FOR_B,)), PlanFailed(3, "x"))],
        [(d(), Started(3, "a")), (d(served=(P1,)), Restarted(3, "a", 0.0, POLICY))],
    ),
    "ticket_outlives_plan": (
        [
            (d(tickets=(P1,)), PlanApplied(3, "b", complete=True)),
            (d(tickets=(FOR_B, P1)), PlanApplied(3, "b", complete=True)),
            (d(tickets=(FOR_B,)), PlanApplied(3, "b", complete=False)),
        ],
        [
            (d(tickets=(FOR_B, FOR_G)), PlanApplied(3, "b", complete=True)),
            (d(), PlanApplied(3, "b", complete=True)),
            (d(), PlanApplied(3, "b", complete=False)),
        ],
    ),
    "only_revisions_ask": (
        [(d(tickets=(FOR_B, FOR_G)), changed("c", Impact.NONE))],
        [(d(tickets=(FOR_B, P1)), changed("c", Impact.NONE)), (d(tickets=(P1,)), changed("c", Impact.NONE))],
    ),
    "pulls_in": (
        [(d(tickets=(P2,)), RestartRequested(P1)), (d(tickets=(ticket("x", 900.0), P2)), RestartRequested(FOR_G))],
        [
            (d(tickets=(P1,)), RestartRequested(P2)),
            (d(tickets=(P1,)), RestartRequested(FORCED)),
            (d(tickets=(ticket("x", 900.0), P1)), RestartRequested(P2)),
        ],
    ),
    "ticket_is_known": (
        [(d(tickets=(P1, P2)), RestartCancelled("p2"))],
        [(d(tickets=(P1,)), RestartCancelled("p2")), (d(), RestartCancelled("p1")), (d(), RestartCancelled(""))],
    ),
    "ticket_is_last": (
        [(d(tickets=(P1,)), RestartCancelled("p1"))],
        [(d(tickets=(P1, P2)), RestartCancelled("p1"))],
    ),
    "waited_long_enough": (
        [
            (d(deferred_since=1000.0), WorkInFlight(7, 1, 1300.0)),
            (d(deferred_since=0.0), WorkInFlight(7, None, 301.0)),
        ],
        [
            (d(deferred_since=1000.0), WorkInFlight(7, 1, 1299.9)),
            (d(), WorkInFlight(7, 1, 1e9)),
            (d(deferred_since=0.0, policy=replace(POLICY, defer_timeout=400.0)), WorkInFlight(7, 1, 301.0)),
        ],
    ),
    "a_ticket_forces": (
        [(d(tickets=(P1, FORCED)), WorkInFlight(7, 1, 1000.0)), (d(tickets=(FORCED,)), WorkInFlight(7, 1, 100.0))],
        [
            (d(tickets=(P1, P2)), WorkInFlight(7, 1, 1000.0)),
            (d(served=(FORCED,)), WorkInFlight(7, 1, 1000.0)),
            (d(tickets=(P1, FORCED)), WorkInFlight(7, 1, 99.9)),
        ],
    ),
    "another_process_follows": (
        [(d(policy=BY_EXIT), Vacated(3))],
        [(d(policy=BY_EXEC), Vacated(3)), (d(), Vacated(3))],
    ),
    "a_warning_is_due": (
        [
            (d(deferred_since=1000.0), WorkInFlight(7, 1, 1030.0)),
            (d(deferred_since=1000.0, warned_at=1100.0), WorkInFlight(7, 1, 1130.0)),
        ],
        [
            (d(), WorkInFlight(7, 1, 1030.0)),
            (d(deferred_since=1000.0), WorkInFlight(7, 1, 1029.9)),
            (d(deferred_since=1000.0, warned_at=1010.0), WorkInFlight(7, 1, 1039.9)),
        ],
    ),
    "old_run_is_back": (
        [(d(), RestartFailed(3, "x", 0.0, recovered=True))],
        [(d(), RestartFailed(3, "x", 0.0, recovered=False))],
    ),
    "asked_before": (
        [(d(stop_requests=2), StopRequested("x")), (d(stop_requests=3), StopRequested("x"))],
        [(d(stop_requests=1), StopRequested("x")), (d(stop_requests=0), StopRequested("x"))],
    ),
}


class TestTable(TableTests):
    """Each row, each cell, each guard."""

    machine = Lifecycle
    rows = ROWS
    allowed = ALLOWED
    events = 23
    guards = GUARDS
    guarded_in = S.RUNNING

    def variants(self, state: Enum, case: Case) -> Iterator[tuple[LifecycleData, Event]]:
        data = case.data
        if state is S.RESTART_PENDING and not data.tickets:
            data = replace(data, tickets=(P1,))
        yield data, case.event
        yield replace(data, timer=data.timer + 1, work=data.work + 1), case.event


COMPLETIONS = [
    (S.STARTING, Started(2, "a")),
    (S.STARTING, StartFailed(2, "x", 1)),
    (S.HOT_RELOADING, PlanApplied(2, "b", complete=True)),
    (S.HOT_RELOADING, PlanFailed(2, "x")),
    (S.RESTARTING, Restarted(2, "b", 0.0, POLICY)),
    (S.RESTARTING, Vacated(2)),
    (S.RESTARTING, RestartFailed(2, "x", 0.0, recovered=True)),
    (S.RESTARTING, RestartFailed(2, "x", 0.0, recovered=False)),
    (S.STOPPING, StopFinished(2)),
    (S.STOPPING, StopFailed(2, "x")),
]
TIMERS = [
    (S.STARTING, StartOverdue(6)),
    (S.HOT_RELOADING, ReloadOverdue(6)),
    (S.RESTART_PENDING, RestartDue(6)),
    (S.RESTART_PENDING, RestartReady(6)),
    (S.RESTART_PENDING, WorkInFlight(6, 1, 1e9)),
    (S.RESTART_PENDING, ConfigUnfit(6, "x")),
    (S.RESTARTING, RestartOverdue(6)),
    (S.STOPPING, StopOverdue(6)),
]


@pytest.mark.parametrize(
    ("state", "event", "name"),
    [(*stale, "work_is_current") for stale in COMPLETIONS] + [(*stale, "timer_is_current") for stale in TIMERS],
    ids=lambda part: getattr(part, "trigger", None) or getattr(part, "value", None),
)
def test_what_carries_an_old_number_is_refused(state, event, name):
    data = d(tickets=(FORCED,), deferred_since=0.0)
    Story(lifecycle(state, data)).refuse(event, name)


# Stories


def booted() -> Story:
    """The gateway runs revision a."""
    story = Story(Lifecycle("gateway", LifecycleData()))
    story.fire(Boot("a", POLICY), S.STARTING)
    story.fire(Started(story.work, "a"), S.RUNNING)
    return story


def starting() -> Story:
    story = Story(Lifecycle("gateway", LifecycleData()))
    story.fire(Boot("a", POLICY), S.STARTING)
    return story


def reloading() -> Story:
    """Revision b is being applied."""
    story = booted()
    story.fire(changed("b"), S.HOT_RELOADING)
    return story


def pending() -> Story:
    """Revision g waits for a restart that is due at 150."""
    story = booted()
    story.fire(changed("g", Impact.GATEWAY, due_at=150.0), S.RESTART_PENDING)
    return story


def restarting() -> Story:
    story = pending()
    story.ring(S.RESTART_PENDING)
    story.fire(RestartReady(story.token), S.RESTARTING)
    return story


ROADS = {
    S.STARTING: starting,
    S.RUNNING: booted,
    S.HOT_RELOADING: reloading,
    S.RESTART_PENDING: pending,
    S.RESTARTING: restarting,
}
by_every_road = pytest.mark.parametrize("road", ROADS.values(), ids=[state.value for state in ROADS])


def outcomes(story: Story) -> dict[str, str]:
    """The outcome of each ticket that has one."""
    closed = story.said(CloseTicket)
    assert len({told.id for told in closed}) == len(closed), "a ticket was closed twice"
    return {told.id: told.outcome for told in closed}


def settled(story: Story, revision: str) -> list[str]:
    return [told.outcome for told in story.said(SettleRevision) if told.revision == revision]


def test_there_is_a_road_to_every_living_state():
    assert set(ROADS) == set(ALIVE)
    for state, road in ROADS.items():
        assert road().machine.state is state


@pytest.mark.parametrize("state", S, ids=lambda state: state.value)
def test_it_serves_while_it_runs_waits_for_a_restart_or_reloads(state):
    assert is_serving(lifecycle(state)) == (state in (S.RUNNING, S.RESTART_PENDING, S.HOT_RELOADING))
    assert is_restarting(lifecycle(state)) == (state is S.RESTARTING)


def test_a_reload_that_succeeds_closes_its_standby_ticket_as_superseded():
    story = reloading()
    assert story.said(TicketOpened) == [TicketOpened(FOR_B)]
    story.fire(PlanApplied(story.work, "b", complete=True), S.RUNNING)
    assert outcomes(story) == {"for b": "superseded"}
    assert settled(story, "b") == ["applied"]
    assert (story.data.applied, story.armed) == ("b", None)


def test_a_reload_that_fails_becomes_a_restart_by_the_ticket_that_stood_by():
    story = reloading()
    story.fire(PlanFailed(story.work, "boom"), S.RESTART_PENDING)
    assert story.data.tickets == (FOR_B,)
    assert settled(story, "b") == ["restart_pending"]
    assert story.data.applied == "a", "what runs is what ran before"
    assert story.armed == armed(RestartDue(story.token), due=100.0)
    (check,) = story.ring(S.RESTART_PENDING)
    assert check == CheckReadiness(story.token)
    effects = story.fire(RestartReady(story.token), S.RESTARTING)
    assert only(effects, RestartGateway).tickets == (FOR_B,)
    assert outcomes(story) == {}, "it is not done before it is done"
    story.fire(Restarted(story.work, "b", 1000.0, POLICY), S.RUNNING)
    assert outcomes(story) == {"for b": "done"}
    assert (story.data.applied, story.data.restarts) == ("b", 1)


def test_a_reload_that_takes_too_long_becomes_a_restart_and_its_late_end_is_stale():
    story = reloading()
    work = story.work
    effects = story.ring(S.RESTART_PENDING)
    assert isinstance(effects[0], CancelWork)
    assert story.data.tickets == (FOR_B,)
    story.refuse(PlanApplied(work, "b", complete=True))
    story.fire(changed("c", due_at=500.0), S.HOT_RELOADING)
    story.refuse(PlanApplied(work, "b", complete=True), "work_is_current")


def test_a_second_writer_of_a_revision_that_is_being_applied_is_answered_with_it():
    story = reloading()
    assert story.fire(changed("b"), S.HOT_RELOADING, Outcome.COALESCED) == ()
    story.fire(PlanApplied(story.work, "b", complete=True), S.RUNNING)
    assert settled(story, "b") == ["applied"]


@pytest.mark.parametrize(
    "state", [state for state in ALIVE if state is not S.RESTARTING], ids=lambda state: state.value
)
def test_the_file_event_of_a_known_revision_is_absorbed(state):
    """In every living state but one: nothing is opened, kept, planned or restarted because of it."""
    story = ROADS[state]()
    data = story.data
    assert data.known in ("a", "b", "g")
    effects = story.fire(changed(data.known, origin=Origin.FILE), state, Outcome.COALESCED)
    assert story.data is data
    assert all(isinstance(effect, SettleRevision) for effect in effects)


def test_the_file_event_of_the_revision_that_a_restart_reads_comes_to_nothing():
    """Nobody knows yet which file the restart has read: the event is kept, and reviewed when that is known."""
    story = restarting()
    story.fire(changed("g", Impact.GATEWAY, origin=Origin.FILE), S.RESTARTING, Outcome.DEFERRED)
    effects = story.fire(Restarted(story.work, "g", 1000.0, POLICY), S.RUNNING)
    assert only(effects, ReviewConfig) == ReviewConfig("g")
    story.fire(changed("g", Impact.NONE, base="g", origin=Origin.FILE), S.RUNNING)
    assert settled(story, "g") == ["restart_pending", "noop"]
    assert len(story.said(TicketOpened)) == 1
    assert outcomes(story) == {"for g": "done"}


def test_after_a_restart_the_file_that_it_read_is_known():
    story = restarting()
    story.fire(Restarted(story.work, "h", 1000.0, POLICY), S.RUNNING)
    assert story.data.known == "h"
    story.fire(changed("h", Impact.NONE, base="h", origin=Origin.FILE), S.RUNNING, Outcome.COALESCED)


def test_after_a_restart_that_failed_the_revision_may_be_tried_anew():
    story = restarting()
    story.fire(RestartFailed(story.work, "boom", 1000.0, recovered=True), S.RUNNING)
    story.fire(changed("g", Impact.GATEWAY, origin=Origin.FILE, ticket_id="again"), S.RESTART_PENDING)
    assert story.data.waiting is Waiting.COOLDOWN


@by_every_road
def test_a_rejected_file_is_noted_once_and_changes_nothing_else(road):
    story = road()
    state, before = story.machine.state, story.data
    assert story.fire(ConfigRejected("bad", "x"), state) == (SettleRevision("bad", "rejected", "x"),)
    assert story.data == replace(before, known="bad", rejected="bad")
    assert story.fire(ConfigRejected("bad", "x"), state, Outcome.COALESCED) == ()


def test_a_good_file_after_a_bad_one_clears_the_rejection():
    story = booted()
    story.fire(ConfigRejected("bad", "x"), S.RUNNING)
    story.fire(changed("a", Impact.NONE), S.RUNNING)
    assert (story.data.rejected, settled(story, "a")) == (None, ["noop"])


def test_revisions_that_come_during_a_reload_are_reviewed_after_it_the_newest_only():
    story = reloading()
    story.fire(changed("c"), S.HOT_RELOADING, Outcome.DEFERRED)
    story.fire(changed("e"), S.HOT_RELOADING, Outcome.DEFERRED)
    assert settled(story, "c") == ["superseded"]
    effects = story.fire(PlanApplied(story.work, "b", complete=True), S.RUNNING)
    assert only(effects, ReviewConfig) == ReviewConfig("e")
    assert settled(story, "e") == []
    story.fire(changed("e", base="b"), S.HOT_RELOADING)
    story.fire(PlanApplied(story.work, "e", complete=True), S.RUNNING)
    assert settled(story, "e") == ["applied"]
    assert outcomes(story) == {"for b": "superseded", "for e": "superseded"}
    assert len(story.said(ReviewConfig)) == 1


def test_a_kept_revision_that_was_overwritten_is_superseded_by_what_the_review_finds():
    story = reloading()
    story.fire(changed("c"), S.HOT_RELOADING, Outcome.DEFERRED)
    story.fire(PlanApplied(story.work, "b", complete=True), S.RUNNING)
    effects = story.fire(changed("e", Impact.GATEWAY, base="b"), S.RESTART_PENDING)
    assert effects[0] == SettleRevision("c", "superseded", "e")
    assert settled(story, "e") == ["restart_pending"]


def test_a_review_that_finds_a_bad_file_answers_who_waited():
    story = reloading()
    story.fire(changed("c"), S.HOT_RELOADING, Outcome.DEFERRED)
    story.fire(PlanFailed(story.work, "boom"), S.RESTART_PENDING)
    effects = story.fire(ConfigRejected("bad", "x"), S.RESTART_PENDING)
    assert effects == (SettleRevision("c", "superseded", "bad"), SettleRevision("bad", "rejected", "x"))


def test_a_file_event_that_comes_before_the_review_is_handled_and_the_review_absorbed():
    """Whichever of the two comes first handles the revision, the other finds it known."""
    story = reloading()
    story.fire(changed("c"), S.HOT_RELOADING, Outcome.DEFERRED)
    story.fire(PlanApplied(story.work, "b", complete=True), S.RUNNING)
    story.fire(changed("c", base="b", origin=Origin.FILE), S.HOT_RELOADING)
    assert story.fire(changed("c", base="b"), S.HOT_RELOADING, Outcome.COALESCED) == ()
    story.fire(PlanApplied(story.work, "c", complete=True), S.RUNNING)
    assert settled(story, "c") == ["applied"]


def test_a_plan_made_against_what_no_longer_runs_is_made_anew():
    story = booted()
    assert story.fire(changed("b", base="z"), S.RUNNING, Outcome.DEFERRED) == (ReviewConfig("b"),)
    assert settled(story, "b") == []
    story.fire(changed("b", Impact.NONE), S.RUNNING)
    assert settled(story, "b") == ["noop"]


def test_a_revert_drops_the_ticket_of_the_edit():
    story = pending()
    story.fire(changed("a", Impact.NONE), S.RUNNING)
    assert outcomes(story) == {"for g": "superseded"}
    assert story.armed is None


def test_a_revert_keeps_the_ticket_of_a_person():
    story = pending()
    story.fire(RestartRequested(P2), S.RESTART_PENDING, Outcome.COALESCED)
    story.fire(changed("a", Impact.NONE), S.RESTART_PENDING)
    assert outcomes(story) == {"for g": "superseded"}
    assert story.data.tickets == (P2,)
    assert story.armed == armed(RestartDue(story.token), due=200.0)


def test_a_revert_with_a_live_change_is_applied_and_drops_the_ticket_of_the_edit():
    story = pending()
    story.fire(changed("b"), S.HOT_RELOADING)
    story.fire(PlanApplied(story.work, "b", complete=True), S.RUNNING)
    assert outcomes(story) == {"for g": "superseded", "for b": "superseded"}


def test_a_live_change_beside_a_pending_restart_is_applied_in_part_and_the_restart_stays():
    story = pending()
    story.fire(changed("h", Impact.GATEWAY, overlay=True, due_at=160.0), S.HOT_RELOADING)
    story.fire(PlanApplied(story.work, "a+h", complete=False), S.RESTART_PENDING)
    assert settled(story, "h") == ["restart_pending"]
    assert outcomes(story) == {"for h": "superseded"}, "the ticket is neither erased nor doubled"
    assert story.armed == armed(RestartDue(story.token), due=150.0)


def test_in_reload_mode_off_an_edit_is_noted_and_a_call_asks_for_a_restart():
    story = booted()
    story.fire(changed("b", origin=Origin.FILE, reload=False), S.RUNNING)
    assert (settled(story, "b"), story.data.drift, story.said(TicketOpened)) == (["noted"], True, [])
    story.fire(changed("c", reload=False), S.RESTART_PENDING)
    assert (settled(story, "c"), story.data.drift) == (["restart_pending"], False)


def test_in_reload_mode_off_a_call_asks_for_what_was_noted():
    story = booted()
    story.fire(changed("b", origin=Origin.FILE, reload=False), S.RUNNING)
    story.fire(changed("b", reload=False), S.RESTART_PENDING)
    assert (settled(story, "b"), story.data.drift) == (["noted", "restart_pending"], False)
    story.fire(changed("b", origin=Origin.FILE, reload=False), S.RESTART_PENDING, Outcome.COALESCED)


def test_an_earlier_due_time_pulls_the_restart_in_and_a_later_one_never_pushes_it_out():
    story = booted()
    story.fire(RestartRequested(ticket("middle", 200.0)), S.RESTART_PENDING)
    token = story.token
    story.fire(RestartRequested(ticket("late", 900.0)), S.RESTART_PENDING, Outcome.COALESCED)
    assert story.armed == armed(RestartDue(token), due=200.0)
    story.fire(RestartRequested(ticket("early", 50.0)), S.RESTART_PENDING, Outcome.COALESCED)
    assert story.armed == armed(RestartDue(story.token), due=50.0)
    story.fire(changed("g", Impact.GATEWAY, due_at=900.0), S.RESTART_PENDING, Outcome.COALESCED)
    assert story.armed == armed(RestartDue(story.token), due=50.0)
    story.refuse(RestartDue(token), "timer_is_current")


def test_cancelling_one_of_two_the_last_and_none():
    story = booted()
    story.fire(RestartRequested(P1), S.RESTART_PENDING)
    story.fire(RestartRequested(P2), S.RESTART_PENDING, Outcome.COALESCED)
    story.refuse(RestartCancelled("another"), "ticket_is_known")
    story.fire(RestartCancelled("p1"), S.RESTART_PENDING)
    assert story.armed == armed(RestartDue(story.token), due=200.0)
    story.refuse(RestartCancelled("p1"), "ticket_is_known")
    story.fire(RestartCancelled("p2"), S.RUNNING)
    assert story.armed is None
    assert outcomes(story) == {"p1": "cancelled", "p2": "cancelled"}
    story.refuse(RestartCancelled("p2"))


@pytest.mark.parametrize("road", [starting, reloading, restarting], ids=["starting", "hot_reloading", "restarting"])
def test_a_kept_ticket_can_be_cancelled_while_work_is_under_way_and_one_in_service_cannot(road):
    story = road()
    state = story.machine.state
    story.fire(RestartRequested(P1), state, Outcome.DEFERRED)
    story.refuse(RestartCancelled("another"), "ticket_is_known")
    story.fire(RestartCancelled("p1"), state)
    story.refuse(RestartCancelled("p1"), "ticket_is_known")
    if state is S.RESTARTING:
        story.refuse(RestartCancelled("for g"), "ticket_is_known")


def test_cancelling_the_standby_ticket_makes_a_failed_reload_final():
    story = reloading()
    story.fire(RestartCancelled("for b"), S.HOT_RELOADING)
    story.fire(PlanFailed(story.work, "boom"), S.RUNNING)
    assert (settled(story, "b"), outcomes(story), story.armed) == (["failed"], {"for b": "cancelled"}, None)


def test_a_request_during_a_restart_is_served_after_the_cooldown():
    story = restarting()
    story.fire(RestartRequested(P1), S.RESTARTING, Outcome.DEFERRED)
    story.fire(Restarted(story.work, "g", 1000.0, POLICY), S.RESTART_PENDING)
    assert outcomes(story) == {"for g": "done"}, "the kept one is not served by the restart that was under way"
    assert story.data.waiting is Waiting.COOLDOWN
    assert story.armed == armed(RestartDue(story.token), due=1025.0)
    story.ring(S.RESTART_PENDING)
    story.fire(RestartReady(story.token), S.RESTARTING)
    story.fire(Restarted(story.work, "g", 1030.0, POLICY), S.RUNNING)
    assert outcomes(story) == {"for g": "done", "p1": "done"}
    assert story.data.restarts == 2


def test_a_forced_request_waits_for_the_cooldown_too():
    story = restarting()
    story.fire(Restarted(story.work, "g", 1000.0, POLICY), S.RUNNING)
    story.fire(RestartRequested(ticket("forced", 1001.0, force=True)), S.RESTART_PENDING)
    assert story.armed == armed(RestartDue(story.token), due=1025.0)


def test_a_restart_that_failed_cools_too_and_its_tickets_are_failed():
    story = restarting()
    story.fire(RestartFailed(story.work, "boom", 1000.0, recovered=True), S.RUNNING)
    assert outcomes(story) == {"for g": "failed"}
    story.fire(RestartRequested(P1), S.RESTART_PENDING)
    assert (story.data.waiting, story.armed) == (Waiting.COOLDOWN, armed(RestartDue(story.token), due=1025.0))


def test_an_old_timer_and_old_work_are_refused_in_the_state_that_waits_for_new_ones():
    story = booted()
    story.fire(RestartRequested(P1), S.RESTART_PENDING)
    first = story.token
    story.fire(RestartCancelled("p1"), S.RUNNING)
    story.refuse(RestartDue(first))
    story.fire(RestartRequested(P2), S.RESTART_PENDING)
    story.refuse(RestartDue(first), "timer_is_current")
    story.ring(S.RESTART_PENDING)
    check = story.token
    story.fire(RestartRequested(P1), S.RESTART_PENDING, Outcome.COALESCED)
    story.refuse(RestartReady(check), "timer_is_current")
    story.ring(S.RESTART_PENDING)
    story.fire(RestartReady(story.token), S.RESTARTING)
    work = story.work
    story.fire(Restarted(work, "a", 1000.0, POLICY), S.RUNNING)
    story.refuse(Restarted(work, "a", 1000.0, POLICY))
    story.fire(changed("b"), S.HOT_RELOADING)
    story.refuse(PlanApplied(work, "b", complete=True), "work_is_current")


def test_a_restart_waits_for_idle_work_as_long_as_the_budget():
    story = pending()
    for moment in (1000.0, 1000.5, 1299.9):
        assert story.ring(S.RESTART_PENDING) == (CheckReadiness(story.token),)
        story.fire(WorkInFlight(story.token, 2, moment), S.RESTART_PENDING, Outcome.DEFERRED)
        assert story.data.waiting is Waiting.IDLE
        assert story.armed == armed(RestartDue(story.token), POLICY.defer_poll)
    story.ring(S.RESTART_PENDING)
    effects = story.fire(WorkInFlight(story.token, 2, 1300.0), S.RESTARTING)
    assert only(effects, RestartGateway).tickets == (ticket("for g", 150.0, "g"),)


def test_a_restart_begins_as_soon_as_the_work_is_idle():
    story = pending()
    story.ring(S.RESTART_PENDING)
    story.fire(WorkInFlight(story.token, 1, 1000.0), S.RESTART_PENDING, Outcome.DEFERRED)
    story.ring(S.RESTART_PENDING)
    story.fire(RestartReady(story.token), S.RESTARTING)
    assert story.data.deferred_since is None


def test_a_new_wait_for_idle_work_has_its_own_budget():
    story = pending()
    story.ring(S.RESTART_PENDING)
    story.fire(WorkInFlight(story.token, 1, 1000.0), S.RESTART_PENDING, Outcome.DEFERRED)
    story.fire(RestartCancelled("for g"), S.RUNNING)
    story.fire(RestartRequested(P1), S.RESTART_PENDING)
    story.ring(S.RESTART_PENDING)
    story.fire(WorkInFlight(story.token, 1, 5000.0), S.RESTART_PENDING, Outcome.DEFERRED)


def test_a_bad_file_refuses_every_ticket_and_the_gateway_runs_on():
    story = pending()
    story.fire(RestartRequested(P2), S.RESTART_PENDING, Outcome.COALESCED)
    story.ring(S.RESTART_PENDING)
    story.fire(ConfigUnfit(story.token, "no such key"), S.RUNNING)
    assert outcomes(story) == {"for g": "refused", "p2": "refused"}
    assert (story.armed, story.data.applied) == (None, "a")


def test_what_comes_during_the_start_is_handled_after_it():
    story = starting()
    story.fire(changed("b"), S.STARTING, Outcome.DEFERRED)
    story.fire(RestartRequested(P1), S.STARTING, Outcome.DEFERRED)
    effects = story.fire(Started(story.work, "a"), S.RESTART_PENDING)
    assert only(effects, ReviewConfig) == ReviewConfig("b")
    assert only(effects, ArmTimer) == armed(RestartDue(story.token), due=100.0)
    story.fire(changed("b"), S.HOT_RELOADING)
    story.fire(PlanApplied(story.work, "b", complete=True), S.RESTART_PENDING)
    assert story.data.tickets == (P1,)


@pytest.mark.parametrize(
    ("road", "end"),
    [
        (starting, lambda story: StartFailed(story.work, "x", 3)),
        (starting, lambda story: StartOverdue(story.token)),
        (restarting, lambda story: RestartFailed(story.work, "x", 0.0, recovered=False)),
        (restarting, lambda story: RestartOverdue(story.token)),
    ],
    ids=["start failed", "start overdue", "restart failed", "restart overdue"],
)
def test_a_gateway_that_cannot_run_answers_everybody_and_ends(road, end):
    story = road()
    state = story.machine.state
    story.fire(RestartRequested(P1), state, Outcome.DEFERRED)
    story.fire(changed("c"), state, Outcome.DEFERRED)
    effects = story.fire(end(story), S.FAILED)
    assert only(effects, Exit).code == (3 if isinstance(end(story), StartFailed) else 1)
    assert outcomes(story) == {"p1": "refused"} | ({"for g": "failed"} if road is restarting else {})
    assert settled(story, "c") == ["failed"]
    for event in (changed("e"), RestartRequested(P2), RestartCancelled("p1"), ConfigRejected("bad", "x")):
        story.refuse(event)
    story.fire(StopRequested("SIGTERM"), S.STOPPED)


@by_every_road
def test_stop_wins_from_every_living_state_and_leaves_nobody_waiting(road):
    story = road()
    state = story.machine.state
    if state in BUSY:
        story.fire(changed("c"), state, Outcome.DEFERRED)
    if state is S.RUNNING:
        story.fire(RestartRequested(P1), S.RESTART_PENDING)
    else:
        story.fire(
            RestartRequested(P1),
            state,
            Outcome.COALESCED if state is S.RESTART_PENDING else Outcome.DEFERRED,
        )
    work, token = story.work, story.token
    story.fire(StopRequested("SIGTERM"), S.STOPPING)
    assert set(outcomes(story)) == {told.ticket.id for told in story.said(TicketOpened)}
    assert outcomes(story)["p1"] == "refused"
    if state is S.RESTARTING:
        assert outcomes(story)["for g"] == "failed", "one that was in service"
    for revision in ("b", "c"):
        expected = {"b": state is S.HOT_RELOADING, "c": state in BUSY}[revision]
        assert settled(story, revision) == (["failed"] if expected else [])
    assert (story.work > work, story.token > token) == (True, True)
    for event in (changed("e"), RestartRequested(P2), RestartCancelled("p1"), Started(work, "a"), RestartDue(token)):
        story.refuse(event)
    story.fire(StopFinished(story.work), S.STOPPED)
    assert story.said(Exit) == [Exit(0)]
    assert story.armed is None


def test_a_second_stop_hurries_and_a_third_ends_it():
    story = booted()
    story.fire(StopRequested("SIGINT"), S.STOPPING)
    assert story.armed == armed(StopOverdue(story.token), POLICY.stop_timeout)
    effects = story.fire(StopRequested("SIGINT"), S.STOPPING, Outcome.COALESCED)
    assert effects == (HurryStop(POLICY.stop_timeout / 10), armed(StopOverdue(story.token), POLICY.stop_timeout / 10))
    story.fire(StopRequested("SIGINT"), S.STOPPED)
    assert story.said(Exit) == [Exit(0)]
    story.refuse(StopRequested("SIGINT"))


def test_a_stop_that_takes_too_long_ends_all_the_same():
    story = booted()
    story.fire(StopRequested("SIGTERM"), S.STOPPING)
    story.ring(S.STOPPED)
    assert story.said(Exit) == [Exit(0)]


# Properties, over random sequences of events

SEEDS, STEPS = 300, 200

REVISIONS = "abcde"
IMPACTS, ORIGINS = tuple(Impact), tuple(Origin)


def number(random: Random, current: int) -> int:
    """Mostly the current one."""
    return current if random.random() < 0.8 else current + random.choice((-1, 1))


def config_changed(random: Random, data: LifecycleData, step: int) -> ConfigChanged:
    return changed(
        random.choice(REVISIONS),
        random.choice(IMPACTS),
        data.applied if random.random() < 0.85 else "z",
        overlay=random.random() < 0.3,
        origin=random.choice(ORIGINS),
        reload=random.random() < 0.8,
        due_at=random.uniform(0, 2 * step),
        ticket_id=f"revision {step}",
    )


MAKERS: dict[Callable[[Random, LifecycleData, int], Event], float] = {
    config_changed: 8,
    lambda r, d, n: changed(d.reviewed or d.known, r.choice(IMPACTS), d.applied, ticket_id=f"review {n}"): 4,
    lambda r, d, n: ConfigRejected(r.choice(["bad", "worse", r.choice(REVISIONS), d.reviewed or "bad"]), "x"): 2,
    lambda r, d, n: RestartRequested(ticket(f"person {n}", r.uniform(0, 2 * n), force=r.random() < 0.1)): 3,
    lambda r, d, n: RestartCancelled(r.choice([t.id for t in (*d.tickets, *d.served)] or ["none"])): 3,
    lambda r, d, n: Started(number(r, d.work), r.choice(REVISIONS)): 3,
    lambda r, d, n: PlanApplied(number(r, d.work), d.carried or "a", complete=True): 3,
    lambda r, d, n: PlanApplied(number(r, d.work), f"{d.applied}+", complete=False): 1,
    lambda r, d, n: PlanFailed(number(r, d.work), "x"): 2,
    lambda r, d, n: ReloadOverdue(number(r, d.timer)): 1,
    lambda r, d, n: RestartDue(number(r, d.timer)): 4,
    lambda r, d, n: RestartReady(number(r, d.timer)): 3,
    lambda r, d, n: WorkInFlight(number(r, d.timer), r.choice([None, 1]), 10.0 * n): 2,
    lambda r, d, n: ConfigUnfit(number(r, d.timer), "x"): 1,
    lambda r, d, n: Restarted(number(r, d.work), r.choice(REVISIONS), float(n), POLICY): 3,
    lambda r, d, n: Vacated(number(r, d.work)): 1,
    lambda r, d, n: RestartFailed(number(r, d.work), "x", float(n), recovered=r.random() < 0.8): 1,
    lambda r, d, n: StartFailed(number(r, d.work), "x", 1): 0.2,
    lambda r, d, n: StartOverdue(number(r, d.timer)): 0.2,
    lambda r, d, n: RestartOverdue(number(r, d.timer)): 0.2,
    lambda r, d, n: StopFinished(number(r, d.work)): 2,
    lambda r, d, n: StopFailed(number(r, d.work), "x"): 1,
    lambda r, d, n: StopOverdue(number(r, d.timer)): 1,
    lambda r, d, n: StopRequested("SIGTERM"): 0.5,
}
MAKERS_UP_TO = tuple(accumulate(MAKERS.values()))
DEADLINES = {
    S.STARTING: StartOverdue,
    S.HOT_RELOADING: ReloadOverdue,
    S.RESTARTING: RestartOverdue,
    S.STOPPING: StopOverdue,
}


class Watch:
    """Follows one machine, and asserts after each step what must always be true."""

    def __init__(self) -> None:
        self.machine = Lifecycle("gateway", LifecycleData())
        self.opened: set[str] = set()
        self.closed: set[str] = set()
        self.handling: Counter[str] = Counter()
        """How often each revision still has to be settled."""
        self.armed: Event | None = None
        self.check: int | None = None
        """The number that the readiness is being looked at under."""

    def fire(self, event: Event) -> None:
        state, before = self.machine.state, self.machine.data
        answer = self.machine.fire(event)
        if isinstance(answer, Refusal):
            assert self.machine.state is state
            assert self.machine.data is before
            return
        self._begin(event, before, absorbed="revision_is_known" in TABLE[answer.row].guards)
        if event == self.armed:
            self.armed = None
        for effect in answer.effects:
            given_up = isinstance(event, RestartCancelled | ConfigUnfit | RestartFailed)
            reverted = isinstance(event, ConfigChanged) and event.impact is Impact.NONE
            if isinstance(effect, SettleRevision) and (
                (given_up and effect.outcome == "noted") or (reverted and not self.handling[effect.revision])
            ):
                assert effect.revision == before.awaiting, "a second word is for what was told to wait"
            else:
                self._follow(effect)
        self._look()

    def _begin(self, event: Event, before: LifecycleData, absorbed: bool) -> None:
        """A revision that is accepted is to be settled. A review goes on with the handling; a joiner shares one."""
        if isinstance(event, ConfigChanged | ConfigRejected):
            goes_on = not absorbed and before.reviewed == event.revision
            again = event.revision in (before.kept, before.reviewed)
            again = again or (isinstance(event, ConfigRejected) and event.revision == before.carried)
            joins = again or (absorbed and (self.handling[event.revision] or isinstance(event, ConfigRejected)))
            if not goes_on and not joins:
                self.handling[event.revision] += 1

    def _follow(self, effect: Effect) -> None:
        if isinstance(effect, TicketOpened):
            assert effect.ticket.id not in self.opened, "opened twice"
            self.opened.add(effect.ticket.id)
        elif isinstance(effect, CloseTicket):
            assert effect.id in self.opened, "closed and never opened"
            assert effect.id not in self.closed, f"{effect.id} was closed twice"
            self.closed.add(effect.id)
        elif isinstance(effect, SettleRevision):
            assert self.handling[effect.revision], f"{effect.revision} was settled twice for one handling: {effect}"
            self.handling[effect.revision] -= 1
        elif isinstance(effect, ArmTimer):
            self.armed = effect.then
        elif isinstance(effect, DisarmTimer):
            self.armed = None
        elif isinstance(effect, CheckReadiness):
            self.check = effect.token

    def _look(self) -> None:
        state, data = self.machine.state, self.machine.data
        waiting = {told.id for told in (*data.tickets, *data.served)}
        assert waiting == self.opened - self.closed, "who waits is known, and nobody else is"
        assert bool(data.tickets) or state is not S.RESTART_PENDING
        assert not data.tickets or state in (S.RESTART_PENDING, *BUSY)
        assert bool(data.served) == (state is S.RESTARTING)
        assert (data.carried is not None) == (state is S.HOT_RELOADING)
        assert data.kept is None or state in BUSY
        assert (data.waiting is Waiting.NOTHING) == (state is not S.RESTART_PENDING)
        if state in (S.STOPPING, S.STOPPED, S.FAILED):
            assert self.opened == self.closed, "nobody waits in vain"
            assert +self.handling == Counter()
        self._is_not_stuck(state, data)

    def _is_not_stuck(self, state: LifecycleState, data: LifecycleData) -> None:
        """Whatever is under way ends: by the timer that is armed, or by the look that is being taken."""
        if state is S.RESTART_PENDING:
            assert self.armed == RestartDue(data.timer) or self.check == data.timer
        elif state in DEADLINES:
            assert self.armed == DEADLINES[state](data.timer)
        elif state is S.RUNNING:
            assert self.armed is None


def booted_watch() -> Watch:
    watch = Watch()
    watch.fire(Boot("a", POLICY))
    return watch


def wander(seed: int, steps: int) -> Counter[LifecycleState]:
    """Random events through one machine, then a stop; a new machine where one has come to its end."""
    random, seen = Random(seed), Counter[LifecycleState]()
    watch = booted_watch()
    makers = tuple(MAKERS)
    for step in range(1, steps + 1):
        event = random.choices(makers, cum_weights=MAKERS_UP_TO)[0](random, watch.machine.data, step)
        watch.fire(event)
        seen[watch.machine.state] += 1
        if watch.machine.state is S.FAILED:
            watch.fire(StopRequested("SIGTERM"))
        if watch.machine.state is S.STOPPED:
            watch = booted_watch()
    watch.fire(StopRequested("SIGTERM"))
    assert watch.machine.state in (S.STOPPING, S.STOPPED)
    return seen


def test_every_ticket_and_every_revision_gets_one_outcome_whatever_happens():
    """A ticket is closed at most once, and after a stop exactly once; each handling of a revision is settled once."""
    seen: Counter[LifecycleState] = Counter()
    for seed in range(SEEDS):
        try:
            seen += wander(seed, STEPS)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error!r}") from error
    assert set(seen) == set(S), "the wandering is worth nothing where it does not come"
    assert min(seen[state] for state in ALIVE) > SEEDS * STEPS / 50


@pytest.mark.parametrize("state", [*ALIVE, S.FAILED], ids=lambda state: state.value)
def test_a_stop_answers_everybody_from_there(state):
    """Random tickets and revisions in every combination of the places where they can wait."""
    random = Random(state.value)
    for _ in range(100):
        mine = [ticket(f"t{index}", random.uniform(0, 100)) for index in range(random.randint(0, 4))]
        cut = random.randint(0, len(mine))
        carried, kept, reviewed = (random.choice([None, revision]) for revision in "bce")
        data = d(tickets=tuple(mine[:cut]), served=tuple(mine[cut:]), carried=carried, kept=kept, reviewed=reviewed)
        if state is S.FAILED:
            data = d()
        story = Story(lifecycle(state, data))
        story.fire(StopRequested("SIGTERM"), S.STOPPED if state is S.FAILED else S.STOPPING)
        expected = {told.id: "refused" for told in data.tickets} | {told.id: "failed" for told in data.served}
        assert outcomes(story) == expected
        waited = [revision for revision in (data.carried, data.kept, data.reviewed) if revision is not None]
        assert [told.revision for told in story.said(SettleRevision)] == waited


@pytest.mark.parametrize("given_up", ["cancelled", "unfit", "failed"])
def test_what_waits_for_a_restart_that_will_not_come_is_told_so(given_up):
    story = Story(lifecycle(S.RUNNING, d()))
    story.fire(changed("b", Impact.GATEWAY), S.RESTART_PENDING)
    assert story.data.awaiting == "b"
    if given_up == "cancelled":
        story.fire(RestartCancelled("for b"), S.RUNNING)
    elif given_up == "unfit":
        story.fire(ConfigUnfit(story.data.timer, "it is not valid"), S.RUNNING)
    else:
        story.fire(RestartReady(story.data.timer), S.RESTARTING)
        story.fire(RestartFailed(story.work, "no port", 5.0, recovered=True), S.RUNNING)
    assert settled(story, "b") == ["restart_pending", "noted"]
    assert story.data.awaiting is None


@pytest.mark.parametrize("gone", ["reverted", "applied", "restarted"])
def test_what_runs_waits_for_no_restart_any_more(gone):
    story = Story(lifecycle(S.RUNNING, d()))
    story.fire(changed("b", Impact.GATEWAY), S.RESTART_PENDING)
    if gone == "reverted":
        story.fire(changed("c", Impact.NONE), S.RUNNING)
    elif gone == "applied":
        story.fire(changed("c"), S.HOT_RELOADING)
        story.fire(PlanApplied(story.work, "c", complete=True), S.RUNNING)
    else:
        story.fire(RestartReady(story.data.timer), S.RESTARTING)
        story.fire(Restarted(story.work, "b", 5.0, POLICY), S.RUNNING)
    assert story.data.awaiting is None


# Faults that the tables had, and what holds in their place


def test_a_revision_under_review_is_answered_when_a_stale_plan_of_another_comes():
    """`review` forgets which revision was being read again: its submitter is never answered, not even by a stop."""
    story = reloading()
    story.fire(changed("c"), S.HOT_RELOADING, Outcome.DEFERRED)
    story.fire(PlanApplied(story.work, "b", complete=True), S.RUNNING)
    assert story.data.reviewed == "c"
    story.fire(changed("e", base="a"), S.RUNNING, Outcome.DEFERRED)
    story.fire(changed("e", base="b"), S.HOT_RELOADING)
    story.fire(PlanApplied(story.work, "e", complete=True), S.RUNNING)
    story.fire(StopRequested("SIGTERM"), S.STOPPING)
    assert settled(story, "c") == ["superseded"]


def test_a_revert_to_what_runs_that_is_kept_is_not_answered_before_it_is_handled():
    """What runs is about to be replaced by b, so a is no noop. The second event is that of the first one's own file.

    The ledger takes `noop` for "a runs" while b is being applied: from then on every review is stale, for ever.
    """
    story = reloading()
    story.fire(changed("a"), S.HOT_RELOADING, Outcome.DEFERRED)
    effects = story.fire(changed("a"), S.HOT_RELOADING, Outcome.COALESCED)
    assert effects == ()


def test_after_a_restart_that_read_another_file_the_older_revision_is_news():
    """The file was g for the restart to read and is a again before anybody noticed: a is known, and not what runs."""
    story = booted()
    story.fire(RestartRequested(P1), S.RESTART_PENDING)
    story.ring(S.RESTART_PENDING)
    story.fire(RestartReady(story.token), S.RESTARTING)
    story.fire(Restarted(story.work, "g", 1000.0, POLICY), S.RUNNING)
    story.fire(changed("a", base="g", origin=Origin.FILE), S.HOT_RELOADING)


def test_a_kept_revision_that_comes_again_is_not_superseded_by_itself():
    story = reloading()
    story.fire(changed("c"), S.HOT_RELOADING, Outcome.DEFERRED)
    story.fire(ConfigRejected("bad", "x"), S.HOT_RELOADING)
    effects = story.fire(changed("c"), S.HOT_RELOADING, Outcome.DEFERRED)
    assert SettleRevision("c", "superseded", "c") not in effects


def test_a_forced_ticket_forces_nothing_before_it_is_due():
    """It asks for a restart at 900 that does not wait for work; at 100 work is in flight and another ticket is due."""
    story = booted()
    story.fire(RestartRequested(P1), S.RESTART_PENDING)
    story.fire(RestartRequested(ticket("forced", 900.0, force=True)), S.RESTART_PENDING, Outcome.COALESCED)
    story.ring(S.RESTART_PENDING)
    story.fire(WorkInFlight(story.token, 2, 100.0), S.RESTART_PENDING, Outcome.DEFERRED)
