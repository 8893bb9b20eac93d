"""Takes pictures of every view of the page: `python -m tests.browser.screenshots` writes docs/screenshots/<view>-<width>-<scheme>.png.

The views are those of index.html. What they show is a ferry's office on a busy day: a real gateway and a Telegram of ours,
a handled conversation, an account that somebody else receives on, one that cannot be reached, an open restart, and a
reply that its network refused for good. Nobody's secret is in it.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from playwright.async_api import Browser, Page, async_playwright, expect

from tests.browser.house import QUIET, sign_in
from tests.browser.png import small
from tests.debian import find_browser
from tests.fakes.telegram import Bot, FakeTelegram
from tests.real.process import ROOT, Client, Gateway, config_text, telegram_account

TARGET = ROOT / "docs" / "screenshots"
INDEX = ROOT / "gateway" / "admin" / "page" / "index.html"
KEPT = ("overview-1440-light", "overview-1440-dark")
"""Those that the README shows; the others are for whoever looks at the page."""
SIZES = {360: 800, 1440: 900}
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
ADDRESSES = {"account": "account/telegram/night"}
"""Where a view is that its name alone does not find."""
FILLS_THE_WINDOW = {"journal", "chat"}
"""Views that scroll inside; of the others all is shown, however long."""
OUT_OF_SIGHT = "* { content-visibility: visible !important; }"
"""What is below the window is in the picture, too."""
AT_REST = """async () => {
    let last = "", since = performance.now();
    while (performance.now() - since < 500) {
        const size = document.documentElement.scrollHeight;
        const now = `${size} ${document.querySelectorAll("[data-view]:not([hidden]) *").length}`;
        if (now !== last) [last, since] = [now, performance.now()];
        await new Promise(requestAnimationFrame);
    }
}"""
"""Nothing has come, and nothing has moved, for half a second: a view asks for what it shows when it is opened."""
TOKENS = {"main": "101:main", "night": "102:night", "support": "103:support"}
RESTART = "{delay_ms: 60000, cooldown_ms: 0}"
HANDLER = '''\
"""Answers what people ask the ferry's office."""

ANSWERS = {"when": "The first ferry leaves at 06:40, the last at 23:10.", "bike": "Bikes travel free, on the lower deck."}


def answer(message):
    asked = message.text.lower()
    return next((text for word, text in ANSWERS.items() if word in asked), "I have passed that on to the office.")
'''
TALK = ("Hello! When does the first ferry leave?", "Can I bring my bike?", "And a piano?")


def views() -> list[str]:
    """As the page has them."""
    return re.findall(r'data-view="([a-z]+)"', INDEX.read_text(encoding="utf-8"))


def config_for(telegram: str) -> str:
    """Three bots and the web chat; their handler is a function beside the file."""
    accounts = "".join(telegram_account(name, token, telegram, poll_timeout_s=50) for name, token in TOKENS.items())
    text = config_text(accounts, restart=RESTART)
    for said, instead in {
        "# a comment that must survive\ngateway:\n": "# The ferry's office.\ngateway:\n  name: ferry\n",
        "echo: {type: echo}": 'office: {type: python, target: "office:answer"}',
        "handler: echo": "handler: office",
    }.items():
        assert said in text
        text = text.replace(said, instead)
    return text


@dataclass
class House:
    """A gateway on a busy day, and its bots."""

    gateway: Gateway
    bots: dict[str, Bot]
    client: Client

    async def live(self) -> None:
        """What has happened before the pictures are taken."""
        for number, text in enumerate(TALK, start=1):
            self.bots["main"].push(text, chat_id=77, user_id=9, username="ann")
            await self.bots["main"].wait_sent(number)
        for number, text in enumerate(TALK[:2], start=1):
            said = {"sessionKey": "webchat:default:main", "message": text, "idempotencyKey": str(number)}
            await self.client.request("chat.send", said)
            await self._until("/api/v1/outbox?state=sent", len(TALK) + number)
        self.bots["main"].fail_next(403, method="sendMessage")
        await self._send("main", "78", "Your ticket is ready.")
        await self._until("/api/v1/outbox?state=dead", 1)
        self.bots["night"].foreign_poll(timeout=10_000)
        await self.gateway.until(lambda status: _states(status)["night"] == "conflict")
        await self._send("night", "80", "The 23:10 leaves from pier 2 tonight.")
        await self.client.patch("gateway: {log: {level: debug}}", note="we look for the lost ticket")
        await self.gateway.until(lambda status: _states(status)["support"] == "backoff")

    async def ask_for_a_restart(self) -> None:
        """Anew: one that was asked for a minute ago would be carried out."""
        for ticket in (await self.gateway.status())["tickets"]:
            await self.gateway.http("DELETE", f"/api/v1/restart/{ticket['id']}")
        await self.gateway.http("POST", "/api/v1/restart", json={"reason": "a new kernel"})

    async def _send(self, account: str, to: str, text: str) -> None:
        body = {"channel": "telegram", "account": account, "to": to, "text": text, "idempotency_key": text}
        assert (await self.gateway.http("POST", "/api/v1/send", json=body))[0] == 202

    async def _until(self, path: str, deliveries: int) -> None:
        async with asyncio.timeout(20):
            while len((await self.gateway.http("GET", path))[1]["deliveries"]) < deliveries:
                await asyncio.sleep(0.05)


def _states(status: dict[str, Any]) -> dict[str, str]:
    return {account["account"]: account["state"] for account in status["accounts"]}


@asynccontextmanager
async def house(folder: Path) -> AsyncIterator[House]:
    (folder / "office.py").write_text(HANDLER)
    async with FakeTelegram() as telegram:
        bots = {name: telegram.add_bot(token, f"{name}_bot") for name, token in TOKENS.items()}
        bots["support"].fail_next(502, times=10_000)
        async with Gateway(folder, config_for(telegram.url)) as gateway:
            here = House(gateway, bots, await gateway.client())
            await here.live()
            yield here


async def open_page(browser: Browser, url: str, width: int, scheme: Literal["light", "dark"]) -> Page:
    """Signed in, at rest, and everything in sight."""
    page = await browser.new_page(
        viewport={"width": width, "height": SIZES[width]}, device_scale_factor=1, color_scheme=scheme,
        reduced_motion="reduce", bypass_csp=True,
    )  # fmt: skip
    await sign_in(page, url)
    await page.add_style_tag(content=OUT_OF_SIGHT)
    await expect(page.locator("#picture .now")).to_have_count(1)
    return page


async def picture(page: Page, view: str) -> bytes:
    """Of a view, from its top."""
    await page.evaluate(f"location.hash = '{ADDRESSES.get(view, view)}'")
    await expect(page.locator(f'[data-view="{view}"]')).to_be_visible()
    await page.evaluate(AT_REST)
    await page.evaluate("document.activeElement?.blur()")
    return await page.screenshot(animations="disabled", caret="hide", full_page=view not in FILLS_THE_WINDOW)


async def take(browser: Browser, here: House, target: Path, names: set[str]) -> None:
    """Write all of them, or those that are named; those that are kept as small as they get."""
    table = await browser.new_page()
    for width in SIZES:
        for scheme in SCHEMES:
            await here.ask_for_a_restart()
            page = await open_page(browser, here.gateway.url, width, scheme)
            for view in views():
                name = f"{view}-{width}-{scheme}"
                if names and name not in names:
                    continue
                taken = await picture(page, view)
                taken = await small(table, taken) if name in KEPT else taken
                (target / f"{name}.png").write_bytes(taken)
                print(f"{name}.png  {len(taken):,} bytes")
            await page.close()


async def main(target: Path, names: set[str]) -> None:
    target.mkdir(parents=True, exist_ok=True)
    chromium = find_browser()
    with tempfile.TemporaryDirectory() as folder:
        async with house(Path(folder)) as here, async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=chromium, args=QUIET)
            await take(browser, here, target, names)
            await browser.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Take pictures of every view of the page.")
    parser.add_argument("names", nargs="*", help="those alone, like overview-1440-light")
    parser.add_argument("--to", type=Path, default=TARGET, metavar="FOLDER")
    given = parser.parse_args()
    asyncio.run(main(given.to, set(given.names)))
