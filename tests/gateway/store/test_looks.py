"""What people look at in the store, against the same found by going through everything."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random

import pytest

from gateway.messages.model import Message, Outgoing
from gateway.store.store import Store
from statemachine.delivery import DeliveryState
from tests.gateway.store.stores import IDENTITY, run

ACCOUNTS = ("telegram/a", "telegram/b", "webchat/default")
INCOMING = ("received", "handled", "unmatched", "refused", "dead")
OUTGOING = tuple(state.value for state in DeliveryState)


class Told:
    """A store in which much was said, and what was said in it."""

    def __init__(self, store: Store, seed: int) -> None:
        self.store = store
        self.random = Random(seed)
        self.incoming: list[tuple[Message, str]] = []
        self.outgoing: list[tuple[Outgoing, str]] = []

    async def fill(self) -> None:
        for at in range(100):
            channel, account = self.random.choice(ACCOUNTS).split("/")
            conversation = str(self.random.randrange(4))
            if self.random.random() < 0.5:
                message = Message(f"{at}", channel, account, conversation, "5", "ann", f"text {at}", at)
                (received,) = self.store.receive(IDENTITY, at, [message])
                state = self.random.choice(INCOMING)
                if state != "received":
                    self.store.finish(received.number, state, "", 1)
                self.incoming.append((message, state))
            else:
                number, state = self.store.next_number(), self.random.choice(OUTGOING)
                outgoing = Outgoing(number, f"{at}", channel, account, conversation, f"text {at}", at, 10)
                self.store.queue(outgoing)
                self.store.mark(number, state, 1)
                self.outgoing.append((outgoing, state))
        await self.store.committed()


@pytest.mark.parametrize("seed", range(3))
def test_they_are_all_there_and_no_other(tmp_path: Path, seed: int) -> None:
    async def main(store: Store) -> None:
        told = Told(store, seed)
        await told.fill()
        lasts_in = {(each.name, each.conversation): (each, state) for each, state in told.incoming}
        lasts_out = {(each.name, each.conversation): (each, state) for each, state in told.outgoing}
        for account in (None, *ACCOUNTS, "telegram/none"):
            found = await store.conversations(account, 1000)
            places = {place for place in (*lasts_in, *lasts_out) if account in (None, place[0])}
            assert {(each.account, each.conversation) for each in found} == places
            for each in found:
                place = (each.account, each.conversation)
                assert (each.received, each.said) == (lasts_in.get(place), lasts_out.get(place))
            times = [
                max(each.received[0].received_at if each.received else 0, each.said[0].created_at if each.said else 0)
                for each in found
            ]
            assert times == sorted(times, reverse=True)
            assert await store.conversations(account, 2) == found[:2]
            for state in INCOMING:
                wanted = [each.text for each, its in told.incoming if its == state and account in (None, each.name)]
                rows = await store.messages(state, 1000, account)
                assert [row["body"]["text"] for row in rows] == wanted[::-1]
            for state in OUTGOING:
                wanted = [each.text for each, its in told.outgoing if its == state and account in (None, each.name)]
                assert [each.outgoing.text for each in await store.outbox(state, 1000, account)] == wanted[::-1]
        expected = Counter(f"inbox.{state}" for _, state in told.incoming)
        expected += Counter(f"outbox.{state}" for _, state in told.outgoing)
        assert await store.counts() == expected

    run(main, tmp_path)


def test_of_an_empty_store_there_is_nothing_to_see(tmp_path: Path) -> None:
    async def main(store: Store) -> None:
        assert (await store.conversations(None, 10), await store.counts()) == ([], {})

    run(main, tmp_path)
