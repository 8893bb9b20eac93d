"""The referee: two receivers of one bot are seen, whatever they look like; and for how long there was none."""

from __future__ import annotations

import asyncio
import socket
import time
from itertools import pairwise

import pytest

from .telegram import Bot, FakeTelegram
from .telegram_client import TERMINATED, TOKEN, Client, connect, reaches, send_poll
from .telegram_stats import Gap, Stats
from .telegram_wire import OVERLAP_RESOLUTION, PROBED

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
    await reaches(lambda: bot.stats.in_flight == 0)
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
    polls = stats.poll_log
    between = [later.arrived_at - (earlier.ended_at or 0) for earlier, later in pairwise(polls)]
    assert stats.gaps == pytest.approx(between)
    assert between[0] >= 0.1
    assert stats.longest_gap == max(stats.gaps)
    first = polls[0].arrived_at - began
    gap = bot.gap_since(began)
    assert (gap.total, gap.longest) == pytest.approx((first + sum(between), max(first, *between)))
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
