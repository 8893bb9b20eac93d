"""What Telegram brings: who is let in, from where, with what; and what the answer promises."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.admin.auth import FAILURES
from gateway.admin.http import MAX_BODY, SAFE_HEADERS
from gateway.admin.webhooks import SECRET_HEADER
from gateway.channels.hooks import WebhookReport
from gateway.channels.telegram_webhook import hook_secret
from gateway.config.model import TelegramAccount
from gateway.errors import UnavailableError
from tests.gateway.admin.house import MAIN, SECRET, TOKEN, AdminHouse, run
from tests.gateway.configs import telegram

JSON = {"Content-Type": "application/json"}
UPDATE = {"update_id": 7, "message": {"text": "hello"}}
TEXT = telegram(
    main=f"token: {SECRET}, receive: webhook, webhook_url: 'https://bot.example.org/below'",
    second="token: another-secret-token, webhook_url: 'https://bot.example.net:8443'",
)


class FakeHook:
    """A receiver at its door."""

    def __init__(self) -> None:
        self.taken: list[tuple[int, dict[str, Any]]] = []
        self.refuses: Exception | None = None
        self.safe = asyncio.Event()
        self.safe.set()

    async def take(self, number: int, update: dict[str, Any]) -> None:
        await self.safe.wait()
        if self.refuses is not None:
            raise self.refuses
        self.taken.append((number, update))


def secret_of(house: AdminHouse, name: str = MAIN) -> str:
    settings = house._ledger.applied.accounts()[name]
    assert isinstance(settings, TelegramAccount)
    return hook_secret(name, settings)


async def bring(
    house: AdminHouse, update: Any = UPDATE, *, account: str = "main", secret: str | None = "", **headers: str
) -> tuple[int, Any, Mapping[str, str]]:
    """As Telegram does; without a `secret` said it is the right one of `main`, None sends none."""
    secret = secret_of(house) if secret == "" else secret
    sent = JSON | ({SECRET_HEADER: secret} if secret is not None else {}) | headers
    data = io.BytesIO(update if isinstance(update, bytes) else json.dumps(update).encode())
    return await house.http("POST", f"/telegram/{account}", token=None, headers=sent, data=data)


def test_with_the_secret_it_is_taken(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path, TEXT) as house:
            hook = FakeHook()
            house._hooks.put_up(MAIN, hook)
            assert (await bring(house))[:2] == (200, {"ok": True})
            assert hook.taken == [(7, UPDATE)]

    run(main())


def test_the_answer_waits_until_it_is_safe(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path, TEXT) as house:
            hook = FakeHook()
            hook.safe.clear()
            house._hooks.put_up(MAIN, hook)
            bringing = asyncio.ensure_future(bring(house))
            await asyncio.sleep(5)
            assert not bringing.done()
            hook.safe.set()
            assert (await bringing)[0] == 200

    run(main())


def test_a_wrong_secret_has_the_same_answer_whether_there_is_such_an_account_or_not(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path, TEXT) as house:
            hook = FakeHook()
            house._hooks.put_up(MAIN, hook)
            for secret in ("wrong\udcff", None):
                answers = []
                for account in ("main", "second", "nobody", "main/more"):
                    status, body, headers = await bring(house, account=account, secret=secret)
                    answers.append(
                        (status, body, {key: headers[key] for key in SAFE_HEADERS}, headers["WWW-Authenticate"])
                    )
                assert answers[0][0] == 401
                assert all(answer == answers[0] for answer in answers)
            # That of another account, and the gateway's own token, are wrong ones.
            assert (await bring(house, secret=secret_of(house, "telegram/second")))[0] == 401
            assert (await bring(house, secret=TOKEN, Authorization=f"Bearer {TOKEN}"))[0] == 401
            assert hook.taken == []

    run(main())


def test_wrong_secrets_are_counted_and_keep_out_nobody_who_knows_the_right_one(tmp_path: Path) -> None:
    """All that comes through a proxy has one address: that of the operator's own calls, too."""

    async def main() -> None:
        async with AdminHouse(tmp_path, TEXT) as house:
            hook = FakeHook()
            house._hooks.put_up(MAIN, hook)
            for _ in range(FAILURES):
                assert (await bring(house, secret="wrong"))[0] == 401
            for account in ("main", "nobody"):
                status, body, headers = await bring(house, account=account, secret="wrong")
                assert (status, body["error"]["code"]) == (429, "too_many_attempts")
                assert headers["Retry-After"] == "60"
            assert (await bring(house))[0] == 200
            assert (await bring(house, secret="wrong"))[0] == 429, "the right one in between forgives nothing"
            assert (await house.http("GET", "/api/v1/status"))[0] == 200
            await asyncio.sleep(61)
            assert (await bring(house, secret="wrong"))[0] == 401

    run(main())


@pytest.mark.parametrize(
    "host", ["bot.example.org", "bot.example.org:443", "bot.example.net:8443", "127.0.0.1:{port}", "localhost:{port}"]
)
def test_the_hosts_that_telegram_or_its_proxy_may_name(tmp_path: Path, host: str) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path, TEXT) as house:
            house._hooks.put_up(MAIN, FakeHook())
            assert (await bring(house, Host=host.format(port=house.port)))[0] == 200

    run(main())


@pytest.mark.parametrize("host", ["evil.example", "bot.example.org:8443", "bot.example.net", "127.0.0.1:1"])
def test_no_other_host_and_no_web_page(tmp_path: Path, host: str) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path, TEXT) as house:
            hook = FakeHook()
            house._hooks.put_up(MAIN, hook)
            for headers in ({"Host": host}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
                for account in ("main", "nobody"):
                    status, body, _ = await bring(house, account=account, **headers)
                    assert (status, body["error"]["code"]) == (403, "forbidden")
            assert hook.taken == []

    run(main())


def test_the_host_of_a_webhook_opens_nothing_else(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path, TEXT) as house:
            for path in ("/", "/healthz", "/api/v1/status"):
                assert (await house.http("GET", path, headers={"Host": "bot.example.org"}))[0] == 403
            secret = {SECRET_HEADER: secret_of(house)}
            assert (await house.http("GET", "/api/v1/status", token=None, headers=secret))[0] == 401

    run(main())


def test_a_host_that_is_in_the_config_no_more_is_let_in_no_more(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path, TEXT) as house:
            house._hooks.put_up(MAIN, FakeHook())
            assert (await bring(house, Host="bot.example.org"))[0] == 200
            await house.edit(TEXT.replace("bot.example.org", "bot.example.com"))
            house._hooks.put_up(MAIN, FakeHook())
            assert (await bring(house, Host="bot.example.org"))[0] == 403
            assert (await bring(house, Host="bot.example.com"))[0] == 200

    run(main())


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "\udcff",
        "[" * 100_000,
        "[]",
        "7",
        "{}",
        '{"update_id": "7"}',
        '{"update_id": -1}',
        '{"update_id": true}',
    ],
)
def test_what_is_no_update_is_refused(tmp_path: Path, body: str) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path, TEXT) as house:
            hook = FakeHook()
            house._hooks.put_up(MAIN, hook)
            status, answer, _ = await bring(house, body.encode(errors="surrogateescape"))
            assert (status, answer["error"]["code"]) == (400, "bad_request")
            assert hook.taken == []

    run(main())


def test_nothing_but_json_and_not_too_much_of_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path, TEXT) as house:
            hook = FakeHook()
            house._hooks.put_up(MAIN, hook)
            status, _, _ = await bring(house, **{"Content-Type": "application/yaml"})
            assert status == 400
            status, body, _ = await bring(house, UPDATE | {"more": "x" * MAX_BODY})
            assert (status, body["error"]["code"]) == (413, "request_entity_too_large")
            assert (await bring(house, UPDATE | {"more": "x" * MAX_BODY}, secret="wrong"))[0] == 401, "unread"
            assert (await house.http("GET", "/telegram/main", headers={SECRET_HEADER: secret_of(house)}))[0] == 405
            assert hook.taken == []

    run(main())


def test_where_nobody_takes_it_it_shall_be_brought_again(tmp_path: Path) -> None:
    """Between two generations, and where the account rests."""

    async def main() -> None:
        async with AdminHouse(tmp_path, TEXT) as house:
            for name in (MAIN, "telegram/second"):
                account = name.partition("/")[2]
                status, body, headers = await bring(house, account=account, secret=secret_of(house, name))
                assert (status, body["error"]["code"], headers["Retry-After"]) == (503, "unavailable", "1")
            hook = FakeHook()
            house._hooks.put_up(MAIN, hook)
            hook.refuses = UnavailableError("no room", 3.0)
            status, _, headers = await bring(house)
            assert (status, headers["Retry-After"]) == (503, "3")

    run(main())


def test_what_the_network_says_of_it_is_in_the_status(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path, TEXT) as house:
            house._hooks.note(MAIN, WebhookReport("https://bot.example.org/telegram/main", 3, "Bad Gateway", 1_700_000))
            _, body, _ = await house.http("GET", "/api/v1/channels")
            found = {account["account"]: account["webhook"] for account in body["accounts"]}
            assert found["second"] is None
            assert found["main"] == {
                "address": "https://bot.example.org/telegram/main",
                "pending": 3,
                "error": "Bad Gateway",
                "error_at": 1_700_000,
            }

    run(main())
