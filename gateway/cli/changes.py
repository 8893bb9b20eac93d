"""`gateway plan, apply, patch, history, rollback, confirm`: what the API offers on changes of the config, for a terminal and for scripts."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gateway.cli import change_text
from gateway.cli.client import CallError, Client, UnreachableError
from gateway.cli.exits import EXIT_FAILED, EXIT_OK, complain

EXIT_CHANGES = 2
"""Of `plan`: there is something that would change."""
CONFIG = "/api/v1/config"
YAML = "application/yaml"
STANDARD_INPUT = "-"
CAME_TO_NOTHING = frozenset({"rolled_back", "rejected"})


def run(given: Namespace, config: Path, state_dir: Path) -> int:
    """Run the command that was given; its exit code."""
    try:
        return COMMANDS[given.command](given, Client(config, state_dir.absolute()))
    except CallError as error:
        for line in change_text.refusal(str(error), error.details):
            complain(line)
        if given.json:
            _show(given, error.body, "")
    except (UnreachableError, OSError, UnicodeDecodeError) as error:
        complain(str(error))
    return EXIT_FAILED


def _plan(given: Namespace, client: Client) -> int:
    patch = "true" if given.patch else None
    answer = client.call("POST", f"{CONFIG}/plan", _text(given.file), YAML, patch=patch)
    _show(given, answer, change_text.plan(answer))
    return EXIT_CHANGES if answer["changed_paths"] else EXIT_OK


def _apply(given: Namespace, client: Client) -> int:
    return _write(given, client, "PUT", _text(given.file))


def _patch(given: Namespace, client: Client) -> int:
    patch: str = given.patch
    named = patch == STANDARD_INPUT or patch.startswith("@")
    return _write(given, client, "PATCH", _text(patch.removeprefix("@")) if named else patch.encode())


def _write(given: Namespace, client: Client, method: str, text: bytes) -> int:
    base = given.base or client.call("GET", CONFIG)["hash"]
    receipt = client.call(
        method, CONFIG, text, YAML, base,
        confirm_within_s=given.confirm_within, note=given.note or None, plan_id=given.plan,
    )  # fmt: skip
    return _receive(given, receipt)


def _receive(given: Namespace, receipt: dict[str, Any]) -> int:
    _show(given, receipt, change_text.receipt(receipt))
    return EXIT_FAILED if receipt["outcome"] in CAME_TO_NOTHING else EXIT_OK


def _history(given: Namespace, client: Client) -> int:
    if given.revision is None:
        answer = client.call("GET", f"{CONFIG}/history", limit=given.limit)
        _show(given, answer, change_text.history(answer["entries"]))
    else:
        answer = client.call("GET", f"{CONFIG}/history/{quote(given.revision, '')}", against=given.against)
        _show(given, answer, change_text.entry(answer))
    return EXIT_OK


def _rollback(given: Namespace, client: Client) -> int:
    wish = {"revision": given.revision, "note": given.note, "confirm_within_s": given.confirm_within}
    return _receive(given, client.call("POST", f"{CONFIG}/rollback", _json(wish)))


def _confirm(given: Namespace, client: Client) -> int:
    waiting = _open_window(client)
    revision = waiting if waiting and waiting.startswith(given.revision) else given.revision
    if not revision:
        complain("no change waits to be confirmed")
        return EXIT_FAILED
    decision = "cancel" if given.cancel else "extend" if given.extend else "confirm"
    answer = client.call(
        "POST", f"{CONFIG}/confirm", _json({"revision": revision, "decision": decision, "within_s": given.extend})
    )
    _show(given, answer, change_text.decision(answer))
    return EXIT_OK


def _open_window(client: Client) -> str | None:
    window = client.call("GET", "/api/v1/status")["config"]["window"]
    return None if window is None else str(window["revision"])


COMMANDS = {
    "plan": _plan, "apply": _apply, "patch": _patch, "history": _history, "rollback": _rollback, "confirm": _confirm,
}  # fmt: skip


def _text(file: str) -> bytes:
    return sys.stdin.buffer.read() if file == STANDARD_INPUT else Path(file).read_bytes()


def _json(wish: dict[str, Any]) -> bytes:
    return json.dumps({name: value for name, value in wish.items() if value not in (None, "")}).encode()


def _show(given: Namespace, answer: dict[str, Any], text: str) -> None:
    print(json.dumps(answer, indent=2) if given.json else text)  # noqa: T201
