"""Texts as they may be written down and sent."""

from __future__ import annotations


def whole(text: str) -> str:
    """Without halves of characters: JSON can say them, and nothing that we write to can take them."""
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
