"""Every accepted request has an id and, in the end, exactly one outcome."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from gateway.clock import Clock

KEPT = 10_000
PENDING = "pending"
ENDED = "the process ended before it was done"


@dataclass(frozen=True)
class Request:
    """`outcome` is pending, then one of done, cancelled, superseded, refused, failed. Times are wall-clock ms."""

    id: str
    kind: str
    requester: str
    at: int
    outcome: str = PENDING
    why: str = ""
    ended_at: int | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def new_id(kind: str) -> str:
    return f"{kind}-{secrets.token_hex(6)}"


class Requests:
    """The ledger of requests, newest last."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._keep: Callable[[Request], None] = lambda _: None
        self._requests: OrderedDict[str, Request] = OrderedDict()

    def keep_with(self, keep: Callable[[Request], None]) -> None:
        """`keep` is called with each request when it is opened and when it has its outcome."""
        self._keep = keep
        for request in self._requests.values():
            keep(request)

    def restore(self, earlier: Iterable[dict[str, Any]]) -> None:
        """Those of earlier lives, oldest first. What was pending when its process ended has failed."""
        known, self._requests = self._requests, OrderedDict()
        for each in earlier:
            request = Request(**each)
            if request.id in known:
                # The image before this one has handed it on: it is older than it looks here.
                known[request.id] = replace(known[request.id], at=request.at)
            elif request.outcome == PENDING:
                request = replace(request, outcome="failed", why=ENDED, ended_at=self._clock.wall_ms())
                self._keep(request)
            self._requests[request.id] = request
        self._requests.update(known)

    def open(self, kind: str, requester: str, request_id: str = "") -> Request:
        request = Request(request_id or new_id(kind), kind, requester, self._clock.wall_ms())
        self._requests[request.id] = request
        self._keep(request)
        while len(self._requests) > KEPT:
            self._requests.popitem(last=False)
        return request

    def close(self, request_id: str, outcome: str, why: str = "") -> None:
        """Record the outcome. A second one for the same request is a defect, and raises ValueError."""
        request = self._requests.get(request_id)
        if request is None:
            return
        if request.outcome != PENDING:
            raise ValueError(f"request {request_id} has its outcome already: {request.outcome}")
        ended = replace(request, outcome=outcome, why=why, ended_at=self._clock.wall_ms())
        self._requests[request_id] = ended
        self._keep(ended)

    def get(self, request_id: str) -> Request | None:
        return self._requests.get(request_id)
