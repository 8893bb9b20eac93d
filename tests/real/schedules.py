"""Random schedules against the real process, with a referee outside it.

`python -m tests.real.schedules --seeds 300` runs them all and prints a table; a dozen run in the suite.
A schedule is made from its seed alone, so `--first 17 --seeds 1` runs schedule 17 again.
The referee is the Bot API server, which counts receivers, and what the gateway said to those who asked it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import aiohttp

from tests.fakes.telegram import Bot, FakeTelegram
from tests.protocol.frames import take_faults
from tests.real.process import Client, Gateway, RpcError, config_text, telegram_account

BOT = "1001:a-secret-of-the-schedules"
ACCOUNT = "telegram/main"
LENGTH = 3.0
"""Seconds in which a schedule's actions fall."""
CALM = 40.0
"""Seconds that everything gets to end: a foreign poll's conflict makes an account wait for 6."""
SIDE_BY_SIDE = 4
POLL_TIMEOUTS = (1, 2, 3)
"""Short polls, so that the wait after a conflict is short."""


@dataclass
class Verdict:
    """What the referee saw of one schedule. `faults` is empty when every promise held."""

    seed: int
    actions: list[str]
    faults: list[str] = field(default_factory=list)
    overlaps: int = 0
    conflicts_self: int = 0
    conflicts_foreign: int = 0
    restarts: int = 0
    generations: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)

    def expect(self, holds: bool, fault: str) -> None:
        if not holds:
            self.faults.append(fault)


class Schedule:
    """One gateway, one bot, and what a seed makes happen to them."""

    def __init__(self, seed: int, gateway: Gateway, telegram: FakeTelegram, bot: Bot, client: Client) -> None:
        self.random = Random(seed)
        self.verdict = Verdict(seed, [])
        self.gateway = gateway
        self.telegram = telegram
        self.bot = bot
        self.client = client
        self.held = False
        self.tickets: list[str] = []
        self.answered: set[str] = set()
        """The requests of writes whose callers hold a receipt."""
        self.numbers = iter(range(10_000))
        self.actions: dict[str, Callable[[], Awaitable[None]]] = {
            "file edit": self.edit_file,
            "patch": self.patch,
            "apply": self.apply,
            "SIGUSR1": self.restart_by_signal,
            "restart request": self.restart_by_call,
            "SIGHUP": self.reread,
            "channel start": self.start,
            "channel stop": self.stop,
            "foreign poll": self.foreign_poll,
            "network reset": self.reset_network,
        }

    async def run(self) -> Verdict:
        """All actions at their times, each on its own, as clients do; then calm, then judgement."""
        count = self.random.randint(3, 12)
        moments = sorted(self.random.uniform(0, LENGTH) for _ in range(count))
        names = [self.random.choice(list(self.actions)) for _ in moments]
        began = time.monotonic()
        running = []
        for moment, name in zip(moments, names, strict=True):
            await asyncio.sleep(max(0.0, began + moment - time.monotonic()))
            self.verdict.actions.append(f"{moment:.2f} {name}")
            running.append(asyncio.ensure_future(self.actions[name]()))
        for answered in await asyncio.gather(*running, return_exceptions=True):
            if isinstance(answered, BaseException):
                self.verdict.faults.append(f"an action was not answered: {answered!r}")
        await self.calm_down()
        await self.judge()
        return self.verdict

    # What happens

    def change(self) -> dict[str, Any]:
        """A change of some class: live, of the account, of the gateway, or of nothing."""
        number = next(self.numbers)
        kind = self.random.choice(("live", "channel", "channel", "gateway", "nothing"))
        accounts: dict[str, dict[str, Any]] = {
            "live": {"allow_from": ["*", str(number)]},
            "channel": {"poll_timeout_s": self.random.choice(POLL_TIMEOUTS)},
        }
        account = accounts.get(kind)
        patch: dict[str, Any] = {"channels": {"telegram": {"accounts": {"main": account}}}} if account else {}
        if kind == "gateway":
            patch = {"gateway": {"restart": {"defer_timeout_ms": 1_000 + number}}}
        return patch

    async def edit_file(self) -> None:
        timeout = self.random.choice(POLL_TIMEOUTS)
        mark = f"# edit {next(self.numbers)}\n"

        def changed(text: str) -> str:
            lines = [_with_timeout(line, timeout) for line in text.splitlines(keepends=True)]
            return "".join(lines) + (mark if self.random.random() < 0.5 else "")

        await self.gateway.edit(changed)

    async def patch(self) -> None:
        change = self.change()
        await self.write("config.patch", lambda _: json.dumps(change))

    async def apply(self) -> None:
        timeout = self.random.choice(POLL_TIMEOUTS)

        def changed(raw: str) -> str:
            return "".join(_with_timeout(line, timeout) for line in raw.splitlines(keepends=True))

        await self.write("config.apply", changed)

    async def write(self, method: str, make: Callable[[str], str]) -> None:
        """Read, write with the hash that was read; a stale hash is an outcome, as every other answer is.

        A restart closes connections, and a client then connects anew. A frame that meets the close on its way is one that
        the gateway never read; one that it took up must be answered: `judge_writes` holds the journal against the answers.
        """
        sent = False
        try:
            async with asyncio.timeout(30):
                client = await Client.connect(self.gateway.url)
                try:
                    config = await client.request("config.get")
                    sent = True
                    answer = await client.request(method, {"raw": make(config["raw"]), "baseHash": config["hash"]})
                    self.answered.add(answer["receipt"]["request"])
                    self.verdict.outcomes[answer["receipt"]["outcome"]] += 1
                except RpcError as error:
                    self.verdict.outcomes[f"refused: {error.error['code']}"] += 1
                finally:
                    await client.close()
        except (ConnectionError, aiohttp.ClientError):
            self.verdict.outcomes["met a close after it was sent" if sent else "closed before it was sent"] += 1

    async def restart_by_signal(self) -> None:
        self.gateway.signal(signal.SIGUSR1)

    async def restart_by_call(self) -> None:
        body = {"delay_ms": self.random.choice((0, 300, 1500)), "reason": "schedule"}
        status, answer = await self.http("POST", "/api/v1/restart", json=body)
        if status == 202:
            self.tickets.append(answer["id"])
            if self.random.random() < 0.3:
                await asyncio.sleep(self.random.uniform(0, 0.5))
                await self.http("DELETE", f"/api/v1/restart/{answer['id']}")

    async def http(self, method: str, path: str, **more: Any) -> tuple[int, Any]:
        """Ask again where a restart took the connection away."""
        for _ in range(50):
            try:
                return await self.gateway.http(method, path, **more)
            except aiohttp.ClientError:
                await asyncio.sleep(0.05)
        raise AssertionError(f"{method} {path} was not answered")

    async def reread(self) -> None:
        self.gateway.signal(signal.SIGHUP)

    async def start(self) -> None:
        self.held = False
        status, _ = await self.http("POST", "/api/v1/channels/telegram/main/start")
        self.verdict.outcomes[f"start {status}"] += 1

    async def stop(self) -> None:
        self.held = True
        status, _ = await self.http("POST", "/api/v1/channels/telegram/main/stop")
        self.verdict.outcomes[f"stop {status}"] += 1

    async def foreign_poll(self) -> None:
        with contextlib.suppress(TimeoutError):
            foreign = self.bot.foreign_poll(timeout=self.random.uniform(0.1, 1.0))
            async with asyncio.timeout(5):
                await foreign.ended.wait()

    async def reset_network(self) -> None:
        await self.telegram.drop_connections()

    # The end

    async def calm_down(self) -> None:
        """Wait until nothing is under way and the file is what runs."""
        deadline = time.monotonic() + CALM
        status: dict[str, Any] = {}
        while time.monotonic() < deadline:
            _, status = await self.http("GET", "/api/v1/status")
            if self.at_rest(status):
                await asyncio.sleep(0.7)  # a debounce and more: what was still on its way has arrived
                _, status = await self.http("GET", "/api/v1/status")
                if self.at_rest(status):
                    return
            await asyncio.sleep(0.1)
        self.verdict.faults.append(f"not at rest after {CALM} s: {json.dumps(status)[:1500]}")

    def at_rest(self, status: dict[str, Any]) -> bool:
        account = next(account for account in status["accounts"] if account["channel"] == "telegram")
        applied = status["config"]["applied"] == self.on_disk()
        return status["state"] == "running" and account["state"] in ("running", "stopped") and applied

    def on_disk(self) -> str:
        return hashlib.sha256(self.gateway.config.read_bytes()).hexdigest()

    async def judge(self) -> None:
        verdict, stats = self.verdict, self.bot.stats
        verdict.overlaps, verdict.conflicts_self = stats.overlaps, stats.conflicts_self
        verdict.conflicts_foreign = stats.conflicts_foreign
        _, status = await self.http("GET", "/api/v1/status")
        account = next(account for account in status["accounts"] if account["channel"] == "telegram")
        verdict.restarts, verdict.generations = status["restarts"], account["generation"]
        verdict.faults += take_faults()
        verdict.expect(stats.overlaps == 0, f"{stats.overlaps} overlaps")
        verdict.expect(stats.max_in_flight <= 1, f"{stats.max_in_flight} polls at one instant")
        verdict.expect(stats.conflicts_self == 0, f"{stats.conflicts_self} conflicts of our own making")
        verdict.expect(status["tickets"] == [], f"open tickets: {status['tickets']}")
        for ticket in self.tickets:
            _, request = await self.http("GET", f"/api/v1/requests/{ticket}")
            verdict.expect(request["outcome"] != "pending", f"request {ticket} has no outcome")
            verdict.outcomes[f"ticket {request['outcome']}"] += 1
        await self.judge_writes()
        await self.judge_receiver(account)

    async def judge_writes(self) -> None:
        """Every write that the lifecycle heard of has been answered to the one who sent it."""
        _, journal = await self.http("GET", "/api/v1/journal?after=0&limit=1000&machine=gateway")
        taken_up = {entry["cause"] for entry in journal["entries"] if entry["cause"].startswith("change-")}
        self.verdict.expect(taken_up <= self.answered, f"taken up and not answered: {taken_up - self.answered}")

    async def judge_receiver(self, account: dict[str, Any]) -> None:
        """What runs is what the file says: the poll's own parameter tells."""
        if account["state"] != "running":
            self.verdict.expect(account["held"], f"{ACCOUNT} is {account['state']} and nobody stopped it")
            return
        await self.bot.wait_polls(self.bot.stats.polls + 1, timeout=10)
        polled = self.bot.stats.poll_log[-1].timeout_param
        wanted = next(
            _timeout_of(line) for line in self.gateway.config.read_text().splitlines() if "poll_timeout_s" in line
        )
        self.verdict.expect(polled == wanted, f"polls with {polled} s, the file says {wanted} s")
        answered = len(self.bot.sent)
        self.bot.push("are you there?", chat_id=1)
        try:
            await self.bot.wait_sent(answered + 1, timeout=10)
        except (TimeoutError, AssertionError):
            self.verdict.faults.append("a message was not answered")


def _with_timeout(line: str, timeout: int) -> str:
    head, found, tail = line.partition("poll_timeout_s: ")
    return f"{head}{found}{timeout}{tail[1:]}" if found else line


def _timeout_of(line: str) -> int:
    return int(line.partition("poll_timeout_s: ")[2][0])


async def run_schedule(seed: int, folder: Path) -> Verdict:
    """One schedule from its seed, in a folder of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(BOT, username="schedule_bot")
        text = config_text(
            telegram_account("main", BOT, telegram.url, poll_timeout_s=1),
            restart="{delay_ms: 500, cooldown_ms: 200, defer_timeout_ms: 1000}",
        )
        async with Gateway(folder, text) as gateway:
            await bot.wait_polling(timeout=10)
            client = await gateway.client()
            try:
                return await Schedule(seed, gateway, telegram, bot, client).run()
            finally:
                await client.close()


async def run_schedules(seeds: list[int], folder: Path, told: Callable[[Verdict], None]) -> list[Verdict]:
    """Several schedules, some side by side; `told` is called with each verdict as it comes."""
    places = asyncio.Semaphore(SIDE_BY_SIDE)

    async def one(seed: int) -> Verdict:
        async with places:
            try:
                verdict = await run_schedule(seed, folder / str(seed))
            except Exception as error:  # noqa: BLE001 - a schedule that breaks down is a verdict
                verdict = Verdict(seed, [], [f"it broke down: {error!r}"])
        told(verdict)
        return verdict

    return list(await asyncio.gather(*(one(seed) for seed in seeds)))


def describe(verdict: Verdict) -> str:
    faults = "; ".join(verdict.faults) or "ok"
    return (
        f"seed {verdict.seed}: {faults} | {len(verdict.actions)} actions, {verdict.generations} generations, "
        f"{verdict.restarts} restarts, {verdict.conflicts_foreign} foreign conflicts"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Random schedules against the real gateway, with a referee.")
    parser.add_argument("--seeds", type=int, default=300, help="how many schedules")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    given = parser.parse_args()
    seeds = list(range(given.first, given.first + given.seeds))
    with tempfile.TemporaryDirectory(prefix="schedules-") as folder:
        verdicts = asyncio.run(run_schedules(seeds, Path(folder), lambda verdict: print(describe(verdict), flush=True)))
    bad = [verdict for verdict in verdicts if verdict.faults]
    totals: Counter[str] = sum((verdict.outcomes for verdict in verdicts), Counter())
    print(f"\n{len(verdicts)} schedules, {len(bad)} with faults")
    print(f"{sum(v.overlaps for v in verdicts)} overlaps, {sum(v.conflicts_self for v in verdicts)} self-made 409s")
    print(f"{sum(v.generations for v in verdicts)} generations, {sum(v.restarts for v in verdicts)} restarts")
    for outcome, count in sorted(totals.items()):
        print(f"  {outcome}: {count}")
    for verdict in bad:
        print(f"\n{describe(verdict)}\n  " + "\n  ".join(verdict.actions))
        print(f"  again: python -m tests.real.schedules --first {verdict.seed} --seeds 1")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
