"""What a gateway holds does not grow with what it does, and what keeps its loop is named."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.chaos.process import footprint, what_is_open
from tests.fakes.telegram import FakeTelegram
from tests.real.bots import TOKEN, one_receiver, runs
from tests.real.process import Gateway, config_text, telegram_account

SLEEPY = """\
import time

async def answer(message):
    secret = "a-secret-that-is-a-value"
    time.sleep(float(message.text))
    return "awake"
"""


async def test_what_blocks_the_loop_is_named_in_the_log_the_status_and_the_metrics(tmp_path: Path) -> None:
    """A handler that is `async`, and sleeps as if it were not."""
    (tmp_path / "sleepy.py").write_text(SLEEPY)
    text = config_text().replace("{type: echo}", "{type: python, target: 'sleepy:answer'}")
    async with Gateway(tmp_path, text) as gateway:
        status = await gateway.until(lambda s: s["state"] == "running")
        assert "sleepy" not in str(status["process"])
        client = await gateway.client()
        said = {"sessionKey": "webchat:default:me", "idempotencyKey": "1", "message": "2.5"}
        await client.request("chat.send", said)
        status = await gateway.until(lambda s: "sleepy" in str(s["process"]["blocked"]["longest"]))
        longest = status["process"]["blocked"]["longest"]
        assert longest["place"].split("/")[-1] == "sleepy.py:5 answer"
        assert longest["seconds"] > 0.25
        assert longest["at"] <= status["now"]
        (line,) = [line for line in gateway.log if line["event"] == "loop_blocked" and "sleepy" in line["place"]]
        assert (line["place"], line["level"]) == (longest["place"], "warning")
        metrics = await scraped(gateway)
        assert metrics["gateway_loop_blocked_seconds"] == {"": longest["seconds"]}
        assert "a-secret-that-is-a-value" not in str(status) + (tmp_path / "log").read_text()


async def scraped(gateway: Gateway) -> dict[str, dict[str, float]]:
    """Each metric's values by its label `kind`, "" where it has none."""
    assert gateway._session is not None
    headers = {"Authorization": f"Bearer {gateway.token}", "Connection": "close"}
    async with gateway._session.get(gateway.url + "/metrics", headers=headers) as response:
        text = await response.text()
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[sample.labels.get("kind", "")] = sample.value
    return found


WARM_UP, RELOADS, RESTARTS = 10, 100, 50
ROOM_RSS_KB = 16 * 1024
"""What a hundred reloads and fifty restarts may leave. The journal and the ledger keep each of their steps until there are
10,000: some 1,600 entries of about 5 kB; and the allocator keeps pages that it does not give back. Each time less grows:
10 MB in the first hundred of both, 4 MB in the fourth."""
BACK_WITHIN = 15.0


async def test_a_hundred_reloads_and_fifty_restarts_leave_nothing_behind(tmp_path: Path) -> None:
    """Tasks, timers, descriptors and threads come back to where they were after the first ones, and memory nearly does."""
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(TOKEN, "main_bot")
        account = telegram_account("main", TOKEN, telegram.url)
        restart = "{mode: in_process, delay_ms: 0, cooldown_ms: 0}"
        async with Gateway(tmp_path, config_text(account, restart=restart)) as gateway:
            await gateway.until(runs)
            await reload(gateway, WARM_UP)
            await restart_it(gateway, WARM_UP // 2)
            base, memory = await lowest(gateway), rss_kb(gateway)
            await reload(gateway, RELOADS)
            await restart_it(gateway, RESTARTS)
            await back_to(gateway, base)
            grown = rss_kb(gateway) - memory
            assert grown <= ROOM_RSS_KB, f"from {memory} kB"
            assert (await gateway.status())["restarts"] == WARM_UP // 2 + RESTARTS
            one_receiver(bot)


async def call(gateway: Gateway, method: str, path: str, **more: Any) -> Any:
    """On a connection of its own, which is gone with the answer: what is kept open would be counted."""
    headers = {"Connection": "close"} | more.pop("headers", {})
    code, body = await gateway.http(method, path, headers=headers, **more)
    assert code < 300, body
    return body


async def reload(gateway: Gateway, times: int) -> None:
    """An account is restarted with other settings, each time."""
    for number in range(times):
        config = await call(gateway, "GET", "/api/v1/config")
        patch = {"channels": {"telegram": {"accounts": {"main": {"poll_timeout_s": 20 + number % 2}}}}}
        headers = {"If-Match": f'"{config["hash"]}"'}
        receipt = await call(gateway, "PATCH", "/api/v1/config", json=patch, headers=headers)
        assert receipt["outcome"] == "applied"


async def restart_it(gateway: Gateway, times: int) -> None:
    for _ in range(times):
        boots = len(gateway.boots)
        await call(gateway, "POST", "/api/v1/restart", json={"delay_ms": 0})
        await gateway.ready(boots + 1)


async def held(gateway: Gateway) -> dict[str, float]:
    """What it holds now, by /proc and by what it says itself. One connection is there: the one that asks."""
    metrics = await scraped(gateway)
    found = {
        f"{kind} {what}": count for what in ("tasks", "timers") for kind, count in metrics[f"gateway_{what}"].items()
    }
    seen = footprint(pid(gateway), 0)
    return found | {"descriptors": seen.fds, "threads": seen.threads, "its own threads": metrics["gateway_threads"][""]}


def rss_kb(gateway: Gateway) -> int:
    return footprint(pid(gateway), 0).rss_kb


async def lowest(gateway: Gateway) -> dict[str, float]:
    """Of what comes and goes while nothing happens, the least in a while. The pool of threads is as large as it gets."""
    await asyncio.gather(*(call(gateway, "GET", "/api/v1/config") for _ in range(24)))
    least = await held(gateway)
    for _ in range(20):
        await asyncio.sleep(0.1)
        least = lower(least, await held(gateway))
    return least


def lower(one: dict[str, float], other: dict[str, float]) -> dict[str, float]:
    """The lower count of each kind; of one that is not named there is none."""
    return {what: min(one.get(what, 0), other.get(what, 0)) for what in one | other}


async def back_to(gateway: Gateway, base: dict[str, float]) -> None:
    """Each was as low as it was at least once, within a while."""
    least = await held(gateway)
    deadline = time.monotonic() + BACK_WITHIN
    while more := {what: count for what, count in least.items() if count > base.get(what, 0)}:
        assert time.monotonic() < deadline, f"more than before: {more}, {base}: {what_is_open(pid(gateway))}"
        await asyncio.sleep(0.1)
        least = lower(least, await held(gateway))


def pid(gateway: Gateway) -> int:
    assert gateway.process is not None
    return gateway.process.pid
