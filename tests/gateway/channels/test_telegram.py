"""Telegram: the adapter's contract against the fake Bot API, its errors by class, and long texts."""

from __future__ import annotations

import asyncio
import re
import traceback
from collections.abc import AsyncIterator, Callable
from random import Random
from typing import Any

import pytest

from gateway.channels import telegram as telegram_module
from gateway.channels.telegram import CONFLICT_MARGIN, TEXT_LIMIT, TelegramAdapter, split
from gateway.channels.telegram_calls import BotApi
from gateway.errors import AccountRefusedError, ChannelError, ConflictError, ConnectionLostError, SendError
from statemachine.channel import ChannelPolicy
from tests.fakes.telegram import Bot, FakeTelegram
from tests.gateway.channels.contract import PATIENCE, AdapterContract, Lines
from tests.gateway.configs import config, telegram

TOKEN = "1001:AAF-a-secret-token"
NAME = "telegram/main"


class TelegramNetwork:
    """A person who writes to the bot."""

    name = NAME
    identity = "telegram:1001"

    def __init__(self, server: FakeTelegram, bot: Bot) -> None:
        self.server = server
        self.bot = bot
        self.adapter = TelegramAdapter()
        self.configure()

    def configure(self, token: str = TOKEN, **more: Any) -> None:
        keys = {"token": f"'{token}'", "api_base": f"'{self.server.url}'", "poll_timeout_s": 1} | more
        inside = ", ".join(f"{key}: {value}" for key, value in keys.items())
        self.settings: Any = config(telegram(main=inside)).accounts()[NAME]

    def say(self, text: str) -> None:
        self.bot.push(text, chat_id=7, user_id=5, username="ann")

    def answers(self) -> list[str]:
        return [str(message["text"]) for message in self.bot.sent]

    def receives(self) -> bool:
        self.bot._forget_gone_poll()  # as a real server, which sees its connection close
        return self.bot.stats.in_flight > 0


@pytest.fixture
async def server() -> AsyncIterator[FakeTelegram]:
    async with FakeTelegram() as server:
        yield server


@pytest.fixture
def network(server: FakeTelegram) -> TelegramNetwork:
    return TelegramNetwork(server, server.add_bot(TOKEN, username="main_bot"))


@pytest.fixture
async def lines(network: TelegramNetwork) -> AsyncIterator[Lines]:
    lines = Lines(network)
    yield lines
    await lines.close()


class TestTelegram(AdapterContract):
    """Every promise of `contract.py`."""

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
    assert network.bot.allowed_updates == ["message"]


async def test_the_offset_confirms_with_the_next_poll(network: TelegramNetwork, lines: Lines) -> None:
    line = await lines.running()
    network.say("hello")
    await line.until(lambda: bool(line.delivered))
    await network.bot.wait_polls(3)
    update = int(line.delivered[0].id)
    assert network.bot.stats.poll_log[-1].offset == update + 1
    assert lines.offsets.get("telegram:1001") == update + 1


async def test_the_last_poll_of_a_clean_stop_confirms(network: TelegramNetwork, lines: Lines) -> None:
    line = await lines.running()
    network.say("hello")
    await line.until(lambda: bool(line.delivered))
    assert line.task is not None
    line.task.cancel()
    await asyncio.wait({line.task})
    await line.receiver.confirm()
    assert network.bot.stats.confirmed_offset == int(line.delivered[0].id) + 1
    assert (network.bot.stats.poll_log[-1].timeout_param, network.bot.updates) == (0, [])
    await line.receiver.close()


async def test_the_last_poll_goes_when_the_one_that_was_cancelled_is_off_the_wire(
    network: TelegramNetwork, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may go at once by a connection that a reply has left open, and the cancelled one closes a turn of the loop later."""
    line = await lines.running()
    network.say("hello")
    await line.until(lambda: bool(line.delivered))
    await line.receiver.send("7", "hi")
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


async def test_who_said_it_and_where(network: TelegramNetwork, lines: Lines) -> None:
    line = await lines.running()
    network.bot.push("hello", chat_id=-7, user_id=5, username="ann")
    await line.until(lambda: bool(line.delivered))
    (message,) = line.delivered
    assert (message.conversation, message.sender_id, message.sender_name) == ("-7", "5", "ann")


async def test_what_is_no_text_is_passed_over_and_confirmed_with_the_others(
    network: TelegramNetwork, lines: Lines
) -> None:
    parts: list[dict[str, Any]] = [{"photo": []}, {}, {"text": "in no chat", "chat": {}}]
    for part in parts:
        network.bot.push("to be spoilt")
        update = network.bot.updates[-1]
        update["message"] = {"date": 1, "chat": {"id": 7}, "from": {"id": 5}} | part
    network.bot.push("gone")
    network.bot.updates[-1] = {"update_id": network.bot.updates[-1]["update_id"], "edited_message": {"text": "no"}}
    network.say("hello")
    line = await lines.running()
    await line.until(lambda: bool(line.delivered))
    assert line.texts == ["hello"]
    await network.bot.wait_polls(2)
    assert network.bot.updates == []


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
    assert policy == ChannelPolicy(conflict_wait=40 + CONFLICT_MARGIN, stop_timeout=1.234)


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
    await lines.running()


# Errors, by class

Fail = Callable[[Bot, str], None]
FAULTS: dict[str, tuple[Fail, type[ChannelError], str]] = {
    "409": (lambda bot, method: bot.fail_next(409, method=method), ConflictError, "Conflict"),
    "401": (lambda bot, method: bot.fail_next(401, method=method), AccountRefusedError, "Unauthorized"),
    "404": (lambda bot, method: bot.fail_next(404, method=method), AccountRefusedError, "Scripted error"),
    "429": (lambda bot, method: bot.fail_next(429, 17, method), ConnectionLostError, "Too Many Requests"),
    "500": (lambda bot, method: bot.fail_next(500, method=method), ConnectionLostError, "Internal Server Error"),
    "502": (lambda bot, method: bot.fail_next(502, method=method), ConnectionLostError, "Bad Gateway"),
    "timeout": (lambda bot, method: bot.fail_next(method=method, hang=60), ConnectionLostError, "no answer within"),
    "reset": (lambda bot, method: bot.fail_next(method=method, reset=True, times=5), ConnectionLostError, "Error"),
    "half an answer": (lambda bot, method: bot.fail_next(method=method, half=True), ConnectionLostError, "Error"),
    "not JSON": (lambda bot, method: bot.fail_next(method=method, garbage=True), ConnectionLostError, "not JSON"),
    "400": (lambda bot, method: bot.fail_next(400, method=method), ChannelError, "Scripted error"),
}


def no_secret_in(error: BaseException) -> bool:
    """Neither in its text nor in the traceback that a log would show."""
    shown = str(error) + repr(error) + "".join(traceback.format_exception(error))
    return TOKEN not in shown and TOKEN.split(":")[1] not in shown


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telegram_module, "ANSWER_MARGIN", 0.3)
    monkeypatch.setattr(telegram_module, "CONNECT_TIMEOUT", 0.3)
    monkeypatch.setattr(telegram_module, "SEND_TIMEOUT", 0.3)


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("method", ["getMe", "getUpdates"])
@pytest.mark.parametrize(("fail", "kind", "text"), FAULTS.values(), ids=list(FAULTS))
async def test_what_follows_from_an_error_is_said_by_its_class(
    network: TelegramNetwork, lines: Lines, fail: Fail, kind: type[ChannelError], text: str, method: str
) -> None:
    fail(network.bot, method)
    line = lines.open()
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(ChannelError) as caught:
            await line.begin()
    assert type(caught.value) is kind
    assert text in str(caught.value)
    assert str(caught.value).startswith(f"{method}: ")
    assert no_secret_in(caught.value)
    assert line.announced == 0
    await line.receiver.close()
    assert not network.receives()


async def test_the_seconds_that_the_network_asked_to_wait(network: TelegramNetwork, lines: Lines) -> None:
    network.bot.fail_next(429, retry_after=17)
    with pytest.raises(ConnectionLostError) as caught:
        await lines.open().begin()
    assert caught.value.retry_after == 17


async def test_another_program_takes_over_a_long_poll(network: TelegramNetwork, lines: Lines) -> None:
    line = await lines.running()
    await line.until(network.receives)
    with network.bot.foreign_poll():
        assert line.task is not None
        await asyncio.wait({line.task}, timeout=PATIENCE)
        assert isinstance(line.task.exception(), ConflictError)


async def test_a_token_that_is_revoked_ends_a_long_poll(network: TelegramNetwork, lines: Lines) -> None:
    line = await lines.running()
    await line.until(network.receives)
    network.bot.revoke()
    assert line.task is not None
    await asyncio.wait({line.task}, timeout=PATIENCE)
    error = line.task.exception()
    assert isinstance(error, AccountRefusedError)
    assert no_secret_in(error)


async def test_a_token_that_never_was(network: TelegramNetwork, lines: Lines) -> None:
    network.configure(token="1002:AAF-another-token")
    with pytest.raises(AccountRefusedError):
        await lines.open().begin()


async def test_a_connection_that_breaks_in_the_middle_of_a_long_poll(network: TelegramNetwork, lines: Lines) -> None:
    line = await lines.running()
    for _ in range(3):
        if line.task is not None and line.task.done():
            break
        await network.bot.wait_polling()
        await network.server.drop_connections()
        await asyncio.sleep(0.05)
    assert line.task is not None
    await asyncio.wait({line.task}, timeout=PATIENCE)
    error = line.task.exception()
    assert isinstance(error, ConnectionLostError)
    assert no_secret_in(error)


@pytest.mark.parametrize("base", ["http://127.0.0.1:9", "http://no-such-host.invalid", "https://127.0.0.1:9"])
async def test_a_network_that_cannot_be_reached(network: TelegramNetwork, lines: Lines, base: str) -> None:
    network.configure(api_base=f"'{base}'")
    with pytest.raises(ConnectionLostError) as caught:
        await lines.open().begin()
    assert no_secret_in(caught.value)


@pytest.mark.usefixtures("_impatient")
async def test_a_network_that_answers_nothing(network: TelegramNetwork, lines: Lines) -> None:
    network.server.blackhole = True
    with pytest.raises(ConnectionLostError, match=r"getMe: no answer within 0\.3 s"):
        await lines.open().begin()


# Sending


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize(("fail", "kind", "text"), FAULTS.values(), ids=list(FAULTS))
async def test_whether_sending_again_can_help(
    network: TelegramNetwork, lines: Lines, fail: Fail, kind: type[ChannelError], text: str
) -> None:
    line = await lines.running()
    fail(network.bot, "sendMessage")
    with pytest.raises(SendError) as caught:
        await line.receiver.send("7", "hello")
    assert caught.value.retryable == (kind is ConnectionLostError)
    assert text in str(caught.value)
    assert no_secret_in(caught.value)
    assert line.task is not None
    assert not line.task.done(), "a reply that fails is no reason to stop receiving"


async def test_when_to_send_again(network: TelegramNetwork, lines: Lines) -> None:
    line = await lines.running()
    network.bot.fail_next(429, retry_after=23, method="sendMessage")
    with pytest.raises(SendError) as caught:
        await line.receiver.send("7", "hello")
    assert (caught.value.retryable, caught.value.retry_after) == (True, 23)


async def test_a_long_text_arrives_in_parts(network: TelegramNetwork, lines: Lines) -> None:
    line = await lines.running()
    text = "".join(f"line {number} 😀\n" for number in range(1_000))
    await line.receiver.send("7", text)
    assert len(network.answers()) > 2
    assert same_words(network.answers(), text)


async def test_closing_waits_for_what_is_half_said(network: TelegramNetwork, lines: Lines) -> None:
    line = await lines.running()
    network.server.latency = 0.2
    sending = asyncio.ensure_future(line.receiver.send("7", "the last word"))
    await asyncio.sleep(0.02)
    await line.end()
    await asyncio.wait_for(sending, PATIENCE)
    assert network.answers() == ["the last word"]


async def test_what_comes_too_late_can_be_sent_again(network: TelegramNetwork, lines: Lines) -> None:
    """By the next generation: this one's session is closed."""
    line = await lines.running()
    await line.end()
    with pytest.raises(SendError, match="this generation has ended") as caught:
        await line.receiver.send("7", "too late")
    assert caught.value.retryable
    assert network.answers() == []


# Long texts


def units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def same_words(parts: list[str], text: str) -> bool:
    """Nothing but white space at the borders is gone."""
    return re.sub(r"\s", "", "".join(parts)) == re.sub(r"\s", "", text)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("hello", ["hello"]),
        ("", []),
        (" \n ", []),
        ("a" * 4096, ["a" * 4096]),
        ("a" * 4097, ["a" * 4096, "a"]),
        ("a" * 9000, ["a" * 4096, "a" * 4096, "a" * 808]),
        ("😀" * 2048, ["😀" * 2048]),
        ("😀" * 2049, ["😀" * 2048, "😀"]),
        ("a" + "😀" * 2048, ["a" + "😀" * 2047, "😀"]),
        ("a" * 4000 + " " + "b" * 4000, ["a" * 4000, "b" * 4000]),
        ("a" * 4000 + "\n" + "b" * 4000, ["a" * 4000, "b" * 4000]),
        ("a" * 4000 + "\n" + "b" * 50 + " " + "c" * 4000, ["a" * 4000, "b" * 50 + " " + "c" * 4000]),
        ("a" * 2050 + "\n" + "b" * 50 + " " + "c" * 4000, ["a" * 2050, "b" * 50 + " " + "c" * 4000]),
        ("a" * 100 + "\n" + "b" * 3000 + " " + "c" * 4000, ["a" * 100 + "\n" + "b" * 3000, "c" * 4000]),
        ("a" * 100 + "\n" + "b" * 4090, ["a" * 100, "b" * 4090]),
        ("a" * 4096 + " b", ["a" * 4096, "b"]),
        ("a" * 4095 + " b", ["a" * 4095, "b"]),
        ("\n" + "b" * 4096, ["b" * 4095, "b"]),
        (" " * 5000 + "x", ["x"]),
        ("x\n" + " " * 5000 + "y", ["x", "y"]),
    ],
)
def test_a_text_is_cut_at_its_borders(text: str, parts: list[str]) -> None:
    assert [part.strip() for part in split(text)] == parts


def test_every_text_is_cut_into_parts_that_telegram_takes() -> None:
    random = Random(3)
    alphabet = ["a", "ä", "中", "😀", "👩‍👩‍👧", " ", "\n", "  ", "word", "\r\n", "\t"]
    for _ in range(300):
        limit = random.randrange(2, 40)
        text = "".join(random.choice(alphabet) for _ in range(random.randrange(120)))
        parts = split(text, limit)
        assert all(0 < units(part) <= limit for part in parts), (limit, text)
        assert all(part.strip() for part in parts)
        assert same_words(parts, text), (limit, text)


def test_the_limit_is_telegrams() -> None:
    assert TEXT_LIMIT == 4096
