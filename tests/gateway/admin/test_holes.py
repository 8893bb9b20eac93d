"""Seventeen ways in which control planes on a local port were taken over, each tried on a real server.

Each is a probe, which fails where the hole is open. `hole_servers` has servers with a check taken out, by the hole that it kept shut,
and the probes must find every one of them.
"""

from __future__ import annotations

import asyncio
import gzip
import hmac
import io
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch as patched

import aiohttp
import pytest
from structlog.testing import capture_logs

from tests.gateway.admin.hole_probing import every_get, logged_by_libraries, say, statuses
from tests.gateway.admin.hole_servers import OPENED
from tests.gateway.admin.house import CHAT, TEXT, TOKEN, AdminHouse, run

Probe = Callable[[AdminHouse], Awaitable[None]]
PROBES: dict[str, Probe] = {}

STATUS, SIGN_IN, CODES = "/api/v1/status", "/api/v1/sign-in", "/api/v1/sign-in/codes"
STOP = "/api/v1/channels/webchat/default/stop"
JSON = {"Content-Type": "application/json"}
KIB = 1024


def hole(probe: Probe) -> Callable[[Path], None]:
    """A test of it, and its place among those that must find broken servers."""
    name: str = probe.__name__
    PROBES[name.removeprefix("test_")[:7]] = probe

    def test(tmp_path: Path) -> None:
        run(_probed(probe, tmp_path))

    test.__name__, test.__doc__ = name, probe.__doc__
    return test


async def _probed(probe: Probe, folder: Path) -> None:
    async with AdminHouse(folder) as house:
        await probe(house)


# The probes


@hole
async def test_hole_01_a_secret_in_an_address(house: AdminHouse) -> None:
    """A query is kept in histories, logs and Referer: no token in one is taken, and nobody is told where a click came from."""
    for name in ("token", "access_token", "auth", "key", "password", "api_key", "code"):
        assert (await house.http("GET", f"{STATUS}?{name}={TOKEN}", token=None))[0] == 401
        socket = await house.open(f"/ws?{name}={TOKEN}")
        assert not (await socket.connect(None, auth={}))["ok"]
        await socket.closed()
    _, made, _ = await house.http("POST", CODES)
    assert (await house.http("POST", f"{SIGN_IN}?code={made['code']}", token=None, json={}))[0] == 400
    _, _, headers = await house.http("GET", "/", token=None)
    assert headers.get("Referrer-Policy") == "no-referrer"


@hole
async def test_hole_02_a_websocket_of_another_site(house: AdminHouse) -> None:
    """A browser lets any page open one to any host, and sends no preflight: who asks is looked at before the upgrade."""
    origins = ("https://evil.example", "http://localhost", f"http://127.0.0.1:{house.port + 1}")
    assert await statuses(house, ({"Origin": origin} for origin in origins)) == {403}
    assert await statuses(house, [{"Sec-Fetch-Site": "cross-site"}]) == {403}
    assert await statuses(house, [{"Origin": house.url}]) == {200, 101}


@hole
async def test_hole_03_a_name_that_was_made_to_point_here(house: AdminHouse) -> None:
    """DNS rebinding: the page and the server have one name then, and a browser sees no other site."""
    port = house.port
    names = [
        f"evil.example:{port}",
        f"127.0.0.1.evil.example:{port}",
        f"localhost.:{port}",
        f"x@127.0.0.1:{port}",
        "127.0.0.1",
    ]
    assert await statuses(house, ({"Host": name, "Origin": f"http://{name}"} for name in names)) == {403}
    head = f"GET {STATUS} HTTP/1.1\nAuthorization: Bearer {TOKEN}\n"
    assert (await say(house, f"{head}Host: evil.example\nHost: 127.0.0.1:{port}\n"))[0] in (400, 403)
    assert (await say(house, head.replace("HTTP/1.1", "HTTP/1.0") + "Host: \n"))[0] in (400, 403)
    absolute = head.replace(STATUS, f"http://127.0.0.1:{port}{STATUS}")
    assert (await say(house, f"{absolute}Host: evil.example:{port}\n"))[0] in (400, 403)


@hole
async def test_hole_04_an_origin_that_begins_like_ours(house: AdminHouse) -> None:
    """Or ends like it, or has it inside."""
    ours, port = house.url, house.port
    origins = [f"{ours}.evil.example", f"{ours}0", f"{ours}/", f"{ours}@evil.example", f"http://evil.example/{ours}"]
    origins += [
        f"https://127.0.0.1:{port}",
        f"http://evil127.0.0.1:{port}",
        f"http://localhost:{port}",
        f"{ours}, {ours}",
    ]
    assert await statuses(house, ({"Origin": origin} for origin in origins)) == {403}


@hole
async def test_hole_05_the_origin_of_nobody(house: AdminHouse) -> None:
    """What a frame in a sandbox, a file and a redirect say: anybody can have it."""
    assert await statuses(house, [{"Origin": "null"}, {"Origin": "Null"}, {"Origin": ""}, {"Origin": "file://"}]) == {
        403
    }


@hole
async def test_hole_06_guessing_through_a_browser(house: AdminHouse) -> None:
    """It sits on this machine, so loopback is counted as any address; HTTP, WebSocket and codes together, and no header hides one."""
    for number in range(10):
        headers = {
            "X-Forwarded-For": f"10.0.0.{number}",
            "X-Real-IP": f"10.0.0.{number}",
            "Forwarded": f"for=10.0.0.{number}",
        }
        if number % 3 == 0:
            status, _, _ = await house.http("GET", STATUS, token=f"wrong {number}", headers=headers)
            assert status == 401
        elif number % 3 == 1:
            status, _, _ = await house.http("POST", SIGN_IN, token=None, json={"code": "wrong"}, headers=headers)
            assert status == 401
        else:
            socket = await house.open(headers=headers)
            assert not (await socket.connect("wrong"))["ok"]
            await socket.closed()
    later = {"X-Forwarded-For": "10.0.0.99"}
    assert (await house.http("GET", STATUS, headers=later))[0] == 429
    assert (await house.http("POST", SIGN_IN, token=None, json={"code": "wrong"}, headers=later))[0] == 429
    socket = await house.open(headers=later)
    assert (await socket.connect())["error"]["details"] == {"code": "AUTH_RATE_LIMITED"}
    await socket.closed()


@hole
async def test_hole_07_an_upgrade_without_a_token(house: AdminHouse) -> None:
    """An open socket is nobody yet: it is answered nothing, and told nothing of what happens."""
    for frame in (
        {"type": "req", "id": "1", "method": "status"},
        {"type": "req", "id": "1", "method": "connect", "params": {}},
    ):
        socket = await house.open()
        await house.http("POST", STOP)
        await house.http("POST", STOP.replace("stop", "start"))
        await socket.socket.send_json(frame)
        answer = await socket.receive()
        assert (answer["type"], answer.get("ok")) == ("res", False)
        assert await socket.closed() == aiohttp.WSCloseCode.POLICY_VIOLATION
        assert socket.events == []
    socket = await house.open()
    assert not (await socket.connect(None, auth={}))["ok"]
    await socket.closed()


@hole
async def test_hole_08_a_call_in_disguise(house: AdminHouse) -> None:
    """What a form can send needs no preflight: JSON is taken under its own name alone."""
    kinds = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "text/plain;application/json"]
    kinds += ["application/json-patch+json", "text/html; application/json", "image/svg+xml", "application/octet-stream"]
    before = house.on_disk()
    _, made, _ = await house.http("POST", CODES)
    calls = [
        ("PUT", "/api/v1/config", TEXT.replace("port: 0", "port: 1")),
        ("PATCH", "/api/v1/config", '{"gateway": {"name": "x"}}'),
        ("POST", "/api/v1/config/plan", TEXT),
        ("POST", "/api/v1/config/rollback", '{"revision": "1"}'),
        ("POST", "/api/v1/config/confirm", '{"revision": "1"}'),
        ("POST", "/api/v1/restart", '{"delay_ms": 60000}'),
        ("POST", "/api/v1/send", json.dumps({"channel": "webchat", "account": "default", "to": "x", "text": "x"})),
        ("POST", SIGN_IN, json.dumps(made)),
    ]
    for kind in kinds:
        for method, path, body in calls:
            headers = {"Content-Type": kind, "If-Match": str(house.hash)}
            status, answer, _ = await house.http(method, path, data=body.encode(), headers=headers)
            assert (status, "send application/json" in str(answer)) == (400, True), (kind, path)
    assert house.on_disk() == before
    assert (await house.http("GET", STATUS))[1]["tickets"] == []
    assert (await house.http("POST", SIGN_IN, token=None, json={"code": made["code"]}))[0] == 200, "it was used up"


@hole
async def test_hole_09_paths_that_lead_elsewhere(house: AdminHouse) -> None:
    """Up, encoded once and twice, with a NUL, in other letters, and past the prefix that needs no token."""
    up = ("..", "%2e%2e", ".%2E", "..%2f..", "%252e%252e", "..%5c..", "..%c0%af..", "....//..")
    paths = [
        f"/page/{way}/{end}" for way in up for end in ("auth.py", "api/v1/status", "etc/passwd", "../../pyproject.toml")
    ]
    paths += [
        "/page/..%2Fauth.py",
        "/page/..%252Fauth.py",
        "/page/page.js%00.css",
        "/page/%00",
        "/page/.",
        "/page/",
        "/page//etc/passwd",
    ]
    paths += [
        "//api/v1/status",
        "/API/V1/STATUS",
        "/Page/page.js",
        "/api/v1/status/",
        "/api/v1/status;/page/",
        "/api/v1/status%3F/page/",
    ]
    paths += [
        "/healthz/../api/v1/status",
        "/./api/v1/status",
        "/page/../api/v1/status",
        f"{house.url}/page/../api/v1/status",
    ]
    paths += [
        "/%61pi/v1/status",
        "/api/v1/status#/page/",
        "/api%2Fv1%2Fstatus",
        "/page\\..\\auth.py",
        "/ws/../api/v1/status",
    ]
    for path in paths:
        status, answer = await say(house, f"GET {path} HTTP/1.1")
        assert status in {400, 401, 403, 404}, path
        assert '"lifecycle"' not in answer, path
        signed_in, answer = await say(
            house, f"GET {path.replace('status', 'nothing')} HTTP/1.1\nAuthorization: Bearer {TOKEN}"
        )
        assert signed_in in {400, 403, 404}, path
        assert "import" not in answer, path
    for path in (
        "requests/x%2Fpage%2Fx",
        "config/history/1%2fpage%2f",
        "requests/%2Fpage%2F",
        "requests/%2e%2e%2fpage%2f",
    ):
        assert (await say(house, f"GET /api/v1/{path} HTTP/1.1"))[0] == 401
    for name in ("channel%00", "..%2Flifecycle", "%2e%2e", "channel%2F..%2Fchannel"):
        assert (await say(house, f"GET /api/v1/machines/{name}.svg HTTP/1.1\nAuthorization: Bearer {TOKEN}"))[0] in {
            400,
            404,
        }


@hole
async def test_hole_10_more_than_there_is_room_for(house: AdminHouse) -> None:
    """Bodies, packed ones too, frames, lines and headers: 64 KiB from who has not signed in, a MiB from who has."""
    for body, more in ((b" " * 65 * KIB, {}), (gzip.compress(b" " * 65 * KIB), {"Content-Encoding": "gzip"})):
        status, _, _ = await house.http("POST", SIGN_IN, token=None, data=io.BytesIO(body), headers=JSON | more)
        assert status == 413
    large = b" " * (KIB * KIB + 1)
    for body, more in ((large, {}), (gzip.compress(large), {"Content-Encoding": "gzip"})):
        status, _, _ = await house.http("POST", "/api/v1/restart", data=io.BytesIO(body), headers=JSON | more)
        assert status == 413
    assert (await say(house, f"GET /{'x' * 17 * KIB} HTTP/1.1"))[0] == 400
    assert (await say(house, f"GET / HTTP/1.1\nX: {'x' * 17 * KIB}"))[0] == 400
    socket = await house.open()
    await socket.socket.send_str(" " * 65 * KIB)
    assert await socket.closed() == aiohttp.WSCloseCode.MESSAGE_TOO_BIG
    socket = await house.sign_in()
    await socket.socket.send_str(" " * (KIB * KIB + 1))
    async with asyncio.timeout(30):
        assert await socket.closed() == aiohttp.WSCloseCode.MESSAGE_TOO_BIG


@hole
async def test_hole_11_a_flood_of_those_who_do_not_sign_in(house: AdminHouse) -> None:
    """They push each other out, whatever they began to say, and nobody who has signed in; silence has an end; the log stays ours."""
    socket = await house.sign_in()
    silent = await house.open()
    async with asyncio.timeout(30):
        assert await silent.closed() == aiohttp.WSCloseCode.POLICY_VIOLATION
    flood = [await house.dial() for _ in range(400)]
    for number, (_, writer) in enumerate(flood):
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n" if number % 2 else b"")
    assert (await house.http("GET", "/healthz", token=None))[0] == 200
    assert await socket.ask("status")
    assert house.server is not None
    assert house.server._runner is not None
    assert house.server._runner.server is not None
    assert len(house.server._runner.server.connections) <= 260
    with capture_logs() as lines, logged_by_libraries() as records:
        ours = f"HTTP/1.1\r\nHost: 127.0.0.1:{house.port}\r\n"
        opening = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        half = f"POST {SIGN_IN} {ours}Content-Type: application/json\r\nContent-Length: 20\r\n\r\n{{"
        for text in (
            half,
            f"GET /ws {ours}{opening}\r\n",
            f"GET {STATUS} {ours}Bad Header\r\n\r\n",
            "\x16\x03\x01\r\n\r\n",
            "GET\r\n\r\n",
        ):
            for number in range(3):
                _, writer = await house.dial()
                writer.write(text.encode())
                await asyncio.sleep(0.01 * number)
                writer.transport.abort()
        await asyncio.sleep(20)
    assert [line["event"] for line in lines if line["log_level"] in ("warning", "error")] == []
    assert records == []
    for _, writer in flood:
        writer.transport.abort()


@hole
async def test_hole_12_answers_that_another_site_reads(house: AdminHouse) -> None:
    """As a script, a picture or by leave of ours: JSON is an object, is called so, is for this origin, and no cookie signs in."""
    for path, (headers, body) in (await every_get(house)).items():
        assert headers.get("X-Content-Type-Options") == "nosniff", path
        assert headers.get("Cross-Origin-Resource-Policy") == "same-origin", path
        assert not [name for name in headers if name.startswith("Access-Control-")], path
        assert "Set-Cookie" not in headers
        if path.startswith("/api/") and not headers["Content-Type"].startswith(
            ("text/plain", "image/svg+xml", "application/jsonl")
        ):
            assert headers["Content-Type"] == "application/json; charset=utf-8", path
            assert isinstance(body, dict), path
    asking = {
        "Origin": house.url,
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "authorization",
    }
    _, _, headers = await house.http("OPTIONS", "/api/v1/config", token=None, headers=asking)
    assert not [name for name in headers if name.startswith("Access-Control-")]
    for name in ("token", "session", "gateway", "Authorization"):
        assert (await house.http("GET", STATUS, token=None, headers={"Cookie": f"{name}={TOKEN}"}))[0] == 401


@hole
async def test_hole_13_the_page_in_a_frame(house: AdminHouse) -> None:
    """Laid under something to click at."""
    for path, (headers, _) in (await every_get(house)).items():
        policy = dict(part.strip().partition(" ")[::2] for part in headers["Content-Security-Policy"].split(";"))
        assert policy["frame-ancestors"] == "'none'", path
        assert (policy["default-src"], policy["script-src"], policy["base-uri"], policy["form-action"]) == (
            "'none'", "'self'", "'none'", "'none'",
        ), path  # fmt: skip
        assert headers.get("Cross-Origin-Opener-Policy") == "same-origin", path


@hole
async def test_hole_14_what_a_cache_keeps(house: AdminHouse) -> None:
    """The disk of a browser, a proxy on the way: nothing of it is to be kept, refusals neither, nor a code and a session."""
    kept = [
        path for path, (headers, _) in (await every_get(house)).items() if headers.get("Cache-Control") != "no-store"
    ]
    assert kept == []
    _, made, headers = await house.http("POST", CODES)
    assert headers.get("Cache-Control") == "no-store"
    assert (await house.http("POST", SIGN_IN, token=None, json={"code": made["code"]}))[2][
        "Cache-Control"
    ] == "no-store"
    for path, token in ((STATUS, None), (STATUS, "wrong"), ("/nothing", TOKEN)):
        assert (await house.http("GET", path, token=token))[2].get("Cache-Control") == "no-store"


@hole
async def test_hole_15_a_method_that_is_another(house: AdminHouse) -> None:
    """HEAD and OPTIONS need the token as GET does, what changes something is not GET, and no header or query makes it so."""
    for method in ("HEAD", "OPTIONS", "GET", "TRACE", "PROPFIND"):
        status, answer = await say(house, f"{method} {STATUS} HTTP/1.1")
        assert (status, '"lifecycle"' in answer) == (401, False), method
    names = ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override")
    overridden = "".join(f"\n{name}: POST" for name in names)
    for method in ("GET", "HEAD", "OPTIONS", "TRACE"):
        for path in (STOP, "/api/v1/restart", "/api/v1/config/rollback", SIGN_IN, CODES):
            for query, more in (("", overridden), ("?_method=POST", ""), ("", "")):
                head = f"{method} {path}{query} HTTP/1.1\nAuthorization: Bearer {TOKEN}{more}"
                assert (await say(house, head))[0] == 405, (method, path)
    await house.until_account(CHAT, "running")
    for override in ("DELETE", "PUT"):
        headers = JSON | dict.fromkeys(names, override)
        assert (await house.http("POST", "/api/v1/config", data=TEXT, headers=headers))[0] == 405
    status, answer = await say(house, f"TRACE / HTTP/1.1\nAuthorization: Bearer {TOKEN}")
    assert (status, TOKEN in answer) == (405, False)


@hole
async def test_hole_16_how_long_a_comparison_takes(house: AdminHouse) -> None:
    """Whatever is given is compared whole, in constant time, and so are a session's signature and a code."""
    compared: list[tuple[bytes, bytes]] = []
    compare = hmac.compare_digest

    def note(one: Any, other: Any) -> bool:
        compared.append((one, other))
        return compare(one, other)

    _, made, _ = await house.http("POST", CODES)
    session = (await house.http("POST", SIGN_IN, token=None, json={"code": made["code"]}))[1]["token"]
    with patched("hmac.compare_digest", note):
        for given in ("x", TOKEN[:-1], TOKEN[:1] + "x", TOKEN):
            compared.clear()
            await house.http("GET", STATUS, token=given)
            assert (given.encode(), TOKEN.encode()) in compared, given
        await house.http("POST", CODES)
        compared.clear()
        await house.http("GET", STATUS, token=session[:-1] + "x")
        assert session.rpartition(".")[2].encode() in {secret for _, secret in compared}
        compared.clear()
        await house.http("POST", SIGN_IN, token=None, json={"code": "wrong"})
        assert len(compared) == 1


@hole
async def test_hole_17_a_code_or_a_session_that_is_used_again(house: AdminHouse) -> None:
    """A code is good once and for a minute; a session for its time, under its token, and makes no other."""

    async def sign_in_by(code: str) -> tuple[int, Any]:
        return (await house.http("POST", SIGN_IN, token=None, json={"code": code}))[:2]

    made = [(await house.http("POST", CODES))[1]["code"] for _ in range(2)]
    status, body = await sign_in_by(made[0])
    session = body["token"]
    assert (status, (await sign_in_by(made[0]))[0]) == (200, 401)
    await asyncio.sleep(61)
    assert (await sign_in_by(made[1]))[0] == 401
    assert (await house.http("GET", STATUS, token=session))[0] == 200
    assert (await house.http("POST", CODES, token=session))[0] == 403
    mark, end, *rest = session.split(".")
    assert (await house.http("GET", STATUS, token=".".join((mark, f"{end}0", *rest))))[0] == 401
    with patched.object(house._clock, "wall_ms", lambda: int(end)):
        assert (await house.http("GET", STATUS, token=session))[0] == 401
    assert (await house.http("GET", STATUS, token=session))[0] == 200
    socket = await house.sign_in(session)
    await house.edit(TEXT.replace(TOKEN, "another-admin-token"))
    assert (await house.http("GET", STATUS, token=session))[0] == 401
    async with asyncio.timeout(60):
        assert await socket.closed() == aiohttp.WSCloseCode.POLICY_VIOLATION


# Servers that have them


def test_every_hole_has_a_server_that_has_it() -> None:
    assert len(PROBES) == 17
    assert {name[:7] for name in OPENED} == set(PROBES)


@pytest.mark.parametrize("name", OPENED)
def test_without_its_check_the_hole_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    OPENED[name](monkeypatch)
    found: list[BaseException] = []

    async def probe(house: AdminHouse) -> None:
        try:
            await PROBES[name[:7]](house)
        except BaseException as error:
            found.append(error)
            raise

    with pytest.raises(BaseException):  # noqa: B017 - of whatever kind: what matters is that the probe has raised it
        run(_probed(probe, tmp_path))
    assert found
