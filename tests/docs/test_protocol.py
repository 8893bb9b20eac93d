"""docs/protocol.md: its frames are those of the protocol, and its calls and its session are run against a real gateway."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.docs.pages import Page
from tests.docs.shell import ADDRESS, Here, shell, starter_text
from tests.protocol.frames import Frames


async def test_the_protocol_is_as_the_page_says(tmp_path: Path) -> None:
    with Page("docs/protocol.md") as page:
        async with Here(tmp_path, starter_text()) as gateway:
            looked = await shell(page.take("console"), tmp_path, gateway.url)
            assert '"state": "running"' in looked
            sent = await shell(page.take("console"), tmp_path, gateway.url)
            assert "Lunch is ready" in sent
            changed = await shell(page.take("console"), tmp_path, gateway.url)
            assert '"outcome": "applied"' in changed
            assert "name: office" in gateway.config.read_text()
            await _holds_what_is_refused(gateway, json.loads(page.take("json").text))
            _are_frames([json.loads(page.take("json").text) for _ in range(6)])
            assert "webchat/default" in await shell(page.take("console"), tmp_path, gateway.url)
            session = page.take("python", "session.py")
            (tmp_path / session.name).write_text(session.text.replace(ADDRESS, gateway.url))
            told = await shell(page.take("console"), tmp_path)
            assert told.startswith("applied after a change of gateway.name\ntold of it by ")
            assert "name: harbour" in gateway.config.read_text()


async def _holds_what_is_refused(gateway: Here, shown: Any) -> None:
    """The error on the page is the one that is answered."""
    status, body = await gateway.http("POST", "/api/v1/channels/webchat/default/start")
    assert (status, body) == (409, shown)


def _are_frames(shown: list[Any]) -> None:
    """One connection, as the page tells it: each frame is what the published schema and our own document say."""
    frames = Frames()
    for frame in shown:
        text = json.dumps(frame)
        if frame["type"] == "req":
            frames.said(text)
        else:
            frames.heard(text)
