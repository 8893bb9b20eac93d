"""The fake Telegram must count honestly: its counts are the proof in the gateway's tests."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from .telegram import Bot, FakeTelegram
from .telegram_stats import Gap, Stats
from .telegram_wire import OVERLAP_RESOLUTION, PROBED

TOKEN = "1001:secret"
ONE_RECEIVER = "make sure that only one bot instance is running"
TERMINATED = f"Conflict: terminated by other getUpdates request; {ONE_RECEIVER}"


class Client:
    """A bot program: calls methods over one pool of connections."""

    def __init__(self, telegram: FakeTelegram, session: aiohttp.ClientSession) -> None:
        self._telegram = telegram
        self._session = session

    async def call(self, method: str, token: str = TOKEN, **params: Any) -> dict[str, Any]:
        url = f"{self._telegram.url}/bot{token}/{method}"
        async with self._session.post(url, json=params) as response:
            body: dict[str, Any] = await response.json()
            assert response.status == (200 if body["ok"] else body["error_code"])
            return body

    async def poll(self, **params: Any) -> list[int]:
        body = await self.call("getUpdates", **params)
        return [update["update_id"] for update in body["result"]]

    def start_poll(self, **params: Any) -> asyncio.Task[dict[str, Any]]:
        return asyncio.create_task(self.call("getUpdates", **params))


@pytest.fixture
async def telegram() -> AsyncIterator[FakeTelegram]:
    async with FakeTelegram() as server:
        yield server


@pytest.fixture
def bot(telegram: FakeTelegram) -> Bot:
    return telegram.add_bot(TOKEN, username="main_bot")


@pytest.fixture
async def client(telegram: FakeTelegram) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield Client(telegram, session)


def connect(telegram: FakeTelegram) -> socket.socket:
    """A bare connection, whose bytes and end a test controls without the event loop."""
    where = urlsplit(telegram.url)
    return socket.create_connection((where.hostname, where.port))


def send_poll(sock: socket.socket, timeout: int = 30) -> None:
    head = f"GET /bot{TOKEN}/getUpdates?timeout={timeout} HTTP/1.1\r\nHost: fake\r\n\r\n"
    sock.sendall(head.encode())


async def reaches(holds: Callable[[], bool], timeout: float = 2.0) -> None:
    async with asyncio.timeout(timeout):
        while not holds():
            await asyncio.sleep(0.001)


# The methods and their envelopes.


async def test_unknown_tokens_methods_and_paths_are_refused(client: Client, bot: Bot) -> None:
    unauthorized = {"ok": False, "error_code": 401, "description": "Unauthorized"}
    assert await client.call("getMe", token="9:none") == unauthorized
    assert await client.call("getUpdates", token="9:none") == unauthorized
    assert (await client.call("noSuchMethod"))["error_code"] == 404
    assert (await client.call("more/than/a/method"))["error_code"] == 404


async def test_get_me_names_the_bot(client: Client, bot: Bot) -> None:
    me = (await client.call("getMe"))["result"]
    assert (me["id"], me["is_bot"], me["username"]) == (1001, True, "main_bot")
    assert bot.stats.get_me_count == 1


async def test_parameters_come_by_query_form_and_json(telegram: FakeTelegram, bot: Bot) -> None:
    params = {"chat_id": "7", "text": "hi"}
    url = f"{telegram.url}/bot1001%3Asecret/sendMessage"
    async with aiohttp.ClientSession() as session:
        for request in (
            session.get(url, params=params),
            session.post(url, params=params),
            session.post(url, data=params),
            session.post(url, json=params),
        ):
            async with request as response:
                assert (await response.json())["result"]["text"] == "hi"
        headers = {"Content-Type": "application/json"}
        async with session.post(url, data=b"{", headers=headers) as bad:
            assert bad.status == 400
    await bot.wait_sent(4)
    assert [(sent["chat_id"], sent["text"]) for sent in bot.sent] == [(7, "hi")] * 4
    assert bot.sent[0]["at"] <= time.monotonic()
    assert bot.stats.send_count == 4


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("x" * 4096, None),
        ("x" * 4097, "Bad Request: message is too long"),
        ("\U0001f600" * 2048, None),
        ("\U0001f600" * 2049, "Bad Request: message is too long"),
        ("", "Bad Request: message text is empty"),
    ],
)
async def test_text_is_measured_in_utf16(
    client: Client,
    bot: Bot,
    text: str,
    complaint: str | None,
) -> None:
    body = await client.call("sendMessage", chat_id=7, text=text)
    assert body.get("description") == complaint
    assert len(bot.sent) == (complaint is None)


async def test_messages_have_numbers_and_what_was_sent_is_kept(client: Client, bot: Bot) -> None:
    reference = {"message_id": 4}
    for text in ("one", "two"):
        body = await client.call(
            "sendMessage", chat_id=7, text=text, message_thread_id=3, reply_parameters=reference, parse_mode="HTML"
        )
        assert body["result"]["message_id"] == bot.sent[-1]["message_id"]
    assert bot.sent[0]["message_id"] != bot.sent[1]["message_id"]
    kept = [bot.sent[-1][key] for key in ("text", "message_thread_id", "reply_parameters", "parse_mode")]
    assert kept == ["two", 3, reference, "HTML"]


async def test_marks_are_read_and_bad_ones_are_refused(client: Client, bot: Bot) -> None:
    body = await client.call("sendMessage", chat_id=7, text="<b>a</b> &lt; b", parse_mode="HTML")
    assert (body["result"]["text"], bot.sent[-1]["shown"]) == ("a < b", "a < b")
    refusals = {
        "<p>a</p>": 'can\'t parse entities: Unsupported start tag "p" at byte offset 0',
        "a < b": "can't parse entities: Unclosed start tag at byte offset 2",
        "<b></b>": "message text is empty",
    }
    for text, why in refusals.items():
        body = await client.call("sendMessage", chat_id=7, text=text, parse_mode="HTML")
        assert (body["error_code"], body["description"]) == (400, f"Bad Request: {why}")
    long = "<b>" + "&lt;" * 4096 + "</b>"
    assert (await client.call("sendMessage", chat_id=7, text=long, parse_mode="HTML"))["ok"]
    body = await client.call("sendMessage", chat_id=7, text="a", parse_mode="Word")
    assert body["description"] == "Bad Request: unsupported parse_mode"
    assert len(bot.sent) == 2


async def test_actions_and_answers_to_buttons_are_kept(client: Client, bot: Bot) -> None:
    assert (await client.call("sendChatAction", chat_id=7, action="typing"))["result"] is True
    assert (await client.call("answerCallbackQuery", callback_query_id="5"))["result"] is True
    assert (await client.call("answerCallbackQuery"))["error_code"] == 400
    assert bot.actions == [{"chat_id": 7, "action": "typing"}]
    assert bot.callback_answers == [{"callback_query_id": "5"}]


async def test_a_webhook_refuses_and_ends_polls(client: Client, bot: Bot) -> None:
    held = client.start_poll(timeout=30)
    await bot.wait_polling()
    assert (await client.call("setWebhook", url="https://x.test"))["result"] is True
    assert (await held)["description"] == "Conflict: terminated by setWebhook request"
    assert (await client.call("getWebhookInfo"))["result"]["url"] == "https://x.test"
    refusal = (await client.call("getUpdates"))["description"]
    complaint, _, advice = refusal.partition("; ")
    assert complaint == "Conflict: can't use getUpdates method while webhook is active"
    assert advice == "use deleteWebhook to delete the webhook first"
    await client.call("deleteWebhook")
    assert bot.webhook_url == ""
    assert await client.poll() == []
    assert bot.stats.conflicts_self == bot.stats.conflicts_foreign == 0
    assert bot.stats.both == 1


async def test_a_revoked_token_ends_polls_and_refuses_everything(client: Client, bot: Bot) -> None:
    held = client.start_poll(timeout=30)
    await bot.wait_polling()
    bot.revoke()
    assert (await held)["error_code"] == 401
    assert (await client.call("getMe"))["error_code"] == 401
    assert (await client.call("getUpdates"))["error_code"] == 401
    assert [record.outcome for record in bot.stats.poll_log] == ["401", "401"]


# Updates and offsets.


async def test_an_update_has_telegrams_shape(client: Client, bot: Bot) -> None:
    update_id = bot.push("hello", chat_id=7, user_id=5, username="ann")
    (update,) = (await client.call("getUpdates"))["result"]
    message = update["message"]
    assert update["update_id"] == update_id
    assert message["chat"] == {"id": 7, "type": "private"}
    assert (message["from"]["id"], message["from"]["username"]) == (5, "ann")
    assert message["text"] == "hello"


async def test_an_offset_forgets_what_lies_below_it(client: Client, bot: Bot) -> None:
    first, second, third = (bot.push(text) for text in ("a", "b", "c"))
    assert await client.poll(limit=2) == [first, second]
    assert await client.poll(offset=second) == [second, third]
    assert await client.poll() == [second, third]
    assert await client.poll(offset=third + 1) == []
    assert await client.poll() == []
    assert bot.stats.confirmed_offset == third + 1


async def test_a_negative_offset_counts_from_the_end(client: Client, bot: Bot) -> None:
    ids = [bot.push("x") for _ in range(5)]
    assert await client.poll(offset=-99) == ids
    assert await client.poll(offset=-2) == ids[-2:]
    assert await client.poll() == ids[-2:]


async def test_an_offset_far_in_the_future_is_disbelieved(client: Client, bot: Bot) -> None:
    update_id = bot.push("x")
    assert await client.poll(offset=update_id + 1000) == [update_id]
    assert bot.stats.confirmed_offset == 0


async def test_a_poll_is_held_until_an_update_comes(client: Client, bot: Bot) -> None:
    held = client.start_poll(timeout=30)
    await bot.wait_polling()
    update_id = bot.push("now")
    assert [update["update_id"] for update in (await held)["result"]] == [update_id]


async def test_a_poll_without_updates_ends_at_its_timeout(client: Client, bot: Bot) -> None:
    began = time.monotonic()
    assert await client.poll(timeout=1, offset=5) == []
    assert 0.9 < time.monotonic() - began < 2
    (record,) = bot.stats.poll_log
    assert (record.timeout_param, record.offset, record.outcome) == (1, 5, "empty")


async def test_kinds_that_are_not_allowed_are_not_queued(client: Client, bot: Bot) -> None:
    await client.poll(allowed_updates=["callback_query"])
    bot.push("unwanted")
    await client.poll(allowed_updates='["message"]')
    wanted = bot.push("wanted")
    assert await client.poll() == [wanted]


async def test_updates_of_any_kind_are_delivered(client: Client, bot: Bot) -> None:
    ids = [
        bot.push_update("a_kind_of_tomorrow", 3),
        bot.push_message(-7, kind="edited_message", caption="hi", photo=[]),
        bot.push("hello"),
    ]
    updates = (await client.call("getUpdates"))["result"]
    assert [update["update_id"] for update in updates] == ids
    assert updates[0]["a_kind_of_tomorrow"] == 3
    edited = updates[1]["edited_message"]
    assert (edited["chat"], edited["caption"]) == ({"id": -7, "type": "group"}, "hi")
    assert "text" not in edited
    await client.poll(offset=ids[-1] + 1, allowed_updates=["edited_message"])
    bot.push("not asked for")
    wanted = bot.push_message(kind="edited_message", text="asked for")
    assert await client.poll() == [wanted]


async def test_ids_that_jump_back_come_and_are_confirmed(client: Client, bot: Bot) -> None:
    await client.poll(offset=bot.push("before") + 1)
    bot.next_update_id = 100
    bot.push("after")
    assert await client.poll(offset=500_000_002) == [100], "an offset far in the future is disbelieved"
    assert await client.poll(offset=101) == []
    assert bot.updates == []


async def test_one_that_was_stopped_refuses_connections(telegram: FakeTelegram, client: Client, bot: Bot) -> None:
    held = client.start_poll(timeout=30)
    await bot.wait_polling()
    await telegram.stop()
    with pytest.raises(aiohttp.ClientOSError):
        await held
    with pytest.raises(aiohttp.ClientConnectorError):
        await client.call("getMe")


async def test_redeliveries_are_counted(client: Client, bot: Bot) -> None:
    first = bot.push("a")
    await client.poll()
    second = bot.push("b")
    await client.poll()
    await client.poll(offset=first + 1)
    assert bot.stats.delivered == [first, first, second, second]
    assert bot.stats.redelivered == 2


# Two receivers, and one that only looks like two.


async def test_the_earlier_of_two_polls_gets_the_409(client: Client, bot: Bot) -> None:
    earlier = client.start_poll(timeout=30)
    await bot.wait_polling()
    later = client.start_poll(timeout=30)
    assert await earlier == {"ok": False, "error_code": 409, "description": TERMINATED}
    update_id = bot.push("for the later")
    assert (await later)["result"][0]["update_id"] == update_id
    stats = bot.stats
    assert (stats.polls, stats.overlaps, stats.conflicts_self) == (2, 1, 1)
    assert (stats.in_flight, stats.max_in_flight, stats.gaps) == (0, 2, [])
    assert [record.outcome for record in stats.poll_log] == ["conflict_self", "updates"]


async def test_a_poll_closed_before_the_next_is_no_overlap(
    telegram: FakeTelegram,
    bot: Bot,
) -> None:
    with connect(telegram) as earlier, connect(telegram) as later:
        send_poll(earlier)
        await bot.wait_polling()
        earlier.close()  # The event loop has no chance to notice it before the next poll.
        send_poll(later)
        await bot.wait_polls(2)
        stats = bot.stats
        assert (stats.overlaps, stats.conflicts_self, stats.in_flight) == (0, 0, 1)
        assert stats.max_in_flight == 1
        assert stats.poll_log[0].outcome == "gone"
        assert len(stats.gaps) == 1


async def test_the_kernel_is_asked_about_a_close_that_aiohttp_has_not_seen(
    telegram: FakeTelegram,
    client: Client,
    bot: Bot,
) -> None:
    with connect(telegram) as earlier:
        send_poll(earlier)
        await bot.wait_polling()
        assert bot._poll is not None
        assert not bot._poll.peer.gone()
        earlier.close()
        assert bot._poll.peer.gone()
    with bot.foreign_poll():
        assert bot.stats.poll_log[0].outcome == "gone"
    assert bot.stats.conflicts_foreign == 0


async def test_an_aborted_poll_that_overlapped_is_an_overlap_without_a_409(
    telegram: FakeTelegram,
    bot: Bot,
) -> None:
    telegram.latency = 0.05
    with connect(telegram) as earlier, connect(telegram) as later:
        send_poll(earlier)
        await bot.wait_polling()
        send_poll(later)
        await bot.wait_polls(2)
        earlier.close()
        await asyncio.sleep(0.15)
    assert (bot.stats.overlaps, bot.stats.conflicts_self) == (1, 0)


async def test_an_overlap_of_two_that_nobody_had_seen_come_is_seen(
    telegram: FakeTelegram, client: Client, bot: Bot
) -> None:
    with connect(telegram) as earlier, connect(telegram) as later:
        await client.call("getMe")  # By now the server has accepted both.
        send_poll(earlier)
        send_poll(later)
        time.sleep(PROBED + 2 * OVERLAP_RESOLUTION)
        earlier.close()
        await bot.wait_polls(2)
        assert (bot.stats.overlaps, bot.stats.conflicts_self) == (1, 0)


async def test_an_overlap_is_seen_though_the_event_loop_slept_through_it(
    telegram: FakeTelegram,
    bot: Bot,
) -> None:
    with connect(telegram) as earlier, connect(telegram) as later:
        send_poll(earlier)
        await bot.wait_polling()
        send_poll(later)
        time.sleep(2 * OVERLAP_RESOLUTION)
        earlier.close()
        await bot.wait_polls(2)
        stats = bot.stats
        assert (stats.overlaps, stats.conflicts_self, stats.max_in_flight) == (1, 0, 2)
        assert (stats.in_flight, stats.poll_log[0].outcome, stats.gaps) == (1, "gone", [])


async def test_a_poll_sent_before_the_earlier_was_answered_is_an_overlap(
    telegram: FakeTelegram,
    bot: Bot,
) -> None:
    with connect(telegram) as earlier, connect(telegram) as later:
        send_poll(earlier)
        await bot.wait_polling()
        send_poll(later)
        time.sleep(2 * OVERLAP_RESOLUTION)
        bot.push("answers the earlier before the later is looked at")
        await bot.wait_polls(2)
        assert [bot.stats.overlaps, bot.stats.poll_log[0].outcome] == [1, "updates"]


async def test_a_poll_noticed_only_after_its_successor_harms_nothing(
    telegram: FakeTelegram,
    client: Client,
    bot: Bot,
) -> None:
    with connect(telegram) as later:
        await client.call("getMe")  # By now the server has accepted the later's connection.
        with connect(telegram) as earlier:
            send_poll(earlier)
        send_poll(later)
        await bot.wait_polls(2)
        stats = bot.stats
        assert (stats.overlaps, stats.max_in_flight, stats.in_flight) == (0, 1, 1)
        assert sorted(record.outcome for record in stats.poll_log) == ["gone", "in flight"]
        await asyncio.sleep(0.05)
        assert stats.in_flight == 1


@pytest.mark.parametrize("fresh", [False, True])
async def test_clean_handovers_are_never_overlaps(
    telegram: FakeTelegram,
    bot: Bot,
    fresh: bool,
) -> None:
    spare = connect(telegram)
    for turn in range(100):
        held, spare = spare, connect(telegram)
        send_poll(held)
        await bot.wait_polls(turn + 1)
        await asyncio.sleep(0.0007 * (turn % 7))
        if fresh:
            spare.close()
        held.close()
        if fresh:
            spare = connect(telegram)
        time.sleep(0.001 * (turn % 5))
    spare.close()
    assert (bot.stats.overlaps, bot.stats.max_in_flight) == (0, 1)


@pytest.mark.parametrize("seen", [True, False])
async def test_a_close_that_the_client_says_twice_is_no_later_for_it(
    telegram: FakeTelegram, bot: Bot, seen: bool
) -> None:
    """Nobody acknowledges a poll and its close at once, so some 10 ms later the client's kernel says the close again."""
    for turn in range(8):
        with connect(telegram) as earlier, connect(telegram) as later:
            await used_before(earlier)
            await used_before(later)
            send_poll(earlier)
            if seen:
                await bot.wait_polls(2 * turn + 1)
            earlier.close()
            send_poll(later)
            time.sleep(0.03)  # The event loop looks when both closes have arrived.
            await bot.wait_polls(2 * turn + 2)
        await reaches(lambda: bot.stats.in_flight == 0)
    assert (bot.stats.overlaps, bot.stats.conflicts_self) == (0, 0)


async def used_before(sock: socket.socket) -> None:
    """Some calls on a connection: from then on its two ends acknowledge with their answers, and otherwise late."""
    for _ in range(3):
        sock.sendall(f"GET /bot{TOKEN}/getMe HTTP/1.1\r\nHost: fake\r\n\r\n".encode())
        await asyncio.to_thread(sock.recv, 4096)


async def test_a_later_poll_that_is_aborted_at_once_counts_too(
    telegram: FakeTelegram,
    bot: Bot,
) -> None:
    with connect(telegram) as earlier:
        send_poll(earlier)
        await bot.wait_polling()
        await asyncio.sleep(2 * OVERLAP_RESOLUTION)
        with connect(telegram) as later:
            send_poll(later)
        await reaches(lambda: bot.stats.conflicts_self == 1)
        assert (bot.stats.polls, bot.stats.overlaps) == (2, 1)
        assert TERMINATED.encode() in earlier.recv(4096)


async def test_a_poll_whose_client_goes_leaves_at_once(telegram: FakeTelegram, bot: Bot) -> None:
    sock = connect(telegram)
    send_poll(sock)
    await bot.wait_polling()
    sock.close()
    await reaches(lambda: bot.stats.in_flight == 0, timeout=0.5)
    assert bot.stats.poll_log[0].outcome == "gone"


async def test_updates_are_not_delivered_to_a_client_that_has_gone(
    telegram: FakeTelegram,
    client: Client,
    bot: Bot,
) -> None:
    with connect(telegram) as sock:
        send_poll(sock)
        await bot.wait_polling()
        update_id = bot.push("x")
    await reaches(lambda: bot.stats.in_flight == 0)
    assert bot.stats.delivered == []
    assert await client.poll() == [update_id]
    assert bot.stats.redelivered == 0


async def test_a_foreign_poll_ends_ours_and_is_counted_apart(client: Client, bot: Bot) -> None:
    held = client.start_poll(timeout=30)
    await bot.wait_polling()
    with bot.foreign_poll() as foreign:
        assert (await held)["description"] == TERMINATED
        assert foreign.in_flight
        ours = client.start_poll(timeout=30)
        await bot.wait_polling()
        assert foreign.outcome == "conflict"
    bot.push("x")
    assert (await ours)["ok"]
    stats = bot.stats
    assert (stats.polls, stats.overlaps, stats.conflicts_self) == (2, 0, 0)
    assert stats.conflicts_foreign == 1


async def test_foreign_polls_end_by_themselves(bot: Bot) -> None:
    short = bot.foreign_poll(timeout=0.02)
    await short.ended.wait()
    assert short.outcome == "timeout"
    beaten, waiting = bot.foreign_poll(), bot.foreign_poll()
    assert beaten.outcome == "conflict"
    bot.push("x")
    assert waiting.outcome == "updates"
    assert bot.foreign_poll().outcome == "updates"
    assert bot.stats.polls == 0


# Gaps.


async def test_gaps_run_from_an_end_to_the_next_arrival(client: Client, bot: Bot) -> None:
    began = time.monotonic()
    await client.poll()
    await asyncio.sleep(0.1)
    await client.poll(timeout=1)
    held = client.start_poll(timeout=30)
    await bot.wait_polling()
    stats = bot.stats
    assert len(stats.gaps) == 2
    assert 0.1 <= stats.longest_gap == max(stats.gaps) < 0.3
    gap = bot.gap_since(began)
    assert gap.longest == pytest.approx(stats.longest_gap)
    assert gap.longest < gap.total < 0.4
    assert bot.gap_since(time.monotonic()) == Gap(0, 0)
    held.cancel()


def test_gap_since_covers_edges_overlaps_and_open_polls() -> None:
    stats = Stats()
    assert stats.gap_since(3, now=10) == Gap(7, 7)
    first = stats.poll_arrived(2, timeout=1, offset=0, met_another=False)
    stats.poll_ended(first, 4, "empty")
    second = stats.poll_arrived(5, timeout=1, offset=0, met_another=False)
    third = stats.poll_arrived(6, timeout=1, offset=0, met_another=True)
    stats.poll_ended(second, 6, "conflict_self")
    assert stats.gap_since(0, now=10) == Gap(3, 2)
    stats.poll_ended(third, 7, "empty")
    assert stats.gap_since(0, now=10) == Gap(6, 3)
    assert stats.gap_since(3, now=10) == Gap(4, 3)
    assert stats.gap_since(8, now=10) == Gap(2, 2)
    assert (stats.gaps, stats.overlaps, stats.in_flight) == ([1], 1, 0)


def test_a_poll_noticed_late_leaves_no_gap_beside_the_one_in_flight() -> None:
    stats = Stats()
    first = stats.poll_arrived(2, timeout=1, offset=0, met_another=False)
    stats.poll_ended(first, 4, "empty")
    stats.poll_arrived(5, timeout=1, offset=0, met_another=False)
    late = stats.poll_arrived(6, timeout=1, offset=0, met_another=False)
    stats.poll_ended(late, 6, "gone")
    assert (stats.gaps, stats.overlaps, stats.in_flight, stats.max_in_flight) == ([1], 0, 1, 1)
    assert stats.gap_since(3, now=10) == Gap(1, 1)


# Faults and a bad network.


@pytest.mark.parametrize("status", [401, 409, 429, 500, 502])
async def test_scripted_errors_come_once_and_in_order(
    client: Client,
    bot: Bot,
    status: int,
) -> None:
    update_id = bot.push("x")
    bot.fail_next(status=status, retry_after=2)
    assert (await client.call("getMe"))["ok"]
    body = await client.call("getUpdates", offset=update_id + 1)
    assert body["error_code"] == status
    assert body.get("parameters") == ({"retry_after": 2} if status == 429 else None)
    assert await client.poll() == [update_id], "a refused poll confirms nothing"
    assert bot.stats.poll_log[0].outcome == str(status)
    assert bot.stats.conflicts_self == bot.stats.conflicts_foreign == 0


async def test_a_fault_lasts_for_its_times_and_any_method(client: Client, bot: Bot) -> None:
    bot.fail_next(status=500, method=None, times=2)
    answers = [await client.call(name) for name in ("getMe", "sendMessage", "getMe")]
    assert [answer["ok"] for answer in answers] == [False, False, True]
    bot.fail_next(status=500, times=1000)
    bot.clear_faults()
    assert await client.poll() == []


async def test_reset_and_half_answers_deliver_nothing(client: Client, bot: Bot) -> None:
    update_id = bot.push("x")
    bot.fail_next(reset=True)
    with pytest.raises(aiohttp.ClientOSError):
        await client.poll()
    bot.fail_next(half=True)
    with pytest.raises(aiohttp.ClientPayloadError):
        await client.poll()
    bot.fail_next(garbage=True)
    with pytest.raises(json.JSONDecodeError):
        await client.poll()
    assert await client.poll() == [update_id]
    outcomes = [record.outcome for record in bot.stats.poll_log]
    assert outcomes == ["reset", "half", "garbage", "updates"]
    assert (bot.stats.delivered, bot.stats.redelivered) == ([update_id], 0)


async def test_a_half_answer_to_send_message_has_sent_it(client: Client, bot: Bot) -> None:
    for fault, sent in (({"reset": True}, 0), ({"half": True}, 1)):
        bot.fail_next(method="sendMessage", **fault)
        with pytest.raises(aiohttp.ClientError):
            await client.call("sendMessage", chat_id=7, text="hi")
        assert len(bot.sent) == sent


async def test_half_an_answer_is_really_written(telegram: FakeTelegram, bot: Bot) -> None:
    bot.push("hello")
    bot.fail_next(half=True)
    with connect(telegram) as sock:
        sock.setblocking(False)
        send_poll(sock)
        received = b""
        while chunk := await asyncio.get_running_loop().sock_recv(sock, 4096):
            received += chunk
    assert b"200 OK" in received
    assert b'{"ok": true' in received
    assert b"hello" not in received


async def test_a_hanging_poll_stays_in_flight(client: Client, bot: Bot) -> None:
    bot.fail_next(hang=30)
    held = client.start_poll()
    await bot.wait_polling()
    later = client.start_poll()
    assert (await held)["error_code"] == 409
    assert (await later)["ok"]
    bot.fail_next(hang=0.1, status=502)
    began = time.monotonic()
    assert (await client.call("getUpdates"))["error_code"] == 502
    assert time.monotonic() - began >= 0.1


async def test_latency_delays_answers_and_the_poll_stays_in_flight(
    telegram: FakeTelegram,
    client: Client,
    bot: Bot,
) -> None:
    telegram.latency = 0.1
    began = time.monotonic()
    assert (await client.call("getMe"))["ok"]
    assert time.monotonic() - began >= 0.1
    assert await client.poll() == []
    (record,) = bot.stats.poll_log
    assert record.ended_at is not None
    assert record.ended_at - record.arrived_at >= 0.1


async def test_a_black_hole_never_answers(telegram: FakeTelegram, client: Client, bot: Bot) -> None:
    telegram.blackhole = True
    held = client.start_poll()
    await bot.wait_polling()
    telegram.blackhole = False
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(held, 0.1)
    await reaches(lambda: bot.stats.in_flight == 0)
    assert await client.poll() == []
    assert bot.stats.overlaps == 0


async def test_dropped_connections_end_polls_as_reset(
    telegram: FakeTelegram,
    client: Client,
    bot: Bot,
) -> None:
    held = client.start_poll(timeout=30)
    await bot.wait_polling()
    await telegram.drop_connections()
    assert (bot.stats.in_flight, bot.stats.poll_log[0].outcome) == (0, "reset")
    with pytest.raises(aiohttp.ClientOSError):
        await held
    assert await client.poll() == []
    assert bot.stats.overlaps == 0


async def test_waiting_in_vain_says_what_was_missing(bot: Bot) -> None:
    with pytest.raises(TimeoutError, match="main_bot: no 1 messages sent"):
        await bot.wait_sent(1, timeout=0.01)
    with pytest.raises(TimeoutError, match="a poll in flight"):
        await bot.wait_polling(timeout=0.01)


async def test_a_thousand_bots_are_served(telegram: FakeTelegram, client: Client) -> None:
    bots = [telegram.add_bot(f"{2000 + n}:secret", f"bot{n}") for n in range(1000)]
    held = [client.start_poll(token=bot.token, timeout=30) for bot in bots]
    await asyncio.gather(*(bot.wait_polling(timeout=20) for bot in bots))
    ids = [bot.push(bot.username) for bot in bots]
    answers = await asyncio.gather(*held)
    assert [answer["result"][0]["update_id"] for answer in answers] == ids
    texts = [answer["result"][0]["message"]["text"] for answer in answers]
    assert texts == [bot.username for bot in bots]
    assert sum(bot.stats.polls for bot in bots) == 1000
    assert sum(bot.stats.overlaps for bot in bots) == 0
