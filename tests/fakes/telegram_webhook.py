"""How the fake Telegram brings updates to a webhook.

As Telegram's own server does it: updates of one chat one after the other, those of different chats side by side, at most
`max_connections` at once; an update that was not answered with 2xx is brought again, after the seconds of Retry-After
or after a growing pause. It is forgotten when it was answered with 2xx, and not before, whatever comes between.
Where it is simpler: pauses are shorter, and it never gives up.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 1.0
"""Seconds until an update is brought again."""
PATIENCE = 10.0


@dataclass
class WebhookStats:
    """What came of it."""

    tries: int = 0
    accepted: list[int] = field(default_factory=list)
    """Update ids that were answered with 2xx, in that order."""
    statuses: dict[int, int] = field(default_factory=dict)
    """How often each status was answered; 0 is no answer at all."""


class Webhook:
    """One webhook that is set: it brings what `pending` has until it is closed. `accepted` is told of each that arrived."""

    def __init__(
        self, params: dict[str, Any], pending: Callable[[], list[dict[str, Any]]], accepted: Callable[[int], None]
    ) -> None:
        self.url = str(params["url"])
        self.secret = str(params.get("secret_token", ""))
        self.most = int(params.get("max_connections") or 40)
        self.host: str | None = None
        """What a proxy says in Host, where it passes that on."""
        self.stats = WebhookStats()
        self.error = ""
        self.error_at = 0
        self._pending = pending
        self._accepted = accepted
        self._news = asyncio.Event()
        self._out: dict[Any, asyncio.Task[None]] = {}
        """What is being brought, or waits to be brought again, by chat: one at a time each."""
        self._connections = asyncio.Semaphore(self.most)
        self._loop: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Whoever only looks at the address needs nothing brought."""
        self._loop = asyncio.get_running_loop().create_task(self._bring_all())

    def wake(self) -> None:
        self._news.set()

    def close(self) -> None:
        """Bring nothing more; what is on its way is broken off, and stays pending."""
        for task in (self._loop, *self._out.values()):
            if task is not None:
                task.cancel()

    async def _bring_all(self) -> None:
        async with aiohttp.ClientSession() as session:
            try:
                while True:
                    self._news.clear()
                    for update in self._pending():
                        if chat_of(update) not in self._out:
                            self._begin(session, update)
                    await self._news.wait()
            finally:
                for task in self._out.values():
                    task.cancel()
                # The session closes the connections: not before whoever uses them has let go.
                await asyncio.wait({asyncio.ensure_future(asyncio.sleep(0)), *self._out.values()})

    def _begin(self, session: aiohttp.ClientSession, update: dict[str, Any]) -> None:
        chat = chat_of(update)
        task = self._out[chat] = asyncio.get_running_loop().create_task(self._bring(session, update))

        def ended(_: object) -> None:
            self._out.pop(chat, None)
            self.wake()

        task.add_done_callback(ended)

    async def _bring(self, session: aiohttp.ClientSession, update: dict[str, Any]) -> None:
        pause = FIRST_PAUSE
        while True:
            async with self._connections:
                wait = await self._try(session, update)
            if wait is None:
                return
            await asyncio.sleep(wait or pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _try(self, session: aiohttp.ClientSession, update: dict[str, Any]) -> float | None:
        """Seconds until the next try, 0 for the usual pause; None where it has arrived."""
        headers = {SECRET_HEADER: self.secret} if self.secret else {}
        headers |= {"Host": self.host} if self.host else {}
        self.stats.tries += 1
        status, wait, why = 0, 0.0, "Connection refused"
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
            timeout = aiohttp.ClientTimeout(total=PATIENCE)
            async with session.post(self.url, json=update, headers=headers, timeout=timeout) as response:
                await response.read()
                status, wait = response.status, float(response.headers.get("Retry-After", 0))
                why = f"Wrong response from the webhook: {status} {response.reason}"
        self.stats.statuses[status] = self.stats.statuses.get(status, 0) + 1
        if 200 <= status <= 299:
            self.stats.accepted.append(update["update_id"])
            self._accepted(update["update_id"])
            return None
        self.error, self.error_at = why, int(time.time())
        return wait


def chat_of(update: dict[str, Any]) -> Any:
    """Updates without one are brought side by side."""
    body = next((value for key, value in update.items() if key != "update_id"), None)
    chat = body.get("chat") if isinstance(body, dict) else None
    return chat.get("id") if isinstance(chat, dict) else f"update {update['update_id']}"
