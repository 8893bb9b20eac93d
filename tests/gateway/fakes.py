"""A network in memory whose receivers behave as they are told, and that counts who can receive at every instant.

And handlers that do as they are told.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from gateway.channels.base import Intake
from gateway.config.model import Account, TelegramAccount
from gateway.errors import GenerationRevokedError
from gateway.messages.model import Message, Outgoing, Reply
from gateway.messages.pace import Limits
from statemachine.channel_events import ChannelPolicy

NEVER = -1.0


@dataclass
class Script:
    """How one generation behaves. Times are seconds."""

    ready_after: float = 0.01
    """Until its first receive; NEVER for a network that does not answer."""
    fails_after: float = NEVER
    """From its first receive until it ends by itself."""
    error: Exception | None = None
    """What it ends with then; None: it returns. Without a first receive it ends with it at once."""
    lingers: float = 0.0
    """How long it takes to end when it is told to; NEVER: it does not, until it is cut off."""
    closes_in: float = 0.0
    fence_fails: int = 0
    """How often cutting it off fails before it succeeds."""
    fence_hangs: bool = False
    polls: float = NEVER
    """How long a receive takes in which nobody says anything; NEVER: it does not end by itself."""
    confirm_error: Exception | None = None
    close_error: Exception | None = None


class FakeReceiver:
    """One generation."""

    def __init__(self, network: FakeNetwork, name: str, settings: Any, intake: Intake, script: Script) -> None:
        self.network = network
        self.name = name
        self.settings = settings
        self.intake = intake
        self.script = script
        self.sent: list[tuple[str, str]] = []
        self.confirmed = 0
        self.closed = False
        self.cancels = 0
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._let_go = asyncio.Event()

    def fail(self, error: Exception | None) -> None:
        """End now, by itself."""
        if not self._failed.done():
            if error is None:
                self._failed.set_result(None)
            else:
                self._failed.set_exception(error)
                self._failed.exception()  # looked at: it may have been told to end meanwhile

    def let_go(self) -> None:
        """One that lingers ends now."""
        self._let_go.set()

    async def run(self) -> None:
        self.network.enter(self)
        try:
            await self._take_up_session()
            await self._receive()
        except asyncio.CancelledError:
            self.cancels += 1
            await self._linger()
            raise

    async def _take_up_session(self) -> None:
        """Where the network counts how often one is started: the one there is, or a new one."""
        limit, identity = self.network.starts_a_day, f"fake:{self.name}"
        if limit is None:
            return
        session = self.intake.session(identity)
        if session is not None and session in self.network.sessions:
            self.network.resumes += 1
            return
        await self.intake.begin_session(identity, limit)
        self.network.starts.append(asyncio.get_running_loop().time())
        session = f"session {len(self.network.starts)}"
        if self.network.remembers:
            self.network.sessions.add(session)
        self.intake.keep_session(identity, session)

    async def _receive(self) -> None:
        script = self.script
        if script.ready_after == NEVER:
            await self._failed
        await asyncio.sleep(script.ready_after)
        if script.error is not None and script.fails_after == NEVER:
            raise script.error
        self.intake.received()
        taking = asyncio.ensure_future(self._take())
        try:
            await asyncio.wait(
                {taking, self._failed},
                timeout=None if script.fails_after == NEVER else script.fails_after,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            taking.cancel()
        if self._failed.done():
            self._failed.result()
        elif taking.done():
            taking.result()
        elif script.error is not None:
            raise script.error

    async def _take(self) -> None:
        queue = self.network.queue(self.name)
        while True:
            await self.intake.room()
            try:
                async with asyncio.timeout(None if self.script.polls == NEVER else self.script.polls):
                    number, text = await queue.get()
            except TimeoutError:
                self.intake.received()
                continue
            await self.intake.accept(f"fake:{self.name}", number, [self.network.message(self.name, number, text)])
            self.intake.received()

    async def _linger(self) -> None:
        """Told to end, it does not listen."""
        loop, wait = asyncio.get_running_loop(), self.script.lingers
        deadline = loop.time() + wait
        while not self._let_go.is_set() and (wait == NEVER or loop.time() < deadline):
            try:
                async with asyncio.timeout_at(None if wait == NEVER else deadline):
                    await self._let_go.wait()
            except TimeoutError:
                pass
            except asyncio.CancelledError:
                self.cancels += 1
        if wait == NEVER:
            await self._deliver_late()

    async def _deliver_late(self) -> None:
        """It has been cut off, and does not know."""
        try:
            await self.intake.accept(f"fake:{self.name}", 10**9, [self.network.message(self.name, 10**9, "late")])
        except GenerationRevokedError:
            self.network.refused_late += 1
        else:
            self.network.violations.append(f"{self.name} delivered after it was cut off")

    async def send(self, outgoing: Outgoing) -> str:
        step = self.network.sends.popleft() if self.network.sends else 0.0
        if isinstance(step, Exception):
            raise step
        await asyncio.sleep(step)
        self.sent.append((outgoing.conversation, outgoing.text))
        self.network.sent.append((self.name, outgoing.conversation, outgoing.text))
        return str(len(self.network.sent))

    async def typing(self, conversation: str) -> None:
        self.network.typing.append((self.name, conversation))

    async def confirm(self) -> None:
        self.confirmed += 1
        if self.script.confirm_error is not None:
            raise self.script.confirm_error

    async def close(self) -> None:
        await asyncio.sleep(self.script.closes_in)
        if self.script.close_error is not None:
            raise self.script.close_error
        self.closed = True
        self.network.leave(self)

    async def fence(self) -> None:
        if self.script.fence_hangs:
            await asyncio.Event().wait()
        if self.script.fence_fails > 0:
            self.script.fence_fails -= 1
            raise OSError("the transport cannot be aborted")
        self.network.leave(self)
        self.let_go()


class FakeNetwork:
    """Every account's receivers, past and present. `violations` must stay empty."""

    def __init__(self) -> None:
        self.adapter = FakeAdapter(self)
        self.receivers: list[FakeReceiver] = []
        self.violations: list[str] = []
        self.refused_late = 0
        self.sent: list[tuple[str, str, str]] = []
        self.sends: deque[Exception | float] = deque()
        """What becomes of the next ones: an error, or the seconds that they take."""
        self.typing: list[tuple[str, str]] = []
        self.policy: dict[str, Any] = {}
        self.limits = Limits()
        self.starts_a_day: int | None = None
        """How many sessions it lets a bot start within a day; None: it knows no sessions."""
        self.starts: list[float] = []
        """When one was started, by the loop's time."""
        self.remembers = True
        """Whether a session can be taken up again when its line has ended."""
        self.resumes = 0
        self.sessions: set[str] = set()
        """Those that can be taken up again."""
        self.refuses: dict[str, str] = {}
        """What it says against a token, by token."""
        self._scripts: dict[str, deque[Script]] = {}
        self._queues: dict[str, asyncio.Queue[tuple[int, str]]] = {}
        self._live: dict[str, list[FakeReceiver]] = {}
        self._numbers = 0

    def script(self, name: str, *scripts: Script) -> None:
        """How the next generations of an account behave; those after them are well-behaved."""
        self._scripts.setdefault(name, deque()).extend(scripts)

    def next_script(self, name: str) -> Script:
        scripts = self._scripts.get(name)
        return scripts.popleft() if scripts else Script()

    def of(self, name: str) -> list[FakeReceiver]:
        return [receiver for receiver in self.receivers if receiver.name == name]

    def live(self, name: str) -> list[FakeReceiver]:
        """Who can receive now."""
        return list(self._live.get(name, ()))

    def all_live(self) -> list[FakeReceiver]:
        return [receiver for receivers in self._live.values() for receiver in receivers]

    def enter(self, receiver: FakeReceiver) -> None:
        live = self._live.setdefault(receiver.name, [])
        live.append(receiver)
        if len(live) > 1:
            self.violations.append(
                f"{receiver.name} has {len(live)} receivers at {asyncio.get_running_loop().time():.2f}"
            )
        identity = receiver.settings.identity
        twins = [
            other.name for other in self.all_live() if other is not receiver and other.settings.identity == identity
        ]
        if twins:
            self.violations.append(f"{receiver.name} receives as the bot of {', '.join(twins)}")

    def leave(self, receiver: FakeReceiver) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._live[receiver.name].remove(receiver)

    def queue(self, name: str) -> asyncio.Queue[tuple[int, str]]:
        return self._queues.setdefault(name, asyncio.Queue())

    def push(self, name: str, text: str) -> None:
        """Somebody says something to the account."""
        self._numbers += 1
        self.queue(name).put_nowait((self._numbers, text))

    def message(self, name: str, number: int, text: str) -> Message:
        channel, account = name.split("/", 1)
        return Message(f"{name}:{number}", channel, account, "conversation", "1", "somebody", text, 0)

    def release(self) -> None:
        """Nothing hangs any more: for the end of a test."""
        for receiver in self.receivers:
            receiver.script.fence_hangs, receiver.script.fence_fails = False, 0
            receiver.script.lingers = 0.0
            receiver.let_go()


class FakeAdapter:
    """Stands in for Telegram, with its settings."""

    account_model: ClassVar[type[Account]] = TelegramAccount

    def __init__(self, network: FakeNetwork) -> None:
        self._network = network

    def open(self, name: str, settings: Any, intake: Intake) -> FakeReceiver:
        receiver = FakeReceiver(self._network, name, settings, intake, self._network.next_script(name))
        self._network.receivers.append(receiver)
        return receiver

    def policy(self, settings: TelegramAccount) -> ChannelPolicy:
        return ChannelPolicy(**{"stop_timeout": settings.stop_timeout_ms / 1000, **self._network.policy})

    def limits(self, settings: TelegramAccount) -> Limits:
        return self._network.limits

    async def probe(self, name: str, old: TelegramAccount, new: TelegramAccount) -> str:
        return self._network.refuses.get(new.token.reveal(), "")


class FakeHandlers:
    """One answer to everything, whatever the handler's name: a text, or None for no reply."""

    def __init__(
        self,
        answer: Callable[[Message], Awaitable[str | None]],
        attempts: int = 1,
        patience: float = 1_000.0,
        *,
        outside: bool = True,
    ) -> None:
        self._answer = answer
        self._outside = outside
        self._policy = (attempts, patience)

    def policy(self, handler: str) -> tuple[int, float]:
        return self._policy

    def acts_outside(self, handler: str) -> bool:
        return self._outside

    async def handle(self, handler: str, message: Message) -> tuple[Reply, ...]:
        text = await self._answer(message)
        return () if text is None else (Reply(text),)
