"""The web chat on the page: a network of its own, so that the first run needs no account anywhere.

The hub is the network's server: it keeps the conversations and knows who watches them.
A receiver takes messages from it exactly as one takes them from Telegram.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar

from gateway.channels.base import Intake
from gateway.clock import Clock
from gateway.config.model import Account, WebchatAccount
from gateway.messages.model import Message, Outgoing
from gateway.messages.pace import Limits
from gateway.messages.texts import whole
from statemachine.channel_events import ChannelPolicy

CONVERSATIONS_KEPT = 1_000
LINES_KEPT = 500
LIMITS = Limits(text=100_000)


@dataclass(frozen=True)
class Line:
    """One line of a conversation. `role` is user or assistant, `ts` wall-clock milliseconds."""

    id: str
    role: str
    text: str
    ts: int
    run: str
    traceparent: str | None = None


Listener = Callable[[str, str, Line], None]
"""Called with account name, conversation and the new line of the assistant."""


class WebchatHub:
    """Conversations of every webchat account, and the queues that receivers take messages from."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._numbers = itertools.count(1)
        self._lines: OrderedDict[tuple[str, str], deque[Line]] = OrderedDict()
        self._queues: dict[str, asyncio.Queue[tuple[str, Line]]] = {}
        self._listeners: list[Listener] = []
        self._whole: set[tuple[str, str]] = set()
        self._not_kept: dict[str, asyncio.Event] = {}

    def listen(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def queue(self, name: str) -> asyncio.Queue[tuple[str, Line]]:
        """What was said to an account and not received yet. It outlives the account's receivers."""
        return self._queues.setdefault(name, asyncio.Queue())

    def put_back(self, name: str, conversation: str, line: Line) -> None:
        """It was taken, and could not be taken over: it is the next one again."""
        queue = self.queue(name)
        later = [queue.get_nowait() for _ in range(queue.qsize())]
        for item in ((conversation, line), *later):
            queue.put_nowait(item)

    def say(self, name: str, conversation: str, text: str, run: str, traceparent: str | None = None) -> Line:
        """A person says something, perhaps as part of a trace. Saying it again with the same `run` says nothing new."""
        conversation, text, run = whole(conversation), whole(text), whole(run)
        known = next((line for line in self.history(name, conversation) if line.run == run), None)
        if known is not None:
            return known
        line = self._append(name, conversation, "user", text, run, traceparent=traceparent)
        self._not_kept[line.id] = asyncio.Event()
        self.queue(name).put_nowait((conversation, line))
        return line

    async def kept(self, line: Line) -> None:
        """Return when the line was taken over: from then on it is not lost."""
        event = self._not_kept.get(line.id)
        if event is not None:
            await event.wait()

    def taken_over(self, line: Line) -> None:
        """A receiver has handed it on."""
        event = self._not_kept.pop(line.id, None)
        if event is not None:
            event.set()

    def knows(self, name: str, conversation: str) -> bool:
        """Whether what was said in earlier lives is there."""
        return (name, conversation) in self._whole

    def restore(self, name: str, conversation: str, said: Iterable[tuple[str, str, int, str]]) -> None:
        """All that is kept, oldest first: role, text, when, and by which run. What was said since the boot is in it, or follows."""
        here = self._lines.pop((name, conversation), deque())
        self._whole.add((name, conversation))
        known = set()
        for role, text, ts, run in said:
            known.add((role, run, text))
            self._append(name, conversation, role, text, run, ts)
        for line in here:
            if (line.role, line.run, line.text) not in known:
                self._lines.setdefault((name, conversation), deque(maxlen=LINES_KEPT)).append(line)

    def answer(self, name: str, conversation: str, text: str, run: str = "") -> Line:
        """The gateway says something: it goes to everyone who watches."""
        line = self._append(name, conversation, "assistant", text, run)
        for listener in tuple(self._listeners):
            listener(name, conversation, line)
        return line

    def history(self, name: str, conversation: str) -> list[Line]:
        return list(self._lines.get((name, whole(conversation)), ()))

    def _append(
        self,
        name: str,
        conversation: str,
        role: str,
        text: str,
        run: str,
        ts: int | None = None,
        traceparent: str | None = None,
    ) -> Line:
        at = self._clock.wall_ms() if ts is None else ts
        line = Line(str(next(self._numbers)), role, text, at, run, traceparent)
        self._lines.setdefault((name, conversation), deque(maxlen=LINES_KEPT)).append(line)
        self._lines.move_to_end((name, conversation))
        while len(self._lines) > CONVERSATIONS_KEPT:
            forgotten, _ = self._lines.popitem(last=False)
            self._whole.discard(forgotten)
        return line


class WebchatAdapter:
    """Makes receivers for web chat accounts."""

    account_model: ClassVar[type[Account]] = WebchatAccount

    def __init__(self, hub: WebchatHub) -> None:
        self._hub = hub

    def open(self, name: str, settings: WebchatAccount, intake: Intake) -> WebchatReceiver:  # noqa: ARG002 - it has none of its own
        return WebchatReceiver(name, self._hub, intake)

    def policy(self, settings: WebchatAccount) -> ChannelPolicy:
        return ChannelPolicy(stop_timeout=settings.stop_timeout_ms / 1000)

    def limits(self, settings: WebchatAccount) -> Limits:  # noqa: ARG002 - as the protocol has it
        """A page takes what it is given."""
        return LIMITS

    async def probe(self, name: str, old: WebchatAccount, new: WebchatAccount) -> str:  # noqa: ARG002 - as the protocol has it
        """There is no network that could refuse it."""
        return ""


class WebchatReceiver:
    """One generation of one web chat account."""

    def __init__(self, name: str, hub: WebchatHub, intake: Intake) -> None:
        self._name = name
        self._channel, self._account = name.split("/", 1)
        self._hub = hub
        self._intake = intake

    async def run(self) -> None:
        queue = self._hub.queue(self._name)
        self._intake.received()
        while True:
            await self._intake.room()
            conversation, line = await queue.get()
            identity = f"webchat:{self._account}:{conversation}:{line.run}"
            message = Message(
                identity, self._channel, self._account, conversation, conversation, "you", line.text, line.ts,
                traceparent=line.traceparent,
            )  # fmt: skip
            try:
                await self._intake.accept(f"webchat:{self._name}", int(line.id), [message])
            except BaseException:
                self._hub.put_back(self._name, conversation, line)
                raise
            self._hub.taken_over(line)
            self._intake.received()

    async def send(self, outgoing: Outgoing) -> str:
        line = self._hub.answer(self._name, outgoing.conversation, outgoing.text, run_of(outgoing.key))
        return line.id

    async def typing(self, conversation: str) -> None:
        """The page shows by itself that it waits."""

    async def confirm(self) -> None:
        """Nothing to tell: the hub is in this process."""

    async def close(self) -> None:
        """Nothing is open: the cancelled task was the connection."""

    async def fence(self) -> None:
        """The revoked intake takes nothing more."""


def run_of(key: str) -> str:
    """The run of a line, out of the message's id, or of its answer's key: that begins with `re:`."""
    said, answer, _ = key.partition("#")
    run = said.rpartition(":")[2]
    return f"re:{run}" if answer else run
