"""`gateway status, channels, restart, journal`: what an operator looks at and does, on the gateway that runs."""

from __future__ import annotations

import json
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gateway.cli import status_text
from gateway.cli.client import CallError, Client, UnreachableError
from gateway.cli.exits import EXIT_FAILED, EXIT_OK, EXIT_USAGE, complain

LOOK_EVERY = 0.5
"""Seconds from one look to the next, of what is watched or followed."""
VERBS = ("start", "stop", "restart")
CLEAR = "\x1b[H\x1b[2J"
PAGE = 1_000
"""Entries of the journal that are asked for at a time."""


def run(given: Namespace, config: Path, state_dir: Path) -> int:
    """Run the command that was given; its exit code."""
    try:
        return COMMANDS[given.command](given, Client(config, state_dir.absolute()))
    except CallError as error:
        complain(str(error))
        if allowed := [verb for verb in VERBS if verb in error.details.get("allowed", ())]:
            complain(f"what can be done with it now: {', '.join(allowed)}")
        if given.json:
            _print(json.dumps(error.body, indent=2))
    except UnreachableError as error:
        complain(str(error))
    except ValueError as error:
        complain(str(error))
        return EXIT_USAGE
    except (KeyboardInterrupt, BrokenPipeError):
        return EXIT_OK  # whoever watched has seen enough
    return EXIT_FAILED


def _status(given: Namespace, client: Client) -> int:
    def look() -> None:
        answer = client.call("GET", "/api/v1/status")
        _print(json.dumps(answer, indent=2) if given.json else status_text.status(answer))

    look()
    while given.watch:
        time.sleep(LOOK_EVERY)
        if not given.json:
            sys.stdout.write(CLEAR if sys.stdout.isatty() else "\n")
        look()
    return EXIT_OK


def _channels(given: Namespace, client: Client) -> int:
    if given.action == "list":
        answer = client.call("GET", "/api/v1/channels")
        _print(json.dumps(answer, indent=2) if given.json else status_text.accounts(answer["accounts"], _now()))
        return EXIT_OK
    channel, slash, account = (given.account or "").partition("/")
    if not slash:
        raise ValueError(
            f"which one? `gateway channels` lists them; then `gateway channels {given.action} CHANNEL/ACCOUNT`"
        )
    answer = client.call("POST", f"/api/v1/channels/{quote(channel, '')}/{quote(account, '')}/{given.action}", b"{}")
    _print(json.dumps(answer, indent=2) if given.json else status_text.account(answer))
    return EXIT_OK


def _restart(given: Namespace, client: Client) -> int:
    if given.cancel is not None:
        return _cancel(given, client)
    wish = {"reason": given.reason, "force": given.force}
    wish |= {} if given.delay is None else {"delay_ms": round(given.delay * 1000)}
    answer = client.call("POST", "/api/v1/restart", json.dumps(wish).encode())
    _print(json.dumps(answer, indent=2) if given.json else status_text.restart(answer))
    return EXIT_OK


def _cancel(given: Namespace, client: Client) -> int:
    """One ticket, or all that are open."""
    open_ = [ticket["id"] for ticket in client.call("GET", "/api/v1/status")["tickets"]]
    wanted = [given.cancel] if given.cancel else open_
    if not wanted:
        complain("no restart is pending")
        return EXIT_FAILED
    answers = [client.call("DELETE", f"/api/v1/restart/{quote(ticket, '')}") for ticket in wanted]
    if given.json:
        _print(json.dumps({"cancelled": answers}, indent=2))
    else:
        _print("\n".join(f"{answer['id']} is {answer['outcome']}" for answer in answers))
    return EXIT_OK


def _journal(given: Namespace, client: Client) -> int:
    say: Callable[[dict[str, Any]], str] = json.dumps if given.json else status_text.entry
    after = given.after
    if after is None:
        newest = client.call("GET", "/api/v1/journal", limit=PAGE)["entries"]
        after = newest[-1]["seq"] if newest else 0
        wanted = [each for each in newest if given.machine in (None, each["machine"])]
        for entry in wanted[max(0, len(wanted) - given.limit) :]:
            _print(say(entry))
    while entries := _newer(client, given, after):
        for entry in entries:
            _print(say(entry))
        after = entries[-1]["seq"]
    return EXIT_OK


def _newer(client: Client, given: Namespace, after: int) -> list[dict[str, Any]]:
    """What came after that; of what is followed, as soon as there is something."""
    while True:
        page = client.call("GET", "/api/v1/journal", after=after, limit=PAGE, machine=given.machine)["entries"]
        if page or not given.follow:
            return list(page)
        time.sleep(LOOK_EVERY)


COMMANDS = {"status": _status, "channels": _channels, "restart": _restart, "journal": _journal}


def _now() -> int:
    return round(time.time() * 1000)


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
