"""What the page computes without a document, run by Node: replaying the journal, and the order of a conversation."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from gateway.admin.http import PAGE
from tests.node.packages import NODE

SCRIPT = """
const { %(name)s } = await import("./%(module)s");
let given = "";
for await (const piece of process.stdin) given += piece;
console.log(JSON.stringify(JSON.parse(given).map((values) => %(name)s(...values) ?? null)));
"""
Entry = dict[str, Any]


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., list[Any]]:
    """What a function of the page's answers, for each of the calls."""

    def call(module: str, name: str, *calls: list[Any]) -> list[Any]:
        for script in PAGE.glob("*.js"):
            shutil.copy(script, tmp_path)
        (tmp_path / "package.json").write_text('{"type": "module"}')
        (tmp_path / "ask.js").write_text(SCRIPT % {"name": name, "module": module})
        done = subprocess.run(
            [NODE, "ask.js"], cwd=tmp_path, input=json.dumps(calls), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        answers: list[Any] = json.loads(done.stdout)
        return answers

    return call


def made_up(random: Random, length: int) -> list[Entry]:
    """A journal of three machines, which move, stay and refuse."""
    states = dict.fromkeys(("gateway", "telegram/main", "webchat/default"), "stopped")
    entries, seq = [], 0
    for _ in range(length):
        seq += random.randint(1, 3)
        machine = random.choice(list(states))
        before, after = states[machine], random.choice(("stopped", "starting", "running"))
        states[machine] = after
        entries.append({"seq": seq, "machine": machine, "before": before, "after": after})
    return entries


def standings(entries: list[Entry]) -> list[dict[str, dict[str, str]]]:
    """Where each machine is after each entry, going through them in order."""
    first = {entry["machine"]: entry["before"] for entry in reversed(entries)}
    now: dict[str, dict[str, str]] = {machine: {"state": state} for machine, state in first.items()}
    found = []
    for entry in entries:
        moved = {"previous": entry["before"]} if entry["before"] != entry["after"] else {}
        now = now | {entry["machine"]: now[entry["machine"]] | moved | {"state": entry["after"]}}
        found.append(now)
    return found


def test_a_replay_is_where_the_machines_were_at_each_entry(ask: Callable[..., list[Any]]) -> None:
    for seed in range(3):
        entries = made_up(Random(seed), 60)
        expected = standings(entries)
        places = [(index, machine) for index in range(len(entries)) for machine in expected[index]]
        found = ask("replay.js", "standingAt", *([entries, index, machine] for index, machine in places))
        assert found == [expected[index][machine] for index, machine in places], seed


def test_of_a_machine_without_entries_nothing_is_known(ask: Callable[..., list[Any]]) -> None:
    entries = made_up(Random(1), 5)
    assert ask("replay.js", "standingAt", [entries, 3, "telegram/other"]) == [{}]


def test_an_entry_is_found_by_its_number_or_the_last_before_it(ask: Callable[..., list[Any]]) -> None:
    entries = [{"seq": seq} for seq in (3, 4, 8)]
    calls = [[entries, seq] for seq in (1, 3, 4, 5, 7, 8, 9)] + [[[], 1]]
    assert ask("replay.js", "placeOf", *calls) == [0, 0, 1, 1, 1, 2, 2, 0]


def test_an_answer_stands_below_what_it_answers(ask: Callable[..., list[Any]]) -> None:
    """Whatever the clocks say: the network's is ahead, tells seconds only, and an answer may take its time."""
    messages = [{"number": number, "received_at": at} for number, at in ((3, 9_000), (2, 5_000), (1, 5_000))]
    deliveries = [
        {"id": number, "answers": answers, "created_at": at}
        for number, answers, at in ((14, None, 9_500), (13, 3, 8_000), (12, 2, 5_400), (11, 1, 9_900), (10, 0, 1_000))
    ]
    (lines,) = ask("conversation.js", "linesOf", [{"messages": messages, "deliveries": deliveries}])
    assert [line["key"] for line in lines] == ["out 10", "in 1", "out 11", "in 2", "out 12", "in 3", "out 13", "out 14"]
