"""What the README promises, done: from a clone to an answered message, and to a first handler."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from tests.docs.pages import Page
from tests.docs.shell import shell
from tests.real.process import READY, ROOT, Client

FIRST_RUN = 180.0
SESSION = "webchat:default:main"


@pytest.mark.timeout(400)
async def test_from_a_clone_to_an_answered_message(tmp_path: Path) -> None:
    """`make run` in a copy of the checkout, a message, a handler of one's own, and the commands beside them."""
    checkout = tmp_path / "checkout"
    _copy_checkout(checkout)
    _use_free_port(checkout)
    with Page("README.md") as page:
        make, cat = page.take("console").text.splitlines()
        run = await _start(make, checkout)
        try:
            url = await asyncio.wait_for(_ready(run), FIRST_RUN)
            token = (await shell(cat, checkout)).strip()
            client = await Client.connect(url, token)
            assert await _say(client, "hello") == "hello"
            page.write(checkout, "my_bot.py")
            _put_last(checkout / "gateway.yaml", page.take("yaml").text)
            await _applied(client)
            assert await _say(client, "one two three") == "3 words, you"
            await client.close()
            asked = await shell(page.take("console"), checkout, PYTHONPATH="")
            assert "home is running" in asked
            os.kill(int((checkout / ".gateway" / "lock").read_text()), signal.SIGINT)
            await asyncio.wait_for(run.wait(), 20)
        finally:
            if run.returncode is None:
                os.killpg(run.pid, signal.SIGKILL)
                await run.wait()
        assert [line.split()[0] for line in page.take("console").text.splitlines()] == ["make", "make"]


async def _start(command: str, checkout: Path) -> asyncio.subprocess.Process:
    hidden = {"PYTHONPATH", "TELEGRAM_TOKEN", "MAKEFLAGS"}
    environ = {name: value for name, value in os.environ.items() if name not in hidden}
    return await asyncio.create_subprocess_exec(
        *command.replace("make", f"make PYTHON={sys.executable}").split(), cwd=checkout, env=environ,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


async def _say(client: Client, text: str) -> str:
    """Say it at the web chat; what is answered."""
    told = len(client.events)
    await client.request("chat.send", {"sessionKey": SESSION, "message": text, "idempotencyKey": text})
    async with asyncio.timeout(10):
        while not any(event["event"] == "chat" for event in client.events[told:]):
            await asyncio.sleep(0.01)
    history = await client.request("chat.history", {"sessionKey": SESSION})
    user, answer = history["messages"][-2:]
    assert (user["role"], user["text"], answer["role"]) == ("user", text, "assistant")
    return str(answer["text"])


def _put_last(config: Path, sections: str) -> None:
    """As somebody does who edits it: the two sections take the place of those that are there."""
    text = config.read_text()
    assert text.index("handlers:") < text.index("routes:")
    config.write_text(text[: text.index("handlers:")] + sections)


async def _applied(client: Client) -> None:
    """What was saved runs."""
    async with asyncio.timeout(10):
        while True:
            config = await client.request("config.get")
            if "my_bot" in config["raw"] and config["hash"] == config["appliedConfigHash"]:
                return
            await asyncio.sleep(0.05)


def _copy_checkout(target: Path) -> None:
    skipped = shutil.ignore_patterns(".git", ".venv", ".gateway", "__pycache__", ".*_cache", "gateway.yaml", "tests")
    shutil.copytree(ROOT, target, ignore=skipped)


def _use_free_port(checkout: Path) -> None:
    """The one thing that is not as it stands: the port, since another gateway may run on this machine."""
    starter = checkout / "gateway" / "cli" / "init.py"
    starter.write_text(starter.read_text().replace("port: 18790", "port: 0"))


async def _ready(run: asyncio.subprocess.Process) -> str:
    assert run.stdout is not None
    async for line in run.stdout:
        if found := READY.search(line.decode()):
            return found[1]
    raise AssertionError(f"make run ended with {await run.wait()}")
