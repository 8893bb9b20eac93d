"""Telegram, what is sent: whether it was, whether sending it again can help, how it looks and how fast it may go."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.channels.telegram import CHAT_BURST
from gateway.channels.telegram_receiver import AGAIN
from gateway.errors import (
    AnswerLostError,
    ChannelError,
    SendError,
)
from gateway.messages.pace import Rate
from gateway.testing.channels import PATIENCE, Lines
from tests.gateway.channels.telegram_network import FAULTS, FINAL, UNANSWERED, Fail, TelegramNetwork, no_secret_in


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize(("fail", "kind", "text"), FAULTS.values(), ids=list(FAULTS))
async def test_whether_it_was_sent_and_whether_sending_again_can_help(
    network: TelegramNetwork, lines: Lines, fail: Fail, kind: type[ChannelError], text: str, request: Any
) -> None:
    line = await lines.running()
    fail(network.bot, "sendMessage")
    case = request.node.callspec.id
    with pytest.raises(ChannelError) as caught:
        await line.send("7", "hello")
    assert text in str(caught.value)
    assert no_secret_in(caught.value)
    if case in UNANSWERED:
        assert type(caught.value) is AnswerLostError
    else:
        assert isinstance(caught.value, SendError)
        assert caught.value.retryable == (case not in FINAL)
    assert line.task is not None
    assert not line.task.done(), "a reply that fails is no reason to stop receiving"


async def test_when_to_send_again(network: TelegramNetwork, lines: Lines) -> None:
    line = await lines.running()
    network.bot.fail_next(429, retry_after=23, method="sendMessage")
    with pytest.raises(SendError) as caught:
        await line.send("7", "hello")
    assert (caught.value.retryable, caught.value.retry_after) == (True, 23)


async def test_one_that_nobody_could_be_asked_to_take_can_be_sent_later(network: TelegramNetwork, lines: Lines) -> None:
    """Connection refused: surely it was not sent."""
    line = await lines.running()
    await network.server.stop()
    with pytest.raises(SendError, match="sendMessage: ClientConnectorError") as caught:
        await line.send("7", "into the dark")
    assert caught.value.retryable
    assert no_secret_in(caught.value)


async def test_the_networks_id_is_told(network: TelegramNetwork, lines: Lines) -> None:
    line = await lines.running()
    ids = [await line.send("7", text) for text in ("one", "two")]
    assert ids == [str(sent["message_id"]) for sent in network.bot.sent]


async def test_one_that_may_be_there_already_says_so(network: TelegramNetwork, lines: Lines) -> None:
    line = await lines.running()
    for form in ("plain", "markdown", "html"):
        await line.send("7", "# hello", marked=True, format=form)
    assert [sent["shown"] for sent in network.bot.sent] == [AGAIN + "# hello", AGAIN + "hello", AGAIN + "# hello"]


async def test_where_it_goes_and_what_it_refers_to(network: TelegramNetwork, lines: Lines) -> None:
    line = await lines.running()
    network.bot.push_message(-7, text="hello", message_thread_id=3, is_topic_message=True)
    await line.until(lambda: bool(line.delivered))
    (message,) = line.delivered
    await line.send(message.conversation, "hi", thread=message.thread, quote=message.network_id)
    (sent,) = network.bot.sent
    assert (sent["chat_id"], sent["message_thread_id"]) == (-7, "3")
    reference = {"message_id": int(message.network_id or ""), "allow_sending_without_reply": True}
    assert sent["reply_parameters"] == reference
    await line.send("7", "hi", quote="no id of this network")
    assert {"reply_parameters", "message_thread_id", "parse_mode"}.isdisjoint(network.bot.sent[-1])


async def test_marks_are_shown_as_marks(network: TelegramNetwork, lines: Lines) -> None:
    line = await lines.running()
    await line.send("7", "**bold** < 1", format="markdown")
    await line.send("7", "<b>bold</b> &lt; 1", format="html")
    await line.send("7", "<b>bold</b> ** 1", format="plain")
    assert [(sent["text"], sent.get("parse_mode")) for sent in network.bot.sent] == [
        ("<b>bold</b> &lt; 1", "HTML"),
        ("<b>bold</b> &lt; 1", "HTML"),
        ("<b>bold</b> ** 1", None),
    ]
    assert [sent["shown"] for sent in network.bot.sent] == ["bold < 1", "bold < 1", "<b>bold</b> ** 1"]


async def test_marks_that_are_refused_go_as_plain_text_once(network: TelegramNetwork, lines: Lines) -> None:
    line = await lines.running()
    text = "<p>1 &lt; 2</p><b>not closed"
    number = await line.send("7", text, format="html", thread="3", quote="5", marked=True)
    (sent,) = network.bot.sent
    assert (sent["text"], "parse_mode" in sent) == (AGAIN + "1 < 2\nnot closed", False)
    assert (sent["message_thread_id"], sent["reply_parameters"]["message_id"]) == ("3", 5)
    assert number == str(sent["message_id"])


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize(("fail", "kind"), [(FAULTS["429"][0], SendError), (FAULTS["reset"][0], AnswerLostError)])
async def test_what_follows_from_the_plain_text_is_what_follows(
    network: TelegramNetwork, lines: Lines, monkeypatch: pytest.MonkeyPatch, fail: Fail, kind: type[ChannelError]
) -> None:
    line = await lines.running()
    receiver: Any = line.receiver
    honest = receiver._api.call

    async def call(method: str, params: dict[str, Any], patience: float) -> Any:
        if "parse_mode" not in params:
            fail(network.bot, "sendMessage")
        return await honest(method, params, patience)

    monkeypatch.setattr(receiver._api, "call", call)
    with pytest.raises(kind):
        await line.send("7", "<p>refused", format="html")
    assert network.bot.sent == []


async def test_a_message_that_is_refused_for_another_reason_is_not_sent_plain(
    network: TelegramNetwork, lines: Lines
) -> None:
    line = await lines.running()
    network.bot.fail_next(400, method="sendMessage")
    with pytest.raises(SendError) as caught:
        await line.send("7", "**bold**", format="markdown")
    assert not caught.value.retryable
    assert network.bot.sent == []


async def test_typing(network: TelegramNetwork, lines: Lines) -> None:
    line = await lines.running()
    await line.receiver.typing("7")
    assert network.bot.actions == [{"chat_id": "7", "action": "typing"}]


def test_how_fast_it_may_go(network: TelegramNetwork) -> None:
    network.configure(sends_per_second=20, sends_per_second_in_a_chat=0.5)
    limits = network.adapter.limits(network.settings)
    assert (limits.account, limits.conversation) == (Rate(0.05, 20), Rate(2.0, CHAT_BURST))
    network.configure(sends_per_second=0, sends_per_second_in_a_chat=0)
    limits = network.adapter.limits(network.settings)
    assert (limits.account, limits.conversation) == (Rate(), Rate())


async def test_closing_waits_for_what_is_half_said(network: TelegramNetwork, lines: Lines) -> None:
    line = await lines.running()
    network.server.latency = 0.2
    sending = asyncio.ensure_future(line.send("7", "the last word"))
    await asyncio.sleep(0.02)
    await line.end()
    await asyncio.wait_for(sending, PATIENCE)
    assert network.answers() == ["the last word"]


async def test_what_comes_too_late_can_be_sent_again(network: TelegramNetwork, lines: Lines) -> None:
    """By the next generation: this one's session is closed."""
    line = await lines.running()
    await line.end()
    with pytest.raises(SendError, match="this generation has ended") as caught:
        await line.send("7", "too late")
    assert caught.value.retryable
    assert network.answers() == []
