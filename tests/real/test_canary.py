"""Secrets that are planted wherever there may be one are found nowhere that a gateway writes or says, in whatever form.

One process has them in its config, its environment, in files and in what its handlers and their servers say; then everything
that can be read is read, by every road, and searched. `test_secrets` has the same for changes of the config.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import html
import io
import json
import re
import signal
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from aiohttp import web

from gateway.admin.methods import METHODS, READ
from gateway.cli.main import main
from tests.fakes.collector import FakeCollector
from tests.fakes.telegram import FakeTelegram
from tests.real.process import PATIENCE, TOKEN, Client, Gateway, RpcError, attempt, config_text, telegram_account

LITERAL, OF_ENVIRONMENT, OF_FILE = "1001:CANARY-literal-7Qx2", "1002:CANARY-environ-5Rt6", "1003:CANARY-file-8Uj3"
ADMIN = 'CANARY/ad+min="tok\\en"&y%z'
HOOK, KEY, URL_KEY, OWN = "CANARY-hook-secret-1", "sk-CANARY/api+key", "CANARY&url=key", "CANARY-of-a-handler-4"
COLLECTOR = "CANARY of a collector/5"
SECRETS = (LITERAL, OF_ENVIRONMENT, OF_FILE, ADMIN, HOOK, KEY, URL_KEY, OWN, COLLECTOR)
PASTED = "7777:MARKED-by-a-user"
"""A secret that nobody knows to be one: it is a message, and in what shows messages alone."""

BOT = '''\
import asyncio, os, threading, warnings

class Trap:
    def __init__(self, text): self.text = text
    def __del__(self): raise ValueError(f"an end: {self.text}")

async def fail(message):
    """In every way in which something can go wrong in a process."""
    secret = os.environ["HANDLER_API_KEY"]
    async def lost(): raise ValueError(f"a task: {secret}")
    asyncio.ensure_future(lost())
    def run(): raise ValueError(f"a thread: {secret}")
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    warnings.warn(f"a warning: {secret}")
    Trap(secret)
    asyncio.get_running_loop().call_soon(lambda: 1 / 0 if secret else None)
    raise ValueError(f"a call: {secret}", secret, {"its": secret})
'''
SETTINGS = """\
handlers:
  echo: {{type: echo}}
  hook: {{type: http, url: "{url}/hook?key=${{HOOK_URL_KEY}}", secret: "{hook}", retries: 0}}
  model: {{type: openai, base_url: "{url}", api_key: "{key}", model: m, retries: 0}}
  function: {{type: python, target: "bot:fail", retries: 0}}
  program: {{type: command, argv: [sh, -c, 'echo "no: $HANDLER_API_KEY" >&2; exit 9'], retries: 0}}
routes:
  - {{match: "^hook", handler: hook}}
  - {{match: "^model", handler: model}}
  - {{match: "^function", handler: function}}
  - {{match: "^program", handler: program}}
"""
HANDLERS = ("hook", "model", "function", "program")
PARAMS: dict[str, dict[str, Any]] = {
    "config.schema.lookup": {"path": "gateway.admin.token"},
    "requests.get": {"id": "never"},
    "chat.history": {"sessionKey": "webchat:default:main"},
    "logs.tail": {"limit": 1_000},
    "journal.list": {"limit": 1_000},
}
IN_PATHS = {
    "revision": "1",
    "name": "page.js",
    "id": "never",
    "channel": "telegram",
    "account": "literal",
    "kind": "svg",
}
PICTURES = [
    f"/api/v1/machines/{name}.{kind}" for name in ("lifecycle", "channel", "delivery") for kind in ("svg", "mmd")
]
QUERIES = [
    "journal?format=jsonl",
    "journal?limit=1000&after=0",
    "config/schema?path=gateway.admin.token",
    "outbox?state=dead",
]
QUERIES += ["outbox?state=sent", "messages?limit=100", "config/history/1?against=2"]
SHOW_MESSAGES = re.compile(r"/outbox|/messages|/conversations|chat|gateway outbox|event message")
"""Where what people have written is shown."""
COMMANDS = """\
status
channels
channels stop telegram/literal
channels start telegram/literal
journal --limit 1000
history
history 1
outbox
outbox --state dead
plan changed.yaml
apply changed.yaml
patch {"store":{"keep_days":7}} --note @ADMIN@
history 2 --against 1
rollback 1
confirm
restart --delay 60 --reason @ADMIN@
restart --cancel
doctor
schema
schema gateway.admin.token
send webchat/default/main hello
"""
PLAIN = """\
check
diagram
diagram telegram/literal
diagram --svg picture.svg
backup copy.sqlite3
call config.get
call status
call no.such
replay journal.jsonl
init
--help
"""


def forms_of(secret: str) -> Iterator[str]:
    """As it stands, and as it stands in an address, in JSON (in JSON), in HTML, in a literal of Python, in hex and in base64."""
    escaped = json.dumps(secret)[1:-1]
    yield from (secret, quote(secret), quote(secret, safe=""), escaped, json.dumps(escaped)[1:-1], html.escape(secret))
    yield from (repr(secret)[1:-1], secret.encode().hex(), secret.encode().hex().upper())
    for shift in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            # Without its ends, in which there is something of its neighbours.
            whole = encode(b"\0" * shift + secret.encode()).decode().rstrip("=")
            yield whole[4 if shift else 0 : len(whole) // 4 * 4]


ANY_FORM = re.compile("|".join(map(re.escape, {"CANARY", *(form for secret in SECRETS for form in forms_of(secret))})))
PASTED_FORM = re.compile("|".join(map(re.escape, {"MARKED", *forms_of(PASTED)})))


class Heard:
    """All that was said, by where it was said."""

    def __init__(self) -> None:
        self.texts: list[tuple[str, str]] = []

    def add(self, where: str, text: str) -> None:
        self.texts.append((where, text))

    def leaks(self) -> list[str]:
        """Each place with what stands around the secret."""
        found = [(where, text, ANY_FORM.search(text)) for where, text in self.texts]
        found += [
            (where, text, PASTED_FORM.search(text)) for where, text in self.texts if not SHOW_MESSAGES.search(where)
        ]
        return [
            f"{where}: ...{text[max(0, at.start() - 150) : at.end() + 80]}"
            for where, text, at in found
            if at is not None
        ]


class Ear(Client):
    """Hears every frame."""

    heard: Heard

    def hear(self, text: str) -> dict[str, Any]:
        frame = super().hear(text)
        if hasattr(self, "heard"):
            self.heard.add(f"event {frame['event']}" if frame["type"] == "event" else "an answer", text)
        return frame


@asynccontextmanager
async def servers() -> AsyncIterator[str]:
    """What handlers ask: it refuses, and repeats the secret that it was shown."""

    async def refuse(request: web.Request) -> web.Response:
        shown = request.headers.get("Authorization", "") + HOOK + URL_KEY
        return web.json_response({"error": {"message": f"wrong: {shown}"}}, status=401)

    app = web.Application()
    app.router.add_route("*", "/{any:.*}", refuse)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def traced(collector: FakeCollector) -> dict[str, str]:
    """The environment of a gateway that tells it of each message, and signs in to it."""
    return {**collector.environ, "OTEL_EXPORTER_OTLP_HEADERS": f"authorization={quote(COLLECTOR, safe='')}"}


def text_of(telegram: str, url: str) -> str:
    accounts = telegram_account("literal", LITERAL, telegram) + telegram_account(
        "environ", "${ENV_BOT_TOKEN}", telegram
    )
    accounts += telegram_account("file", "@FILE@", telegram).replace('"@FILE@"', "{file: bot-token}")
    text = config_text(accounts, restart="{delay_ms: 0, cooldown_ms: 0}")
    text = text.replace(f"token: {TOKEN}", f"token: {json.dumps(ADMIN)}")
    settings = SETTINGS.format(url=url, hook=HOOK, key=KEY)
    return text.replace("handlers:\n  echo: {type: echo}\nroutes:\n", settings)


@asynccontextmanager
async def listening(gateway: Gateway, heard: Heard, token: str = ADMIN) -> AsyncIterator[Ear]:
    client = await Ear.connect(gateway.url, token)
    client.heard = heard
    heard.add("an answer", json.dumps(client.hello))
    try:
        yield client
    finally:
        await client.close()


async def say(client: Client, telegram: FakeTelegram) -> None:
    """One message for each handler, and secrets in messages: one that is known, and one that is not."""
    telegram.bots[LITERAL].push(PASTED)
    telegram.bots[LITERAL].push(f"is {PASTED} right?")
    texts = [*(f"{name} {PASTED}" for name in HANDLERS), PASTED]
    for number, text in enumerate(texts):
        params = {"sessionKey": f"webchat:default:{number}", "message": text, "idempotencyKey": f"key {number}"}
        await client.request("chat.send", params)
    await telegram.bots[LITERAL].wait_sent(2)
    assert telegram.bots[LITERAL].sent[0]["text"] == PASTED


async def read_all(gateway: Gateway, client: Client, heard: Heard) -> None:
    """Every GET of the document, every method that reads, every file of the page."""
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {ADMIN}"}) as session:

        async def get(path: str, wanted: int | None = None) -> str:
            async with session.get(gateway.url + path) as answer:
                text = await answer.text()
                heard.add(f"GET {path}", f"{dict(answer.headers)}\n{text}")
                assert wanted in (None, answer.status), (path, answer.status)
                return text

        document = json.loads(await get("/api/v1/openapi.json", 200))
        paths = [path for path, calls in document["paths"].items() if "get" in calls and path not in ("/ws", "/")]
        assert len(paths) >= 18
        for path in paths:
            await get(re.sub(r"\{(\w+)\}", lambda name: IN_PATHS[name[1]], path))
        for path in (*PICTURES, *(f"/api/v1/{query}" for query in QUERIES)):
            await get(path)
        index = await get("/", 200)
        for name in re.findall(r'"(/page/[\w.-]+)"', index):
            await get(name, 200)
        journal = await get("/api/v1/journal?format=jsonl", 200)
        (gateway.folder / "journal.jsonl").write_text(journal)
        await get(f"/{quote(LITERAL)}?{ADMIN}")
        await get(f"/api/v1/requests/{quote(ADMIN, safe='')}", 404)
    for name, method in METHODS.items():
        if method.scope == READ:
            answer = await attempt(client.request(name, PARAMS.get(name, {})))
            assert isinstance(answer, dict) or name == "requests.get", (name, answer)
    assert isinstance(await attempt(client.request(ADMIN, {})), RpcError)


def command(folder: Path, line: str) -> str:
    """What a command prints. In this process: none of them is the one that is searched."""
    where = (
        [] if line == "--help" else ["--state-dir", str(folder / ".gateway"), "--config", str(folder / "gateway.yaml")]
    )
    if line.startswith(("schema", "replay")):
        where = []
    words = line.replace("@ADMIN@", ADMIN).split()
    out = io.StringIO()
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(out),
        contextlib.suppress(SystemExit),
    ):
        main([*words, *where])
    return out.getvalue()


async def run_commands(gateway: Gateway, heard: Heard) -> None:
    text = gateway.config.read_text()
    (gateway.folder / "changed.yaml").write_text(
        text.replace(LITERAL, OF_FILE).replace("port: 0", "port: 0, metrics_public: true")
    )
    for line in (*PLAIN.splitlines(), *(f"{line}{more}" for line in COMMANDS.splitlines() for more in ("", " --json"))):
        said = await asyncio.to_thread(command, gateway.folder, line)
        assert said or "--svg" in line, line
        assert "Traceback" not in said, said
        heard.add(f"gateway {line}", said)
    heard.add("picture.svg", (gateway.folder / "picture.svg").read_text())


def test_every_command_is_run_but_the_gateway_itself_and_the_one_that_is_to_print_a_code(tmp_path: Path) -> None:
    listed = command(tmp_path, "--help").partition("Commands:")[2].partition("Examples:")[0]
    commands = set(re.findall(r"^  (\w+)  ", listed, re.MULTILINE))
    assert commands - {"run", "open"} == {line.split()[0] for line in (COMMANDS + PLAIN).splitlines()} - {"--help"}


def read_what_stands(gateway: Gateway, heard: Heard) -> None:
    """The state folder but for the revisions, its own token and the messages; the log; the processes."""
    for path in (gateway.folder / ".gateway").rglob("*"):
        if path.is_file() and path.suffix != ".yaml" and path.name != "admin-token" and "sqlite" not in path.name:
            heard.add(str(path), path.read_bytes().decode(errors="replace"))
    for store in (gateway.folder / "copy.sqlite3", gateway.folder / ".gateway" / "gateway.sqlite3"):
        with contextlib.closing(sqlite3.connect(store)) as database:
            for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                rows = database.execute(f"SELECT * FROM {table}").fetchall()
                messages = table in ("inbox", "outbox")
                heard.add(f"/messages in {store.name}" if messages else f"{store.name} {table}", repr(rows))
    assert gateway.process is not None
    for name in ("cmdline", "comm"):
        heard.add(name, Path(f"/proc/{gateway.process.pid}/{name}").read_bytes().decode())
    heard.add("the log", (gateway.folder / "log").read_text())


async def test_case_60_a_canary_is_found_nowhere_in_any_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = Heard()
    # Of this process, too: the commands that are run in it read the config as anybody does.
    for name, secret in (("ENV_BOT_TOKEN", OF_ENVIRONMENT), ("HOOK_URL_KEY", URL_KEY), ("HANDLER_API_KEY", OWN)):
        monkeypatch.setenv(name, secret)
    (tmp_path / "bot.py").write_text(BOT)
    (tmp_path / "bot-token").write_text(f"{OF_FILE}\n")
    async with FakeTelegram() as telegram, servers() as url, FakeCollector() as collector:
        for number, token in enumerate((LITERAL, OF_ENVIRONMENT, OF_FILE)):
            telegram.add_bot(token, f"bot_{number}")
        gateway = Gateway(
            tmp_path, text_of(telegram.url, url), command=None, PYTHONFAULTHANDLER="1", **traced(collector)
        )
        gateway.token = ADMIN
        try:
            await gateway.start()
            await gateway.until(lambda status: {each["state"] for each in status["accounts"]} == {"running"})
            async with listening(gateway, heard) as client:
                await say(client, telegram)
                async with asyncio.timeout(PATIENCE):
                    while (await gateway.http("GET", "/api/v1/messages"))[1]["counts"].get("dead") != len(HANDLERS):
                        await asyncio.sleep(0.05)
                await read_all(gateway, client, heard)
                await run_commands(gateway, heard)
            gateway.signal(signal.SIGUSR1)
            await gateway.ready(2)
            await gateway.until(lambda status: status["state"] == "running")
            _, made = await gateway.http("POST", "/api/v1/sign-in/codes")
            _, session = await gateway.http("POST", "/api/v1/sign-in", token=None, json={"code": made["code"]})
            async with listening(gateway, heard, session["token"]) as client:
                await read_all(gateway, client, heard)
            read_what_stands(gateway, heard)
            await collector.until(lambda: {each.what for each in collector.spans} >= {"receive", "handler", "send"})
            heard.add("traces", collector.raw.decode("latin-1"))
            gateway.signal(signal.SIGABRT)
            # Its report is of threads that run on meanwhile, and can fall over one of them.
            assert await gateway.wait() in (-signal.SIGABRT, -signal.SIGSEGV)
        finally:
            await gateway.close()
    log = (tmp_path / "log").read_text()
    heard.add("the log of the crash", log)
    assert len(heard.texts) > 200
    leaks = heard.leaks()
    leaks += [where for where, text in heard.texts if made["code"] in text or session["token"] in text]
    assert leaks == [], f"{len(leaks)} leaks\n" + "\n".join(leaks)
    assert "Fatal Python error: Aborted" in log
    for what in ("a task", "a thread", "a warning", "an end", "a call"):
        assert f"{what}: __REDACTED__" in log, what


@pytest.mark.parametrize("secret", SECRETS)
def test_the_search_sees_every_form(secret: str) -> None:
    for number, form in enumerate(forms_of(secret)):
        heard = Heard()
        heard.add("somewhere", f"before{form}after")
        assert len(heard.leaks()) == 1, (number, form)


def test_a_message_is_seen_where_no_message_belongs_and_nowhere_else() -> None:
    heard = Heard()
    for where in ("GET /api/v1/messages", "event message", "event chat"):
        heard.add(where, PASTED)
    assert heard.leaks() == []
    heard.add("the log", f"it was {PASTED}")
    assert len(heard.leaks()) == 1
