"""Records the journals that are kept as fixtures, each by a real process: `make journals`, after a change of the tables.

`python -m tests.replay.record [NAME ...]` records all, or those that are named.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tests.fakes.telegram import Bot, FakeTelegram
from tests.real.process import Client, Gateway, RpcError, attempt, config_text, side_by_side, telegram_account

JOURNALS = Path(__file__).parent / "journals"
RECORDING = [sys.executable, "-m", "tests.replay.recording_gateway"]
BOT = "1001:a-secret-of-the-journals"
MAIN, IT = "telegram/main", "stubborn/it"

Scenario = Callable[[Gateway, Client, Bot], Awaitable[None]]


def telegram_patch(**changes: Any) -> str:
    return json.dumps({"channels": {"telegram": {"accounts": {"main": changes}}}})


def stubborn_patch(**changes: Any) -> str:
    return json.dumps({"channels": {"stubborn": {"accounts": {"it": changes}}}})


def state_of(status: dict[str, Any], name: str) -> str:
    found = [a["state"] for a in status["accounts"] if f"{a['channel']}/{a['account']}" == name]
    return str(found[0]) if found else "absent"


async def rest(gateway: Gateway, **states: str) -> None:
    """Wait until nothing is under way, and the named accounts are in those states."""
    wanted = {MAIN: "running", IT: "running"} | states
    await gateway.until(
        lambda s: s["state"] == "running" and all(state_of(s, name) == state for name, state in wanted.items()), 60
    )


async def founding_case(gateway: Gateway, client: Client, _: Bot) -> None:
    """A patch, its own file event and one more edit, and SIGUSR1, all within the same moment."""
    patching = asyncio.ensure_future(attempt(client.patch(telegram_patch(poll_timeout_s=2))))
    gateway.signal(signal.SIGUSR1)
    await patching
    await gateway.edit(lambda text: text + "# and a comment\n")
    await gateway.ready(2)
    await asyncio.sleep(0.7)
    await rest(gateway)


async def conflict(gateway: Gateway, client: Client, bot: Bot) -> None:
    """Somebody else polls the bot for a while."""
    with bot.foreign_poll(timeout=30):
        await gateway.until(lambda s: state_of(s, MAIN) == "conflict")
        await attempt(client.request("channels.start", {"channel": "telegram", "accountId": "main"}))
    await gateway.until(lambda s: state_of(s, MAIN) == "running", 60)


async def fence(gateway: Gateway, client: Client, _: Bot) -> None:
    """A receiver that does not end: at first it cannot even be cut off, and ends late; the next one is cut off."""
    await client.patch(stubborn_patch(mode="deaf"))
    stopping = asyncio.ensure_future(client.request("channels.stop", {"channel": "stubborn", "accountId": "it"}))
    await gateway.until(lambda s: state_of(s, IT) == "stop_overdue")
    await attempt(client.request("channels.start", {"channel": "stubborn", "accountId": "it"}))
    await asyncio.sleep(1.2)
    (gateway.folder / "release").touch()
    await stopping
    (gateway.folder / "release").unlink()
    await client.patch(stubborn_patch(mode="fenceable"))
    await client.request("channels.start", {"channel": "stubborn", "accountId": "it"})
    await client.patch(stubborn_patch(mode="good"))
    await rest(gateway)


async def failed_reload(gateway: Gateway, client: Client, _: Bot) -> None:
    """The new receiver breaks: the revision's ticket stands, the restart comes, and a mended config ends it."""
    await client.patch(stubborn_patch(mode="broken"))
    await gateway.until(lambda s: s["restarts"] == 1 and s["state"] == "running")
    again = await gateway.client()
    await again.patch(stubborn_patch(mode="good"))
    await rest(gateway)


async def cancel(gateway: Gateway, client: Client, _: Bot) -> None:
    """Two restarts are asked for, both are cancelled, one of them twice; then an edit that needs one is taken back."""
    asked = [await client.request("gateway.restart.request", {"delayMs": delay}) for delay in (3_000, 2_000)]
    for request in (*asked, asked[0]):
        await attempt(client.request("lifecycle.cancelRestart", {"id": request["id"]}))
    before = gateway.config.read_text()
    await gateway.edit(lambda text: text.replace("cooldown_ms: 0", "cooldown_ms: 1"))
    await gateway.until(lambda s: s["state"] == "restart_pending")
    await gateway.edit(lambda _: before)
    await rest(gateway)


async def come_and_go(gateway: Gateway, client: Client, _: Bot) -> None:
    """An account is taken out of the config and put back; a file that cannot be used in between."""
    before = gateway.config.read_text()
    await client.patch(json.dumps({"channels": {"stubborn": None}}))
    await rest(gateway, **{IT: "absent"})
    await gateway.edit(lambda _: "channels: [")
    await gateway.until(lambda s: bool(s["config"]["issues"]))
    await gateway.edit(lambda _: before)
    await rest(gateway)


async def stop(gateway: Gateway, client: Client, bot: Bot) -> None:
    """SIGTERM, twice, while a reload waits for a receiver that never ends, an edit waits for the reload, and a ticket is open."""
    await client.patch(stubborn_patch(mode="deaf", stop_timeout_ms=60_000))
    calls = [asyncio.ensure_future(attempt(client.patch(stubborn_patch(mode="good"))))]
    await gateway.until(lambda s: s["state"] == "hot_reloading")
    calls.append(asyncio.ensure_future(attempt(client.request("gateway.restart.request", {"delayMs": 0}))))
    await gateway.edit(lambda text: text + "# kept until the reload ends\n")
    await asyncio.sleep(0.7)
    for _ in range(2):
        gateway.signal(signal.SIGTERM)
        await asyncio.sleep(0.2)
    assert await gateway.wait() == 0
    for answer in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(answer, (dict, RpcError, ConnectionError)), answer


async def confirm(gateway: Gateway, client: Client, _: Bot) -> None:
    """Changes that must be confirmed: one is, one is cancelled, one is too late, and one would cost an account."""
    revision = ""
    for seconds, decision in enumerate(("confirm", "cancel", "extend"), start=2):
        written = await client.patch(telegram_patch(poll_timeout_s=seconds), confirmWithinMs=30_000)
        revision = written["receipt"]["revision"]
        within = {"withinMs": 1_000} if decision == "extend" else {}
        await client.request("config.confirm", {"revision": revision, "decision": decision, **within})
    await gateway.until(lambda s: (s["config"]["set_aside"] or {}).get("revision") == revision)
    await rest(gateway)
    await attempt(client.request("config.confirm", {"revision": revision}))
    await client.patch(stubborn_patch(mode="refused"), confirmWithinMs=30_000)
    await rest(gateway)


SCENARIOS: dict[str, Scenario] = {
    scenario.__name__: scenario
    for scenario in (founding_case, conflict, fence, failed_reload, cancel, come_and_go, confirm, stop)
}


async def record(name: str, folder: Path) -> Path:
    """Run one scenario in this folder; its journal."""
    folder.mkdir()
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(BOT, "journal_bot")
        text = config_text(
            telegram_account("main", BOT, telegram.url, poll_timeout_s=1),
            channels="  stubborn: {accounts: {it: {mode: good, stop_timeout_ms: 300}}}\n",
            restart="{mode: in_process, delay_ms: 600, cooldown_ms: 0}",
        )
        async with Gateway(folder, text, command=RECORDING) as gateway:
            client = await gateway.client()
            await rest(gateway)
            await SCENARIOS[name](gateway, client, bot)
    return folder / "journal.jsonl"


async def record_all(names: list[str], into: Path) -> None:
    """Side by side, since each does little but wait."""

    async def keep(name: str, folder: Path) -> None:
        shutil.copyfile(await record(name, folder), into / f"{name}.jsonl")
        print(into / f"{name}.jsonl")

    with tempfile.TemporaryDirectory() as temporary:
        await side_by_side({name: keep(name, Path(temporary) / name) for name in names}, at_once=4)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.replay.record", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SCENARIOS)} (default: all)")
    parser.add_argument("--into", type=Path, default=JOURNALS, metavar="FOLDER", help="default: %(default)s")
    given = parser.parse_args()
    if unknown := set(given.names) - set(SCENARIOS):
        parser.error(f"no scenario {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}")
    asyncio.run(record_all(given.names or list(SCENARIOS), given.into))


if __name__ == "__main__":
    main()
