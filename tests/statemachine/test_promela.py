"""The model for Spin is made of the tables, row by row, and of nothing that they do not say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from statemachine import Channel, Lifecycle
from statemachine.__main__ import main
from statemachine._machine import Draft, action, guard
from statemachine.errors import VocabularyError
from statemachine.promela import channel, lifecycle, promela
from statemachine.spin import Verdicts, tell
from tests.debian import find_program
from tests.statemachine.builders import AnyMachine

MACHINES = (Lifecycle, Channel)
"""What Spin is given: the change machine is explored only."""
ROWS = [(machine, number) for machine in MACHINES for number in range(len(machine.table))]


def rows_in(model: str) -> Iterator[str]:
    yield from re.findall(r"(\w+: \w+ takes row \d+),", model)


def changed(machine: type[AnyMachine], table: tuple[object, ...], **more: object) -> str:
    made = type("Changed", (machine,), {"__module__": machine.__module__, "table": table, **more})
    return promela(**{f"{machine.kind}_class": made})  # type: ignore[arg-type]


def test_every_row_of_both_tables_is_there_and_no_other() -> None:
    expected = {f"{machine.kind}: {machine.table[number].on.trigger} takes row {number}" for machine, number in ROWS}
    assert set(rows_in(promela())) == expected


@pytest.mark.parametrize(("machine", "number"), ROWS, ids=lambda value: getattr(value, "kind", value))
def test_a_row_that_is_removed_is_missing(machine: type[AnyMachine], number: int) -> None:
    model = changed(machine, machine.table[:number] + machine.table[number + 1 :])
    last = len(machine.table) - 1
    assert {row.rsplit(" ", 1)[1] for row in rows_in(model) if row.startswith(machine.kind)} == set(
        map(str, range(last))
    )


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.kind)
def test_a_guard_that_is_dropped_is_missing(machine: type[AnyMachine]) -> None:
    """Each in turn: the model is then another one."""
    model = promela()
    for number, row in enumerate(machine.table):
        for name in row.guards:
            lighter = replace(row, guards=tuple(kept for kept in row.guards if kept != name))
            assert changed(machine, (*machine.table[:number], lighter, *machine.table[number + 1 :])) != model, (
                number,
                name,
            )


def test_the_vocabulary_has_no_word_that_the_tables_do_not_use() -> None:
    for machine, words in ((Lifecycle, lifecycle.vocabulary(3)), (Channel, channel.CHANNEL)):
        assert {name for row in machine.table for name in row.guards} == set(words.guards)
        used = {name for row in machine.table for name in row.effects}
        assert used <= set(words.actions)


def test_a_guard_without_a_translation_is_named() -> None:
    @guard
    def the_moon_is_full(_data: object, _event: object) -> bool:
        return True

    row = replace(Channel.table[2], guards=("the_moon_is_full",))
    with pytest.raises(
        VocabularyError, match=r"row 2 \(receiver_ready\): the guard 'the_moon_is_full' .*promela/channel\.py"
    ):
        changed(Channel, (*Channel.table[:2], row, *Channel.table[3:]), the_moon_is_full=the_moon_is_full)


def test_an_action_without_a_translation_is_named() -> None:
    @action
    def ring_a_bell(_draft: Draft[object], _event: object) -> None:
        pass

    row = replace(Lifecycle.table[0], effects=("ring_a_bell",))
    with pytest.raises(VocabularyError, match=r"row 0 \(boot\): the action 'ring_a_bell' .*promela/lifecycle\.py"):
        changed(Lifecycle, (row, *Lifecycle.table[1:]), ring_a_bell=ring_a_bell)


def test_the_command_writes_the_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["promela", "--channels", "2", "--budget", "1", "--out", str(tmp_path / "gateway.pml")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "gateway.pml")
    assert (tmp_path / "gateway.pml").read_text() == promela(accounts=2, budget=1)
    assert main(["promela"]) == 0
    assert capsys.readouterr().out == promela()


def test_the_command_runs_spin(capsys: pytest.CaptureFixture[str]) -> None:
    find_program("spin", "spin")
    find_program("gcc", "gcc")
    assert main(["promela", "--budget", "1", "--check"]) == 0
    assert "one receiver an account: holds" in capsys.readouterr().out


def test_the_command_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PATH", "")
    assert main(["promela", "--check"]) == 2
    assert capsys.readouterr().err == "spin is not installed: apt-get install spin\n"


def test_a_verdict_is_told_with_its_story() -> None:
    told = tell(Verdicts(7, 9, {"a stop arrives": ("-- somebody asks for a stop",)}, endless=True)).splitlines()
    assert told[0] == "7 states, 9 transitions"
    assert "one receiver an account: holds" in told
    assert told[told.index("a stop arrives: broken") + 1] == "  -- somebody asks for a stop"
    assert told[-1] == "a run without an end is possible"
