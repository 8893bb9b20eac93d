"""Asks a server in ways in which no honest client does, and notes all that comes of it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp

from tests.gateway.admin.house import AdminHouse

STATUS = "/api/v1/status"


async def say(house: AdminHouse, head: str, body: bytes = b"", *, host: str = "") -> tuple[int, str]:
    """Status and all that is answered to a request as it is written, which no client of HTTP would send."""
    reader, writer = await house.dial()
    named = "" if "\nHost:" in head else f"Host: {host or f'127.0.0.1:{house.port}'}\r\n"
    lines = head.replace("\n", "\r\n") + "\r\n"
    writer.write(f"{lines}{named}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    answer = (await reader.read()).decode(errors="replace")
    writer.close()
    await writer.wait_closed()
    return int(answer.split()[1]) if answer else 0, answer


async def upgrade(house: AdminHouse, path: str, **headers: str) -> int:
    """The status that a WebSocket is answered with; 101 is an open one."""
    assert house.session is not None
    try:
        socket = await house.session.ws_connect(house.url + path, headers=headers)
    except aiohttp.WSServerHandshakeError as error:
        return error.status
    await socket.close()
    return 101


async def statuses(house: AdminHouse, each: Iterable[dict[str, str]], path: str = STATUS) -> set[int]:
    """What calls with these headers and the right token are answered with, by HTTP and by WebSocket."""
    found = set()
    for headers in each:
        found.add((await house.http("GET", path, headers=headers))[0])
        found |= {await upgrade(house, "/ws", **headers), await upgrade(house, "/", **headers)}
    return found


async def every_get(house: AdminHouse) -> dict[str, Any]:
    """The headers and the body of each good answer to GET, by path."""
    assert house.server is not None
    names = {
        "revision": "1",
        "name": "channel",
        "kind": "mmd",
        "id": "never",
        "channel": "webchat",
        "account": "default",
    }
    found = {}
    for resource in house.server._app.router.resources():
        path = resource.canonical.replace("/page/{name}", "/page/page.js")
        for name, given in names.items():
            path = path.replace(f"{{{name}}}", given)
        if "{" in path or path == "/ws":
            continue
        status, body, headers = await house.http("GET", path)
        if status == 200:
            found[path] = (headers, body)
    for path in ("/api/v1/journal?format=jsonl", "/api/v1/machines/channel.svg", "/api/v1/config/schema?path=gateway"):
        _, body, headers = await house.http("GET", path)
        found[path] = (headers, body)
    assert len(found) > 20
    return found


@contextmanager
def logged_by_libraries() -> Iterator[list[str]]:
    """What libraries log, from warnings on."""
    records: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: records.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    try:
        yield records
    finally:
        logging.getLogger().removeHandler(handler)
