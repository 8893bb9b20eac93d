"""A secret is in no output: not in an answer, an event, a metric, the log, the journal, the history's log, or what stands in the state folder."""

from __future__ import annotations

import itertools
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp

from tests.fakes.telegram import FakeTelegram
from tests.protocol import frames
from tests.real.process import TOKEN, Client, Gateway, RpcError, attempt, config_text, telegram_account

FAST = "{mode: hybrid, debounce_ms: 100}"

CANARY_BOT = "1001:CANARY-bot-token-7Qx2"
CANARY_NEXT = "1001:CANARY-next-token-9Zk4"
CANARY_MUTE = "1001:CANARY-mute-token-6Yb1"
CANARY_ADMIN = "CANARY-admin-token-3Wv8"
CANARY_ENV = "1002:CANARY-env-token-5Rt6"


class Ear:
    """Hears everything that a gateway says, to whoever asks."""

    def __init__(self, gateway: Gateway, client: Client) -> None:
        self.gateway = gateway
        self.client = client
        self.said = [json.dumps(client.hello)]

    async def ask(self, method: str, path: str, **more: Any) -> Any:
        _, body = await self.gateway.http(method, path, **more)
        self.said.append(json.dumps(body))
        return body

    async def request(self, method: str, params: dict[str, Any] | None = None) -> None:
        answer = await attempt(self.client.request(method, params))
        self.said.append(json.dumps(answer if isinstance(answer, dict) else answer.error))

    async def patch(self, changes: dict[str, Any], **more: Any) -> dict[str, Any] | RpcError:
        answer = await attempt(self.client.patch(bot_patch(**changes), **more))
        self.said.append(json.dumps(answer if isinstance(answer, dict) else answer.error))
        return answer

    async def look(self) -> None:
        """Everything that can be read."""
        for path in ("status", "config", "config/schema", "channels", "journal?limit=1000", "machines"):
            await self.ask("GET", f"/api/v1/{path}")
        for entry in (await self.ask("GET", "/api/v1/config/history?limit=5"))["entries"]:
            await self.ask("GET", f"/api/v1/config/history/{entry['number']}")
            await self.request("config.history", {"revision": entry["number"], "against": 1})
        headers = {"Authorization": f"Bearer {self.gateway.token}"}
        async with (
            aiohttp.ClientSession() as session,
            session.get(self.gateway.url + "/metrics", headers=headers) as got,
        ):
            assert got.status == 200
            self.said.append(await got.text())
        for method in (
            "config.get", "status", "channels.status", "journal.list", "health", "lifecycle.get", "config.history",
            "logs.tail",
        ):  # fmt: skip
            await self.request(method)
        self.read_what_stands()

    def read_what_stands(self) -> None:
        """What the gateway keeps for itself, but the texts of the revisions, which are secrets, and its own token."""
        kept = [path for path in (self.gateway.folder / ".gateway").rglob("*") if path.is_file()]
        self.said += [
            path.read_bytes().decode(errors="replace")
            for path in kept
            if path.suffix != ".yaml" and path.name != "admin-token"
        ]


def bot_patch(**changes: Any) -> str:
    return json.dumps({"channels": {"telegram": {"accounts": {"main": changes}}}})


async def say_it_in_bad_calls(ear: Ear) -> None:
    """Calls that are refused, each with a token in it."""
    raws = [
        bot_patch(token=[CANARY_NEXT]),
        bot_patch(token=CANARY_NEXT, nmae=1),
        bot_patch(poll_timeout_s=CANARY_BOT),
        "{" + CANARY_ADMIN,
    ]
    now = (await ear.client.request("config.get"))["hash"]
    for raw, base, method in itertools.product(raws, (now, "stale"), ("config.patch", "config.apply")):
        await ear.request(method, {"raw": raw, "baseHash": base})
    await ear.request(CANARY_ADMIN)
    await ear.ask("GET", f"/api/v1/requests/{CANARY_ADMIN}")
    await ear.ask("POST", f"/api/v1/channels/telegram/{CANARY_ADMIN}/start")


async def say_it_in_plans(ear: Ear, text: str) -> None:
    """Plans of changes of secrets, by every road, good ones and bad ones."""
    for raw in (text.replace(CANARY_BOT, CANARY_NEXT), text.replace(CANARY_ADMIN, CANARY_NEXT), text + CANARY_NEXT):
        await ear.ask("POST", "/api/v1/config/plan", data=raw, headers={"Content-Type": "application/yaml"})
        await ear.request("config.plan", {"raw": raw})
    for patch in (bot_patch(token=CANARY_NEXT), bot_patch(token=[CANARY_NEXT])):
        await ear.ask(
            "POST", "/api/v1/config/plan?patch=true", data=patch, headers={"Content-Type": "application/json"}
        )
        await ear.request("config.plan", {"raw": patch, "patch": True})


async def say_it_in_changes_on_trial(ear: Ear, telegram: FakeTelegram) -> None:
    """A token that may not receive is rolled back, one that may is confirmed; each with a token in its note, too."""
    mute = telegram.add_bot(CANARY_MUTE, "mute_bot")
    mute.fail_next(401, method="getUpdates", times=1000)
    note = f"instead of {CANARY_BOT}, {CANARY_MUTE}"
    answer = await ear.patch({"token": CANARY_MUTE}, confirmWithinMs=60_000, note=note)
    assert isinstance(answer, dict)
    assert answer["receipt"]["outcome"] == "rolled_back"
    await ear.look()
    telegram.add_bot(CANARY_NEXT, "next_bot")
    answer = await ear.patch({"token": CANARY_NEXT}, confirmWithinMs=60_000, note=note)
    assert isinstance(answer, dict)
    assert answer["receipt"]["outcome"] == "probation"
    await ear.look()
    await ear.request("config.confirm", {"revision": answer["hash"]})
    await ear.look()
    await ear.request("config.rollback", {"revision": "1"})
    telegram.bots.pop(CANARY_NEXT)


async def say_it_in_bad_files(ear: Ear, text: str) -> None:
    """Files that cannot be used, each with a token that is nowhere else."""
    for number, bad in enumerate(broken_files(text)):
        ear.gateway.config.write_text(bad.replace("@TOKEN@", f"1001:CANARY-in-a-bad-file-{number}"))
        await ear.gateway.until(lambda s: s["config"]["issues"] != [])
        await ear.look()
        ear.gateway.config.write_text(text)
        await ear.gateway.until(lambda s: s["config"]["issues"] == [])


async def test_case_60_a_secret_is_in_no_output(tmp_path: Path) -> None:
    """Tokens of two bots and of the admin, through a reload, a refused token, a dead network, plans, changes on trial that
    are rolled back and confirmed, files that are invalid in every way with a new token in them, stale and bad calls, and a
    restart: none is in the log, in an answer, an event, a metric, the journal, the history, or in what the gateway keeps
    for itself, while the file keeps each in the form in which it was written."""
    async with FakeTelegram() as telegram:
        telegram.add_bot(CANARY_BOT, "main_bot")
        telegram.add_bot(CANARY_ENV, "env_bot")
        accounts = telegram_account("main", CANARY_BOT, telegram.url)
        accounts += telegram_account("env", "${ENV_BOT_TOKEN}", telegram.url)
        text = config_text(accounts, restart="{delay_ms: 100, cooldown_ms: 0}", reload=FAST)
        text = text.replace(TOKEN, CANARY_ADMIN)
        async with Gateway(tmp_path, text, ENV_BOT_TOKEN=CANARY_ENV) as gateway:
            gateway.token = CANARY_ADMIN
            await gateway.until(
                lambda s: s["state"] == "running" and {a["state"] for a in s["accounts"]} == {"running"}
            )
            ear = Ear(gateway, await gateway.client())
            await ear.look()
            # A new token, which Telegram refuses; then a network that is not there.
            assert isinstance(await ear.patch({"token": CANARY_NEXT}), RpcError)
            await ear.patch({"api_base": "http://127.0.0.1:9"})
            await ear.look()
            await ear.patch({"token": CANARY_BOT, "api_base": telegram.url})
            await say_it_in_plans(ear, text)
            await say_it_in_changes_on_trial(ear, telegram)
            # What config.get shows can be applied: the secrets are put back as they were written.
            config = await ear.client.request("config.get")
            shown = config["raw"].replace("# a comment", "# a second comment")
            await ear.ask("POST", "/api/v1/config/plan", data=shown, headers={"Content-Type": "application/yaml"})
            await ear.request("config.apply", {"raw": shown, "baseHash": config["hash"]})
            on_disk = gateway.config.read_text()
            assert "# a second comment" in on_disk
            assert on_disk.count(CANARY_BOT) == on_disk.count(CANARY_ADMIN) == 1
            assert "${ENV_BOT_TOKEN}" in on_disk
            assert CANARY_ENV not in on_disk
            await say_it_in_bad_calls(ear)
            await say_it_in_bad_files(ear, text)
            gateway.signal(signal.SIGUSR1)
            await gateway.until(lambda s: s["restarts"] == 1 and s["state"] == "running")
            ear.said.append(json.dumps(ear.client.events))
            ear.client = await gateway.client()
            await ear.look()
            async with frames.session() as session, session.get(gateway.url + "/") as response:
                ear.said.append(await response.text())
        ear.said.append((tmp_path / "log").read_text())
        found = [(said, said.index("CANARY")) for said in ear.said if "CANARY" in said]
        leaks = [said[max(0, place - 150) : place + 80] for said, place in found]
        assert leaks == [], "\n".join(leaks)
        assert len(ear.said) > 150
        modes = {path.name: path.stat().st_mode & 0o077 for path in (tmp_path / ".gateway").rglob("*")}
        assert set(modes.values()) == {0}, "the state folder is the owner's alone"


def broken_files(text: str) -> Iterator[str]:
    """A config with another bot's token, in each of the ways of being wrong."""
    line = next(line for line in text.splitlines() if "main: {" in line)
    token = line.replace(f'"{CANARY_BOT}"', '"@TOKEN@"')
    yield text.replace(line, token.replace("poll_timeout_s: 5", "poll_timeout_s: 500"))
    yield text.replace(line, token.replace("poll_timeout_s", "poll_timeuot_s"))
    yield text.replace(line, token.replace("}", ""))
    yield text.replace(line, line.replace(f'"{CANARY_BOT}"', "[@TOKEN@]"))
    yield text.replace(line, f"{token}\n      main: {{token: '@TOKEN@'}}")
    yield text.replace(line, "      main:\n        token: @TOKEN@\n        token: @TOKEN@")
    yield text.replace(line, "      main: @TOKEN@")
    yield text.replace(line, token) + "routes: @TOKEN@\n"
