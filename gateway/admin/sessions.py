"""What stands for the admin token in a browser: a one-time code that signs in, and the session that it is exchanged for.

A *code* is made for whoever has the token itself (`gateway open`), and travels to the page in the fragment of its address,
which a browser sends to nobody. It works once, within a minute; what is kept of it here is a hash, in memory. Where a browser is
started with the address, every user of the machine can read it in the list of processes: such a code works for the user alone
for whom it was made.

A *session* is what the page keeps: number, end, and an HMAC over both under a key that is made from the admin token. Nothing is
kept of it here, so it outlives every restart and crash of the gateway, and all sessions end when the admin token changes.
It may do what the token may, but for asking for codes, with which it could go on for ever. It cannot be turned back into the
token. What it does not give: one session alone cannot be ended before its time (signing out is forgetting it), and whoever has
stolen one can try out admin tokens against it at home, which finds a word that a person thought of, and never the 256 random
bits of a token that the gateway has made.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import deque
from dataclasses import dataclass

from gateway.clock import Clock

CODE_LASTS = 60.0
"""Seconds."""
CODE_MARK = "once-"
"""Tells a code that is pasted from the token."""
CODE_BYTES = 24
CODES_KEPT = 16
"""The oldest is dropped for one more."""
SESSION_LASTS_MS = 12 * 60 * 60 * 1000
SESSION_MARK = "session"
PARTS = 4


def same(given: str, secret: str) -> bool:
    """Whether they are, in constant time."""
    return hmac.compare_digest(_bytes(given), _bytes(secret))


def _bytes(text: str) -> bytes:
    """Half a character, which a header or a frame may hold, is a wrong token like any other."""
    return text.encode(errors="surrogatepass")


@dataclass(frozen=True)
class _Code:
    hashed: str
    ends: float
    user: int | None


class Codes:
    """The codes that were made and not used yet."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: deque[_Code] = deque(maxlen=CODES_KEPT)

    def make(self, user: int | None = None) -> str:
        """A new one, of 192 random bits; for programs of this user alone, where one is named."""
        code = CODE_MARK + secrets.token_urlsafe(CODE_BYTES)
        self._kept.append(_Code(_hash(code), self._clock.monotonic() + CODE_LASTS, user))
        return code

    def use(self, given: str, user: int | None = None) -> bool:
        """Whether it is one, still good, and this user's. If so, it is none any more afterwards."""
        hashed, now = _hash(given), self._clock.monotonic()
        found = [each for each in self._kept if same(hashed, each.hashed)]
        good = [each for each in found if now < each.ends and each.user in (None, user)]
        for each in good:
            self._kept.remove(each)
        return bool(good)


def _hash(code: str) -> str:
    return hashlib.sha256(_bytes(code)).hexdigest()


def make_session(token: str, now_ms: int) -> str:
    """A session of who has, or had it proved by a code, this admin token."""
    body = f"{SESSION_MARK}.{now_ms + SESSION_LASTS_MS}.{secrets.token_hex(8)}"
    return f"{body}.{_signature(body, token)}"


def is_session(given: str, token: str, now_ms: int) -> bool:
    """Whether it was made with this admin token, and is not over."""
    parts = given.split(".")
    # Without a token everybody could make one.
    if not token or len(parts) != PARTS or parts[0] != SESSION_MARK:
        return False
    body, _, signature = given.rpartition(".")
    return same(signature, _signature(body, token)) and now_ms < int(parts[1])


def _signature(body: str, token: str) -> str:
    key = hmac.digest(_bytes(token), b"gateway session key", "sha256")
    return hmac.digest(key, _bytes(body), "sha256").hex()
