"""Which handler gets a message, and who may send one at all."""

from __future__ import annotations

import re

import pytest

from gateway.messages.model import Message
from gateway.messages.routes import is_allowed, matching_route, route_of
from statemachine.incoming import Verdict
from tests.gateway.configs import config, telegram

HANDLERS = "handlers: {one: {type: echo}, two: {type: echo}, rest: {type: echo}}\n"


def message(
    text: str = "hello",
    channel: str = "telegram",
    account: str = "main",
    conversation: str = "7",
    sender: str = "5",
    name: str = "ann",
    kind: str = "text",
) -> Message:
    return Message("1", channel, account, conversation, sender, name, text, 0, kind=kind)


def handler(route_lines: str, message: Message) -> str | None:
    route = matching_route(config(f"{HANDLERS}routes:\n{route_lines}"), message)
    return None if route is None else route.handler


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
    assert matching_route(config("{}"), message()) is None
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
        matching_route(found, message())
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
    assert is_allowed(account.allow_from, message(sender=sender, name=name)) is may


def test_a_route_of_one_conversation_takes_no_other() -> None:
    lines = "  - {conversation: '-100', handler: one}\n  - {handler: rest}\n"
    assert handler(lines, message(conversation="-100")) == "one"
    assert handler(lines, message(conversation="7")) == "rest"


@pytest.mark.parametrize(
    ("senders", "sender", "name", "takes"),
    [
        ("[]", "5", "ann", True),
        ("[5]", "5", "ann", True),
        ("[6, '@ann']", "5", "ann", True),
        ("[6]", "5", "ann", False),
        ("['*']", "5", "ann", True),
        ("['ann']", "5", "ann", False),
    ],
)
def test_a_route_of_some_people(senders: str, sender: str, name: str, takes: bool) -> None:
    lines = f"  - {{senders: {senders}, handler: one}}\n  - {{handler: rest}}\n"
    assert handler(lines, message(sender=sender, name=name)) == ("one" if takes else "rest")


@pytest.mark.parametrize(
    ("kinds", "taken"),
    [
        ("", {"text", "media"}),
        ("kinds: [edit]", {"edit"}),
        ("kinds: [callback, other]", {"callback", "other"}),
        ("kinds: []", {"text", "media", "edit", "callback", "other"}),
    ],
)
def test_a_route_of_some_kinds(kinds: str, taken: set[str]) -> None:
    lines = f"  - {{{', '.join(filter(None, (kinds, 'handler: one')))}}}\n"
    every = ("text", "media", "edit", "callback", "other")
    assert {kind for kind in every if handler(lines, message(kind=kind)) == "one"} == taken


def test_all_that_a_route_says_must_hold() -> None:
    lines = "  - {channel: telegram, account: main, conversation: '7', senders: [5], match: hello, handler: one}\n"
    assert handler(lines, message()) == "one"
    others = ({"channel": "webchat"}, {"account": "other"}, {"conversation": "8"}, {"sender": "6"}, {"text": "bye"})
    for other in others:
        assert handler(lines, message(**other)) is None, other


@pytest.mark.parametrize(
    ("inside", "account", "channel", "verdict", "handler", "why"),
    [
        ("token: x", "main", "*", Verdict.MATCHED, "echo", ""),
        ("token: x, allow_from: [5]", "main", "*", Verdict.MATCHED, "echo", ""),
        ("token: x, allow_from: [6]", "main", "*", Verdict.REFUSED, "", "the sender is not in allow_from"),
        ("token: x", "gone", "*", Verdict.REFUSED, "", "the account is gone"),
        ("token: x", "main", "webchat", Verdict.UNMATCHED, "", "no route matches"),
        ("token: x, allow_from: [6]", "main", "webchat", Verdict.REFUSED, "", "the sender is not in allow_from"),
    ],
)
def test_what_is_to_become_of_a_message(
    inside: str, account: str, channel: str, verdict: Verdict, handler: str, why: str
) -> None:
    found = config(telegram(main=inside).replace('channel: "*"', f'channel: "{channel}"'))
    what, route, said = route_of(found, message(account=account))
    assert (what, "" if route is None else route.handler, said) == (verdict, handler, why)


@pytest.mark.parametrize(
    ("admins", "text", "handler"),
    [
        ("[5]", "/gateway status", "/gateway"),
        ("['@ann']", "/gateway", "/gateway"),
        ("[5]", "/gatewayish", "echo"),
        ("[5]", "say /gateway", "echo"),
        ("[6]", "/gateway status", "echo"),
        ("[]", "/gateway status", "echo"),
    ],
)
def test_a_command_of_an_admin_is_the_gateways_own(admins: str, text: str, handler: str) -> None:
    found = config(telegram(main=f"token: x, admins: {admins}"))
    _, route, _ = route_of(found, message(text))
    assert route is not None
    assert route.handler == handler
