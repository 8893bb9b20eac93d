"""What the Promela model holds, by the names under which the explorer holds the same."""

from __future__ import annotations

ONE_RECEIVER = "one receiver an account"
APPLIED_ONCE = "a revision is applied once"
ONE_OUTCOME = "a request has one outcome"
OPEN_TICKETS = "a restart serves open tickets"
CHANGE_KEPT = "a change is not dropped"
STOP_ARRIVES = "a stop arrives"
STALE = "what is stale moves nothing"
ONE_WORK = "one piece of work at a time"
ENDS = "what is under way ends"

PROMISES: dict[str, str] = {
    "one_receiver": ONE_RECEIVER,
    "applied_once": APPLIED_ONCE,
    "one_outcome": ONE_OUTCOME,
    "open_tickets": OPEN_TICKETS,
    "change_kept": CHANGE_KEPT,
    "stop_arrives": STOP_ARRIVES,
    "stale": STALE,
    "one_work": ONE_WORK,
    "ends": ENDS,
}
"""Each promise by the word that says in the model that it is broken: `broken_<word>`."""

MODEL_FITS = "the model's bounds hold what happens"
"""Not a promise of the gateway: when this one is broken, the model is too small and proves nothing."""
