"""The HTTP side of the control plane."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import socket
import sqlite3
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from gateway.admin.auth import FAILURES
from gateway.admin.errors import BadRequestError, NotFoundError, RefusedError, answer_for
from gateway.admin.http import JOURNAL_PIECE, MAX_BODY, SAFE_HEADERS
from gateway.admin.routes import OPEN_PATHS, SIGN_IN
from gateway.cli.replay import run as run_file
from gateway.errors import (
    ConfigError,
    ConfigOwnedError,
    ConfigWriteError,
    ConflictError,
    ConnectionLostError,
    GatewayError,
    Issue,
    StaleHashError,
    UnavailableError,
)
from gateway.store.database import Database
from statemachine import Refusal
from statemachine.channel_events import By, Stop
from tests.gateway.admin.house import CHAT, MAIN, SECRET, TEXT, TOKEN, AdminHouse, run
from tests.gateway.configs import cold
from tests.gateway.fakes import Script

JSON = {"Content-Type": "application/json"}
YAML = {"Content-Type": "application/yaml"}


def test_a_token_is_needed_for_everything_but_the_page_and_the_probes(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            for path in sorted(OPEN_PATHS - {"/ws", "/favicon.ico"}):
                status, _, _ = await house.http("GET", path, token=None)
                assert status == 200, path
            assert house.server is not None
            for resource in house.server._app.router.resources():
                path = resource.canonical
                if path in {*OPEN_PATHS, SIGN_IN} or path.startswith("/page/"):
                    continue
                status, body, headers = await house.http("GET", path, token=None)
                assert (status, body["error"]["code"]) == (401, "unauthorized"), path
                assert headers["WWW-Authenticate"] == "Bearer"
            assert (await house.http("GET", "/api/v1/no/such/call", token=None))[0] == 401

    run(main())


def test_every_answer_has_the_headers_that_keep_a_browser_safe(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            for method, path, token in (
                ("GET", "/", None), ("GET", "/healthz", None), ("GET", "/api/v1/status", TOKEN),
                ("GET", "/api/v1/status", "wrong"), ("GET", "/nothing", TOKEN), ("POST", "/healthz", None),
            ):  # fmt: skip
                _, _, headers = await house.http(method, path, token=token)
                assert {name: headers.get(name) for name in SAFE_HEADERS} == SAFE_HEADERS, path
                assert "Access-Control-Allow-Origin" not in headers

    run(main())


def test_place_comes_before_token(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            for headers in ({"Origin": "null"}, {"Host": "evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
                for path in ("/", "/healthz", "/api/v1/status"):
                    status, body, _ = await house.http("GET", path, headers=headers)
                    assert (status, body["error"]["code"]) == (403, "forbidden")

    run(main())


def test_wrong_tokens_are_counted(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            for number in range(FAILURES):
                # Bytes that are no UTF-8 are a wrong token, too.
                status, _, _ = await house.http("GET", "/api/v1/status", token="wrong\udcff" if number % 2 else "wrong")
                assert status == 401
            status, body, headers = await house.http("GET", "/api/v1/status")
            assert (status, body["error"]["code"], headers["Retry-After"]) == (429, "too_many_attempts", "60")

    lines = run(main())
    assert [line for line in lines if line["event"] == "http_failed"] == []


def test_case_52_live_control_and_channels_are_told_apart_and_each_is_true_only_when_it_can_be_used(
    tmp_path: Path,
) -> None:
    """A network that does not answer takes one account out of them, and neither the control plane nor the process."""

    async def main() -> None:
        house = AdminHouse(tmp_path)
        house.network.script(MAIN, Script(), Script(ready_after=20.0))
        async with house:
            assert (await house.http("GET", "/readyz?channels=all", token=None))[0] == 200
            house.network.live(MAIN)[0].fail(ConnectionLostError("the line broke"))
            await house.until_account(MAIN, "starting")
            status, body, _ = await house.http("GET", "/readyz?channels=all", token=None)
            assert (status, body["stages"]) == (503, {"live": True, "control": True, "channels": False})
            assert (await house.http("GET", "/readyz", token=None))[0] == 200
            assert (await house.http("GET", "/healthz", token=None))[0] == 200
            await house.until_account(MAIN, "running")
            assert (await house.http("GET", "/readyz?channels=all", token=None))[0] == 200

    run(main())


def test_what_a_person_stops_is_kept_when_that_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a crash right after the answer would have it run again. A disk that takes its time makes the answer wait."""
    real = Database.commit

    def slow(database: Database, *given: Any) -> int:
        time.sleep(0.1)
        return real(database, *given)

    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            monkeypatch.setattr(Database, "commit", slow)
            for verb, intent in (("stop", "stopped"), ("start", "")):
                assert (await house.http("POST", f"/api/v1/channels/{MAIN}/{verb}"))[0] == 200
                with contextlib.closing(sqlite3.connect(house._messages.store.path)) as beside:
                    assert beside.execute("SELECT account, intent FROM intents").fetchall() == [(MAIN, intent)]

    run(main())


def test_a_conflict_is_shown_with_its_causes_and_when_it_began(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            house.network.live(MAIN)[0].fail(ConflictError("terminated by other getUpdates request"))
            await house.until_account(MAIN, "conflict")
            began = house._clock.wall_ms()
            await asyncio.sleep(20)
            _, status, _ = await house.http("GET", "/api/v1/status")
            (reason,) = status["degraded"]
            assert reason["reason"] == "channel_conflict"
            assert MAIN in reason["detail"]
            assert "(1 conflict in the last hour); its state is conflict" in reason["detail"]
            assert datetime.fromtimestamp(began / 1000, UTC).isoformat(timespec="seconds")[:-8] in reason["detail"]
            for cause in ("another gateway", "script", "another machine", "old process", "webhook", "new token"):
                assert cause in reason["remedy"]
            (account,) = [a for a in status["accounts"] if a["account"] == "main"]
            assert account["conflict_since"] == pytest.approx(began, abs=50)
            await house.until_account(MAIN, "running")
            await asyncio.sleep(60)
            _, status, _ = await house.http("GET", "/api/v1/status")
            assert status["degraded"] == []
            (account,) = [a for a in status["accounts"] if a["account"] == "main"]
            assert (account["conflict_since"], account["conflicts"]) == (None, 1)

    run(main())


def test_probes(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            assert (await house.http("GET", "/healthz", token=None))[:2] == (200, {"ok": True})
            status, body, _ = await house.http("GET", "/readyz", token=None)
            assert (status, body["ready"], body["state"]) == (200, True, "running")
            assert (await house.http("GET", "/readyz?channels=all", token=None))[0] == 200
            await house.post(Stop(By.PERSON), MAIN)
            await house.until_account(MAIN, "stopped")
            status, body, _ = await house.http("GET", "/readyz?channels=all", token=None)
            assert (status, body["stages"]) == (503, {"live": True, "control": True, "channels": False})
            assert (await house.http("GET", "/readyz", token=None))[0] == 200

    run(main())


def test_read_change_and_read_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            status, body, headers = await house.http("GET", "/api/v1/config")
            etag = headers["ETag"]
            assert (status, etag, body["revision"], body["applied"]) == (200, f'"{house.hash}"', house.hash, house.hash)
            patch = json.dumps({"store": {"keep_days": 7}})
            status, receipt, headers = await house.http(
                "PATCH", "/api/v1/config", data=patch, headers=JSON | {"If-Match": etag}
            )
            assert (status, receipt["outcome"], receipt["changed_paths"]) == (200, "applied", ["store.keep_days"])
            assert headers["ETag"] == f'"{house.hash}"' != etag
            assert (await house.http("GET", f"/api/v1/requests/{receipt['request']}"))[1]["outcome"] == "done"
            status, body, headers = await house.http(
                "PATCH", "/api/v1/config", data=patch, headers=JSON | {"If-Match": etag}
            )
            assert (status, body["error"]["code"]) == (412, "stale_hash")
            assert body["error"]["details"] == {"currentHash": house.hash, "changedPaths": ["store.keep_days"]}
            status, body, _ = await house.http(
                "PUT", "/api/v1/config?restart_delay_ms=30000&note=why",
                data=cold(TEXT), headers=YAML | {"If-Match": headers["ETag"]},
            )  # fmt: skip
            assert (status, body["outcome"]) == (200, "restart_pending")
            assert body["restart"]["due_in_ms"] == pytest.approx(30_000, abs=100)
            cancelled = await house.http("DELETE", f"/api/v1/restart/{body['restart']['id']}")
            assert cancelled[0] == 200

    run(main())


@pytest.mark.parametrize("verb", ["restart", "stop"])
def test_an_account_that_is_taken_out_while_a_call_waits_for_it_is_there_no_more(tmp_path: Path, verb: str) -> None:
    async def main() -> None:
        house = AdminHouse(tmp_path)
        house.network.script(MAIN, Script(lingers=2.0))
        async with house:
            await house.until_account(MAIN, "running")
            asked = asyncio.ensure_future(house.http("POST", f"/api/v1/channels/telegram/main/{verb}"))
            await asyncio.sleep(1)
            await house.edit(TEXT.replace(TEXT.partition("  webchat")[0].partition("channels:\n")[2], ""))
            status, body, _ = await asked
            assert (status, body["error"]["code"]) == (404, "not_found"), body
            assert "telegram/main was taken out of the config meanwhile" in body["error"]["message"]

    lines = run(main())
    assert [line for line in lines if line["event"] == "http_failed"] == []


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "code"),
    [
        ("PUT", "/api/v1/config", "gateway: {nme: x}", YAML, 422, "invalid_config"),
        ("PUT", "/api/v1/config", TEXT, {}, 412, "stale_hash"),
        ("PUT", "/api/v1/config", TEXT, {"Content-Type": "text/plain"}, 400, "bad_request"),
        ("PUT", "/api/v1/config", TEXT, {"Content-Type": "application/yaml; charset=no-such"}, 400, "bad_request"),
        ("PUT", "/api/v1/config", b"\xff\xfe", YAML, 400, "bad_request"),
        ("PUT", "/api/v1/config?more=1", TEXT, YAML, 400, "bad_request"),
        ("PUT", "/api/v1/config?restart_delay_ms=soon", TEXT, YAML, 400, "bad_request"),
        ("PUT", "/api/v1/config", "x" * (MAX_BODY + 1), YAML, 413, "request_entity_too_large"),
        ("PATCH", "/api/v1/config", "[]", JSON, 422, "invalid_config"),
        ("PATCH", "/api/v1/config", "{", JSON, 422, "invalid_config"),
        ("POST", "/api/v1/restart", "{", JSON, 400, "bad_request"),
        ("POST", "/api/v1/restart", "[" * 100_000, JSON, 400, "bad_request"),
        ("POST", "/api/v1/restart", '{"delay_ms": -1}', JSON, 400, "bad_request"),
        ("POST", "/api/v1/restart", '{"delay": 1}', JSON, 400, "bad_request"),
        ("DELETE", "/api/v1/restart/never", None, {}, 404, "not_found"),
        ("GET", "/api/v1/requests/never", None, {}, 404, "not_found"),
        ("GET", "/api/v1/journal?limit=many", None, {}, 400, "bad_request"),
        ("GET", "/api/v1/journal?limit=0", None, {}, 400, "bad_request"),
        ("GET", "/api/v1/journal?format=xml", None, {}, 400, "bad_request"),
        ("GET", "/api/v1/journal?after=1&before=3", None, {}, 400, "bad_request"),
        ("GET", "/api/v1/journal?format=jsonl&before=3", None, {}, 400, "bad_request"),
        ("GET", "/api/v1/machines/nothing.svg", None, {}, 404, "not_found"),
        ("GET", "/api/v1/machines/..%2Flifecycle.mmd", None, {}, 404, "not_found"),
        ("POST", "/api/v1/channels/telegram/main/start", None, {}, 409, "refused"),
        ("POST", "/api/v1/channels/telegram/nobody/start", None, {}, 404, "not_found"),
        ("POST", "/api/v1/channels/telegram/main/explode", None, {}, 404, "not_found"),
        ("GET", "/page/..%2Fapi.py", None, {}, 404, "not_found"),
        ("GET", "/page/__init__.py", None, {}, 404, "not_found"),
        ("GET", "/page/vendor", None, {}, 404, "not_found"),
        ("GET", "/page/vendor/..%2Fpage.js", None, {}, 404, "not_found"),
        ("POST", "/api/v1/status", None, {}, 405, "method_not_allowed"),
    ],
)
def test_what_is_wrong_with_a_call_is_said(
    tmp_path: Path, method: str, path: str, body: Any, headers: dict[str, str], status: int, code: str
) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            base = {"If-Match": f'"{house.hash}"'} if method in ("PUT", "PATCH") and code != "stale_hash" else {}
            content = {} if "Content-Type" in headers else ({"Content-Type": "application/yaml"} if body else {})
            assert house.session is not None
            async with house.session.request(
                method, URL(house.url + path, encoded=True),
                data=io.BytesIO(body.encode()) if isinstance(body, str) else body,
                headers={"Authorization": f"Bearer {TOKEN}"} | base | content | headers,
            ) as response:  # fmt: skip
                answer = json.loads(await response.text())
                assert (response.status, answer["error"]["code"]) == (status, code), answer
            assert house.on_disk() == TEXT.encode()
            assert SECRET not in json.dumps(answer)

    lines = run(main())
    assert [line for line in lines if line["event"] == "http_failed"] == []


def test_an_account_is_stopped_and_started(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            for verb, state in (("stop", "stopped"), ("start", "running"), ("restart", "running")):
                status, body, _ = await house.http("POST", f"/api/v1/channels/telegram/main/{verb}")
                assert (status, body["state"]) == (200, state)
            accounts = (await house.http("GET", "/api/v1/channels"))[1]["accounts"]
            assert {account["account"]: account["state"] for account in accounts} == {
                "main": "running",
                "default": "running",
            }

    run(main())


def test_what_a_person_says_of_a_secret_is_not_repeated(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            body = {"delay_ms": 60_000, "reason": f"because of {SECRET}"}
            status, asked, _ = await house.http("POST", "/api/v1/restart", json=body)
            assert status == 202
            tickets = (await house.http("GET", "/api/v1/status"))[1]["tickets"]
            assert [ticket["reason"] for ticket in tickets] == ["because of __REDACTED__"]
            await house.http("DELETE", f"/api/v1/restart/{asked['id']}")

    run(main())


def test_the_journal_is_read_backwards_through_memory_and_earlier_lives(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path):
            """A life before."""
        async with AdminHouse(tmp_path) as house:
            first = house._journal.first

            async def before(seq: int, **query: Any) -> list[int]:
                path = URL("/api/v1/journal").with_query(before=seq, **query)
                return [entry["seq"] for entry in (await house.http("GET", str(path)))[1]["entries"]]

            assert await before(first + 2, limit=4) == [first - 2, first - 1, first, first + 1]
            assert await before(first - 1, limit=2) == [first - 3, first - 2]
            assert await before(first + 1, limit=1000) == list(range(1, first + 1)), "none is missing"
            assert await before(1) == []
            of_chat = await before(first + 10, limit=1000, machine=CHAT)
            assert of_chat[0] < first < of_chat[-1] < first + 10

    run(main())


def test_the_journal_and_the_machines(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            entries = (await house.http("GET", "/api/v1/journal?after=1&limit=2"))[1]["entries"]
            assert [entry["seq"] for entry in entries] == [2, 3]
            machines = (await house.http("GET", "/api/v1/machines"))[1]["machines"]
            assert {machine["name"] for machine in machines} == {
                "lifecycle",
                "channel",
                "change",
                "incoming",
                "delivery",
                "circuit",
                "lease",
            }
            status, text, headers = await house.http("GET", "/api/v1/machines/channel.mmd")
            assert (status, headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
            assert "RUNNING" in text

    run(main())


def test_the_journal_as_a_file(tmp_path: Path) -> None:
    """What is downloaded is replayed, and holds no secret; it is made in pieces, and each is a whole line."""

    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            for number in range(60):
                await house.http("POST", "/api/v1/restart", json={"reason": f"{number} {SECRET}", "delay_ms": 60_000})
            status, text, headers = await house.http("GET", "/api/v1/journal?format=jsonl")
            assert (status, headers["Content-Type"]) == (200, "application/jsonl; charset=utf-8")
            assert headers["Content-Security-Policy"]
            head, *lines = [json.loads(line) for line in text.splitlines()]
            assert (head["entries"], head["cut"], len(lines) > JOURNAL_PIECE) == (len(lines), False, True)
            path = tmp_path / "journal.jsonl"
            path.write_text(text)
            assert run_file(path)["states"] == {
                "change/1": "probation",
                "gateway": "restart_pending",
                MAIN: "running",
                CHAT: "running",
            }
            for _ in range(2):  # on one connection: what a HEAD does not announce must not be sent
                assert (await house.http("HEAD", "/api/v1/journal?format=jsonl"))[:2] == (200, "")
            _, text, _ = await house.http("GET", f"/api/v1/journal?format=jsonl&machine={MAIN}&limit=2&after=1")
            assert [line.get("machine") for line in map(json.loads, text.splitlines())] == [MAIN, MAIN, MAIN]
            entries = (await house.http("GET", "/api/v1/journal?after=0&limit=3"))[1]["entries"]
            assert [entry["event"]["by"] for entry in entries if entry["trigger"] == "start"] == ["gateway", "gateway"]
            assert [entry["row"] for entry in entries] == [0, 0, 0]

    run(main())


def test_a_reader_of_the_journal_may_go_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:

            async def gone(*_: Any) -> None:
                raise ConnectionResetError("the reader has gone")

            with monkeypatch.context() as patch:
                patch.setattr(web.StreamResponse, "write", gone)
                with contextlib.suppress(aiohttp.ClientError):
                    await house.http("GET", "/api/v1/journal?format=jsonl")
            assert (await house.http("GET", "/api/v1/status"))[0] == 200

    assert [line["event"] for line in run(main()) if line["event"] in ("journal_reader_gone", "http_failed")] == [
        "journal_reader_gone"
    ]


def test_a_call_that_breaks_is_an_answer_and_a_line_in_the_log(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            assert house.server is not None
            house.server._api.views.status = _broken  # type: ignore[method-assign]
            status, body, _ = await house.http("GET", "/api/v1/status")
            assert (status, body["error"]["message"]) == (500, "an internal error; see the log")

    lines = run(main())
    assert [line["path"] for line in lines if line["event"] == "http_failed"] == ["/api/v1/status"]


def _broken() -> Any:
    raise RuntimeError(f"a defect that holds {SECRET}")


@pytest.mark.parametrize(
    ("error", "status", "code", "frame_code", "details", "retry_after"),
    [
        (ConfigError([Issue("a", "b", 1, 2), Issue("c", "d")]), 422, "invalid_config", "INVALID_REQUEST",
         {"issues": [{"path": "a", "message": "b", "line": 1, "column": 2}, {"path": "c", "message": "d"}]}, None),
        (StaleHashError("abc", None), 412, "stale_hash", "INVALID_REQUEST", {"currentHash": "abc", "changedPaths": None}, None),
        (RefusedError(Refusal("m", "s", Stop(By.PERSON), ("start",), ("g",))), 409, "refused", "INVALID_REQUEST",
         {"machine": "m", "state": "s", "trigger": "stop", "allowed": ("start",), "guards": ("g",)}, None),
        (NotFoundError("x"), 404, "not_found", "INVALID_REQUEST", None, None),
        (BadRequestError("x", {"y": 1}), 400, "bad_request", "INVALID_REQUEST", {"y": 1}, None),
        (UnavailableError("x", 7.0), 503, "unavailable", "UNAVAILABLE", None, 7.0),
        (ConfigOwnedError("/etc/x", "y"), 409, "read_only", "INVALID_REQUEST", None, None),
        (ConfigWriteError("x"), 503, "not_written", "UNAVAILABLE", None, 1.0),
        (GatewayError("x"), 500, "internal", "UNAVAILABLE", None, None),
    ],
)  # fmt: skip
def test_what_each_error_is_called(
    error: GatewayError, status: int, code: str, frame_code: str, details: Any, retry_after: float | None
) -> None:
    answer = answer_for(error)
    assert (answer.status, answer.code, answer.frame_code) == (status, code, frame_code)
    assert (answer.details, answer.retry_after, answer.message) == (details, retry_after, str(error))


def test_who_has_just_been_let_in_is_served_although_the_listener_closes(tmp_path: Path) -> None:
    """Accepted in one turn of the loop, made a connection in the next: the listener closes in between."""

    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            server = house.server
            assert server is not None
            host, port = server.listener.getsockname()
            with socket.create_connection((host, port)) as client:
                client.setblocking(False)
                for _ in range(2):
                    await asyncio.sleep(0)
                await server.stop_listening()
                loop = asyncio.get_running_loop()
                await loop.sock_sendall(client, f"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
                assert (await asyncio.wait_for(loop.sock_recv(client, 100), 5)).startswith(b"HTTP/1.1 200")

    run(main())
