"""The planner that shows is the planner that commits: what a plan says will be fired is what the journal then has."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.config.edit import merge_patch, replacement
from gateway.config.file import revision_of
from gateway.errors import ConfigError, StaleHashError, StalePlanError
from gateway.process.changes import LIFECYCLE, Write
from statemachine.lifecycle import LifecycleState
from tests.gateway.configs import telegram
from tests.gateway.process.house import House
from tests.virtual import run_virtual

S = LifecycleState
A, B, C = "token: '1:a'", "token: '2:b'", "token: '3:c'"
OFF = ", enabled: false"
OLD = telegram(a=A, b=B, c=f"{C}{OFF}") + "  webchat: {accounts: {x: {}}}\n"
NO_RELOAD = OLD.replace("gateway:\n", "gateway:\n  reload: {mode: 'off'}\n")
ASKED = {"config_changed", "restart_due", "start", "stop", "restart", "adjust"}
"""Triggers that are no completion of something else."""


def told(house: House, after: int) -> set[tuple[str, str]]:
    """What was fired since, whether the machine took it or not."""
    return {(e.machine, e.trigger) for e in house._journal.page(after, 10_000) if e.trigger in ASKED}


def promised(plan: dict[str, Any]) -> set[tuple[str, str]]:
    return {(firing["machine"], firing["trigger"]) for firing in plan["triggers"]}


async def settled(house: House) -> None:
    await house.until(S.RUNNING)
    for name, account in house._ledger.applied.accounts().items():
        if account.enabled:
            await house.until_account(name, "running")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (OLD, OLD),
        (OLD, OLD + "# a comment\n"),
        (OLD, OLD.replace("x: {}", f"x: {{{OFF[2:]}}}")),
        (OLD, OLD.replace("x: {}", "")),
        (OLD, OLD.replace("1:a", "1:new")),
        (OLD, OLD.replace(OFF, "")),
        (OLD, OLD.replace("x: {}", "x: {}, y: {}").replace("'2:b'", "'2:b', allow_from: [1]")),
        (OLD, OLD.replace("1:a", "2:b", 1).replace("'2:b'}\n      c", "'1:a'}\n      c")),  # two bots change places
        (OLD, telegram(moved=A, b=B)),
        (OLD, OLD.replace("channel: \"*\"", "channel: telegram")),
        (OLD, OLD.replace("gateway:\n", "gateway:\n  restart: {cooldown_ms: 1}\n")),
        (OLD, telegram(a=B, d=A, c=C).replace("gateway:\n", "gateway:\n  restart: {cooldown_ms: 1, delay_ms: 10}\n")),
        (NO_RELOAD, NO_RELOAD.replace("1:a", "1:new")),
        (NO_RELOAD, NO_RELOAD + "# a comment\n"),
    ],
)  # fmt: skip
def test_what_is_shown_is_what_happens(tmp_path: Path, old: str, new: str) -> None:
    async def main() -> None:
        async with House(tmp_path, old) as house:
            await settled(house)
            plan = await house._changes.plan(replacement(new), house.hash)
            seen = house._journal._seq
            receipt = await house.write(new)
            await asyncio.sleep(60)
            await settled(house)
            assert told(house, seen) == promised(plan)
            assert receipt["plan"]["class"] == plan["class"]
            assert receipt["changed_paths"] == plan["changed_paths"]
            assert set(receipt["plan"]["accounts"]) == set(plan["accounts"])
            assert receipt["revision"] == plan["revision"] == house._ledger.applied_id
            assert (
                receipt["outcome"]
                == {"nothing": "noop", "reload": "applied", "restart": "restart_pending"}[plan["needs"]]
            )
            assert house.lifecycle.data.restarts == (plan["needs"] == "restart")

    with capture_logs():
        run_virtual(main())


def test_beside_what_waits_the_rest_is_reloaded_as_it_was_shown(tmp_path: Path) -> None:
    waits = OLD.replace("gateway:\n", "gateway:\n  restart: {cooldown_ms: 1}\n")

    async def main() -> None:
        async with House(tmp_path, OLD) as house:
            await settled(house)
            await house.write(waits, delay=30)
            both = waits.replace("1:a", "1:new")
            plan = await house._changes.plan(replacement(both))
            seen = house._journal._seq
            await house.write(both)
            await house.until_account("telegram/a", "running")
            now = told(house, seen)
            assert now == {(LIFECYCLE, "config_changed"), ("telegram/a", "restart")}
            await asyncio.sleep(60)
            assert told(house, seen) == promised(plan)

    with capture_logs():
        run_virtual(main())


def test_to_plan_leaves_nothing_behind(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, OLD) as house:
            await settled(house)
            seen, kept = house._journal._seq, house._history.entries(9)
            learnt = set(house._redactor._secrets)
            new = OLD.replace("1:a", "1:a-new-secret").replace("gateway:\n", "gateway:\n  name: 1:a-new-secret\n")
            plan = await house._changes.plan(replacement(new))
            assert plan["changes"][0] | {"class": ""} == {
                "path": "gateway.name", "class": "", "old": "gateway", "new": "__REDACTED__",
            }  # fmt: skip
            assert house.on_disk() == OLD.encode()
            assert house._journal._seq == seen
            assert house._history.entries(9) == kept
            assert house._redactor._secrets == learnt, "what is only tried is not remembered"
            assert house._ledger.accepted.id == house._ledger.applied_id == house.hash
            assert house._ledger._proposals == {}

    with capture_logs():
        run_virtual(main())


def test_what_could_not_be_written_has_no_plan(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, OLD) as house:
            with pytest.raises(ConfigError, match="unknown key 'nme'"):
                await house._changes.plan(replacement("gateway: {nme: x}"))
            with pytest.raises(StaleHashError) as caught:
                await house._changes.plan(merge_patch({}), "stale")
            assert caught.value.current == house.hash
            house.save("channels: [")
            with pytest.raises(ConfigError, match="the file on disk is not valid"):
                await house._changes.plan(merge_patch({}))
            plan = await house._changes.plan(replacement(OLD))
            assert (plan["base"], plan["needs"]) == (revision_of(b"channels: ["), "nothing")
            house.path.unlink()
            assert (await house._changes.plan(replacement(OLD)))["base"] is None
            house.save(OLD)

    with capture_logs():
        run_virtual(main())


def test_a_plan_is_stale_when_the_file_or_what_runs_has_moved(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, OLD) as house:
            await settled(house)
            new = OLD.replace("1:a", "1:new")

            async def name() -> str:
                return str((await house._changes.plan(replacement(new)))["plan_id"])

            first = await name()
            assert first == await name()
            house.save(OLD + "# by hand\n")
            second = await name()
            await house.edit(OLD + "# by hand\n")
            await asyncio.sleep(1)
            third = await name()
            assert len({first, second, third}) == 3

    with capture_logs():
        run_virtual(main())


def test_who_has_seen_a_plan_may_do_what_it_says_and_nothing_else(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, OLD) as house:
            await settled(house)
            edit = replacement(OLD.replace("1:a", "1:new"))
            seen = (await house._changes.plan(edit))["plan_id"]
            other = Write(replacement(OLD.replace("1:a", "1:newer")), house.hash, "test", plan=seen)
            with pytest.raises(StalePlanError) as caught:
                await house._changes.write(other)
            assert house.on_disk() == OLD.encode()
            assert caught.value.current == (await house._changes.plan(other.edit))["plan_id"]
            assert (await house._changes.write(Write(edit, house.hash, "test", plan=seen)))["outcome"] == "applied"

    with capture_logs():
        run_virtual(main())


def test_most_of_a_file_is_not_dropped_unseen(tmp_path: Path) -> None:
    """case_55: what has lost more than half of its bytes is written for who has seen the plan, and by a person's rollback."""
    long = OLD + "".join(f"# line {number} of what somebody has noted\n" for number in range(100))

    async def main() -> None:
        async with House(tmp_path, long) as house:
            await settled(house)
            edit = replacement(OLD)
            with pytest.raises(ConfigError, match=r"it would leave \d+ of [\d,]+ bytes.*plan_id"):
                await house._changes.write(Write(edit, house.hash, "test"))
            assert house.on_disk() == long.encode()
            seen = (await house._changes.plan(edit))["plan_id"]
            assert (await house._changes.write(Write(edit, house.hash, "test", plan=seen)))["outcome"] == "noop"
            house.save(long)
            assert (await house._changes.write(Write(edit, None, "test", insists=True)))["outcome"] == "noop"
            assert house.on_disk() == OLD.encode()

    with capture_logs():
        run_virtual(main())
