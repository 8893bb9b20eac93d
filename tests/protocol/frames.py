"""Holds every frame that a gateway sends to any test against the published schema: its envelope, and its payload where
the schema has one. And against the gateway's own AsyncAPI document, which has them all; so are the requests that it obeys.

Tests connect with `session()`, whose WebSockets check what they receive; whatever reads frames in another way tells a
`Frames` of its own. A fault is raised where the frame was received, and noted for the end of the test (`conftest.py`):
who reads in the background is not always listened to.
"""

from __future__ import annotations

import json
from collections import Counter
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import aiohttp
from jsonschema import Draft7Validator

from tests.node.packages import SCHEMA as PUBLISHED
from tests.protocol.own import own_faults

KEPT = Path(__file__).with_name("openclaw-v4.schema.json")
"""A copy of those definitions that are used, for where the package cannot be had."""
CHALLENGE = {
    "type": "object",
    "required": ["nonce", "ts"],
    "properties": {"nonce": {"type": "string", "minLength": 1}, "ts": {"type": "integer", "minimum": 0}},
    "additionalProperties": False,
}
"""The published client insists on it; the schema leaves it out."""

_faults: list[str] = []


class FrameError(AssertionError):
    """A frame is not what the published protocol says."""


@cache
def definitions() -> dict[str, Any]:
    """The published definitions, by name: the package's, or the kept copy of some."""
    found: dict[str, Any] = json.loads((PUBLISHED if PUBLISHED.exists() else KEPT).read_text(encoding="utf-8"))
    return {**found["definitions"], "ConnectChallengeEvent": CHALLENGE}


@cache
def validator(definition: str) -> Draft7Validator:
    return Draft7Validator(definitions()[definition])


def result_of(method: str) -> str | None:
    """The definition of a method's answer, by the names that the package gives them: `logs.tail` has LogsTailResult."""
    names = ("HelloOk",) if method == "connect" else (_pascal(method) + "Result", _pascal(method) + "Response")
    return next((name for name in names if name in definitions()), None)


def payload_of(event: str) -> str | None:
    """The definition of an event's payload: `tick` has TickEvent."""
    name = _pascal(event) + "Event"
    return name if name in definitions() else None


def _pascal(words: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in words.split("."))


def take_faults() -> list[str]:
    """What was wrong since somebody looked last."""
    taken, _faults[:] = _faults[:], []
    return taken


def faults_in(definition: str, value: Any) -> list[str]:
    """Every way in which the value is not what the definition says."""
    return [
        f"{definition}: {'.'.join(map(str, fault.path)) or 'the whole'}: {fault.message[:500]}"
        for fault in validator(definition).iter_errors(value)
    ]


class Frames:
    """The frames of one connection."""

    def __init__(self) -> None:
        self._asked: dict[str, list[dict[str, Any]]] = {}
        self._answered: Counter[str] = Counter()
        self._listed: set[str] | None = None
        self._seq = 0

    def said(self, text: str) -> None:
        """What the client sent: an answer is held against what was asked for."""
        try:
            frame = json.loads(text)
        except (ValueError, RecursionError):
            return
        if isinstance(frame, dict) and isinstance(frame.get("id"), str) and isinstance(frame.get("method"), str):
            self._asked.setdefault(frame["id"], []).append(frame)

    def heard(self, text: str) -> None:
        """What the gateway sent. Raises FrameError."""
        frame = json.loads(text)
        faults = self._event(frame, text) if frame.get("type") == "event" else self._response(frame)
        if faults:
            fault = "\n".join([*faults, f"in the frame: {text[:2000]}"])
            _faults.append(fault)
            raise FrameError(fault)

    def _event(self, frame: dict[str, Any], text: str) -> list[str]:
        event, seq = frame.get("event"), frame.get("seq")
        faults = []
        if self._listed is not None:
            faults += [] if event in self._listed else [f"{event} is not among the events of hello-ok"]
            self._seq += 1
            faults += [] if seq == self._seq else [f"seq is {seq}, and not {self._seq}"]
        return [*faults, *_shape(_numbered_one(text, seq))]

    def _response(self, frame: dict[str, Any]) -> list[str]:
        faults = faults_in("ResponseFrame", frame)
        if faults:
            return faults
        asked = self._requests(frame["id"])
        if not frame["ok"]:
            return _refusal(frame) or own_faults("refusal", frame)
        if not asked or "error" in frame or "payload" not in frame:
            return ["an answer has a payload and no error, and follows a request with its id"]
        # Where one id stood for several requests, the answer may be to any of them.
        payload = frame["payload"]
        faults = min([_answer(request, frame) for request in asked], key=len)
        if not faults and isinstance(payload, dict) and payload.get("type") == "hello-ok":
            self._listed = set(payload["features"]["events"])
        return faults

    def _requests(self, request: str) -> list[dict[str, Any]]:
        """What was asked under this id, until all of it is answered."""
        asked = self._asked.get(request, [])
        self._answered[request] += 1
        if self._answered[request] >= len(asked):
            self._asked.pop(request, None)
            del self._answered[request]
        return asked


def _numbered_one(text: str, seq: Any) -> str:
    """An event as a connection's first: whoever else is sent it gets the same, but for the number."""
    before, number, after = text.rpartition(f'"seq":{seq}') if isinstance(seq, int) and seq > 1 else ("", "", text)
    return f'{before}"seq":1{after}' if number else text


@lru_cache(maxsize=2_000)
def _shape(text: str) -> tuple[str, ...]:
    """What is wrong with an event, whoever it is sent to: of two hundred clients who are told the same, it is looked at once."""
    frame = json.loads(text)
    faults = faults_in("EventFrame", frame)
    if faults:
        return tuple(faults)
    definition = payload_of(frame["event"])
    faults = faults_in(definition, frame.get("payload")) if definition else []
    return tuple(faults or own_faults(f"event.{frame['event']}", frame))


def _answer(request: dict[str, Any], frame: dict[str, Any]) -> list[str]:
    method, name = request["method"], result_of(request["method"])
    faults = faults_in(name, frame["payload"]) if name else []
    return faults or [*own_faults(f"{method}.answer", frame), *own_faults(f"{method}.request", request)]


def _refusal(frame: dict[str, Any]) -> list[str]:
    if "error" not in frame or "payload" in frame:
        return ["a refusal has an error, and no payload"]
    details = frame["error"].get("details")
    if isinstance(details, dict) and "missingScope" in details:
        return faults_in("MissingScopeErrorDetails", details)
    return []


class CheckedSocket(aiohttp.ClientWebSocketResponse):
    """A client's WebSocket that checks what it receives."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._frames = Frames()

    async def send_str(self, data: str, compress: int | None = None) -> None:
        self._frames.said(data)
        await super().send_str(data, compress)

    async def receive(self, timeout: float | None = None) -> Any:
        message = await super().receive(timeout)
        if message.type is aiohttp.WSMsgType.TEXT:
            self._frames.heard(message.data)
        return message


def session(**more: Any) -> aiohttp.ClientSession:
    """In the place of `aiohttp.ClientSession(...)`, wherever a WebSocket is opened."""
    return aiohttp.ClientSession(ws_response_class=CheckedSocket, **more)
