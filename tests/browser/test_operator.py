"""What an operator does at the page: looks at the machines, cancels a restart, stops and starts an account, reads the journal."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.browser.house import all_that_stands, sign_in, watch
from tests.fakes.telegram import FakeTelegram
from tests.real.nats_server import NatsServer, was_let_go
from tests.real.process import TOKEN, Gateway, config_text, telegram_account

AT_ONCE = "{delay_ms: 0, cooldown_ms: 0}"
LATER = "{delay_ms: 60000, cooldown_ms: 0}"
BOT_TOKEN = "1234567:not-a-token"
UNREACHABLE = f'      main: {{token: "{BOT_TOKEN}", api_base: "http://127.0.0.1:9"}}\n'
IT_WAITS = {"channel": "telegram", "account": "main", "to": "42", "text": "it waits", "idempotency_key": "one"}
ANOTHER_HOST = [sys.executable, "-m", "tests.real.another_host"]
VIEWS = {
    "overview": "#picture .now",
    "account/webchat/default": "#account-picture .now",
    "journal": "#journal li",
    "config": "#history li",
    "messages": "#outbox li",
    "messages/telegram/main/42": "#said li",
    "chat": "#draft",
}
NOTE_FLASHES = """() => {
    globalThis.flashed = [];
    new MutationObserver((changes) => {
        for (const { target } of changes) if (target.classList.contains("fired")) flashed.push(target.dataset.part);
    }).observe(document.getElementById("picture"), { subtree: true, attributes: true, attributeFilter: ["class"] });
}"""
BESIDE_THE_PAGE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


def lit(page: Page, state: str) -> Any:
    return page.locator(f'#picture [data-part="state-{state}"]')


def of_account(page: Page, verb: str, name: str = "webchat/default") -> Any:
    return page.get_by_role("button", name=f"{verb} {name}", exact=True)


async def test_the_lifecycle_is_lit_and_its_edge_flashes_on_a_restart(tmp_path: Path, page: Page) -> None:
    """Under the open page; the state is lit again when the page is back, and what happened meanwhile is in the journal."""
    async with Gateway(tmp_path, config_text(restart=AT_ONCE)) as gateway:
        faults = watch(page, gateway.url)
        await sign_in(page, gateway.url)
        await expect(lit(page, "running")).to_contain_class("now")
        await expect(lit(page, "starting")).to_contain_class("was")
        await page.evaluate(NOTE_FLASHES)
        gateway.signal(signal.SIGUSR1)
        await gateway.until(lambda status: status["restarts"] == 1 and status["state"] == "running")
        await expect(page.locator("#connection")).to_have_text("Connected")
        await expect(lit(page, "running")).to_contain_class("now")
        await expect(page.locator("#picture .now")).to_have_count(1)
        assert {"arrow-running-restart_pending", "row-23"} <= set(await page.evaluate("flashed"))
        await page.get_by_role("link", name="Journal").click()
        triggers = page.locator("#journal code")
        await expect(triggers.get_by_text("restart_requested", exact=True)).to_have_count(1)
        await expect(triggers.get_by_text("boot", exact=True)).to_have_count(2)
        assert faults == []


async def test_an_open_ticket_counts_down_and_is_cancelled(tmp_path: Path, page: Page) -> None:
    async with Gateway(tmp_path, config_text(restart=LATER)) as gateway:
        await sign_in(page, gateway.url)
        await gateway.http("POST", "/api/v1/restart", json={"reason": "a new kernel"})
        ticket = page.get_by_role("list", name="Open requests for a restart").get_by_role("listitem")
        await expect(ticket).to_contain_text("a new kernel")
        await expect(ticket).to_contain_text("due in 5")
        await expect(lit(page, "restart_pending")).to_contain_class("now")
        await page.get_by_role("button", name="Cancel the restart: a new kernel").click()
        await expect(ticket).to_have_count(0)
        await expect(lit(page, "running")).to_contain_class("now")
        assert (await gateway.status())["tickets"] == []


async def test_what_ails_is_told_with_its_remedy(tmp_path: Path, page: Page) -> None:
    async with Gateway(tmp_path, config_text()) as gateway:
        await sign_in(page, gateway.url)
        gateway.config.write_text("gateway: [")
        await expect(page.get_by_role("list", name="What is not well")).to_contain_text(
            "What helps: mend the config file."
        )


async def test_an_account_is_stopped_and_started_by_the_keyboard_alone(tmp_path: Path, page: Page) -> None:
    async with Gateway(tmp_path, config_text()) as gateway:
        await sign_in(page, gateway.url)
        await of_account(page, "Stop").focus()
        await page.keyboard.press("Enter")
        row = page.locator(".account").filter(has_text="webchat/default")
        await expect(row.locator(".state")).to_have_text("stopped")
        await expect(of_account(page, "Stop")).to_be_focused()
        await page.keyboard.press("Shift+Tab")
        await page.keyboard.press("Enter")
        await expect(row.locator(".state")).to_have_text("running")
        await expect(row.locator(".generation")).to_have_text("generation 2")
        assert (await gateway.account("webchat/default"))["state"] == "running"


async def test_a_button_that_is_off_says_why(tmp_path: Path, page: Page) -> None:
    """The state that has no such row, or the guard by its name."""
    text = config_text().replace("{default: {}}", "{default: {}, off: {enabled: false}}")
    async with Gateway(tmp_path, text) as gateway:
        await sign_in(page, gateway.url)
        disabled = of_account(page, "Start", "webchat/off")
        await expect(disabled).to_be_disabled()
        await expect(disabled).to_have_attribute("title", "The guard is_enabled says no: it is disabled in the config.")
        await expect(of_account(page, "Stop", "webchat/off")).to_be_enabled()
        await expect(of_account(page, "Start")).to_be_disabled()
        await expect(of_account(page, "Start")).to_have_attribute("title", "Its machine takes no start while running.")
        await of_account(page, "Start").press("Enter")
        await expect(page.locator(".control-note").first).to_have_text("Its machine takes no start while running.")
        assert (await gateway.account("webchat/default"))["generation"] == 1


async def test_an_account_has_its_diagram_its_journal_and_its_queue(tmp_path: Path, page: Page) -> None:
    async with Gateway(tmp_path, config_text(UNREACHABLE)) as gateway:
        faults = watch(page, gateway.url)
        await sign_in(page, gateway.url)
        assert (await gateway.http("POST", "/api/v1/send", json=IT_WAITS))[0] == 202
        await page.get_by_role("link", name="telegram/main").click()
        await expect(page.get_by_role("heading", name="telegram/main")).to_be_focused()
        await expect(page.locator("#queue")).to_contain_text("it waits")
        await expect(page.locator("#account-journal")).to_contain_text("receiver_ended")
        await expect(page.locator("#account-journal")).not_to_contain_text("webchat/default")
        await page.get_by_role("button", name="Stop telegram/main").click()
        await expect(page.locator('#account-picture [data-part="state-stopped"]')).to_contain_class("now")
        assert faults == []


async def test_one_that_waits_for_an_accounts_lease_says_who_has_it(tmp_path: Path, page: Page) -> None:
    """And the picture of the lease's machine can be looked at. An account that is not shared has nothing of it."""
    shared, words = account_of("ours"), "another gateway has its lease: "
    async with FakeTelegram() as telegram, NatsServer(tmp_path / "nats") as nats:
        telegram.add_bot(BOT_TOKEN, "shared_bot")
        account = telegram_account("ours", BOT_TOKEN, telegram.url, poll_timeout_s=1)
        text = config_text(account).replace("channels:\n", f"  lease: {{url: {nats.url!r}}}\nchannels:\n", 1)
        await was_let_go(nats.url, BOT_TOKEN, telegram.url)
        for name in ("old", "new"):
            (tmp_path / name).mkdir()
        async with Gateway(tmp_path / "old", text, command=ANOTHER_HOST) as old:
            await old.until(lambda status: shared(status)["state"] == "running")
            async with Gateway(tmp_path / "new", text, command=ANOTHER_HOST) as new:
                await new.until(lambda status: words in str(shared(status)["error"]))
                faults = watch(page, new.url)
                await sign_in(page, new.url)
                row = page.locator(".account").filter(has_text="telegram/ours")
                await expect(row).to_contain_text(words)
                await expect(row).to_contain_text(f"PID {old.process.pid}" if old.process else "")
                await page.locator("#machine").select_option("lease")
                await expect(lit(page, "acquiring")).to_have_count(1)
                await page.get_by_role("link", name="telegram/ours").click()
                await expect(page.locator("#account-lease")).to_have_text("acquiring")
                await expect(page.locator("#account-error")).to_contain_text(words)
                await old.stop()
                await expect(page.locator("#account-lease")).to_have_text("held, term 2")
                await expect(page.locator("#account-error")).to_have_text("")
                await page.goto(f"{new.url}/#account/webchat/default")
                await expect(page.get_by_role("heading", name="webchat/default")).to_be_visible()
                await expect(page.locator("#account-shared")).to_be_hidden()
                assert faults == []


def account_of(name: str) -> Any:
    return lambda status: next(each for each in status["accounts"] if each["account"] == name)


async def fits_and_is_clean(page: Page, what: str) -> None:
    assert await page.evaluate(BESIDE_THE_PAGE) == 0, what
    found = (await page.evaluate("axe.run()"))["violations"]
    assert [(fault["id"], fault["nodes"][0]["html"]) for fault in found] == [], what


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
async def test_every_view_fits_and_axe_finds_nothing(
    tmp_path: Path, page: Page, axe: str, width: int, scheme: Any
) -> None:
    await page.set_viewport_size({"width": width, "height": 800})
    await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    async with Gateway(tmp_path, config_text(UNREACHABLE, restart=LATER)) as gateway:
        faults = watch(page, gateway.url)
        await sign_in(page, gateway.url)
        await gateway.http("POST", "/api/v1/restart", json={"reason": "a new kernel"})
        assert (await gateway.http("POST", "/api/v1/send", json=IT_WAITS))[0] == 202
        await page.evaluate(axe)
        for view, drawn in VIEWS.items():
            await page.evaluate(f"location.hash = '{view}'")
            await expect(page.locator(drawn).first).to_be_visible()
            await fits_and_is_clean(page, view)
            stands = await all_that_stands(page)
            assert [secret for secret in (TOKEN, BOT_TOKEN) if secret in stands] == [], view
            assert view != "config" or "a comment that must survive" in stands, "the file's text was not looked at"
        await page.evaluate("location.hash = 'journal'")
        await page.get_by_role("slider").press("Home")
        await expect(page.locator("#replay-picture .now")).to_be_visible()
        await fits_and_is_clean(page, "the journal at its beginning")
        await page.evaluate("location.hash = 'messages'")
        await page.get_by_role("button", name="Discard message").click()
        await fits_and_is_clean(page, "discarding a message")
        assert faults == []


async def test_whoever_signs_out_leaves_nothing_to_see(tmp_path: Path, page: Page) -> None:
    async with Gateway(tmp_path, config_text()) as gateway:
        faults = watch(page, gateway.url)
        await sign_in(page, gateway.url)
        await expect(page.locator(".account")).to_have_count(1)
        await page.get_by_role("button", name="Sign out").click()
        await expect(page.locator("#sign-in")).to_be_visible()
        await expect(page.locator(".account")).to_have_count(0)
        await expect(page.locator("#journal li")).to_have_count(0)
        assert faults == []


@pytest.mark.parametrize("address", ["account/telegram/%zz", "toString"])
async def test_an_address_that_is_none_is_the_overview(tmp_path: Path, page: Page, address: str) -> None:
    async with Gateway(tmp_path, config_text()) as gateway:
        faults = watch(page, gateway.url)
        await sign_in(page, f"{gateway.url}/#{address}")
        await expect(page.locator(".account")).to_have_count(1)
        assert faults == []
