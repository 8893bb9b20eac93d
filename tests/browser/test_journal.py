"""The journal on the page: replayed to any point, and live under a flood."""

from __future__ import annotations

import asyncio
import re
import signal
import time
from pathlib import Path
from typing import Any

from playwright.async_api import Page, expect

from tests.browser.house import sign_in, watch
from tests.real.process import Client, Gateway, attempt, config_text

AT_ONCE = "{delay_ms: 0, cooldown_ms: 0}"
CHAT = "webchat/default"
SLIDER = "Point of the journal"
FLOOD = 2_500
AT_A_TIME = 20
WATCH_FRAMES = """() => {
    globalThis.longest = 0;
    let last = performance.now();
    const look = (now) => {
        longest = Math.max(longest, now - last);
        last = now;
        requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
}"""


async def replayed(page: Page) -> dict[str, Any]:
    """What the page shows of the point: the line above, the line that is marked, and what is lit."""
    await expect(page.locator("#replay-picture")).to_have_attribute("aria-busy", "false")
    found: dict[str, Any] = await page.evaluate(
        """() => {
            const lit = (name) => [...document.querySelectorAll(`#replay-picture .${name}`)].map(
                (part) => part.dataset.part.replace("state-", ""));
            return {
                told: document.getElementById("journal-as-of").textContent,
                marked: [...document.querySelectorAll("#journal [aria-current]")].map((line) => line.dataset.seq),
                machine: document.getElementById("replay-machine").textContent,
                now: lit("now"), was: lit("was"),
            };
        }"""
    )
    return found


def as_it_was(entries: list[dict[str, Any]], index: int, machine: str) -> tuple[list[str], list[str]]:
    """The states of a machine that are lit and dim after an entry, found by going through all before it."""
    now = next(entry["before"] for entry in entries if entry["machine"] == machine)
    was = None
    for entry in entries[: index + 1]:
        if entry["machine"] == machine:
            now, was = entry["after"], entry["before"] if entry["before"] != entry["after"] else was
    return [now], [was] if was not in (None, now) else []


async def test_the_machines_are_taken_back_to_any_entry_by_the_keyboard(tmp_path: Path, page: Page) -> None:
    async with Gateway(tmp_path, config_text(restart=AT_ONCE)) as gateway:
        faults = watch(page, gateway.url)
        await sign_in(page, gateway.url)
        for verb in ("stop", "start", "start"):
            await gateway.http("POST", f"/api/v1/channels/{CHAT}/{verb}")
        gateway.signal(signal.SIGUSR1)
        await gateway.until(lambda status: status["restarts"] == 1 and status["state"] == "running")
        await expect(page.locator("#connection")).to_have_text("Connected")
        await page.get_by_role("link", name="Journal").click()
        lines, slider = page.locator("#journal li"), page.get_by_role("slider", name=SLIDER)
        await expect(lines.get_by_text("boot", exact=True)).to_have_count(2)

        await slider.focus()
        await page.keyboard.press("Home")
        await expect(page.locator("#replay")).to_be_visible()
        entries = (await gateway.journal())[: await lines.count()]
        for index, entry in enumerate(entries):
            await expect(page.locator("#journal-as-of")).to_contain_text(
                f"entry {entry['seq']}: {entry['machine']} {entry['trigger']}"
            )
            found = await replayed(page)
            assert (found["marked"], found["machine"]) == ([str(entry["seq"])], entry["machine"])
            assert (found["now"], found["was"]) == as_it_was(entries, index, entry["machine"]), entry
            await page.keyboard.press("ArrowRight")
        await expect(slider).to_have_attribute("aria-valuetext", f"{(await replayed(page))['told']}")

        # Of one machine that is chosen its own entries are gone through.
        own = [index for index, entry in enumerate(entries) if entry["machine"] == CHAT]
        await page.locator("#journal-machine").select_option(CHAT)
        await expect(lines).to_have_count(len(own))
        await slider.focus()
        for key, index in (("Home", own[0]), ("End", own[-1]), ("ArrowLeft", own[-2])):
            await page.keyboard.press(key)
            await expect(page.locator("#journal-as-of")).to_contain_text(f"entry {entries[index]['seq']}:")
            found = await replayed(page)
            assert (found["now"], found["was"]) == as_it_was(entries, index, CHAT)

        # What happens meanwhile is counted, and seen when it is live again.
        await gateway.http("POST", f"/api/v1/channels/{CHAT}/stop")
        live = page.get_by_role("button", name="Live")
        await expect(live).to_have_text("Live (2 new)")
        await expect(lines).to_have_count(len(own))
        await live.click()
        await expect(lines).to_have_count(len(own) + 2)
        await expect(page.locator("#replay")).to_be_hidden()
        await expect(page.locator("#journal [aria-current]")).to_have_count(0)
        assert faults == []


async def flood(client: Client, times: int) -> float:
    """So many refusals, each an entry of the journal; how many seconds that took."""
    began = time.monotonic()
    for _ in range(times // AT_A_TIME):
        calls = (attempt(client.request("channels.start", {"channel": "webchat"})) for _ in range(AT_A_TIME))
        await asyncio.gather(*calls)
    return time.monotonic() - began


async def test_a_flood_of_entries_is_drawn_while_the_page_answers_and_none_is_lost(tmp_path: Path, page: Page) -> None:
    """Faster than five thousand a minute. The latest thousand stand in the page; the slider and the filters find all."""
    async with Gateway(tmp_path, config_text()) as gateway:
        faults = watch(page, gateway.url)
        await sign_in(page, gateway.url)
        await page.get_by_role("link", name="Journal").click()
        lines, slider = page.locator("#journal li"), page.get_by_role("slider", name=SLIDER)
        await expect(lines.filter(has_text="started")).to_have_count(1)
        client = await gateway.client()
        await page.evaluate(WATCH_FRAMES)
        flooding = asyncio.ensure_future(flood(client, FLOOD))
        for name, heading in (("Overview", "Accounts"), ("Journal", "Journal")):
            await page.get_by_role("link", name=name, exact=True).click()
            await expect(page.get_by_role("heading", name=heading, exact=True)).to_be_visible()
        assert not flooding.done(), "it was too short to say anything"
        seconds, longest = await flooding, await page.evaluate("longest")
        print(
            f"{FLOOD} entries in {seconds:.1f} s, {FLOOD / seconds * 60:,.0f} a minute; longest frame {longest:.0f} ms"
        )

        await client.request("channels.stop", {"channel": "webchat"})
        newest = (await client.request("journal.list", {"limit": 1}))["entries"][0]["seq"]
        # Asked in the page: an `expect` that has to wait writes down all of a thousand lines, for seconds on a busy machine.
        await page.wait_for_function("(seq) => document.querySelector(`#journal [data-seq='${seq}']`)", arg=newest)
        await expect(page.locator(f'#journal [data-seq="{newest}"]')).to_be_visible()
        await page.get_by_role("button", name="Pause").click()
        drawn = await lines.evaluate_all("(lines) => lines.map((line) => Number(line.dataset.seq))")
        assert drawn == list(range(drawn[0], drawn[0] - 1_000, -1))
        await expect(slider).to_have_attribute("max", str(drawn[0] - 1))
        await slider.focus()
        await page.keyboard.press("Home")
        await expect(page.locator("#journal-as-of")).to_contain_text("entry 1: gateway boot")
        await expect(lines.last).to_have_attribute("aria-current", "true")
        await page.get_by_role("button", name="Live").click()

        await page.get_by_label("Refusals only").check()
        await expect(lines.first).to_contain_text(f"refused: {CHAT} cannot start in state running")
        await page.get_by_label("Refusals only").uncheck()
        await page.locator("#journal-machine").select_option(CHAT)
        await page.get_by_label("Text").fill("stopping stopped")
        await expect(lines).to_have_count(1)
        await page.locator("#journal-machine").select_option("gateway")
        await expect(page.locator("#journal-empty")).to_be_visible()

        # A page that is opened now has the latest thousand, and is given what came before them.
        await page.reload()
        await expect(page.locator("#connection")).to_have_text("Connected")
        await expect(lines).to_have_count(1_000)
        await slider.press("Home")
        told = page.locator("#journal-as-of")
        await expect(told).to_contain_text("As of")
        oldest = int(re.findall(r"entry (\d+):", await told.inner_text())[0])
        assert oldest > newest - 1_010
        await page.get_by_role("button", name="Load earlier").click()
        await expect(slider).to_have_value("1000")
        await expect(told).to_contain_text(f"entry {oldest}:")
        await slider.press("Home")
        await expect(told).to_contain_text(f"entry {oldest - 1_000}:")
        assert faults == []
