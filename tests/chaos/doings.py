"""What people and programs do to a gateway: edits, writes, restarts, signals, starts and stops, messages, looking."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import signal
from collections.abc import Awaitable, Callable
from typing import Any

from tests.chaos.post import Post
from tests.chaos.settings import BOTS, OPTIONAL, changed, patch_of
from tests.chaos.world import SETTLING, Answer, Touch, World

SESSION = "webchat:default:chaos"
REFUSED = ("not_written", "read_only", "stale_hash", "invalid_config", "window_open")
"""Answers that say that nothing was changed."""
BROKEN = "gateway: [this is no config\n"


class Doings:
    """`weights` says how often each is done."""

    def __init__(self, world: World, post: Post) -> None:
        self.world = world
        self.post = post
        self.weights: dict[Callable[[], Awaitable[None]], int] = {
            self.edit_by_rename: 10,
            self.edit_in_place: 6,
            self.edit_half_first: 3,
            self.break_and_mend: 1,
            self.delete_and_put_back: 2,
            self.patch_by_websocket: 10,
            self.apply_by_websocket: 6,
            self.set_by_websocket: 4,
            self.patch_by_http: 6,
            self.put_by_http: 4,
            self.write_with_stale_hash: 2,
            self.write_nonsense: 2,
            self.ask_for_restart: 4,
            self.ask_and_cancel: 3,
            self.start_account: 12,
            self.stop_account: 3,
            self.restart_account: 5,
            self.sigusr1: 2,
            self.sighup: 4,
            self.burst_of_signals: 1,
            self.message_a_bot: 14,
            self.say_in_webchat: 6,
            self.look_around: 10,
        }

    # Editors

    async def edit_by_rename(self) -> None:
        """As an editor saves: a new file over the old one."""
        async with self.world.editing:
            await self.save(self.changed_text(), by_rename=True)

    async def edit_in_place(self) -> None:
        async with self.world.editing:
            await self.save(self.changed_text(), by_rename=False)

    async def edit_half_first(self) -> None:
        """As a slow writer does: half the file, a while, and the rest."""
        async with self.world.editing:
            text = self.changed_text()
            with self.world.touching(), self.world.spoiling():
                self._put(text[: len(text) // 2])
                await self.world.pause(self.world.random.uniform(0.02, 0.5))
                await self.save(text, by_rename=False)

    async def break_and_mend(self) -> None:
        async with self.world.editing:
            text = self.changed_text()
            with self.world.touching(), self.world.spoiling():
                self._put(BROKEN)
                await self.world.pause(self.world.random.uniform(0.1, 2.0))
                await self.save(text, by_rename=True)

    async def delete_and_put_back(self) -> None:
        async with self.world.editing:
            text = self.changed_text()
            with self.world.touching(), self.world.spoiling():
                self.world.gateway.config.unlink(missing_ok=True)
                await self.world.pause(self.world.random.uniform(0.02, 1.0))
                await self.save(text, by_rename=self.world.random.random() < 0.5)

    def changed_text(self) -> str:
        world = self.world
        return changed(world.text(), world.random, world.number(), world.telegram.url)

    async def save(self, text: str, *, by_rename: bool) -> None:
        """Until it is saved: whoever meets a full disk tries again."""
        config = self.world.gateway.config
        with self.world.touching():
            while True:
                try:
                    target = config.with_name("gateway.yaml.new") if by_rename else config
                    with contextlib.nullcontext() if by_rename else self.world.spoiling():
                        target.write_text(text)
                    if by_rename:
                        target.replace(config)
                except OSError:
                    await asyncio.sleep(0.05)
                else:
                    return

    def _put(self, text: str) -> None:
        """Once, and never mind what becomes of it."""
        try:
            self.world.gateway.config.write_text(text)
        except OSError as error:
            self.world.record.note(f"the disk is full for us as well: {error}")

    # Writes by call

    async def patch_by_websocket(self) -> None:
        patch = json.dumps(patch_of(self.world.random, self.world.number()))
        await self._write_frame("config.patch", lambda _: patch)

    async def apply_by_websocket(self) -> None:
        await self._write_frame("config.apply", self._changed)

    async def set_by_websocket(self) -> None:
        await self._write_frame("config.set", self._changed)

    def _changed(self, raw: str) -> str:
        return changed(raw, self.world.random, self.world.number(), self.world.telegram.url)

    async def _write_frame(self, method: str, make: Callable[[str], str]) -> None:
        config = await self.world.ask("config.get")
        if config.kind != "ok" or config.body["raw"] is None:
            self.world.record.writes["not begun: no config to begin with"] += 1
            return
        params = {"raw": make(config.body["raw"]), "baseHash": config.body["hash"]}
        params |= {"replacePaths": [f"channels.telegram.accounts.{name}.allow_from" for name in BOTS]}
        await self.write(method, lambda note: self.world.ask(method, params | {"note": note}))

    async def patch_by_http(self) -> None:
        await self.write_http("PATCH", json.dumps(patch_of(self.world.random, self.world.number())))

    async def put_by_http(self) -> None:
        config = await self.world.http("GET", "/api/v1/config")
        if config.kind == "ok" and config.body["raw"] is not None:
            await self.write_http("PUT", self._changed(config.body["raw"]), config.body["hash"])

    async def write_with_stale_hash(self) -> None:
        """Refused, whatever is on disk."""
        answer = await self.write_http("PATCH", '{"gateway": {"name": "stale"}}', "0" * 64)
        self.world.record.expect(answer.kind != "ok", "a write with a stale hash was carried out")

    async def write_nonsense(self) -> None:
        """Refused, however right its hash."""
        answer = await self.write_http("PATCH", '{"gateway": {"no_such_key": 1}}')
        self.world.record.expect(answer.kind != "ok", "a write of an unknown key was carried out")

    async def write_http(
        self, method: str, body: str, base: str | None = None, *, confirm: float | None = None, note: str = ""
    ) -> Answer:
        if base is None:
            base = self._hash_on_disk()
        kind = "application/json" if body.startswith("{") else "application/yaml"
        headers = {"If-Match": f'"{base}"', "Content-Type": kind}
        window = "" if confirm is None else f"&confirm_within_s={confirm:g}"
        return await self.write(
            method,
            lambda note: self.world.http(
                method, f"/api/v1/config?note={note}{window}", data=body.encode(), headers=headers
            ),
            note,
        )

    def _hash_on_disk(self) -> str:
        try:
            return hashlib.sha256(self.world.gateway.config.read_bytes()).hexdigest()
        except OSError:
            return "missing"

    async def write(self, what: str, send: Callable[[str], Awaitable[Answer]], note: str = "") -> Answer:
        """Send a write; judge its answer where nobody else had to do with the file meanwhile."""
        world, note = self.world, note or f"w{self.world.number()}"
        excuse, life, before = world.excuse(), world.life, self._hash_on_disk()
        with world.touching() as touch:
            answer = await send(note)
            receipt: dict[str, Any] = {}
            if answer.kind == "ok":
                receipt = answer.body.get("receipt", answer.body)
                life.changes.add(receipt["request"])
            if answer.kind != "refused":
                world.taken += 1
            outcome = {"ok": receipt.get("outcome"), "refused": f"refused: {answer.code}"}.get(answer.kind, answer.kind)
            world.record.writes[str(outcome)] += 1
            world.record.note(f"{what} {note}: {outcome}")
            await self._judge_write(touch, before, receipt, answer)
        if answer.kind not in ("ok", "refused"):
            world.lose_a_write()
        if answer.kind == "closed" and not life.over and life.told_to_end is None:
            await self._judge_unanswered(what, note, excuse)
        return answer

    async def _judge_write(self, touch: Touch, before: str, receipt: dict[str, Any], answer: Answer) -> None:
        """Applied means: it is on disk and runs. Not written means: nothing was changed."""
        record = self.world.record
        if answer.code in REFUSED and touch.still_alone():
            record.counts["refused writes looked at"] += 1
            record.expect(self._hash_on_disk() == before, f"refused with {answer.code}, and the file has changed")
        if receipt.get("outcome") not in ("applied", "noop"):
            return
        on_disk = self._hash_on_disk()
        status = await self.world.http("GET", "/api/v1/status")
        if status.kind == "ok" and touch.still_alone():
            record.counts["applied writes looked at"] += 1
            record.expect(on_disk == receipt["hash"], f"applied {receipt['hash'][:12]}, on disk is {on_disk[:12]}")
            runs = status.body["config"]["applied"]
            record.expect(runs == receipt["hash"], f"applied {receipt['hash'][:12]}, {runs[:12]} runs")

    async def _judge_unanswered(self, what: str, note: str, excuse: float) -> None:
        """A restart closes connections, but what it took up before it answers."""
        await asyncio.sleep(SETTLING)
        if self.world.excuse() == excuse and note in self.world.ear.written:
            self.world.record.violation(f"{what} {note} was written, and its caller not told, before a restart")

    # Restarts and signals

    async def ask_for_restart(self) -> None:
        await self._ask_for_restart()

    async def ask_and_cancel(self) -> None:
        """Cancelled where it was not too late; then cancelled is its outcome."""
        life, ticket = self.world.life, await self._ask_for_restart()
        if ticket:
            await self.world.pause(self.world.random.uniform(0, 0.6))
            answer = await self.world.http("DELETE", f"/api/v1/restart/{ticket}")
            if answer.kind == "ok" and self.world.life is life:
                life.tickets[ticket] = "cancelled"

    async def _ask_for_restart(self) -> str:
        world, random = self.world, self.world.random
        body = {"delay_ms": random.choice((0, 300, 1500, 3000)), "reason": "chaos", "force": random.random() < 0.3}
        life = world.life
        if random.random() < 0.5:
            answer = await world.http("POST", "/api/v1/restart", json=body)
        else:
            body["delayMs"] = body.pop("delay_ms")
            answer = await world.ask("gateway.restart.request", body)
        if answer.kind != "ok" or world.life is not life:
            return ""
        life.tickets[answer.body["id"]] = ""
        return str(answer.body["id"])

    async def sigusr1(self) -> None:
        self.world.signal(signal.SIGUSR1)

    async def sighup(self) -> None:
        self.world.signal(signal.SIGHUP)

    async def burst_of_signals(self) -> None:
        for _ in range(self.world.random.randint(5, 40)):
            self.world.signal(self.world.random.choice((signal.SIGUSR1, signal.SIGHUP, signal.SIGHUP)))
            await asyncio.sleep(self.world.random.choice((0, 0, 0.005)))

    # Accounts, messages, looking

    async def start_account(self) -> None:
        await self._account_call("start")

    async def stop_account(self) -> None:
        await self._account_call("stop")

    async def restart_account(self) -> None:
        await self._account_call("restart")

    async def _account_call(self, verb: str) -> None:
        name = self.world.random.choice(list(BOTS))
        if self.world.random.random() < 0.5:
            answer = await self.world.http("POST", f"/api/v1/channels/telegram/{name}/{verb}")
        else:
            answer = await self.world.ask(f"channels.{verb}", {"channel": "telegram", "accountId": name})
        allowed = {"", "refused", "INVALID_REQUEST", "unavailable", "UNAVAILABLE"}
        if name == OPTIONAL:
            allowed.add("not_found")
        known = answer.code in allowed or answer.kind in ("closed", "cut", "never")
        self.world.record.expect(known, f"{verb} {name}: {answer}")

    async def message_a_bot(self) -> None:
        name = self.world.random.choice(list(BOTS))
        self.post.say(name, chat=self.world.random.randint(1, 5))

    async def say_in_webchat(self) -> None:
        said = {"sessionKey": SESSION, "message": "hello", "idempotencyKey": str(self.world.number())}
        await self.world.ask("chat.send", said)

    async def look_around(self) -> None:
        """At anything; a request that has its outcome keeps it."""
        world, life = self.world, self.world.life
        path = world.random.choice(("status", "channels", "journal?limit=200", "config", "machines", "request"))
        if path != "request":
            await world.http("GET", f"/api/v1/{path}")
        elif life.tickets:
            await look_at_request(world, world.random.choice(list(life.tickets)))


async def look_at_request(world: World, request: str) -> str:
    """The outcome of a request of the process that lives; one that it had told already must be the same still."""
    life = world.life
    answer = await world.http("GET", f"/api/v1/requests/{request}")
    if answer.kind != "ok" or world.life is not life or life.over:
        if answer.kind == "refused" and world.life is life and not life.over:
            world.record.violation(f"request {request} was accepted and is not known: {answer.code}")
        return ""
    outcome, told = str(answer.body["outcome"]), life.outcomes.get(request, "pending")
    world.record.expect(told in ("pending", outcome), f"request {request} was {told} and is {outcome}")
    life.outcomes[request] = outcome
    return outcome
