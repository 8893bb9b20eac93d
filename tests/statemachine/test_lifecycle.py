"""The lifecycle's table: each row, each cell, each guard, and the stories that the rows tell together."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any
from unittest.mock import ANY

import pytest
from msgspec.structs import replace

from statemachine import Event, Lifecycle, LifecycleState, Outcome
from statemachine.effects import DisarmTimer
from statemachine.lifecycle import ALIVE, BUSY, SERVING
from statemachine.lifecycle_data import LifecycleData, Waiting
from statemachine.lifecycle_events import (
    AbandonPlan,
    ApplyPlan,
    Boot,
    CancelWork,
    CheckReadiness,
    CloseTicket,
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
    FOR_B,
    FOR_G,
    P1,
    P2,
    POLICY,
    Case,
    Story,
    armed,
    changed,
    lifecycle,
    lifecycle_data,
    ticket,
)
from .tables import TableTests

S = LifecycleState

FORCED = ticket("forced", 100.0, force=True)
NEXT_POLICY = LifecyclePolicy(cooldown=50.0)
BY_EXEC, BY_EXIT = replace(POLICY, restart_by=RestartBy.EXEC), replace(POLICY, restart_by=RestartBy.EXIT)


def d(**changes: Any) -> LifecycleData:
    """Revision a runs, timer 7 and work 3 are current."""
    return lifecycle_data(**changes)


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
