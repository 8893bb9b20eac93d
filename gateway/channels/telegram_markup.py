"""Markdown as people and models write it, in the HTML that Telegram takes: https://core.telegram.org/bots/api#html-style.

Bold, italic, struck out, code, blocks of code, links, headings (in bold) and lists. What is no mark, or is one that is not
closed on its line, stays as it is. The HTML is well-formed whatever the text, and what is seen is never longer than it.
"""

from __future__ import annotations

import re
from html import escape

from gateway.messages.model import Format
from gateway.messages.split import FENCE, closes, shown

HEADING = re.compile(r" {0,3}#{1,6}[ \t]+(?P<text>.*?)(?:[ \t]+#+)?[ \t]*")
ITEM = re.compile(r"(?P<indent>[ \t]*)[-*+](?P<space>[ \t]+)(?=\S)")
LANGUAGE = re.compile(r"[\w+#.-]+")
INLINE = re.compile(
    r"""
    \\(?P<escaped>[!-/:-@\[-`{-~])
    | (?P<ticks>`+)(?!`)(?P<code>.+?)(?<!`)(?P=ticks)(?!`)
    | !?\[(?P<label>[^\[\]]+)\]\(
        (?P<address>(?:https?://|tg://|mailto:|tel:)[^\s()<>]*(?:\([^\s()<>]*\)[^\s()<>]*)*)
        (?:[ ]+"[^"]*")?\)
    | (?P<bold>\*\*|(?<!\w)__)(?=\S)(?P<in_bold>.+?)(?<=\S)(?P=bold)(?:(?<=\*)(?!\*)|(?<=_)(?!\w))
    | (?P<struck>~~)(?=\S)(?P<in_struck>.+?)(?<=\S)~~
    | (?P<italic>\*)(?=[^\s*])(?P<in_italic>(?:[^*]|\*\*)+?)(?<=\S)\*(?!\*)
    | (?P<slanted>(?<!\w)_)(?=[^\s_])(?P<in_slanted>(?:[^_]|__|(?<![\s_])_(?=[^\W_]))+?)(?<=\S)_(?!\w)
    """,
    re.VERBOSE,
)
MARKS = {"bold": "b", "struck": "s", "italic": "i", "slanted": "i"}
DEEPEST = 8
"""Marks within marks that are looked for: deeper ones stay as they are."""


def telegram_html(text: str, form: Format) -> str:
    """A text with marks as Telegram's HTML."""
    if form == "html":
        return text
    found = "\n".join(_blocks(text.split("\n")))
    return found if shown(found).strip() else escape(text)


def without_marks(text: str, form: Format) -> str:
    """The same for a network that refuses the marks: Markdown is readable as it is, HTML is without its tags."""
    return shown(text) if form == "html" else text


def _blocks(lines: list[str]) -> list[str]:
    found: list[str] = []
    code: list[str] = []
    opening: re.Match[str] | None = None
    for line in lines:
        fence = FENCE.fullmatch(line)
        if opening is None:
            opening = fence
            if fence is None:
                found.append(_line(line))
        elif fence is not None and closes(fence, opening):
            found.append(_code(opening, code))
            opening, code = None, []
        else:
            code.append(line)
    # One that nobody closed goes on to the end.
    return found if opening is None else [*found, _code(opening, code)]


def _code(opening: re.Match[str], lines: list[str]) -> str:
    code = escape("\n".join(lines), quote=False)
    language = LANGUAGE.match(opening["info"].strip())
    return f'<pre><code class="language-{language.group()}">{code}</code></pre>' if language else f"<pre>{code}</pre>"


def _line(line: str) -> str:
    heading = HEADING.fullmatch(line)
    if heading is not None and heading["text"]:
        # Bold within bold is nothing.
        return f"<b>{_inline(heading['text'])}</b>"
    item = ITEM.match(line)
    if item is not None:
        return f"{item['indent']}•{item['space']}{_inline(line[item.end() :])}"
    return _inline(line)


def _inline(text: str, depth: int = 0) -> str:
    if depth == DEEPEST:
        return escape(text, quote=False)
    found, at = [], 0
    for match in INLINE.finditer(text):
        found += [escape(text[at : match.start()], quote=False), _marked(match, depth + 1)]
        at = match.end()
    return "".join([*found, escape(text[at:], quote=False)])


def _marked(match: re.Match[str], depth: int) -> str:
    if match["escaped"]:
        return escape(match["escaped"], quote=False)
    if match["code"]:
        return f"<code>{escape(match['code'], quote=False)}</code>"
    if match["label"]:
        return f'<a href="{escape(match["address"])}">{_inline(match["label"], depth)}</a>'
    mark = next(mark for mark in MARKS if match[mark])
    return f"<{MARKS[mark]}>{_inline(match[f'in_{mark}'], depth)}</{MARKS[mark]}>"
