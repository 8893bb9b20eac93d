"""What the README promises, done: from a clone to an answered message in a browser, and to a first handler."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.async_api import async_playwright, expect

from tests.browser.house import QUIET, sign_in, watch
from tests.debian import find_browser
from tests.docs.pages import Page
from tests.docs.shell import shell
from tests.real.process import READY, ROOT, Client

FIRST_RUN = 300.0
"""Seconds from the clone to the address of the page, on a machine with nothing but Python and make."""
SESSION = "webchat:default:main"
MAKE_RUN, CAT_TOKEN = Page("README.md").take("console").text.splitlines()


@dataclass
class Checkout:
    """A copy of the project in which `make run` runs."""

    folder: Path
    url: str


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """It is started as the README says; both tests find it running, and it ends with Ctrl-C."""
    folder = tmp_path_factory.mktemp("clone") / "gateway"
    _copy_checkout(folder)
    _use_free_port(folder)
    hidden = {"PYTHONPATH", "TELEGRAM_TOKEN", "MAKEFLAGS"}
    environ = {name: value for name, value in os.environ.items() if name not in hidden}
    command = [*MAKE_RUN.split(), f"PYTHON={sys.executable}"]
    with (folder / "told").open("wb") as told:
        run = subprocess.Popen(
            command, cwd=folder, env=environ, stdout=told, stderr=subprocess.DEVNULL, start_new_session=True
        )
    try:
        yield Checkout(folder, _ready(run, folder / "told"))
        os.kill(int((folder / ".gateway" / "lock").read_text()), signal.SIGINT)
        assert run.wait(20) == 0
    finally:
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
            run.wait()


def _copy_checkout(target: Path) -> None:
    skipped = shutil.ignore_patterns(".git", ".venv", ".gateway", "__pycache__", ".*_cache", "gateway.yaml", "tests")
    shutil.copytree(ROOT, target, ignore=skipped)


def _use_free_port(checkout: Path) -> None:
    """The one thing that is not as it stands: the port, since another gateway may run on this machine."""
    starter = checkout / "gateway" / "cli" / "init.py"
    starter.write_text(starter.read_text().replace("port: 18790", "port: 0"))


def _ready(run: subprocess.Popen[bytes], told: Path) -> str:
    """The address, once it is told."""
    ends = time.monotonic() + FIRST_RUN
    while not (found := READY.search(told.read_text())):
        assert run.poll() is None, f"make run ended with {run.returncode}"
        assert time.monotonic() < ends, f"no page after {FIRST_RUN:g} s"
        time.sleep(0.05)
    return found[1]


@pytest.mark.timeout(FIRST_RUN + 100)
async def test_from_a_clone_to_an_answered_message_in_a_browser(checkout: Checkout) -> None:
    """Open the address, sign in with the token of the file, choose Web chat, and say something."""
    token = (await shell(CAT_TOKEN, checkout.folder)).strip()
    chromium = find_browser()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=QUIET)
        page = await browser.new_page()
        faults = watch(page, checkout.url)
        await sign_in(page, checkout.url, token)
        await page.get_by_role("link", name="Web chat").click()
        await page.get_by_role("textbox", name="message").fill("hello, gateway")
        await page.keyboard.press("Enter")
        await expect(page.locator("article.assistant")).to_contain_text("hello, gateway")
        assert faults == []
        await browser.close()


@pytest.mark.timeout(FIRST_RUN + 100)
async def test_a_first_handler_and_the_commands_beside_it(checkout: Checkout) -> None:
    with Page("README.md") as page:
        assert page.take("console").text == f"{MAKE_RUN}\n{CAT_TOKEN}\n"
        client = await Client.connect(checkout.url, (await shell(CAT_TOKEN, checkout.folder)).strip())
        assert await _say(client, "hello") == "hello"
        page.write(checkout.folder, "my_bot.py")
        _put_last(checkout.folder / "gateway.yaml", page.take("yaml").text)
        await _applied(client)
        assert await _say(client, "one two three") == "3 words, you"
        await client.close()
        assert "home is running" in await shell(page.take("console"), checkout.folder, PYTHONPATH="")
        # Who runs this test runs them.
        assert page.take("console").text == "make test\nmake check\n"


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
