"""Which handler gets a message, and who may send one at all."""

from __future__ import annotations

import re

import pytest

from gateway.channels.base import Message
from gateway.messages.routes import find_handler, is_allowed
from tests.gateway.configs import config, telegram

HANDLERS = "handlers: {one: {type: echo}, two: {type: echo}, rest: {type: echo}}\n"


def message(
    text: str = "hello", channel: str = "telegram", account: str = "main", sender: str = "5", name: str = "ann"
) -> Message:
    return Message("1", channel, account, "7", sender, name, text, 0)


def handler(route_lines: str, message: Message) -> str | None:
    return find_handler(config(f"{HANDLERS}routes:\n{route_lines}"), message)


def test_the_first_route_that_matches_wins() -> None:
    lines = """\
  - {channel: telegram, account: main, match: "^/help", handler: one}
  - {channel: telegram, handler: two}
  - {handler: rest}
"""
    assert handler(lines, message("/help me")) == "one"
    assert handler(lines, message("please /help")) == "two"
    assert handler(lines, message("/help me", account="other")) == "two"
    assert handler(lines, message("/help me", channel="webchat")) == "rest"


def test_no_route_no_handler() -> None:
    assert find_handler(config("{}"), message()) is None
    assert handler("  - {channel: webchat, handler: one}\n", message()) is None
    assert handler("  - {match: hell$, handler: one}\n", message()) is None


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("help", "please help me", True),
        ("^help$", "help\n", True),
        ("^help$", "no help", False),
        ("(?i)HELP", "help", True),
        ("", "anything", True),
        ("ä|ö", "schön", True),
    ],
)
def test_a_match_is_searched_in_the_text(pattern: str, text: str, matches: bool) -> None:
    assert handler(f"  - {{match: '{pattern}', handler: one}}\n", message(text)) == ("one" if matches else None)


def test_a_pattern_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = config(f"{HANDLERS}routes: [{{match: compiled-only-once, handler: one}}]\n")
    compiled: list[str] = []
    compile_ = re.compile

    def spy(text: str) -> re.Pattern[str]:
        compiled.append(text)
        return compile_(text)

    monkeypatch.setattr("gateway.messages.routes.re.compile", spy)
    for _ in range(5):
        find_handler(found, message())
    assert compiled == ["compiled-only-once"]


@pytest.mark.parametrize(
    ("allowed", "sender", "name", "may"),
    [
        ('["*"]', "5", "ann", True),
        ("[]", "5", "ann", False),
        ("[5]", "5", "ann", True),
        ('["5"]', "5", "ann", True),
        ("[6]", "5", "ann", False),
        ('["@ann"]', "5", "ann", True),
        ('["ann"]', "5", "ann", False),
        ('["@ann"]', "5", "Ann", False),
        ('["@5"]', "5", "ann", False),
        ('["ann"]', "ann", "", True),
        ("[-100]", "-100", "", True),
    ],
)
def test_who_may_speak(allowed: str, sender: str, name: str, may: bool) -> None:
    account = config(telegram(main=f"token: x, allow_from: {allowed}")).accounts()["telegram/main"]
    assert is_allowed(account, message(sender=sender, name=name)) is may
