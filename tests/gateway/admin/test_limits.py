"""How often a client may write the config."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gateway.admin import limits
from gateway.admin.errors import RateLimitedError
from gateway.admin.limits import PERIOD, WriteLimit
from gateway.clock import Clock
from gateway.config.model import Admin
from gateway.errors import ConfigError, ConfigOwnedError, ConfigWriteError, StaleHashError, UnavailableError
from tests.gateway.admin.house import CLIENT, TEXT, AdminHouse, Socket, run


class HandClock(Clock):
    """Goes on when it is told to."""

    now = 1_000.0

    def monotonic(self) -> float:
        return self.now


class Limited:
    """A limit of three, and a hand on its clock."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.most = 3
        self.limit = WriteLimit(lambda: self.most, self.clock)

    def write(self, client: str = "ann", method: str = "PATCH", fails: Exception | None = None) -> None:
        with self.limit.counted(client, method):
            if fails is not None:
                raise fails

    def refused(self, client: str = "ann", method: str = "PATCH") -> float:
        """Seconds until it may come again."""
        with pytest.raises(RateLimitedError) as caught:
            self.write(client, method)
        return caught.value.retry_after


@pytest.fixture
def limited() -> Limited:
    return Limited()


def test_thirty_in_a_minute_unless_said_otherwise() -> None:
    assert (Admin().writes_per_minute, PERIOD) == (30, 60.0)


def test_it_says_when_the_next_write_is_allowed_and_then_it_is(limited: Limited) -> None:
    for _ in range(3):
        limited.write()
        limited.clock.now += 10
    assert limited.refused() == 30
    limited.clock.now += 29.9
    assert limited.refused() == pytest.approx(0.1)
    limited.clock.now += 0.1
    limited.write()
    assert limited.refused() == pytest.approx(10), "the minute slides: the second write is the next to be forgotten"


def test_a_refusal_of_ours_does_not_push_the_next_write_out(limited: Limited) -> None:
    for _ in range(3):
        limited.write()
    for _ in range(100):
        assert limited.refused() == 60
    limited.clock.now += 60
    limited.write()


def test_clients_and_methods_are_counted_apart(limited: Limited) -> None:
    for _ in range(3):
        limited.write()
    limited.refused()
    limited.write(method="PUT")
    limited.write(client="bob")
    limited.refused()


@pytest.mark.parametrize(
    "error",
    [StaleHashError("x", None), ConfigError([]), ConfigOwnedError("x", "y"), ConfigWriteError("x")],
    ids=lambda error: type(error).__name__,
)
def test_what_was_refused_and_wrote_nothing_does_not_count(limited: Limited, error: Exception) -> None:
    for _ in range(100):
        with pytest.raises(type(error)):
            limited.write(fails=error)
    for _ in range(3):
        limited.write()
    limited.refused()


def test_what_was_written_counts_however_it_went_on(limited: Limited) -> None:
    for _ in range(3):
        with pytest.raises(UnavailableError):
            limited.write(fails=UnavailableError("written, and not applied"))
    limited.refused()


def test_what_is_under_way_counts(limited: Limited) -> None:
    with (
        limited.limit.counted("ann", "PATCH"),
        limited.limit.counted("ann", "PATCH"),
        limited.limit.counted("ann", "PATCH"),
    ):
        limited.refused()


def test_a_write_that_took_longer_than_a_minute_and_is_refused_then(limited: Limited) -> None:
    with suppress(StaleHashError), limited.limit.counted("ann", "PATCH"):
        limited.clock.now += 61
        limited.write()
        raise StaleHashError("x", None)
    limited.write()
    limited.write()
    limited.refused()


def test_a_change_of_the_limit_counts_at_once(limited: Limited) -> None:
    for _ in range(3):
        limited.write()
    limited.most = 4
    limited.write()
    limited.most = 0
    for _ in range(100):
        limited.write()
    limited.most = 2
    limited.refused()


def test_it_does_not_remember_everybody_for_ever(limited: Limited, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CLIENTS_KEPT", 10)
    for number in range(100):
        limited.write(f"client {number}")
    assert len(limited.limit._writes) == 10


# On the wire


ONE_A_MINUTE = TEXT.replace("port: 0,", "port: 0, writes_per_minute: 1,")


async def patch_http(house: AdminHouse, name: str) -> tuple[int, Any, Any]:
    headers = {"If-Match": str(house.hash), "Content-Type": "application/json"}
    return await house.http("PATCH", "/api/v1/config", data=json.dumps({"gateway": {"name": name}}), headers=headers)


async def patch(house: AdminHouse, socket: Socket, name: str) -> dict[str, Any]:
    raw = json.dumps({"gateway": {"name": name}})
    return await socket.request("config.patch", {"raw": raw, "baseHash": house.hash})


def test_thirty_by_each_road_and_what_the_next_one_is_told(tmp_path: Path) -> None:
    """HTTP and WebSocket count apart; both say when to come again, and then the write is taken."""

    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            socket = await house.sign_in()
            for number in range(30):
                assert (await patch_http(house, f"http {number}"))[0] == 200
                assert (await patch(house, socket, f"ws {number}"))["ok"]
            before = house.on_disk()
            status, body, headers = await patch_http(house, "too much")
            assert (status, body["error"]["code"]) == (429, "rate_limited")
            error = (await patch(house, socket, "too much"))["error"]
            assert (error["code"], error["retryable"]) == ("UNAVAILABLE", True)
            assert 0 < error["retryAfterMs"] <= 60_000
            assert house.on_disk() == before
            # Another client of the same address, and whoever only looks, is served.
            other = await house.sign_in(client=CLIENT | {"id": "another"})
            assert (await patch(house, other, "another"))["ok"]
            assert (await socket.ask("config.get"))["valid"]
            assert (await house.http("GET", "/api/v1/config"))[0] == 200
            await asyncio.sleep(max(int(headers["Retry-After"]), error["retryAfterMs"] / 1000))
            assert (await patch_http(house, "in time"))[0] == 200
            assert (await patch(house, await house.sign_in(), "in time, too"))["ok"]

    run(main())


@pytest.mark.parametrize("pause", [10.4, 20.0004, 59.9996])
def test_who_waits_for_as_long_as_was_said_is_not_refused_again(tmp_path: Path, pause: float) -> None:
    """What is said is rounded up, whatever the fraction is. A client that comes back is the same client."""

    async def main() -> None:
        async with AdminHouse(tmp_path, ONE_A_MINUTE) as house:
            assert (await patch_http(house, "http"))[0] == 200
            await asyncio.sleep(pause)
            status, _, headers = await patch_http(house, "too soon")
            assert status == 429
            await asyncio.sleep(int(headers["Retry-After"]))
            assert (await patch_http(house, "http again"))[0] == 200
            assert (await patch(house, await house.sign_in(), "ws"))["ok"]
            await asyncio.sleep(pause)
            error = (await patch(house, await house.sign_in(), "too soon"))["error"]
            await asyncio.sleep(error["retryAfterMs"] / 1000)
            assert (await patch(house, await house.sign_in(), "ws again"))["ok"]

    run(main())


def test_the_limit_is_changed_while_it_runs(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path, ONE_A_MINUTE) as house:
            socket = await house.sign_in()
            assert (await patch(house, socket, "one"))["ok"]
            assert not (await patch(house, socket, "two"))["ok"]
            await house.edit(house.on_disk().decode().replace("writes_per_minute: 1", "writes_per_minute: 2"))
            assert (await patch(house, socket, "two"))["ok"]
            assert not (await patch(house, socket, "three"))["ok"]

    run(main())


def test_refused_writes_do_not_count(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path, ONE_A_MINUTE) as house:
            socket = await house.sign_in()
            for raw, base in (("{}", "stale"), ('{"gateway": {"nmae": 1}}', house.hash), ("{", house.hash)):
                for method in ("config.patch", "config.apply"):
                    answer = await socket.request(method, {"raw": raw, "baseHash": base})
                    assert answer["error"]["code"] == "INVALID_REQUEST"
            assert (await patch(house, socket, "one"))["ok"]

    run(main())
