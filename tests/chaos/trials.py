"""Changes that must be confirmed, on the real process: confirmed, cancelled, forgotten, extended, killed in the middle.

What came of each is judged by what the API shows of it and by the file, also in the next process.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from tests.chaos.doings import BROKEN, Doings
from tests.chaos.process import Life, now
from tests.chaos.settings import POLL_TIMEOUTS
from tests.chaos.world import Answer, World

HISTORY = "/api/v1/config/history?limit=200"
BACK_WITHIN = 75.0
"""Seconds from the end of its time until it is told that it was rolled back: a reload or a restart before it has its own."""
CLOSE = 0.7
"""Seconds before its end from which on nobody can say in which order things come."""
GONE_WITHIN = 10.0
"""Seconds that a restart takes at the most, with what waits for its end."""
BOOT_WITHIN = 30.0
NOT_NOW = {"not_written", "unavailable", "UNAVAILABLE"}
"""Answers that say to ask again: the disk is full, for one."""


@dataclass
class Trial:
    """One change of which its writer was told that it runs and must be confirmed."""

    revision: str
    note: str
    confirm_by: float
    """Wall-clock seconds, as its writer was told."""
    life: Life

    @property
    def left(self) -> float:
        return self.confirm_by - time.time()


class Trials:
    """`weights` says how often each is done; `deaths` are those that end the process."""

    def __init__(self, world: World, doings: Doings) -> None:
        self.world = world
        self._doings = doings
        self.weights: dict[Callable[[], Awaitable[None]], int] = {
            self.confirm: 2,
            self.cancel: 1,
            self.forget: 2,
            self.extend: 1,
            self.lose_an_account: 1,
            self.roll_back: 2,
        }
        self.deaths: dict[Callable[[], Awaitable[None]], int] = {
            self.die_on_trial: 4,
            self.die_when_confirmed: 3,
            self.die_with_a_broken_file: 2,
        }

    # One trial

    async def _begin(self, seconds: float) -> Trial | None:
        world, number = self.world, self.world.number()
        patch: dict[str, Any] = {"gateway": {"name": f"trial-{number}"}}
        if world.random.random() < 0.5:
            account = {world.random.choice(("one", "two")): {"poll_timeout_s": world.random.choice(POLL_TIMEOUTS)}}
            patch["channels"] = {"telegram": {"accounts": account}}
        note, life = f"trial-{number}", world.life
        answer = await self._doings.write_http("PATCH", json.dumps(patch), confirm=seconds, note=note)
        if answer.kind != "ok" or answer.body["outcome"] != "probation":
            return None
        world.record.counts["trials"] += 1
        return Trial(answer.body["revision"], note, answer.body["confirm_by"] / 1000, life)

    async def _decide(self, trial: Trial, decision: str, seconds: float = 1.0) -> Answer:
        world = self.world
        if world.random.random() < 0.5:
            body = {"revision": trial.revision, "decision": decision, "within_s": seconds}
            answer = await world.http("POST", "/api/v1/config/confirm", json=body)
        else:
            frame = {"revision": trial.revision, "decision": decision, "withinMs": round(seconds * 1000)}
            answer = await world.ask("config.confirm", frame)
        world.record.counts[f"{decision}: {answer.body['outcome'] if answer.kind == 'ok' else answer.kind}"] += 1
        return answer

    async def confirm(self) -> None:
        trial = await self._begin(self.world.random.choice((2, 3, 5)))
        if trial is not None:
            await self.world.pause(self.world.random.uniform(0, trial.left))
            await self._confirm(trial)

    async def _confirm(self, trial: Trial) -> bool:
        answer = await self._decide(trial, "confirm")
        # Not from when it was asked: a gateway that was halted meanwhile has heard it later than that.
        left = trial.left
        if answer.kind != "ok":
            if answer.kind == "refused" and left > CLOSE and self.world.life is trial.life:
                await self._excuse_end(trial, answer, f"its confirmation was refused {left:.1f} s before its end")
            return False
        self.world.record.expect(answer.body["outcome"] == "committed", f"confirmed, and told {answer.body}")
        self.world.confirmed[trial.revision] = now()
        return True

    async def cancel(self) -> None:
        trial = await self._begin(5)
        if trial is not None and (await self._decide(trial, "cancel")).kind == "ok":
            await self._is_rolled_back(trial)

    async def extend(self) -> None:
        trial = await self._begin(2)
        if trial is None:
            return
        answer = await self._decide(trial, "extend", 3.0)
        if answer.kind == "ok" and answer.body["confirm_by"]:
            trial.confirm_by = answer.body["confirm_by"] / 1000
        if answer.kind in ("ok", "refused"):
            await self._wait_for_end(trial)
            await self._is_rolled_back(trial)

    async def forget(self) -> None:
        """Nobody says anything. Nobody else is let to the file by call, and an edit of it waits."""
        alone = self.world.random.random() < 0.5
        async with self.world.editing if alone else contextlib.nullcontext():
            trial = await self._begin(self.world.random.choice((1, 2, 4)))
            if trial is None:
                return
            taken = self.world.taken
            await self._write_beside(trial)
            await self._wait_for_end(trial)
            await self._is_rolled_back(trial)
            if alone and self.world.taken == taken and self.world.is_whole and self.world.nobody_writes:
                self.world.record.counts["files looked at after a rollback"] += 1
                here = hashlib.sha256(self.world.gateway.config.read_bytes()).hexdigest()
                self.world.record.expect(here == trial.revision, f"{trial.note} was rolled back, and the file changed")

    async def _write_beside(self, trial: Trial) -> None:
        """Refused, as long as it is on trial."""
        await self.world.pause(max(0.0, trial.left / 2))
        answer = await self._doings.write_http("PATCH", '{"gateway": {"name": "beside"}}')
        if answer.kind != "ok" or trial.left < CLOSE:
            return
        status = await self.world.http("GET", "/api/v1/status")
        window = status.body["config"]["window"] if status.kind == "ok" else None
        held = window is not None and window["revision"] == trial.revision and self.world.life is trial.life
        self.world.record.expect(not held, f"a write was taken while {trial.note} waited to be confirmed")

    async def lose_an_account(self) -> None:
        """An account that ran fails while a change is on trial: it need not wait for the end of its time."""
        trial = await self._begin(5)
        if trial is not None:
            bot = self.world.bots[self.world.random.choice(("one", "two"))]
            bot.revoke()
            await self.world.pause(1.0)
            bot.revoked = False
            await self._wait_for_end(trial)
            await self._is_rolled_back(trial)

    async def _wait_for_end(self, trial: Trial) -> None:
        await asyncio.sleep(max(0.0, trial.left))

    # What became of it

    async def _entry(self, trial: Trial) -> dict[str, Any] | None:
        """Its entry in the history; None while nobody can say."""
        answer = await self.world.http("GET", HISTORY)
        if answer.kind != "ok":
            return None
        return next((entry for entry in answer.body["entries"] if entry["note"] == trial.note), None)

    async def _excuse_end(self, trial: Trial, answer: Answer, what: str) -> None:
        """It may end before its time where an account was lost, and be confirmed later where the disk is full."""
        if answer.code in NOT_NOW:
            return
        entry = await self._entry(trial)
        excused = entry is None or "has failed" in entry["why"] or entry["outcome"] == "committed"
        self.world.record.expect(excused or trial.life.over, f"{trial.note}: {what}: {answer.body}; {entry}")

    async def _is_rolled_back(self, trial: Trial) -> None:
        world = self.world
        began, excuse = now(), world.excuse()
        entry = await self._entry(trial)
        while entry is None or entry["outcome"] != "rolled_back":
            if now() - began - (world.excuse() - excuse) > BACK_WITHIN:
                world.record.violation(f"nobody confirmed {trial.note}, and it is not rolled back: {entry}")
                return
            await asyncio.sleep(0.3)
            entry = await self._entry(trial)
        world.record.counts["rolled back"] += 1
        await self._is_gone(trial, began, entry["ended_at"] / 1000)

    async def _is_gone(self, trial: Trial, began: float, ended: float) -> None:
        """It does not run, unless somebody has asked for it again. What took its place may still be on its way."""
        world = self.world
        for patience in (GONE_WITHIN, 0.0):
            status = await world.http("GET", "/api/v1/status")
            adopted = world.adopted_at >= ended - 2 * CLOSE
            if status.kind != "ok" or adopted or world.asked_at.get(trial.revision, 0.0) >= began:
                return
            if status.body["config"]["applied"] != trial.revision:
                return
            await world.pause(patience)
        world.record.violation(f"{trial.note} was rolled back, and runs: {status.body['config']}")

    async def roll_back(self) -> None:
        """A person wants an earlier revision, whatever the file holds."""
        world = self.world
        answer = await world.http("GET", HISTORY)
        if answer.kind != "ok" or not answer.body["entries"]:
            return
        entry = world.random.choice(answer.body["entries"])
        world.asked_at[entry["revision"]] = float("inf")
        world.confirmed.pop(entry["revision"], None)
        body = {"revision": entry["revision"], "note": f"back-{world.number()}"}
        await self._doings.write(
            "rollback", lambda _: world.http("POST", "/api/v1/config/rollback", json=body), body["note"]
        )

    # Deaths

    async def die_on_trial(self) -> None:
        """Killed with a change on trial: that has its time, and not more, whatever the next process finds."""
        trial = await self._begin(self.world.random.choice((1, 2, 5)))
        if trial is not None and self.world.life is trial.life:
            await self.world.pause(self.world.random.uniform(0, trial.left))
            self.world.kill()
            await self._wait_for_end(trial)
            await self._is_rolled_back(trial)

    async def die_when_confirmed(self) -> None:
        """What was confirmed stays, over a death at the very moment of its answer."""
        trial = await self._begin(5)
        if trial is None or not await self._confirm(trial) or self.world.life is not trial.life:
            return
        self.world.kill()
        await self.world.life_ready()
        entry = await self._entry(trial)
        self.world.record.expect(
            entry is None or entry["outcome"] != "rolled_back", f"{trial.note} was confirmed, and rolled back: {entry}"
        )

    async def die_with_a_broken_file(self) -> None:
        """The next process runs what was good, if anything is known to be; else it does not boot, until somebody mends the file."""
        world = self.world
        async with world.editing:
            status = await world.http("GET", "/api/v1/status")
            if status.kind != "ok" or world.life.over:
                return
            text = self._doings.changed_text()
            with world.touching(), world.spoiling():
                await world.pause(1.0)  # what it says of itself is on its disk by then
                world.gateway.config.write_text(BROKEN)
                config, durable = (
                    status.body["config"],
                    not any(reason["reason"] == "not_durable" for reason in status.body["degraded"]),
                )
                world.good = config["last_good"] if durable else None
                world.kill()
                await self._see_boot()
                world.good = None
                await self._doings.save(text, by_rename=True)

    async def _see_boot(self) -> None:
        world, began, excuse = self.world, now(), self.world.excuse()
        refused = world.record.counts[REFUSED]
        while now() - began - (world.excuse() - excuse) < BOOT_WITHIN:
            if world.record.counts[REFUSED] > refused or (world.life.ready.is_set() and not world.life.over):
                return
            await asyncio.sleep(0.05)


REFUSED = "boots refused, for the file was spoilt"
