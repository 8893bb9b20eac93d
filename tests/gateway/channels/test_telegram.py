"""Telegram: the adapter's contract against the fake Bot API, its polls, update ids and buttons."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.channels.telegram import CONFLICT_MARGIN, STALL_MARGIN
from gateway.channels.telegram_calls import BotApi
from gateway.channels.telegram_receiver import ANSWER_MARGIN
from gateway.channels.telegram_updates import READERS
from gateway.errors import (
    ConflictError,
    ConnectionLostError,
)
from gateway.testing.channels import NOW, PLANES, AdapterContract, Lines
from statemachine.channel_events import ChannelPolicy
from tests.fakes import telegram_wire
from tests.gateway.channels.telegram_network import TelegramNetwork, update_of


class TestTelegram(AdapterContract):
    """Every promise of `gateway.testing.channels`."""

    @pytest.fixture(autouse=True)
    def _one_receiver_at_every_instant(self, network: TelegramNetwork, request: pytest.FixtureRequest) -> Any:
        yield
        assert network.bot.stats.overlaps == 0
        assert network.bot.stats.conflicts_self == 0


# Polls


async def test_the_first_poll_is_short_and_the_long_ones_follow_it(network: TelegramNetwork, lines: Lines) -> None:
    line = await lines.running()
    await network.bot.wait_polls(3)
    assert [record.timeout_param for record in network.bot.stats.poll_log[:3]] == [0, 1, 1]
    assert line.announced == 1


async def test_the_offset_confirms_with_the_next_poll(network: TelegramNetwork, lines: Lines) -> None:
    line = await lines.running()
    network.say("hello")
    await line.until(lambda: bool(line.delivered))
    await network.bot.wait_polls(3)
    update = update_of(line.delivered[0])
    assert network.bot.stats.poll_log[-1].offset == update + 1
    assert lines.offsets.get(network.identity) == update + 1


async def test_the_last_poll_of_a_clean_stop_confirms(network: TelegramNetwork, lines: Lines) -> None:
    line = await lines.running()
    network.say("hello")
    await line.until(lambda: bool(line.delivered))
    assert line.task is not None
    line.task.cancel()
    await asyncio.wait({line.task})
    await line.receiver.confirm()
    assert network.bot.stats.confirmed_offset == update_of(line.delivered[0]) + 1
    assert (network.bot.stats.poll_log[-1].timeout_param, network.bot.updates) == (0, [])
    await line.receiver.close()


async def test_the_last_poll_goes_when_the_one_that_was_cancelled_is_off_the_wire(
    network: TelegramNetwork, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may go at once by a connection that a reply has left open, and the cancelled one closes a turn of the loop later."""
    line = await lines.running()
    network.say("hello")
    await line.until(lambda: bool(line.delivered))
    await line.send("7", "hi")
    receiver: Any = line.receiver
    await line.until(lambda: bool(receiver._api._session.connector._acquired))
    (polling,) = [
        connection.transport.get_extra_info("socket") for connection in receiver._api._session.connector._acquired
    ]
    off_the_wire: list[bool] = []
    honest = BotApi._request

    def look(api: BotApi, method: str, params: dict[str, Any]) -> Any:
        off_the_wire.append(polling.fileno() == -1)
        return honest(api, method, params)

    monkeypatch.setattr(BotApi, "_request", look)
    assert line.task is not None
    line.task.cancel()
    await asyncio.wait({line.task})
    await line.receiver.confirm()
    assert off_the_wire == [True]
    await line.receiver.close()


async def test_case_38_every_start_declares_the_complete_list(network: TelegramNetwork, lines: Lines) -> None:
    """Whatever was declared before, by whomever: after ten starts in a row everything still arrives."""
    for number in range(10):
        network.bot.allowed_updates = ["poll"]
        line = await lines.running()
        assert network.bot.allowed_updates == list(READERS)
        network.bot.push_update("message_reaction", {"chat": {"id": 7}, "message_id": number})
        network.bot.push_message(7, kind="edited_message", text="edited")
        await line.until(lambda line=line: [message.kind for message in line.delivered] == ["other", "edit"])
        await line.end()


async def test_what_is_no_message_is_kept_and_confirmed_with_the_others(network: TelegramNetwork, lines: Lines) -> None:
    network.bot.push_update("message", {"text": "in no chat"})
    network.bot.push_message(7, new_chat_members=[])
    network.bot.push_update("message", ["no mapping"])
    network.bot.updates.append({"update_id": network.bot.next_update_id, "a_kind_of_tomorrow": 1})
    network.bot.next_update_id += 1
    network.say("hello")
    line = await lines.running()
    await line.until(lambda: len(line.delivered) == 5)
    kinds = [(message.kind, message.text, message.conversation) for message in line.delivered]
    assert kinds == [*[("other", "", where) for where in ("", "7", "", "")], ("text", "hello", "7")]
    assert line.delivered[0].received_at == NOW, "what comes without a time came now"
    await network.bot.wait_polls(2)
    assert network.bot.updates == []


async def test_what_has_no_number_is_passed_over_and_the_others_are_taken(
    network: TelegramNetwork, lines: Lines
) -> None:
    network.say("hello")
    network.bot.updates[:0] = [{"update_id": network.bot.updates[0]["update_id"], "message": 3}]
    line = lines.open()
    answers = iter([[{"update_id": "5"}, 7, *network.bot.updates[1:]], [{"message": 1}]])
    receiver: Any = line.receiver
    honest = receiver._api.call

    async def call(method: str, params: dict[str, Any], patience: float) -> Any:
        return next(answers) if method == "getUpdates" else await honest(method, params, patience)

    receiver._api.call = call
    with pytest.raises(ConnectionLostError, match="no update has an id"):
        await line.begin()
    assert line.texts == ["hello"]


async def test_500_in_one_poll(network: TelegramNetwork, lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telegram_wire, "MOST_UPDATES", 500)
    texts = ["", "a" * 100_000, "\0", "\u202ertl\u200f", "".join(map(chr, PLANES)), *map(str, range(495))]
    for text in texts:
        network.say(text)
    line = await lines.running()
    assert line.texts == texts
    assert line.announced == 1


# Update ids


async def test_ids_that_jump_back_are_followed(network: TelegramNetwork, lines: Lines) -> None:
    """After a week of silence they go on from a random number."""
    line = await lines.running()
    for jump in (900_000_000, 100, 700, 1):
        network.bot.next_update_id = jump
        network.say(f"from {jump}")
        await line.until(lambda jump=jump: line.texts[-1:] == [f"from {jump}"])
        assert lines.offsets.get(network.identity) == jump + 1
        network.say(f"and after {jump}")
        await line.until(lambda jump=jump: line.texts[-1:] == [f"and after {jump}"])
        # A poll that goes on from there confirms whatever is below, be it newer.
        await line.until(lambda: network.bot.updates == [])
    assert len(line.delivered) == 8
    assert line.again == []


async def test_ids_that_jumped_back_while_nobody_received(network: TelegramNetwork, lines: Lines) -> None:
    line = await lines.running()
    network.say("before")
    await line.until(lambda: line.texts == ["before"])
    await line.end()
    network.bot.next_update_id = 100
    network.say("after")
    line = await lines.running()
    await line.until(lambda: line.texts == ["after"])
    assert lines.offsets.get(network.identity) == 101


async def test_a_server_that_ignores_the_offset_brings_nothing_new(
    network: TelegramNetwork, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network.bot, "_confirm", lambda offset: 0)
    network.say("hello")
    network.bot.push_update("callback_query", {"id": "q", "from": {"id": 5}})
    line = await lines.running()
    await line.until(lambda: len(line.again) >= 2 and bool(network.bot.callback_answers))
    assert line.texts == ["hello", ""]
    assert len(network.bot.callback_answers) == 1


# Buttons


async def test_who_has_pressed_a_button_is_told_that_it_has_arrived(network: TelegramNetwork, lines: Lines) -> None:
    line = await lines.running()
    network.bot.push_update("callback_query", {"id": "77", "from": {"id": 5}, "data": "yes"})
    await line.until(lambda: bool(network.bot.callback_answers))
    assert [(message.kind, message.text) for message in line.delivered] == [("callback", "yes")]
    assert network.bot.callback_answers == [{"callback_query_id": "77"}]


async def test_a_button_that_cannot_be_answered_fails_no_receive(network: TelegramNetwork, lines: Lines) -> None:
    line = await lines.running()
    network.bot.fail_next(400, method="answerCallbackQuery")
    network.bot.push_update("callback_query", {"id": "77", "from": {"id": 5}, "data": "yes"})
    network.say("after")
    await line.until(lambda: line.texts == ["yes", "after"])
    assert network.bot.callback_answers == []


async def test_a_button_is_not_answered_before_it_is_safe(network: TelegramNetwork, lines: Lines) -> None:
    line = await lines.running()
    line.accept_hangs.clear()
    network.bot.push_update("callback_query", {"id": "77", "from": {"id": 5}, "data": "yes"})
    await asyncio.sleep(0.1)
    assert network.bot.callback_answers == []
    line.accept_hangs.set()
    await line.until(lambda: bool(network.bot.callback_answers))


async def test_who_said_it_and_where(network: TelegramNetwork, lines: Lines) -> None:
    line = await lines.running()
    network.bot.push("hello", chat_id=-7, user_id=5, username="ann")
    await line.until(lambda: bool(line.delivered))
    (message,) = line.delivered
    assert (message.conversation, message.sender_id, message.sender_name) == ("-7", "5", "ann")


async def test_a_message_of_a_channel_has_no_sender(network: TelegramNetwork, lines: Lines) -> None:
    network.bot.push("hello", chat_id=7)
    del network.bot.updates[-1]["message"]["from"]
    line = await lines.running()
    await line.until(lambda: bool(line.delivered))
    assert (line.delivered[0].sender_id, line.delivered[0].sender_name) == ("7", "")


async def test_case_33_nothing_is_dropped_at_a_cold_start(network: TelegramNetwork, lines: Lines) -> None:
    for number in range(250):
        network.say(str(number))
    line = await lines.running()
    await line.until(lambda: len(line.delivered) == 250)
    assert line.texts == [str(number) for number in range(250)]


async def test_a_webhook_is_removed_only_where_that_is_wanted(network: TelegramNetwork, lines: Lines) -> None:
    network.bot.webhook_url = "https://example.org/hook"
    line = lines.open()
    with pytest.raises(ConflictError):
        await line.begin()
    assert network.bot.webhook_url == "https://example.org/hook"
    network.configure(delete_webhook="true")
    await lines.running()
    assert network.bot.webhook_url == ""


def test_after_a_conflict_it_waits_as_long_as_the_others_poll_can_last(network: TelegramNetwork) -> None:
    network.configure(poll_timeout_s=40, stop_timeout_ms=1234)
    policy = network.adapter.policy(network.settings)
    assert policy == ChannelPolicy(
        conflict_wait=40 + CONFLICT_MARGIN, stop_timeout=1.234, stall_after=40 + ANSWER_MARGIN + STALL_MARGIN
    )


async def test_cut_off_in_a_long_poll_the_server_sees_nobody_at_once(network: TelegramNetwork, lines: Lines) -> None:
    network.configure(poll_timeout_s=50)
    line = await lines.running()
    await line.until(network.receives)
    line.intake.revoke()
    await line.receiver.fence()
    await asyncio.sleep(0)
    assert not network.receives()
    assert line.task is not None
    await asyncio.wait({line.task}, timeout=1)
    assert isinstance(line.task.exception(), ConnectionLostError)


async def test_a_base_address_may_end_in_a_slash(network: TelegramNetwork, lines: Lines) -> None:
    network.configure(api_base=f"'{network.server.url}/'")
    line = await lines.running()
    network.say("hello")
    await line.until(lambda: bool(line.delivered))
    assert line.texts == ["hello"]
