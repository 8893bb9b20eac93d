"""Ways in at the page, and ways that must not be one: one-time codes, secrets in the address, pages from elsewhere."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from playwright.async_api import Page, expect

from tests.browser.house import check_frames, watch
from tests.ports import free_port
from tests.real.commands import command
from tests.real.process import TOKEN, Gateway, config_text

KEPT = "sessionStorage.getItem('gateway.token')"
HOSTILE = """
<!doctype html><title>elsewhere</title>
<script src="{url}/api/v1/status"></script>
<iframe src="{url}/"></iframe>
<script>
    const json = "application/json";
    const call = (path, more) => fetch("{url}" + path, more).then(
        async (answer) => answer.type + " " + answer.status + " " + await answer.text(), () => "failed");
    const listen = (path) => new Promise((resolve) => {
        const socket = new WebSocket("{url}".replace("http", "ws") + path);
        socket.onmessage = ({ data }) => resolve("told " + data);
        socket.onclose = () => resolve("closed");
    });
    globalThis.tried = Promise.all([
        call("/healthz"),
        call("/", { mode: "no-cors" }),
        call("/api/v1/status", { headers: { Authorization: "Bearer {token}" } }),
        call("/api/v1/sign-in", { method: "POST", mode: "no-cors", body: JSON.stringify({ code: "{code}" }) }),
        call("/api/v1/sign-in", { method: "POST", headers: { "Content-Type": json }, body: JSON.stringify({ code: "{code}" }) }),
        listen("/ws"),
        listen("/"),
    ]);
</script>"""


async def opened(folder: Path) -> dict[str, Any]:
    """What `gateway open` says."""
    done = await command(folder, "open", "--print", "--json")
    assert done.code == 0, done.err
    answer: dict[str, Any] = done.json
    return answer


async def in_by_code(page: Page, link: str) -> None:
    await page.goto(link)
    await expect(page.locator("#lifecycle")).to_have_text("running")
    await expect(page.locator("#sign-in")).not_to_be_visible()


async def test_a_code_signs_in_once_and_outlives_restarts_and_a_kill(tmp_path: Path, page: Page) -> None:
    """And whoever comes with it a second time is told, and can enter the token or another code in its place."""
    text = config_text(restart="{delay_ms: 0, cooldown_ms: 0}").replace("port: 0", f"port: {free_port()}")
    async with Gateway(tmp_path, text) as gateway:
        faults = watch(page, gateway.url)
        link = (await opened(tmp_path))["link"]
        await in_by_code(page, link)
        assert page.url == f"{gateway.url}/"
        session = await page.evaluate(KEPT)
        assert TOKEN not in session
        assert link.partition("=")[2] not in session
        shown = await page.content()
        assert TOKEN not in shown
        assert session not in shown
        await page.reload()
        await expect(page.locator("#lifecycle")).to_have_text("running")
        gateway.signal(signal.SIGUSR1)
        await gateway.ready(2)
        assert gateway.process is not None
        gateway.process.kill()
        await gateway.wait()
        await expect(page.locator("#connection")).not_to_have_text("Connected")
        await gateway.start()
        await expect(page.locator("#connection")).to_have_text("Connected")
        await expect(page.locator("#sign-in")).not_to_be_visible()
        assert await page.evaluate(KEPT) == session
        # On the console: that there was no line for a while, and no more.
        assert [fault for fault in faults if "net::ERR_" not in fault] == []

        assert page.context.browser is not None
        other = await page.context.browser.new_page()
        other.on("websocket", check_frames)
        await other.goto(link)
        await expect(other.get_by_role("alert")).to_contain_text("the code is wrong, used")
        await expect(other.get_by_role("alert")).to_contain_text(
            "Run python -m gateway open again, or enter the token."
        )
        assert other.url == f"{gateway.url}/"
        await other.get_by_label("Admin token").fill((await opened(tmp_path))["code"])
        await other.keyboard.press("Enter")
        await expect(other.locator("#lifecycle")).to_have_text("running")
        assert await other.evaluate(KEPT) != session
        # A link that is pasted into a tab that is signed out: the page is not loaded anew by it.
        await other.get_by_role("button", name="Sign out").click()
        await in_by_code(other, (await opened(tmp_path))["link"])
        assert other.url == f"{gateway.url}/"


@asynccontextmanager
async def elsewhere(text: str) -> AsyncIterator[str]:
    """A page at another port of this machine, which is what a browser calls the same site, and its address."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=text, content_type="text/html")

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def try_addresses(page: Page, gateway: Gateway) -> None:
    """A token in one signs nobody in, and is taken out of it."""
    for address in (f"/?token={TOKEN}", f"/#token={TOKEN}", f"/?code={TOKEN}#journal", f"/?access_token={TOKEN}"):
        await page.goto("about:blank")
        await page.goto(gateway.url + address)
        await expect(page.get_by_role("alert")).to_contain_text("A token in the address signs nobody in")
        assert page.url == f"{gateway.url}/"
        assert await page.evaluate(KEPT) is None
        await expect(page.locator("#connection")).to_have_text("Signed out")


async def try_from(page: Page, hostile: str) -> None:
    """Not an answer, not a message, not a picture of the page to lay something over."""
    await page.goto(hostile)
    healthz, opaque, status, simple, sign_in, *sockets = await page.evaluate("globalThis.tried")
    assert [healthz, status, sign_in] == ["failed"] * 3
    assert {opaque, simple} <= {"failed", "opaque 0 "}
    assert sockets == ["closed"] * 2
    assert [await frame.query_selector("main") for frame in page.frames] == [None, None]


async def test_case_68_an_address_with_a_token_and_a_page_from_elsewhere_get_nothing(
    tmp_path: Path, page: Page
) -> None:
    """Even if that page knows the token and a code; which is not used up by it."""
    async with Gateway(tmp_path, config_text()) as gateway:
        faults = watch(page, gateway.url)
        await try_addresses(page, gateway)
        assert faults == []
        answer = await opened(tmp_path)
        text = HOSTILE
        for name, value in (("{url}", gateway.url), ("{token}", TOKEN), ("{code}", answer["code"])):
            text = text.replace(name, value)
        async with elsewhere(text) as url:
            for hostile in (url, url.replace("127.0.0.1", "localhost")):
                await try_from(page, hostile)
        await in_by_code(page, answer["link"])
        said = (tmp_path / "log").read_text()
        assert TOKEN not in said
        assert answer["code"] not in said
