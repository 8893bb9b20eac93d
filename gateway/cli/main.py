"""What `python -m gateway` understands, and its help."""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

EPILOG = """exit codes:
  0   stopped as asked
  1   failed
  2   wrong usage
  76  another gateway holds the state folder (its PID is named)
  78  no usable config

signals:
  SIGUSR1 asks for a restart, SIGHUP reads the config now,
  SIGTERM and SIGINT stop: the second time sooner, the third time at once
"""

REPLAY = """exit codes: 0 every step led to the same state, 1 one led elsewhere (the first is named),
2 the file is no whole journal (the line is named)."""


PLAN = """exit codes: 0 nothing would change, 2 something would, 1 it could not be planned (the faults are named)."""
DOCTOR = """exit codes: 0 nothing is to be mended, 2 something should be, 1 something must be.

It looks, and changes nothing: at the config, the state folder, the disk, the files that may be open, how edits are noticed,
the store, the gateway that runs here or the port that it will want, and each network with its account."""
CALL = """exit codes: 0 answered, 1 refused (what the gateway says is printed), 2 PARAMS is no JSON object."""
CHANGES = ("plan", "apply", "patch", "history", "rollback", "confirm")
"""Commands about changes, which ask the running gateway."""
OPERATE = ("status", "channels", "restart", "journal")
"""Commands that look at the running gateway, or tell it something."""
MESSAGES = ("send", "outbox", "backup")
"""Commands about messages."""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gateway",
        description="Connects bot accounts on chat networks to handlers, from one config file that may change at any time.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    # Told its name, argparse need not work it out, for which it would import half of shutil on the way to the first poll.
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", prog="gateway")
    helps = {
        "run": "run the gateway (the default)",
        "init": "write a commented starter config",
        "check": "say whether the config is valid, and what is wrong with it",
    }
    for name, text in helps.items():
        command = commands.add_parser(name, help=text, description=text)
        for parser_ in (command, parser) if name == "run" else (command,):
            _add_places(parser_)
    _add_operate(commands)
    _add_open(commands)
    _add_tools(commands)
    _add_doctor(commands)
    _add_schema(commands)
    _add_replay(commands)
    _add_changes(commands)
    _add_messages(commands)
    return parser


def _add_operate(commands: Any) -> None:
    helps = {
        "status": "say where the gateway is, what is wrong and what mends it, and how its accounts are",
        "channels": "list the accounts; start, stop or restart one (stopped by a person, it stays stopped)",
        "restart": "ask for a restart, which waits for its time and for idle work; or cancel it",
        "journal": "show the newest steps and refusals of the machines, each with its cause",
    }
    parsers = _add_each(commands, helps)
    parsers["status"].add_argument("--watch", action="store_true", help="again and again, until it is interrupted")
    channels, restart, journal = parsers["channels"], parsers["restart"], parsers["journal"]
    channels.add_argument(
        "action", nargs="?", choices=("list", "start", "stop", "restart"), default="list", help="default: list"
    )
    channels.add_argument("account", nargs="?", metavar="CHANNEL/ACCOUNT", help="which one, like telegram/main")
    restart.add_argument("--delay", type=float, metavar="SECONDS", help="default: gateway.restart.delay_ms")
    restart.add_argument("--reason", default="", metavar="TEXT", help="why, for the log and for who is connected")
    restart.add_argument("--force", action="store_true", help="do not wait for work that is under way")
    text = "call a restart off: the one with this id, or all that are pending"
    restart.add_argument("--cancel", nargs="?", const="", metavar="ID", help=text)
    journal.add_argument("--follow", action="store_true", help="go on with what comes, until it is interrupted")
    journal.add_argument("--limit", type=int, default=20, metavar="N", help="how many of the newest (default: 20)")
    journal.add_argument("--after", type=int, metavar="SEQ", help="all from behind this number instead")
    journal.add_argument("--machine", metavar="NAME", help="of one machine alone, like gateway or telegram/main")


def _add_open(commands: Any) -> None:
    text = "open the page in a browser, signed in by a one-time code; the address and the code are printed"
    command = _add_each(commands, {"open": text})["open"]
    command.add_argument("--print", action="store_true", help="print them, and open nothing")


def _add_tools(commands: Any) -> None:
    text = "call a method of the WebSocket protocol, like config.get, and print its answer as JSON"
    call = commands.add_parser("call", help=text, description=text, epilog=CALL)
    _add_places(call)
    call.add_argument("method", metavar="METHOD", help="its name")
    call.add_argument(
        "params", nargs="?", default="{}", metavar="PARAMS", help="a JSON object; @FILE, or - for the standard input"
    )
    text = "print a machine's diagram as Mermaid, or write it as SVG, with the state lit in which it is now"
    diagram = commands.add_parser("diagram", help=text, description=text)
    _add_places(diagram)
    text = "gateway (the default), an account like telegram/main; or a kind, like delivery, with no state lit"
    diagram.add_argument("machine", nargs="?", default="gateway", metavar="MACHINE", help=text)
    diagram.add_argument("--svg", type=Path, metavar="FILE", help="write the picture there")


def _add_doctor(commands: Any) -> None:
    text = "look for what is wrong here, or soon will be, and say what mends it"
    command = commands.add_parser("doctor", help=text, description=text, epilog=DOCTOR)
    _add_places(command)
    command.add_argument("--offline", action="store_true", help="ask no network")
    command.add_argument("--json", action="store_true", help="the findings as JSON")


def _add_schema(commands: Any) -> None:
    text = "say what every key of the config means, what it may be, and what a change of it needs"
    command = commands.add_parser("schema", help=text, description=text)
    command.add_argument("path", nargs="?", metavar="PATH", help="one place alone, like gateway.admin.port")
    command.add_argument("--json", action="store_true", help="as JSON: the JSON Schema of the file, or of the place")


def _add_replay(commands: Any) -> None:
    text = "run an exported journal through the tables, and compare every step with what was recorded"
    command = commands.add_parser("replay", help=text, description=text, epilog=REPLAY)
    command.add_argument("file", type=Path, metavar="FILE", help="what GET /api/v1/journal?format=jsonl answered")
    command.add_argument("--json", action="store_true", help="the result as JSON")


def _add_changes(commands: Any) -> None:
    helps = {
        "plan": "say what a config would change, which accounts it would touch, and what to look at twice; nothing is done",
        "apply": "replace the config by a whole file, and see it through",
        "patch": "change the config by a merge patch, and see it through; comments and order stay",
        "history": "say which configs came, who brought them, and what became of them",
        "rollback": "write an earlier config of the history into the file again, and see it through",
        "confirm": "confirm a change that waits for it, so that it stays",
    }
    parsers = _add_each(commands, helps)
    parsers["plan"].epilog = PLAN
    for name in ("plan", "apply"):
        parsers[name].add_argument("file", metavar="FILE", help="YAML or JSON; - is the standard input")
    parsers["plan"].add_argument("--patch", action="store_true", help="the file is a merge patch (RFC 7396)")
    parsers["patch"].add_argument(
        "patch", metavar="PATCH", help="YAML, JSON or JSON5; @FILE, or - for the standard input"
    )
    for name in ("apply", "patch"):
        parsers[name].add_argument(
            "--base", metavar="HASH", help="of the file that it was made for (default: the present)"
        )
        parsers[name].add_argument("--plan", metavar="ID", help="do what this plan has said, or nothing")
    parsers["history"].add_argument(
        "revision", nargs="?", metavar="ENTRY", help="one alone: its number, or its revision"
    )
    parsers["history"].add_argument(
        "--against", metavar="ENTRY", help="compare it with this one instead of what it replaced"
    )
    parsers["history"].add_argument("--limit", type=int, default=20, metavar="N", help="how many (default: 20)")
    parsers["rollback"].add_argument("revision", metavar="ENTRY", help="its number in the history, or its revision")
    for name in ("apply", "patch", "rollback"):
        parsers[name].add_argument("--note", default="", metavar="TEXT", help="why, for the history")
        text = "undo it unless it is confirmed in that time, or if an account that ran does not come back"
        parsers[name].add_argument("--confirm-within", type=float, metavar="SECONDS", help=text)
    parsers["confirm"].add_argument(
        "revision", nargs="?", default="", metavar="REVISION", help="default: the one that waits"
    )
    otherwise = parsers["confirm"].add_mutually_exclusive_group()
    otherwise.add_argument("--cancel", action="store_true", help="undo it now instead")
    otherwise.add_argument("--extend", type=float, metavar="SECONDS", help="give it so much time from now on instead")


def _add_messages(commands: Any) -> None:
    helps = {
        "send": "send a message; answered when it is kept, and sent as soon as its account runs",
        "outbox": "say which messages are not sent yet; or send one again, or let it go",
    }
    parsers = _add_each(commands, helps)
    text = "copy the store with all messages, while the gateway goes on"
    parsers["backup"] = commands.add_parser("backup", help=text, description=text)
    _add_places(parsers["backup"])
    send, outbox = parsers["send"], parsers["outbox"]
    send.add_argument("to", metavar="ADDRESS", help="CHANNEL/ACCOUNT/CONVERSATION, like telegram/main/12345")
    send.add_argument("text", metavar="TEXT", help="what to say; - is the standard input")
    send.add_argument("--key", default="", help="with a key that was used before nothing new is sent")
    send.add_argument("--format", choices=("plain", "markdown", "html"), default="plain", help="how it is marked up")
    outbox.add_argument("action", nargs="?", choices=("list", "retry", "discard"), default="list", help="default: list")
    outbox.add_argument("id", nargs="?", type=int, metavar="ID", help="which one to retry or discard")
    states = ("queued", "sending", "sent", "retry_wait", "unknown", "dead")
    outbox.add_argument("--state", choices=states, help="those of one state (default: neither sent nor dead)")
    outbox.add_argument("--limit", type=int, default=50, metavar="N", help="how many (default: 50)")
    parsers["backup"].add_argument("file", type=Path, metavar="FILE", help="where the copy goes")


def _add_each(commands: Any, helps: Mapping[str, str]) -> dict[str, argparse.ArgumentParser]:
    """Commands that ask the running gateway, by their names."""
    parsers = {}
    for name, text in helps.items():
        parsers[name] = commands.add_parser(name, help=text, description=text)
        _add_places(parsers[name])
        parsers[name].add_argument("--json", action="store_true", help="what the gateway answers, as JSON")
    return parsers


def _add_places(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", type=Path, default=argparse.SUPPRESS, metavar="FILE",
        help="the config file (default: GATEWAY_CONFIG, then gateway.yaml)",
    )  # fmt: skip
    parser.add_argument(
        "--state-dir", type=Path, default=argparse.SUPPRESS, metavar="FOLDER",
        help="where the gateway keeps its own files (default: GATEWAY_STATE_DIR, then .gateway)",
    )  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code, testable without a process."""
    given = build_parser().parse_args(argv)
    config = getattr(given, "config", Path(os.environ.get("GATEWAY_CONFIG", "gateway.yaml")))
    state_dir = getattr(given, "state_dir", Path(os.environ.get("GATEWAY_STATE_DIR", ".gateway")))
    if given.command in (None, "run"):
        from gateway.cli.run import run  # noqa: PLC0415

        return run(config.absolute(), state_dir.absolute())
    return _other(given, config, state_dir)


def _other(given: argparse.Namespace, config: Path, state_dir: Path) -> int:
    """A command that is no gateway itself. Each is imported when it is given, and ends as any program does when it is told to."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # blocked by the program's first line, for a gateway

    def part(name: str) -> Any:
        return import_module(f"gateway.cli.{name}")

    commands: dict[str, Callable[[], int]] = {
        "init": lambda: part("init").init(config, os.environ),
        "check": lambda: part("check").check(config),
        "doctor": lambda: part("doctor.command").doctor(config, state_dir, offline=given.offline, as_json=given.json),
        "call": lambda: part("call").run(given, config, state_dir),
        "open": lambda: part("open").run(given, config, state_dir),
        "diagram": lambda: part("diagram").run(given, config, state_dir),
        "schema": lambda: part("schema").schema(given.path, as_json=given.json),
        "replay": lambda: part("replay").replay(given.file, as_json=given.json),
        **dict.fromkeys(OPERATE, lambda: part("operate").run(given, config, state_dir)),
        **dict.fromkeys(CHANGES, lambda: part("changes").run(given, config, state_dir)),
        **dict.fromkeys(MESSAGES, lambda: part("messages").run(given, config, state_dir)),
    }
    return commands[given.command]()
