"""What every adapter promises, whatever its network. A network's own test module runs these against it.

Time is real here: the networks are. A hundred milliseconds are long on a loopback.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, Protocol

import pytest

from gateway.channels.base import Intake, Offsets, Receiver
from gateway.channels.sessions import Sessions
from gateway.clock import Clock
from gateway.errors import GenerationRevokedError
from gateway.messages.model import Message, Outgoing
from gateway.messages.pace import Limits
from statemachine.channel_events import ChannelPolicy

PATIENCE = 5.0
PLANES = (*range(0x41, 0x110000, 0x10000), *range(0xFFFD, 0x110000, 0x10000))
"""A character near the beginning and one near the end of each plane of Unicode."""
NOW = 1_700_000_000_000
"""Wall-clock milliseconds, for whoever asks."""


class Network(Protocol):
    """The other side, as a test sees and moves it."""

    name: str
    settings: Any

    @property
    def identity(self) -> str:
        """Whose offsets are kept."""

    @property
    def adapter(self) -> Any:
        """The adapter under test."""

    def say(self, text: str) -> None:
        """A person says something to the account."""

    def answers(self) -> list[str]:
        """What that person was answered."""

    def receives(self) -> bool:
        """Whether the network sees somebody receive now."""


class Line:
    """One generation of a receiver and everything that came out of it. As a consumer it knows a message again by its id."""

    def __init__(self, network: Network, offsets: Offsets, known: set[str], sessions: Sessions) -> None:
        self.network = network
        self.delivered: list[Message] = []
        self.again: list[Message] = []
        """What was known before."""
        self.announced = 0
        self.broken: Exception | None = None
        self.accept_hangs = asyncio.Event()
        self.accept_hangs.set()
        self.has_room = asyncio.Event()
        self.has_room.set()
        self.asked_for_room = 0
        self._offsets = offsets
        self._known = known
        self.intake = Intake(offsets, self, self._ready, lambda: NOW, sessions)
        self.receiver: Receiver = network.adapter.open(network.name, network.settings, self.intake)
        self.task: asyncio.Task[None] | None = None

    async def accept(self, identity: str, offset: int, messages: list[Message], first: int | None) -> int:
        await self.accept_hangs.wait()
        if self.broken is not None:
            raise self.broken
        new = [message for message in messages if message.id not in self._known]
        self._known |= {message.id for message in new}
        self.delivered += new
        self.again += [message for message in messages if message not in new]
        self._offsets.set(identity, offset)
        return len(new)

    async def room(self) -> None:
        self.asked_for_room += 1
        await self.has_room.wait()

    async def send(self, conversation: str, text: str, **more: Any) -> str:
        """Send a text through the receiver; the network's id."""
        channel, account = self.network.name.split("/", 1)
        outgoing = Outgoing(1, "key", channel, account, conversation, text, NOW, NOW + 60_000, **more)
        return await self.receiver.send(outgoing)

    def _ready(self) -> None:
        self.announced += 1

    def begin(self) -> asyncio.Task[None]:
        self.task = asyncio.ensure_future(self.receiver.run())
        return self.task

    async def runs(self) -> None:
        """Begin, and return with the first receive."""
        self.begin()
        await self.until(lambda: self.announced > 0)

    async def until(self, holds: Any) -> None:
        async with asyncio.timeout(PATIENCE):
            while not holds():
                assert self.task is None or not self.task.done() or holds(), self.task
                await asyncio.sleep(0.005)

    async def end(self) -> None:
        """A clean stop without a goodbye."""
        assert self.task is not None
        self.task.cancel()
        await asyncio.wait({self.task}, timeout=PATIENCE)
        assert self.task.cancelled(), self.task
        self.intake.revoke()
        await self.receiver.close()

    @property
    def texts(self) -> list[str]:
        return [message.text for message in self.delivered]


class Lines:
    """Generations of one account, one after the other; what is left open at the end of a test is closed."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.offsets = Offsets()
        self.known: set[str] = set()
        self.sessions = Sessions(Clock())
        self.all: list[Line] = []

    def open(self) -> Line:
        line = Line(self.network, self.offsets, self.known, self.sessions)
        self.all.append(line)
        return line

    async def running(self) -> Line:
        line = self.open()
        await line.runs()
        return line

    async def close(self) -> None:
        for line in self.all:
            if line.task is not None:
                line.task.cancel()
                await asyncio.wait({line.task}, timeout=PATIENCE)
                if not line.task.cancelled():
                    line.task.exception()
            with contextlib.suppress(Exception):
                await line.receiver.close()


class AdapterContract:
    """Subclass it as `Test...` with a fixture `network`."""

    @pytest.fixture
    async def lines(self, network: Network) -> AsyncIterator[Lines]:
        lines = Lines(network)
        yield lines
        await lines.close()

    async def test_nothing_is_received_before_it_runs(self, network: Network, lines: Lines) -> None:
        line = lines.open()
        network.say("early")
        await asyncio.sleep(0.1)
        assert (line.announced, line.delivered) == (0, [])
        assert not network.receives()
        await line.receiver.close()

    async def test_the_first_receive_is_short_and_announced_once(self, network: Network, lines: Lines) -> None:
        line = lines.open()
        async with asyncio.timeout(0.9):  # the shortest long poll is a second
            await line.runs()
        for text in ("one", "two", "three"):
            network.say(text)
            await line.until(lambda text=text: text in line.texts)
        assert line.announced == 1
        assert line.intake.last_receive is not None

    async def test_messages_come_in_their_order_and_with_all_that_is_known_of_them(
        self, network: Network, lines: Lines
    ) -> None:
        line = await lines.running()
        texts = [
            "a\nb",
            "  spaces  ",
            "😀 ünï '\"\\",
            "x" * 4000,
            "/start",
            "".join(map(chr, PLANES)),
            "\u202ertl\u200f",
        ]
        for text in texts:
            network.say(text)
        await line.until(lambda: len(line.delivered) == len(texts))
        assert line.texts == texts
        assert len({message.id for message in line.delivered}) == len(texts)
        channel, account = network.name.split("/", 1)
        for message in line.delivered:
            assert (message.channel, message.account, message.kind) == (channel, account, "text")
            assert message.conversation
            assert message.sender_id
            assert message.received_at > 10**12, "milliseconds of the wall clock"
        assert len({(message.conversation, message.sender_id) for message in line.delivered}) == 1

    async def test_what_was_said_while_nobody_received_is_not_lost(self, network: Network, lines: Lines) -> None:
        network.say("before")
        line = await lines.running()
        await line.until(lambda: line.texts == ["before"])

    async def test_cancelling_ends_it_at_once(self, network: Network, lines: Lines) -> None:
        line = await lines.running()
        await line.until(network.receives)
        async with asyncio.timeout(0.5):
            await line.end()
        assert not network.receives()

    async def test_cancelling_before_the_first_receive_ends_it_too(self, network: Network, lines: Lines) -> None:
        for turns in range(12):
            line = lines.open()
            line.begin()
            for _ in range(turns):
                await asyncio.sleep(0)
            await line.end()
        await asyncio.sleep(0.05)
        assert not network.receives()

    async def test_after_close_nothing_is_received(self, network: Network, lines: Lines) -> None:
        line = await lines.running()
        await line.until(network.receives)
        await line.end()
        assert not network.receives(), "the network sees somebody receive although close() has returned"
        network.say("too late")
        await asyncio.sleep(0.1)
        assert line.delivered == []

    async def test_closing_twice_is_closing_once(self, lines: Lines) -> None:
        line = await lines.running()
        await line.end()
        await line.receiver.close()
        await line.receiver.fence()

    async def test_the_next_generation_goes_on_where_the_last_one_was(self, network: Network, lines: Lines) -> None:
        for number in range(4):
            line = await lines.running()
            network.say(f"message {number}")
            await line.until(lambda line=line: len(line.delivered) > 0)
            await line.end()
        assert [text for line in lines.all for text in line.texts] == [f"message {number}" for number in range(4)]

    async def test_cut_off_it_can_deliver_nothing(self, network: Network, lines: Lines) -> None:
        """The receiver hangs in handing over; the owner revokes its intake and cuts it off."""
        line = await lines.running()
        line.accept_hangs.clear()
        network.say("hangs")
        await asyncio.sleep(0.1)
        line.intake.revoke()
        async with asyncio.timeout(0.5):
            await line.receiver.fence()
        assert not network.receives()
        network.say("after")
        line.accept_hangs.set()
        assert line.task is not None
        await asyncio.wait({line.task}, timeout=PATIENCE)
        assert line.task.done()
        assert not line.task.cancelled()
        assert line.task.exception() is not None, "it found out that it had been cut off"
        assert "after" not in line.texts
        assert not network.receives()

    async def test_a_poll_that_is_cut_off_ends(self, network: Network, lines: Lines) -> None:
        line = await lines.running()
        await line.until(network.receives)
        line.intake.revoke()
        await line.receiver.fence()
        network.say("after")
        await asyncio.sleep(0.1)
        assert line.delivered == []
        again = await lines.running()
        await again.until(lambda: again.texts == ["after"])

    async def test_a_revoked_intake_takes_nothing_and_what_was_said_is_the_next_ones(
        self, network: Network, lines: Lines
    ) -> None:
        line = await lines.running()
        line.intake.revoke()
        network.say("for the next one")
        assert line.task is not None
        await asyncio.wait({line.task}, timeout=PATIENCE)
        assert isinstance(line.task.exception(), GenerationRevokedError)
        assert (line.delivered, lines.offsets.get(network.identity)) == ([], None)
        await line.receiver.close()
        again = await lines.running()
        await again.until(lambda: again.texts == ["for the next one"])

    async def test_what_could_not_be_taken_over_is_received_again(self, network: Network, lines: Lines) -> None:
        line = await lines.running()
        line.broken = RuntimeError("the store is full")
        network.say("first")
        network.say("second")
        assert line.task is not None
        await asyncio.wait({line.task}, timeout=PATIENCE)
        assert line.task.exception() is line.broken
        await line.receiver.close()
        again = await lines.running()
        await again.until(lambda: again.texts == ["first", "second"])

    async def test_what_is_sent_arrives(self, network: Network, lines: Lines) -> None:
        line = await lines.running()
        network.say("hello")
        await line.until(lambda: bool(line.delivered))
        conversation = line.delivered[0].conversation
        texts = ["an answer", "😀\nand more", "\u202eright to left\u202c \u200f", "".join(map(chr, PLANES))]
        ids = [await line.send(conversation, text) for text in texts]
        assert network.answers() == texts
        assert len(set(ids)) == len(texts)
        assert all(ids)

    async def test_the_longest_text_that_is_allowed_arrives_marked_too(self, network: Network, lines: Lines) -> None:
        line = await lines.running()
        network.say("hello")
        await line.until(lambda: bool(line.delivered))
        limits = network.adapter.limits(network.settings)
        assert isinstance(limits, Limits)
        for text in ("a" * limits.text, "😀" * (limits.text // 2)):
            await line.send(line.delivered[0].conversation, text, marked=True)
            assert text in network.answers()[-1]

    async def test_typing_is_a_courtesy(self, lines: Lines) -> None:
        """It raises nothing, also where there is no such conversation, and after the end."""
        line = await lines.running()
        await line.receiver.typing("there is no such conversation")
        await line.end()
        await line.receiver.typing("7")

    async def test_it_asks_for_room_and_receives_when_there_is_some(self, network: Network, lines: Lines) -> None:
        line = lines.open()
        line.has_room.clear()
        await line.runs()
        await line.until(lambda: line.asked_for_room == 1)
        network.say("later")
        await asyncio.sleep(0.1)
        assert line.delivered == []
        assert not network.receives()
        line.has_room.set()
        await line.until(lambda: line.texts == ["later"])

    async def test_sending_disturbs_no_receiving(self, network: Network, lines: Lines) -> None:
        line = await lines.running()
        network.say("hello")
        await line.until(lambda: bool(line.delivered))
        conversation = line.delivered[0].conversation
        await asyncio.gather(*(line.send(conversation, str(number)) for number in range(20)))
        network.say("again")
        await line.until(lambda: line.texts == ["hello", "again"])
        assert sorted(network.answers(), key=int) == [str(number) for number in range(20)]

    async def test_confirming_after_a_clean_stop(self, network: Network, lines: Lines) -> None:
        """Even one that knows no offset any more gets nothing twice."""
        line = await lines.running()
        network.say("hello")
        await line.until(lambda: bool(line.delivered))
        assert line.task is not None
        line.task.cancel()
        await asyncio.wait({line.task}, timeout=PATIENCE)
        await line.receiver.confirm()
        await line.receiver.close()
        assert not network.receives()
        lines.offsets, lines.known = Offsets(), set()
        again = await lines.running()
        network.say("next")
        await again.until(lambda: bool(again.delivered))
        assert again.texts == ["next"]

    async def test_confirming_when_nothing_was_received(self, lines: Lines) -> None:
        line = await lines.running()
        assert line.task is not None
        line.task.cancel()
        await asyncio.wait({line.task}, timeout=PATIENCE)
        await line.receiver.confirm()
        await line.receiver.close()

    async def test_in_silence_it_completes_receives_within_the_time_that_it_is_given(
        self, network: Network, lines: Lines
    ) -> None:
        """Or it says that it has none to complete, and nobody watches it."""
        line = lines.open()
        await line.runs()
        within = network.adapter.policy(network.settings).stall_after
        if within is not None:
            before = line.intake.receives
            async with asyncio.timeout(within):
                while line.intake.receives == before:
                    await asyncio.sleep(0.05)
            assert line.delivered == []
        await line.receiver.close()

    async def test_how_patient_to_be(self, network: Network) -> None:
        policy = network.adapter.policy(network.settings)
        assert isinstance(policy, ChannelPolicy)
        assert policy.stop_timeout == network.settings.stop_timeout_ms / 1000
        assert issubclass(type(network.settings), network.adapter.account_model)
