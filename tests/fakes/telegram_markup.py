"""What Telegram makes of a text in HTML, and how it refuses one: https://core.telegram.org/bots/api#html-style."""

from __future__ import annotations

import re

TAGS = frozenset(
    {
        "a",
        "b",
        "blockquote",
        "code",
        "del",
        "em",
        "i",
        "ins",
        "pre",
        "s",
        "span",
        "strike",
        "strong",
        "tg-emoji",
        "tg-spoiler",
        "u",
    },
)
REFERENCES = {"lt": "<", "gt": ">", "amp": "&", "quot": '"'}
TAG = re.compile(r"""(/?)([a-zA-Z0-9-]*)((?:"[^"]*"|'[^']*'|[^'">])*)>""")
REFERENCE = re.compile(r"&(?:#(\d+)|#x([0-9a-fA-F]+)|([a-zA-Z]+));?")


class MarkupError(Exception):
    """The text is refused, and this is why."""


def visible(text: str) -> str:
    """What a reader sees of a text. Raises MarkupError in Telegram's words."""
    found: list[str] = []
    open_tags: list[str] = []
    at = 0
    while at < len(text):
        begin = text.find("<", at)
        found.append(REFERENCE.sub(_character, text[at : None if begin < 0 else begin]))
        if begin < 0:
            break
        offset = len(text[:begin].encode())
        tag = TAG.match(text, begin + 1)
        if tag is None:
            raise MarkupError(f"Unclosed start tag at byte offset {offset}")
        name, at = tag[2].lower(), tag.end()
        if not tag[1]:
            if name not in TAGS:
                raise MarkupError(f'Unsupported start tag "{name}" at byte offset {offset}')
            open_tags.append(name)
        elif not open_tags:
            raise MarkupError(f"Unexpected end tag at byte offset {offset}")
        elif (expected := open_tags.pop()) != name:
            complaint = f'Unmatched end tag at byte offset {offset}, expected "</{expected}>", found "</{name}>"'
            raise MarkupError(complaint)
    if open_tags:
        raise MarkupError(f'Can\'t find end tag corresponding to start tag "{open_tags[-1]}"')
    return "".join(found)


def _character(match: re.Match[str]) -> str:
    decimal, hexadecimal, name = match.groups()
    if name:
        return REFERENCES.get(name, match.group())
    code = int(decimal) if decimal else int(hexadecimal, 16)
    return chr(code) if 0 < code < 0x10FFFF and not 0xD800 <= code < 0xE000 else match.group()
