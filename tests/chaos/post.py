"""The referee of messages: what people said to the bots, and what came back. It sees the Bot API's end alone, and the outbox."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from gateway.channels.telegram_receiver import AGAIN
from tests.chaos.process import now
from tests.chaos.settings import BOTS, OPTIONAL
from tests.chaos.world import World

SETTLED_WITHIN = 150.0
"""Seconds: a pause after a failure is up to 60, and one that may be there already is sent once more after that."""


class Post:
    """Each text is said once, so that each answer tells whose it is."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._said: dict[str, set[str]] = {name: set() for name in BOTS}
        self._seen = dict.fromkeys(BOTS, 0)

    def say(self, name: str, chat: int) -> None:
        text = f"hello {self.world.number()}"
        self.world.bots[name].push(text, chat_id=chat)
        self._said[name].add(text)
        self.world.record.counts["messages"] += 1

    async def judge(self) -> None:
        """When nothing more is to come: none is lost, and one that came twice says so. An account that is gone hears nothing."""
        unknown = await self._settle()
        if unknown is None:
            return
        for name in BOTS:
            plain, marked = self._answers(name)
            counts, expect = self.world.record.counts, self.world.record.expect
            counts["answered"] += len(set(plain) | set(marked))
            counts["answered twice, and marked"] += len(set(plain) & set(marked))
            counts["answers of which nobody knows"] += len(unknown - set(plain) - set(marked))
            for text, times in (plain | marked).items():
                expect(plain[text] <= 1 and marked[text] <= 1, f"{name}: {text!r} was answered {times} times")
            lost = self._said[name] - set(plain) - set(marked) - unknown
            expect(not lost or name == OPTIONAL, f"{name}: {len(lost)} messages are lost: {sorted(lost)[:5]}")
            self._said[name].clear()
            self._seen[name] = len(self.world.bots[name].sent)

    def _answers(self, name: str) -> tuple[Counter[str], Counter[str]]:
        """Plain ones, and those that say that they may be there already, of what was said since the last time."""
        sent = [str(message["text"]) for message in self.world.bots[name].sent[self._seen[name] :]]
        ours = self._said[name]
        plain = Counter(text for text in sent if text in ours)
        marked = Counter(text.removeprefix(AGAIN) for text in sent if text.startswith(AGAIN))
        return plain, Counter({text: times for text, times in marked.items() if text in ours})

    async def _settle(self) -> set[str] | None:
        """Wait until nothing waits but for a person; what does. None where nobody can say, which is told elsewhere."""
        began, excuse = now(), self.world.excuse()
        while True:
            rows = await self._outbox()
            waiting = None if rows is None else [row for row in rows if row["state"] != "unknown"]
            if rows is not None and not waiting and await self._all_received():
                return {str(row["text"]) for row in rows}
            if now() - began - (self.world.excuse() - excuse) > SETTLED_WITHIN:
                self.world.record.violation(f"messages wait for more than {SETTLED_WITHIN:.0f} s: {waiting}")
                return None
            await asyncio.sleep(0.3)

    async def _outbox(self) -> list[dict[str, Any]] | None:
        answer = await self.world.http("GET", "/api/v1/outbox?limit=1000")
        return answer.body["deliveries"] if answer.kind == "ok" else None

    async def _all_received(self) -> bool:
        """Nothing waits on the network, nor in the gateway."""
        status = await self.world.http("GET", "/api/v1/status")
        return (
            status.kind == "ok"
            and not status.body["pending"]["messages"]
            and not any(self.world.bots[name].updates for name in BOTS if name != OPTIONAL)
        )
