"""The messages on the page: who wrote what and what became of it, and what an operator decides of what was not sent."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from playwright.async_api import Page, expect

from gateway.channels.telegram_receiver import AGAIN
from tests.browser.house import sign_in, watch
from tests.fakes.telegram import FakeTelegram
from tests.real.bots import TOKEN, runs
from tests.real.conversations import sent, states, text_of
from tests.real.process import Gateway

BROKEN = '  broken: {type: http, url: "http://127.0.0.1:9/", retries: 0}\n'
ROUTES = 'channel: telegram, match: "^boom", handler: broken}\n  - {channel: "*", handler: echo, after_unknown: ask'


def config_of(telegram: FakeTelegram) -> str:
    """An echo that leaves what is unknown to a person, and a handler that never answers."""
    return text_of(telegram, route=ROUTES).replace("handlers:\n", f"handlers:\n{BROKEN}")


def outbox(page: Page, text: str) -> Any:
    return page.locator("#outbox li").filter(has_text=text)


async def choose(page: Page, which: str) -> None:
    await page.get_by_role("radio", name=re.compile(f"^{which}")).check()


async def test_an_operator_sees_what_was_said_and_decides_what_was_not_sent(tmp_path: Path, page: Page) -> None:
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(TOKEN, "main_bot")
        async with Gateway(tmp_path, config_of(telegram)) as gateway:
            await gateway.until(runs)
            faults = watch(page, gateway.url)
            await sign_in(page, gateway.url)
            await page.get_by_role("link", name="Messages", exact=True).click()
            await expect(page.locator("#conversations-empty")).to_have_text("Nobody has written yet.")

            # Conversations come by themselves, each with its latest; one is opened by the keyboard.
            bot.push("when is the train", chat_id=7, username="Ada")
            bot.push("boom", chat_id=8, username="Bob")
            conversations = page.locator("#conversations li")
            await expect(conversations.filter(has_text="Ada")).to_contain_text("Gateway: when is the train")
            await expect(conversations.filter(has_text="Bob").locator(".state")).to_have_text("dead")
            await expect(page.locator("#unanswered li")).to_contain_text("the handler 'broken': no answer")
            await page.get_by_label("Find a conversation").fill("ada")
            await expect(conversations).to_have_count(1)
            await conversations.get_by_role("link").press("Enter")
            await expect(page.get_by_role("heading", name="Ada")).to_be_focused()
            said = page.locator("#said li")
            await expect(said.locator(".text")).to_have_text(["when is the train"] * 2)
            await expect(said.locator(".state")).to_have_text(["handled", "sent"])

            # It may have arrived: that is said, and sent once more it says so, too.
            bot.fail_next(method="sendMessage", half=True)
            bot.push("is it there", chat_id=7, username="Ada")
            await expect(said.last.locator(".state")).to_have_text("unknown")
            await expect(said.last).to_contain_text("It may have arrived")
            await page.get_by_role("link", name="Back to all messages").click()
            await choose(page, "Unknown")
            await expect(page.locator("#outbox-meaning")).to_contain_text("may have arrived")
            await outbox(page, "is it there").get_by_role("button", name="Retry").press("Enter")
            await expect(page.locator("#messages-note")).to_contain_text("is queued now")
            await expect(outbox(page, "is it there")).to_have_count(0)
            await expect(page.get_by_role("heading", name="Outbox")).to_be_focused()
            await bot.wait_sent(3)
            assert sent(bot)[-1] == f"{AGAIN}is it there"

            # A dead one has its reason, and can be sent after all.
            bot.fail_next(method="sendMessage", status=403)
            bot.push("good bye", chat_id=7, username="Ada")
            await choose(page, "Dead")
            await expect(outbox(page, "good bye").locator(".why")).to_have_text("sendMessage: Scripted error")
            await expect(outbox(page, "good bye").get_by_role("button", name="Discard")).to_be_disabled()
            await outbox(page, "good bye").get_by_role("button", name="Retry").click()
            await choose(page, "Sent")
            await expect(outbox(page, "good bye").locator(".state")).to_have_text("sent")

            # What waits can be discarded, by who confirms it. What the machine takes no more is refused in its words.
            bot.fail_next(method="sendMessage", status=429, retry_after=300)
            bot.push("first", chat_id=7, username="Ada")
            bot.push("second", chat_id=7, username="Ada")
            await choose(page, "Not sent yet")
            await expect(outbox(page, "first").locator(".state")).to_have_text("retry wait")
            await expect(outbox(page, "second").locator(".state")).to_have_text("queued")
            await outbox(page, "second").get_by_role("button", name="Retry").press("Enter")
            await expect(page.locator("#messages-note")).to_have_text("Its machine takes no retry while queued.")
            discard, dialog = outbox(page, "second").get_by_role("button", name="Discard"), page.get_by_role("dialog")
            await discard.press("Enter")
            await expect(dialog.get_by_role("button", name="Keep it")).to_be_focused()
            await expect(dialog).to_contain_text("second")
            await page.keyboard.press("Escape")
            await expect(discard).to_be_focused()
            assert states(gateway)["second"] == "queued"
            await discard.press("Enter")
            number = (await page.locator("#discard-what").inner_text()).split()[0].removeprefix("#")
            assert (await gateway.http("POST", f"/api/v1/outbox/{number}/discard"))[0] == 200
            await dialog.get_by_role("button", name="Discard").click()
            await expect(page.locator("#messages-note")).to_have_text(
                f"Refused: delivery/{number} cannot discard_requested in state dead. It would take: retry_requested."
            )
            await outbox(page, "first").get_by_role("button", name="Discard").click()
            await dialog.get_by_role("button", name="Discard").click()
            await expect(page.locator("#outbox-empty")).to_be_visible()
            await choose(page, "Dead")
            await expect(outbox(page, "first").locator(".why")).to_contain_text("discarded by http 127.0.0.1")

            # Of one account; and whoever signs out leaves nothing to see.
            await page.get_by_label("Find a conversation").fill("")
            await page.get_by_role("combobox", name="Account").select_option("webchat/default")
            await expect(conversations).to_have_count(0)
            await expect(page.locator("#outbox li")).to_have_count(0)
            await page.get_by_role("combobox", name="Account").select_option("telegram/main")
            await expect(conversations).to_have_count(2)
            await expect(page.locator("#outbox li")).to_have_count(2)
            await conversations.get_by_role("link").first.click()
            await expect(said.first).to_be_visible()
            await page.get_by_role("button", name="Sign out").click()
            await expect(page.locator("#conversations li, #outbox li, #said li, #unanswered li")).to_have_count(0)
            await page.get_by_label("Admin token").fill(gateway.token)
            await page.keyboard.press("Enter")
            await expect(said.first).to_be_visible()
            assert len(faults) == 1, faults
            assert "409 (Conflict)" in faults[0], "the browser itself notes the refusal"
