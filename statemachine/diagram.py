"""Pictures of a machine, drawn from its built table: Mermaid text for a review, DOT and SVG for the eye.

`python -m statemachine render` writes them, `check` compares them, and the admin page shows the SVG.

How the SVG keeps 50 rows readable on one page:
a row that keeps its state is a line in that state's box, and a row that moves is a line beside an arrow;
rows with several sources belong to one dashed box for all of these, so every row is there exactly once.

What a page can light up: `state-<value>` is the id of a state, `row-<number>` of a row's text,
and every arrow has the classes `row-<number>` of the rows that it stands for.
"""

from __future__ import annotations

import hashlib
import importlib
import re
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from html import escape
from textwrap import wrap
from types import ModuleType
from typing import Any, NamedTuple

from statemachine._machine import Outcome, Row
from statemachine.describe import Kind, MachineClass, digest, docstrings, group_name, kind_of, row_words
from statemachine.errors import DrawingError


class Colours(NamedTuple):
    """Of one kind of state."""

    fill: str
    line: str


COLOURS = {
    Kind.STABLE: Colours("#e3f4e1", "#2f7d32"),
    Kind.WORKING: Colours("#e1edfb", "#2f5f9e"),
    Kind.WAITING: Colours("#fdf1d3", "#a8741a"),
    Kind.FAILED: Colours("#fbe1df", "#b3362c"),
    Kind.FINAL: Colours("#ececec", "#555555"),
}
INK, GREY, BROWN, BLUE, PALE = "#1c1c1c", "#666666", "#8a4b0f", "#2453a6", "#a3a3a3"
FONT = "Helvetica,Arial,sans-serif"

KEY = (
    f"<B>event</B> <FONT COLOR='{BROWN}'>[guards, all of which must hold]</FONT> "
    f"<FONT COLOR='{BLUE}'>/ effects, in this order</FONT>. "
    "The small number is the row's: of those that fit, the lowest is taken.",
    "A row inside a box keeps the state. A row in or from a dashed box is valid in each state named there.",
)
"""The legend's two lines, as Graphviz labels."""

LINKED = 4
"""A dashed box for more states than this has no lines to them: they would cross the whole page to say what it says."""

Numbered = tuple[int, Row[Any]]


class RowLook(NamedTuple):
    """How one row is shown: on this colour, with this note behind its event."""

    colour: str
    note: str


class Look(NamedTuple):
    """What a picture tells of rows and states beside what they are; `gateway` and its page need none.

    `legend` says what each colour means, the gravest last: an arrow that stands for several rows has the gravest of theirs.
    """

    rows: Mapping[int, RowLook] = {}
    states: Mapping[Enum, str] = {}
    legend: tuple[tuple[str, str], ...] = ()

    def colour_of(self, rows: Iterable[int]) -> str | None:
        """Of an arrow that stands for these rows."""
        colours = {self.rows[number].colour for number in rows if number in self.rows}
        return next((colour for colour, _ in reversed(self.legend) if colour in colours), None)


PLAIN = Look()


# Mermaid


def mermaid(machine: MachineClass) -> str:
    """A `stateDiagram-v2`: one line for each row and source, in the order of the table.

    `SOURCE --> DEST: row` moves; `STATE: row` keeps the state and is listed inside its box.
    """
    documented = docstrings(machine.states)
    lines = [
        "%% Written from the table by `make diagrams`. Do not edit: edit the table.",
        f"%% {machine.kind}: {len(machine.states)} states, {len(machine.table)} rows",
        "stateDiagram-v2",
    ]
    for kind, colours in COLOURS.items():
        lines.append(f"    classDef {kind.value} fill:{colours.fill},stroke:{colours.line},color:{INK}")
    for state in machine.states:
        lines.append(f"    %% {documented.get(state.name, '')}".rstrip())
        lines.append(f'    state "{state.name}" as {state.name}')
        lines.append(f"    class {state.name} {kind_of(machine, state).value}")
    lines.append(f"    [*] --> {machine.initial.name}")
    lines += [f"    {line}" for row in machine.table for line in mermaid_lines(row)]
    return "\n".join(lines) + "\n"


def mermaid_lines(row: Row[Any]) -> list[str]:
    """The lines of one row, one for each of its sources."""
    arrow = f" --> {row.dest.name}" if row.dest else ""
    outcome = "" if row.outcome is Outcome.DONE else f" ({row.outcome.value})"
    return [f"{source.name}{arrow}: {row_words(row)}{outcome}" for source in row.sources]


# DOT


def dot(machine: MachineClass, current: Enum | None = None, look: Look = PLAIN) -> str:
    """The picture as DOT. `current` is drawn with a heavy border."""
    lines = [
        f'digraph "{machine.kind}" {{',
        f'  graph [rankdir=TB, nodesep=0.2, ranksep=0.2, fontname="{FONT}", fontsize=9, labelloc=t, bgcolor=white,',
        f"    label=<{_heading(machine, look)}>];",
        f'  node [shape=plain, fontname="{FONT}", fontsize=9, fontcolor="{INK}"];',
        f'  edge [fontname="{FONT}", fontsize=9, fontcolor="{INK}", color="#444444", arrowsize=0.7];',
        # First, because Graphviz takes the way from here as the way down.
        '  initial [shape=point, width=0.12, label=""];',
        f'  initial -> "{machine.initial.name}";',
        *(_state(machine, state, look, is_current=state is current) for state in machine.states),
        *_groups(machine, look),
        *_arrows(machine, look),
        "}",
    ]
    return "\n".join(lines) + "\n"


def _heading(machine: MachineClass, look: Look) -> str:
    meanings = docstrings(Kind)
    kinds = [kind for kind in Kind if any(kind_of(machine, state) is kind for state in machine.states)]
    legend = "".join(
        f'<TD BORDER="1" CELLPADDING="4" BGCOLOR="{COLOURS[kind].fill}" COLOR="{COLOURS[kind].line}">'
        f"<B>{kind.value}:</B> {meanings[kind.name]}</TD>"
        for kind in kinds
    )
    about = (machine.__doc__ or "").partition("\n")[0].replace("`", "")
    lines = [_font(f"<B>{machine.kind}</B>", size=22), _font(escape(about), size=11), *(_font(key) for key in KEY)]
    span = f'COLSPAN="{len(kinds)}"'
    head = "".join(f"<TR><TD {span}>{line}</TD></TR>" for line in lines[:2])
    foot = f"<TR><TD {span}>{'<BR/>'.join(lines[2:])}</TD></TR>"
    for colour, meaning in look.legend:
        foot += f'<TR><TD {span} BORDER="1" CELLPADDING="4" BGCOLOR="{colour}">{escape(meaning)}</TD></TR>'
    return _table(f"{head}<TR>{legend}</TR>{foot}", spacing=4)


def _state(machine: MachineClass, state: Enum, look: Look, *, is_current: bool) -> str:
    kind, documented = kind_of(machine, state), docstrings(machine.states)
    about = [escape(line) for line in wrap(documented.get(state.name, "").replace("`", ""), 44)]
    heading = [_font(f"<B>{state.name}</B>", size=13), _font("<BR/>".join(about), GREY, 8)]
    if state in look.states:
        heading.append(_font(escape(look.states[state]), size=8))
    fill, line = COLOURS[kind]
    frame = f'STYLE="ROUNDED" BGCOLOR="{fill}" COLOR="{line}" BORDER="{3 if is_current else 1}"'
    label = _box(heading, _kept(machine, (state,)), frame, look)
    classes = f"state {kind.value}" + (" current" if is_current else "")
    return f'  "{state.name}" [id="state-{state.value}", class="{classes}", label=<{label}>];'


def _groups(machine: MachineClass, look: Look) -> Iterator[str]:
    """A dashed box for each set of states that has rows in common, and lines to it from its members."""
    moving = {_sources(machine, row) for row in machine.table if row.dest}
    groups = dict.fromkeys(_sources(machine, row) for row in machine.table)
    for group in (group for group in groups if len(group) > 1):
        name, members = group_name(machine, group), ", ".join(state.name for state in group)
        heading = ["in any of" + ("" if name == members else f" <B>{name}</B>")]
        heading.append(_font("<BR/>".join(wrap(members, 44)), GREY, 8))
        label = _box(heading, _kept(machine, group), f'STYLE="DASHED" COLOR="{GREY}" BORDER="1"', look)
        yield f'  "{_origin(group)}" [id="group-{_slug(group)}", class="group", label=<{label}>];'
        if group in moving:
            linked = len(group) <= LINKED
            # The one invisible line keeps a large group's box in the flow.
            line = f'style=dashed, color="{PALE}", arrowhead=none' if linked else "style=invis"
            for state in group if linked else group[:1]:
                yield f'  "{state.name}" -> "{_origin(group)}" [class="member", {line}];'


def _arrows(machine: MachineClass, look: Look) -> Iterator[str]:
    """One arrow from a state or a box to a state, with the text of every row that it stands for."""
    arrows: dict[tuple[tuple[Enum, ...], Enum], list[Numbered]] = {}
    for number, row in enumerate(machine.table):
        if row.dest:
            arrows.setdefault((_sources(machine, row), row.dest), []).append((number, row))
    for (sources, dest), rows in arrows.items():
        classes = " ".join(["arrow", *(f"row-{number}" for number, _ in rows)])
        label = _table("".join(_row(numbered, 30, look) for numbered in rows), padding=4)
        colour = look.colour_of(number for number, _ in rows)
        drawn = f'color="{colour}", penwidth=2.5, ' if colour else ""
        yield (
            f'  "{_origin(sources)}" -> "{dest.name}" '
            f'[id="arrow-{_slug((*sources, dest))}", class="{classes}", {drawn}label=<{label}>];'
        )


def _sources(machine: MachineClass, row: Row[Any]) -> tuple[Enum, ...]:
    """In the order of the enum: two rows from the same states share a box, however they list them."""
    return tuple(state for state in machine.states if state in row.sources)


def _kept(machine: MachineClass, sources: tuple[Enum, ...]) -> list[Numbered]:
    """The rows that keep the state, of exactly these sources."""
    rows = enumerate(machine.table)
    return [(number, row) for number, row in rows if row.dest is None and _sources(machine, row) == sources]


def _origin(sources: tuple[Enum, ...]) -> str:
    """The node from which the rows of these sources leave."""
    return " or ".join(state.name for state in sources)


def _slug(states: Iterable[Enum]) -> str:
    return "-".join(str(state.value) for state in states)


def _box(heading: list[str], rows: list[Numbered], frame: str, look: Look) -> str:
    body = "".join(f"<TR><TD>{line}</TD></TR>" for line in heading)
    if rows:
        body += "<HR/>" + "".join(_row(numbered, 56, look) for numbered in rows)
    return _table(body, frame, padding=4)


def _row(numbered: Numbered, width: int, look: Look) -> str:
    """A row's text as a table row: number and event, then guards, then effects, on lines of their own."""
    number, row = numbered
    outcome = "" if row.outcome is Outcome.DONE else " " + _font(f"<I>{row.outcome.value}</I>", GREY, 8)
    shown = look.rows.get(number)
    note = " " + _font(escape(shown.note), size=8) if shown else ""
    lines = [f"{_font(str(number), GREY, 7)} <B>{row.on.trigger}</B>{outcome}{note}"]
    lines += [_font(line, BROWN) for line in wrap(" ".join(f"[{name}]" for name in row.guards), width)]
    lines += [_font(line, BLUE) for line in wrap(f"/ {', '.join(row.effects)}", width) if row.effects]
    text = "".join(f'{line}<BR ALIGN="LEFT"/>' for line in lines)
    title = escape(f"row {number}: {row_words(row)}")
    colour = f' BGCOLOR="{shown.colour}"' if shown else ""
    return f'<TR><TD ALIGN="LEFT" BALIGN="LEFT" ID="row-{number}" TITLE="{title}"{colour}>{text}</TD></TR>'


def _table(body: str, frame: str = 'BORDER="0"', *, padding: int = 1, spacing: int = 0) -> str:
    return f'<TABLE {frame} CELLBORDER="0" CELLSPACING="{spacing}" CELLPADDING="{padding}">{body}</TABLE>'


def _font(text: str, colour: str = INK, size: int = 9) -> str:
    return f'<FONT COLOR="{colour}" POINT-SIZE="{size}">{text}</FONT>' if text else ""


# SVG


def svg(machine: MachineClass, look: Look = PLAIN) -> bytes:
    """The picture. Text widths are those of this machine's fonts, so compare `stamp()`, not bytes."""
    drawn = _graphviz().AGraph(string=dot(machine, look=look)).draw(format="svg", prog="dot").decode()
    picture = drawn[drawn.index("<svg") :]
    picture = picture.replace(
        '<g id="graph0"', f'<metadata id="stamp">{stamp(machine, look)}</metadata>\n<g id="graph0"', 1
    )
    # Graphviz makes an anchor of each titled cell, to carry the title; there is nothing to go to.
    anchor, row = r'<g id="a_row&#45;(\d+)"><a xlink:title="([^"]*)">', r'<g id="row-\1" class="row"><title>\2</title>'
    picture = re.sub(anchor, row, picture)
    return ('<?xml version="1.0" encoding="UTF-8"?>\n' + picture.replace("</a>\n", "")).encode()


def stamp(machine: MachineClass, look: Look = PLAIN) -> str:
    """What an SVG says it was drawn from: the digest of the table, and that of the drawing of it."""
    return (
        f"table sha256:{digest(machine)} drawing sha256:{hashlib.sha256(dot(machine, look=look).encode()).hexdigest()}"
    )


def _graphviz() -> ModuleType:
    try:
        return importlib.import_module("pygraphviz")
    except ImportError as error:
        raise DrawingError(
            "an SVG needs pygraphviz, which brings Graphviz along and is installed for development only: "
            "run `make diagrams`, or `pip install pygraphviz`; Mermaid and DOT need nothing"
        ) from error
