"""What clients are shown. Every answer passes the redactor on its way out; nothing here decides anything."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from gateway.admin.services import Services
from gateway.config.custody import custody_of
from gateway.config.model import Account
from gateway.process import budget, conflicts
from gateway.process.changes import LIFECYCLE
from statemachine import MACHINES, Machine
from statemachine.channel import Channel, has_spent_its_starts, is_running, waits_for_lease
from statemachine.circuit import Circuit, CircuitData
from statemachine.lease import is_unanswered
from statemachine.lifecycle import is_serving

AnyMachine = Machine[Any, Any]
OWN_TASKS = frozenset({"dispatcher", "watchdog", "loopwatch", "reaper", "store"})

VERBS = ("start", "stop", "restart")

UNTRIED = Circuit("", CircuitData())
"""As good as the circuit of a handler that has never failed: it has none."""


class Views:
    """Read-only pictures of the running gateway."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @property
    def _lifecycle(self) -> AnyMachine:
        return self._services.dispatcher.machine(LIFECYCLE)

    def status(self) -> dict[str, Any]:
        services, data = self._services, self._lifecycle.data
        return {
            **self.lifecycle(),
            "boot": services.boot().id,
            "boot_at": services.boot().at,
            "now": services.clock.wall_ms(),
            "name": services.ledger.applied.gateway.name,
            "config": self._config(),
            "restarts": data.restarts,
            "restart": services.choice.as_dict(),
            "accounts": self.accounts(),
            "pending": services.messages.pending(),
            "handlers": self.handlers(),
            "process": self._process(),
        }

    def _process(self) -> dict[str, Any]:
        return {
            "pid": os.getpid(),
            "tasks": len(asyncio.all_tasks()),
            "blocked": self._services.loop_watch.shown(),
        }

    def what_runs(self) -> dict[str, Counter[str]]:
        """Tasks and timers by kind: what grows where something is begun and not ended. A step for each of them."""
        tasks = Counter(task_kind(task.get_name()) for task in asyncio.all_tasks())
        find = self._services.dispatcher.find
        machines = [find(name) for name in self._services.runner.timers]
        timers = Counter(machine.kind for machine in machines if machine is not None)
        # The loop shows its timers to nobody; those of sleeps and deadlines are among them.
        scheduled = getattr(asyncio.get_running_loop(), "_scheduled", ())
        timers["loop"] = sum(not handle.cancelled() for handle in scheduled)
        return {"tasks": tasks, "timers": timers}

    def handlers(self) -> list[dict[str, str]]:
        """What answers messages, and whether it is asked now."""
        find = self._services.dispatcher.find
        return [
            {
                "handler": name,
                "type": settings.type,
                "circuit": (find(f"circuit/{name}") or UNTRIED).state.value,
            }
            for name, settings in self._services.ledger.applied.handlers.items()
        ]

    def lifecycle(self) -> dict[str, Any]:
        machine, now = self._lifecycle, self._services.clock.monotonic()
        return {
            "state": machine.state.value,
            "since": self._services.journal.moved_at(LIFECYCLE),
            "waiting": machine.data.waiting.value,
            "tickets": [
                {
                    "id": ticket.id,
                    "requester": ticket.requester,
                    "reason": ticket.reason,
                    "revision": ticket.revision,
                    "due_in_ms": max(0, round((max(ticket.due_at, machine.data.cooled_at) - now) * 1000)),
                }
                for ticket in machine.data.tickets
            ],
            "degraded": self.degraded(),
            "allowed": list(machine.allowed),
        }

    def _config(self) -> dict[str, Any]:
        services, record = self._services, self._services.standing.record
        window, aside = record.window, record.set_aside
        owner = custody_of(services.changes.path)
        return {
            "path": str(services.changes.path),
            "on_disk": services.changes.on_disk,
            "accepted": services.ledger.accepted.id,
            "applied": services.ledger.applied_id,
            "last_good": record.last_good,
            "drift": self.drift(),
            "window": {"revision": window.revision, "base": window.base, "confirm_by": window.until}
            if window
            else None,
            "set_aside": {"revision": aside.revision, "base": aside.base, "why": aside.why} if aside else None,
            "watching": services.watching(),
            "writable": owner is None,
            "owner": owner,
            "issues": services.changes.issues,
        }

    def config_event(self, revision: str) -> dict[str, Any]:
        """What clients are told when something becomes of a revision."""
        return {"revision": revision, "applied": self._services.ledger.applied_id, "drift": self.drift()}

    def drift(self) -> bool:
        """Whether what is on disk is not what runs."""
        return bool(self._services.changes.on_disk != self._lifecycle.data.applied)

    def degraded(self) -> list[dict[str, str]]:
        """Why all is not well, each reason with its remedy."""
        return [*self._config_reasons(), *self._process_reasons(), *self._message_reasons(), *self._account_reasons()]

    def _process_reasons(self) -> Iterator[dict[str, str]]:
        if short := self._services.stop_shortfall():
            yield {"reason": "stop_budget", "detail": short, "remedy": budget.REMEDY}

    def _account_reasons(self) -> Iterator[dict[str, str]]:
        for name, machine in self._channels().items():
            if machine.has_failed:
                detail = f"{name} is {machine.state.value}: {machine.data.last_error or 'it does not end'}"
                remedy = "mend the account's settings, or start it by hand once the cause is gone"
                yield {"reason": "channel_failed", "detail": detail, "remedy": remedy}
            if has_spent_its_starts(machine):
                detail = f"{name} is {machine.state.value}: {machine.data.last_error}"
                remedy = (
                    "find out why its sessions end; it begins again by itself, and to start it by hand helps no sooner"
                )
                yield {"reason": "session_starts_spent", "detail": detail, "remedy": remedy}
            since = self._conflict_since(machine)
            if since is not None:
                began = datetime.fromtimestamp(since / 1000, UTC).isoformat(timespec="seconds")
                number = len(machine.data.conflicts)
                often = f"{number} conflict{'' if number == 1 else 's'} in the last hour"
                detail = (
                    f"somebody else receives on {name}, since {began} ({often}); its state is {machine.state.value}"
                )
                yield {"reason": "channel_conflict", "detail": detail, "remedy": conflicts.REMEDY}

            lease = self._services.leases.of(name)
            if lease is not None and is_unanswered(lease):
                detail = f"the lease of {name} is {lease.state.value}: {lease.data.why}"
                remedy = "mend the servers of gateway.lease, or the way to them; until then who has it may lose it"
                yield {"reason": "lease_store", "detail": detail, "remedy": remedy}

    def _conflict_since(self, machine: AnyMachine) -> int | None:
        """When somebody else began to receive on it, in wall-clock milliseconds."""
        since, clock = machine.data.conflict_since, self._services.clock
        return None if since is None else clock.wall_ms() - round((clock.monotonic() - since) * 1000)

    def _message_reasons(self) -> Iterator[dict[str, str]]:
        messages = self._services.messages
        if messages.trouble:
            detail = f"{messages.store.path} cannot be written: {messages.trouble}; nothing is confirmed meanwhile"
            yield {
                "reason": "store_stalled",
                "detail": detail,
                "remedy": "make room, or let go of the file; it is tried again",
            }
        for name, why in messages.handlers.broken.items():
            yield {
                "reason": "handler_broken",
                "detail": why,
                "remedy": f"mend handlers.{name}, or what it names; its messages wait",
            }
        if messages.pipeline.full:
            detail = f"{messages.in_flight} messages are not handled yet: no more are received until there is room"
            yield {
                "reason": "pipeline_full",
                "detail": detail,
                "remedy": "look at the handlers: they are slower than the messages come",
            }

    def _config_reasons(self) -> Iterator[dict[str, str]]:
        changes, standing = self._services.changes, self._services.standing
        aside = standing.record.set_aside
        if self._lifecycle.data.rejected is not None:
            why = "; ".join(issue["message"] for issue in changes.issues) or "the file cannot be used"
            yield {"reason": "config_rejected", "detail": why, "remedy": "mend the config file"}
        elif aside is not None and aside.revision == changes.on_disk:
            detail = f"the file holds {aside.revision[:12]}, which was rolled back: {aside.why}"
            remedy = f"apply the file again to adopt it (SIGHUP does), or restore it by a rollback to {aside.base[:12]}"
            yield {"reason": "drift", "detail": detail, "remedy": remedy}
        elif self.drift():
            detail = "the file differs from what runs"
            yield {"reason": "drift", "detail": detail, "remedy": "restart, or put the file back"}
        if standing.fault:
            remedy = "make room, or mend the state folder: a rollback may not outlive the process"
            yield {"reason": "not_durable", "detail": standing.fault, "remedy": remedy}

    # Accounts

    def _channels(self) -> dict[str, AnyMachine]:
        return self._services.dispatcher.machines(Channel)

    def account(self, name: str) -> dict[str, Any]:
        """One account. Raises KeyError when there is none."""
        machine = self._services.dispatcher.machine(name)
        channel, account = name.split("/", 1)
        settings = self._services.ledger.applied.accounts().get(name)
        report = self._services.hooks.report(name)
        return {
            "channel": channel,
            "account": account,
            "enabled": settings is not None and settings.enabled,
            "state": machine.state.value,
            "since": self._services.journal.moved_at(name),
            "generation": machine.data.generation,
            "last_receive_ms": self._services.receivers.last_receive(name),
            "held": machine.data.held,
            "attempts": machine.data.attempts,
            "conflicts": len(machine.data.conflicts),
            "conflict_since": self._conflict_since(machine),
            "error": self._error(machine),
            "webhook": None if report is None else vars(report),
            "lease": self._lease(name),
            "allowed": list(machine.allowed),
            "refused": self._refused(machine, settings),
        }

    def _error(self, machine: AnyMachine) -> str | None:
        """Of one that waits for its lease: why it has not got it now, which may be another reason than the first."""
        lease = self._services.leases.of(machine.name) if waits_for_lease(machine) else None
        said = lease.data.why if lease is not None else ""
        return said or machine.data.last_error or None

    def _lease(self, account: str) -> dict[str, Any] | None:
        lease = self._services.leases.of(account)
        return None if lease is None else {"state": lease.state.value, "term": lease.data.term, "why": lease.data.why}

    def _refused(self, machine: AnyMachine, settings: Account | None) -> dict[str, list[str]]:
        """What the machine would refuse a person now, and the guards that say no; none where its state has no row for it."""
        if settings is None:  # it is leaving: nobody may ask for anything
            return {verb: [] for verb in VERBS}
        ask, revision = self._services.accounts.asked, self._services.ledger.applied_id
        answers = {verb: machine.refusal(ask(verb, machine.name, settings, revision)) for verb in VERBS}
        return {verb: list(answer.guards) for verb, answer in answers.items() if answer is not None}

    def accounts(self) -> list[dict[str, Any]]:
        return [self.account(name) for name in self._channels()]

    def channels_status(self, channel: str | None) -> dict[str, Any]:
        """channels.status in the published shape."""
        accounts: dict[str, list[dict[str, Any]]] = {}
        for account in self.accounts():
            if channel in (None, account["channel"]):
                accounts.setdefault(account["channel"], []).append(_published(account))
        return {
            "ts": self._services.clock.wall_ms(),
            "channelOrder": list(accounts),
            "channelLabels": {name: name.capitalize() for name in accounts},
            "channels": {name: {"configured": True} for name in accounts},
            "channelAccounts": accounts,
            "channelDefaultAccountId": {name: items[0]["accountId"] for name, items in accounts.items()},
        }

    # Readiness

    def readiness(self, *, channels: bool) -> tuple[bool, dict[str, Any]]:
        """The three stages, and whether what was asked for is ready."""
        serves = is_serving(self._lifecycle)
        enabled = {name for name, account in self._services.ledger.applied.accounts().items() if account.enabled}
        all_run = all(is_running(machine) for name, machine in self._channels().items() if name in enabled)
        stages = {"live": True, "control": serves, "channels": serves and all_run}
        return stages["channels" if channels else "control"], {"stages": stages, "state": self._lifecycle.state.value}

    # Machines

    def machines(self) -> list[dict[str, Any]]:
        """The tables as data, with where each running instance of them is."""
        return [self._machine(kind) for kind in MACHINES]

    def _machine(self, kind: type[AnyMachine]) -> dict[str, Any]:
        instances = {name: machine.state.value for name, machine in self._services.dispatcher.machines(kind).items()}
        return {
            "name": kind.kind,
            "initial": kind.initial.value,
            "states": [state.value for state in kind.states],
            "rows": [
                {
                    "trigger": row.on.trigger,
                    "sources": [state.value for state in row.sources],
                    "dest": row.dest.value if row.dest else None,
                    "guards": list(row.guards),
                    "effects": list(row.effects),
                    "outcome": row.outcome.value,
                }
                for row in kind.table
            ],
            "instances": instances,
        }


def task_kind(name: str) -> str:
    """Of a task by its name: one of ours, the work of a machine by what it does, a receiver; anything else is `other`."""
    parts = name.split(":", 2)
    if len(parts) == 3:  # machine, work, cause
        return parts[1]
    return name if name in OWN_TASKS else "other"


def machine_kind(name: str) -> type[AnyMachine] | None:
    return {kind.kind: kind for kind in MACHINES}.get(name)


def _published(account: dict[str, Any]) -> dict[str, Any]:
    return {
        "accountId": account["account"],
        "enabled": account["enabled"],
        "configured": True,
        "running": account["last_receive_ms"] is not None,
        "connected": account["last_receive_ms"] is not None,
        "reconnectAttempts": account["attempts"],
        "healthState": account["state"],
        "lastTransportActivityAt": account["last_receive_ms"],
        "lastError": account["error"],
        "generation": account["generation"],
        "allowed": account["allowed"],
    }
