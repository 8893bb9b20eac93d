"""Strategies that several tests share: texts with everything in them, and JSON of any shape."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["", " ", "\0", "\ud800", "😀", "\u2028", "a" * 5_000, "true", "null", "0", "-1", "1e400", "NaN"]),
)
NUMBERS = st.one_of(
    st.integers(-3, 3),
    st.integers(),
    st.floats(),
    st.sampled_from([2**31, 2**53, 2**63, 2**64, -(2**63) - 1, 10**400, 1e308]),
)
SCALARS: st.SearchStrategy[Any] = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS)
JSON: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=12,
)


def nested(levels: int, left: str, right: str) -> str:
    return left * levels + right * levels
