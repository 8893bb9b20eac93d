"""Commands that look at the running gateway, or tell it something."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from gateway.cli.commands.common import LOOK, TOOLS, UNSET, AsJson, Command, ConfigFile, StateDir
from gateway.cli.commands.names import accounts, machines, methods, tickets


def status(
    config: ConfigFile = UNSET,
    state_dir: StateDir = UNSET,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on until it is interrupted: drawn anew, or a line a change in a pipe.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Say where the gateway is, what is wrong and what mends it.

    The lifecycle and since when, what waits and for how long, why not all is well, and how each account is.
    """
    from gateway.cli import status as seen

    return seen.status(config, state_dir, watch=watch, as_json=as_json)


def open_(
    config: ConfigFile = UNSET,
    state_dir: StateDir = UNSET,
    only_print: Annotated[bool, typer.Option("--print", help="Print address and code, and open nothing.")] = False,
    as_json: AsJson = False,
) -> int:
    """Open the page in a browser, signed in by a one-time code.

    The link and the code are printed. The code signs in once, and soon no more.
    """
    from gateway.cli import open as page

    return page.open_page(config, state_dir, only_print=only_print, as_json=as_json)


def channels(
    action: Annotated[
        Literal["list", "start", "stop", "restart"], typer.Argument(help="What to do.", metavar="ACTION")
    ] = "list",
    account: Annotated[
        str | None,
        typer.Argument(metavar="CHANNEL/ACCOUNT", help="Which one, like telegram/main.", autocompletion=accounts),
    ] = None,
    config: ConfigFile = UNSET,
    state_dir: StateDir = UNSET,
    as_json: AsJson = False,
) -> int:
    """List the accounts; start, stop or restart one.

    ACTION is list, start, stop or restart. What a person has stopped stays stopped, over restarts too.
    What the account's machine does not allow now is refused, and what it allows is said.
    """
    from gateway.cli import operate

    return operate.channels(config, state_dir, action=action, account=account, as_json=as_json)


def restart(
    ticket: Annotated[
        str | None,
        typer.Argument(metavar="ID", help="With --cancel: which one (default: all).", autocompletion=tickets),
    ] = None,
    config: ConfigFile = UNSET,
    state_dir: StateDir = UNSET,
    delay: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="How long to wait first (default: gateway.restart.delay_ms)."),
    ] = None,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for the log and for who is connected.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Do not wait for work that is under way.")] = False,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Call a restart off: the one with this ID, or all that are pending.")
    ] = False,
    wait: Annotated[
        bool | None,
        typer.Option(
            "--wait/--no-wait", help="Wait until it has restarted (default: on a terminal).", show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Ask for a restart, or call one off.

    It waits for its time and for work that is under way. The process, its port and who waits at it stay.
    """
    from gateway.cli import operate

    if ticket is not None and not cancel:
        raise typer.BadParameter(
            f"{ticket!r} names a restart that is to be called off: `gateway restart --cancel {ticket}`"
        )
    if cancel:
        return operate.cancel(config, state_dir, ticket=ticket, as_json=as_json)
    return operate.restart(config, state_dir, delay=delay, reason=reason, force=force, wait=wait, as_json=as_json)


def journal(
    config: ConfigFile = UNSET,
    state_dir: StateDir = UNSET,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with what comes, until it is interrupted.")] = False,
    limit: Annotated[int, typer.Option(metavar="N", help="How many of the newest.")] = 20,
    after: Annotated[int | None, typer.Option(metavar="SEQ", help="All from behind this number instead.")] = None,
    machine: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Of one machine alone, like gateway or telegram/main.", autocompletion=machines
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The entries as JSON, one a line.")] = False,
) -> int:
    """Show the newest steps and refusals, each with its cause."""
    from gateway.cli import operate

    return operate.journal(config, state_dir, follow=follow, limit=limit, after=after, machine=machine, as_json=as_json)


def diagram(
    machine: Annotated[
        str,
        typer.Argument(
            metavar="MACHINE",
            help="gateway, an account like telegram/main; or a kind, like delivery, with no state lit.",
            autocompletion=machines,
        ),
    ] = "gateway",
    config: ConfigFile = UNSET,
    state_dir: StateDir = UNSET,
    svg: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the picture there instead.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The Mermaid text as JSON, with kind and state.")] = False,
) -> int:
    """Print a machine's diagram as Mermaid, or write it as SVG.

    The state in which the machine is now is lit. A kind of machine needs no running gateway.
    """
    from gateway.cli import diagram as pictures

    return pictures.diagram(config, state_dir, machine=machine, svg=svg, as_json=as_json)


def call(
    method: Annotated[str, typer.Argument(metavar="METHOD", help="Its name, like config.get.", autocompletion=methods)],
    params: Annotated[
        str, typer.Argument(metavar="PARAMS", help="A JSON object; @FILE, or - for the standard input.")
    ] = "{}",
    config: ConfigFile = UNSET,
    state_dir: StateDir = UNSET,
    as_json: Annotated[bool, typer.Option("--json", help="The answer is JSON with it and without it.")] = False,  # noqa: ARG001
) -> int:
    """Call a method of the WebSocket protocol.

    Its answer is printed as JSON. What there is to call is in the AsyncAPI document at /api/v1/asyncapi.json.
    """
    from gateway.cli import call as protocol

    return protocol.call(config, state_dir, method=method, params=params)


COMMANDS = (
    Command(status, LOOK, (
        ("gateway status", ""),
        ("gateway status --watch", "drawn anew, until Ctrl-C"),
        ("gateway status --json | jq .state", "one word for a script"),
    )),
    Command(open_, LOOK, (
        ("gateway open", "in the browser of this machine"),
        ("gateway open --print", "for a browser elsewhere"),
    )),
    Command(channels, LOOK, (
        ("gateway channels", "a row for each account"),
        ("gateway channels stop telegram/main", "until a person starts it again"),
        ("gateway channels restart telegram/main", ""),
    )),
    Command(restart, LOOK, (
        ("gateway restart --reason 'a new version'", "after the delay of the config"),
        ("gateway restart --delay 0 --force", "now, whatever is under way"),
        ("gateway restart --cancel", "call off all that are pending"),
    ), ((0, "asked for; with --wait: done"), (1, "refused, failed or called off: why is said"), (2, "wrong usage"))),
    Command(journal, LOOK, (
        ("gateway journal --limit 100", ""),
        ("gateway journal --follow --machine telegram/main", "what becomes of one account"),
        ("gateway journal --after 0 --json", "all that is kept, for a program"),
    )),
    Command(diagram, TOOLS, (
        ("gateway diagram", "the lifecycle, as Mermaid"),
        ("gateway diagram telegram/main --svg main.svg", "an account, as a picture"),
        ("gateway diagram delivery", "a kind of machine"),
    )),
    Command(call, TOOLS, (
        ("gateway call health", ""),
        ("gateway call config.schema.lookup '{\"path\": \"gateway.admin.port\"}'", ""),
        ("gateway call config.patch @patch.json", "params of a file"),
    ), ((0, "answered"), (1, "refused: what the gateway says is printed"), (2, "PARAMS is no JSON object; or wrong usage"))),
)  # fmt: skip
