"""The page: from the first byte of its document until it shows what runs, beside a bare page that draws one frame of a socket."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from playwright.async_api import Browser, async_playwright

from tests.bench.bot_api import TOKEN, BotApi
from tests.bench.counts import Counts
from tests.bench.numbers import summary
from tests.bench.start import ratio
from tests.browser.house import QUIET
from tests.debian import which_browser
from tests.real.process import TOKEN as ADMIN_TOKEN
from tests.real.process import Gateway, config_text, telegram_account

USABLE = "#accounts .account .state"
"""An account with its state: by then the page has signed in, and its buttons do what they say."""
NOTE = """(([shown, token]) => {
    sessionStorage.setItem("gateway.token", token);
    globalThis.usable = new Promise((usable) => {
        const look = () => {
            if (document.querySelector(shown)?.textContent) usable(performance.now());
            else requestAnimationFrame(look);
        };
        look();
    });
})"""
SINCE_THE_FIRST_BYTE = "usable.then((at) => at - performance.getEntriesByType('navigation')[0].responseStart)"
BARE_PAGE = """<!doctype html><title>bare</title><ul id="accounts"></ul><script type="module">
new WebSocket(`ws://${location.host}/ws`).addEventListener("message", ({ data }) => {
  document.getElementById("accounts").innerHTML = `<li class="account"><span class="state">${data}</span></li>`;
});
</script>"""


async def pages(api: BotApi, counts: Counts) -> dict[str, Any]:
    """In turn, each load in a browser context of its own: nothing is in a cache. Without Chromium there is nothing to measure."""
    chromium = which_browser()
    if chromium is None:
        return {"skipped": "there is no Chromium"}
    async with async_playwright() as playwright, bare() as bare_url:
        browser = await playwright.chromium.launch(executable_path=chromium, args=QUIET)
        with tempfile.TemporaryDirectory() as name:
            text = config_text(telegram_account("main", TOKEN, api.url))
            async with Gateway(Path(name), text) as gateway:
                await gateway.until(lambda status: all(each["state"] == "running" for each in status["accounts"]))
                pairs = [
                    (await load(browser, gateway.url), await load(browser, bare_url)) for _ in range(counts.pairs + 1)
                ][1:]
        await browser.close()
    ours, theirs = [mine for mine, _ in pairs], [other for _, other in pairs]
    return {"pairs": len(pairs), "gateway_ms": summary(ours), "bare_ms": summary(theirs), "ratio": ratio(ours, theirs)}


async def load(browser: Browser, url: str) -> float:
    """Milliseconds from the first byte to what can be used."""
    context = await browser.new_context()
    page = await context.new_page()
    await page.add_init_script(f"{NOTE}({[USABLE, ADMIN_TOKEN]!r})")
    await page.goto(url)
    took = await page.evaluate(SINCE_THE_FIRST_BYTE)
    await context.close()
    return float(took)


@asynccontextmanager
async def bare() -> AsyncIterator[str]:
    async def document(_: web.Request) -> web.Response:
        return web.Response(text=BARE_PAGE, content_type="text/html")

    async def socket(request: web.Request) -> web.WebSocketResponse:
        answer = web.WebSocketResponse()
        await answer.prepare(request)
        await answer.send_str("running")
        async for _ in answer:
            pass
        return answer

    app = web.Application()
    app.add_routes([web.get("/", document), web.get("/ws", socket)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()
