"""The WebSocket side of the control plane: who is let in, and what is answered to what they ask."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.admin import methods as methods_module
from gateway.admin import websocket as websocket_module
from gateway.admin.auth import FAILURES, PERIOD
from gateway.admin.methods import EVENTS, METHODS
from gateway.admin.schemas import NoParams
from gateway.admin.websocket import AT_ONCE, CONNECT_TIMEOUT, MAX_BEFORE, parse_frame
from statemachine.lifecycle import LifecycleState
from tests.gateway.admin.house import MAIN, SECRET, TEXT, TOKEN, AdminHouse, Socket, run

S = LifecycleState


# Signing in


@pytest.mark.parametrize("path", ["/ws", "/"])
def test_challenge_connect_hello(tmp_path: Path, path: str) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            socket = await house.sign_in(path=path)
            hello = socket.hello
            assert (hello["type"], hello["protocol"]) == ("hello-ok", 4)
            assert hello["features"] == {"methods": ["connect", *METHODS], "events": list(EVENTS)}
            assert hello["snapshot"]["appliedConfigHash"] == house._ledger.applied_id
            assert hello["auth"] == {
                "role": "operator",
                "scopes": ["operator.admin", "operator.read", "operator.write"],
            }
            assert await socket.ask("health")

    run(main())


def test_the_password_is_the_token_under_another_name(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            socket = await house.open()
            assert (await socket.connect(None, auth={"password": TOKEN}))["ok"]

    run(main())


async def refused(socket: Socket, answer: dict[str, Any]) -> dict[str, Any]:
    """The error of a connect that was refused; the connection is closed after it."""
    assert not answer["ok"]
    assert await socket.closed() == aiohttp.WSCloseCode.POLICY_VIOLATION
    error: dict[str, Any] = answer["error"]
    return error


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"auth": {"token": "wrong"}}, "AUTH_TOKEN_MISMATCH"),
        ({"auth": {"token": "\ud800"}}, "AUTH_TOKEN_MISMATCH"),
        ({"auth": {"token": TOKEN[:-1]}}, "AUTH_TOKEN_MISMATCH"),
        ({"auth": {}}, "AUTH_TOKEN_MISSING"),
        ({"auth": {"token": ""}}, "AUTH_TOKEN_MISSING"),
        ({"minProtocol": 5, "maxProtocol": 6}, "PROTOCOL_MISMATCH"),
        ({"minProtocol": 1, "maxProtocol": 3}, "PROTOCOL_MISMATCH"),
        ({"role": "node"}, None),
        ({"client": {"id": "test"}}, None),
        ({"minProtocol": "four"}, None),
        ({"\ud800": 1}, None),
    ],
)
def test_who_is_not_let_in(tmp_path: Path, changes: dict[str, Any], code: str | None) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            socket = await house.open()
            error = await refused(socket, await socket.connect(**changes))
            assert error["code"] == "INVALID_REQUEST"
            assert (error.get("details") or {}).get("code") == code

    run(main())


def test_wrong_tokens_are_counted_by_address(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            for _ in range(FAILURES):
                socket = await house.open()
                await refused(socket, await socket.connect("wrong"))
            socket = await house.open()
            error = await refused(socket, await socket.connect(TOKEN))
            assert error["details"] == {"code": "AUTH_RATE_LIMITED"}
            assert error["retryAfterMs"] == pytest.approx(PERIOD * 1000, abs=100)
            await asyncio.sleep(PERIOD)
            await house.sign_in()

    run(main())


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "req", "id": "1", "method": "health"},
        {"type": "event", "event": "connect"},
        {"type": "req", "method": "connect"},
        {"type": "req", "id": 1, "method": "connect"},
        [],
        "connect",
    ],
)
def test_the_first_frame_must_be_connect(tmp_path: Path, frame: Any) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            socket = await house.open()
            await socket.socket.send_json(frame)
            error = await refused(socket, await socket.receive())
            assert error["code"] == "INVALID_REQUEST"

    run(main())


def test_silence_is_not_waited_for(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            socket = await house.open()
            before = house.now()
            assert await socket.closed() == aiohttp.WSCloseCode.POLICY_VIOLATION
            assert house.now() - before == pytest.approx(CONNECT_TIMEOUT, abs=0.1)

    run(main())


def test_before_sign_in_a_frame_may_not_be_large(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            socket = await house.open()
            await socket.socket.send_str("x" * (MAX_BEFORE + 1))
            assert await socket.closed() == aiohttp.WSCloseCode.MESSAGE_TOO_BIG
            socket = await house.open()
            await socket.socket.send_bytes(b"connect")
            assert await socket.closed() == aiohttp.WSCloseCode.POLICY_VIOLATION

    run(main())


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "evil.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
def test_case_68_a_page_elsewhere_is_refused_before_the_upgrade(
    tmp_path: Path, headers: dict[str, str], status: int
) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            for path in ("/ws", "/"):
                with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                    await house.open(path, headers=headers)
                assert caught.value.status == status

    run(main())


# Requests


def test_each_request_is_answered_once_and_by_its_id(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            socket = await house.sign_in()
            names = [str(number) for number in range(3 * AT_ONCE)]
            for name in names:
                await socket.send(type="req", id=name, method=("health", "status", "nothing")[int(name) % 3])
            answers = [await socket.receive() for _ in names]
            assert sorted((answer["id"] for answer in answers), key=int) == names
            assert {answer["ok"] for answer in answers if int(answer["id"]) % 3 == 2} == {False}

    run(main())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "the frame is not JSON"),
        ("[]", "type must be req"),
        ('{"type": "res", "id": "1"}', "type must be req"),
        ('{"type": "req", "method": "health"}', "the frame has no id"),
        ('{"type": "req", "id": "", "method": "health"}', "the frame has no id"),
        ('{"type": "req", "id": "1"}', "the frame has no method"),
        ('{"type": "req", "id": "1", "method": 7}', "the frame has no method"),
        ("[" * 100_000, "the frame is not JSON"),
    ],
)
def test_a_frame_that_is_none_is_told_and_the_connection_lives(tmp_path: Path, text: str, message: str) -> None:
    assert message in str(parse_frame(text))

    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            socket = await house.sign_in()
            await socket.socket.send_str(text)
            answer = await socket.answer("unknown")
            assert answer["error"]["code"] == "INVALID_REQUEST"
            assert message in answer["error"]["message"]
            assert await socket.ask("health")

    run(main())


@pytest.mark.parametrize("traceparent", [7, None, {}, "0" * 129])
def test_a_request_whose_trace_is_no_text_is_told_so_by_its_id(tmp_path: Path, traceparent: Any) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            socket = await house.sign_in()
            await socket.send(type="req", id="mine", method="health", traceparent=traceparent)
            error = (await socket.answer("mine"))["error"]
            assert error["code"] == "INVALID_REQUEST"
            assert "traceparent is no text of 128 characters" in error["message"]

    run(main())


@pytest.mark.parametrize(
    ("method", "params", "part"),
    [
        ("nothing", {}, "unknown method 'nothing'"),
        ("health", {"more": 1}, "more"),
        ("health", [], "invalid parameters"),
        ("requests.get", {}, "id"),
        ("requests.get", {"id": "never"}, "there is no request never"),
        ("journal.list", {"limit": 0}, "limit"),
        ("journal.list", {"limit": "5"}, "limit"),
        ("channels.start", {"channel": "irc"}, "there is no account irc/"),
        ("lifecycle.cancelRestart", {"id": "never"}, "there is no request never"),
        ("chat.send", {"sessionKey": "telegram:main:1", "message": "x", "idempotencyKey": "k"}, "no session"),
        ("config.patch", {"raw": "[]", "baseHash": "x"}, "it must be a mapping"),
        ("config.set", {"raw": ""}, "raw"),
        ("config.set", {"raw": "\ud800", "baseHash": "x"}, ""),
    ],
)
def test_what_is_wrong_with_a_request_is_said(tmp_path: Path, method: str, params: Any, part: str) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            socket = await house.sign_in()
            frame = await socket.request(method, params)
            assert (frame["ok"], frame["error"]["code"]) == (False, "INVALID_REQUEST"), frame
            assert part in frame["error"]["message"]
            assert await socket.ask("health")

    lines = run(main())
    assert [line for line in lines if line["event"] == "call_failed"] == []


def test_requests_run_side_by_side_but_not_without_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket_module, "AT_ONCE", 4)
    under_way: list[int] = [0, 0]

    honest = METHODS["health"]

    async def slow(context: Any, params: Any) -> Any:
        under_way[0] += 1
        under_way[1] = max(under_way)
        await asyncio.sleep(1)
        under_way[0] -= 1
        return await honest.call(context, params)

    monkeypatch.setitem(METHODS, "health", replace(honest, call=slow))

    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            socket = await house.sign_in()
            before = house.now()
            for number in range(12):
                await socket.send(type="req", id=str(number), method="health")
            for _ in range(12):
                assert (await socket.receive())["ok"]
            assert house.now() - before == pytest.approx(3, abs=0.1)
            assert under_way == [0, 4]

    run(main())


def test_a_scope_that_was_not_asked_for_allows_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            socket = await house.sign_in(scopes=["operator.read"])
            assert await socket.ask("status")
            for name, method in METHODS.items():
                if method.scope != methods_module.READ:
                    frame = await socket.request(name)
                    assert frame["error"]["code"] == "FORBIDDEN"
                    assert frame["error"]["details"] == {
                        "code": "MISSING_SCOPE",
                        "missingScope": method.scope,
                        "requiredScopes": [method.scope],
                    }

    run(main())


def test_a_defect_is_an_answer_too_and_not_shown(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            socket = await house.sign_in()
            assert house.server is not None
            house.server._api.views.status = _broken  # type: ignore[method-assign]
            frame = await socket.request("status")
            assert frame["error"] == {"code": "UNAVAILABLE", "message": "an internal error; see the log"}
            assert await socket.ask("health")

    lines = run(main())
    assert [line["method"] for line in lines if line["event"] == "call_failed"] == ["status"]


def _broken() -> Any:
    raise RuntimeError(f"a defect that holds {SECRET}")


def test_binary_frames_are_not_spoken_here(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            socket = await house.sign_in()
            await socket.socket.send_bytes(b"{}")
            assert await socket.closed() == aiohttp.WSCloseCode.UNSUPPORTED_DATA

    run(main())


# Config, accounts, restarts


def test_case_60_no_secret_goes_out_and_what_comes_back_as_a_mark_is_kept(tmp_path: Path) -> None:
    """Every frame is searched for them at the end of each of these tests; here there is most to be found."""

    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            socket = await house.sign_in()
            config = await socket.ask("config.get")
            assert (config["valid"], config["exists"], config["issues"]) == (True, True, [])
            assert config["hash"] == config["appliedConfigHash"] == house.hash
            assert "__REDACTED__" in config["raw"]
            assert config["config"]["channels"]["telegram"]["accounts"]["main"]["token"] == "__REDACTED__"
            written = await socket.ask("config.apply", raw=config["raw"] + "# again\n", baseHash=config["hash"])
            assert written["ok"]
            assert house.on_disk().decode() == TEXT + "# again\n"
            asked = await socket.ask("gateway.restart.request", restartDelayMs=60_000, reason=f"because of {SECRET}")
            for method in sorted(name for name in METHODS if METHODS[name].params is NoParams):
                await socket.ask(method)
            assert (await socket.ask("lifecycle.get"))["tickets"][0]["reason"] == "because of __REDACTED__"
            await socket.ask("lifecycle.cancelRestart", id=asked["id"])
            frame = await socket.request("config.set", {"raw": f"gateway: {{nme: {SECRET}}}", "baseHash": house.hash})
            assert frame["error"]["details"]["issues"][0]["line"] == 1

    run(main())


def test_a_write_is_answered_when_it_is_applied(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            socket = await house.sign_in()
            patch = json.dumps({"channels": {"telegram": {"accounts": {"main": {"poll_timeout_s": 7}}}}})
            answer = await socket.ask("config.patch", raw=patch, baseHash=house.hash)
            assert (answer["ok"], answer["noop"]) == (True, False)
            assert answer["changedPaths"] == ["channels.telegram.accounts.main.poll_timeout_s"]
            assert answer["receipt"]["outcome"] == "applied"
            assert house.network.live(MAIN)[0].settings.poll_timeout_s == 7
            assert (await socket.ask("requests.get", id=answer["receipt"]["request"]))["outcome"] == "done"
            stale = await socket.request("config.patch", {"raw": patch, "baseHash": "0" * 64})
            assert stale["error"]["details"] == {"currentHash": house.hash, "changedPaths": None}
            again = await socket.ask("config.patch", raw=patch, baseHash=house.hash)
            assert again["noop"]

    run(main())


def test_an_account_is_stopped_and_started(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            socket = await house.sign_in()
            stopped = await socket.ask("channels.stop", channel="telegram", accountId="main")
            assert (stopped["state"], stopped["held"]) == ("stopped", True)
            started = await socket.ask("channels.start", channel="telegram")
            assert (started["state"], started["generation"]) == ("running", 2)
            frame = await socket.request("channels.start", {"channel": "telegram"})
            assert frame["error"]["details"]["state"] == "running"
            assert "start" not in frame["error"]["details"]["allowed"]

    run(main())


def test_a_restart_is_asked_for_and_cancelled(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            socket = await house.sign_in()
            asked = await socket.ask(
                "gateway.restart.request", restartDelayMs=30_000, reason="why not", more="passed over"
            )
            assert (asked["outcome"], asked["state"]) == ("done", "restart_pending")
            assert asked["due_in_ms"] == pytest.approx(30_000, abs=100)
            assert (await socket.ask("requests.get", id=asked["id"]))["outcome"] == "pending"
            await socket.ask("lifecycle.cancelRestart", id=asked["id"])
            assert (await socket.ask("requests.get", id=asked["id"]))["outcome"] == "cancelled"
            assert house.state is S.RUNNING

    run(main())
