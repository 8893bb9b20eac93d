"""Every error of ours, by what follows from it. Messages name the path or the account, and never a secret."""

from __future__ import annotations

from dataclasses import dataclass


class GatewayError(Exception):
    """The base of every error of this package."""


# Config


@dataclass(frozen=True)
class Issue:
    """One fault of a config: where, what, and how to mend it. Lines and columns count from 1."""

    path: str
    message: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        place = f" (line {self.line}, column {self.column})" if self.line is not None else ""
        return f"{self.path or 'config'}{place}: {self.message}"


class ConfigError(GatewayError):
    """The config cannot be used. `revision` is the hash of what was read, "missing" when there was no file."""

    def __init__(self, issues: list[Issue], revision: str = "") -> None:
        super().__init__("; ".join(map(str, issues)))
        self.issues = issues
        self.revision = revision


class StaleHashError(GatewayError):
    """The writer's base is not what is on disk: nothing was written.

    `moved` has the paths that changed since that base; None where it is not known what the base was.
    """

    def __init__(self, current: str, given: str | None, moved: list[str] | None = None) -> None:
        asked = "no base hash was given" if given is None else "the base hash is not the current one"
        super().__init__(f"{asked}: nothing was written; read the config again and repeat the change")
        self.current = current
        self.moved = moved


class StalePlanError(GatewayError):
    """The plan that the writer saw is not the one that would be carried out now: nothing was written."""

    def __init__(self, current: str) -> None:
        super().__init__(
            "the plan is not the present one: nothing was written; look at the plan again, and send its id"
        )
        self.current = current


class UnknownRevisionError(GatewayError):
    """The history does not have it: it never was, or it is too old to be kept. The message says what is kept."""


class ConfigWriteError(GatewayError):
    """The file could not be written; the old one is whole."""


class ConfigOwnedError(GatewayError):
    """The file is not ours to write: nothing was done. `owner` says why."""

    def __init__(self, path: str, owner: str) -> None:
        super().__init__(f"{path} is not written: {owner}; edit its source, the change is picked up when it arrives")
        self.owner = owner


class UnavailableError(GatewayError):
    """It cannot be done now. `retry_after` is when to ask again (seconds)."""

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class WindowOpenError(GatewayError):
    """Another change waits to be confirmed. Nothing was changed."""


class NoWindowError(GatewayError):
    """No change with this revision waits to be confirmed. The message says what became of it, where that is known."""


# Channels: the class decides what the machine does next


class ChannelError(GatewayError):
    """The base of what an adapter may raise out of its receiver."""


class ConnectionLostError(ChannelError):
    """The network cannot be reached, or answered with a server's error: wait, then try again."""

    def __init__(self, message: str, retry_after: float = 0.0, *, unanswered: bool = False) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds that the network asked to wait."""
        self.unanswered = unanswered
        """The network may have done what it was asked: it was asked, and no answer came."""


class ConflictError(ChannelError):
    """Somebody else receives on this account."""


class WebhookActiveError(ConflictError):
    """The network brings this account's messages to a webhook, and refuses polls."""


class LeaseLostError(ChannelError):
    """Another host may receive on this account from now on."""


class AccountRefusedError(ChannelError):
    """The network does not accept this account: a person must act."""


class SessionsSpentError(ChannelError):
    """As many sessions were started as the network allows within a day. `retry_after` is when the next may be (seconds)."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class GenerationRevokedError(ChannelError):
    """A receiver of an older generation tried to deliver. It is refused."""


class MarksRefusedError(ChannelError):
    """The network cannot read how a text is marked up. Nothing was sent; the plain text can be."""


class SendError(ChannelError):
    """A reply could not be sent. `retryable` tells whether trying again can help, `retry_after` when (seconds)."""

    def __init__(self, message: str, *, retryable: bool, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.retry_after = retry_after


class AnswerLostError(ChannelError):
    """The line broke, or time ran out, between a sending and its answer: nobody knows whether it was sent."""


# Messages


class StoreError(GatewayError):
    """The store cannot be used. The message names the file and the remedy."""


class HandlerError(GatewayError):
    """A handler gave no answer. `retryable` tells whether another try can help, `after` when (seconds).

    One that does not count uses up no attempt: the handler was not asked, or nobody could have answered.
    """

    def __init__(self, message: str, *, retryable: bool = False, after: float = 0.0, counts: bool = True) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.after = after
        self.counts = counts


# Process


class LockedError(GatewayError):
    """Another gateway holds this state folder. `holder` is its PID, 0 when it is not known."""

    def __init__(self, path: str, holder: int) -> None:
        super().__init__(f"another gateway (PID {holder or 'unknown'}) holds {path}")
        self.holder = holder


class ClaimedError(GatewayError):
    """Another process of this machine receives on the account. `holder` is its PID, 0 when it is not known."""

    def __init__(self, account: str, holder: int) -> None:
        super().__init__(
            f"another gateway on this machine (PID {holder or 'unknown'}) receives on {account}: stop it, or disable the account here"
        )
        self.holder = holder


class ExposedError(GatewayError):
    """The admin listener was to be reachable from outside without a token of the user's own."""
