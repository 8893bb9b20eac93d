"""One-time codes, and the sessions that they are exchanged for."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.admin import peer, sign_in
from gateway.admin.auth import FAILURES
from gateway.admin.peer import owner_of
from gateway.admin.sessions import CODE_LASTS, CODES_KEPT, SESSION_LASTS_MS, Codes, is_session, make_session
from gateway.admin.sign_in import MAX_BODY, PATIENCE
from gateway.admin.websocket import TICK
from gateway.clock import Clock
from tests.gateway.admin.house import TEXT, TOKEN, AdminHouse, run

NOW = 1_000_000
CODES, SIGN_IN = "/api/v1/sign-in/codes", "/api/v1/sign-in"


class StillClock(Clock):
    now = 1_000.0

    def monotonic(self) -> float:
        return self.now


# Codes


def test_a_code_works_once_and_within_its_minute() -> None:
    clock = StillClock()
    codes = Codes(clock)
    one, other = codes.make(), codes.make()
    assert one != other
    clock.now += CODE_LASTS - 0.1
    assert codes.use(one)
    assert not codes.use(one)
    clock.now += 0.1
    assert not codes.use(other)


@pytest.mark.parametrize("given", ["", "once-", "\ud800", "x" * 10_000])
def test_what_is_no_code_uses_none_up(given: str) -> None:
    codes = Codes(StillClock())
    code = codes.make()
    assert not codes.use(given)
    assert not codes.use(code[:-1])
    assert codes.use(code)


def test_a_code_is_too_long_to_be_found_and_kept_as_a_hash_alone() -> None:
    codes = Codes(StillClock())
    code = codes.make()
    assert len(code.removeprefix("once-")) * 6 >= 128
    assert code not in repr(vars(codes))


def test_a_code_for_one_user_is_of_no_use_to_another_and_not_used_up_by_one() -> None:
    codes = Codes(StillClock())
    code = codes.make(user=1000)
    assert not codes.use(code, user=1001)
    assert not codes.use(code, user=None)
    assert codes.use(code, user=1000)
    assert codes.use(codes.make(), user=1001), "it is for nobody in particular"


def test_only_the_newest_codes_are_kept() -> None:
    codes = Codes(StillClock())
    made = [codes.make() for _ in range(CODES_KEPT + 1)]
    assert [codes.use(code) for code in made] == [False] + [True] * CODES_KEPT


# Sessions


def test_a_session_is_good_until_its_end_and_while_the_token_is_the_same() -> None:
    session = make_session("the-token", NOW)
    assert is_session(session, "the-token", NOW + SESSION_LASTS_MS - 1)
    assert not is_session(session, "the-token", NOW + SESSION_LASTS_MS)
    assert not is_session(session, "another-token", NOW)
    assert make_session("the-token", NOW) != session, "each has a number of its own"
    assert "the-token" not in session


def test_nothing_of_a_session_can_be_changed() -> None:
    session = make_session("the-token", NOW)
    mark, end, number, signature = session.split(".")
    for forged in (
        f"{mark}.{int(end) + 1}.{number}.{signature}",
        f"{mark}.{end}.{number[:-1]}x.{signature}",
        f"{mark}.{end}.{number}.{signature[:-1]}x",
        f"{mark}.{end}.{number}.",
        f"{mark}.{end}.{signature}",
        f"{session}.",
        f"x{session}",
        f"{mark}.x.{number}.{signature}",
        "session...",
        "session.\ud800..",
        "",
    ):
        assert not is_session(forged, "the-token", NOW), forged


def test_without_a_token_there_is_no_session() -> None:
    assert not is_session(make_session("", NOW), "", NOW)


# Whose program is at the other end


@pytest.mark.parametrize(
    ("family", "listens", "dials"),
    [
        (socket.AF_INET, "127.0.0.1", "127.0.0.1"),
        (socket.AF_INET6, "::1", "::1"),
        (socket.AF_INET, "127.0.0.1", "::ffff:127.0.0.1"),
    ],
)
async def test_the_user_of_a_connection_of_this_machine_is_known(
    family: socket.AddressFamily, listens: str, dials: str
) -> None:
    found: list[int | None] = []

    async def note(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.append(owner_of(writer.transport))
        writer.close()

    async with await asyncio.start_server(note, listens, 0, family=family) as server:
        reader, writer = await asyncio.open_connection(dials, server.sockets[0].getsockname()[1])
        await reader.read()
        writer.close()
        await writer.wait_closed()
    assert found == [os.getuid()]


class Elsewhere(asyncio.BaseTransport):
    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"sockname": ("10.0.0.1", 80), "peername": ("10.0.0.2", 12345)}.get(name, default)


def test_of_what_cannot_be_seen_it_is_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert owner_of(Elsewhere()) is None
    assert owner_of(asyncio.BaseTransport()) is None
    assert owner_of(None) is None
    monkeypatch.setattr(peer, "TABLES", (tmp_path / "there is none",))
    assert owner_of(Elsewhere()) is None


# On the wire


async def code_of(house: AdminHouse) -> str:
    status, body, _ = await house.http("POST", CODES)
    assert (status, body["expires_in_ms"]) == (201, CODE_LASTS * 1000)
    return str(body["code"])


async def session_of(house: AdminHouse, code: str | None = None) -> str:
    status, body, _ = await house.http("POST", SIGN_IN, token=None, json={"code": code or await code_of(house)})
    assert (status, body["expires_in_ms"]) == (200, SESSION_LASTS_MS), body
    return str(body["token"])


def test_a_session_is_taken_wherever_the_token_is_and_over_a_restart(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            session = await session_of(house)
            assert (await house.http("GET", "/api/v1/status", token=session))[0] == 200
            assert await (await house.sign_in(session)).ask("status")
        async with AdminHouse(tmp_path) as house:
            assert (await house.http("GET", "/api/v1/status", token=session))[0] == 200
            socket = await house.open()
            assert (await socket.connect(None, auth={"password": session}))["ok"]

    run(main())


def test_a_session_gets_no_code_and_no_token_no_code_either(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            status, body, _ = await house.http("POST", CODES, token=await session_of(house))
            assert (status, body["error"]["code"]) == (403, "forbidden")
            assert (await house.http("POST", CODES, token=None))[0] == 401

    run(main())


def test_a_token_that_takes_the_place_of_the_configs_is_kept_out_of_every_output(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            await house.edit(TEXT.replace(f", token: {TOKEN}", ""))
            assert (await house.http("GET", "/api/v1/status"))[0] == 401
            stored = (house._options.state_dir / "admin-token").read_text().strip()
            assert (await house.http("GET", "/api/v1/status", token=stored))[0] == 200
            _, body, _ = await house.http("GET", f"/api/v1/requests/{stored}", token=stored)
            assert stored not in body["error"]["message"]

    run(main())


def test_a_code_for_the_same_user_is_refused_to_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            _, made, _ = await house.http("POST", CODES, json={"same_user": True})
            assert made["same_user"]
            with monkeypatch.context() as patch:
                patch.setattr(sign_in, "owner_of", lambda _: os.getuid() + 1)
                status, body, _ = await house.http("POST", SIGN_IN, token=None, json={"code": made["code"]})
                assert (status, "another user's" in body["error"]["message"]) == (401, True)
                patch.setattr(sign_in, "owner_of", lambda _: None)
                assert not (await house.http("POST", CODES, json={"same_user": True}))[1]["same_user"]
            await session_of(house, made["code"])

    run(main())


def test_with_another_admin_token_every_session_ends_the_open_connections_too(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            session = await session_of(house)
            sockets = [await house.sign_in(session), await house.sign_in()]
            await house.edit(TEXT.replace(TOKEN, "another-admin-token"))
            status, body, _ = await house.http("GET", "/api/v1/status", token=session)
            assert (status, "the session is over" in body["error"]["message"]) == (401, True)
            before = house.now()
            for socket in sockets:
                assert await socket.closed() == aiohttp.WSCloseCode.POLICY_VIOLATION
            assert house.now() - before <= TICK + 1
            assert await (await house.sign_in("another-admin-token")).ask("status")

    run(main())


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"code": "once-x"}, 401, "the code is wrong, used, too old, or another user's"),
        ({"code": "\ud800"}, 401, "the code is wrong, used, too old, or another user's"),
        ({"code": TOKEN}, 401, "the code is wrong, used, too old, or another user's"),
        ({}, 400, "code"),
        ({"code": ""}, 400, "code"),
        ({"code": 7}, 400, "code"),
        ({"code": "x", "token": TOKEN}, 400, "token"),
        ([], 400, "invalid parameters"),
    ],
)
def test_what_is_no_code_is_said(tmp_path: Path, body: Any, status: int, message: str) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            answer, said, _ = await house.http("POST", SIGN_IN, token=None, json=body)
            assert (answer, message in said["error"]["message"]) == (status, True), said

    run(main())


def test_wrong_codes_and_wrong_tokens_are_counted_together(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            code = await code_of(house)
            for number in range(FAILURES):
                road = ("POST", SIGN_IN) if number % 2 else ("GET", "/api/v1/status")
                assert (await house.http(*road, token="wrong", json={"code": "wrong"}))[0] == 401
            status, body, headers = await house.http("POST", SIGN_IN, token=None, json={"code": code})
            assert (status, body["error"]["code"], headers["Retry-After"]) == (429, "too_many_attempts", "60")
            assert (await house.http("GET", "/api/v1/status"))[0] == 429

    run(main())


def test_who_has_not_signed_in_sends_little_and_in_time(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            headers = {"Content-Type": "application/json"}
            large = b'{"code": "' + b"x" * MAX_BODY + b'"}'
            for body in (large, chunks(large)):
                answer = await house.http("POST", SIGN_IN, token=None, data=body, headers=headers)
                assert answer[0] == 413
            reader, writer = await house.dial()
            writer.write(
                f"POST {SIGN_IN} HTTP/1.1\r\nHost: 127.0.0.1:{house.port}\r\n"
                "Content-Type: application/json\r\nContent-Length: 20\r\n\r\n{".encode()
            )
            before = house.now()
            assert (await reader.readline()).startswith(b"HTTP/1.1 400")
            assert house.now() - before == pytest.approx(PATIENCE, abs=0.1)
            await reader.read()
            writer.close()
            await writer.wait_closed()

    run(main())


async def chunks(text: bytes) -> Any:
    yield text
