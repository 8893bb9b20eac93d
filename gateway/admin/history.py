"""The config's history as clients see it: entries, texts without their secrets, and what any two of them differ in."""

from __future__ import annotations

import asyncio
from typing import Any

from gateway.admin.errors import issues_of
from gateway.admin.services import Services
from gateway.config.edit import redacted_text
from gateway.config.file import Revision
from gateway.config.plan import make_plan
from gateway.config.secrets import secrets_of
from gateway.errors import ConfigError, Issue, UnknownRevisionError


class HistoryViews:
    """What it returns is redacted by the transport, once more."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._history = services.history

    async def page(self, limit: int, before: int | None) -> dict[str, Any]:
        """Entries, newest first. Raises UnavailableError."""
        entries = await asyncio.to_thread(self._history.entries, limit, before)
        return {"entries": [entry.as_dict() for entry in entries]}

    async def one(self, ref: str, against: str | None) -> dict[str, Any]:
        """One entry, its text, and what it changed of its base or of another one. Raises UnknownRevisionError."""
        return await asyncio.to_thread(self._one, ref, against)

    def _one(self, ref: str, against: str | None) -> dict[str, Any]:
        entry = self._history.find(ref)
        other = entry.base if against is None else self._history.find(against).revision
        issues: list[Issue] = []
        revision = self._load(entry.revision, issues)
        before = None if other is None else self._load(other, issues)
        return {
            **entry.as_dict(),
            # What cannot be read as a config is not shown: nobody can tell what in it is a secret.
            "raw": self._text(revision),
            "against": other,
            "against_raw": self._text(before),
            "changes": _changes(before, revision),
            "issues": issues_of(ConfigError(issues)),
        }

    def _text(self, revision: Revision | None) -> str | None:
        return redacted_text(revision.raw, revision.config, self._services.redactor) if revision else None

    def _load(self, revision: str, issues: list[Issue]) -> Revision | None:
        """A revision as it reads today: what it rests on, the environment or a secret's file, may be gone."""
        try:
            found = self._services.reader.load(self._history.raw(revision))
        except UnknownRevisionError as error:
            issues.append(Issue("", str(error)))
            return None
        except ConfigError as error:
            issues += [
                Issue(issue.path, f"revision {revision[:12]}: {issue.message}", issue.line, issue.column)
                for issue in error.issues
            ]
            return None
        self._services.redactor.learn(secrets_of(found.config))
        return found


def _changes(old: Revision | None, new: Revision | None) -> list[dict[str, Any]] | None:
    if old is None or new is None:
        return None
    return [change.describe() for change in make_plan(old.config, new.config).changes]
