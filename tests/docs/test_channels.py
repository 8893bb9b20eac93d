"""docs/channels.md: its adapter is installed, passes what it promises, and receives a message in a running gateway."""

from __future__ import annotations

import asyncio
import json
import runpy
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.channels.base import Intake, Offsets
from gateway.channels.sessions import Sessions
from gateway.cli.init import starter
from gateway.clock import Clock
from gateway.errors import SessionsSpentError
from tests.docs.packages import install
from tests.docs.pages import Page
from tests.docs.shell import Here, shell
from tests.real.process import ROOT

ADMIN = "gateway: {admin: {port: 0}}\n"
ELSEWHERE = "/var/mail/gateway"


async def test_the_adapter_of_the_page_is_installed_and_receives_a_letter(tmp_path: Path) -> None:
    with Page("docs/channels.md") as page:
        page.write(tmp_path, "pyproject.toml", "gateway_letters.py", "test_letters.py", "counted.py")
        install(tmp_path)
        path, folder = f"{ROOT}:{tmp_path}", str(tmp_path / "mail")
        config = page.take("yaml").text.replace(ELSEWHERE, folder)
        letters = page.take("console").text.replace(ELSEWHERE, folder)
        async with Here(tmp_path, starter({}).replace("18790", "0"), PYTHONPATH=path) as gateway:
            # As long as there is no such folder the account waits for one.
            gateway.config.write_text(ADMIN + config)
            await gateway.until(lambda status: _state(status) == "backoff")
            await shell(letters, tmp_path)
            async with asyncio.timeout(15):
                while not (found := list((tmp_path / "mail" / "outbox").glob("[0-9]*"))):
                    await asyncio.sleep(0.02)
            assert json.loads(found[0].read_text()) == {"to": "ann", "text": "Dear gateway"}
            await gateway.until(lambda status: _state(status) == "running")
        assert "passed" in await shell(page.take("console"), tmp_path, PYTHONPATH=path)
        await _counts(runpy.run_path(str(tmp_path / "counted.py")))


class _Line:
    """A connection to a network that knows one session, `now`."""

    def __init__(self, now: str, *events: str) -> None:
        self.now, self.events, self.asked = now, events, list[str]()

    async def resume(self, session: str) -> bool:
        self.asked.append(f"resume {session}")
        return session.startswith(self.now)

    async def identify(self) -> str:
        self.asked.append("identify")
        return f"{self.now}, 0"

    async def __aiter__(self) -> AsyncIterator[tuple[int, list[str], str]]:
        for number, event in enumerate(self.events, 1):
            yield number, [event], f"{self.now}, {number}"


class _Consumer:
    """Takes everything over."""

    def __init__(self) -> None:
        self.taken: list[Any] = []

    async def accept(self, identity: str, offset: int, messages: list[Any], first: int | None) -> int:
        self.taken += messages
        return len(messages)

    async def room(self) -> None:
        """There always is."""


async def _counts(page: dict[str, Any]) -> None:
    """The page's way to a session: taken up again where it can be, counted where it is a start, and stopped at the limit."""
    consumer, ready = _Consumer(), list[bool]()
    intake = Intake(Offsets(), consumer, lambda: ready.append(True), lambda: 0, Sessions(Clock()))
    lines = [_Line("one", "a", "b"), _Line("one", "c"), _Line("two"), _Line("two", "d")]
    for line in lines:
        await page["receive"](intake, "bot", line)
    asked = [["identify"], ["resume one, 2"], ["resume one, 1", "identify"], ["resume two, 0"]]
    assert [line.asked for line in lines] == asked
    assert (consumer.taken, len(ready)) == (["a", "b", "c", "d"], 1)
    page["open_session"].__globals__["STARTS_A_DAY"] = 2
    with pytest.raises(SessionsSpentError):
        await page["open_session"](intake, "bot", _Line("three"))
    assert intake.session("bot") is None


def _state(status: dict[str, list[dict[str, str]]]) -> str:
    return next((row["state"] for row in status["accounts"] if row["channel"] == "letters"), "")
