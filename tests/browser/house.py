"""A browser, and what must not happen in it."""

from __future__ import annotations

from typing import Any

from playwright.async_api import Page, WebSocket, expect

from tests.protocol.frames import Frames
from tests.real.process import TOKEN

expect.set_options(timeout=15_000)
"""Patience, in ms: on a machine that is busy with the rest of the suite, five seconds are not much for a browser."""

QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

ALL_THAT_STANDS = """() => {
    const found = [];
    const look = (root) => {
        found.push((root.documentElement ?? root).textContent);
        for (const element of root.querySelectorAll("*")) {
            found.push(...[...element.attributes].map(({ value }) => value), element.value ?? "");
            if (element.shadowRoot) look(element.shadowRoot);
        }
    };
    look(document);
    return found.join("\\n");
}"""


async def all_that_stands(page: Page) -> str:
    """Texts, attributes and what is in the fields of the page, those of its shadow roots too: a picture can show nothing else."""
    return str(await page.evaluate(ALL_THAT_STANDS))


def check_frames(socket: WebSocket) -> None:
    """A fault in a frame fails the test when it ends."""
    frames = Frames()
    socket.on("framesent", lambda text: frames.said(str(text)))
    socket.on("framereceived", lambda text: frames.heard(str(text)))


def watch(page: Page, origin: str) -> list[str]:
    """What must not happen: errors on the console (a CSP violation is one), and requests to another host."""
    faults: list[str] = []

    def on_console(message: Any) -> None:
        if message.type == "error" and "WebSocket" not in message.text:
            faults.append(message.text)

    def on_request(request: Any) -> None:
        if not request.url.startswith((origin, "data:")):
            faults.append(request.url)

    page.on("console", on_console)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", on_request)
    return faults


async def sign_in(page: Page, url: str, token: str = TOKEN) -> None:
    await page.goto(url)
    await page.get_by_label("Admin token").fill(token)
    await page.keyboard.press("Enter")
    if token == TOKEN:
        await expect(page.locator("#sign-in")).not_to_be_visible()
