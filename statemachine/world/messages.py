"""The world of messages: one account's channel, the store, a network, and a crash at any point.

Two messages of one conversation go through the real tables of incoming and outgoing ones, from the network to its answer;
around them is what `gateway.messages` does: receive into the store and only then confirm, one at a time in a conversation,
an end and its replies as one commit, that a reply is being sent on the disk before the network hears of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec.structs import replace

from statemachine._machine import Effect, Event, Machine
from statemachine.delivery import Delivery, Keep, LineUp, MakeWay, RetryRequested, Send
from statemachine.explore import Move
from statemachine.incoming import Finish, Handle, Incoming
from statemachine.promises import CONFIRMED_IS_KEPT, ENDS, HANDLED, IN_ORDER, REPLIED, SENT_ONCE
from statemachine.world import outgoing as out
from statemachine.world.incoming import In, IncomingModel
from statemachine.world.outgoing import Out, OutgoingModel, committed, committing
from statemachine.world.store import COUNT, Image, Outbox, Store

NOTHING: tuple[None, ...] = (None,) * COUNT


class Accept(msgspec.Struct, frozen=True, cache_hash=True):
    """Messages that are being taken over, up to an offset. `fresh` are those that the store had not, and nobody has begun with."""

    offset: int
    fresh: frozenset[int]
    flying: bool = False
    live: bool = True
    """The receiver that brought them waits for that, and asks for nothing meanwhile."""


class Network(msgspec.Struct, frozen=True, cache_hash=True):
    """What outlives every process: how many messages were confirmed to it, and which replies it has."""

    confirmed: int = 0
    sent: tuple[bool, ...] = (False,) * COUNT
    made_way: frozenset[int] = frozenset()
    """Replies that let what follows them go first. The network knows nothing of that; the judge of the order does."""


class Messages(msgspec.Struct, frozen=True, cache_hash=True):
    """Everything."""

    budget: int
    resend: bool | None = None
    """The route's policy for what may be there already; None before it is known."""
    up: bool = True
    offset: int = 0
    """As far as the process may confirm."""
    taken: int = 0
    """As far as it has taken messages over, on the disk or not yet."""
    store: Store = Store()
    accepts: tuple[Accept, ...] = ()
    incoming: tuple[In | None, ...] = NOTHING
    outgoing: tuple[Out | None, ...] = NOTHING
    lane: tuple[int, ...] = ()
    """The replies in the order in which they are to be sent."""
    ready: frozenset[int] = frozenset()
    network: Network = Network()


class MessageWorld:
    """A model for `statemachine.explore`, over the machine classes. `budget`: how many things the outside may do."""

    def __init__(
        self,
        budget: int = 2,
        incoming: type[Machine[Any, Any]] = Incoming,
        delivery: type[Machine[Any, Any]] = Delivery,
    ) -> None:
        self._budget = budget
        self._incoming = IncomingModel(incoming)
        self._outgoing = OutgoingModel(delivery)

    # What `explore` asks

    def start(self) -> Messages:
        return Messages(self._budget)

    def moves(self, world: Messages) -> Iterator[Move[Messages]]:
        if world.resend is None:
            for resend, policy in ((True, "resend"), (False, "ask")):
                yield Move(f"the route says: {policy}", replace(world, resend=resend))
            return
        yield from self._receiving(world)
        yield from self._committing(world)
        for place in range(COUNT):
            yield from self._handling(world, place)
            yield from self._sending(world, place)
        if world.budget:
            spent = replace(world, budget=world.budget - 1)
            yield Move("the process is killed and started again", self.boot(spent), owed=False)
            if world.up:
                accepts = tuple(replace(accept, live=False) for accept in world.accepts)
                yield Move("the account goes down", replace(spent, up=False, accepts=accepts), owed=False)
        if not world.up:
            yield Move("the account comes up", replace(world, up=True))

    def outstanding(self, world: Messages) -> Iterator[str]:
        if world.network.confirmed < COUNT or world.store.memory.unfinished():
            yield HANDLED
        if world.store.memory != world.store.disk or any(map(self._is_owed, range(COUNT), (world,) * COUNT)):
            yield REPLIED
        works = [work for one in world.incoming if one is not None for work in one.runs]
        if works or any(one is not None and one.sendings for one in world.outgoing):
            yield ENDS

    def _is_owed(self, place: int, world: Messages) -> bool:
        """A reply is missing, or is neither sent nor dead, nor shown as unknown where a person must decide."""
        message, reply = world.store.disk.inbox[place], world.store.disk.outbox[place]
        if reply is None:
            return message is None or message.state in ("received", "handled")
        asks = reply.marked or not world.resend
        return reply.state not in ("sent", "dead") and not (reply.state == "unknown" and asks)

    def tell(self, world: Messages) -> str:
        if world.resend is None:
            return "two messages wait on the network"
        disk = world.store.disk
        parts = [f"the account is {'up' if world.up else 'down'}, confirmed {world.network.confirmed}"]
        for place in range(COUNT):
            message, reply = world.incoming[place], world.outgoing[place]
            rows = f"disk {_told(disk.inbox[place])} and {_told(disk.outbox[place])}"
            machines = ", ".join(str(one.state.value) for one in (message, reply) if one is not None) or "no machine"
            parts.append(f"message {place}: {rows}, {machines}, {'' if world.network.sent[place] else 'not '}sent")
        return "; ".join(parts)

    # The process

    def boot(self, world: Messages) -> Messages:
        """What is on the disk, and nothing else: replies go on, messages are taken up in their order."""
        disk = world.store.disk
        fresh = Messages(
            world.budget,
            world.resend,
            offset=disk.offset,
            taken=disk.offset,
            store=Store(disk, None, disk),
            network=world.network,
        )
        for place in disk.unsent():
            kept = disk.outbox[place]
            assert kept is not None, "what is unsent is there"
            fresh = self._open_reply(fresh, place, kept)
        unfinished = disk.unfinished()
        # The first may have been in the middle of being handled in the life that has ended.
        return self._admit(self._admit(fresh, unfinished[:1], lives=1), unfinished[1:])

    def _admit(self, world: Messages, places: list[int], lives: int = 0) -> Messages:
        for place in places:
            row = world.store.memory.inbox[place]
            assert row is not None, "what is admitted is in the store"
            one = self._incoming.begin(row.attempts + lives)
            world = replace(world, incoming=_put(world.incoming, place, one))
        return world

    def _open_reply(self, world: Messages, place: int, kept: Outbox) -> Messages:
        """It stands in line, and is told so; what that breaks is a defect of the world, not of a table."""
        one = self._outgoing.begin(kept, resend=bool(world.resend))
        world = replace(world, outgoing=_put(world.outgoing, place, one), lane=(*world.lane, place))
        return self._tell_reply(world, place, one, out.RESUMED)[0]

    # Receiving

    def _receiving(self, world: Messages) -> Iterator[Move[Messages]]:
        if not world.up or any(accept.live for accept in world.accepts):
            return
        network = replace(world.network, confirmed=max(world.network.confirmed, world.offset))
        inbox = world.store.disk.inbox
        broken = (CONFIRMED_IS_KEPT,) if None in inbox[: network.confirmed] else ()
        for offset in range(world.offset, COUNT + 1):
            polled = replace(world, network=network)
            if offset > world.offset:
                polled = self.accept(polled, offset)
            label = f"a poll confirms {world.offset} and brings {offset - world.offset}"
            yield Move(label, polled, owed=offset in (world.offset, COUNT), broken=broken)

    def accept(self, world: Messages, offset: int) -> Messages:
        """Messages and the offset behind them are written, as one; whoever brought them waits for the commit.

        Those that nobody can know already are begun with meanwhile: what comes of them is written after them.
        """
        memory, fresh = world.store.memory.receive(offset)
        early = world.offset >= world.taken
        accepts = (*world.accepts, Accept(offset, frozenset() if early else fresh))
        world = replace(_remember(world, memory), accepts=accepts, taken=max(world.taken, offset))
        return self._admit(world, sorted(fresh)) if early else world

    # The store

    def _committing(self, world: Messages) -> Iterator[Move[Messages]]:
        store = world.store
        if store.flying is not None:
            yield Move("the commit is done", self._commit(world))
        elif store.memory != store.disk or any(map(_waits_for_commit, world.outgoing)) or world.accepts:
            taken = replace(store, flying=store.memory)
            accepts = tuple(replace(accept, flying=True) for accept in world.accepts)
            outgoing = tuple(map(committing, world.outgoing))
            yield Move("a commit begins", replace(world, store=taken, accepts=accepts, outgoing=outgoing))

    def _commit(self, world: Messages) -> Messages:
        flying = world.store.flying
        assert flying is not None, "a commit was begun"
        done = [accept for accept in world.accepts if accept.flying]
        world = replace(
            world,
            store=replace(world.store, disk=flying, flying=None),
            accepts=tuple(accept for accept in world.accepts if not accept.flying),
            outgoing=tuple(map(committed, world.outgoing)),
        )
        for accept in done:
            world = self._admit(replace(world, offset=accept.offset), sorted(accept.fresh))
        return world

    # Handling

    def _handling(self, world: Messages, place: int) -> Iterator[Move[Messages]]:
        one = world.incoming[place]
        if one is None:
            return
        ways = [*self._incoming.ways(one)]
        if self._incoming.waits_for_its_turn(one) and self.has_turn(world, place):
            ways += self._incoming.turns(one)
        for way in ways:
            if way.cost <= world.budget:
                spent = replace(world, budget=world.budget - way.cost)
                after: Messages = replace(spent, incoming=_put(spent.incoming, place, way.before))
                broken: tuple[str, ...] = ()
                if way.event is not None:
                    after, broken = self._tell_message(after, place, way.before, way.event)
                yield Move(f"message {place} {way.label}", after, way.owed, broken)

    def has_turn(self, world: Messages, place: int) -> bool:
        """The messages before it have ended."""
        return not any(world.incoming[:place])

    def _tell_message(self, world: Messages, place: int, one: In, event: Event) -> tuple[Messages, tuple[str, ...]]:
        fired = self._incoming.fire(one, event)
        world, broken = replace(world, incoming=_put(world.incoming, place, fired.after)), fired.broken
        for effect in fired.effects:
            if isinstance(effect, Finish):
                world = self.finish(world, place, effect)
            elif isinstance(effect, Handle):
                earlier = world.store.memory.inbox[:place]
                waits = any(row is not None and row.state == "received" for row in earlier)
                broken += (IN_ORDER,) if waits else ()
                if effect.lives:
                    world = _remember(world, world.store.memory.take_up(place, effect.lives))
        return world, broken

    def finish(self, world: Messages, place: int, effect: Finish) -> Messages:
        """The end of a message and its reply are written, as one."""
        one = world.incoming[place]
        assert one is not None, "what is finished was there"
        memory = world.store.memory.finish(place, effect.outcome, one.data.attempt, replies=bool(effect.replies))
        world = replace(_remember(world, memory), incoming=_put(world.incoming, place, None))
        return self._open_reply(world, place, Outbox()) if effect.replies else world

    # Sending

    def _sending(self, world: Messages, place: int) -> Iterator[Move[Messages]]:
        one = world.outgoing[place]
        if one is None:
            row = world.store.disk.outbox[place]
            if world.budget and row is not None and row.state == "dead":
                yield self._reopen(replace(world, budget=world.budget - 1), place, row)
            return
        ways = [*self._outgoing.ways(one, up=world.up)]
        if world.up and place in world.ready and self.may_go(world, place):
            ways += self._outgoing.turns(one)
        for way in ways:
            if way.cost <= world.budget:
                spent = replace(world, budget=world.budget - way.cost)
                after: Messages = replace(spent, outgoing=_put(spent.outgoing, place, way.before))
                broken: tuple[str, ...] = ()
                if way.event is not None:
                    after, broken = self._tell_reply(after, place, way.before, way.event)
                if way.arrives is not None:
                    after, broken = self._arrive(after, place, marked=way.arrives.marked)
                yield Move(f"reply {place} {way.label}", after, way.owed, broken)

    def may_go(self, world: Messages, place: int) -> bool:
        """It is the first of those that are to be sent."""
        return world.lane[:1] == (place,)

    def _reopen(self, world: Messages, place: int, row: Outbox) -> Move[Messages]:
        """A person wants one that was given up."""
        one = self._outgoing.begin(row, resend=bool(world.resend))
        after, broken = self._tell_reply(world, place, one, RetryRequested(out.PERSON, out.EXPIRES_AT))
        return Move(f"reply {place} is wanted by a person after all", after, owed=False, broken=broken)

    def _arrive(self, world: Messages, place: int, *, marked: bool) -> tuple[Messages, tuple[str, ...]]:
        sent, made_way = world.network.sent, world.network.made_way
        waits = any(not (sent[other] or other in made_way or world.outgoing[other] is None) for other in range(place))
        broken = ((SENT_ONCE,) if sent[place] and not marked else ()) + ((IN_ORDER,) if waits else ())
        network = replace(world.network, sent=_put(sent, place, True))
        return replace(world, network=network), broken

    def _tell_reply(self, world: Messages, place: int, one: Out, event: Event) -> tuple[Messages, tuple[str, ...]]:
        fired = self._outgoing.fire(one, event)
        world = replace(world, outgoing=_put(world.outgoing, place, fired.after))
        if not self._outgoing.is_queued(fired.after):
            world = replace(world, ready=world.ready - {place})
        for effect in fired.effects:
            world = self.perform(world, place, fired.after, effect)
        if self._says_sent(world, place):
            return world, (*fired.broken, REPLIED)
        return world, fired.broken

    def _says_sent(self, world: Messages, place: int) -> bool:
        """The store says that it was sent, and the network has it not."""
        row = world.store.memory.outbox[place]
        return row is not None and row.state == "sent" and not world.network.sent[place]

    def perform(self, world: Messages, place: int, one: Out, effect: Effect) -> Messages:
        match effect:
            case Send(marked=marked):
                return _remember(world, world.store.memory.mark(place, Outbox("sending", marked)))
            case Keep(state=state, marked=marked):
                return _remember(world, world.store.memory.mark(place, Outbox(state, marked)))
            case LineUp():
                lane = world.lane if place in world.lane else (*world.lane, place)
                return replace(world, lane=lane, ready=world.ready | {place})
            case MakeWay():
                lane = tuple(other for other in world.lane if other != place)
                network = replace(world.network, made_way=world.network.made_way | {place})
                ended = self._outgoing.has_ended(one)
                return replace(
                    world, lane=lane, ready=world.ready - {place}, network=network,
                    outgoing=_put(world.outgoing, place, None) if ended else world.outgoing,
                )  # fmt: skip
        return world


def _waits_for_commit(one: Out | None) -> bool:
    return one is not None and any(sending.stage is out.Stage.WRITTEN for sending in one.sendings)


def _remember(world: Messages, memory: Image) -> Messages:
    """Something is written: it is on the disk with a later commit."""
    return replace(world, store=replace(world.store, memory=memory))


def _told(row: Any) -> str:
    return "nothing" if row is None else str(row.state)


def _put(things: tuple[Any, ...], place: int, thing: Any) -> tuple[Any, ...]:
    return (*things[:place], thing, *things[place + 1 :])
