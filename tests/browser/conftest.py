"""A browser for each test, and axe."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Page, async_playwright

from tests.browser.house import QUIET, check_frames
from tests.debian import find_browser
from tests.node.packages import install


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    chromium = find_browser()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=QUIET)
        page = await browser.new_page(viewport={"width": 1280, "height": 800})
        page.on("websocket", check_frames)
        yield page
        await browser.close()


@pytest.fixture(scope="session")
def axe() -> str:
    """Its source: run in a page, it says what keeps people with a screen reader or poor sight out."""
    return (install() / "node_modules" / "axe-core" / "axe.min.js").read_text()
