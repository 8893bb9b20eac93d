"""Whatever a client sends over the WebSocket: answered once or closed with a code that says why, and nobody else notices."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import WSMsgType
from hypothesis import given
from hypothesis import strategies as st

from statemachine.lifecycle import LifecycleState
from tests.fuzz.frames import CONNECT, CURRENT, FRAMES, LAST_FRAMES, ODD_TEXTS, Frame, bent
from tests.fuzz.profiles import tries
from tests.gateway.admin.house import AdminHouse, Socket, run

CLOSES: dict[str, set[int | None]] = {"bytes": {1003}, "raw": {1007}, "text": {1009, 1006, None}}
"""By the kind of the last frame. What is too large is closed before it was read, so that the close may get lost."""
RESTARTING = 1012


def check_frame(frame: dict[str, Any]) -> None:
    """It tells of no defect. That it is what the published protocol allows is checked where it is received."""
    if frame["type"] == "res" and not frame["ok"]:
        assert frame["error"]["message"] != "an internal error; see the log"


def expected_id(text: str) -> str:
    """The id that the answer to a text has."""
    try:
        frame = json.loads(text)
    except (ValueError, RecursionError):
        return "unknown"
    right = isinstance(frame, dict) and frame.get("type") == "req"
    texts = right and all(isinstance(frame.get(name), str) and frame[name] for name in ("id", "method"))
    return str(frame["id"]) if texts else "unknown"


async def send(house: AdminHouse, socket: Socket, frame: Frame) -> str | None:
    """The text that was sent, if it is one that is answered."""
    kind, what = frame
    if kind == "ping":
        await socket.socket.ping(what)
    elif kind == "bytes":
        await socket.socket.send_bytes(what)
    elif kind == "raw":
        writer = socket.socket._writer
        assert writer is not None
        await writer.send_frame(what, WSMsgType.TEXT)
    else:
        text = json.dumps(what) if kind == "request" else what.encode(errors="replace").decode()
        text = text.replace(CURRENT, house.hash or "")
        await socket.socket.send_str(text)
        return text
    return None


async def answers(socket: Socket, wanted: int) -> tuple[list[dict[str, Any]], int | None]:
    """The responses that come, until there are so many or the connection is closed; and the code of its close."""
    found: list[dict[str, Any]] = []
    while len(found) < wanted:
        message = await socket.socket.receive(300.0)
        if message.type is not WSMsgType.TEXT:
            return found, socket.socket.close_code
        socket.house.frames.append(message.data)
        frame = json.loads(message.data)
        check_frame(frame)
        found += [frame] if frame["type"] == "res" else []
    return found, None


async def still_serves(house: AdminHouse) -> None:
    await house.until(LifecycleState.RUNNING)
    assert house.server is not None
    other = await house.sign_in(house.server._token())
    assert (await other.ask("health"))["ok"]
    await other.socket.close()


async def check_conversation(house: AdminHouse, frames: list[Frame], last: Frame | None) -> None:
    socket = await house.sign_in()
    try:
        sent = [text for frame in frames if (text := await send(house, socket, frame)) is not None]
    except ConnectionError:  # one of them was a restart
        sent = []
    found, code = await answers(socket, len(sent))
    missing = Counter(map(expected_id, sent)) - Counter(frame["id"] for frame in found)
    spare = Counter(frame["id"] for frame in found) - Counter(map(expected_id, sent))
    if code == RESTARTING or not sent:
        assert not spare or not sent
    else:
        assert (missing, spare, code) == (Counter(), Counter(), None)
        if last is not None and not socket.socket.closed:
            await send(house, socket, last)
            assert await socket.closed() in CLOSES[last[0]] | {RESTARTING}
    await still_serves(house)
    await socket.socket.close()


def in_a_house(check: Any, *arguments: Any) -> None:
    """Run it in a gateway of its own; nothing in its log may be an error of the program."""

    async def main() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with AdminHouse(Path(folder)) as house:
                await check(house, *arguments)

    lines = run(main())
    assert [line for line in lines if line["event"] in ("call_failed", "http_failed") or "exc_info" in line] == []


@tries(60)
@given(frames=st.lists(FRAMES, min_size=1, max_size=8), last=st.one_of(st.none(), LAST_FRAMES))
def test_every_request_is_answered_once_whatever_else_is_sent(frames: list[Frame], last: Frame | None) -> None:
    in_a_house(check_conversation, frames, last)


async def check_first(house: AdminHouse, first: Frame) -> None:
    socket = await house.open()
    text = await send(house, socket, first)
    message = await socket.socket.receive(300.0)
    if message.type is WSMsgType.TEXT:
        frame = json.loads(message.data)
        check_frame(frame)
        assert text is not None
        known = expected_id(text)
        assert frame["id"] == ("connect" if known == "unknown" else known)
        if not frame["ok"]:
            assert frame["error"]["code"] in ("INVALID_REQUEST", "UNAVAILABLE")
            assert await socket.closed() == aiohttp.WSCloseCode.POLICY_VIOLATION
    else:
        assert socket.socket.close_code in {1008, 1009, 1007, 1006, None}
    await still_serves(house)
    await socket.socket.close()


FIRST: st.SearchStrategy[Frame] = st.one_of(
    bent(CONNECT).map(lambda frame: ("request", frame)),
    ODD_TEXTS.map(lambda text: ("text", text)),
    LAST_FRAMES,
)


@tries(60)
@given(first=FIRST)
def test_before_sign_in_one_frame_is_heard(first: Frame) -> None:
    in_a_house(check_first, first)
