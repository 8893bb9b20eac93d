"""Commands about changes of the config, which the running gateway sees through."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli.commands.common import CHANGE, UNSET, AsJson, Command, ConfigFile, StateDir

Base = Annotated[
    str | None, typer.Option("--base", metavar="HASH", help="Of the file that it was made for (default: the present).")
]
PlanId = Annotated[str | None, typer.Option("--plan", metavar="ID", help="Do what this plan has said, or nothing.")]
Note = Annotated[str, typer.Option("--note", metavar="TEXT", help="Why, for the history.")]
ConfirmWithin = Annotated[
    float | None,
    typer.Option(
        "--confirm-within",
        metavar="SECONDS",
        help="Undo it unless it is confirmed in that time, or if an account that ran does not come back.",
    ),
]


def plan(
    file: Annotated[str, typer.Argument(metavar="FILE", help="YAML or JSON; - is the standard input.")],
    config: ConfigFile = UNSET,
    state_dir: StateDir = UNSET,
    patch: Annotated[bool, typer.Option("--patch", help="The file is a merge patch (RFC 7396).")] = False,
    as_json: AsJson = False,
) -> int:
    """Say what a config would change; nothing is done.

    Which accounts it would touch and how, what would be fired at which machine, and what to look at twice.
    """
    from gateway.cli import changes

    return changes.plan(config, state_dir, file=file, patch=patch, as_json=as_json)


def apply(
    file: Annotated[str, typer.Argument(metavar="FILE", help="YAML or JSON; - is the standard input.")],
    config: ConfigFile = UNSET,
    state_dir: StateDir = UNSET,
    base: Base = None,
    plan_id: PlanId = None,
    note: Note = "",
    confirm_within: ConfirmWithin = None,
    as_json: AsJson = False,
) -> int:
    """Replace the config by a whole file, and see it through.

    It is answered when the accounts that it touches have settled, which takes up to 45 seconds.
    """
    from gateway.cli import changes

    write = changes.Write(base, plan_id, note, confirm_within)
    return changes.apply(config, state_dir, file=file, write=write, as_json=as_json)


def patch(
    patch: Annotated[
        str, typer.Argument(metavar="PATCH", help="YAML, JSON or JSON5; @FILE, or - for the standard input.")
    ],
    config: ConfigFile = UNSET,
    state_dir: StateDir = UNSET,
    base: Base = None,
    plan_id: PlanId = None,
    note: Note = "",
    confirm_within: ConfirmWithin = None,
    as_json: AsJson = False,
) -> int:
    """Change some keys of the config, and see it through.

    By a merge patch: keys that it names are set, those that it sets to null are removed; comments and order stay.
    """
    from gateway.cli import changes

    write = changes.Write(base, plan_id, note, confirm_within)
    return changes.patch(config, state_dir, patch=patch, write=write, as_json=as_json)


def history(
    revision: Annotated[
        str | None, typer.Argument(metavar="ENTRY", help="One alone: its number, or its revision.")
    ] = None,
    config: ConfigFile = UNSET,
    state_dir: StateDir = UNSET,
    against: Annotated[
        str | None, typer.Option(metavar="ENTRY", help="Compare it with this one instead of what it replaced.")
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", help="How many of the newest.")] = 20,
    as_json: AsJson = False,
) -> int:
    """Say which configs came, who brought them, and what came of it."""
    from gateway.cli import changes

    return changes.history(config, state_dir, revision=revision, against=against, limit=limit, as_json=as_json)


def rollback(
    revision: Annotated[str, typer.Argument(metavar="ENTRY", help="Its number in the history, or its revision.")],
    config: ConfigFile = UNSET,
    state_dir: StateDir = UNSET,
    note: Note = "",
    confirm_within: ConfirmWithin = None,
    as_json: AsJson = False,
) -> int:
    """Write an earlier config into the file again, and see it through."""
    from gateway.cli import changes

    write = changes.Write(None, None, note, confirm_within)
    return changes.rollback(config, state_dir, revision=revision, write=write, as_json=as_json)


def confirm(
    revision: Annotated[
        str, typer.Argument(metavar="REVISION", help="Which one (default: the one that waits).", show_default=False)
    ] = "",
    config: ConfigFile = UNSET,
    state_dir: StateDir = UNSET,
    cancel: Annotated[bool, typer.Option("--cancel", help="Undo it now instead.")] = False,
    extend: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Give it so much time from now on instead.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Confirm a change that waits for it, so that it stays."""
    from gateway.cli import changes

    if cancel and extend is not None:
        raise typer.BadParameter("--cancel and --extend exclude each other")
    return changes.confirm(config, state_dir, revision=revision, cancel=cancel, extend=extend, as_json=as_json)


WRITTEN = ((0, "it runs"), (1, "refused, or rolled back: why is said"), (2, "wrong usage"))

COMMANDS = (
    Command(plan, CHANGE, (
        ("gateway plan new.yaml", "what the whole file would change"),
        ("echo '{gateway: {name: home}}' | gateway plan --patch -", "what a patch would"),
    ), ((0, "nothing would change"), (1, "it could not be planned: the faults are named"), (2, "something would change; or wrong usage"))),
    Command(apply, CHANGE, (
        ("gateway apply new.yaml --confirm-within 60", "and undo it unless I say `gateway confirm`"),
        ("gateway apply new.yaml --plan ID", "what that plan has said, or nothing"),
    ), WRITTEN),
    Command(patch, CHANGE, (
        ("gateway patch '{gateway: {name: home}}' --note 'as it was'", ""),
        ("gateway patch @patch.yaml", "from a file"),
        ("gateway patch '{channels: {telegram: {accounts: {old: null}}}}'", "remove an account"),
    ), WRITTEN),
    Command(history, CHANGE, (
        ("gateway history", "the newest, a line each"),
        ("gateway history 3 --against 1", "what is different between two"),
    )),
    Command(rollback, CHANGE, (
        ("gateway rollback 1", "entry 1 of the history"),
    ), WRITTEN),
    Command(confirm, CHANGE, (
        ("gateway confirm", "it stays"),
        ("gateway confirm --extend 300", "five minutes more"),
        ("gateway confirm --cancel", "what was before runs again"),
    )),
)  # fmt: skip
