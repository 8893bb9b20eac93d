"""Errors of the control plane, and what each is called in HTTP and on the WebSocket."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gateway.errors import ConfigError, ConfigWriteError, GatewayError, StaleHashError, UnavailableError
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
    """The one place where an error becomes an answer."""
    message = str(error)
    if isinstance(error, RefusedError):
        refusal = error.refusal
        details = {
            "machine": refusal.machine,
            "state": refusal.state,
            "trigger": refusal.trigger,
            "allowed": list(refusal.allowed),
            "guards": list(refusal.guards),
        }
        return Answer(409, "refused", "INVALID_REQUEST", message, details)
    if isinstance(error, StaleHashError):
        return Answer(412, "stale_hash", "INVALID_REQUEST", message, {"currentHash": error.current})
    if isinstance(error, ConfigError):
        return Answer(422, "invalid_config", "INVALID_REQUEST", message, {"issues": issues_of(error)})
    if isinstance(error, NotFoundError):
        return Answer(404, "not_found", "INVALID_REQUEST", message)
    if isinstance(error, BadRequestError):
        return Answer(400, "bad_request", "INVALID_REQUEST", message, error.details)
    if isinstance(error, UnavailableError):
        return Answer(503, "unavailable", "UNAVAILABLE", message, None, error.retry_after)
    if isinstance(error, ConfigWriteError):
        return Answer(503, "not_written", "UNAVAILABLE", message, None, 1.0)
    return Answer(500, "internal", "UNAVAILABLE", message)


def issues_of(error: ConfigError) -> list[dict[str, Any]]:
    """The faults of a config as clients see them; a place that is not known is left out."""
    return [{key: value for key, value in vars(issue).items() if value is not None} for issue in error.issues]
