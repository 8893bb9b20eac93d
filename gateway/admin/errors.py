"""Errors of the control plane, and what each is called in HTTP and on the WebSocket."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from gateway.errors import (
    ConfigError,
    ConfigOwnedError,
    ConfigWriteError,
    GatewayError,
    NoWindowError,
    StaleHashError,
    StalePlanError,
    UnavailableError,
    UnknownRevisionError,
    WindowOpenError,
)
from statemachine import Refusal


class RefusedError(GatewayError):
    """The machine does not allow it."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.why)
        self.refusal = refusal


class NotFoundError(GatewayError):
    """There is no such thing."""


class BadRequestError(GatewayError):
    """The call itself is wrong."""

    def __init__(self, message: str, details: Any = None) -> None:
        super().__init__(message)
        self.details = details


class MissingScopeError(GatewayError):
    """The connection did not ask for the scope that this needs."""

    def __init__(self, scope: str) -> None:
        super().__init__(f"missing scope: {scope}; a connection may do what it asked for when it signed in")
        self.scope = scope


class RateLimitedError(GatewayError):
    """Too many writes. `retry_after` in seconds."""

    def __init__(self, limit: int, retry_after: float) -> None:
        super().__init__(f"more than {limit} config writes in a minute; try again in {ceil(retry_after)} s")
        self.retry_after = retry_after


@dataclass(frozen=True)
class Answer:
    """An error as clients see it: the HTTP status and code, the WebSocket's code, and what helps to mend it."""

    status: int
    code: str
    frame_code: str
    message: str
    details: Any = None
    retry_after: float | None = None


def answer_for(error: GatewayError) -> Answer:
    """The one place where an error becomes an answer, and goes no further.

    The calls that it came through hold it, and its traceback holds them, with the text that was refused: that is let go
    here, or a megabyte each time would wait for the garbage collector.
    """
    error.__traceback__ = None
    status, code, frame_code = next(
        (words for kind, words in WORDS.items() if isinstance(error, kind)), (500, "internal", "UNAVAILABLE")
    )
    return Answer(status, code, frame_code, str(error), _details(error), _retry_after(error))


WORDS: Mapping[type[GatewayError], tuple[int, str, str]] = {
    RefusedError: (409, "refused", "INVALID_REQUEST"),
    StaleHashError: (412, "stale_hash", "INVALID_REQUEST"),
    StalePlanError: (409, "stale_plan", "INVALID_REQUEST"),
    ConfigOwnedError: (409, "read_only", "INVALID_REQUEST"),
    ConfigError: (422, "invalid_config", "INVALID_REQUEST"),
    WindowOpenError: (409, "window_open", "INVALID_REQUEST"),
    NoWindowError: (409, "no_window", "INVALID_REQUEST"),
    NotFoundError: (404, "not_found", "INVALID_REQUEST"),
    UnknownRevisionError: (404, "not_found", "INVALID_REQUEST"),
    MissingScopeError: (403, "missing_scope", "FORBIDDEN"),
    BadRequestError: (400, "bad_request", "INVALID_REQUEST"),
    RateLimitedError: (429, "rate_limited", "UNAVAILABLE"),
    UnavailableError: (503, "unavailable", "UNAVAILABLE"),
    ConfigWriteError: (503, "not_written", "UNAVAILABLE"),
}
"""HTTP status, HTTP code and WebSocket code of each class of error."""


def _details(error: GatewayError) -> Any:
    if isinstance(error, RefusedError):
        names = ("machine", "state", "trigger", "allowed", "guards")
        return {name: getattr(error.refusal, name) for name in names}
    if isinstance(error, StaleHashError):
        return {"currentHash": error.current, "changedPaths": error.moved}
    if isinstance(error, StalePlanError):
        return {"currentPlan": error.current}
    if isinstance(error, MissingScopeError):
        return {"code": "MISSING_SCOPE", "missingScope": error.scope, "requiredScopes": [error.scope]}
    if isinstance(error, ConfigError):
        return {"issues": issues_of(error)}
    return error.details if isinstance(error, BadRequestError) else None


def _retry_after(error: GatewayError) -> float | None:
    if isinstance(error, (UnavailableError, RateLimitedError)):
        return error.retry_after
    return 1.0 if isinstance(error, ConfigWriteError) else None


def issues_of(error: ConfigError) -> list[dict[str, Any]]:
    """The faults of a config as clients see them; a place that is not known is left out."""
    return [{key: value for key, value in vars(issue).items() if value is not None} for issue in error.issues]
