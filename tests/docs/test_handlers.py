"""docs/handlers.md: each config is given to a running gateway, and each handler a message."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from tests.docs.packages import install
from tests.docs.pages import Block, Page
from tests.docs.shell import Here, shell
from tests.gateway.handlers.desk import serving
from tests.ports import free_port
from tests.real.process import ROOT, Client

HEAD = """\
gateway:
  admin: {port: 0}
channels:
  webchat: {accounts: {default: {}, office: {}}}
"""
SECRET = "the hook's own secret"


class Chat:
    """Somebody at the web chat who tries one config of the page after the other."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._said = 0

    async def use(self, sections: str) -> None:
        """Let the gateway run with these sections in its file. A fault in them is told with its line, and fails."""
        now = await self._client.request("config.get")
        await self._client.request("config.apply", {"raw": HEAD + sections, "baseHash": now["hash"]})

    async def ask(self, text: str, at: str = "default") -> list[str]:
        """Say it, and return what is answered: there, or at another account."""
        self._said += 1
        before = await self._lines(at)
        said = {"sessionKey": "webchat:default:main", "message": text, "idempotencyKey": str(self._said)}
        await self._client.request("chat.send", said)
        async with asyncio.timeout(10):
            while (now := await self._lines(at)) == before:
                await asyncio.sleep(0.02)
        return now[len(before) :]

    async def _lines(self, account: str) -> list[str]:
        history = await self._client.request("chat.history", {"sessionKey": f"webchat:{account}:main"})
        return [line["text"] for line in history["messages"] if line["role"] == "assistant"]


def _path(folder: Path) -> str:
    return f"{ROOT}:{folder}"


@contextlib.asynccontextmanager
async def hook(folder: Path, block: Block) -> AsyncIterator[str]:
    """The page's web hook, as a process; its address."""
    port = free_port()
    (folder / block.name).write_text(block.text.replace("9000", str(port)))
    environ = {**os.environ, "HOOK_SECRET": SECRET}
    run = await asyncio.create_subprocess_exec(
        sys.executable, block.name, cwd=folder, env=environ, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(10):
            while not await _listens(port):
                await asyncio.sleep(0.02)
        yield f"http://127.0.0.1:{port}"
    finally:
        run.kill()
        await run.wait()


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def model(request: web.Request) -> web.StreamResponse:
    """A server of chat completions."""
    body = await request.json()
    assert (request.path, body["model"]) == ("/v1/chat/completions", "llama3.2")
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    text = f"You said: {body['messages'][-1]['content']}"
    return web.json_response({"choices": [{"message": {"content": text}, "finish_reason": "stop"}]})


async def test_every_handler_of_the_page_answers(tmp_path: Path) -> None:
    with Page("docs/handlers.md") as page:
        environ = {"HOOK_SECRET": SECRET, "PYTHONPATH": _path(tmp_path)}
        async with Here(tmp_path, HEAD, command=None, **environ) as gateway:
            chat = Chat(await gateway.client())
            await chat.use(page.take("yaml").text)
            assert await chat.ask("hello") == ["hello"]
            await _python(page, chat, tmp_path)
            await _http(page, chat, tmp_path)
            await _command(page, chat, tmp_path)
            await _openai(page, chat)
            await chat.use(page.take("yaml").text)
            assert await chat.ask("over there", at="office") == ["you says: over there"]
            await _own_type(page, chat, tmp_path)


async def _python(page: Page, chat: Chat, folder: Path) -> None:
    page.write(folder, "my_bot.py")
    await chat.use(page.take("yaml").text)
    assert await chat.ask("/hello") == ["Hello, *you*!"]
    assert await chat.ask("/count four") == ["4 letters"]


async def _http(page: Page, chat: Chat, folder: Path) -> None:
    """By the page's own hook, which refuses what is not signed; and posted is what the page shows."""
    sections, shown = page.take("yaml").text, json.loads(page.take("json").text)
    posted: list[dict[str, Any]] = []

    async def look(request: web.Request) -> web.Response:
        posted.append(await request.json())
        return web.json_response({"text": "seen"})

    async with serving(look) as url:
        await chat.use(sections.replace("http://127.0.0.1:9000", url))
        assert await chat.ask("hello") == ["seen"]
    assert {key: type(value) for key, value in posted[0].items()} == {key: type(value) for key, value in shown.items()}
    assert shown | {key: posted[0][key] for key in ("id", "received_at")} == posted[0]
    async with hook(folder, page.take("python", "hook.py")) as url:
        async with aiohttp.ClientSession() as session, session.post(f"{url}/hook", json=shown) as forged:
            assert forged.status == 401
        await chat.use(sections.replace("http://127.0.0.1:9000", url))
        assert await chat.ask("hello") == ["you wrote 5 letters"]


async def _command(page: Page, chat: Chat, folder: Path) -> None:
    page.write(folder, "shout.py")
    await shell(page.take("console"), folder)
    await chat.use(page.take("yaml").text)
    assert await chat.ask("quiet") == ["QUIET"]


async def _openai(page: Page, chat: Chat) -> None:
    async with serving(model) as url:
        await chat.use(page.take("yaml").text.replace("http://127.0.0.1:11434", url))
        assert await chat.ask("what did I say?") == ["You said: what did I say?"]


async def _own_type(page: Page, chat: Chat, folder: Path) -> None:
    page.write(folder, "pyproject.toml", "gateway_shout.py", "test_shout.py")
    install(folder)
    await chat.use(page.take("yaml").text)
    assert await chat.ask("quiet") == ["QUIET!!!"]
    assert "passed" in await shell(page.take("console"), folder, PYTHONPATH=_path(folder))
