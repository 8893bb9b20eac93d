"""Telegram by webhook: the adapter's contract, whose webhook it is, switching both ways, and back-pressure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from gateway.channels import telegram_webhook
from gateway.channels.hooks import Hooks
from gateway.channels.telegram import TelegramAdapter
from gateway.channels.telegram_answers import webhook_of
from gateway.channels.telegram_updates import READERS
from gateway.channels.telegram_webhook import WebhookReceiver, hook_secret
from gateway.errors import AccountRefusedError, ConflictError, ConnectionLostError, UnavailableError
from gateway.testing.channels import PATIENCE, AdapterContract, Line, Lines
from tests.fakes.telegram import Bot, FakeTelegram
from tests.fakes.telegram_webhook import SECRET_HEADER
from tests.gateway.configs import config, telegram

TOKEN = "1001:AAF-a-secret-token"
NAME = "telegram/main"
STRANGER = "https://other.example/a-path-that-is-secret"


class Door:
    """The gateway's listener in small: whatever comes goes to the hook that is up."""

    def __init__(self, hooks: Hooks) -> None:
        self.hooks = hooks
        self.secrets: list[str | None] = []
        self.url = ""
        app = web.Application()
        app.router.add_post("/base/telegram/main", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)

    async def _take(self, request: web.Request) -> web.Response:
        self.secrets.append(request.headers.get(SECRET_HEADER))
        update, hook = await request.json(), self.hooks.find(NAME)
        try:
            if hook is None:
                return web.Response(status=503)
            await hook.take(update["update_id"], update)
        except UnavailableError:
            return web.Response(status=503)
        return web.Response()

    async def __aenter__(self) -> Door:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/base"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()


class WebhookNetwork:
    """A person who writes to the bot, and Telegram, which brings it."""

    name = NAME

    def __init__(self, server: FakeTelegram, bot: Bot, door: Door) -> None:
        self.server = server
        self.bot = bot
        self.door = door
        self.adapter = TelegramAdapter(door.hooks)
        self.configure()

    def configure(self, receive: str = "webhook", **more: Any) -> None:
        keys = {"token": f"'{TOKEN}'", "api_base": f"'{self.server.url}'", "poll_timeout_s": 1, "receive": receive}
        keys |= {"webhook_url": f"'{self.door.url}'"} | more
        inside = ", ".join(f"{key}: {value}" for key, value in keys.items() if value is not None)
        self.settings: Any = config(telegram(main=inside)).accounts()[NAME]

    @property
    def identity(self) -> str:
        return f"telegram:1001:{self.settings.token.fingerprint}"

    @property
    def address(self) -> str:
        return f"{self.door.url}/telegram/main"

    def say(self, text: str, chat_id: int = 7) -> None:
        self.bot.push(text, chat_id=chat_id, user_id=5, username="ann")

    def answers(self) -> list[str]:
        return [str(message["text"]) for message in self.bot.sent]

    def receives(self) -> bool:
        hook = self.door.hooks.find(NAME)
        assert hook is None or isinstance(hook, WebhookReceiver)
        self.bot._forget_gone_poll()
        return (hook is not None and hook.takes) or self.bot.stats.in_flight > 0


@pytest.fixture
async def network() -> AsyncIterator[WebhookNetwork]:
    async with Door(Hooks()) as door, FakeTelegram() as server:
        yield WebhookNetwork(server, server.add_bot(TOKEN, username="main_bot"), door)


@pytest.fixture
async def lines(network: WebhookNetwork) -> AsyncIterator[Lines]:
    lines = Lines(network)
    yield lines
    await lines.close()


async def ends_with(line: Line) -> BaseException | None:
    task = line.task or line.begin()
    await asyncio.wait({task}, timeout=PATIENCE)
    return task.exception()


class TestTelegramWebhook(AdapterContract):
    """Every promise of `gateway.testing.channels`."""

    @pytest.fixture(autouse=True)
    def _never_polls(self, network: WebhookNetwork) -> Any:
        yield
        assert network.bot.stats.polls == network.bot.stats.both == 0


# Setting it


async def test_what_telegram_is_told(network: WebhookNetwork, lines: Lines) -> None:
    line = await lines.running()
    hook = network.bot.webhook
    assert hook is not None
    assert (hook.url, hook.secret) == (network.address, hook_secret(NAME, network.settings))
    assert network.bot.allowed_updates == list(READERS)
    network.say("hello")
    await line.until(lambda: line.texts == ["hello"])
    assert set(network.door.secrets) == {hook.secret}


def test_the_secret_is_the_same_in_every_life_and_another_for_every_bot(network: WebhookNetwork) -> None:
    secret = hook_secret(NAME, network.settings)
    assert secret == hook_secret(NAME, network.settings)
    assert secret != hook_secret("telegram/other", network.settings)
    network.configure(token="'1001:another-token'")
    assert secret != hook_secret(NAME, network.settings)
    assert TOKEN not in secret


async def test_the_next_generation_changes_nothing_at_the_network(network: WebhookNetwork, lines: Lines) -> None:
    """So that nothing is broken off that is on its way."""
    for _ in range(3):
        line = await lines.running()
        await line.end()
    assert len(network.bot.webhooks) == 1
    assert network.bot.webhook_url == network.address, "it stays for whoever comes next"


async def test_a_foreign_webhook_is_shown_without_its_path_and_stays(network: WebhookNetwork, lines: Lines) -> None:
    for receive in ("webhook", "polling"):
        network.bot.webhook_url = STRANGER
        network.configure(receive)
        error = await ends_with(lines.open())
        assert isinstance(error, ConflictError)
        assert "https://other.example/..." in str(error)
        assert "delete_webhook: true" in str(error)
        assert "secret" not in str(error)
        assert network.bot.webhook_url == STRANGER
        network.configure(receive, delete_webhook="true")
        line = await lines.running()
        assert network.bot.webhook_url == (network.address if receive == "webhook" else "")
        await line.end()


@pytest.mark.parametrize("taken", [STRANGER, ""])
async def test_one_that_somebody_takes_away_is_a_conflict(network: WebhookNetwork, lines: Lines, taken: str) -> None:
    line = await lines.running()
    network.bot.webhook_url = taken
    error = await ends_with(line)
    assert isinstance(error, ConflictError)
    assert ("https://other.example/..." if taken else "removed the webhook") in str(error)
    assert not network.receives()


async def test_one_that_is_set_while_it_polls_is_a_conflict_and_named(network: WebhookNetwork, lines: Lines) -> None:
    network.configure("polling")
    line = await lines.running()
    await network.bot.wait_polling()
    network.bot.webhook_url = STRANGER
    error = await ends_with(line)
    assert isinstance(error, ConflictError)
    assert "https://other.example/..." in str(error)


async def test_an_address_that_the_network_refuses_is_tried_again(network: WebhookNetwork, lines: Lines) -> None:
    network.bot.fail_next(status=400, method="setWebhook")
    error = await ends_with(lines.open())
    assert isinstance(error, ConnectionLostError)
    assert "webhook_url" in str(error)


async def test_a_token_that_is_revoked_ends_it(network: WebhookNetwork, lines: Lines) -> None:
    line = await lines.running()
    network.bot.revoke()
    assert isinstance(await ends_with(line), AccountRefusedError)


async def test_what_the_network_says_of_the_webhook_is_kept(network: WebhookNetwork, lines: Lines) -> None:
    line = await lines.running()
    report = network.door.hooks.report(NAME)
    assert report is not None
    assert (report.address, report.pending, report.error, report.error_at) == (network.address, 0, "", None)
    line.has_room.clear()
    assert network.bot.webhook is not None
    network.bot.webhook.error, network.bot.webhook.error_at = "Wrong response from the webhook: 502 Bad Gateway", 1_700
    last = line.intake.last_receive
    assert last is not None
    await line.until(lambda: getattr(network.door.hooks.report(NAME), "error_at", None) == 1_700_000)
    report = network.door.hooks.report(NAME)
    assert report is not None
    assert report.error == "Wrong response from the webhook: 502 Bad Gateway"
    await line.end()
    network.configure("polling")
    await lines.running()
    assert network.door.hooks.report(NAME) is None


async def test_silence_is_asked_about(network: WebhookNetwork, lines: Lines) -> None:
    """Each answer that it is still ours is a receive: nobody takes a quiet account for a dead one."""
    line = await lines.running()
    received = 0
    original = line.intake.received

    def count() -> None:
        nonlocal received
        received += 1
        original()

    line.intake.received = count  # type: ignore[method-assign]
    await line.until(lambda: received >= 2)
    assert line.announced == 1


# Switching


async def test_switching_to_and_fro_loses_nothing_and_brings_nothing_twice(
    network: WebhookNetwork, lines: Lines
) -> None:
    said: list[str] = []

    async def speak() -> None:
        while True:
            said.append(f"text {len(said)}")
            network.say(said[-1], chat_id=7 + len(said) % 3)
            await asyncio.sleep(0.003)

    speaking = asyncio.ensure_future(speak())
    for turn in range(8):
        network.configure("polling" if turn % 2 else "webhook")
        line = await lines.running()
        await line.until(lambda line=line: len(line.delivered) > 5)
        await line.end()
    speaking.cancel()
    line = await lines.running()
    await network.bot.wait_empty()
    heard = [text for each in lines.all for text in each.texts]
    assert sorted(heard) == sorted(said)
    assert network.bot.stats.both == network.bot.stats.overlaps == 0
    assert network.bot.stats.conflicts_self == 0


async def test_what_failed_by_webhook_while_later_ones_arrived_is_polled(
    network: WebhookNetwork, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later number that has arrived says nothing of an earlier one."""
    line = await lines.running()
    original = WebhookReceiver._take

    async def picky(self: WebhookReceiver, number: int, update: dict[str, Any]) -> None:
        if update["message"]["text"] == "early":
            raise UnavailableError("not this one")
        await original(self, number, update)

    monkeypatch.setattr(WebhookReceiver, "_take", picky)
    network.say("early", chat_id=1)
    network.say("late", chat_id=2)
    await line.until(lambda: line.texts == ["late"])
    await line.end()
    network.configure("polling")
    again = await lines.running()
    assert again.texts == ["early"]
    assert again.again == []


async def test_our_own_webhook_is_known_without_its_address_in_the_config(
    network: WebhookNetwork, lines: Lines
) -> None:
    line = await lines.running()
    await line.end()
    network.configure("polling", webhook_url=None)
    line = await lines.running()
    assert network.bot.webhook_url == ""
    await line.end()


async def test_at_another_address_it_replaces_our_own(network: WebhookNetwork, lines: Lines) -> None:
    line = await lines.running()
    await line.end()
    network.configure(webhook_url=f"'{network.door.url.replace('127.0.0.1', 'localhost')}'")
    line = await lines.running()
    assert network.bot.webhook_url.startswith("http://localhost:")


async def test_one_that_was_set_before_a_crash_is_known_after_it(
    network: WebhookNetwork, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is written down before the network is asked."""
    network.bot.fail_next(half=True, method="setWebhook")
    assert isinstance(await ends_with(lines.open()), ConnectionLostError)
    assert network.bot.webhook_url == network.address
    network.configure("polling", webhook_url=None)
    await lines.running()
    assert network.bot.webhook_url == ""


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://other.example/a-path", "https://other.example/..."),
        ("https://someone:else@other.example:8443/?secret", "https://other.example:8443/..."),
        ("HTTPS://Other.Example:443/", "https://other.example"),
        ("http://[::1", "a place that is no address"),
        ("no address", "a place that is no address"),
    ],
)
def test_of_an_address_the_host_is_shown(address: str, shown: str) -> None:
    webhook = webhook_of({"url": address})
    assert webhook.shown == shown
    assert shown in webhook.foreign()
    assert webhook.is_at(address)
    assert not webhook.is_at("https://bot.example.org/telegram/main")


@pytest.mark.parametrize("info", [None, [], {}, {"url": None}, {"url": 7}])
def test_what_is_no_webhook_info_is_not_believed(info: Any) -> None:
    with pytest.raises(ConnectionLostError):
        webhook_of(info)


def test_what_is_said_of_a_webhook_is_believed_as_far_as_it_makes_sense() -> None:
    odd = {"url": "", "pending_update_count": -1, "last_error_date": "now", "last_error_message": "x" * 1_000}
    webhook = webhook_of(odd)
    assert (webhook.address, webhook.pending, webhook.error_at, len(webhook.error)) == ("", 0, None, 300)


# Taking


async def test_without_room_it_is_sent_away_and_brought_again(
    network: WebhookNetwork, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telegram_webhook, "HOLD", 0.05)
    line = lines.open()
    line.has_room.clear()
    await line.runs()
    for number in range(30):
        network.say(f"{number}", chat_id=number)
    assert network.bot.webhook is not None
    stats = network.bot.webhook.stats
    await line.until(lambda: stats.statuses.get(503, 0) > 30)
    assert (line.delivered, line.asked_for_room) == ([], 1)
    line.has_room.set()
    await line.until(lambda: len(line.delivered) == 30)
    await network.bot.wait_empty()
    assert line.again == []


async def test_the_network_is_told_when_it_is_safe_and_not_before(network: WebhookNetwork, lines: Lines) -> None:
    line = await lines.running()
    line.accept_hangs.clear()
    network.say("hello")
    await asyncio.sleep(0.1)
    assert network.bot.webhook is not None
    assert network.bot.webhook.stats.accepted == []
    assert len(network.bot.updates) == 1
    line.accept_hangs.set()
    await network.bot.wait_empty()
    assert line.texts == ["hello"]


async def test_closing_waits_for_what_is_being_taken_over(network: WebhookNetwork, lines: Lines) -> None:
    line = await lines.running()
    line.accept_hangs.clear()
    network.say("hello")
    await asyncio.sleep(0.1)
    assert line.task is not None
    line.task.cancel()
    closing = asyncio.ensure_future(line.receiver.close())
    await asyncio.sleep(0.05)
    assert not closing.done()
    line.accept_hangs.set()
    await closing
    await network.bot.wait_empty()
    assert line.texts == ["hello"]


async def test_one_that_was_told_to_end_takes_nothing_more(network: WebhookNetwork, lines: Lines) -> None:
    """Also while it says goodbye: its intake is open still, and replies go out."""
    line = await lines.running()
    assert line.task is not None
    line.task.cancel()
    await asyncio.wait({line.task})
    assert network.door.hooks.find(NAME) is None
    assert isinstance(line.receiver, WebhookReceiver)
    with pytest.raises(UnavailableError):
        await line.receiver.take(7, {"update_id": 7})
    assert line.delivered == []


async def test_one_that_waits_at_the_door_is_sent_away_when_its_generation_ends(
    network: WebhookNetwork, lines: Lines
) -> None:
    line = lines.open()
    line.has_room.clear()
    await line.runs()
    assert isinstance(line.receiver, WebhookReceiver)
    waiting = asyncio.ensure_future(line.receiver.take(7, {"update_id": 7}))
    await asyncio.sleep(0.05)
    assert line.task is not None
    line.task.cancel()
    async with asyncio.timeout(0.5):
        with pytest.raises(UnavailableError):
            await waiting


async def test_who_has_pressed_a_button_is_told_so(network: WebhookNetwork, lines: Lines) -> None:
    line = await lines.running()
    sender = {"id": 5, "is_bot": False, "first_name": "ann"}
    message = {"message_id": 3, "chat": {"id": 7, "type": "private"}, "date": 1_700_000_000}
    network.bot.push_update("callback_query", {"id": "77", "from": sender, "message": message, "data": "yes"})
    await line.until(lambda: bool(network.bot.callback_answers))
    assert network.bot.callback_answers[0]["callback_query_id"] == "77"


async def test_what_comes_while_it_starts_waits_for_that(network: WebhookNetwork, lines: Lines) -> None:
    first = await lines.running()
    await first.end()
    network.bot.fail_next(hang=0.2, method="setWebhook")
    network.say("early")
    line = lines.open()
    line.begin()
    await line.until(lambda: network.door.hooks.find(NAME) is not None)
    await line.until(lambda: line.texts == ["early"])
    await network.bot.wait_empty()
