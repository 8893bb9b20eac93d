"""The calls about the config, once, for every transport: read, write, roll back, confirm."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from gateway import __version__
from gateway.admin import schemas
from gateway.admin.errors import issues_of
from gateway.admin.limits import WriteLimit
from gateway.admin.schema import config_schema
from gateway.admin.services import Services
from gateway.config import file
from gateway.config.edit import Edit, merge_patch, parse_patch, redacted_text, replacement
from gateway.config.history import HistoryEntry
from gateway.config.secrets import as_data
from gateway.errors import ConfigError
from gateway.process.changes import Write
from gateway.process.pending import Decision

MAX_DELAY_MS = 60_000
DEFAULT_WINDOW_S = 60.0
"""Seconds that an extended change gets where nobody says how many."""


@dataclass(frozen=True)
class Caller:
    """Who calls, and by which road: `http` or `ws`."""

    requester: str
    road: str


class ConfigCalls:
    """Each method is one call. What it returns is redacted by the transport."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._limit = WriteLimit(lambda: services.ledger.applied.gateway.admin.writes_per_minute, services.clock)

    # Reading

    async def get(self) -> dict[str, Any]:
        """The file as it is: text, parsed, and what is wrong with it, without secrets."""
        services = self._services
        path = services.changes.path
        answer: dict[str, Any] = {"path": str(path), "exists": path.exists(), "valid": False}
        answer |= {"raw": None, "parsed": None, "config": None, "hash": None, "issues": []}
        try:
            raw = await asyncio.to_thread(file.read, path)
            # What cannot be read as a config is not shown: nobody can tell what in it is a secret.
            answer["hash"] = file.revision_of(raw)
            revision = await services.changes.load_file()
            text = await asyncio.to_thread(redacted_text, revision.raw, revision.config, services.redactor)
            parsed = await asyncio.to_thread(file.parse, text.encode())
            answer |= {"raw": text, "parsed": parsed, "config": as_data(revision.config), "valid": True}
            answer["hash"] = revision.id
        except ConfigError as error:
            answer["issues"] = issues_of(error)
        return answer | {"configRevisionHash": answer["hash"], "appliedConfigHash": services.ledger.applied_id}

    def schema(self) -> dict[str, Any]:
        return config_schema(self._services.model(), __version__)

    def schema_lookup(self, path: str) -> dict[str, Any]:
        """One place of it. Raises NotFoundError that names the nearest."""
        # Imported when asked for: it is not on the way to the first poll.
        from gateway.admin.lookup import look_up  # noqa: PLC0415

        return look_up(self._services.model(), path)

    async def plan(self, edit: Edit, base: str | None) -> dict[str, Any]:
        """What a write would do; nothing is written."""
        return await self._services.changes.plan(edit, base)

    async def plan_rollback(self, ref: str, base: str | None) -> dict[str, Any]:
        """What a rollback would do; nothing is written. Raises as `rollback` does."""
        _, raw = await self._kept(ref)
        return await self._services.changes.plan(lambda _: raw, base)

    async def _kept(self, ref: str) -> tuple[HistoryEntry, bytes]:
        """An entry of the history, and its bytes. Raises UnknownRevisionError or UnavailableError."""
        history = self._services.history
        entry = await asyncio.to_thread(history.find, ref)
        return entry, await asyncio.to_thread(history.raw, entry.revision)

    # Writing

    async def write(
        self, method: str, edit: Edit, base: str | None, query: schemas.WriteQuery, caller: Caller
    ) -> dict[str, Any]:
        """Write and see it through; the receipt. `method` is what the limit counts by."""
        delay = None if query.restart_delay_ms is None else min(query.restart_delay_ms, MAX_DELAY_MS) / 1000
        write = Write(
            edit, base, caller.requester, query.note, delay,
            confirm=query.confirm_within_s, plan=query.plan_id, road=caller.road,
        )  # fmt: skip
        with self._limit.counted(caller.requester, method):
            return await self._services.changes.write(write)

    async def frame(self, params: schemas.ConfigWrite, caller: Caller, *, patch: bool) -> dict[str, Any]:
        """config.set, config.apply and config.patch in the published shape."""
        edit = replacement(params.raw)
        if patch:  # in a thread: to read a megabyte takes a while
            edit = merge_patch(await asyncio.to_thread(parse_patch, params.raw), params.replace_paths)
        method = "config.patch" if patch else "config.apply"
        return await self._answer(await self.write(method, edit, params.base_hash, params.query(), caller))

    async def rollback(self, params: schemas.Rollback, caller: Caller) -> dict[str, Any]:
        """Write an earlier revision into the file again, because a person asks for that; the receipt.

        Raises UnknownRevisionError for one that is not kept, ConfigError for one that cannot be used any more.
        """
        entry, raw = await self._kept(params.revision)
        note = params.note or f"rollback to {entry.number}"
        write = Write(
            lambda _: raw, None, caller.requester, note,
            confirm=params.confirm_within_s, road=f"rollback by {caller.road}", insists=True,
        )  # fmt: skip
        with self._limit.counted(caller.requester, "config.rollback"):
            return await self._services.changes.write(write)

    async def rollback_frame(self, params: schemas.RollbackFrame, caller: Caller) -> dict[str, Any]:
        return await self._answer(await self.rollback(params.request(), caller))

    async def _answer(self, receipt: dict[str, Any]) -> dict[str, Any]:
        try:
            config = as_data((await self._services.changes.load_file()).config)
        except ConfigError:
            config = None  # somebody has spoilt the file since
        return {
            # "ok" to a change of an account means that its new receiver has completed a receive.
            "ok": all(is_up(result, receipt["outcome"]) for result in receipt["plan"]["accounts"].values()),
            "path": str(self._services.changes.path),
            "config": config,
            "hash": receipt["hash"],
            "changedPaths": receipt["changed_paths"],
            "noop": receipt["outcome"] == "noop",
            "receipt": receipt,
        }

    async def decide(self, params: schemas.Confirm, caller: Caller) -> dict[str, Any]:
        """Confirm, extend or cancel a change that must be confirmed. Raises NoWindowError when none waits."""
        seconds = DEFAULT_WINDOW_S if params.within_s is None else params.within_s
        return await self._services.changes.decide(
            params.revision, Decision(params.decision), caller.requester, seconds
        )


def is_up(result: Any, outcome: str) -> bool:
    """Whether an account of a receipt is where its change was to bring it; one that waits for a restart is not yet."""
    if outcome == "rolled_back":
        return False
    if not isinstance(result, dict):
        return outcome != "restart_pending"
    return result["action"] in ("stop", "live") or result["state"] == "running"
