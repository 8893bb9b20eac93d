"""What tests of changes share: a config with one account, variations of it, and questions to a house."""

from __future__ import annotations

from tests.gateway.configs import cold, telegram
from tests.gateway.process.house import House

MAIN = "telegram/main"
ONE = telegram(main="token: one-token")
TWO = telegram(main="token: two-token")
THREE = telegram(main="token: three-token")
COLD = cold(ONE)
"""Needs a restart."""
LIVE = ONE + "store: {keep_days: 7}\n"
BROKEN = "gateway: {nme: x}\n"


def applications(house: House) -> list[str]:
    """The triggers by which a config came to run."""
    return [name for name in house.triggers() if name in ("started", "plan_applied", "restarted")]


def drain_timeout(house: House) -> int:
    """A setting that only a restart changes, as it runs."""
    return house._ledger.applied.gateway.restart.drain_timeout_ms


def outcomes(house: House) -> list[str]:
    """What became of every call that wanted to change the file."""
    return [request.outcome for request in house._requests._requests.values() if request.kind == "change"]
