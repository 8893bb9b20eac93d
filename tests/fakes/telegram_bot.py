"""One account of the fake Telegram: its updates, its receivers and what a test scripts for it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import re
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from .telegram_markup import MarkupError, visible
from .telegram_stats import Gap, Stats
from .telegram_webhook import Webhook
from .telegram_wire import (
    CONFLICT_FOREIGN,
    CONFLICT_SELF,
    CONFLICT_WEBHOOK,
    NO_FAULT,
    NO_METHOD,
    REFUSED_WEBHOOK,
    UNAUTHORIZED,
    Fault,
    ForeignPoll,
    Peer,
    Poll,
    Presence,
    Reply,
    failure,
    integer,
    kernel_time,
    success,
)

LONGEST_TEXT = 4096
SECRET = re.compile(r"[A-Za-z0-9_-]{0,256}")
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
        """The parameters of each message that was sent; `shown` is what a reader sees, `message_id` what it is called."""
        self.actions: list[dict[str, Any]] = []
        """The parameters of each sendChatAction."""
        self.callback_answers: list[dict[str, Any]] = []
        self.updates: list[dict[str, Any]] = []
        self.allowed_updates: list[str] = []
        self.revoked = False
        self.webhook: Webhook | None = None
        """The one that is set now, by the gateway or by somebody else."""
        self.webhooks: list[Webhook] = []
        """All that were ever set, in order."""
        self.webhook_host: str | None = None
        """What the proxy before the gateway says in Host."""
        self.next_update_id = FIRST_UPDATE_ID
        """A test may set it: after a week of silence Telegram goes on from a random one."""
        self._messages = 0
        self._poll: Poll | None = None
        self._ended: deque[Presence] = deque(maxlen=16)
        """When the latest polls were there that are not any more."""
        self._foreign: ForeignPoll | None = None
        self._faults: list[Fault] = []
        self._changed = asyncio.Event()
        self._methods: dict[str, Callable[[dict[str, Any]], Reply]] = {
            "getme": lambda _: success(self._user()),
            "getwebhookinfo": lambda _: success(self._webhook_info()),
            "deletewebhook": lambda params: self._set_webhook({**params, "url": ""}),
            "setwebhook": self._set_webhook,
            "sendmessage": self._send_message,
            "sendchataction": self._send_chat_action,
            "answercallbackquery": self._answer_callback_query,
        }

    # What a test does to the bot.

    def push(self, text: str, chat_id: int = 1, user_id: int = 1, username: str = "user") -> int:
        """Queue a message from a user, and return its update id.

        As on Telegram it is dropped when the bot's `allowed_updates` leave messages out.
        """
        return self.push_message(chat_id, user_id, username, text=text)

    def push_message(
        self,
        chat_id: int = 1,
        user_id: int = 1,
        username: str = "user",
        kind: str = "message",
        **fields: Any,
    ) -> int:
        """Queue a message of any kind: `fields` are those of Telegram's Message, beside those that every one has."""
        sender = {"id": user_id, "is_bot": False, "first_name": username, "username": username}
        return self.push_update(kind, {**self._message(chat_id), "from": sender, **fields})

    def push_update(self, kind: str, body: Any) -> int:
        """Queue an update of any kind, known or not, and return its id."""
        update_id, self.next_update_id = self.next_update_id, self.next_update_id + 1
        if not self.allowed_updates or kind in self.allowed_updates:
            self.updates.append({"update_id": update_id, kind: body})
            if self._foreign is not None:
                self._foreign.end("updates")
            if self._poll is not None:
                self._poll.wake()
            if self.webhook is not None:
                self.webhook.wake()
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
        """Where updates are sent instead of being polled; setting it is what somebody else does: nothing is brought there."""
        return "" if self.webhook is None else self.webhook.url

    @webhook_url.setter
    def webhook_url(self, url: str) -> None:
        self._change_webhook({"url": url})

    def _change_webhook(self, params: dict[str, Any]) -> None:
        """Polls end before the webhook begins, and what is being brought is broken off before it may be polled."""
        if self.webhook is not None:
            self.webhook.close()
            self.webhook = None
        if params.get("url"):
            self._cut_poll(CONFLICT_WEBHOOK)
            self.webhook = Webhook(params, lambda: self.updates, self._brought)
            self.webhook.host = self.webhook_host
            self.webhooks.append(self.webhook)
        self._changed.set()

    def _brought(self, update_id: int) -> None:
        self.stats.updates_written([update_id])
        self.updates = [update for update in self.updates if update["update_id"] != update_id]
        self._changed.set()

    def connection_ends(self) -> None:
        """The server ends: nothing is brought any more."""
        if self.webhook is not None:
            self.webhook.close()

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

    async def wait_faults(self, left: int, timeout: float = 5.0) -> None:
        """Return when no more than so many of the scripted faults are left: the call that meets the last one has arrived."""
        await self._wait(lambda: sum(fault.times for fault in self._faults) <= left, timeout, f"{left} faults left")

    async def wait_polls(self, count: int, timeout: float = 5.0) -> None:
        """Return when this many polls have arrived since the start."""
        await self._wait(lambda: self.stats.polls >= count, timeout, f"{count} polls")

    async def wait_empty(self, timeout: float = 5.0) -> None:
        """Return when nothing is pending: all was confirmed."""
        await self._wait(lambda: not self.updates, timeout, "confirmation of all updates")

    async def wait_webhook(self, timeout: float = 5.0) -> None:
        """Return when a webhook is set."""
        await self._wait(lambda: self.webhook is not None, timeout, "webhook")

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
        """Count a new poll; an earlier one, if its client is really there, is ended with 409.

        Nobody is polled while something is brought: `answer_poll` refuses it, and says so.

        A late event loop can notice a poll only after a newer one, when its client has long gone.
        """
        self._forget_gone_poll()
        poll, presence = Poll(params, peer), peer.presence()
        others = [*self._ended, *([] if self._poll is None else [self._poll.peer.presence()])]
        met = any(presence.met(other) for other in others)
        poll.place = self.stats.poll_arrived(
            time.monotonic(),
            poll.asked_timeout,
            poll.offset,
            met_another=met,
        )
        noticed_late = self._poll is not None and not met and presence.left < math.inf
        if noticed_late:
            self._end(poll, "gone", presence.left)
        else:
            self._cut_poll(CONFLICT_SELF)
            self._poll = poll
        if self._foreign is not None:
            self._foreign.end("conflict")
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

    def poll_answered(self, poll: Poll, reply: Reply, began: float) -> None:
        """The reply was written out completely, and that began at this kernel time."""
        self.stats.updates_written(reply.update_ids)
        self.stats.conflicts_self += reply.outcome == "conflict_self"
        self.stats.conflicts_foreign += reply.outcome == "conflict_foreign"
        self.poll_ends(poll, reply.outcome, began)

    def poll_ends(self, poll: Poll, outcome: str, left_at: float) -> None:
        """The poll receives no more; a second end is ignored.

        `left_at` is a kernel time at which the client cannot have known of the end yet.
        """
        if self._poll is poll:
            self._poll = None
            self._end(poll, outcome, left_at)

    def _end(self, poll: Poll, outcome: str, left_at: float) -> None:
        left_at = min(left_at, kernel_time())
        self._ended.append(Presence(poll.peer.presence().came, left_at))
        self.stats.poll_ended(poll.place, time.monotonic(), outcome)
        poll.peer.close()

    def connection_dropped(self) -> None:
        """The held poll, if there is one, lost its connection to a network reset."""
        if self._poll is not None:
            self.poll_ends(self._poll, "reset", kernel_time())

    def _forget_gone_poll(self) -> None:
        if self._poll is not None and self._poll.peer.gone():
            self.poll_ends(self._poll, "gone", self._poll.peer.presence().left)

    def _cut_poll(self, reply: Reply) -> None:
        if (poll := self._poll) is not None:
            self.poll_ends(poll, reply.outcome, kernel_time())
            poll.cut_short(reply)

    def _pending(self, start: int) -> list[dict[str, Any]]:
        return [update for update in self.updates if update["update_id"] >= start]

    def _confirm(self, offset: int) -> int:
        """Forget the updates below an offset, and return the id to start from.

        A negative offset counts from the end of the queue. One far in the future is disbelieved.
        """
        head = self.updates[0]["update_id"] if self.updates else self.next_update_id
        if offset < 0:
            offset = max(self.next_update_id + offset, head)
        if offset == 0 or offset > self.next_update_id + FUTURE_OFFSET:
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
        info = {
            "url": self.webhook_url,
            "has_custom_certificate": False,
            "pending_update_count": len(self.updates),
        }
        hook = self.webhook
        if hook is None:
            return info
        error = {"last_error_date": hook.error_at, "last_error_message": hook.error} if hook.error else {}
        return info | {"max_connections": hook.most, "allowed_updates": self.allowed_updates} | error

    def _set_webhook(self, params: dict[str, Any]) -> Reply:
        url = str(params.get("url", ""))
        parts = urlsplit(url)
        if url and (parts.scheme not in ("http", "https") or not parts.hostname):
            return failure(400, "Bad Request: bad webhook: An HTTPS URL must be provided for webhook")
        if not SECRET.fullmatch(str(params.get("secret_token", ""))):
            return failure(400, "Bad Request: secret token contains unallowed characters")
        if str(params.get("drop_pending_updates", "")).lower() in ("true", "1", "yes"):
            self.updates.clear()
        self._allow(params)
        secret = "" if self.webhook is None else self.webhook.secret
        verb = "set" if url else "deleted"
        already = self.webhook_url == url and secret == str(params.get("secret_token", ""))
        if not already:
            self._forget_gone_poll()
            self.stats.both += bool(url) and self._poll is not None
            self._change_webhook(params)
            if self.webhook is not None:
                self.webhook.begin()
        return success(True, f"Webhook {'is already' if already else 'was'} {verb}")

    def _message(self, chat_id: int | str) -> dict[str, Any]:
        self._messages += 1
        kind = "private" if isinstance(chat_id, int) and chat_id > 0 else "group"
        chat = {"id": chat_id, "type": kind}
        return {"message_id": self._messages, "chat": chat, "date": int(time.time())}

    def _send_message(self, params: dict[str, Any]) -> Reply:
        mode = params.get("parse_mode", "")
        if mode not in ("", "HTML"):
            return failure(400, "Bad Request: unsupported parse_mode")
        try:
            shown = visible(str(params.get("text", ""))) if mode else str(params.get("text", ""))
        except MarkupError as error:
            return failure(400, f"Bad Request: can't parse entities: {error}")
        if not shown.strip():
            return failure(400, "Bad Request: message text is empty")
        if len(shown.encode("utf-16-le", "surrogatepass")) > 2 * LONGEST_TEXT:
            return failure(400, "Bad Request: message is too long")
        if params.get("chat_id") in (None, ""):
            return failure(400, "Bad Request: chat_id is empty")
        chat_id = integer(params, "chat_id", params["chat_id"])
        message = {**self._message(chat_id), "text": shown, "from": self._user()}
        more = {"chat_id": chat_id, "at": time.monotonic(), "shown": shown, "message_id": message["message_id"]}
        self.sent.append(params | more)
        self.stats.send_count += 1
        self._changed.set()
        return success(message)

    def _send_chat_action(self, params: dict[str, Any]) -> Reply:
        self.actions.append(params)
        return success(True)

    def _answer_callback_query(self, params: dict[str, Any]) -> Reply:
        if not params.get("callback_query_id"):
            return failure(400, "Bad Request: query is too old and response timeout expired or query ID is invalid")
        self.callback_answers.append(params)
        return success(True)
