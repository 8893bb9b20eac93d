"""What the commands share: how one is declared, and the options that many of them have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from gateway.cli.main import CONFIG, STATE_DIR, place

GROUPS = HERE, LOOK, CHANGE, TALK, TOOLS = (
    "Run a gateway here", "Look at the running gateway, and steer it", "Change its config", "Messages", "Tools",
)  # fmt: skip
"""Of the help, in its order."""
Codes = tuple[tuple[int, str], ...]
"""Exit codes, each with what it says."""
CODES: Codes = ((0, "done"), (1, "failed, or refused: why is said"), (2, "wrong usage"))


class Command(NamedTuple):
    """One command: the function whose signature it has, its group in the help, examples with what each does, and its exit codes."""

    function: Callable[..., int]
    group: str
    examples: tuple[tuple[str, str], ...]
    codes: Codes = CODES

    @property
    def name(self) -> str:
        """As it is given. A function whose name Python has taken ends with a line: `open_`."""
        return self.function.__name__.rstrip("_")


def _config(context: typer.Context, given: Path | None) -> Path:
    return place(_above(context, "config") if given is None else given, CONFIG)


def _state_dir(context: typer.Context, given: Path | None) -> Path:
    return place(_above(context, "state_dir") if given is None else given, STATE_DIR)


def _above(context: typer.Context, name: str) -> Path | None:
    """What was given before the command: `gateway --config FILE status`."""
    found = context.parent.params.get(name) if context.parent is not None else None
    return Path(found) if found is not None else None


ConfigFile = Annotated[
    Path,
    typer.Option(
        CONFIG[0],
        metavar="FILE",
        callback=_config,
        show_default=False,
        help="The config file (default: GATEWAY_CONFIG, then gateway.yaml).",
    ),
]
StateDir = Annotated[
    Path,
    typer.Option(
        STATE_DIR[0],
        metavar="FOLDER",
        callback=_state_dir,
        show_default=False,
        help="Where the gateway keeps its own files (default: GATEWAY_STATE_DIR, then .gateway).",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="What the gateway answers, as JSON.")]
UNSET: Path = None  # type: ignore[assignment]  # of ConfigFile and StateDir, whose callbacks make a path of it
