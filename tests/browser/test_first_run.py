"""From the address to an answered message, as a person does it."""

from __future__ import annotations

import signal
from pathlib import Path

from playwright.async_api import Page, expect

from tests.browser.house import sign_in, watch
from tests.real.process import TOKEN, Gateway, config_text


async def test_a_message_typed_on_the_page_is_answered(tmp_path: Path, page: Page) -> None:
    """Sign in, type, read the echo; nothing on the console, nothing fetched from elsewhere, no token in the address."""
    async with Gateway(tmp_path, config_text()) as gateway:
        faults = watch(page, gateway.url)
        await sign_in(page, gateway.url)
        await page.get_by_role("link", name="Web chat").click()
        await page.get_by_role("textbox", name="message").fill("hello, gateway")
        await page.keyboard.press("Enter")
        await expect(page.locator("article.assistant")).to_contain_text("hello, gateway")
        await expect(page.locator("#lifecycle")).to_have_text("running")
        assert TOKEN not in page.url
        assert faults == []


async def test_a_wrong_token_is_told_and_can_be_mended(tmp_path: Path, page: Page) -> None:
    async with Gateway(tmp_path, config_text()) as gateway:
        await sign_in(page, gateway.url, "not the token")
        await expect(page.get_by_role("alert")).to_contain_text("token is wrong")
        await page.get_by_label("Admin token").fill(TOKEN)
        await page.keyboard.press("Enter")
        await expect(page.locator("#lifecycle")).to_have_text("running")


async def test_the_open_page_survives_a_restart(tmp_path: Path, page: Page) -> None:
    """The page comes back by itself, with the conversation and the draft, and goes on."""
    restart = "{delay_ms: 0, cooldown_ms: 0}"
    async with Gateway(tmp_path, config_text(restart=restart)) as gateway:
        await sign_in(page, gateway.url)
        await page.get_by_role("link", name="Web chat").click()
        box = page.get_by_role("textbox", name="message")
        await box.fill("before")
        await page.keyboard.press("Enter")
        await expect(page.locator("article.assistant")).to_contain_text("before")
        await box.fill("half a thought")
        gateway.signal(signal.SIGUSR1)
        await gateway.until(lambda status: status["restarts"] == 1 and status["state"] == "running")
        await expect(box).to_have_value("half a thought")
        await page.keyboard.press("Enter")
        await expect(page.locator("article.assistant").last).to_contain_text("half a thought")
        await expect(page.locator("article.assistant").first).to_contain_text("before")
