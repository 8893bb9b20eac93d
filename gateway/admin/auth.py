"""The way in: which Host and Origin may speak to us, and with which token.

Trust comes from the token alone. Host and Origin are compared exactly, before anything else is done with a request,
which is what keeps a web page elsewhere (cross-site requests, DNS rebinding) out even where it runs on this machine.
"""

from __future__ import annotations

import os
import secrets
from collections import deque
from collections.abc import Callable, Collection, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from gateway.admin.sessions import SESSION_MARK, Codes, is_session, make_session, same
from gateway.clock import Clock
from gateway.config.model import Admin, is_loopback
from gateway.errors import GatewayError

FAILURES = 10
PERIOD = 60.0
"""Wrong tokens an address may send in that many seconds."""
ADDRESSES_KEPT = 10_000
"""Whoever has a whole network of addresses fills no memory here."""

SESSION_OVER = "the session is over: its time has passed, or the admin token is another one now"


class ForbiddenError(GatewayError):
    """The request comes from a place that may not speak to us."""


class UnauthorizedError(GatewayError):
    """No token, or a wrong one. `given` tells which."""

    def __init__(self, *, given: bool, why: str = "") -> None:
        super().__init__(why or ("the token is wrong" if given else "a token is required"))
        self.given = given


class TooManyAttemptsError(GatewayError):
    """Too many wrong tokens from one address. `retry_after` in seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"too many wrong tokens; try again in {retry_after:.0f} s")
        self.retry_after = retry_after


def check_place(headers: Mapping[str, str], port: int, admin: Admin, more: Collection[str] = ()) -> None:
    """Raises ForbiddenError unless Host is ours, or one of those that are allowed here, and Origin, where sent, is ours or allowed."""
    host = headers.get("Host", "")
    if host.lower() not in more and not _is_our_host(host, port, admin):
        raise ForbiddenError(f"the Host {host!r} is not this gateway's")
    if headers.get("Sec-Fetch-Site", "").lower() == "cross-site":
        raise ForbiddenError("cross-site requests are refused")
    origin = headers.get("Origin")
    if origin is not None and origin != f"http://{host}" and origin not in admin.allowed_origins:
        raise ForbiddenError(f"the Origin {origin!r} is not allowed; see gateway.admin.allowed_origins")


def _is_our_host(host: str, port: int, admin: Admin) -> bool:
    names = {admin.host, f"[{admin.host}]"}
    names |= {"127.0.0.1", "localhost", "[::1]"} if is_loopback(admin.host) else set()
    allowed = {f"{name}:{port}" for name in names}
    allowed |= {urlsplit(origin).netloc for origin in admin.allowed_origins}
    # An address, unlike a name, cannot be rebound; a listener for all of them has no name of its own.
    return host in allowed or (not is_loopback(admin.host) and _is_address(host, port))


def _is_address(host: str, port: int) -> bool:
    name, _, given = host.rpartition(":")
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return given == str(port)


class Attempts:
    """Counts wrong tokens by address."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures: dict[str, deque[float]] = {}

    def refuse_too_many(self, address: str) -> None:
        """Raises TooManyAttemptsError."""
        now = self._clock.monotonic()
        failures = self._failures.get(address, deque())
        while failures and now - failures[0] >= PERIOD:
            failures.popleft()
        if len(failures) >= FAILURES:
            raise TooManyAttemptsError(PERIOD - (now - failures[0]))

    def refuse(self, given: str | None, address: str, why: str = "") -> NoReturn:
        """Count it, unless none was given. Raises UnauthorizedError."""
        if given is not None:
            self._failures.setdefault(address, deque()).append(self._clock.monotonic())
            while len(self._failures) > ADDRESSES_KEPT:
                del self._failures[next(iter(self._failures))]
        raise UnauthorizedError(given=given is not None, why=why)

    def forget(self, address: str) -> None:
        self._failures.pop(address, None)


class Gatekeeper:
    """Compares tokens in constant time and counts wrong ones by address; makes codes and sessions (see `sessions`)."""

    def __init__(self, token: Callable[[], str], clock: Clock) -> None:
        self._token = token
        self._clock = clock
        self._attempts = Attempts(clock)
        self._codes = Codes(clock)

    def check(self, given: str | None, address: str) -> None:
        """Raises TooManyAttemptsError or UnauthorizedError."""
        self._attempts.refuse_too_many(address)
        if given is None or not self.takes(given):
            was_session = given is not None and given.startswith(f"{SESSION_MARK}.")
            self._attempts.refuse(given, address, SESSION_OVER if was_session else "")
        self._attempts.forget(address)

    def takes(self, given: str) -> bool:
        """Whether it is the token, or a session that was made with it and is not over."""
        token = self._token()
        return same(given, token) or is_session(given, token, self._clock.wall_ms())

    def make_code(self, given: str, user: int | None) -> str:
        """A one-time code, for the token itself alone, and for programs of that user if one is named. Raises ForbiddenError."""
        if not same(given, self._token()):
            raise ForbiddenError("only the admin token gets a code: a session would go on for ever by it")
        return self._codes.make(user)

    def open_session(self, code: str, address: str, user: int | None) -> str:
        """The session that a code is exchanged for, by a program of that user. Raises TooManyAttemptsError or UnauthorizedError."""
        self._attempts.refuse_too_many(address)
        if not self._codes.use(code, user):
            self._attempts.refuse(code, address, "the code is wrong, used, too old, or another user's")
        return make_session(self._token(), self._clock.wall_ms())


def bearer(headers: Mapping[str, str]) -> str | None:
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def stored_token(state_dir: Path) -> str:
    """The token in the state folder, made on the first run: readable by the owner alone. A file that a full disk has left empty holds none."""
    path = state_dir / "admin-token"
    try:
        token = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        token = ""
    if not token:
        token = secrets.token_urlsafe(32)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(token + "\n")
    return token
