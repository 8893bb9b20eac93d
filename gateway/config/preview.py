"""A plan as it is shown before anything is written: what would change, what would be fired, and what may not be meant.

It is made of the very proposal that a write would post, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from gateway.config.file import MISSING, revision_of
from gateway.config.ledger import Proposal
from gateway.config.model import Account, Config
from gateway.config.plan import AccountAction, Plan, place_of, plan_id
from statemachine import Event
from statemachine.channel_events import Adjust, Restart, Stop
from statemachine.lifecycle_events import ConfigChanged, Impact, RestartDue

ANYBODY = "*"

FIRED: Mapping[AccountAction, type[Event]] = {
    AccountAction.START: Restart,  # of a stopped account it is a start
    AccountAction.RESTART: Restart,
    AccountAction.STOP: Stop,
    AccountAction.LIVE: Adjust,
}
"""What the machine of an account is told, by what the plan does to it."""


@dataclass(frozen=True)
class Firing:
    """One trigger that would be fired at a machine, and why."""

    machine: str
    trigger: str
    why: str


@dataclass(frozen=True)
class PlanWarning:
    """What a person who reads the plan should look at twice."""

    code: str
    path: str
    message: str


def preview(proposal: Proposal, applied: Config, current: bytes | None, lifecycle: str) -> dict[str, Any]:
    """The answer to a call for the plan. `applied` is what runs, `current` the file's bytes, None where there is none.

    `lifecycle` is the name of the lifecycle's machine.
    """
    disk = None if current is None else revision_of(current)
    new = proposal.revision
    return {
        "plan_id": plan_id(proposal.base, disk or MISSING, new.id),
        "base": disk,
        "applied": proposal.base,
        "revision": new.id,
        "changed_paths": proposal.whole.paths,
        "changes": [change.describe() for change in proposal.whole.changes],
        **proposal.whole.describe(),
        "triggers": [asdict(firing) for firing in firings(proposal, applied, lifecycle)],
        "warnings": [asdict(warning) for warning in warnings(applied, new.config, current, new.raw)],
        "needs": needs(proposal, applied),
    }


def needs(proposal: Proposal, applied: Config) -> str:
    """nothing, reload or restart: what has to happen until all of it runs."""
    if proposal.impact is Impact.NONE:
        return "nothing"
    return "reload" if _reloads(applied) and proposal.impact < Impact.GATEWAY else "restart"


def _reloads(applied: Config) -> bool:
    return applied.gateway.reload.mode == "hybrid"


# Triggers


def firings(proposal: Proposal, applied: Config, lifecycle: str) -> Iterator[Firing]:
    """What a write of the proposal would fire, in its order; the completions that follow are not among them."""
    need = needs(proposal, applied)
    yield Firing(lifecycle, ConfigChanged.trigger, "the file is written")
    if need == "reload" or (not proposal.complete and _reloads(applied)):
        # Of a revision that waits for a restart, what can be had before it.
        yield from _reload(proposal.plan, applied, proposal.target)
    if need == "restart":
        yield Firing(lifecycle, RestartDue.trigger, _why_restart(proposal, applied))
        yield from _restart(applied, proposal.revision.config)


def _why_restart(proposal: Proposal, applied: Config) -> str:
    delay = proposal.revision.config.gateway.restart.delay_ms / 1000
    if not _reloads(applied):
        return f"gateway.reload.mode is off: it runs after a restart, {delay:g} s from then"
    asking = [change.dotted for change in proposal.whole.changes if change.impact is Impact.GATEWAY]
    return f"{', '.join(asking)}: a change of it needs a restart, {delay:g} s from then"


def _reload(plan: Plan, before: Config, after: Config) -> Iterator[Firing]:
    yield from _cleared(before, after)
    for name, action in plan.accounts.items():
        if action in FIRED:
            yield Firing(name, FIRED[action].trigger, _why(name, action, plan, before, after))


def _restart(before: Config, after: Config) -> Iterator[Firing]:
    yield from _cleared(before, after)
    for name, account in after.accounts().items():
        action = AccountAction.RESTART if account.enabled else AccountAction.STOP
        yield Firing(name, FIRED[action].trigger, "the gateway restarts")
    for name in before.accounts():
        if name not in after.accounts():
            yield Firing(name, Stop.trigger, "it is removed")


def _cleared(before: Config, after: Config) -> Iterator[Firing]:
    """A bot that becomes another account's is let go first."""
    owners = after.owners()
    for identity, name in before.owners().items():
        if owners.get(identity, name) != name:
            yield Firing(name, Stop.trigger, f"its bot is {owners[identity]}'s from then on")


def _why(name: str, action: AccountAction, plan: Plan, before: Config, after: Config) -> str:
    if action is AccountAction.START:
        return "it is enabled" if name in before.accounts() else "it is new"
    if action is AccountAction.STOP:
        return "it is disabled" if name in after.accounts() else "it is removed"
    fields = [change.path[4] for change in plan.changes if change.path[:4] == place_of(name)]
    return f"its {', '.join(fields)} changed"


# Warnings


def warnings(before: Config, after: Config, old: bytes | None, new: bytes) -> Iterator[PlanWarning]:
    """What is taken away or opened, perhaps by mistake."""
    if old is not None and len(new) < len(old) / 2:
        message = f"the file shrinks from {len(old):,} bytes to {len(new):,}: less than half is left"
        yield PlanWarning("file_shrunk", "", message)
    if before.routes and not after.routes:
        yield PlanWarning("routes_emptied", "routes", "no route is left: no message will be answered")
    accounts = after.accounts()
    for name, account in before.accounts().items():
        if name not in accounts:
            yield PlanWarning("account_removed", _place(name), f"{name} is removed")
        else:
            yield from _of_account(name, account, accounts[name])


def _of_account(name: str, old: Account, new: Account) -> Iterator[PlanWarning]:
    place = _place(name)
    if old.enabled and not new.enabled:
        yield PlanWarning("account_disabled", f"{place}.enabled", f"{name} is disabled")
    if old.allow_from and not new.allow_from:
        message = f"nobody may write to {name} any more"
        yield PlanWarning("allow_list_emptied", f"{place}.allow_from", message)
    if ANYBODY in new.allow_from and ANYBODY not in old.allow_from:
        yield PlanWarning("allow_list_opened", f"{place}.allow_from", f"anybody may write to {name} from then on")


def _place(name: str) -> str:
    return ".".join(place_of(name))
