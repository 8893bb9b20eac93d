"""A run's own journal, through the tables again, and held against the machines as they stand."""

from __future__ import annotations

import json

from gateway.dispatcher import Dispatcher
from gateway.export import exported, header
from gateway.journal import KEPT, Journal
from statemachine import MACHINES
from statemachine.record import plain
from statemachine.replay import Replay, recorded


def replay_again(journal: Journal, dispatcher: Dispatcher) -> Replay:
    """As a file would be: every entry leads where it led, and in the end every machine knows what it knows."""
    entries = journal.page(0, KEPT)
    replay = Replay(whole=not header(journal, entries, "a boot")["cut"])
    for data in exported(journal, entries):
        difference = replay.take(recorded(json.loads(json.dumps(data))))
        assert difference is None, str(difference)
    for machine in (machine for kind in MACHINES for machine in dispatcher.machines(kind).values()):
        name = machine.name
        # One that nobody has spoken to yet is in no entry.
        if name in replay.machines:
            again = replay.machines[name]
            assert again.state is machine.state, f"{name} is {machine.state.value}, and {again.state.value} again"
            assert plain(again.data, str) == plain(machine.data, journal.seal), f"{name} knows something else"
    return replay
