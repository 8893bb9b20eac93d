"""Configs in the product, small enough to be told apart by two letters: what needs a restart, and one account's settings.

`0a` and `1a` differ in something that needs a restart of the gateway, `0a` and `0b` in settings of the edited account,
`0-` switches that account off, `0a#` says the same as `0a` in other bytes, and `bad` cannot be used.
An overlay's identity names what runs and the revision that it is a part of: `0b+1b`.
"""

from __future__ import annotations

import msgspec

from statemachine.lifecycle_events import Impact
from statemachine.world.account import OFF

FIRST = "0a"
BAD = "bad"
REVISIONS = (FIRST, "0b", "1a", "1b", "0-", "0a#", BAD)
TO_CONFIRM = ("0b", "1a")
"""What calls write that must be confirmed: one that can be reloaded, one that needs a restart."""
UNEDITED = "a"
"""Settings of the accounts that nobody edits."""


def config_of(identity: str) -> str:
    """What runs under an identity: its two letters."""
    return identity[:2]


def settings_of(identity: str, account: int) -> str:
    """Settings of one account; number 0 is the one that is edited."""
    letter = identity[1] if account == 0 else UNEDITED
    return OFF if letter == "-" else letter


def impact(old: str, new: str) -> Impact:
    old, new = config_of(old), config_of(new)
    if old[0] != new[0]:
        return Impact.GATEWAY
    return Impact.CHANNEL if old[1] != new[1] else Impact.NONE


class Proposal(msgspec.Struct, frozen=True, cache_hash=True):
    """What becoming of a revision means now, as `gateway.config.ledger` would say it."""

    revision: str
    base: str
    whole: Impact
    identity: str
    complete: bool


def propose(revision: str, applied: str, waiting: str | None, *, astray: bool) -> Proposal:
    """Plan a revision against what runs; beside one that waits for a restart, what can be applied now is an overlay.

    `astray`: a reload broke off, and whatever comes has accounts to bring back.
    """
    whole = impact(applied, revision)
    if whole is Impact.GATEWAY and waiting is not None and impact(waiting, revision) is Impact.CHANNEL:
        target = applied[0] + revision[1]
        if astray or target != config_of(applied):
            return Proposal(revision, applied, whole, f"{target}+{revision}", complete=False)
    needed = max(whole, Impact.CHANNEL) if astray else whole
    return Proposal(revision, applied, needed, revision, complete=True)
