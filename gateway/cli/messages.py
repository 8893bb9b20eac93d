"""`gateway send`, `outbox` and `backup`: what goes out, what waits, and a copy of the store."""

from __future__ import annotations

import argparse
import json
import secrets
import sys
from pathlib import Path
from typing import Any

from gateway.cli.client import CallError, Client, UnreachableError
from gateway.cli.exits import EXIT_FAILED, EXIT_USAGE, complain
from gateway.errors import StoreError

SHOWN = 60
"""Characters of a text that a line shows."""


def run(given: argparse.Namespace, config: Path, state_dir: Path) -> int:
    """One of the commands; the exit code."""
    if given.command == "backup":
        return _backup(state_dir, given.file)
    try:
        answer = {"send": _send, "outbox": _outbox}[given.command](Client(config, state_dir), given)
    except (UnreachableError, CallError) as error:
        complain(str(error))
        return EXIT_FAILED
    except ValueError as error:
        complain(str(error))
        return EXIT_USAGE
    if given.json:
        sys.stdout.write(json.dumps(answer, indent=2, ensure_ascii=False) + "\n")
    elif "deliveries" in answer:
        sys.stdout.write("".join(f"{_line(row)}\n" for row in reversed(answer["deliveries"])))
        if given.command == "outbox" and not answer["deliveries"]:
            sys.stdout.write("nothing waits\n")
    else:
        sys.stdout.write(f"{answer['id']} is {answer['state']}\n")
    return 0


def _send(client: Client, given: argparse.Namespace) -> dict[str, Any]:
    channel, _, rest = given.to.partition("/")
    account, _, conversation = rest.partition("/")
    if not conversation:
        raise ValueError(f"{given.to} is no address: write CHANNEL/ACCOUNT/CONVERSATION, like telegram/main/12345")
    text = sys.stdin.read() if given.text == "-" else given.text
    body = {
        "channel": channel,
        "account": account,
        "to": conversation,
        "text": text,
        "format": given.format,
        "idempotency_key": given.key or secrets.token_hex(8),
    }
    return client.call("POST", "/api/v1/send", json.dumps(body).encode())


def _outbox(client: Client, given: argparse.Namespace) -> dict[str, Any]:
    if given.action == "list":
        return client.call("GET", "/api/v1/outbox", state=given.state, limit=given.limit)
    if given.id is None:
        raise ValueError(f"which one? `gateway outbox` lists them; then `gateway outbox {given.action} ID`")
    return client.call("POST", f"/api/v1/outbox/{given.id}/{given.action}", b"{}")


def _line(row: dict[str, Any]) -> str:
    text = " ".join(row["text"].split())
    text = text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
    place = f"{row['channel']}/{row['account']}/{row['conversation']}"
    why = f"  ({row['why']})" if row["why"] else ""
    return f"{row['id']:>8}  {row['state']:<10}  {place}  {text}{why}"


def _backup(state_dir: Path, target: Path) -> int:
    """A whole copy of the store, made while the gateway goes on; or when none runs."""
    # Imported when it is made: no other command reads the store itself.
    from gateway.store.database import Database  # noqa: PLC0415
    from gateway.store.store import FILE  # noqa: PLC0415

    source = state_dir / FILE
    if not source.exists():
        complain(f"{source} does not exist: there is nothing to copy; name another --state-dir")
        return EXIT_FAILED
    try:
        Database(source).backup(target)
    except StoreError as error:
        complain(str(error))
        return EXIT_FAILED
    sys.stdout.write(f"{target} is a copy of {source}\n")
    return 0
