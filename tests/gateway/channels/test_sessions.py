"""The ledger of session starts: never more than the limit within a day, by whatever road, and written before it counts."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from random import Random
from typing import Any

import pytest

from gateway.channels.base import Intake, Offsets
from gateway.channels.sessions import DAY_MS, WINDOW_MS, WRITE_EVERY, KeptSession, Sessions
from gateway.errors import GenerationRevokedError, SessionsSpentError
from tests.virtual import EPOCH_MS, VirtualClock, run_virtual

BOT = "discord:4242"
HOUR = 3600.0
WINDOW = WINDOW_MS / 1000


class SetClock(VirtualClock):
    """One whose wall clock somebody sets."""

    def __init__(self) -> None:
        self.set_by = 0.0

    def wall_ms(self) -> int:
        return super().wall_ms() + round(self.set_by * 1000)


class Disk:
    """A store as the ledger knows it. What waits is on the disk after `takes` seconds; `full`, not at all."""

    def __init__(self) -> None:
        self.kept: dict[str, KeptSession] = {}
        self.writes = 0
        self.takes = 0.01
        self.full = asyncio.Event()
        self.full.set()
        self._waits: dict[str, KeptSession] = {}

    def keep_session(self, identity: str, kept: KeptSession) -> None:
        self.writes += 1
        self._waits[identity] = kept

    async def committed(self) -> None:
        await asyncio.sleep(self.takes)
        await self.full.wait()
        self.write()

    def write(self) -> None:
        self.kept |= self._waits
        self._waits.clear()


class Life:
    """A ledger, its disk and its clock; `again` is the next process, which has what is on the disk."""

    def __init__(self, disk: Disk | None = None, clock: SetClock | None = None) -> None:
        self.disk, self.clock = disk or Disk(), clock or SetClock()
        self.sessions = Sessions(self.clock, self.disk)
        self.sessions.restore(self.disk.kept)

    def again(self) -> Life:
        self.disk._waits.clear()
        return Life(self.disk, self.clock)

    async def begin(self, limit: int = 3) -> bool:
        try:
            await self.sessions.begin(BOT, limit)
        except SessionsSpentError:
            return False
        return True

    @property
    def starts(self) -> int:
        return len(self.disk.kept[BOT].starts)


def run(main: Coroutine[Any, Any, None]) -> None:
    run_virtual(main)


def test_no_more_than_the_limit_within_a_day_and_the_next_when_the_oldest_is_that_old() -> None:
    async def main() -> None:
        life = Life()
        loop = asyncio.get_running_loop()
        first = loop.time()
        for _ in range(3):
            assert await life.begin()
            await asyncio.sleep(HOUR)
        with pytest.raises(SessionsSpentError) as spent:
            await life.sessions.begin(BOT, 3)
        wait = spent.value.retry_after
        assert first + WINDOW <= loop.time() + wait <= first + WINDOW + 1
        assert "3 sessions were started within a day, and 3 are allowed" in str(spent.value)
        assert "the next may be started at 2027-01-16T08:17:40+00:00" in str(spent.value)
        await asyncio.sleep(wait - 2)
        assert not await life.begin()
        await asyncio.sleep(2)
        assert await life.begin()
        assert not await life.begin()

    run(main())


def test_by_identity_and_a_lower_limit_counts_what_was_started_under_a_higher_one() -> None:
    async def main() -> None:
        life = Life()
        for _ in range(5):
            assert await life.begin(limit=5)
            await asyncio.sleep(HOUR)
        await life.sessions.begin("discord:another", 1)
        with pytest.raises(SessionsSpentError) as spent:
            await life.sessions.begin(BOT, 2)
        # Not when the oldest is a day old, but when only one is left that is not.
        assert spent.value.retry_after == pytest.approx(WINDOW - 2 * HOUR, abs=1)
        with pytest.raises(ValueError, match="0 starts a day"):
            await life.sessions.begin(BOT, 0)

    run(main())


def test_a_start_is_on_the_disk_before_it_may_be_sent() -> None:
    async def main() -> None:
        life = Life()
        life.disk.full.clear()
        beginning = asyncio.ensure_future(life.begin())
        await asyncio.sleep(100)
        assert not beginning.done()
        assert life.disk.kept == {}
        life.disk.full.set()
        assert await beginning
        assert life.starts == 1

    run(main())


def test_one_that_nobody_waits_for_any_more_was_not_made() -> None:
    """A full disk for hours: each attempt is given up in time, and spends nothing."""

    async def main() -> None:
        life = Life()
        life.disk.full.clear()
        for _ in range(10):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(30):
                    await life.sessions.begin(BOT, 3)
        life.disk.full.set()
        for _ in range(3):
            assert await life.begin()
        assert not await life.begin()

    run(main())


def test_a_crash_right_before_the_start_is_sent_counts_one_too_many_and_none_too_few() -> None:
    async def main() -> None:
        life = Life()
        for sent in range(3):
            assert await life.begin()
            life = life.again()
            assert life.starts == sent + 1
        assert not await life.begin()
        life = life.again()
        assert not await life.begin()
        await asyncio.sleep(WINDOW)
        assert await life.again().begin()

    run(main())


def test_it_holds_no_more_than_the_limit() -> None:
    async def main() -> None:
        life = Life()
        for _ in range(100):
            while await life.begin(limit=4):
                pass
            assert life.starts <= 4
            await asyncio.sleep(WINDOW / 3)

    run(main())


@pytest.mark.parametrize("set_by", [-10 * 365 * DAY_MS / 1000, -HOUR, HOUR, 10 * 365 * DAY_MS / 1000])
def test_a_clock_that_is_set_while_it_runs_gives_nothing_back_and_takes_nothing(set_by: float) -> None:
    """A host without a battery for its clock has the time of its last shutdown until its network is there."""

    async def main() -> None:
        life = Life()
        for _ in range(3):
            assert await life.begin()
        await asyncio.sleep(HOUR)
        life.clock.set_by = set_by
        assert not await life.begin()
        life.disk.write()
        life = life.again()
        with pytest.raises(SessionsSpentError) as spent:
            await life.sessions.begin(BOT, 3)
        assert spent.value.retry_after == pytest.approx(WINDOW - HOUR, abs=2)
        await asyncio.sleep(WINDOW - HOUR + 1)
        assert await life.begin()

    run(main())


def test_a_start_of_the_future_is_one_of_just_now() -> None:
    """The clock was set back between two lives. Nobody knows how long ago it was: it bars for a day, and not for ten years."""

    async def main() -> None:
        life = Life()
        for _ in range(3):
            assert await life.begin()
        life.clock.set_by = -10 * 365 * DAY_MS / 1000
        for _ in range(3):  # to be restarted again and again makes it no longer
            life = life.again()
            life.disk.write()
            assert not await life.begin()
            await asyncio.sleep(WINDOW / 3)
        assert await life.again().begin()

    run(main())


def test_seconds_that_a_clock_is_corrected_by_move_nothing() -> None:
    async def main() -> None:
        life = Life()
        for step in range(600):
            life.clock.set_by = step / 1000  # half a second in all
            await life.begin()
        assert life.disk.writes == 3

    run(main())


def test_whatever_happens_no_day_has_more_starts_than_the_limit() -> None:
    """Crashes, clocks that are set, attempts that are given up: what was allowed is held against time itself."""
    seed = Random().randrange(10**6)
    print(f"seed {seed}")
    random = Random(seed)

    async def main() -> None:
        loop, life, sent = asyncio.get_running_loop(), Life(), list[float]()
        for _ in range(500):  # a month and a half; in half a year the virtual clock's steps become too coarse
            await asyncio.sleep(random.choice((1, 60, HOUR, 5 * HOUR)))
            what = random.randrange(8)
            if what == 0:
                life = life.again()
            elif what == 1:
                life.clock.set_by += random.uniform(-50, 50) * HOUR
            elif what == 2:
                giving_up = asyncio.ensure_future(life.begin(5))
                await asyncio.sleep(0)
                giving_up.cancel()
                await asyncio.wait({giving_up})
            if await life.begin(5):
                sent.append(loop.time())
            if what == 1:
                life.disk.write()
        days = [later - earlier for earlier, later in zip(sent, sent[5:], strict=False)]
        print(f"{len(sent)} starts, six of them within {min(days) / HOUR:.2f} h at the least")
        assert min(days) >= DAY_MS / 1000
        assert len(sent) > 100

    for _ in range(5):
        run(main())


# The session to be taken up again


def test_what_is_kept_is_written_at_once_then_every_few_seconds_and_at_the_end() -> None:
    async def main() -> None:
        life = Life()
        sessions, disk = life.sessions, life.disk
        sessions.keep(BOT, "session 0, 7")
        sessions.keep(BOT, None)
        await sessions.begin(BOT, 3)
        sessions.keep(BOT, "session 1, 0")
        disk.write()
        assert disk.kept[BOT].session == "session 1, 0", "what it is known by is written at once"
        before = disk.writes
        for seq in range(1, 991):
            sessions.keep(BOT, f"session 1, {seq}")
            assert sessions.get(BOT) == f"session 1, {seq}"
            await asyncio.sleep(0.05)
        assert disk.writes - before == 49.5 // WRITE_EVERY
        sessions.flush()
        disk.write()
        assert life.again().sessions.get(BOT) == "session 1, 990"
        sessions.keep(BOT, "session 1, 990")
        sessions.flush()
        assert disk.writes - before == 49.5 // WRITE_EVERY + 1, "what is the same is not written again"

    run(main())


def test_the_last_of_a_busy_time_is_written_without_another_word() -> None:
    async def main() -> None:
        life = Life()
        for text in ("a", "b", "c"):
            life.sessions.keep(BOT, text)
        await asyncio.sleep(WRITE_EVERY + 1)
        life.disk.write()
        life = life.again()
        assert life.sessions.get(BOT) == "c"
        life.sessions.keep(BOT, None)
        life.disk.write()
        assert life.again().sessions.get(BOT) is None

    run(main())


def test_a_session_to_take_up_again_is_there_when_the_starts_are_spent() -> None:
    async def main() -> None:
        life = Life()
        for _ in range(3):
            assert await life.begin()
        life.sessions.keep(BOT, "a session")
        life.sessions.flush()
        life.disk.write()
        life = life.again()
        assert not await life.begin()
        assert life.sessions.get(BOT) == "a session"

    run(main())


# What a receiver has of it


class Nobody:
    """Takes nothing over."""

    async def accept(self, *_: object) -> int:
        return 0

    async def room(self) -> None:
        """There always is."""


def test_one_that_was_cut_off_starts_nothing_and_keeps_nothing() -> None:
    async def main() -> None:
        life = Life()
        intake = Intake(Offsets(), Nobody(), lambda: None, lambda: EPOCH_MS, life.sessions)
        await intake.begin_session(BOT, 3)
        intake.keep_session(BOT, "mine")
        life.disk.full.clear()
        late = asyncio.ensure_future(intake.begin_session(BOT, 3))
        await asyncio.sleep(1)
        assert intake.held_up, "it waits for the gateway, and not for its network"
        intake.revoke()
        life.disk.full.set()
        with pytest.raises(GenerationRevokedError):
            await late
        assert not intake.held_up
        with pytest.raises(GenerationRevokedError):
            await intake.begin_session(BOT, 3)
        with pytest.raises(GenerationRevokedError):
            intake.keep_session(BOT, None)
        assert intake.session(BOT) == "mine"
        assert life.starts == 2, "the one that was counted may have been sent, for all that anybody knows"

    run(main())


def test_without_a_ledger_of_its_own_an_intake_keeps_them_itself() -> None:
    async def main() -> None:
        intake = Intake(Offsets(), Nobody(), lambda: None, lambda: EPOCH_MS)
        assert intake.session(BOT) is None
        intake.keep_session(BOT, "mine")
        await intake.begin_session(BOT, 1)
        with pytest.raises(SessionsSpentError):
            await intake.begin_session(BOT, 1)
        assert intake.session(BOT) == "mine"

    run(main())
