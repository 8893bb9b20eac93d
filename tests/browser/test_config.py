"""The config at the page: edited with help, planned as a person types, applied on trial, taken back; and whoever else changes the file."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Any

from playwright.async_api import Locator, Page, expect

from tests.browser.house import sign_in, watch
from tests.browser.test_operator import BESIDE_THE_PAGE
from tests.real.process import Gateway, config_text

AT_ONCE = "{delay_ms: 0, cooldown_ms: 0}"
SECRET = "1234567:a-secret-of-a-bot"
BOT = f'      main: {{token: "{SECRET}", api_base: "http://127.0.0.1:9", enabled: false}}\n'
OLD, NEW = "writes_per_minute: 0", "writes_per_minute: 600"


def editor(page: Page) -> Locator:
    return page.get_by_role("textbox", name="Text of the config")


def press(page: Page, name: str) -> Any:
    return page.get_by_role("button", name=name, exact=True).click()


async def looks_fine(page: Page, axe: str) -> None:
    """Narrow and wide, nothing stands beside the page, and axe finds nothing."""
    await page.evaluate(axe)
    for width in (360, 1440):
        await page.set_viewport_size({"width": width, "height": 900})
        assert await page.evaluate(BESIDE_THE_PAGE) == 0, width
        found = (await page.evaluate("axe.run()"))["violations"]
        assert [
            (fault["id"], fault["nodes"][0]["html"], fault["nodes"][0]["failureSummary"]) for fault in found
        ] == [], width


async def open_config(page: Page, url: str) -> None:
    await page.emulate_media(reduced_motion="reduce")  # what is half faded in is too pale for axe
    await sign_in(page, f"{url}/#config")
    await expect(editor(page)).to_contain_text("a comment that must survive")


async def write_after(page: Page, text: str, more: str) -> None:
    """Put the cursor behind a text, as the search of the editor finds it, and write."""
    await editor(page).focus()
    await page.keyboard.press("Control+f")
    await page.keyboard.type(text)
    await page.keyboard.press("Enter")
    await page.keyboard.press("Escape")
    await page.keyboard.press("ArrowRight")
    await page.keyboard.type(more)


async def test_a_change_is_edited_planned_applied_on_trial_confirmed_and_rolled_back(
    tmp_path: Path, page: Page, axe: str
) -> None:
    async with Gateway(tmp_path, config_text(BOT)) as gateway:
        before = gateway.config.read_text()
        faults = watch(page, gateway.url)
        await open_config(page, gateway.url)
        await expect(page.locator("#config-plan")).to_contain_text("Nothing is changed yet")
        await expect(page.locator("#config-apply")).to_have_attribute("aria-disabled", "true")

        # A fault is told at its line, and mended by what the editor offers.
        await write_after(page, OLD, ", metr")
        line = page.locator("#config-faults li")
        await expect(line).to_contain_text("gateway.admin.metr: unknown key")
        await expect(page.locator(".cm-lint-marker-error")).to_have_count(1)
        await expect(page.locator("#config-help")).to_contain_text("gateway.admin")
        await expect(page.locator("#config-plan")).to_contain_text("no plan while the text has faults")
        await looks_fine(page, axe)
        await page.get_by_role("button", name="Line 3").click()
        await expect(editor(page)).to_be_focused()
        await page.keyboard.press("End")
        await page.keyboard.press("ArrowLeft")
        await page.keyboard.press("Control+Space")
        await page.locator(".cm-tooltip-autocomplete li").filter(has_text="metrics_public").click()
        await page.keyboard.type("true")

        # The plan as one types, and how to leave by the keyboard.
        plan = page.locator("#config-plan")
        await expect(plan).to_contain_text("It is taken up without a restart.")
        await expect(plan.locator(".change")).to_contain_text("gateway.admin.metrics_publicat oncefalse → true")
        await expect(line).to_have_count(0)
        await page.keyboard.press("Escape")
        await page.keyboard.press("Escape")
        await page.keyboard.press("Tab")
        await expect(editor(page)).not_to_be_focused()

        # On trial: the countdown, and what is kept of the secrets.
        await page.get_by_label("Why (for the history)").fill("the dashboard needs it")
        await page.get_by_label("Rolled back unless confirmed").select_option("within 5 minutes")
        await press(page, "Apply")
        trial = page.locator("#config-trial")
        await expect(trial).to_contain_text(re.compile(r"[45] min \d+ s"))
        await expect(page.locator("#config-outcome")).to_contain_text("probation")
        assert gateway.config.read_text() == before.replace(OLD, f"{OLD}, metrics_public: true")
        await press(page, "Confirm")
        await expect(trial).not_to_be_visible()
        await expect(page.get_by_role("heading", name="Config", exact=True)).to_be_focused()
        await expect(page.locator("#config-outcome")).to_contain_text("It runs.")

        # The history, a difference, and the way back with its plan first.
        newest = page.locator(".entry").first
        await expect(newest).to_contain_text("committed")
        await expect(newest).to_contain_text("the dashboard needs it")
        await expect(newest).to_contain_text("runs now")
        await press(page, "Show entry 2")
        await expect(newest.locator(".cm-deletedChunk")).to_contain_text(OLD)
        await expect(newest.locator(".cm-changedLine")).to_contain_text("metrics_public: true")
        await press(page, "Roll back to this: entry 1")
        await expect(page.locator("#config-ask-plan")).to_contain_text("true → false")
        await looks_fine(page, axe)
        await press(page, "Roll back")
        await expect(page.locator("#config-ask")).not_to_be_visible()
        await expect(page.locator(".entry").first).to_contain_text("rollback to 1")
        await expect(editor(page)).not_to_contain_text("metrics_public")
        assert gateway.config.read_text() == before
        assert SECRET not in await page.content() + await editor(page).inner_text()
        assert faults == []


async def test_what_another_one_changed_is_told_once_the_gateway_has_noticed_it(tmp_path: Path, page: Page) -> None:
    """The page may hear of it first: a plan is refused by what stands on the disk."""
    text = config_text(BOT, reload="{mode: hybrid, debounce_ms: 3000}")
    async with Gateway(tmp_path, text) as gateway:
        await open_config(page, gateway.url)
        await write_after(page, OLD, "6")
        await expect(page.locator("#config-plan")).to_contain_text("0 → 6")
        gateway.config.write_text(text.replace("  echo: {type: echo}", "  echo: {type: echo}\n  again: {type: echo}"))
        await page.keyboard.type("0")
        stale = page.locator("#config-stale")
        await expect(stale).to_be_visible()
        await expect(stale).to_contain_text("Changed there: handlers.again.", timeout=10_000)


async def test_what_is_not_saved_outlives_a_restart_and_the_edit_of_another(
    tmp_path: Path, page: Page, axe: str
) -> None:
    await page.emulate_media(color_scheme="dark")
    async with Gateway(tmp_path, config_text(BOT, restart=AT_ONCE)) as gateway:
        faults = watch(page, gateway.url)
        await open_config(page, gateway.url)
        await write_after(page, OLD, "60")
        await expect(page.locator("#config-plan")).to_contain_text("0 → 60")
        gateway.signal(signal.SIGUSR1)
        await gateway.until(lambda status: status["restarts"] == 1 and status["state"] == "running")
        await expect(page.locator("#connection")).to_have_text("Connected")
        await expect(editor(page)).to_contain_text("writes_per_minute: 060")
        await expect(page.locator("#config-apply")).to_have_attribute("aria-disabled", "false")

        # Another one saves: what is in the editor stays, and both are shown.
        await gateway.edit(
            lambda text: text.replace("  echo: {type: echo}", "  echo: {type: echo}\n  again: {type: echo}")
        )
        stale = page.locator("#config-stale")
        await expect(stale).to_contain_text("Changed there: handlers.again.")
        await expect(page.locator(".cm-deletedChunk")).to_have_count(2)
        await looks_fine(page, axe)
        await page.get_by_role("button", name="Apply").press("Enter")
        await expect(page.locator("#config-why")).to_contain_text("decide about that first")
        await (
            page.locator(".cm-deletedChunk").filter(has_text="again").get_by_role("button", name="Take theirs").click()
        )
        await expect(page.locator(".cm-deletedChunk")).to_have_count(1)
        await press(page, "Go on with what stands here")
        await expect(stale).not_to_be_visible()
        await expect(page.locator("#config-plan .change")).to_have_count(1)
        await press(page, "Apply")
        await expect(page.locator("#config-outcome")).to_contain_text("It runs.")
        text = gateway.config.read_text()
        assert "writes_per_minute: 060" in text
        assert "again: {type: echo}" in text
        assert SECRET in text

        # Who has saved the same has changed nothing of it.
        await write_after(page, "debounce_ms: 30", "1")
        await expect(page.locator("#config-plan")).to_contain_text("300 → 3010")
        await gateway.edit(lambda text: text.replace("debounce_ms: 300", "debounce_ms: 3010"))
        await expect(page.locator("#config-plan")).to_contain_text("Nothing is changed yet")
        await expect(editor(page)).to_contain_text("debounce_ms: 3010")
        assert faults == []


async def test_a_file_that_is_not_what_runs_is_adopted_or_restored(tmp_path: Path, page: Page, axe: str) -> None:
    text = config_text(BOT, restart=AT_ONCE, reload="{mode: 'off', debounce_ms: 50}")
    async with Gateway(tmp_path, text) as gateway:
        faults = watch(page, gateway.url)
        await open_config(page, gateway.url)
        drift = page.locator("#config-drift")
        await expect(drift).not_to_be_visible()
        await gateway.edit(lambda text: text.replace(OLD, NEW))
        await expect(drift).to_contain_text("The file is not what runs")
        await press(page, "Adopt the file")
        await expect(page.locator("#config-ask-plan")).to_contain_text("0 → 600")
        await press(page, "Adopt")
        await gateway.until(lambda status: status["restarts"] == 1 and not status["config"]["drift"])
        await expect(drift).not_to_be_visible()
        await expect(page.locator(".entry").first).to_contain_text("adopted as it was on disk")
        adopted = gateway.config.read_text()
        assert adopted == text.replace(OLD, NEW)

        # One that nobody can use is not shown, and goes when what runs is restored.
        await gateway.edit(lambda text: text.replace("routes:", "ruotes:"))
        await expect(drift).to_contain_text("The file cannot be used")
        await expect(page.locator("#config-faults li").first).to_contain_text("did you mean 'routes'")
        await expect(editor(page)).to_contain_text("routes:")
        await looks_fine(page, axe)
        await press(page, "Restore what runs")
        await press(page, "Restore")
        await expect(drift).not_to_be_visible()
        assert gateway.config.read_text() == adopted
        assert faults == []


async def test_a_trial_is_ended_by_hand_with_lines_that_end_as_they_did(tmp_path: Path, page: Page) -> None:
    """What ran before runs again, the file stays its author's; and whoever signs out leaves no text."""
    async with Gateway(tmp_path, config_text(BOT)) as gateway:
        text = gateway.config.read_bytes().replace(b"\n", b"\r\n")
        gateway.config.write_bytes(text)
        await open_config(page, gateway.url)
        await expect(page.locator(".entry")).to_have_count(2)
        await write_after(page, OLD, "60")
        await page.get_by_label("Rolled back unless confirmed").select_option("within 1 minute")
        await press(page, "Apply")
        await press(page, "5 minutes from now")
        await expect(page.locator("#trial-left")).to_have_text(re.compile(r"[45] min \d+ s"))
        await press(page, "Roll back now")
        await expect(page.locator("#config-outcome")).to_contain_text("What ran before runs again")
        await expect(page.locator("#config-drift")).to_contain_text("a change that was rolled back: cancelled by")
        assert gateway.config.read_bytes() == text.replace(OLD.encode(), OLD.encode() + b"60")
        await press(page, "Sign out")
        await expect(page.locator(".entry")).to_have_count(0)
        await expect(page.locator("#config-editor .cm-content")).to_have_text("")
