"""The calm after a phase: the faults end, everything comes to rest, and then it is judged."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

from gateway.config.file import parse
from tests.chaos.doings import SESSION, Doings, look_at_request
from tests.chaos.post import Post
from tests.chaos.process import Life, footprint, now, what_is_open
from tests.chaos.record import Footprint, Rest
from tests.chaos.settings import BOTS, numbered, with_all_accounts
from tests.chaos.world import World

RUNS_WITHIN = 90.0
"""Seconds from the end of the faults until everything runs: a hanging poll is given up (13), then a backoff (up to 30), then a
start (up to 30). What waits longer by its table (`suppressed`, `failed`, stopped by a person) is started by a person."""
HALF_OPEN = 130.0
"""Seconds more where nobody starts what is `suppressed`: it makes its single attempt by itself after 120."""
BACK_WITHIN = 15.0
"""Seconds until descriptors and tasks are back."""
BASELINE = 3.0
"""Seconds in which the lowest values of a new process are sought."""
ROOM_RSS_KB = 48 * 1024
"""What the journal and the ledger of requests may keep (10,000 entries each), and what the allocator keeps beside it."""
ROOM_THREADS = 1
ANSWER_WITHIN = 30.0
WARM_UP = 24
"""Calls at once that make the pool of threads as large as it gets."""


class Calm:
    """`hasty` (a short run): people start whatever does not run, and the baseline is taken at once."""

    def __init__(self, world: World, post: Post, *, hasty: bool, back_within: float = BACK_WITHIN) -> None:
        self.world = world
        self.post = post
        self.hasty = hasty
        self.back_within = back_within

    async def judge(self, *, patient: bool) -> None:
        """`patient`: what is suppressed is left to come back by itself."""
        world = self.world
        await self._mend()
        began, excuse = now(), world.excuse()
        within = RUNS_WITHIN + (HALF_OPEN if patient else 0)
        while not await self._at_rest(start=not patient):
            if now() - began - (world.excuse() - excuse) > within:
                world.record.violation(f"not at rest after {within} s: {await self._why_not()}")
                break
            await asyncio.sleep(0.2)
        seconds = now() - began
        world.record.note(f"calm after {seconds:.1f} s")
        await self._judge_requests()
        await self.post.judge()
        await self._judge_accounts()
        await self._judge_secrets()
        await self._judge_confirmed()
        await self._judge_footprint(seconds)

    async def _mend(self) -> None:
        """End the faults. What they began (a poll that hangs) ends by itself."""
        world = self.world
        world.telegram.blackhole, world.telegram.latency = False, 0.0
        for bot in world.bots.values():
            bot.clear_faults()
            bot.revoked = False
        await world.life_ready()
        # The same accounts in every calm: what a process holds can then be compared. And new bytes: what was rolled back
        # would not run for being saved again.
        text = numbered(with_all_accounts(world.text(), world.telegram.url), world.number())
        await Doings(world, self.post).save(text, by_rename=True)

    # Rest

    async def _at_rest(self, *, start: bool) -> bool:
        """Nothing is under way and the file is what runs, now and a debounce later."""
        for _ in range(2):
            status = await self.world.http("GET", "/api/v1/status")
            if status.kind != "ok":
                return False
            # Before anything else: a reply may wait for its account to run.
            idle = [
                account for account in status.body["accounts"] if account["enabled"] and account["state"] != "running"
            ]
            if idle:
                await asyncio.gather(
                    *(self._start(account) for account in idle if start or account["state"] != "suppressed")
                )
                return False
            if not self._is_calm(status.body):
                return False
            await asyncio.sleep(0.6)
        return True

    def _is_calm(self, status: dict[str, Any]) -> bool:
        on_trial = status["config"]["window"] is not None
        done = not status["tickets"] and not status["pending"]["messages"] and not on_trial
        return status["state"] == "running" and done and status["config"]["applied"] == self._on_disk()

    async def _start(self, account: dict[str, Any]) -> None:
        """As a person does who finds an account that waits for one."""
        if self.hasty or account["held"] or account["state"] in ("suppressed", "failed"):
            await self.world.http("POST", f"/api/v1/channels/{account['channel']}/{account['account']}/start")

    def _on_disk(self) -> str:
        return hashlib.sha256(self.world.gateway.config.read_bytes()).hexdigest()

    async def _why_not(self) -> str:
        status = await self.world.http("GET", "/api/v1/status")
        return f"on disk {self._on_disk()[:12]}, {str(status.body)[:2500]}"

    # Judgement

    async def _judge_requests(self) -> None:
        """Every request that this process accepted has its outcome, and the one that it was told."""
        life, record = self.world.life, self.world.record
        for ticket, must_be in life.tickets.items():
            outcome = await look_at_request(self.world, ticket)
            record.requests[f"restart: {outcome or 'gone with its process'}"] += 1
            record.expect(outcome != "pending", f"request {ticket} has no outcome")
            record.expect(not outcome or outcome == (must_be or outcome), f"{ticket} is {outcome}, and was {must_be}")
        for change in life.changes:
            outcome = await look_at_request(self.world, change)
            record.requests[f"write: {outcome or 'gone with its process'}"] += 1
            record.expect(outcome != "pending", f"write {change} has no outcome")
        life.tickets, life.changes, life.outcomes = {}, set(), {}

    async def _judge_accounts(self) -> None:
        """Each bot is polled as the file says, and answers; so does the web chat."""
        accounts = parse(self.world.gateway.config.read_bytes())["channels"]["telegram"]["accounts"]
        await asyncio.gather(
            *(self._judge_bot(name, accounts[name]["poll_timeout_s"]) for name in BOTS if name in accounts)
        )
        said = {"sessionKey": SESSION, "message": "still there?", "idempotencyKey": str(self.world.number())}
        self.world.record.expect((await self.world.ask("chat.send", said)).kind == "ok", "the web chat takes nothing")

    async def _judge_bot(self, name: str, poll_timeout: int) -> None:
        bot, record = self.world.bots[name], self.world.record
        try:
            polled = 0
            while polled == 0:  # the first poll of a generation, which is a short one whatever the file says
                await bot.wait_polls(bot.stats.polls + 1, timeout=ANSWER_WITHIN)
                polled = bot.stats.poll_log[-1].timeout_param
            record.expect(polled == poll_timeout, f"{name} polls with {polled} s, the file says {poll_timeout} s")
            sent = len(bot.sent)
            asked, seen = f"are you there {sent}?", sent
            bot.push(asked, chat_id=99)
            while asked not in (message["text"] for message in bot.sent[sent:]):  # a late reply may come before it
                await bot.wait_sent(seen + 1, timeout=ANSWER_WITHIN)
                seen = len(bot.sent)
        except TimeoutError as error:
            record.violation(f"{name}: {error}")

    async def _judge_secrets(self) -> None:
        """Whatever it shows is looked at as it comes; here for the whole of it to be asked for at least once."""
        for path in ("status", "config", "config/schema", "journal?limit=1000", "machines", "channels"):
            await self.world.http("GET", f"/api/v1/{path}")

    async def _judge_confirmed(self) -> None:
        """What was confirmed was not rolled back, by whichever process."""
        status = await self.world.http("GET", "/api/v1/status")
        aside = status.body["config"]["set_aside"] if status.kind == "ok" else None
        if aside is not None:
            self.world.record.expect(
                aside["revision"] not in self.world.confirmed, f"confirmed, and set aside: {aside}"
            )

    # What it holds

    async def _judge_footprint(self, seconds: float) -> None:
        world, life = self.world, self.world.life
        await world.hang_up()
        # Each receiver's session keeps the connections that its busiest moment needed; new ones have the one of their poll.
        await asyncio.gather(*(world.http("POST", f"/api/v1/channels/telegram/{name}/restart") for name in BOTS))
        await asyncio.gather(*(world.http("GET", "/api/v1/config") for _ in range(WARM_UP)))
        if life.baseline is None:
            life.baseline = found = await self._lowest(life, 1.0 if self.hasty else BASELINE, None)
        else:
            found = await self._lowest(life, self.back_within, life.baseline)
            base = life.baseline
            world.record.expect(
                found.fds <= base.fds,
                f"{found.fds} descriptors, {base.fds} at its first rest: {what_is_open(life.pid)}",
            )
            world.record.expect(found.tasks <= base.tasks, f"{found.tasks} tasks, {base.tasks} at its first rest")
            world.record.expect(
                found.threads <= base.threads + ROOM_THREADS, f"{found.threads} threads, {base.threads} at first"
            )
            grown = found.rss_kb - base.rss_kb
            world.record.expect(grown <= ROOM_RSS_KB, f"it has grown by {grown} kB since its first rest")
        world.record.rests.append(Rest(world.record.seconds, life.pid, seconds, life.baseline, found))

    async def _lowest(self, life: Life, within: float, enough: Footprint | None) -> Footprint:
        """The lowest of each value in that time; sooner when they are low enough."""
        lowest, began = await self._measure(life), now()
        while now() - began < within:
            if enough is not None and lowest.fds <= enough.fds and lowest.tasks <= enough.tasks:
                break
            await asyncio.sleep(0.5)
            one = await self._measure(life)
            lowest = Footprint(
                min(lowest.fds, one.fds), min(lowest.threads, one.threads), min(lowest.tasks, one.tasks), one.rss_kb
            )
        return lowest

    async def _measure(self, life: Life) -> Footprint:
        """With one client there: the one that asks."""
        status = await self.world.http("GET", "/api/v1/status")
        return footprint(life.pid, int(status.body["process"]["tasks"]))
