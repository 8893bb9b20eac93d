"""The AsyncAPI document: valid, that of the methods and events that there are, and true of what is asked, answered and told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from gateway.admin.methods import EVENTS, METHODS
from gateway.admin.schemas import parse_params
from gateway.errors import GatewayError
from tests.gateway.admin.house import MAIN, TEXT, AdminHouse, Socket, run
from tests.protocol.own import own, own_faults

DOCUMENT = "/api/v1/asyncapi.json"
META = Path(__file__).resolve().parents[2] / "protocol" / "asyncapi-3.0.0.schema.json"
"""The schema of such documents, as its makers publish it."""
SESSION = "webchat:default:main"
PATCH = json.dumps({"channels": {"telegram": {"accounts": {"main": {"poll_timeout_s": 7}}}}})


def meta() -> Draft7Validator:
    return Draft7Validator(json.loads(META.read_text(encoding="utf-8")))


def references(place: Any) -> Iterator[str]:
    if isinstance(place, dict):
        if isinstance(place.get("$ref"), str):
            yield place["$ref"]
        for inner in place.values():
            yield from references(inner)
    elif isinstance(place, list):
        for inner in place:
            yield from references(inner)


def at(whole: dict[str, Any], reference: str) -> Any:
    place: Any = whole
    for step in reference.removeprefix("#/").split("/"):
        place = place[step]
    return place


def test_it_is_served_to_who_has_the_token_valid_and_with_its_address(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            assert (await house.http("GET", DOCUMENT, token=None))[0] == 401
            status, whole, _ = await house.http("GET", DOCUMENT)
            assert status == 200
            assert [f"{list(fault.path)}: {fault.message[:300]}" for fault in meta().iter_errors(whole)] == []
            (server,) = whole["servers"].values()
            assert (server["host"], server["protocol"]) == (f"127.0.0.1:{house.port}", "ws")
            # The tests of the protocol hold every frame against the same.
            assert whole | {"servers": {}} == json.loads(json.dumps(own())) | {"servers": {}}

    run(main())


@pytest.mark.parametrize(
    ("place", "key", "value"),
    [
        ("#/operations/status", "action", "sned"),
        ("#/operations/status", "channel", "gateway"),
        ("#/components/messages/refusal", "payload", {"type": "objekt"}),
        ("#/channels/gateway/bindings/ws", "method", "PUT"),
        ("#", "paths", {}),
    ],
)
def test_a_wrong_document_is_not_valid(place: str, key: str, value: Any) -> None:
    whole = json.loads(json.dumps(own()))
    assert meta().is_valid(whole)
    (whole if place == "#" else at(whole, place))[key] = value
    assert not meta().is_valid(whole)


def test_it_has_each_method_and_event_of_hello_ok_and_no_other(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            features = (await house.sign_in()).hello["features"]
            operations = own()["operations"]
            received = [name for name, operation in operations.items() if operation["action"] == "receive"]
            assert received == features["methods"]
            assert [name for name in operations if name not in received] == [
                f"event.{name}" for name in features["events"]
            ]
            messages = {f"{name}.{part}" for name in features["methods"] for part in ("request", "answer")}
            messages |= {f"event.{name}" for name in features["events"]} | {"refusal"}
            assert set(own()["components"]["messages"]) == messages
            assert set(own()["channels"]["gateway"]["messages"]) == messages

    run(main())


def test_each_reference_leads_somewhere_and_everything_is_referred_to() -> None:
    found = set(references(own()))
    for reference in found:
        assert at(own(), reference), reference
    parts = {f"#/components/{kind}/{name}" for kind, parts in own()["components"].items() for name in parts}
    assert parts <= found
    # Two models of one name would be told apart by their modules.
    assert not [name for name in own()["components"]["schemas"] if not name.isidentifier()]


def test_it_says_what_everything_is_for_and_who_may() -> None:
    for name, operation in own()["operations"].items():
        text = operation.get("description", operation["summary"])
        assert text.endswith((".", "`")), name
        assert operation["summary"], name
        tags = [tag["name"] for tag in operation.get("tags", ())]
        assert tags == ([METHODS[name].scope] if name in METHODS else []), name
    for name, message in own()["components"]["messages"].items():
        assert message["summary"].endswith("."), name


def params() -> dict[str, dict[str, Any]]:
    """What each method is asked with so that it answers."""
    account = {"channel": "telegram", "accountId": "main"}
    chat = {"sessionKey": SESSION, "message": "hello", "idempotencyKey": "a key"}
    send = {"channel": "telegram", "to": "7", "message": "hello", "idempotencyKey": "another key"}
    return {
        "config.schema.lookup": {"path": "gateway.name"},
        "config.plan": {"raw": PATCH, "patch": True},
        "channels.start": account,
        "channels.stop": account,
        "channels.restart": account,
        "chat.send": chat,
        "chat.history": {"sessionKey": SESSION},
        "send": send,
    }


async def ask_everything(house: AdminHouse, socket: Socket) -> set[str]:
    """Each method once; the socket holds every frame against the document."""

    async def write(method: str, raw: str, **more: Any) -> dict[str, Any]:
        return dict(await socket.ask(method, raw=raw, baseHash=house.hash, **more))

    asked = {"config.set", "config.apply", "config.patch", "config.rollback", "config.confirm"}
    await write("config.patch", PATCH)
    await write("config.set", TEXT)
    await socket.ask("config.rollback", revision="2")
    written = await write("config.apply", TEXT + "# more\n", confirmWithinMs=60_000)
    await socket.ask("config.confirm", revision=written["receipt"]["revision"])
    for name in ("channels.stop", "channels.start"):
        await socket.ask(name, **params()[name])
    ticket = (await socket.ask("gateway.restart.request", delayMs=60_000))["id"]
    await socket.ask("requests.get", id=ticket)
    await socket.ask("lifecycle.cancelRestart", id=ticket)
    asked |= {"channels.stop", "channels.start", "gateway.restart.request", "requests.get", "lifecycle.cancelRestart"}
    for name in METHODS.keys() - asked:
        await socket.ask(name, **params().get(name, {}))
        asked.add(name)
    await socket.ask("config.history", revision="2", against="1")
    return asked


def test_every_method_is_asked_and_every_event_told_as_it_says(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            socket = await house.sign_in()
            assert await ask_everything(house, socket) == set(METHODS)
            await house.until_account(MAIN, "running")
            await socket.event("tick")
            await socket.ask("gateway.restart.request", delayMs=0)
            await socket.closed()
            told = {json.loads(text)["event"] for text in house.frames if '"type": "event"' in text}
            assert told == set(EVENTS)

    run(main())


@pytest.mark.parametrize("method", METHODS)
def test_what_a_request_lacks_or_has_too_much_is_told_by_both(method: str) -> None:
    """The document refuses no parameters that the gateway takes, and takes none that it refuses."""
    good = params().get(method, {})
    needed = {"raw": "{}", "revision": "1", "id": "restart-1", "path": ".", "channel": "telegram"}
    for given in (good, good | {"nothing": "of this name"}, good | needed, {}, {"limit": 0}, {"raw": 1}, None):
        try:
            parse_params(METHODS[method].params, given)
            taken = True
        except GatewayError:
            taken = False
        request = {"type": "req", "id": "1", "method": method, "params": given}
        assert (own_faults(f"{method}.request", request) == []) == taken, given
