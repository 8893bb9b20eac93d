"""What of messages outlives the process, and what becomes of it at the beginning and the end of one."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.messages.model import Message
from statemachine.channel_events import By, Restart, Stop
from statemachine.lifecycle import LifecycleState
from tests.gateway.configs import telegram
from tests.gateway.fakes import FakeNetwork
from tests.gateway.process.house import House
from tests.virtual import run_virtual

MAIN = "telegram/main"
S = LifecycleState
ONE = telegram(main="token: one-token")


def run(main: Coroutine[Any, Any, None]) -> list[dict[str, Any]]:
    with capture_logs() as lines:
        run_virtual(main)
    return [dict(line) for line in lines]


def kept(folder: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(folder / "state" / "gateway.sqlite3")) as other:
        return other.execute(sql).fetchall()


async def lived(house: House) -> None:
    """Boot; the account runs, unless somebody has stopped it."""
    await house.begin()
    await house.until(S.RUNNING)


# The beginning


@pytest.mark.parametrize("content", [b"no database at all" * 500, None])
def test_a_store_that_cannot_be_used_ends_the_start_and_its_name_and_the_remedy_are_said(
    tmp_path: Path, content: bytes | None
) -> None:
    async def main() -> None:
        house = House(tmp_path, ONE)
        path = tmp_path / "state" / "gateway.sqlite3"
        if content is None:
            path.mkdir()
        else:
            path.write_bytes(content)
        await house.begin()
        assert await house._exit == 1
        assert house.network.receivers == [], "nobody receives what could not be kept"
        await house.__aexit__(None)

    (line,) = [line for line in run(main()) if line["event"] == "store_unusable"]
    assert str(tmp_path / "state" / "gateway.sqlite3") in line["why"]
    assert line["why"].endswith("restore a backup there, or move it away: the gateway then begins with an empty one")


def test_each_bot_is_received_from_where_it_was_accepted(tmp_path: Path) -> None:
    async def main() -> None:
        network = FakeNetwork()
        house = House(tmp_path, ONE, network=network)
        await lived(house)
        await house.until_account(MAIN, "running")
        network.push(MAIN, "hello")
        await asyncio.sleep(1)
        assert house._messages._offsets.get(f"fake:{MAIN}") == 1
        await house.kill()
        async with House(tmp_path, ONE, network=network) as again:
            await again.until_account(MAIN, "running")
            assert network.receivers[-1].intake.offset(f"fake:{MAIN}") == 1

    run(main())


# What a person wants of an account


def test_stopped_by_a_person_it_stays_so_through_lives_until_a_person_starts_it(tmp_path: Path) -> None:
    async def main() -> None:
        network = FakeNetwork()
        house = House(tmp_path, ONE, network=network)
        await lived(house)
        await house.until_account(MAIN, "running")
        await house.post(Stop(By.PERSON), MAIN)
        await house.until_account(MAIN, "stopped")
        await house._messages.store.committed()
        await house.kill()
        for _ in range(2):
            house = House(tmp_path, ONE, network=network)
            await lived(house)
            await asyncio.sleep(60)
            assert house.account(MAIN) == "stopped"
            assert network.live(MAIN) == []
            await house.kill()
        house = House(tmp_path, ONE, network=network)
        await lived(house)
        run_ = house._accounts.run_of(MAIN, house._ledger.applied.accounts()[MAIN], house._ledger.applied_id)
        await house.post(Restart(run_, By.PERSON), MAIN)
        await house.until_account(MAIN, "running")
        await house._messages.store.committed()
        await house.kill()
        async with House(tmp_path, ONE, network=network) as house:
            await house.until_account(MAIN, "running")

    run(main())


def test_what_the_gateway_itself_stops_is_nobodys_will(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await house.until_account(MAIN, "running")
            await house.write(ONE.replace("token: one-token", "token: one-token, enabled: false"))
            await house.until_account(MAIN, "stopped")
            await house.write(ONE)
            await house.until_account(MAIN, "running")
        assert kept(tmp_path, "SELECT * FROM intents WHERE intent != ''") == []

    run(main())


# The journal


def test_the_journal_goes_on_through_lives_and_is_kept_without_the_steps_of_messages(tmp_path: Path) -> None:
    async def main() -> None:
        network = FakeNetwork()
        for life in range(3):
            before = kept(tmp_path, "SELECT max(seq) FROM journal")[0][0] if life else 0
            house = House(tmp_path, ONE, network=network)
            await lived(house)
            await house.until_account(MAIN, "running")
            network.push(MAIN, f"hello {life}")
            await asyncio.sleep(1)
            assert house._journal.page(0, 1)[0].seq == before + 1
            assert {e.machine.partition("/")[0] for e in house._journal.page(0, 10_000)} >= {"incoming", "delivery"}
            await house._messages.store.committed()
            await house.kill()
        found = kept(tmp_path, "SELECT seq, machine, body FROM journal ORDER BY seq")
        numbers = [seq for seq, _, _ in found]
        assert numbers == sorted(set(numbers))
        assert {machine.partition("/")[0] for _, machine, _ in found} <= {"gateway", "telegram", "change"}
        bodies = [json.loads(body) for _, _, body in found]
        assert [body["seq"] for body in bodies] == numbers
        assert [body["trigger"] for body in bodies].count("receiver_ready") == 3
        assert "one-token" not in json.dumps(bodies), "a secret is in no output"

    run(main())


# Keeping house


def test_what_is_too_old_is_forgotten_as_the_config_of_then_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.process.messages.DAY_MS", 60_000)  # a day is a minute here

    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await house.until_account(MAIN, "running")
            house.network.push(MAIN, "hello")
            await asyncio.sleep(1)
            await house.drain()
            await asyncio.sleep(3 * 60)
            assert kept(tmp_path, "SELECT count(*) FROM inbox") == [(1,)]
            await house.write(ONE + "store: {keep_days: 2}\n")
            await asyncio.sleep(60)
            assert kept(tmp_path, "SELECT count(*) FROM inbox") == [(0,)]
            assert kept(tmp_path, "SELECT count(*) FROM outbox") == [(0,)]
            assert kept(tmp_path, "SELECT count(*) FROM offsets") == [(1,)]

    run(main())


# The end


def test_at_the_end_what_is_produced_is_sent_and_what_is_not_is_kept(tmp_path: Path) -> None:
    async def main() -> None:
        network = FakeNetwork()

        async def slow(message: Message) -> str:
            await asyncio.sleep(1 if message.text == "quick" else 100)
            return message.text

        async with House(tmp_path, ONE, network=network) as house:
            await house.until_account(MAIN, "running")
            house.answer_with(slow)
            for text in ("quick", "slow", "waits"):
                network.push(MAIN, text)
            await asyncio.sleep(0.5)
        assert [text for _, _, text in network.sent] == ["quick"]
        assert kept(tmp_path, "SELECT state FROM inbox ORDER BY number") == [("handled",), ("received",), ("received",)]
        async with House(tmp_path, ONE, network=network) as house:
            await house.until_account(MAIN, "running")
            await house.drain()
        assert [text for _, _, text in network.sent] == ["quick", "slow", "waits"]

    run(main())


def test_an_end_that_cannot_write_does_not_wait_for_ever_and_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        house = House(tmp_path, ONE)
        async with house:
            await house.until_account(MAIN, "running")
            other = sqlite3.connect(tmp_path / "state" / "gateway.sqlite3", isolation_level=None)
            other.execute("BEGIN EXCLUSIVE")
            house.network.push(MAIN, "hello")
            await asyncio.sleep(1)
            assert house._messages.in_flight == 1
            assert "locked" in house._messages.trouble
            before = house.now()
        assert house.now() - before < 10
        other.close()
        assert kept(tmp_path, "SELECT count(*) FROM inbox") == [(0,)], "it is the network's, which sends it again"
        assert kept(tmp_path, "SELECT count(*) FROM offsets") == [(0,)]

    assert "store_not_written" in [line["event"] for line in run(main())]
