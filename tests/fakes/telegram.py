"""An honest Telegram Bot API server inside the test process.

It exists to prove that a gateway, run as another process, never gives an account two receivers. So
it does what Telegram does with getUpdates (of two polls the earlier is ended with 409 and the later
goes on, an offset forgets what lies below it) and it counts what really happened, see `Stats`.

What it can see: whether two polls overlapped is told from the kernel's own times of a request's
arrival and of a connection's end, so a late event loop hides nothing. Those times come in ticks: an
overlap shorter than `OVERLAP_RESOLUTION` (10 ms on most Linux kernels) can go unseen, and no clean
handover is ever taken for one. All other times are when the event loop saw something.

Where it is simpler than Telegram: every later poll ends the earlier one, even one that would be
answered at once; a 409 is never held back; hammering is not slowed down.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NoReturn, Self

from aiohttp import web

from .telegram_stats import Gap, Stats
from .telegram_wire import (
    CONFLICT_FOREIGN,
    CONFLICT_SELF,
    CONFLICT_WEBHOOK,
    NEVER,
    NO_FAULT,
    NO_METHOD,
    NOT_FOUND,
    NOT_JSON,
    REFUSED_WEBHOOK,
    TELLING_DIFFERENCE,
    UNAUTHORIZED,
    CutShort,
    Fault,
    ForeignPoll,
    Peer,
    Poll,
    Reply,
    failure,
    integer,
    kernel_time,
    parameters,
    success,
)

LONGEST_TEXT = 4096
FIRST_UPDATE_ID = 500_000_001
FUTURE_OFFSET = 10
"""How far beyond the next update id an offset may lie before Telegram disbelieves it."""


class Bot:
    """One account: its queue of updates, its one poll in flight, and what was counted."""

    def __init__(self, token: str, username: str) -> None:
        self.token = token
        self.username = username
        self.id = int(token.partition(":")[0])
        self.stats = Stats()
        self.sent: list[dict[str, Any]] = []
        self.updates: list[dict[str, Any]] = []
        self.allowed_updates: list[str] = []
        self.revoked = False
        self._webhook_url = ""
        self._next_update_id = FIRST_UPDATE_ID
        self._messages = 0
        self._poll: Poll | None = None
        self._left_at = NEVER
        """The kernel's time of the latest end of a poll."""
        self._foreign: ForeignPoll | None = None
        self._faults: list[Fault] = []
        self._changed = asyncio.Event()
        self._methods: dict[str, Callable[[dict[str, Any]], Reply]] = {
            "getme": lambda _: success(self._user()),
            "getwebhookinfo": lambda _: success(self._webhook_info()),
            "deletewebhook": lambda params: self._set_webhook({**params, "url": ""}),
            "setwebhook": self._set_webhook,
            "sendmessage": self._send_message,
            "sendchataction": lambda _: success(True),
        }

    # What a test does to the bot.

    def push(self, text: str, chat_id: int = 1, user_id: int = 1, username: str = "user") -> int:
        """Queue a message from a user, and return its update id.

        As on Telegram it is dropped when the bot's `allowed_updates` leave messages out.
        """
        update_id, self._next_update_id = self._next_update_id, self._next_update_id + 1
        sender = {"id": user_id, "is_bot": False, "first_name": username, "username": username}
        message = {**self._message(chat_id, text), "from": sender}
        if not self.allowed_updates or "message" in self.allowed_updates:
            self.updates.append({"update_id": update_id, "message": message})
            if self._foreign is not None:
                self._foreign.end("updates")
            if self._poll is not None:
                self._poll.wake()
        return update_id

    def fail_next(
        self,
        status: int | None = None,
        retry_after: int | None = None,
        method: str | None = "getUpdates",
        times: int = 1,
        *,
        hang: float = 0.0,
        reset: bool = False,
        half: bool = False,
        garbage: bool = False,
    ) -> None:
        """Script a fault for the next calls; faults are used up in the order they were scripted.

        `hang` alone delays the normal answer, with another fault it delays that. `half` runs the
        method and breaks off its answer; the other faults leave the method undone.
        """
        name = None if method is None else method.lower()
        self._faults.append(Fault(name, times, status, retry_after, hang, reset, half, garbage))

    def clear_faults(self) -> None:
        """Forget the scripted faults that were not used up."""
        self._faults.clear()

    def revoke(self) -> None:
        """Make the token invalid: a held poll and every later call get 401."""
        self.revoked = True
        self._cut_poll(UNAUTHORIZED)

    @property
    def webhook_url(self) -> str:
        """Where updates are sent instead of being polled; setting it ends a held poll with 409."""
        return self._webhook_url

    @webhook_url.setter
    def webhook_url(self, url: str) -> None:
        self._webhook_url = url
        if url:
            self._cut_poll(CONFLICT_WEBHOOK)

    def foreign_poll(self, timeout: float = 30.0) -> ForeignPoll:
        """Let another program poll this bot now: as the later one it ends the gateway's poll."""
        self._forget_gone_poll()
        self._cut_poll(CONFLICT_FOREIGN)
        if self._foreign is not None:
            self._foreign.end("conflict")
        self._foreign = ForeignPoll(timeout)
        if self.updates:
            self._foreign.end("updates")
        return self._foreign

    def gap_since(self, moment: float) -> Gap:
        """Total and longest time without a poll in flight from a monotonic moment until now."""
        return self.stats.gap_since(moment, time.monotonic())

    async def wait_sent(self, count: int, timeout: float = 5.0) -> None:
        """Return when `sent` has this many entries; TimeoutError when that takes too long."""
        await self._wait(lambda: len(self.sent) >= count, timeout, f"{count} messages sent")

    async def wait_polls(self, count: int, timeout: float = 5.0) -> None:
        """Return when this many polls have arrived since the start."""
        await self._wait(lambda: self.stats.polls >= count, timeout, f"{count} polls")

    async def wait_polling(self, timeout: float = 5.0) -> None:
        """Return when a poll is in flight."""
        await self._wait(lambda: self._poll is not None, timeout, "a poll in flight")

    async def _wait(self, reached: Callable[[], bool], timeout: float, what: str) -> None:
        try:
            async with asyncio.timeout(timeout):
                while not reached():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            state = f"{self.stats.polls} polls, {len(self.sent)} sent"
            raise TimeoutError(f"{self.username}: no {what} in {timeout} s ({state})") from None

    # What the server asks of the bot.

    def take_fault(self, method: str) -> Fault:
        """The fault scripted for this call, used up by one."""
        for fault in self._faults:
            if fault.method in (None, method):
                fault.times -= 1
                if fault.times <= 0:
                    self._faults.remove(fault)
                return fault
        return NO_FAULT

    async def answer(self, method: str, params: dict[str, Any], fault: Fault) -> Reply:
        """Answer any method but getUpdates."""
        self.stats.get_me_count += method == "getme"
        await asyncio.sleep(fault.hang)
        if fault.reply is not None:
            return fault.reply
        if self.revoked:
            return UNAUTHORIZED
        run = self._methods.get(method)
        return NO_METHOD if run is None else run(params)

    def poll_arrives(self, params: dict[str, Any], peer: Peer) -> Poll:
        """Count a new poll; an earlier one, if its client is really there, is ended with 409."""
        self._forget_gone_poll()
        poll = Poll(params, peer)
        met_left_one = self._left_at - peer.request_came() > TELLING_DIFFERENCE
        poll.place = self.stats.poll_arrived(
            time.monotonic(),
            poll.asked_timeout,
            poll.offset,
            met_another=self._poll is not None or met_left_one,
        )
        self._cut_poll(CONFLICT_SELF)
        if self._foreign is not None:
            self._foreign.end("conflict")
        self._poll = poll
        self._allow(params)
        self._changed.set()
        return poll

    async def answer_poll(self, poll: Poll, fault: Fault) -> Reply:
        """Hold the poll until there are updates for it or its time is up."""
        await poll.pause(fault.hang)
        if fault.reply is not None:
            return fault.reply
        if self.revoked:
            return UNAUTHORIZED
        if self.webhook_url:
            return REFUSED_WEBHOOK
        start = self._confirm(poll.offset)
        await poll.pause(poll.timeout, until=lambda: bool(self._pending(start)))
        updates = self._pending(start)[: poll.limit]
        ids = tuple(update["update_id"] for update in updates)
        return replace(success(updates), outcome="updates" if ids else "empty", update_ids=ids)

    def poll_answered(self, poll: Poll, reply: Reply) -> None:
        """The reply was written out completely."""
        self.stats.updates_written(reply.update_ids)
        self.stats.conflicts_self += reply.outcome == "conflict_self"
        self.stats.conflicts_foreign += reply.outcome == "conflict_foreign"
        self.poll_ends(poll, reply.outcome)

    def poll_ends(self, poll: Poll, outcome: str) -> None:
        """The poll receives no more; a second end is ignored."""
        if self._poll is poll:
            self._poll = None
            left_at = poll.peer.closing_came() if outcome == "gone" else kernel_time()
            self._left_at = max(self._left_at, left_at)
            self.stats.poll_ended(poll.place, time.monotonic(), outcome)
            poll.peer.close()

    def connection_dropped(self) -> None:
        """The held poll, if there is one, lost its connection to a network reset."""
        if self._poll is not None:
            self.poll_ends(self._poll, "reset")

    def _forget_gone_poll(self) -> None:
        if self._poll is not None and self._poll.peer.gone():
            self.poll_ends(self._poll, "gone")

    def _cut_poll(self, reply: Reply) -> None:
        if (poll := self._poll) is not None:
            self.poll_ends(poll, reply.outcome)
            poll.cut_short(reply)

    def _pending(self, start: int) -> list[dict[str, Any]]:
        return [update for update in self.updates if update["update_id"] >= start]

    def _confirm(self, offset: int) -> int:
        """Forget the updates below an offset, and return the id to start from.

        A negative offset counts from the end of the queue. One far in the future is disbelieved.
        """
        head = self.updates[0]["update_id"] if self.updates else self._next_update_id
        if offset < 0:
            offset = max(self._next_update_id + offset, head)
        if offset == 0 or offset > self._next_update_id + FUTURE_OFFSET:
            return int(head)
        self.updates = self._pending(offset)
        self.stats.confirmed_offset = max(self.stats.confirmed_offset, offset)
        return offset

    def _allow(self, params: dict[str, Any]) -> None:
        kinds = params.get("allowed_updates")
        if isinstance(kinds, str):
            with contextlib.suppress(ValueError):
                kinds = json.loads(kinds)
        if isinstance(kinds, list):
            self.allowed_updates = [str(kind) for kind in kinds]

    def _user(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "is_bot": True,
            "first_name": self.username,
            "username": self.username,
            "can_join_groups": True,
            "can_read_all_group_messages": False,
            "supports_inline_queries": False,
        }

    def _webhook_info(self) -> dict[str, Any]:
        return {
            "url": self.webhook_url,
            "has_custom_certificate": False,
            "pending_update_count": len(self.updates),
        }

    def _set_webhook(self, params: dict[str, Any]) -> Reply:
        url = str(params.get("url", ""))
        if str(params.get("drop_pending_updates", "")).lower() in ("true", "1", "yes"):
            self.updates.clear()
        verb, already = ("set" if url else "deleted"), self.webhook_url == url
        if not already:
            self.webhook_url = url
        return success(True, f"Webhook {'is already' if already else 'was'} {verb}")

    def _message(self, chat_id: int | str, text: str) -> dict[str, Any]:
        self._messages += 1
        kind = "private" if isinstance(chat_id, int) and chat_id > 0 else "group"
        chat = {"id": chat_id, "type": kind}
        return {"message_id": self._messages, "chat": chat, "date": int(time.time()), "text": text}

    def _send_message(self, params: dict[str, Any]) -> Reply:
        text = str(params.get("text", ""))
        if not text.strip():
            return failure(400, "Bad Request: message text is empty")
        if len(text.encode("utf-16-le", "surrogatepass")) > 2 * LONGEST_TEXT:
            return failure(400, "Bad Request: message is too long")
        if params.get("chat_id") in (None, ""):
            return failure(400, "Bad Request: chat_id is empty")
        chat_id = integer(params, "chat_id", params["chat_id"])
        self.sent.append({**params, "chat_id": chat_id, "at": time.monotonic()})
        self.stats.send_count += 1
        self._changed.set()
        return success({**self._message(chat_id, text), "from": self._user()})


class FakeTelegram:
    """The server: `async with FakeTelegram() as telegram`, then point a gateway at `telegram.url`.

    `latency` seconds pass before each answer. While `blackhole` is set, requests are accepted and
    never answered, not even after it is unset.
    """

    def __init__(self) -> None:
        self.url = ""
        self.bots: dict[str, Bot] = {}
        self.latency = 0.0
        self.blackhole = False
        app = web.Application()
        for method in ("GET", "POST"):
            app.router.add_route(method, "/bot{token}/{method}", self._handle)
            app.router.add_route(method, "/{path:.*}", self._handle_elsewhere)
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=1.0)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, backlog=4096).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.drop_connections()
        await self._runner.cleanup()

    def add_bot(self, token: str, username: str) -> Bot:
        """Create an account; the part of the token before the colon is its numeric id."""
        bot = self.bots[token] = Bot(token, username)
        return bot

    async def drop_connections(self) -> None:
        """Reset every open connection; new ones are accepted as before."""
        for bot in self.bots.values():
            bot.connection_dropped()
        if self._runner.server is not None:
            for connection in self._runner.server.connections:
                with contextlib.closing(Peer(connection.transport)) as peer:
                    peer.abort(reset=True)
        await asyncio.sleep(0)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        bot = self.bots.get(request.match_info["token"])
        method = request.match_info["method"].lower()
        params = await parameters(request)
        try:
            if params is None or bot is None:
                reply = UNAUTHORIZED if bot is None else NOT_JSON
                return await self._answer(request, reply, NO_FAULT)
            fault = bot.take_fault(method)
            if method == "getupdates":
                return await self._handle_poll(request, bot, params, fault)
            return await self._answer(request, await bot.answer(method, params, fault), fault)
        except ConnectionError:
            return await _until_disconnected()

    async def _handle_elsewhere(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, NOT_FOUND, NO_FAULT)

    async def _handle_poll(
        self, request: web.Request, bot: Bot, params: dict[str, Any], fault: Fault
    ) -> web.StreamResponse:
        poll = bot.poll_arrives(params, Peer(request.transport))
        try:
            try:
                reply = await bot.answer_poll(poll, fault)
                await poll.pause(self.latency)
            except CutShort as cut:
                reply, fault = cut.reply, NO_FAULT
                await asyncio.sleep(self.latency)
            response = await self._write(request, reply, fault)
            if response is not None:
                bot.poll_answered(poll, reply)
                return response
            bot.poll_ends(poll, "half" if fault.half else "reset")
        finally:
            bot.poll_ends(poll, "gone")
        return await _until_disconnected()

    async def _answer(self, request: web.Request, reply: Reply, fault: Fault) -> web.StreamResponse:
        await asyncio.sleep(self.latency)
        response = await self._write(request, reply, fault)
        return await _until_disconnected() if response is None else response

    async def _write(self, request: web.Request, reply: Reply, fault: Fault) -> web.StreamResponse | None:
        """Write the answer out, or return None when a fault broke it off.

        Raises ConnectionError when the client has gone.
        """
        if self.blackhole:
            await _until_disconnected()
        with contextlib.closing(Peer(request.transport)) as peer:
            if fault.reset:
                peer.abort(reset=True)
                return None
            if peer.gone():
                raise ConnectionResetError("the client has gone")
            response = web.StreamResponse(status=reply.status)
            response.content_type = "application/json"
            response.content_length = len(reply.body)
            await response.prepare(request)
            if fault.half:
                await response.write(reply.body[: len(reply.body) // 2])
                peer.abort(reset=False)
                return None
            await response.write(reply.body)
            await response.write_eof()
            return response


async def _until_disconnected() -> NoReturn:
    """Answer nothing more; the runner cancels the handler when the connection is lost."""
    await asyncio.Event().wait()
    raise AssertionError("nothing sets this event")
