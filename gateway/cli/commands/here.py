"""Commands that need no running gateway: run one, and look at what it would find."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.commands.common import HERE, TOOLS, UNSET, AsJson, Command, ConfigFile, StateDir


def run(config: ConfigFile = UNSET, state_dir: StateDir = UNSET) -> int:
    """Run the gateway until it is stopped; the default.

    It says `gateway ready` with its address when it takes messages. Restarts happen inside: the process stays.
    """
    from gateway.cli.run import run as run_gateway

    return run_gateway(config.absolute(), state_dir.absolute())


def init(config: ConfigFile = UNSET) -> int:
    """Write a commented starter config.

    With TELEGRAM_TOKEN in the environment it has a Telegram bot as well. A file that is there is never touched.
    """
    from gateway.cli.init import init as write

    return write(config, os.environ)


def check(config: ConfigFile = UNSET, as_json: AsJson = False) -> int:
    """Say whether the config is valid, and what is wrong with it.

    Each fault is named with its line, its column and the nearest known key. No gateway need run, and none is asked.
    """
    from gateway.cli.check import check as look

    return look(config, as_json=as_json)


def doctor(
    config: ConfigFile = UNSET,
    state_dir: StateDir = UNSET,
    offline: Annotated[bool, typer.Option("--offline", help="Ask no network.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The findings as JSON.")] = False,
) -> int:
    """Look for what is wrong here, and say what mends it.

    It looks, and changes nothing: at the config, the state folder, the disk, the files that may be open, how edits are noticed,
    the store, the gateway that runs here or the port that it will want, what several hosts agree by, and each network with its
    account.
    """
    from gateway.cli.doctor.command import doctor as examine

    return examine(config, state_dir, offline=offline, as_json=as_json)


def schema(
    path: Annotated[
        str | None, typer.Argument(metavar="PATH", help="One place alone, like gateway.admin.port (default: all).")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="As JSON: the JSON Schema of the file, or of the place.")
    ] = False,
) -> int:
    """Say what every key of the config means.

    What it may be, its default, and what a change of it needs: nothing, a restart of accounts, or of the gateway.
    """
    from gateway.cli.schema import schema as tell

    return tell(path, as_json=as_json)


def replay(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What GET /api/v1/journal?format=jsonl answered.")],
    as_json: Annotated[bool, typer.Option("--json", help="The result as JSON.")] = False,
) -> int:
    """Run an exported journal through the tables again.

    Every step is compared with what was recorded, and the first that leads elsewhere is named.
    """
    from gateway.cli.replay import replay as compare

    return compare(file, as_json=as_json)


RUN_CODES = (
    (0, "stopped as asked"),
    (1, "failed: why is said"),
    (2, "wrong usage"),
    (75, "a restart that whoever supervises it is to make"),
    (76, "another gateway holds the state folder (its PID is named)"),
    (78, "no usable config"),
)

COMMANDS = (
    Command(run, HERE, (
        ("gateway", "with ./gateway.yaml and ./.gateway"),
        ("gateway run --config /etc/gateway.yaml --state-dir /var/lib/gateway", "as a service"),
    ), RUN_CODES),
    Command(init, HERE, (
        ("gateway init", "writes gateway.yaml"),
        ("TELEGRAM_TOKEN=... gateway init", "with a Telegram bot"),
    )),
    Command(check, HERE, (
        ("gateway check", ""),
        ("gateway check --config new.yaml && mv new.yaml gateway.yaml", "only if it is valid"),
    ), ((0, "valid"), (2, "wrong usage"), (78, "not valid: each fault is named"))),
    Command(doctor, HERE, (
        ("gateway doctor", ""),
        ("gateway doctor --offline --json", "for a monitoring script"),
    ), ((0, "nothing is to be mended"), (1, "something must be mended"), (2, "something should be; or wrong usage"))),
    Command(schema, TOOLS, (
        ("gateway schema gateway.admin.port", "one key"),
        ("gateway schema channels.telegram.accounts.main", "what an account may say"),
        ("gateway schema --json > gateway.schema.json", "for an editor"),
    ), ((0, "told"), (2, "the config has no such path (the nearest is named); or wrong usage"))),
    Command(replay, TOOLS, (
        ("gateway replay journal.jsonl", "what the export says, compared"),
    ), ((0, "every step led to the same state"), (1, "one led elsewhere: the first is named"),
       (2, "the file is no whole journal: the line is named"))),
)  # fmt: skip
