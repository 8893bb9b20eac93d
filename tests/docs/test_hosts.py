"""docs/operating/hosts.md: two hosts as the page sets them up, beside three servers as it configures them."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from gateway.channels.telegram import CONFLICT_MARGIN
from gateway.config.lease import LeaseSettings
from gateway.process.lease_store import StoreUnreachableError
from gateway.process.leases import CUT_OFF
from gateway.process.nats import Bucket, NatsStore
from gateway.redact import Secret
from tests.docs.pages import Page
from tests.docs.shell import Here, shell
from tests.fakes.telegram import FakeTelegram
from tests.ports import free_port
from tests.real.nats_server import NatsServer, was_let_go

ANOTHER_HOST = [sys.executable, "-m", "tests.real.another_host"]
SECRETS = {"NATS_TOKEN": "a-token-of-nats", "TELEGRAM_TOKEN": "2070:a-bots-secret-0070"}
SERVERS = ("one", "two", "three")
IT_WAITS = {"channel": "telegram", "account": "main", "to": "42", "text": "it waits", "idempotency_key": "one"}
HEALTH = "/opt/gateway/bin/python -m gateway.cli.health"


@asynccontextmanager
async def cluster(page: Page, folder: Path) -> AsyncIterator[str]:
    """Three servers of the page's config, each with its name, its folder and its ports; where they are."""
    (conf,) = (block.text for block in page.blocks if block.name == "nats.conf")
    ports = [free_port() for _ in SERVERS]
    routes = ", ".join(f"nats://127.0.0.1:{port}" for port in ports)
    async with AsyncExitStack() as stack:
        urls = []
        for name, port in zip(SERVERS, ports, strict=True):
            text = conf.replace("server_name: one", f"server_name: {name}").replace("/var/lib/nats", f"{folder}/{name}")
            text = re.sub(r"routes: \[.*\]", f"routes: [{routes}]", text).replace("0.0.0.0:6222", f"127.0.0.1:{port}")
            path = folder / f"{name}.conf"
            path.write_text(text)
            urls.append((await stack.enter_async_context(NatsServer(folder, "-c", str(path), jetstream=False))).url)
        yield ",".join(urls)


async def test_two_hosts_as_the_page_sets_them_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    with Page("docs/operating/hosts.md") as page:
        config, stateful_set = page.take("yaml", "gateway.yaml").text, page.take("yaml", "statefulset.yaml").text
        commands = page.take("console").text
        async with FakeTelegram() as telegram, cluster(page, tmp_path) as url:
            bot = telegram.add_bot(SECRETS["TELEGRAM_TOKEN"], "shared_bot")
            await _agree(url, telegram.url)
            text = config.replace("gateway:\n", "gateway:\n  admin: {port: 0}\n", 1)
            text = re.sub(r"nats://10\S+", url, text).replace('_TOKEN}"}', f'_TOKEN}}", api_base: "{telegram.url}"}}')
            for name in ("old", "new"):
                (tmp_path / name).mkdir()
            async with Here(tmp_path / "old", text, command=ANOTHER_HOST) as old:
                await old.until(lambda status: _account(status)["state"] == "running")
                async with Here(tmp_path / "new", text, command=ANOTHER_HOST) as new:
                    await new.until(lambda status: "another gateway has its lease" in str(_account(status)["error"]))
                    assert "lease held" in await shell(commands, old.folder)
                    told = await shell(commands, new.folder)
                    assert "has 1 lease(s) in gateway-leases" in told
                    assert f"PID {old.process.pid}" in told if old.process else ""
                    for host in (old, new):
                        await _is_ready(host, stateful_set)
                    assert (await new.http("GET", "/readyz?channels=all"))[0] == 503
                    assert (await new.http("POST", "/api/v1/send", json=IT_WAITS))[0] == 202
                    assert bot.sent == []
                    _, waiting = await new.http("GET", "/api/v1/outbox")
                    assert [row["state"] for row in waiting["deliveries"]] == ["queued"]
                    assert await old.stop() == 0
                    await bot.wait_sent(1, 10)
                    await new.until(lambda status: _account(status)["lease"]["state"] == "held")


async def _agree(url: str, api_base: str) -> None:
    """Return when the servers have agreed on a leader, and have a bucket; that each bot waits the first time is tested elsewhere."""
    token = Secret(SECRETS["NATS_TOKEN"])
    async with asyncio.timeout(30):
        while True:
            try:
                await was_let_go(url, SECRETS["TELEGRAM_TOKEN"], api_base, token=token)
                break
            except StoreUnreachableError:
                await asyncio.sleep(0.2)
    store = NatsStore(LeaseSettings(url=url, token=token))
    found = await store.look()
    await store.close()
    assert found == Bucket(records=1, copies=3, kept=None)


def _account(status: Any) -> dict[str, Any]:
    account: dict[str, Any] = status["accounts"][0]
    return account


async def _is_ready(host: Here, text: str) -> None:
    """By what the page's probe runs, and by the path that it names in its place."""
    (container,) = YAML(typ="safe").load(text)["spec"]["template"]["spec"]["containers"]
    command = " ".join(container["readinessProbe"]["exec"]["command"])
    assert command == HEALTH
    await shell(command.replace("/opt/gateway/bin/python", sys.executable), host.folder)
    assert (await host.http("GET", "/readyz"))[0] == 200


def test_what_the_page_says_of_kubernetes_fits_together() -> None:
    (text,) = (block.text for block in Page("docs/operating/hosts.md").blocks if block.name == "statefulset.yaml")
    spec = YAML(typ="safe").load(text)["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    values = {each["name"]: each.get("value") for each in container["env"]}
    assert values["GATEWAY_STOP_TIMEOUT_S"] == str(pod["terminationGracePeriodSeconds"])
    assert set(SECRETS) <= set(values)
    claimed = {claim["metadata"]["name"] for claim in spec["volumeClaimTemplates"]}
    mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert claimed | {volume["name"] for volume in pod["volumes"]} == set(mounted)
    containerfile = (Path(__file__).parents[2] / "docs" / "operating" / "Containerfile").read_text()
    assert f"ENV GATEWAY_STATE_DIR={mounted['state']}\n" in containerfile
    assert f"ENV GATEWAY_CONFIG={mounted['config']}/gateway.yaml\n" in containerfile
    assert f"--uid {pod['securityContext']['fsGroup']} " in containerfile


def test_the_times_on_the_page_are_those_of_the_code() -> None:
    text = Page("docs/operating/hosts.md").text
    assert f"cuts its receiver off {CUT_OFF:g} s before its lease ends" in text
    assert f"{LeaseSettings().ttl_ms / 1000:g} s, and `poll_timeout_s` and {CONFLICT_MARGIN:g} s" in text
