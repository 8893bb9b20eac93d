"""The way in: from which place, and with which token."""

from __future__ import annotations

import hmac
import stat
from pathlib import Path
from typing import Any

import pytest

from gateway.admin import auth
from gateway.admin.auth import (
    FAILURES,
    PERIOD,
    ForbiddenError,
    Gatekeeper,
    TooManyAttemptsError,
    UnauthorizedError,
    bearer,
    check_place,
    stored_token,
)
from gateway.clock import Clock
from gateway.config.model import Admin
from gateway.redact import Secret

PORT = 18790
HERE = f"127.0.0.1:{PORT}"
LOOPBACK = Admin()
OPEN = Admin(host="0.0.0.0", token=Secret("a-token"))
PROXIED = Admin(allowed_origins=("https://gateway.example", "http://other.example:8080"))
SIX = Admin(host="::1")
NAMED = Admin(host="gateway.lan", token=Secret("a-token"))


@pytest.mark.parametrize(
    ("admin", "headers"),
    [
        (LOOPBACK, {"Host": HERE}),
        (LOOPBACK, {"Host": f"localhost:{PORT}"}),
        (LOOPBACK, {"Host": f"[::1]:{PORT}"}),
        (SIX, {"Host": f"[::1]:{PORT}"}),
        (LOOPBACK, {"Host": HERE, "Origin": f"http://{HERE}"}),
        (LOOPBACK, {"Host": f"localhost:{PORT}", "Origin": f"http://localhost:{PORT}"}),
        (LOOPBACK, {"Host": HERE, "Sec-Fetch-Site": "same-origin"}),
        (LOOPBACK, {"Host": HERE, "Sec-Fetch-Site": "none"}),
        (PROXIED, {"Host": "gateway.example", "Origin": "https://gateway.example"}),
        (PROXIED, {"Host": "other.example:8080"}),
        (PROXIED, {"Host": HERE, "Origin": "https://gateway.example"}),
        (OPEN, {"Host": f"192.168.1.5:{PORT}"}),
        (OPEN, {"Host": f"[fe80::1]:{PORT}", "Origin": f"http://[fe80::1]:{PORT}"}),
        (NAMED, {"Host": f"gateway.lan:{PORT}"}),
    ],
)
def test_who_may_speak_to_us(admin: Admin, headers: dict[str, str]) -> None:
    check_place(headers, PORT, admin)


@pytest.mark.parametrize(
    ("admin", "headers"),
    [
        (LOOPBACK, {}),
        (LOOPBACK, {"Host": ""}),
        (LOOPBACK, {"Host": "127.0.0.1"}),
        (LOOPBACK, {"Host": "127.0.0.1:80"}),
        (LOOPBACK, {"Host": f"{HERE}0"}),
        (LOOPBACK, {"Host": f" {HERE}"}),
        (LOOPBACK, {"Host": f"evil.example:{PORT}"}),
        (LOOPBACK, {"Host": f"localhost.evil.example:{PORT}"}),
        (LOOPBACK, {"Host": f"192.168.1.5:{PORT}"}),
        (LOOPBACK, {"Host": f"127.0.0.2:{PORT}"}),
        (LOOPBACK, {"Host": f"user@{HERE}"}),
        (LOOPBACK, {"Host": HERE, "Origin": "null"}),
        (LOOPBACK, {"Host": HERE, "Origin": ""}),
        (LOOPBACK, {"Host": HERE, "Origin": f"https://{HERE}"}),
        (LOOPBACK, {"Host": HERE, "Origin": f"http://{HERE}/"}),
        (LOOPBACK, {"Host": HERE, "Origin": f"http://localhost:{PORT}"}),
        (LOOPBACK, {"Host": HERE, "Origin": "https://evil.example"}),
        (LOOPBACK, {"Host": HERE, "Origin": f"http://{HERE}.evil.example"}),
        (LOOPBACK, {"Host": HERE, "Sec-Fetch-Site": "cross-site"}),
        (LOOPBACK, {"Host": HERE, "Sec-Fetch-Site": "Cross-Site"}),
        (PROXIED, {"Host": "gateway.example:443"}),
        (PROXIED, {"Host": "gateway.example", "Origin": "http://gateway.example.evil.example"}),
        (PROXIED, {"Host": "gateway.example", "Origin": "https://gateway.example", "Sec-Fetch-Site": "cross-site"}),
        (OPEN, {"Host": f"evil.example:{PORT}"}),
        (OPEN, {"Host": "192.168.1.5"}),
        (OPEN, {"Host": "192.168.1.5:80"}),
        (OPEN, {"Host": f"192.168.1.5.evil.example:{PORT}"}),
        (OPEN, {"Host": f"192.168.1.5:{PORT}", "Origin": "http://evil.example"}),
        (OPEN, {"Host": f"localhost:{PORT}"}),
    ],
)
def test_case_68_who_may_not(admin: Admin, headers: dict[str, str]) -> None:
    """Also not under a name that was made to point here (DNS rebinding), and not from a page that only looks like ours."""
    with pytest.raises(ForbiddenError):
        check_place(headers, PORT, admin)


# Tokens


class StillClock(Clock):
    now = 1_000.0

    def monotonic(self) -> float:
        return self.now


class Gate:
    def __init__(self, token: str = "the-token") -> None:
        self.clock = StillClock()
        self.token = token
        self.keeper = Gatekeeper(lambda: self.token, self.clock)

    def says(self, given: str | None, address: str = "10.0.0.1") -> str:
        try:
            self.keeper.check(given, address)
        except UnauthorizedError as error:
            return "wrong" if error.given else "missing"
        except TooManyAttemptsError as error:
            return f"again in {error.retry_after:g}"
        return "in"


def test_the_token_and_no_other() -> None:
    gate = Gate()
    assert gate.says("the-token") == "in"
    for wrong in ("the-toke", "the-tokenn", "THE-TOKEN", " the-token", "", "\ud800", "tökén"):
        assert gate.says(wrong) == "wrong"
    assert gate.says(None) == "missing"


def test_a_token_may_change_while_it_runs() -> None:
    gate = Gate()
    gate.token = "another-token"
    assert (gate.says("the-token"), gate.says("another-token")) == ("wrong", "in")


def test_after_ten_wrong_ones_even_the_right_one_waits() -> None:
    gate = Gate()
    for _ in range(FAILURES):
        assert gate.says("wrong") == "wrong"
    assert gate.says("wrong") == f"again in {PERIOD:g}"
    gate.clock.now += 20
    assert gate.says("the-token") == "again in 40"
    assert gate.says(None) == "again in 40"
    gate.clock.now += 40
    assert gate.says("the-token") == "in"


def test_the_minute_slides() -> None:
    gate = Gate()
    for number in range(FAILURES):
        assert gate.says("wrong") == "wrong", number
        gate.clock.now += 10
    # The first ones are older than a minute by now.
    assert [gate.says("wrong") for _ in range(FAILURES)].count("wrong") == 5


def test_each_address_is_counted_by_itself() -> None:
    gate = Gate()
    for _ in range(FAILURES + 1):
        gate.says("wrong", "10.0.0.1")
    assert gate.says("the-token", "10.0.0.2") == "in"
    assert gate.says("the-token", "10.0.0.1").startswith("again")


def test_not_every_address_is_remembered_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "ADDRESSES_KEPT", 10)
    gate = Gate()
    for number in range(100):
        assert gate.says("wrong", f"fe80::{number}") == "wrong"
    assert len(gate.keeper._attempts._failures) == 10


def test_the_right_one_clears_the_count_and_none_at_all_is_not_counted() -> None:
    gate = Gate()
    for _ in range(3):
        for _ in range(FAILURES - 1):
            assert gate.says("wrong") == "wrong"
            assert gate.says(None) == "missing"
        assert gate.says("the-token") == "in"


def test_tokens_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[Any, Any]] = []
    compare = hmac.compare_digest

    def spy(one: Any, other: Any) -> bool:
        compared.append((one, other))
        return compare(one, other)

    monkeypatch.setattr("gateway.admin.sessions.hmac.compare_digest", spy)
    gate = Gate()
    for given in ("the-token", "wrong", "t"):
        gate.says(given)
    gate.says(None)
    assert compared == [(given.encode(), b"the-token") for given in ("the-token", "wrong", "t")]


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer abc", "abc"),
        ("bearer abc", "abc"),
        ("Bearer  abc ", "abc"),
        ("Bearer a b", "a b"),
        ("Bearer", None),
        ("Bearer ", None),
        ("Basic abc", None),
        ("abc", None),
        ("", None),
        (None, None),
    ],
)
def test_the_header_of_a_token(header: str | None, token: str | None) -> None:
    assert bearer({} if header is None else {"Authorization": header}) == token


def test_a_token_of_its_own_is_made_once_and_for_its_owner(tmp_path: Path) -> None:
    token = stored_token(tmp_path)
    assert len(token) >= 40
    assert stored_token(tmp_path) == token
    assert stat.S_IMODE((tmp_path / "admin-token").stat().st_mode) == 0o600
    (tmp_path / "other").mkdir()
    assert stored_token(tmp_path / "other") != token
    assert [file.name for file in (tmp_path / "other").iterdir()] == ["admin-token"]


def test_an_empty_file_is_no_token(tmp_path: Path) -> None:
    (tmp_path / "admin-token").write_text("\n")
    token = stored_token(tmp_path)
    assert len(token) >= 40
    assert stored_token(tmp_path) == token
