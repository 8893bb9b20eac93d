"""Telegram: the adapter's contract against the fake Bot API, its errors by class, and long texts."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from gateway.channels import telegram_receiver as telegram_module
from gateway.channels.telegram import CHAT_BURST, CONFLICT_MARGIN, STALL_MARGIN, TelegramAdapter
from gateway.channels.telegram_calls import BotApi
from gateway.channels.telegram_receiver import AGAIN, ANSWER_MARGIN
from gateway.channels.telegram_updates import READERS
from gateway.errors import (
    AccountRefusedError,
    AnswerLostError,
    ChannelError,
    ConflictError,
    ConnectionLostError,
    SendError,
)
from gateway.messages.model import Message
from gateway.messages.pace import Rate
from gateway.testing.channels import NOW, PATIENCE, PLANES, AdapterContract, Lines
from statemachine.channel_events import ChannelPolicy
from tests.fakes import telegram_wire
from tests.fakes.telegram import Bot, FakeTelegram
from tests.gateway.configs import config, telegram

TOKEN = "1001:AAF-a-secret-token"
NAME = "telegram/main"


class TelegramNetwork:
    """A person who writes to the bot."""

    name = NAME

    def __init__(self, server: FakeTelegram, bot: Bot) -> None:
        self.server = server
        self.bot = bot
        self.adapter = TelegramAdapter()
        self.configure()

    def configure(self, token: str = TOKEN, **more: Any) -> None:
        keys = {"token": f"'{token}'", "api_base": f"'{self.server.url}'", "poll_timeout_s": 1} | more
        inside = ", ".join(f"{key}: {value}" for key, value in keys.items())
        self.settings: Any = config(telegram(main=inside)).accounts()[NAME]

    @property
    def identity(self) -> str:
        return f"telegram:1001:{self.settings.token.fingerprint}"

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


def update_of(message: Message) -> int:
    """The number of the update that a message was."""
    return int(message.id.rpartition(":")[2])


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


UNANSWERED = {"timeout", "reset", "half an answer", "not JSON"}
"""After these nobody knows whether the network has done what it was asked."""
FINAL = {"400", "409"}
"""What it says of the message, and will say again."""


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
