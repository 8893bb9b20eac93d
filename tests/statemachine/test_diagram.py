"""The pictures: complete, of the present table, and found out when they are not."""

from __future__ import annotations

import importlib
import re
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from statemachine import MACHINES, Channel, Lifecycle
from statemachine.__main__ import main
from statemachine._machine import Outcome, Row, guard
from statemachine.channel import ChannelState
from statemachine.channel_events import Start, Stop
from statemachine.check import outdated
from statemachine.describe import Kind, MachineClass, digest, docstrings, facts, group_name, kind_of, row_words
from statemachine.diagram import PLAIN, Look, RowLook, dot, mermaid, stamp, svg
from statemachine.errors import DrawingError
from statemachine.lifecycle import LifecycleState

from .job import Job, altered

machines = pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.kind)


@pytest.fixture(scope="module")
def drawn() -> dict[str, bytes]:
    pytest.importorskip("pygraphviz")
    return {machine.kind: svg(machine) for machine in MACHINES}


# What a table says


@machines
def test_every_state_is_explained(machine):
    assert all(docstrings(machine.states)[state.name] for state in machine.states)


def test_docstrings_are_those_under_the_members():
    assert docstrings(ChannelState)["STOPPED"] == "No receiver, and none wanted."
    assert docstrings(Kind).keys() == {kind.name for kind in Kind}


def test_the_gravest_kind_wins():
    assert kind_of(Lifecycle, LifecycleState.STOPPED) is Kind.FINAL
    assert kind_of(Lifecycle, LifecycleState.STARTING) is Kind.WORKING
    assert kind_of(Lifecycle, LifecycleState.RESTART_PENDING) is Kind.WAITING
    assert kind_of(Lifecycle, LifecycleState.RUNNING) is Kind.STABLE
    assert kind_of(Channel, ChannelState.STOP_OVERDUE) is Kind.FAILED, "although it has exits"


def test_a_group_has_the_name_that_its_module_gives_it():
    assert group_name(Channel, (ChannelState.RUNNING, ChannelState.STARTING)) == "OPEN"
    assert group_name(Channel, (ChannelState.RUNNING, ChannelState.STOPPED)) == "RUNNING, STOPPED"


@pytest.mark.parametrize(
    "changes",
    [
        {"table": Job.table[:-1]},
        {"table": (*Job.table[:-1], replace(Job.table[-1], outcome=Outcome.COALESCED))},
        {"table": (*Job.table[:-1], replace(Job.table[-1], guards=("is_first",)))},
        {"table": (Job.table[-1], *Job.table[:-1])},
        {"waiting": frozenset()},
    ],
    ids=["a row less", "an outcome", "a guard", "the order", "a kind"],
)
def test_the_digest_changes_with_the_table(changes: dict[str, Any]):
    assert digest(altered(Job, **changes)) != digest(Job)


def test_the_digest_is_of_the_table_alone():
    def is_first(data: int, event: object) -> bool:
        return False

    assert digest(altered(Job, is_first=guard(is_first))) == digest(Job)


# Mermaid


@machines
def test_mermaid_has_one_line_for_each_row_and_source_in_order(machine):
    lines = [line.strip() for line in mermaid(machine).splitlines()]
    rows = lines[lines.index(f"[*] --> {machine.initial.name}") + 1 :]
    expected = [
        (f"{source.name} --> {row.dest.name}" if row.dest else source.name, row_words(row))
        for row in machine.table
        for source in row.sources
    ]
    assert [(where, re.sub(r" \((coalesced|deferred)\)$", "", what)) for where, _, what in split(rows)] == expected


def split(rows: list[str]) -> list[tuple[str, str, str]]:
    return [row.partition(": ") for row in rows]


@machines
def test_mermaid_names_every_state_its_kind_and_its_meaning(machine):
    text = mermaid(machine)
    for state in facts(machine)["states"]:
        assert f'state "{state["name"]}" as {state["name"]}\n' in text
        assert f"class {state['name']} {state['kind']}\n" in text
        assert f"%% {state['doc']}\n" in text


def test_mermaid_tells_what_a_row_means_to_its_sender():
    row = Row(Stop, ChannelState.STOPPED, None, effects=("note_stop",), outcome=Outcome.COALESCED)
    assert "    STOPPED: stop / note_stop (coalesced)\n" in mermaid(altered(Channel, table=(row,)))


# SVG


@machines
def test_svg_has_every_state_and_every_row_once(machine, drawn):
    ids = [element.get("id", "") for element in ET.fromstring(drawn[machine.kind]).iter()]
    states = [f"state-{state.value}" for state in machine.states]
    rows = [f"row-{number}" for number in range(len(machine.table))]
    assert sorted(name for name in ids if name.startswith(("state-", "row-"))) == sorted(states + rows)
    assert len(set(ids) - {""}) == len([name for name in ids if name])


@machines
def test_every_row_that_moves_has_its_arrow(machine, drawn):
    classes = [element.get("class", "").split() for element in ET.fromstring(drawn[machine.kind]).iter()]
    arrows = [name for names in classes if "arrow" in names for name in names if name.startswith("row-")]
    moving = [f"row-{number}" for number, row in enumerate(machine.table) if row.dest]
    assert sorted(arrows) == sorted(moving)


@machines
def test_svg_holds_the_digest_and_says_all_that_the_table_says(machine, drawn):
    assert f"table sha256:{digest(machine)} ".encode() in drawn[machine.kind]
    titles = [element.text for element in ET.fromstring(drawn[machine.kind]).iter() if "title" in element.tag]
    for number, row in enumerate(machine.table):
        assert f"row {number}: {row_words(row)}" in titles


def test_svg_goes_nowhere(drawn):
    """It is put into the admin page: no link, no script, nothing that is fetched."""
    for picture in drawn.values():
        assert not re.search(rb"<a[ >]|<script|<image|href=|<!DOCTYPE|\bon\w+=", picture)


def test_the_current_state_is_marked():
    plain, marked = dot(Channel), dot(Channel, ChannelState.BACKOFF)
    assert 'class="state waiting current"' in marked
    differing = [old for old, new in zip(plain.splitlines(), marked.splitlines(), strict=True) if old != new]
    assert [line.split()[0] for line in differing] == ['"BACKOFF"']


def test_without_graphviz_the_error_names_the_remedy(monkeypatch: pytest.MonkeyPatch):
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(DrawingError, match=r"pip install pygraphviz"):
        svg(Channel)


# In step


@pytest.fixture
def folder(tmp_path, drawn):
    for machine in MACHINES:
        (tmp_path / f"{machine.kind}.mmd").write_text(mermaid(machine), encoding="utf-8")
        (tmp_path / f"{machine.kind}.svg").write_bytes(drawn[machine.kind])
    return tmp_path


def longer(machine: MachineClass) -> MachineClass:
    return altered(machine, table=(*machine.table, Row(Start, machine.states["RUNNING"], None)))


def test_fresh_pictures_are_in_step(folder):
    assert outdated(MACHINES, folder) == []


def test_a_picture_of_an_older_table_is_found(folder):
    last = len(mermaid(Channel).splitlines()) + 1
    machines = [longer(machine) if machine is Channel else machine for machine in MACHINES]
    assert outdated(machines, folder) == [
        f"{folder}/channel.mmd: line 2 is not what the table says; run `make diagrams`",
        f"{folder}/channel.svg: it was drawn from another table, or otherwise; run `make diagrams`",
    ]
    (folder / "channel.mmd").write_text(mermaid(Channel) + "    STOPPED: more\n", encoding="utf-8")
    assert outdated(MACHINES, folder)[0].startswith(f"{folder}/channel.mmd: line {last} is not")


def test_missing_and_stray_pictures_are_found(folder):
    (folder / "channel.svg").rename(folder / "chanel.svg")
    assert outdated(MACHINES, folder) == [
        f"{folder}/channel.svg: there is none; run `make diagrams`",
        f"{folder}/chanel.svg: it is of no machine; remove it",
    ]


def test_check_answers_with_its_exit_code(folder, capsys):
    assert main(["check", "--out", str(folder)]) == 0
    assert re.fullmatch(r"7 machines, 49 states, \d+ rows: ok\n", capsys.readouterr().out)
    (folder / "lifecycle.svg").write_text("<svg/>", encoding="utf-8")
    assert main(["check", "--out", str(folder)]) == 1
    assert "lifecycle.svg: it was drawn from another table" in capsys.readouterr().out


def test_render_writes_what_check_accepts(tmp_path, capsys):
    pytest.importorskip("pygraphviz")
    out = tmp_path / "new"
    assert main(["render", "--out", str(out)]) == 0
    written = [str(out / f"{machine.kind}.{end}") for end in ("mmd", "svg") for machine in MACHINES]
    assert capsys.readouterr().out.splitlines() == written
    assert main(["check", "--out", str(out)]) == 0


def test_the_committed_pictures_are_in_step(request):
    assert outdated(MACHINES, request.config.rootpath / "diagrams") == []


# What a picture tells beside the table


GOOD, BAD = "#00aa00", "#aa0000"
TOLD = Look(
    {0: RowLook(GOOD, "12 times"), 22: RowLook(BAD, "never"), 21: RowLook(BAD, "no & never")},
    {ChannelState.RUNNING: "3 < 4 refused"},
    ((GOOD, "fired"), (BAD, "never fired")),
)


def test_a_look_colours_rows_and_says_something_of_states():
    told = dot(Channel, look=TOLD)
    assert f'ID="row-0" TITLE="row 0: {row_words(Channel.table[0])}" BGCOLOR="{GOOD}"' in told.replace("&amp;", "&")
    assert "12 times" in told
    assert "no &amp; never" in told
    assert "3 &lt; 4 refused" in told
    assert told.count("never fired") == 1


def test_an_arrow_has_the_gravest_colour_of_its_rows():
    (arrow,) = [line for line in dot(Channel, look=TOLD).splitlines() if 'class="arrow row-0 row-22"' in line]
    assert f'color="{BAD}", penwidth=2.5' in arrow
    assert TOLD.colour_of([0]) == GOOD
    assert TOLD.colour_of([1]) is None
    untold = [line for line in dot(Channel, look=TOLD).splitlines() if 'class="arrow row-2 row-3"' in line]
    assert "penwidth" not in untold[0]


def test_without_a_look_a_picture_is_what_it_was_and_its_stamp_tells_them_apart():
    assert dot(Channel, look=PLAIN) == dot(Channel)
    assert stamp(Channel, TOLD) != stamp(Channel)
    assert not any(colour in dot(Channel) for colour in (GOOD, BAD))


def test_a_look_can_be_drawn():
    pytest.importorskip("pygraphviz")
    drawn = svg(Channel, TOLD).decode()
    assert BAD in drawn
    assert stamp(Channel, TOLD) in drawn
