"""The pictures of the page: which there are, and that one can be taken of each view."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.async_api import Page

from tests.browser.png import size_of, small
from tests.browser.screenshots import ADDRESSES, INDEX, KEPT, SCHEMES, SIZES, TARGET, config_for, views
from tests.real.process import ROOT, Gateway

LARGEST = 150_000
PIXELS = """(pictures) => Promise.all(pictures.map(async (bytes) => {
    const image = await createImageBitmap(new Blob([Uint8Array.from(bytes)], { type: "image/png" }));
    const pen = new OffscreenCanvas(image.width, image.height).getContext("2d");
    pen.drawImage(image, 0, 0);
    return pen.getImageData(0, 0, image.width, image.height).data.reduce((sum, part) => (sum * 31 + part) % 1e9, 7);
}))"""
"""What stands for all the pixels of a picture, in their order."""


def test_the_views_are_those_of_the_page_and_each_has_an_address() -> None:
    sections = re.findall(r"<[a-z]+ [^>]*data-view=\"([^\"]+)\"", INDEX.read_text())
    assert views() == sections
    assert {"overview", "account", "journal", "chat"} <= set(sections)
    linked = set(re.findall(r'href="#(\w+)"', INDEX.read_text()))
    assert set(sections) == linked | set(ADDRESSES)


def test_those_of_the_front_page_are_there_and_small() -> None:
    readme = (ROOT / "README.md").read_text()
    names = re.findall(r"docs/screenshots/([\w-]+)\.png", readme)
    assert sorted(names) == sorted(KEPT)
    for name in names:
        view, width, scheme = name.split("-")
        assert (view in views(), scheme in SCHEMES) == (True, True), name
        picture = (TARGET / f"{name}.png").read_bytes()
        assert size_of(picture)[0] == int(width)
        assert int(width) in SIZES
        assert len(picture) < LARGEST


async def test_a_picture_with_a_palette_shows_the_same(page: Page) -> None:
    """Pixel by pixel, where there are no more colours than a palette has."""
    await page.set_viewport_size({"width": 320, "height": 200})
    await page.set_content(
        "<body style='background: #123456'><h1 style='color: #fedcba; font-family: monospace'>Gateway"
    )
    taken = await page.screenshot()
    made = await small(page, taken)
    assert len(made) < len(taken)
    assert await small(page, made) == made
    before, after = await page.evaluate(PIXELS, [list(taken), list(made)])
    assert before == after


async def test_the_house_of_the_pictures_stands(tmp_path: Path) -> None:
    """Its config is one that a gateway runs: the rest is seen when somebody looks at the pictures."""
    (tmp_path / "office.py").write_text("def answer(message):\n    return None\n")
    async with Gateway(tmp_path, config_for("http://127.0.0.1:9")) as gateway:
        status = await gateway.status()
        assert status["name"] == "ferry"
        assert len(status["accounts"]) == 4
