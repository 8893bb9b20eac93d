"""From one conversation to another, and never round in circles."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from gateway.config.handlers import BridgeHandler, BridgeTarget
from gateway.errors import HandlerError
from gateway.handlers.bridge import Bridge
from gateway.messages.model import Address, Reply
from tests.gateway.configs import HEAD, config, faults
from tests.gateway.handlers.desk import MESSAGE, tools

THERE = BridgeTarget(channel="telegram", account="other", conversation="5")


def make(to: BridgeTarget = THERE, text: str = "{sender}: {text}") -> Bridge:
    return Bridge("over", BridgeHandler(type="bridge", to=to, format=text), tools(Path()))


async def test_it_is_said_there_with_who_said_it() -> None:
    assert await make().handle(MESSAGE) == (Reply("ann: hello", to=Address("telegram", "other", "5")),)
    (reply,) = await make(text="[{channel}/{account}/{conversation}] {text}").handle(MESSAGE)
    assert reply.text == "[telegram/main/77] hello"


async def test_what_has_no_text_says_what_it_is() -> None:
    (reply,) = await make().handle(msgspec.structs.replace(MESSAGE, text=""))
    assert reply.text == "ann: [media]"


async def test_what_a_bot_has_said_is_not_sent_on() -> None:
    assert await make().handle(msgspec.structs.replace(MESSAGE, from_bot=True)) == ()


async def test_it_does_not_lead_to_where_it_came_from() -> None:
    here = BridgeTarget(channel="telegram", account="main", conversation="77")
    with pytest.raises(HandlerError, match="round for ever"):
        await make(here).handle(MESSAGE)


async def test_what_was_said_is_put_in_once() -> None:
    tricky = msgspec.structs.replace(MESSAGE, text="{sender} {0} {", sender_name="{text}")
    (reply,) = await make().handle(tricky)
    assert reply.text == "{text}: {sender} {0} {"


@pytest.mark.parametrize("given", [-100123, "-100123"])
def test_a_conversation_may_be_a_number(given: str | int) -> None:
    text = HEAD.replace(
        "echo}", f"echo}}\n  over: {{type: bridge, to: {{channel: webchat, account: a, conversation: {given}}}}}", 1
    )
    made = config(text + "channels: {webchat: {accounts: {a: {}}}}\n").handlers["over"]
    bridge = Bridge("over", made, tools(Path()))  # type: ignore[arg-type]
    assert bridge._to == Address("webchat", "a", "-100123")


def test_it_leads_to_an_account_that_there_is() -> None:
    text = HEAD.replace(
        "echo}", "echo}\n  over: {type: bridge, to: {channel: telegram, account: x, conversation: '5'}}", 1
    )
    (fault,) = faults(text + "channels: {webchat: {accounts: {a: {}}}}\n")
    assert (fault.path, fault.line) == ("handlers.over.to", 5)
    assert "there is no account telegram/x; there are webchat/a" in fault.message


@pytest.mark.parametrize(
    "text",
    [
        "{who}: {text}",
        "{",
        "{0}",
        "{sender.name}",
        "{text:>1000000000}",
        "{text!r}",
        "{text[0]}",
        "{{text}}",
        "{sender}:",
    ],
)
def test_a_format_with_other_names_is_refused_with_the_config(text: str) -> None:
    with pytest.raises(ValueError, match="format"):
        BridgeHandler(type="bridge", to=THERE, format=text)
