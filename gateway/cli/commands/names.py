"""What a shell may complete: names that the running gateway has. Where none runs, or it does not answer at once, there are none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import typer

from gateway.cli.main import CONFIG, STATE_DIR, place

PATIENCE = 1.0
"""Seconds that a person who has pressed Tab waits at the most."""


def accounts(context: typer.Context) -> list[str]:
    """Of every account, like telegram/main."""
    return _told(context, lambda client: map(_name, _status(client)["accounts"]))


def addresses(context: typer.Context) -> list[str]:
    """How an address begins, with the slash behind the account."""
    return [f"{name}/" for name in accounts(context)]


def machines(context: typer.Context) -> list[str]:
    """Of the gateway itself and of every account."""
    return ["gateway", *accounts(context)]


def tickets(context: typer.Context) -> list[str]:
    """Ids of the restarts that are pending."""
    return _told(context, lambda client: (str(each["id"]) for each in _status(client)["tickets"]))


def methods() -> list[str]:
    """Of the WebSocket protocol; no gateway need run."""
    from gateway.admin.methods import METHODS

    return sorted(METHODS)


def _told(context: typer.Context, ask: Callable[[Any], Iterator[str]]) -> list[str]:
    """Whatever goes wrong: an error in the middle of a line that somebody types helps nobody."""
    try:
        from gateway.cli.client import Client

        above = context.find_root().params
        client = Client(
            place(context.params.get("config") or above.get("config"), CONFIG),
            place(context.params.get("state_dir") or above.get("state_dir"), STATE_DIR),
            PATIENCE,
        )
        return list(ask(client))
    except Exception:  # noqa: BLE001 - see above
        return []


def _status(client: Any) -> dict[str, Any]:
    answer: dict[str, Any] = client.call("GET", "/api/v1/status")
    return answer


def _name(row: dict[str, Any]) -> str:
    return f"{row['channel']}/{row['account']}"
