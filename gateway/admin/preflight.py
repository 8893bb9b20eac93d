"""What would keep a restart waiting, and what became of asking for one, in the shapes that OpenClaw's gateway answers with."""

from __future__ import annotations

import os
from typing import Any

from gateway.admin.errors import issues_of
from gateway.admin.schemas import RestartRequest
from gateway.admin.services import Services
from gateway.admin.views import Views
from gateway.errors import ConfigError
from gateway.process.changes import LIFECYCLE

NEVER_HERE = ("queueSize", "embeddedRuns", "cronRuns", "backgroundExecSessions", "rootRequests", "activeTasks")
"""Kinds of work that are counted there, and that this gateway has none of."""


async def preflight(services: Services, views: Views) -> dict[str, Any]:
    """gateway.restart.preflight: the same questions that a ticket is asked when it is due. Changes nothing."""
    work, issues = services.messages.at_work, await _issues(services)
    blockers: list[dict[str, Any]] = []
    if work:
        blockers.append({"kind": "reply", "count": work, "message": f"replies under way: {work}"})
    if issues:
        message = f"the config cannot be used, a restart would be refused: {issues[0]['message']}"
        blockers.append({"kind": "config", "count": len(issues), "message": message})
    return {
        "safe": not blockers,
        "counts": dict.fromkeys(NEVER_HERE, 0) | {"pendingReplies": work, "totalActive": work},
        "blockers": blockers,
        "summary": "; ".join(blocker["message"] for blocker in blockers) or "safe to restart now",
        "config": {"valid": not issues, "issues": issues},
        "cooldownMs": cooldown_ms(services),
        "tickets": views.lifecycle()["tickets"],
    }


def scheduled(before: dict[str, Any], answer: dict[str, Any], params: RestartRequest) -> dict[str, Any]:
    """gateway.restart.request: what the preflight had said, and what the lifecycle answered."""
    joined, waits = answer["joined"] is not None, not before["safe"] and not params.force
    return {
        "ok": True,
        "status": "coalesced" if joined else "deferred" if waits else "scheduled",
        "preflight": before,
        "restart": {
            "ok": True,
            "pid": os.getpid(),
            "signal": "SIGUSR1",
            "delayMs": answer["due_in_ms"],
            "reason": params.reason,
            "mode": "emit",
            "coalesced": joined,
            "cooldownMsApplied": before["cooldownMs"],
        },
        **answer,
    }


async def _issues(services: Services) -> list[dict[str, Any]]:
    try:
        await services.changes.load()
    except ConfigError as error:
        return issues_of(error) or [{"path": "", "message": str(error)}]
    return []


def cooldown_ms(services: Services) -> int:
    """How long no restart may begin yet."""
    left: float = services.dispatcher.machine(LIFECYCLE).data.cooled_at - services.clock.monotonic()
    return max(0, round(left * 1000))
