"""What clients are told unasked: each journal entry, and the lifecycle, channel, config and chat events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.admin.services import Services
from gateway.admin.views import Views
from gateway.channels.webchat import Line
from gateway.journal import Entry
from statemachine.change import Change
from statemachine.channel import Channel
from statemachine.delivery import Delivery
from statemachine.incoming import Incoming
from statemachine.lifecycle import Lifecycle

Broadcast = Callable[[str, dict[str, Any]], None]


class Announcer:
    """Turns journal entries and chat lines into events of the protocol."""

    def __init__(self, services: Services, views: Views, broadcast: Broadcast, watched: Callable[[], bool]) -> None:
        self._services = services
        self._views = views
        self._broadcast = broadcast
        self._watched = watched
        self._chats = 0

    def start(self) -> None:
        self._services.journal.listen(self._on_entry)
        self._services.hub.listen(self._on_line)

    def _on_entry(self, entry: Entry) -> None:
        if not self._watched():
            return
        self._broadcast("journal", entry.as_dict())
        if entry.kind == "refusal":
            return
        if entry.standing is None:
            return
        kind = entry.standing.machine.kind
        if kind == Lifecycle.kind:
            self._broadcast("lifecycle", self._views.lifecycle())
            if entry.revision:
                self._broadcast("config", self._views.config_event(entry.revision))
        elif kind == Change.kind:
            change = {"change": entry.machine, "state": entry.after}
            self._broadcast("config", self._views.config_event(entry.standing.data.revision) | change)
        elif kind in (Incoming.kind, Delivery.kind):
            traceparent = self._services.messages.traceparent(entry.machine)
            more = {} if traceparent is None else {"traceparent": traceparent}
            self._broadcast("message", {"machine": entry.machine, "state": entry.after} | more)
        elif kind == Channel.kind and self._services.dispatcher.find(entry.machine) is not None:
            self._broadcast("channel", self._views.account(entry.machine))

    def _on_line(self, name: str, conversation: str, line: Line) -> None:
        self._chats += 1
        session = f"{name.replace('/', ':', 1)}:{conversation}"
        message = {"id": line.id, "role": line.role, "text": line.text, "ts": line.ts}
        run = line.run.removeprefix("re:") or line.id
        self._broadcast(
            "chat", {"runId": run, "sessionKey": session, "seq": self._chats, "state": "final", "message": message}
        )
