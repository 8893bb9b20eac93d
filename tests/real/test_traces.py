"""Traces, from outside: a gateway process, a collector that is told of each message, and handlers that are told of its trace."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import tomllib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.fakes.collector import FakeCollector, Seen
from tests.fakes.telegram import Bot, FakeTelegram
from tests.real.process import ROOT, Gateway, config_text, telegram_account

SECRET = "1001:a-token-that-no-trace-holds"
DOCS = (ROOT / "docs" / "operating" / "README.md").read_text()
SAID, ANSWERED = "what-somebody-said", "what-was-answered"
GIVEN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Hook:
    """An http handler: it fails once for a text with `again`, never answers one with `hold` the first time, and refuses
    one with `never`."""

    def __init__(self) -> None:
        self.traceparents: dict[str, list[str | None]] = {}
        """By what was said, the header of each call."""
        self._called = asyncio.Event()

    async def answer(self, request: web.Request) -> web.Response:
        text = (await request.json())["text"]
        calls = self.traceparents.setdefault(text, [])
        calls.append(request.headers.get("traceparent"))
        self._called.set()
        if len(calls) == 1 and "again" in text:
            return web.Response(status=503, text=text)
        if "never" in text:
            return web.Response(status=400, text=text)
        if len(calls) == 1 and "hold" in text:
            await asyncio.Event().wait()
        return web.json_response({"text": f"{ANSWERED} to {text}"})

    async def until_called(self, text: str, times: int) -> None:
        async with asyncio.timeout(20):
            while len(self.traceparents.get(text, [])) < times:
                self._called.clear()
                await self._called.wait()


@asynccontextmanager
async def hook_at() -> AsyncIterator[tuple[Hook, str]]:
    hook, app = Hook(), web.Application()
    app.router.add_post("/", hook.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield hook, "http://{}:{}/".format(*runner.addresses[0][:2])
    finally:
        await runner.cleanup()


def text_of(telegram: FakeTelegram, url: str) -> str:
    """Telegram is answered by the hook, the web chat by itself."""
    text = config_text(telegram_account("main", SECRET, telegram.url), restart="{delay_ms: 0, cooldown_ms: 0}")
    handlers = f'handlers:\n  hook: {{type: http, url: "{url}"}}\n'
    return text.replace("handlers:\n", handlers).replace(
        "routes:\n", "routes:\n  - {channel: telegram, handler: hook}\n"
    )


def asked_as_written_down() -> dict[str, str]:
    """The environment of the command in the docs; what is before it installs an extra that there is."""
    (block,) = (each for each in re.findall(r"```console\n(.*?)```", DOCS, re.DOTALL) if "OTEL_" in each)
    install, run = block.splitlines()
    (extra,) = re.findall(r"pip install '\.\[(\w+)\]'$", install)
    assert extra in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    *variables, python, flag, module = run.split()
    assert (Path(python).name, flag, module) == ("python", "-m", "gateway")
    return dict(variable.split("=", 1) for variable in variables)


def traces_of(collector: FakeCollector) -> dict[str, Counter[str]]:
    """What spans each trace has."""
    found: dict[str, Counter[str]] = {}
    for span in collector.spans:
        found.setdefault(span.trace, Counter())[span.what] += 1
    return found


def told(header: str | None) -> str:
    """Trace and span of a `traceparent`."""
    assert header is not None
    version, rest, flags = header[:2], header[3:-3], header[-2:]
    assert version == "00"
    assert int(flags, 16) & 1, "it is recorded, and says so"
    return rest


def whole(trace: list[Seen], handlers: int = 1) -> dict[str, list[Seen]]:
    """Of one trace the spans by what they are, when all hang together as they should."""
    found: dict[str, list[Seen]] = {}
    for span in trace:
        found.setdefault(span.what, []).append(span)
    assert {what: len(spans) for what, spans in found.items() if what != "route"} == {
        "receive": 1, "handler": handlers, "send": 1,
    }  # fmt: skip
    root = found["receive"][0]
    assert {span.parent for span in trace if span is not root} == {root.id}
    return found


async def say(bot: Bot, text: str) -> str:
    bot.push(text, 7, user_id=5, username="ann")
    return text


async def test_a_message_is_one_trace_whatever_happens_to_it(tmp_path: Path) -> None:
    """Answered; answered at the second try; and killed with the gateway while its handler worked."""
    async with FakeTelegram() as telegram, FakeCollector() as collector, hook_at() as (hook, url):
        bot = telegram.add_bot(SECRET, "main_bot")
        environ = asked_as_written_down() | collector.environ
        gateway = Gateway(tmp_path, text_of(telegram, url), command=None, **environ)
        try:
            await gateway.start()
            plain = await say(bot, SAID)
            await bot.wait_sent(1, 10)
            await collector.until(
                lambda: Counter(receive=1, route=1, handler=1, send=1) in traces_of(collector).values()
            )
            trace = told(hook.traceparents[plain][0]).split("-")[0]
            _judge_plain(whole(collector.of(trace)), told(hook.traceparents[plain][0]))

            again = await say(bot, f"{SAID} again")
            await bot.wait_sent(2, 10)
            trace = told(hook.traceparents[again][0]).split("-")[0]
            await collector.until(lambda: traces_of(collector).get(trace, Counter())["send"] == 1)
            first, second = whole(collector.of(trace), handlers=2)["handler"]
            assert [(each.failed, each.attributes["gateway.attempt"]) for each in (first, second)] == [
                (True, 1),
                (False, 2),
            ]
            assert [told(header) for header in hook.traceparents[again]] == [first.traceparent, second.traceparent]

            held = await say(bot, f"{SAID} hold")
            await hook.until_called(held, 1)
            trace = told(hook.traceparents[held][0]).split("-")[0]
            await collector.until(lambda: traces_of(collector).get(trace, Counter())["route"] == 1)
            assert gateway.process is not None
            gateway.process.kill()
            await gateway.wait()
            await gateway.start()
            await bot.wait_sent(3, 10)
            await collector.until(lambda: traces_of(collector).get(trace, Counter())["send"] == 1)
            # The span of the handler that was killed ended with the process: nobody was left to tell of it.
            (after,) = whole(collector.of(trace))["handler"]
            assert after.attributes["gateway.attempt"] == 2
            assert told(hook.traceparents[held][1]) == after.traceparent
            refused = await say(bot, f"{SAID} never")
            await hook.until_called(refused, 1)
            assert await gateway.stop() == 0
            _judge_secrets(collector, gateway)
            (line,) = [line for line in gateway.log if line["event"] == "message_not_handled"]
            assert line["trace_id"] == told(hook.traceparents[refused][0]).split("-")[0]
        finally:
            await gateway.close()


def _judge_plain(spans: dict[str, list[Seen]], handlers_own: str) -> None:
    (receive,), (route,), (handler,), (send,) = (spans[what] for what in ("receive", "route", "handler", "send"))
    assert receive.parent == ""
    assert receive.resource["service.name"] == "my-gateway"
    assert receive.name == "receive telegram/main"
    common = {"messaging.system": "telegram", "messaging.destination.name": "telegram/main"}
    for span, kind in ((receive, "receive"), (handler, "process"), (send, "send")):
        assert common.items() <= span.attributes.items()
        assert span.attributes["messaging.operation.type"] == kind
    assert receive.attributes["messaging.message.id"] == handler.attributes["messaging.message.id"]
    assert receive.attributes["messaging.message.id"].isdecimal()
    assert route.attributes == {"gateway.route.verdict": "matched", "gateway.handler.name": "hook"}
    assert handler.traceparent == handlers_own
    assert handler.attributes["gateway.handler.type"] == "http"
    assert send.attributes["gateway.outcome"] == "sent"
    assert send.attributes["gateway.attempt"] == 1


def _judge_secrets(collector: FakeCollector, gateway: Gateway) -> None:
    for secret in (SECRET, SECRET.split(":")[1], SAID, ANSWERED, gateway.token, "ann"):
        assert secret.encode() not in collector.raw, secret
    assert not any(line["event"] == "work_failed" for line in gateway.log)
    for span in collector.spans:
        assert f"| `{span.what}` |" in DOCS
        for name in span.attributes:
            assert f"`{name}`" in DOCS, name


async def test_spans_outlive_a_restart_and_a_stop(tmp_path: Path) -> None:
    """Nothing would be exported for a minute: what there is goes before the next image, and before the end."""
    async with FakeTelegram() as telegram, FakeCollector() as collector, hook_at() as (_, url):
        bot = telegram.add_bot(SECRET, "main_bot")
        environ = collector.environ | {"OTEL_BSP_SCHEDULE_DELAY": "60000"}
        async with Gateway(tmp_path, text_of(telegram, url), command=None, **environ) as gateway:
            client = await gateway.client()
            chat = {"sessionKey": "webchat:default:me", "message": SAID, "idempotencyKey": "1"}
            await client.request("chat.send", chat, traceparent=GIVEN)
            await say(bot, SAID)
            await bot.wait_sent(1, 10)
            assert collector.spans == []
            gateway.signal(signal.SIGUSR1)
            await gateway.ready(2)
            whole_one = Counter(receive=1, route=1, handler=1, send=1)
            assert list(traces_of(collector).values()) == [whole_one, whole_one]
            _judge_given(collector, client.events)

            order = {"channel": "telegram", "account": "main", "to": "7", "text": SAID, "idempotency_key": "1"}
            for _ in range(2):
                headers = {"traceparent": GIVEN}
                status, _ = await gateway.http("POST", "/api/v1/send", json=order, headers=headers)
                assert status == 202
            await bot.wait_sent(2, 10)
        spans = {span.what: span for span in collector.of(GIVEN.split("-")[1])[4:]}
        assert set(spans) == {"create", "send"}, "twice with one key is one"
        assert spans["create"].parent == GIVEN.split("-")[2]
        assert spans["send"].parent == spans["create"].id
        assert SAID.encode() not in collector.raw


def _judge_given(collector: FakeCollector, events: list[dict[str, Any]]) -> None:
    """A client's own trace goes on, and is told to whoever watches."""
    _, trace, span, _ = GIVEN.split("-")
    found = {each.what: each for each in collector.of(trace)}
    assert found["receive"].parent == span
    said = [event["payload"] for event in events if event["event"] == "message"]
    mine = {event["machine"].split("/")[0] for event in said if event["traceparent"].split("-")[1] == trace}
    assert mine == {"incoming", "delivery"}


@pytest.mark.parametrize("how", ["away", "silent"])
async def test_a_collector_that_takes_nothing_costs_nothing(tmp_path: Path, how: str) -> None:
    async with FakeTelegram() as telegram, FakeCollector() as collector, hook_at() as (hook, url):
        bot = telegram.add_bot(SECRET, "main_bot")
        collector.silent = True
        environ = dict(collector.environ)
        if how == "away":
            environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://somebody:a-password-of-his@127.0.0.1:1"
            environ["OTEL_EXPORTER_OTLP_TIMEOUT"] = "1"
        async with Gateway(tmp_path, text_of(telegram, url), command=None, **environ) as gateway:
            for number in range(1, 4):
                await say(bot, f"{SAID} {number}")
                await bot.wait_sent(number, 10)
            if how == "away":
                while not any(line["event"] == "traces_not_exported" for line in gateway.log):
                    await asyncio.sleep(0.02)
        lines = [line for line in gateway.log if line["level"] != "info"]
        assert [line["event"] for line in lines] == ["traces_not_exported"] * (how == "away")
        (stopped,) = [line for line in gateway.log if line["event"] == "stopped"]
        assert {stage["ended"] for stage in stopped["stages"].values()} == {"done"}
        assert "a-password-of-his" not in json.dumps(gateway.log)
        assert len(hook.traceparents) == 3


@pytest.mark.parametrize(
    "environ", [{}, {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}]
)
async def test_where_nobody_asks_for_traces_nothing_of_them_is_imported(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    """And nobody is told of a trace but one that a client has begun, whose header is passed on as it came."""
    (tmp_path / "look.py").write_text(
        "import sys\n\ndef answer(message):\n"
        "    found = [name for name in sys.modules if name.startswith(('opentelemetry', 'gateway.otel', 'google'))]\n"
        "    return f'{found} {message.traceparent}'\n"
    )
    text = config_text().replace("{type: echo}", '{type: python, target: "look:answer"}')
    async with Gateway(tmp_path, text, command=None, **environ) as gateway:
        client = await gateway.client()
        for number, more in enumerate(({}, {"traceparent": GIVEN}, {"traceparent": "nonsense"})):
            chat = {"sessionKey": "webchat:default:me", "message": SAID, "idempotencyKey": str(number)}
            await client.request("chat.send", chat, **more)
        async with asyncio.timeout(20):
            while len(lines := [e["payload"] for e in client.events if e["event"] == "chat"]) < 3:
                await asyncio.sleep(0.02)
        assert [line["message"]["text"] for line in lines] == ["[] None", f"[] {GIVEN}", "[] None"]
