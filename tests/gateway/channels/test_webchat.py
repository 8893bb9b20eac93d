"""The web chat: the adapter's contract, and the hub that is its network."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from gateway.channels import webchat as webchat_module
from gateway.channels.webchat import Line, WebchatAdapter, WebchatHub, run_of
from gateway.clock import Clock
from gateway.messages.model import Message
from gateway.testing.channels import AdapterContract, Lines
from tests.gateway.configs import config

NAME = "webchat/default"


class WebchatNetwork:
    """A person in front of the page."""

    name = NAME
    identity = f"webchat:{NAME}"

    def __init__(self) -> None:
        self.hub = WebchatHub(Clock())
        self.adapter = WebchatAdapter(self.hub)
        self.settings = config("channels: {webchat: {accounts: {default: {}}}}").accounts()[NAME]
        self._said = 0

    def say(self, text: str) -> None:
        self._said += 1
        self.hub.say(NAME, "me", text, f"run-{self._said}")

    def answers(self) -> list[str]:
        return [line.text for line in self.hub.history(NAME, "me") if line.role == "assistant"]

    def receives(self) -> bool:
        return any(not getter.done() for getter in self.hub.queue(NAME)._getters)  # type: ignore[attr-defined]


@pytest.fixture
def network() -> WebchatNetwork:
    return WebchatNetwork()


class TestWebchat(AdapterContract):
    """Every promise of `gateway.testing.channels`."""


async def test_a_message_says_who_said_it_and_where(network: WebchatNetwork) -> None:
    lines = Lines(network)
    line = await lines.running()
    said = network.hub.say(NAME, "conversation-1", "hello", "run-1")
    await line.until(lambda: bool(line.delivered))
    (message,) = line.delivered
    assert (message.id, message.conversation, message.sender_id, message.sender_name) == (
        f"webchat:default:conversation-1:{said.run}", "conversation-1", "conversation-1", "you",
    )  # fmt: skip
    await lines.close()


async def test_halves_of_characters_are_received_as_something_that_can_be_written_down(network: WebchatNetwork) -> None:
    """A page can send them in JSON, and a store that cannot take a message would never take the next."""
    lines = Lines(network)
    line = await lines.running()
    network.hub.say(NAME, "a\ud800", "b\ud800\0", "c\ud800")
    await line.until(lambda: bool(line.delivered))
    (message,) = line.delivered
    assert msgspec.json.decode(msgspec.json.encode(message), type=Message) == message
    assert (message.conversation, message.text) == ("a\ufffd", "b\ufffd\0")
    assert [kept.text for kept in network.hub.history(NAME, "a\ud800")] == ["b\ufffd\0"]
    await lines.close()


# The hub


@pytest.fixture
def hub() -> WebchatHub:
    return WebchatHub(Clock())


def test_saying_it_again_says_nothing_new(hub: WebchatHub) -> None:
    first = hub.say(NAME, "me", "hello", "run-1")
    assert hub.say(NAME, "me", "hello", "run-1") == first
    assert hub.say(NAME, "me", "hello", "run-2") != first
    assert hub.say(NAME, "you", "hello", "run-1") != first
    assert hub.queue(NAME).qsize() == 3
    assert [line.run for line in hub.history(NAME, "me")] == ["run-1", "run-2"]


def test_an_answer_goes_to_everyone_who_listens_and_names_what_it_answers(hub: WebchatHub) -> None:
    heard: list[tuple[str, str, Line]] = []
    hub.listen(lambda *told: heard.append(told))
    hub.listen(lambda *told: heard.append(told))
    hub.say(NAME, "me", "hello", "run-1")
    hub.answer(NAME, "me", "hello yourself", run_of("webchat:default:me:run-1#1"))
    assert len(heard) == 2
    name, conversation, line = heard[0]
    assert (name, conversation, line.role, line.text, line.run) == (
        NAME,
        "me",
        "assistant",
        "hello yourself",
        "re:run-1",
    )
    hub.answer(NAME, "nobody asked", "a notice")
    assert heard[-1][2].run == ""


def test_conversations_are_kept_apart_and_in_order(hub: WebchatHub) -> None:
    for number in range(3):
        hub.say(NAME, "me", f"question {number}", f"run-{number}")
        hub.answer(NAME, "me", f"answer {number}")
        hub.say("webchat/other", "me", "elsewhere", f"run-{number}")
    assert [(line.role, line.text) for line in hub.history(NAME, "me")] == [
        pair for number in range(3) for pair in (("user", f"question {number}"), ("assistant", f"answer {number}"))
    ]
    assert hub.history(NAME, "nobody") == []
    ids = [int(line.id) for line in hub.history(NAME, "me")]
    assert ids == sorted(set(ids))


def test_it_does_not_grow_for_ever(hub: WebchatHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webchat_module, "CONVERSATIONS_KEPT", 3)
    monkeypatch.setattr(webchat_module, "LINES_KEPT", 5)
    for number in range(9):
        hub.say(NAME, "busy", str(number), f"run-{number}")
        hub.say(NAME, f"conversation-{number}", "hello", f"run-{number}")
    assert [line.text for line in hub.history(NAME, "busy")] == ["4", "5", "6", "7", "8"]
    assert [bool(hub.history(NAME, f"conversation-{number}")) for number in range(9)] == [False] * 7 + [True] * 2


async def test_what_was_said_outlives_the_receiver(hub: WebchatHub) -> None:
    hub.say(NAME, "me", "hello", "run-1")
    queue = hub.queue(NAME)
    assert hub.queue(NAME) is queue
    assert (await asyncio.wait_for(queue.get(), 1))[1].text == "hello"


def test_what_is_kept_and_what_was_said_since_the_boot_is_there_once() -> None:
    """A reply that is on its way when the conversation is read comes after it, and is not said twice."""
    hub = WebchatHub(Clock())
    hub.answer(NAME, "me", "two", "re:key-2")
    hub.say(NAME, "me", "three", "key-3")
    hub.restore(
        NAME, "me", [("user", "one", 1, "key-1"), ("assistant", "one", 2, "re:key-1"), ("user", "two", 3, "key-2")]
    )
    said = [(line.role, line.text) for line in hub.history(NAME, "me")]
    assert said == [("user", "one"), ("assistant", "one"), ("user", "two"), ("assistant", "two"), ("user", "three")]
    hub.restore(NAME, "me", [(line.role, line.text, line.ts, line.run) for line in hub.history(NAME, "me")])
    assert [(line.role, line.text) for line in hub.history(NAME, "me")] == said
