"""Keeping secrets out of every output: logs, API, page, journal, tracebacks."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

MARK = "__REDACTED__"
"""Stands for a secret in every output. Sent back in a write it means: keep the secret that is there."""

_SHORTEST = 6
"""A shorter value is not searched for in free text: it is no secret worth the name, and would blank out half of a log."""


class Secret:
    """A text that shows itself to nobody but who asks for it by name."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    @property
    def fingerprint(self) -> str:
        """Tells one from another, and gives nothing away: it is of a long random text, and short."""
        return hashlib.sha256(self._value.encode()).hexdigest()[:12]

    def __repr__(self) -> str:
        return f"Secret({MARK!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


def _forms(secret: str) -> Iterator[str]:
    """As it stands; as it is written in an address, in JSON, and as a literal of Python, in which errors like to name things."""
    literal = repr(secret)[1:-1]
    yield from (secret, literal)
    for ascii_ in (True, False):
        yield from (json.dumps(secret, ensure_ascii=ascii_)[1:-1], json.dumps(literal, ensure_ascii=ascii_)[1:-1])
    # Half a character, which an environment may hold, is in no address.
    whole = secret.encode(errors="replace").decode()
    yield from (quote(whole), quote(whole, safe=""))


class Redactor:
    """Replaces every secret that it was told by MARK, in any text or tree of data, in whichever form it is written there.

    Secrets are only ever added: one that was replaced in the config may still turn up in a late log line.
    """

    def __init__(self) -> None:
        self._secrets: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def learn(self, secrets: Iterable[str]) -> None:
        new = {secret for secret in secrets if len(secret) >= _SHORTEST} - self._secrets
        if new:
            self._secrets |= new
            longest_first = sorted({form for secret in self._secrets for form in _forms(secret)}, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def text(self, text: str) -> str:
        return self._pattern.sub(MARK, text) if self._pattern else text

    def tree(self, value: Any) -> Any:
        """The same data with every text redacted, keys included; what is no text, mapping or list stays as it is."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Secret):
            return MARK
        if isinstance(value, Mapping):
            return {self.tree(key): self.tree(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.tree(item) for item in value]
        return value
