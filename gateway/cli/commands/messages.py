"""Commands about messages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from gateway.cli.commands.common import TALK, UNSET, AsJson, Command, ConfigFile, StateDir
from gateway.cli.commands.names import addresses


def send(
    to: Annotated[
        str,
        typer.Argument(
            metavar="ADDRESS",
            help="CHANNEL/ACCOUNT/CONVERSATION, like telegram/main/12345.",
            autocompletion=addresses,
        ),
    ],
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to say; - is the standard input.")],
    config: ConfigFile = UNSET,
    state_dir: StateDir = UNSET,
    key: Annotated[str, typer.Option(metavar="KEY", help="With a key that was used before nothing new is sent.")] = "",
    markup: Annotated[
        Literal["plain", "markdown", "html"], typer.Option("--format", help="How it is marked up.")
    ] = "plain",
    as_json: AsJson = False,
) -> int:
    """Send a message.

    It is answered when the message is kept; it is sent as soon as its account runs, also after a crash.
    """
    from gateway.cli import messages

    return messages.send(config, state_dir, to=to, text=text, key=key, markup=markup, as_json=as_json)


def outbox(
    action: Annotated[
        Literal["list", "retry", "discard"], typer.Argument(metavar="ACTION", help="What to do.")
    ] = "list",
    number: Annotated[int | None, typer.Argument(metavar="ID", help="Which one to retry or discard.")] = None,
    config: ConfigFile = UNSET,
    state_dir: StateDir = UNSET,
    state: Annotated[
        Literal["queued", "sending", "sent", "retry_wait", "unknown", "dead"] | None,
        typer.Option(help="Those of one state (default: neither sent nor dead)."),
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", help="How many.")] = 50,
    as_json: AsJson = False,
) -> int:
    """Say which messages are not sent yet; retry or discard one.

    ACTION is list, retry or discard. One that is `unknown` may have been sent and may not: a person must say.
    """
    from gateway.cli import messages

    return messages.outbox(config, state_dir, action=action, number=number, state=state, limit=limit, as_json=as_json)


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where the copy goes.")],
    config: ConfigFile = UNSET,  # noqa: ARG001 - every command takes both
    state_dir: StateDir = UNSET,
    as_json: Annotated[bool, typer.Option("--json", help="What was copied, as JSON.")] = False,
) -> int:
    """Copy the store with all messages, while the gateway goes on."""
    from gateway.cli import messages

    return messages.backup(state_dir, target=file, as_json=as_json)


COMMANDS = (
    Command(send, TALK, (
        ("gateway send webchat/default/main 'a word from the shell'", ""),
        ("uptime | gateway send telegram/main/12345 -", "what a program says"),
    )),
    Command(outbox, TALK, (
        ("gateway outbox", "what waits"),
        ("gateway outbox --state unknown", "what a person must decide"),
        ("gateway outbox retry 17", "send it once more"),
    )),
    Command(backup, TALK, (
        ("gateway backup messages.sqlite3", "also where none runs"),
    )),
)  # fmt: skip
