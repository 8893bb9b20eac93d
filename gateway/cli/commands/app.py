"""The command line as typer has it: all commands, their help, and what is said of wrong usage."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from inspect import cleandoc

import typer
from typer.exceptions import TyperException

from gateway.cli.commands import changes, here, messages, operate
from gateway.cli.commands.common import GROUPS, UNSET, Codes, Command, ConfigFile, StateDir
from gateway.cli.exits import EXIT_FAILED, EXIT_OK, complain, on_terminal

COMMANDS: tuple[Command, ...] = tuple(
    sorted(
        (*here.COMMANDS, *operate.COMMANDS, *changes.COMMANDS, *messages.COMMANDS),
        key=lambda command: GROUPS.index(command.group),
    )
)
ABOUT = """\
Connects bot accounts on chat networks to handlers, from one config file that may change at any time.

`gateway` is the same as `python -m gateway`."""
EXAMPLES = (
    ("gateway init", "write a config to start from"),
    ("gateway", "run it"),
    ("gateway status", "in another shell: where it is, and what is wrong"),
    ("gateway patch --help", "what a command does, with examples"),
)
CODES: Codes = (
    (0, "done; of run: stopped as asked"),
    (1, "failed, or refused: why is said on the standard error"),
    (2, "wrong usage; of plan: it would change something; of doctor: a warning"),
    (75, "of run: a restart that whoever supervises it is to make"),
    (76, "of run: another gateway holds the state folder (its PID is named)"),
    (78, "of run and check: no usable config"),
)
MORE = """\
Signals of run:
  SIGUSR1 asks for a restart, SIGHUP reads the config now,
  SIGTERM and SIGINT stop: the second time sooner, the third time at once

Colours: green runs, blue is on its way, yellow waits, red needs you.
NO_COLOR=1 switches them off; in a pipe there are none, and no tables."""


def command_line(given: Sequence[str]) -> int:
    """Run the command that is given; its exit code."""
    command = typer.main.get_command(build(rich=on_terminal(sys.stdout)))
    try:
        code = command.main([*_apart(given)], prog_name="gateway", standalone_mode=False)
    except TyperException as error:
        _explain(error)
        return error.exit_code
    except typer.Abort:
        return EXIT_FAILED
    return EXIT_OK if code is None else int(code)


def _apart(words: Iterable[str]) -> Iterator[str]:
    """`--cancel=ID` as two words: to typer an option has a value always, or never."""
    for word in words:
        yield from word.split("=", 1) if word.startswith("--cancel=") else [word]


def build(*, rich: bool) -> typer.Typer:
    """All commands. With `rich` the help has colours and frames, for a terminal."""
    app = typer.Typer(
        rich_markup_mode="rich" if rich else None,
        # A traceback with the values of variables would show tokens.
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    def gateway(config: ConfigFile = UNSET, state_dir: StateDir = UNSET) -> None:
        """Has what is given before a command, for the command to ask."""

    app.callback(help=_text(ABOUT, rich=rich), epilog=_ends(EXAMPLES, CODES, MORE, rich=rich))(gateway)
    for command in COMMANDS:
        app.command(
            command.name,
            help=_text(cleandoc(command.function.__doc__ or ""), rich=rich),
            epilog=_ends(command.examples, command.codes, rich=rich),
            rich_help_panel=command.group,
        )(command.function)
    return app


def _ends(examples: Iterable[tuple[str, str]], codes: Codes, *more: str, rich: bool) -> str:
    shown = [f"  {example}\n      {what}" if what else f"  {example}" for example, what in examples]
    parts = [
        "\n".join(["Examples:", *shown]),
        "\n".join(["Exit codes:", *(f"  {code:<2}  {what}" for code, what in codes)]),
        *more,
    ]
    text = "\n\n".join(parts)
    # Plain help is wrapped anew unless each paragraph says that it is not to be.
    return _text(text, rich=rich) if rich else "\n\n".join(f"\b\n{each}" for each in text.split("\n\n"))


def _text(text: str, *, rich: bool) -> str:
    return text.replace("[", "\\[") if rich else text


def _explain(error: TyperException) -> None:
    """What is wrong, with the nearest that is right, and where to read on."""
    complain(error.format_message())
    context = getattr(error, "ctx", None)
    if context is not None:
        complain(f"`{context.command_path} --help` says how it is used, with examples")
