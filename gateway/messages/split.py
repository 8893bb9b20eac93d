"""Long texts in parts that a network takes."""

from __future__ import annotations

from gateway.messages.model import Format


def split(text: str, form: Format = "plain", limit: int = 4096) -> list[str]:  # noqa: ARG001 - all are cut alike for now
    """Cut a text into parts of at most `limit` UTF-16 code units.

    Each cut is at the last line end in the second half of what fits; where there is none, so that a part would be short,
    at the last line end or space at all; and where there is none of these, in the middle of a word.
    """
    parts = []
    while units(text) > limit:
        cut = _longest_prefix(text, limit)
        border = text.rfind("\n", max(1, cut // 2), cut)
        if border < 0:
            border = max(text.rfind("\n", 1, cut), text.rfind(" ", 1, cut))
        cut = border if border > 0 else cut
        parts.append(text[:cut])
        text = text[cut:].lstrip(" \n")
    return [part for part in (*parts, text) if part.strip()]


def units(text: str) -> int:
    """UTF-16 code units, in which Telegram counts."""
    return len(text) + sum(ord(character) > 0xFFFF for character in text) if not text.isascii() else len(text)


def _longest_prefix(text: str, limit: int) -> int:
    count = 0
    for index, character in enumerate(text):
        count += 2 if ord(character) > 0xFFFF else 1
        if count > limit:
            return index
    return len(text)
