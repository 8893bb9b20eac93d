"""`gateway channels, restart, journal`: what an operator looks at and does, on the gateway that runs."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gateway.cli import status_text
from gateway.cli.asking import asked
from gateway.cli.client import Client, UnreachableError
from gateway.cli.exits import EXIT_FAILED, EXIT_OK, complain, on_terminal
from gateway.cli.plain import say, say_json
from gateway.cli.progress import LOOK_EVERY, waiting
from gateway.cli.show import show

PENDING, RESTARTED = "pending", frozenset({"done", "superseded"})
"""What becomes of a request for a restart: at first, and where the gateway has restarted, be it for another one."""
COMES_BACK = 60.0
"""Seconds that a gateway may be away while it restarts."""
PAGE = 1_000
"""Entries of the journal that are asked for at a time."""


def channels(config: Path, state_dir: Path, *, action: str, account: str | None, as_json: bool) -> int:
    """List the accounts, or tell one of them what to do."""

    def list_all(client: Client) -> int:
        rows = client.call("GET", "/api/v1/channels")
        show(rows, lambda: status_text.accounts(rows["accounts"], _now()),
             lambda tables: tables.accounts(rows["accounts"], _now()), as_json=as_json)  # fmt: skip
        return EXIT_OK

    def tell_one(client: Client) -> int:
        channel, slash, name = (account or "").partition("/")
        if not slash:
            raise ValueError(
                f"which one? `gateway channels` lists them; then `gateway channels {action} CHANNEL/ACCOUNT`"
            )
        with waiting(f"{action} {account}"):
            answer = client.call("POST", f"/api/v1/channels/{quote(channel, '')}/{quote(name, '')}/{action}", b"{}")
        show(answer, lambda: status_text.account(answer), lambda tables: tables.account(answer), as_json=as_json)
        return EXIT_OK

    return asked(config, state_dir, list_all if action == "list" else tell_one, as_json=as_json)


def restart(
    config: Path, state_dir: Path, *, delay: float | None, reason: str, force: bool, wait: bool | None, as_json: bool
) -> int:
    """Ask for a restart; and wait for what becomes of it, where that is wished, or a person looks on."""
    wish = {"reason": reason, "force": force}
    wish |= {} if delay is None else {"delay_ms": round(delay * 1000)}
    wait = on_terminal(sys.stdout) and on_terminal(sys.stderr) and not as_json if wait is None else wait

    def ask(client: Client) -> int:
        answer = client.call("POST", "/api/v1/restart", json.dumps(wish).encode())
        if not (wait and as_json):
            say_json(answer) if as_json else say(status_text.restart(answer))
        return _see_through(client, answer["id"]) if wait else EXIT_OK

    def _see_through(client: Client, ticket: str) -> int:
        try:
            request = _outcome(client, lambda: Client(config, state_dir.absolute()), ticket)
        except KeyboardInterrupt:
            complain(f"it is asked for all the same; `gateway restart --cancel {ticket}` calls it off")
            return EXIT_OK
        show(request, lambda: status_text.outcome(request), lambda tables: tables.outcome(request), as_json=as_json)
        return EXIT_OK if request["outcome"] in RESTARTED else EXIT_FAILED

    return asked(config, state_dir, ask, as_json=as_json)


def _outcome(client: Client, anew: Callable[[], Client], ticket: str) -> dict[str, Any]:
    """What has become of a restart, once something has. Raises UnreachableError where no gateway came back in time."""
    away = 0.0
    with waiting("the restart") as tell:
        while True:
            try:
                request = client.call("GET", f"/api/v1/requests/{quote(ticket, '')}")
                if request["outcome"] != PENDING:
                    return request
                tell(status_text.holds_up(client.call("GET", "/api/v1/status")))
                away = 0.0
            except UnreachableError:
                # By the mode `exit` whoever supervises it starts another, which may answer elsewhere.
                away += LOOK_EVERY
                if away > COMES_BACK:
                    raise
                with contextlib.suppress(UnreachableError):
                    client = anew()
            time.sleep(LOOK_EVERY)


def cancel(config: Path, state_dir: Path, *, ticket: str | None, as_json: bool) -> int:
    """Call one restart off, or all that are pending."""

    def ask(client: Client) -> int:
        pending = [each["id"] for each in client.call("GET", "/api/v1/status")["tickets"]]
        wanted = [ticket] if ticket else pending
        if not wanted:
            complain("no restart is pending")
            return EXIT_FAILED
        answers = [client.call("DELETE", f"/api/v1/restart/{quote(each, '')}") for each in wanted]
        if as_json:
            say_json({"cancelled": answers})
        else:
            say("\n".join(f"{answer['id']} is {answer['outcome']}" for answer in answers))
        return EXIT_OK

    return asked(config, state_dir, ask, as_json=as_json)


def journal(
    config: Path, state_dir: Path, *, follow: bool, limit: int, after: int | None, machine: str | None, as_json: bool
) -> int:
    """Steps and refusals, the newest last; followed, until it is interrupted."""

    def tell(entry: dict[str, Any]) -> None:
        show(entry, lambda: status_text.entry(entry), lambda tables: tables.entry(entry), as_json=as_json, indent=None)

    def look(client: Client) -> int:
        seen = after
        if seen is None:
            newest = client.call("GET", "/api/v1/journal", limit=PAGE)["entries"]
            seen = newest[-1]["seq"] if newest else 0
            wanted = [each for each in newest if machine in (None, each["machine"])]
            for entry in wanted[max(0, len(wanted) - limit) :]:
                tell(entry)
        with contextlib.suppress(KeyboardInterrupt):  # whoever followed has seen enough
            while entries := _newer(client, seen, machine, wait=follow):
                for entry in entries:
                    tell(entry)
                seen = entries[-1]["seq"]
        return EXIT_OK

    return asked(config, state_dir, look, as_json=as_json)


def _newer(client: Client, after: int, machine: str | None, *, wait: bool) -> list[dict[str, Any]]:
    """What came after that; of what is followed, as soon as there is something."""
    while True:
        page = client.call("GET", "/api/v1/journal", after=after, limit=PAGE, machine=machine)["entries"]
        if page or not wait:
            return list(page)
        time.sleep(LOOK_EVERY)


def _now() -> int:
    return round(time.time() * 1000)
