"""Reads PromQL far enough to say that an expression is one: its grammar, and that what wants a range is given one.

Prometheus' own `promtool` would know all of it, and comes with a hundred megabytes of a server.
Source of the grammar: https://prometheus.io/docs/prometheus/latest/querying/basics/. Functions are those that are used here.
"""

from __future__ import annotations

import re

SCALAR, VECTOR, RANGE = "a number", "a vector", "a range"
FUNCTIONS: dict[str, tuple[str, ...]] = {
    "absent": (VECTOR,),
    "changes": (RANGE,),
    "histogram_quantile": (SCALAR, VECTOR),
    "increase": (RANGE,),
    "max_over_time": (RANGE,),
    "rate": (RANGE,),
}
"""What each takes; all of them give a vector."""
AGGREGATIONS = {"sum", "max", "min", "avg", "count"}
BINARY = {"or": 1, "and": 2, "unless": 2} | dict.fromkeys(("==", "!=", "<=", ">=", "<", ">"), 3)
BINARY |= {"+": 4, "-": 4, "*": 5, "/": 5}
TOKEN = re.compile(
    r"\s*(?:(?P<duration>\d+(?:ms|[smhdwy]))|(?P<number>\d+(?:\.\d+)?)|(?P<name>[a-zA-Z_:][\w:]*)"
    r'|(?P<text>"(?:[^"\\]|\\.)*")|(?P<sign>=~|!~|==|!=|<=|>=|[-+*/<>=(){}\[\],]))'
)


class PromqlError(ValueError):
    """It is no expression."""


def check(expression: str) -> None:
    """Raises PromqlError unless it is an expression that gives a vector: what can be drawn, and be a rule."""
    parser = _Parser(_tokens(expression))
    found = parser.binary(1)
    if parser.kind != "end":
        raise PromqlError(f"{parser.value!r} follows where it ends: {expression}")
    if found != VECTOR:
        raise PromqlError(f"it gives {found}: {expression}")


def _tokens(expression: str) -> list[tuple[str, str]]:
    found, at = [], 0
    while at < len(expression.rstrip()):
        token = TOKEN.match(expression, at)
        if token is None or token.lastgroup is None:
            raise PromqlError(f"no token at {expression[at:]!r}")
        found.append((token.lastgroup, token[token.lastgroup]))
        at = token.end()
    return [*found, ("end", "")]


class _Parser:
    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens = tokens
        self._at = 0

    @property
    def kind(self) -> str:
        return self._tokens[self._at][0]

    @property
    def value(self) -> str:
        return self._tokens[self._at][1]

    def _take(self, kind: str, value: str | None = None) -> str:
        if self.kind != kind or value not in (None, self.value):
            raise PromqlError(f"{self.value!r} stands where {value or kind} should")
        self._at += 1
        return self._tokens[self._at - 1][1]

    def _takes(self, value: str) -> bool:
        if self.value != value or self.kind not in ("sign", "name"):
            return False
        self._at += 1
        return True

    def binary(self, least: int) -> str:
        left = self._primary()
        while BINARY.get(self.value, 0) >= least and self.kind in ("sign", "name"):
            operator = self.value
            self._at += 1
            right = self.binary(BINARY[operator] + 1)
            if RANGE in (left, right) or (operator in ("or", "and", "unless") and SCALAR in (left, right)):
                raise PromqlError(f"{left} {operator} {right}")
            left = SCALAR if left == right == SCALAR else VECTOR
        return left

    def _primary(self) -> str:
        if self.kind == "number":
            self._at += 1
            return SCALAR
        if self._takes("("):
            found = self.binary(1)
            self._take("sign", ")")
            return found
        name = self._take("name")
        if name in AGGREGATIONS:
            return self._aggregation(name)
        if self.value == "(":
            if name not in FUNCTIONS:
                raise PromqlError(f"no function is called {name}, or none that is known here")
            self._arguments(name, FUNCTIONS[name])
            return VECTOR
        return self._selector()

    def _aggregation(self, name: str) -> str:
        grouped = self._grouping()
        self._arguments(name, (VECTOR,))
        if not grouped:
            self._grouping()
        return VECTOR

    def _grouping(self) -> bool:
        if not (self._takes("by") or self._takes("without")):
            return False
        self._take("sign", "(")
        while self.value != ")":
            self._take("name")
            if not self._takes(","):
                break
        self._take("sign", ")")
        return True

    def _arguments(self, name: str, wanted: tuple[str, ...]) -> None:
        self._take("sign", "(")
        given = [self.binary(1)]
        while self._takes(","):
            given.append(self.binary(1))
        self._take("sign", ")")
        if tuple(given) != wanted:
            raise PromqlError(f"{name} takes {wanted}, and was given {given}")

    def _selector(self) -> str:
        if self._takes("{"):
            while self.value != "}":
                self._matcher()
                if not self._takes(","):
                    break
            self._take("sign", "}")
        if not self._takes("["):
            return VECTOR
        self._take("duration")
        self._take("sign", "]")
        return RANGE

    def _matcher(self) -> None:
        self._take("name")
        how = self._take("sign")
        if how not in ("=", "!=", "=~", "!~"):
            raise PromqlError(f"{how!r} matches no label")
        text = self._take("text")
        if how.endswith("~"):
            re.compile(text[1:-1])
