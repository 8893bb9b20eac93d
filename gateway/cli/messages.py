"""`gateway send`, `outbox` and `backup`: what goes out, what waits, and a copy of the store."""

from __future__ import annotations

import json
import secrets
import sys
from pathlib import Path
from typing import Any

from gateway.cli.asking import asked
from gateway.cli.client import Client
from gateway.cli.exits import EXIT_FAILED, EXIT_OK, complain
from gateway.cli.plain import say, say_json
from gateway.cli.progress import waiting
from gateway.cli.show import show
from gateway.errors import StoreError

SHOWN = 60
"""Characters of a text that a line shows."""


def send(config: Path, state_dir: Path, *, to: str, text: str, key: str, markup: str, as_json: bool) -> int:
    """Send a message; without a key it is a new one each time."""

    def ask(client: Client) -> int:
        channel, _, rest = to.partition("/")
        account, _, conversation = rest.partition("/")
        if not conversation:
            raise ValueError(f"{to} is no address: write CHANNEL/ACCOUNT/CONVERSATION, like telegram/main/12345")
        body = {
            "channel": channel,
            "account": account,
            "to": conversation,
            "text": sys.stdin.read() if text == "-" else text,
            "format": markup,
            "idempotency_key": key or secrets.token_hex(8),
        }
        return _tell(client.call("POST", "/api/v1/send", json.dumps(body).encode()), as_json=as_json)

    return asked(config, state_dir, ask, as_json=as_json)


def outbox(
    config: Path, state_dir: Path, *, action: str, number: int | None, state: str | None, limit: int, as_json: bool
) -> int:
    """What is not sent yet; or a person's word about one message."""

    def look(client: Client) -> int:
        answer = client.call("GET", "/api/v1/outbox", state=state, limit=limit)
        if not answer["deliveries"] and not as_json:
            say("nothing waits")
            return EXIT_OK
        return _tell(answer, as_json=as_json)

    def decide(client: Client) -> int:
        if number is None:
            raise ValueError(f"which one? `gateway outbox` lists them; then `gateway outbox {action} ID`")
        return _tell(client.call("POST", f"/api/v1/outbox/{number}/{action}", b"{}"), as_json=as_json)

    return asked(config, state_dir, look if action == "list" else decide, as_json=as_json)


def _tell(answer: dict[str, Any], *, as_json: bool) -> int:
    if as_json:
        say_json(answer, ascii_only=False)
    elif "deliveries" in answer:
        rows = answer["deliveries"][::-1]
        show(rows, lambda: "\n".join(map(_line, rows)), lambda tables: tables.outbox(rows))
    else:
        said = f"{answer['id']} is {answer['state']}"
        show(answer, lambda: said, lambda tables: tables.toned(answer["state"], said=said))
    return EXIT_OK


def _line(row: dict[str, Any]) -> str:
    text = " ".join(row["text"].split())
    text = text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
    place = f"{row['channel']}/{row['account']}/{row['conversation']}"
    why = f"  ({row['why']})" if row["why"] else ""
    return f"{row['id']:>8}  {row['state']:<10}  {place}  {text}{why}"


def backup(state_dir: Path, *, target: Path, as_json: bool) -> int:
    """A whole copy of the store, made while the gateway goes on; or when none runs."""
    # Imported when it is made: no other command reads the store itself.
    from gateway.store.database import Database  # noqa: PLC0415
    from gateway.store.store import FILE  # noqa: PLC0415

    source = state_dir / FILE
    if not source.exists():
        complain(f"{source} does not exist: there is nothing to copy; name another --state-dir")
        return EXIT_FAILED
    try:
        with waiting(f"{source} is copied"):
            Database(source).backup(target)
    except StoreError as error:
        complain(str(error))
        return EXIT_FAILED
    if as_json:
        say_json({"copy": str(target), "of": str(source), "bytes": target.stat().st_size})
    else:
        say(f"{target} is a copy of {source}")
    return EXIT_OK
