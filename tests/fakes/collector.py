"""A collector of OpenTelemetry that keeps what it is sent: OTLP over HTTP, protobuf."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

PATIENCE = 20.0


@dataclass(frozen=True)
class Seen:
    """One span. Ids are in hex; `parent` is empty where it has none."""

    name: str
    trace: str
    id: str
    parent: str
    failed: bool
    attributes: dict[str, Any]
    resource: dict[str, Any]

    @property
    def what(self) -> str:
        """receive, route, handler, send, create."""
        return self.name.split()[0]

    @property
    def traceparent(self) -> str:
        return f"{self.trace}-{self.id}"


class FakeCollector:
    """`async with FakeCollector() as collector:`; `collector.environ` is what a program is told of it."""

    def __init__(self) -> None:
        self.spans: list[Seen] = []
        self.raw = b""
        """Every byte of every body."""
        self.headers: list[dict[str, str]] = []
        self.silent = False
        """It takes what it is sent, and never answers."""
        self._arrived = asyncio.Event()

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/v1/traces", self._take)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.environ = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{host}:{port}",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.raw += body
        self.headers.append(dict(request.headers))
        self._arrived.set()
        if self.silent:
            await asyncio.Event().wait()
        self.spans += _spans(body)
        self._arrived.set()
        return web.Response(content_type="application/x-protobuf")

    def of(self, trace: str) -> list[Seen]:
        """The spans of one trace, as they came."""
        return [span for span in self.spans if span.trace == trace]

    async def until(self, holds: Callable[[], bool]) -> None:
        """Return when it holds; looked at whenever something has come."""
        async with asyncio.timeout(PATIENCE):
            while not holds():
                self._arrived.clear()
                await self._arrived.wait()


def _spans(body: bytes) -> list[Seen]:
    found = []
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        about = _values(resource.resource.attributes)
        for scope in resource.scope_spans:
            found += [_seen(span, about) for span in scope.spans]
    return found


def _seen(span: Any, about: dict[str, Any]) -> Seen:
    ids = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
    assert not span.status.message, "an error may quote what was said"
    assert not span.events, "an exception may quote what was said"
    assert 0 < span.start_time_unix_nano <= span.end_time_unix_nano
    failed = span.status.code == span.status.STATUS_CODE_ERROR
    return Seen(span.name, *ids, failed, _values(span.attributes), about)


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
