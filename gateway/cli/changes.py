"""`gateway plan, apply, patch, history, rollback, confirm`: what the API offers on changes of the config, for a terminal and for scripts."""

from __future__ import annotations

import json
import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gateway.cli import change_text
from gateway.cli.asking import asked
from gateway.cli.client import Client
from gateway.cli.exits import EXIT_FAILED, EXIT_OK, complain
from gateway.cli.progress import waiting
from gateway.cli.show import show
from gateway.cli.status_text import unsettled

EXIT_CHANGES = 2
"""Of `plan`: there is something that would change."""
CONFIG = "/api/v1/config"
YAML = "application/yaml"
STANDARD_INPUT = "-"
CAME_TO_NOTHING = frozenset({"rolled_back", "rejected"})


@dataclass(frozen=True)
class Write:
    """What a write is given besides its text. `confirm_within` is in seconds; `base` None is the file as it is."""

    base: str | None
    plan: str | None
    note: str
    confirm_within: float | None


def plan(config: Path, state_dir: Path, *, file: str, patch: bool, as_json: bool) -> int:
    """What a config, or a merge patch, would change; EXIT_CHANGES where that is something."""

    def ask(client: Client) -> int:
        answer = client.call("POST", f"{CONFIG}/plan", _text(file), YAML, patch="true" if patch else None)
        show(answer, lambda: change_text.plan(answer), lambda tables: tables.plan(answer), as_json=as_json)
        return EXIT_CHANGES if answer["changed_paths"] else EXIT_OK

    return asked(config, state_dir, ask, as_json=as_json)


def apply(config: Path, state_dir: Path, *, file: str, write: Write, as_json: bool) -> int:
    """Replace the whole file."""

    def ask(client: Client) -> int:
        return _receive(_write(client, "PUT", _text(file), write), as_json=as_json)

    return asked(config, state_dir, ask, as_json=as_json)


def patch(config: Path, state_dir: Path, *, patch: str, write: Write, as_json: bool) -> int:
    """Change some keys of it."""

    def ask(client: Client) -> int:
        named = patch == STANDARD_INPUT or patch.startswith("@")
        text = _text(patch.removeprefix("@")) if named else patch.encode()
        return _receive(_write(client, "PATCH", text, write), as_json=as_json)

    return asked(config, state_dir, ask, as_json=as_json)


def _write(client: Client, method: str, text: bytes, write: Write) -> dict[str, Any]:
    base = write.base or client.call("GET", CONFIG)["hash"]
    with _seeing_through(client):
        return client.call(
        method, CONFIG, text, YAML, base,
        confirm_within_s=write.confirm_within, note=write.note or None, plan_id=write.plan,
    )  # fmt: skip


def _seeing_through(client: Client) -> AbstractContextManager[object]:
    """For as long as a change is on its way, which is answered when each account that it touches has settled, or has had 45 s."""
    looking = client.another()
    return waiting("the change is seen through", lambda: unsettled(looking.call("GET", "/api/v1/status")))


def _receive(receipt: dict[str, Any], *, as_json: bool) -> int:
    show(receipt, lambda: change_text.receipt(receipt), lambda tables: tables.receipt(receipt), as_json=as_json)
    return EXIT_FAILED if receipt["outcome"] in CAME_TO_NOTHING else EXIT_OK


def history(
    config: Path, state_dir: Path, *, revision: str | None, against: str | None, limit: int, as_json: bool
) -> int:
    """The newest entries; or one, and what it changed."""

    def look(client: Client) -> int:
        if revision is None:
            answer = client.call("GET", f"{CONFIG}/history", limit=limit)
            entries = answer["entries"]
            show(answer, lambda: change_text.history(entries), lambda tables: tables.history(entries), as_json=as_json)
        else:
            answer = client.call("GET", f"{CONFIG}/history/{quote(revision, '')}", against=against)
            show(
                answer,
                lambda: change_text.entry(answer),
                lambda tables: tables.entry_of_history(answer),
                as_json=as_json,
            )
        return EXIT_OK

    return asked(config, state_dir, look, as_json=as_json)


def rollback(config: Path, state_dir: Path, *, revision: str, write: Write, as_json: bool) -> int:
    """Write an entry of the history into the file again."""
    wish = {"revision": revision, "note": write.note, "confirm_within_s": write.confirm_within}

    def ask(client: Client) -> int:
        with _seeing_through(client):
            receipt = client.call("POST", f"{CONFIG}/rollback", _json(wish))
        return _receive(receipt, as_json=as_json)

    return asked(config, state_dir, ask, as_json=as_json)


def confirm(config: Path, state_dir: Path, *, revision: str, cancel: bool, extend: float | None, as_json: bool) -> int:
    """Decide about a change that waits; `extend` is in seconds."""

    def ask(client: Client) -> int:
        held = _open_window(client)
        which = held if held and held.startswith(revision) else revision
        if not which:
            complain("no change waits to be confirmed")
            return EXIT_FAILED
        decision = "cancel" if cancel else "extend" if extend else "confirm"
        wish = {"revision": which, "decision": decision, "within_s": extend}
        with _seeing_through(client):
            answer = client.call("POST", f"{CONFIG}/confirm", _json(wish))
        show(answer, lambda: change_text.decision(answer), lambda tables: tables.decision(answer), as_json=as_json)
        return EXIT_OK

    return asked(config, state_dir, ask, as_json=as_json)


def _open_window(client: Client) -> str | None:
    window = client.call("GET", "/api/v1/status")["config"]["window"]
    return None if window is None else str(window["revision"])


def _text(file: str) -> bytes:
    return sys.stdin.buffer.read() if file == STANDARD_INPUT else Path(file).read_bytes()


def _json(wish: dict[str, Any]) -> bytes:
    return json.dumps({name: value for name, value in wish.items() if value not in (None, "")}).encode()
