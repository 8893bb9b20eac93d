"""What is held against every reachable world, by the names that explore, Spin, their tests and their stories share."""

from __future__ import annotations

ONE_HOST = "one host receives on an account"
ONE_RECEIVER = "one receiver an account"
APPLIED_ONCE = "a revision is applied once"
ONE_OUTCOME = "a request has one outcome"
OPEN_TICKETS = "a restart serves open tickets"
CHANGE_KEPT = "a change is not dropped"
STOP_ARRIVES = "a stop arrives"
STALE = "what is stale moves nothing"
STAYS_STOPPED = "what a person stopped stays stopped"
LEASED = "who has not the lease of an account does not receive on it"
WAKES = "what ran before the host slept begins anew"
ONE_WORK = "one piece of work at a time"
ENDS = "what is under way ends"
CONFIRMED = "only what was confirmed stays"
BESIDE = "nothing is begun beside a change to be confirmed"
STAYS_AWAY = "what was rolled back stays away"
CONFIRMED_IS_KEPT = "what was confirmed to the network is in the store"
HANDLED = "what is in the store is handled"
REPLIED = "a reply is sent, dead, or unknown and shown"
SENT_ONCE = "nothing is sent twice unmarked"
IN_ORDER = "in order within a conversation"
LEFT_EMPTY = "a process is replaced when no receiver of it lives"

PROMISES = frozenset(
    {
        APPLIED_ONCE,
        BESIDE,
        CHANGE_KEPT,
        CONFIRMED,
        CONFIRMED_IS_KEPT,
        ENDS,
        HANDLED,
        IN_ORDER,
        LEASED,
        LEFT_EMPTY,
        ONE_HOST,
        ONE_OUTCOME,
        ONE_RECEIVER,
        ONE_WORK,
        OPEN_TICKETS,
        REPLIED,
        SENT_ONCE,
        STALE,
        STAYS_AWAY,
        STAYS_STOPPED,
        STOP_ARRIVES,
        WAKES,
    }
)

OF_CHANGES = frozenset({BESIDE, CONFIRMED, STAYS_AWAY})
"""Those about changes that must be confirmed, which Spin is not given."""

OF_HOSTS = frozenset({LEASED, ONE_HOST})
"""Those about several hosts, of which Spin's model has none."""

OF_MESSAGES = frozenset({CONFIRMED_IS_KEPT, HANDLED, IN_ORDER, REPLIED, SENT_ONCE})
"""Those about messages: Spin's model has none, and is not given them."""
