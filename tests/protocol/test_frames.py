"""That the check of frames sees: each kind of fault in a frame is told, with the frame, and fails the test it came to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gateway.admin.methods import EVENTS, METHODS
from tests.protocol.frames import KEPT, FrameError, Frames, payload_of, result_of, session, take_faults

TESTS = Path(__file__).resolve().parents[1]
HELLO = {
    "type": "hello-ok",
    "protocol": 4,
    "server": {"version": "1", "bootId": "b", "connId": "c"},
    "features": {"methods": ["connect"], "events": ["tick", "chat", "journal"]},
    "snapshot": {
        "presence": [],
        "health": {"ok": True, "ts": 1},
        "stateVersion": {"presence": 0, "health": 0},
        "uptimeMs": 0,
        "appliedConfigHash": "a",
        "configPath": "gateway.yaml",
        "stateDir": ".gateway",
        "authMode": "token",
    },
    "auth": {"role": "operator", "scopes": []},
    "policy": {"maxPayload": 1, "maxBufferedBytes": 1, "tickIntervalMs": 1},
}


def response(request: str, payload: Any) -> dict[str, Any]:
    return {"type": "res", "id": request, "ok": True, "payload": payload}


def event(name: str, payload: Any, **more: Any) -> dict[str, Any]:
    return {"type": "event", "event": name, "payload": payload, **more}


def refusal(**error: Any) -> dict[str, Any]:
    return {"type": "res", "id": "1", "ok": False, "error": {"code": "INVALID_REQUEST", "message": "no", **error}}


@pytest.fixture
def signed_in() -> Frames:
    """A connection that has had its hello, and asked for the log and for what has no published shape; twice not rightly."""
    frames = Frames()
    frames.said(json.dumps({"type": "req", "id": "0", "method": "connect", "params": SIGNING_IN}))
    frames.heard(json.dumps(response("0", HELLO)))
    for number, (method, params) in enumerate(ASKED, 1):
        frames.said(json.dumps({"type": "req", "id": str(number), "method": method, "params": params}))
    return frames


SIGNING_IN = {
    "minProtocol": 4,
    "maxProtocol": 4,
    "client": {"id": "test", "version": "1", "platform": "linux", "mode": "test"},
}
ASKED: list[tuple[str, Any]] = [
    ("logs.tail", None),
    ("journal.list", {}),
    ("journal.list", {"limit": 0}),
    ("no.such", {}),
]
TAIL = {
    "file": "stderr",
    "cursor": 0,
    "size": 0,
    "lines": [],
    "reset": False,
    "truncated": False,
    "skippedBytes": 0,
}
GOOD = [
    response("1", TAIL),
    response("2", {"entries": []}),
    refusal(),
    refusal(details={"code": "MISSING_SCOPE", "missingScope": "a", "requiredScopes": ["a"]}),
    event("tick", {"ts": 1}, seq=1),
]
BAD = [
    (response("1", TAIL | {"cursor": -1}), "LogsTailResult: cursor: -1 is less than"),
    (response("5", {}), "follows a request"),
    (response("2", {"entries": [{}]}), "journal.list.answer: payload.entries.0: 'seq' is a required"),
    (response("3", {"entries": []}), "journal.list.request: params: .*'limit': 0. is not valid"),
    (response("4", {}), "the AsyncAPI document has no no.such.answer"),
    (refusal(details={"why": "none of ours"}), "refusal: error.details: "),
    (event("journal", {"seq": 1}, seq=1), "event.journal: payload: 'at' is a required"),
    ({"type": "res", "id": "1", "ok": True}, "has a payload"),
    ({"type": "res", "id": "1", "ok": True, "payload": {}, "more": 1}, "ResponseFrame: the whole: .*'more'"),
    ({"type": "res", "id": "1", "ok": False}, "has an error"),
    ({"type": "other"}, "ResponseFrame: type: 'res' was expected"),
    (refusal(retryAfterMs=0.5), "ResponseFrame: error.retryAfterMs"),
    (refusal(details={"missingScope": "a"}), "MissingScopeErrorDetails: the whole: 'code' is a required"),
    (event("tick", {"ts": 1.5}, seq=1), "TickEvent: ts"),
    (event("tick", {"ts": 1}, seq=2), "seq is 2"),
    (event("tick", {"ts": 1}), "seq is None"),
    (event("chat", {"runId": "1"}, seq=1), "ChatEvent"),
    (event("other", {}, seq=1), "not among the events"),
    (event("", {}, seq=1), "EventFrame: event"),
]


@pytest.mark.parametrize("frame", GOOD, ids=repr)
def test_a_good_frame_passes(signed_in: Frames, frame: dict[str, Any]) -> None:
    signed_in.heard(json.dumps(frame))


@pytest.mark.parametrize(("frame", "fault"), BAD, ids=[fault for _, fault in BAD])
def test_a_bad_frame_is_told_with_its_fault(signed_in: Frames, frame: dict[str, Any], fault: str) -> None:
    text = json.dumps(frame)
    with pytest.raises(FrameError, match=fault) as told:
        signed_in.heard(text)
    assert text in str(told.value)
    assert len(take_faults()) == 1


def test_a_hello_without_what_it_must_have_is_a_fault() -> None:
    frames = Frames()
    frames.said('{"type": "req", "id": "0", "method": "connect"}')
    with pytest.raises(FrameError, match="HelloOk: the whole: 'policy' is a required"):
        frames.heard(json.dumps(response("0", {name: value for name, value in HELLO.items() if name != "policy"})))
    take_faults()


def test_an_id_that_stands_for_two_requests_is_answered_as_either(signed_in: Frames) -> None:
    for method in ("journal.list", "connect"):
        signed_in.said(json.dumps({"type": "req", "id": "1", "method": method}))
    signed_in.heard(json.dumps(refusal()))
    signed_in.heard(json.dumps(response("1", {"entries": []})))
    signed_in.heard(json.dumps(response("1", TAIL)))
    with pytest.raises(FrameError, match="follows a request"):
        signed_in.heard(json.dumps(response("1", TAIL)))
    take_faults()


async def test_the_sessions_of_tests_check_what_they_receive(aiohttp_client: Any) -> None:
    async def serve(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json(event("connect.challenge", {"nonce": ""}))
        return socket

    app = web.Application()
    app.router.add_get("/", serve)
    server = (await aiohttp_client(app)).server
    async with session() as client, client.ws_connect(server.make_url("/")) as socket:
        with pytest.raises(FrameError, match="ConnectChallengeEvent: nonce"):
            await socket.receive_json()
    take_faults()


def test_nobody_opens_a_websocket_unchecked() -> None:
    """Where one is opened, every session is one of ours; but for a bot's line to its network, which has frames of its own."""
    texts = {str(file.relative_to(TESTS)): file.read_text() for file in TESTS.rglob("*.py") if file != Path(__file__)}
    opening = {name for name, text in texts.items() if ".ws_connect(" in text}
    assert {"gateway/admin/house.py", "real/process.py"} <= opening
    assert [name for name in opening if "ClientSession(" in texts[name]] == ["fakes/discord_adapter.py"]


def test_the_kept_copy_has_what_answers_and_events_are_held_to() -> None:
    kept = json.loads(KEPT.read_text())["definitions"]
    needed = {*map(result_of, ("connect", *METHODS)), *map(payload_of, EVENTS)} - {None, "ConnectChallengeEvent"}
    assert needed <= set(kept)
    assert {"HelloOk", "ChannelsStatusResult", "ConfigSchemaResponse", "LogsTailResult", "TickEvent"} <= needed
