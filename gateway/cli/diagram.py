"""`gateway diagram`: the picture of a machine, with the state lit in which it is now, where a gateway runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gateway.cli.client import CallError, Client, UnreachableError
from gateway.cli.exits import EXIT_FAILED, EXIT_OK, EXIT_USAGE, complain
from gateway.cli.plain import say, say_json
from gateway.dispatcher import LIFECYCLE
from statemachine import MACHINES, Channel, Lifecycle
from statemachine.diagram import mermaid

LIT = "#e65100"
KINDS = {machine.kind: machine for machine in MACHINES}


def diagram(config: Path, state_dir: Path, *, machine: str, svg: Path | None, as_json: bool) -> int:
    """Print Mermaid's text, or write the SVG."""
    kind = _kind_of(machine)
    if kind is None:
        complain(
            f"there is no machine {machine}; there are {', '.join(KINDS)}, and gateway, or an account like telegram/main"
        )
        return EXIT_USAGE
    try:
        # A kind is many machines: no gateway need run, and no state is lit. Its picture alone is asked for.
        client = None if machine in KINDS and svg is None else Client(config, state_dir.absolute())
        state = None if client is None or machine in KINDS else _state_of(client, machine)
        if client is not None and svg is not None:
            picture = client.read(f"/api/v1/machines/{quote(kind)}.svg").decode()
            svg.write_text(_lit_svg(picture, state), encoding="utf-8")
    except (CallError, UnreachableError, LookupError) as error:
        complain(str(error))
        return EXIT_FAILED
    except OSError as error:
        complain(f"{svg} cannot be written: {error.strerror}")
        return EXIT_FAILED
    _tell(machine, kind, state, svg, as_json=as_json)
    return EXIT_OK


def _tell(machine: str, kind: str, state: str | None, svg: Path | None, *, as_json: bool) -> None:
    """The text; nothing beside a picture that was written, but for a program."""
    text = _lit_mermaid(kind, state)
    if as_json:
        written = {} if svg is None else {"svg": str(svg)}
        say_json({"machine": machine, "kind": kind, "state": state, "mermaid": text, **written})
    elif svg is None:
        say(text.removesuffix("\n"))


def _kind_of(name: str) -> str | None:
    """Of a kind itself, of the gateway's own machine, or of an account's; None of anything else."""
    if name in KINDS:
        return name
    if name == LIFECYCLE:
        return Lifecycle.kind
    return Channel.kind if "/" in name else None


def _state_of(client: Client, name: str) -> str:
    """Where a machine is now. Raises LookupError for an account that is not there."""
    status: dict[str, Any] = client.call("GET", "/api/v1/status")
    if name == LIFECYCLE:
        return str(status["state"])
    states = {f"{row['channel']}/{row['account']}": str(row["state"]) for row in status["accounts"]}
    if name not in states:
        raise LookupError(f"there is no account {name}; there are {', '.join(states) or 'none'}")
    return states[name]


def _lit_mermaid(kind: str, state: str | None) -> str:
    text = mermaid(KINDS[kind])
    if state is None:
        return text
    name = next(each.name for each in KINDS[kind].states if each.value == state)
    return f"{text}    classDef now stroke:{LIT},stroke-width:6px\n    class {name} now\n"


def _lit_svg(picture: str, state: str | None) -> str:
    """Each state is a group with an id of its own; its outline is the path in it."""
    if state is None:
        return picture
    style = f'<style>[id="state-{state}"] > path {{ stroke: {LIT}; stroke-width: 8px }}</style>'
    return re.sub(r"(<svg\b[^>]*>)", rf"\1\n{style}", picture, count=1)
