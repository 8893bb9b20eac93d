"""The WebSocket side of the control plane: what its clients are told unasked, and how they hear that it ends."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from pathlib import Path

import aiohttp
import pytest

from gateway.admin import websocket as websocket_module
from gateway.admin.websocket import TICK
from statemachine.circuit import CallFailed, Circuit, CircuitData
from statemachine.lifecycle import LifecycleState
from tests.gateway.admin.house import CHAT, MAIN, AdminHouse, run

S = LifecycleState


# Events


def test_everyone_is_told_what_happens_in_its_order(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            sockets = [await house.sign_in() for _ in range(3)]
            patch = json.dumps({"channels": {"telegram": {"accounts": {"main": {"poll_timeout_s": 7}}}}})
            await sockets[0].ask("config.patch", raw=patch, baseHash=house.hash)
            for socket in sockets:
                await socket.ask("health")
                events = socket.events
                assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
                states = [event["payload"]["state"] for event in events if event["event"] == "lifecycle"]
                assert states == ["hot_reloading", "running"]
                account = [event["payload"]["state"] for event in events if event["event"] == "channel"]
                assert account == ["stopping", "starting", "running"]
                journal = [event["payload"]["seq"] for event in events if event["event"] == "journal"]
                assert journal == list(range(journal[0], journal[0] + len(journal)))
                assert any(event["event"] == "config" for event in events)

    run(main())


def test_a_chat(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            socket, other = await house.sign_in(), await house.sign_in()
            key = "webchat:default:me"
            for text in ("hello", "half a character: \ud800"):
                sent = await socket.ask("chat.send", sessionKey=key, message=text, idempotencyKey=f"key of {text[:5]}")
                for client in (socket, other):
                    event = await client.event("chat")
                    assert event["payload"]["runId"] == sent["runId"]
                    assert event["payload"]["message"]["text"] == text.replace("\ud800", "\ufffd"), (
                        "half of one is none"
                    )
            await socket.ask("chat.send", sessionKey=key, message="hello", idempotencyKey="key of hello")
            history = await other.ask("chat.history", sessionKey=key)
            assert [message["role"] for message in history["messages"]] == ["user", "assistant"] * 2
            await socket.ask("channels.stop", channel="webchat", accountId="default")
            params = {"sessionKey": key, "message": "hello", "idempotencyKey": "another"}
            frame = await socket.request("chat.send", params)
            assert (frame["error"]["code"], frame["error"]["retryable"]) == ("UNAVAILABLE", True)
            assert house.account(CHAT) == "stopped"

    run(main())


def test_the_clients_hear_that_it_lives(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            socket = await house.sign_in()
            times = [(await socket.event("tick"))["payload"]["ts"] for _ in range(3)]
            assert [after - before for before, after in pairwise(times)] == [TICK * 1000] * 2

    run(main())


def test_a_reader_that_is_too_slow_is_dropped_and_harms_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket_module, "QUEUE", 20)

    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            slow = await house.sign_in()
            assert house.server is not None
            for number in range(50):
                house.server._sockets.broadcast("tick", {"ts": number})
            assert await slow.closed() != aiohttp.WSCloseCode.OK, "it was cut off, and not asked to close"
            assert len(slow.events) < 50
            quick = await house.sign_in()
            assert await quick.ask("health")

    lines = run(main())
    assert "slow_reader_dropped" in [line["event"] for line in lines]


def test_a_client_that_goes_takes_its_requests_along(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            socket = await house.sign_in()
            live = house.network.live(MAIN)[0]
            live.script.lingers = 4.0
            await socket.send(
                type="req", id="1", method="channels.stop", params={"channel": "telegram", "accountId": "main"}
            )
            await asyncio.sleep(1)
            await socket.socket.close()
            await house.until_account(MAIN, "stopped")
            assert house.server is not None
            assert house.server._sockets._connections == set()

    run(main())


# Shutdown and restart


def test_case_65_a_stop_tells_the_clients_and_closes_them(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            socket = await house.sign_in()
            ending = asyncio.ensure_future(house.end())
            assert (await socket.event("shutdown"))["payload"] == {"reason": "stop"}
            assert await socket.closed() == aiohttp.WSCloseCode.GOING_AWAY
            await ending

    run(main())


@pytest.mark.parametrize("verb", ["start", "restart", "stop"])
def test_a_gateway_that_stops_starts_no_account_any_more(tmp_path: Path, verb: str) -> None:
    """The stop would wait for the new receiver until its budget is spent."""

    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            socket = await house.sign_in()
            house.network.live("telegram/main")[0].script.lingers = 2.0
            began = house.now()
            ending = asyncio.ensure_future(house.end())
            await socket.event("shutdown")
            answer = await socket.request(f"channels.{verb}", {"channel": "telegram", "accountId": "main"})
            assert (answer["ok"], answer["error"]["code"]) == (False, "UNAVAILABLE")
            await ending
            assert house.now() - began < 5
            assert len(house.network.of("telegram/main")) == 1

    run(main())


def test_a_restart_closes_with_its_own_code_and_the_next_connection_is_served(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            socket = await house.sign_in()
            asked = await socket.ask("gateway.restart.request", delayMs=0)
            shutdown = await socket.event("shutdown")
            assert shutdown["payload"]["restartExpectedMs"] > 0
            assert await socket.closed() == aiohttp.WSCloseCode.SERVICE_RESTART
            again = await house.sign_in()
            await house.until(S.RUNNING)
            assert (await again.ask("requests.get", id=asked["id"]))["outcome"] == "done"
            assert house.state is S.RUNNING

    run(main())


def test_whoever_watches_is_told_of_a_handlers_circuit_too_and_the_gateway_goes_on(tmp_path: Path) -> None:
    """A circuit is no account: its step is an entry of the journal, and nothing else."""

    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            socket = await house.sign_in()
            house._dispatcher.add(Circuit("circuit/echo", CircuitData(failures=4)))
            house._dispatcher.tell("circuit/echo", CallFailed(), "test")
            entry = (await socket.event("journal"))["payload"]
            assert (entry["machine"], entry["after"]) == ("circuit/echo", "open")
            assert (await socket.ask("status"))["state"] == "running"
            assert [event for event in socket.events if event["event"] == "channel"] == []

    run(main())
