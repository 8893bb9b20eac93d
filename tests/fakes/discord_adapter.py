"""An adapter for a network that counts how often a session is started, by the example of Discord's gateway.

It is here for the tests: it knows texts and nothing else. What of it matters is the order of things: a session is taken up
again where there is one; a new one is counted before it is asked for; how far it is, is kept when the message is safe.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any, ClassVar

import aiohttp
from msgspec import Meta

from gateway.channels.base import Intake
from gateway.config.declared import CHANNEL
from gateway.config.model import Account
from gateway.errors import AccountRefusedError, AnswerLostError, ConnectionLostError, SendError
from gateway.messages.model import Message, Outgoing
from gateway.messages.pace import Limits
from gateway.redact import Secret
from statemachine.channel_events import ChannelPolicy

from .discord import (
    ACKNOWLEDGED,
    DISPATCH,
    HEARTBEAT,
    HELLO,
    IDENTIFY,
    INVALID_SESSION,
    NOT_AUTHENTICATED,
    RECONNECT,
    RESUME,
)

LEAVING = 4000
"""Closed with a code of our own a session lives on; with 1000 it would be over, and the next start is spent."""
AGAIN = "\u21bb "


class DiscordAccount(Account, frozen=True, kw_only=True):
    """One bot."""

    token: Annotated[Secret, CHANNEL, Meta(description="The bot's token.")]
    server: Annotated[str, CHANNEL, Meta(description="Host and port.")]
    starts_a_day: Annotated[int, CHANNEL, Meta(ge=1, description="How many sessions may be started in a day.")] = 1000
    note: Annotated[str, CHANNEL, Meta(description="Changes nothing but what is compared.")] = ""

    @property
    def identity(self) -> str:
        return f"discord:{self.token.reveal().partition('.')[0]}"


class DiscordAdapter:
    """Makes the receivers."""

    account_model: ClassVar[type[Account]] = DiscordAccount

    def open(self, name: str, settings: DiscordAccount, intake: Intake) -> DiscordReceiver:
        return DiscordReceiver(name, settings, intake)

    def policy(self, settings: DiscordAccount) -> ChannelPolicy:
        # No stall_after: whether the line is alive its heartbeats say.
        return ChannelPolicy(
            stop_timeout=settings.stop_timeout_ms / 1000, backoff_base=0.1, backoff_cap=0.2, intensity=1_000
        )

    def limits(self, settings: DiscordAccount) -> Limits:
        return Limits(text=2_000)

    async def probe(self, name: str, old: DiscordAccount, new: DiscordAccount) -> str:
        """A session of the new settings would be a start."""
        return ""


class DiscordReceiver:
    """One generation of one bot."""

    def __init__(self, name: str, settings: DiscordAccount, intake: Intake) -> None:
        self._channel, self._account = name.split("/", 1)
        self._settings, self._intake = settings, intake
        self._identity, self._token = settings.identity, settings.token.reveal()
        self._http = aiohttp.ClientSession(headers={"Authorization": f"Bot {self._token}"})
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._room: asyncio.Future[None] | None = None
        self._acknowledged = True

    async def run(self) -> None:
        while True:
            await self._receive_by_one_line()
            if self._room is not None:
                await self._room

    async def _receive_by_one_line(self) -> None:
        """Until it breaks, which raises, or is to be left: by its server's wish, or because there is no room for more."""
        kept = self._intake.session(self._identity)
        session = None if kept is None else json.loads(kept)
        async with self._line(f"ws://{self._settings.server}/" if session is None else session["url"]) as beat:
            if session is not None:
                await self._say(RESUME, {"token": self._token, "session_id": session["id"], "seq": session["seq"]})
            else:
                await self._intake.begin_session(self._identity, self._settings.starts_a_day)
                await self._say(IDENTIFY, {"token": self._token, "intents": 1 << 9, "properties": {"os": "linux"}})
            beating = asyncio.ensure_future(self._beat(beat))
            try:
                while await self._take(await self._hear(), session):
                    kept = self._intake.session(self._identity)
                    session = None if kept is None else json.loads(kept)
            finally:
                beating.cancel()

    async def _take(self, payload: dict[str, Any], session: dict[str, Any] | None) -> bool:
        """One word of the server; whether to stay on the line."""
        op = payload["op"]
        if op == ACKNOWLEDGED:
            self._acknowledged = True
        elif op == HEARTBEAT:
            await self._say(HEARTBEAT, None)
        elif op == RECONNECT:
            return False
        elif op == INVALID_SESSION:
            if not payload["d"]:
                self._intake.keep_session(self._identity, None)
            raise ConnectionLostError("the session cannot be taken up again" if session else "no session was started")
        elif op == DISPATCH:
            await self._dispatched(payload, session)
            return await self._has_room()
        return True

    async def _dispatched(self, event: dict[str, Any], session: dict[str, Any] | None) -> None:
        data = event["d"]
        if event["t"] == "READY":
            session = {"id": data["session_id"], "url": data["resume_gateway_url"]}
        if event["t"] == "MESSAGE_CREATE":
            await self._intake.accept(self._identity, int(data["id"]), [self._message(data)])
        # Not before the message is safe: what comes after it is all that would be told again.
        self._intake.keep_session(self._identity, json.dumps({**(session or {}), "seq": event["s"]}))
        self._intake.received()

    async def _has_room(self) -> bool:
        """A server that tells whatever happens cannot be asked to wait: without room its line is left, and taken up when there is some."""
        self._room = asyncio.ensure_future(self._intake.room())
        await asyncio.sleep(0)
        return self._room.done()

    def _message(self, data: dict[str, Any]) -> Message:
        author, number = data["author"], data["id"]
        return Message(
            f"{self._identity}:{number}", self._channel, self._account, data["channel_id"], author["id"],
            author["username"], data["content"], self._intake.now_ms(), network_id=number,
        )  # fmt: skip

    # The line

    @contextlib.asynccontextmanager
    async def _line(self, url: str) -> AsyncIterator[float]:
        """A line that said HELLO; seconds from one of its heartbeats to the next."""
        try:
            self._socket = await self._http.ws_connect(url, autoclose=False)
        except (aiohttp.ClientError, OSError, RuntimeError) as error:
            raise ConnectionLostError(f"{type(error).__name__} at the server") from error
        try:
            hello = await self._hear()
            if hello["op"] != HELLO:
                raise ConnectionLostError("the server does not greet")
            yield hello["d"]["heartbeat_interval"] / 1000
        finally:
            if not _is_cancelled():
                await self._leave()

    async def _beat(self, every: float) -> None:
        """A server that does not answer one before the next is not there any more."""
        self._acknowledged = True
        while self._acknowledged:
            self._acknowledged = False
            with contextlib.suppress(ConnectionLostError):
                await self._say(HEARTBEAT, None)
            await asyncio.sleep(every)
        await self._leave()

    async def _say(self, op: int, data: Any) -> None:
        assert self._socket is not None
        try:
            await self._socket.send_json({"op": op, "d": data})
        except (aiohttp.ClientError, OSError) as error:
            raise ConnectionLostError("the line broke") from error

    async def _hear(self) -> dict[str, Any]:
        assert self._socket is not None
        message = await self._socket.receive()
        if message.type is aiohttp.WSMsgType.TEXT:
            payload: dict[str, Any] = json.loads(message.data)
            return payload
        if message.data == NOT_AUTHENTICATED:
            raise AccountRefusedError("the token is refused")
        raise ConnectionLostError("the line broke")

    async def _leave(self) -> None:
        if self._socket is not None and not self._socket.closed:
            await self._socket.close(code=LEAVING)

    # What else a receiver does

    async def send(self, outgoing: Outgoing) -> str:
        text = AGAIN + outgoing.text if outgoing.marked else outgoing.text
        url = f"http://{self._settings.server}/api/channels/{outgoing.conversation}/messages"
        try:
            async with self._http.post(url, json={"content": text}) as response:
                if response.status >= 500:
                    raise SendError(f"the server answered with {response.status}", retryable=True)
                if response.status >= 400:
                    raise SendError(f"the server answered with {response.status}", retryable=False)
                return str((await response.json())["id"])
        except aiohttp.ClientConnectorError as error:
            raise SendError("the server cannot be reached", retryable=True) from error
        except (aiohttp.ClientError, RuntimeError) as error:
            raise AnswerLostError("the line broke") from error

    async def typing(self, conversation: str) -> None:
        with contextlib.suppress(aiohttp.ClientError, OSError, RuntimeError):
            await self._http.post(f"http://{self._settings.server}/api/channels/{conversation}/typing")

    async def confirm(self) -> None:
        """Nothing: how far it is was kept with the session."""

    async def close(self) -> None:
        if self._room is not None:
            self._room.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await self._leave()
        await self.fence()

    async def fence(self) -> None:
        if self._http.connector is not None:
            await self._http.connector.close()
        await self._http.close()
        # Transports close in the first turn of the loop, their sockets in the second.
        await asyncio.sleep(0)
        await asyncio.sleep(0)


def _is_cancelled() -> bool:
    """Told to end, it ends at once: `close` leaves the line."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
