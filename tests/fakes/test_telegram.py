"""The Bot API server of the tests, held to what Telegram documents and does: its methods, updates and offsets."""

from __future__ import annotations

import time

import aiohttp
import pytest

from .telegram import Bot, FakeTelegram
from .telegram_client import Client
from .telegram_wire import LONGEST_POLL

# The methods and their envelopes.


async def test_unknown_tokens_methods_and_paths_are_refused(client: Client, bot: Bot) -> None:
    unauthorized = {"ok": False, "error_code": 401, "description": "Unauthorized"}
    assert await client.call("getMe", token="9:none") == unauthorized
    assert await client.call("getUpdates", token="9:none") == unauthorized
    assert (await client.call("noSuchMethod"))["error_code"] == 404
    assert (await client.call("more/than/a/method"))["error_code"] == 404


async def test_get_me_names_the_bot(client: Client, bot: Bot) -> None:
    me = (await client.call("getMe"))["result"]
    assert (me["id"], me["is_bot"], me["username"]) == (1001, True, "main_bot")
    assert bot.stats.get_me_count == 1


async def test_parameters_come_by_query_form_and_json(telegram: FakeTelegram, bot: Bot) -> None:
    params = {"chat_id": "7", "text": "hi"}
    url = f"{telegram.url}/bot1001%3Asecret/sendMessage"
    async with aiohttp.ClientSession() as session:
        for request in (
            session.get(url, params=params),
            session.post(url, params=params),
            session.post(url, data=params),
            session.post(url, json=params),
        ):
            async with request as response:
                assert (await response.json())["result"]["text"] == "hi"
        headers = {"Content-Type": "application/json"}
        async with session.post(url, data=b"{", headers=headers) as bad:
            assert bad.status == 400
    await bot.wait_sent(4)
    assert [(sent["chat_id"], sent["text"]) for sent in bot.sent] == [(7, "hi")] * 4
    assert bot.sent[0]["at"] <= time.monotonic()
    assert bot.stats.send_count == 4


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("x" * 4096, None),
        ("x" * 4097, "Bad Request: message is too long"),
        ("\U0001f600" * 2048, None),
        ("\U0001f600" * 2049, "Bad Request: message is too long"),
        ("", "Bad Request: message text is empty"),
    ],
)
async def test_text_is_measured_in_utf16(
    client: Client,
    bot: Bot,
    text: str,
    complaint: str | None,
) -> None:
    body = await client.call("sendMessage", chat_id=7, text=text)
    assert body.get("description") == complaint
    assert len(bot.sent) == (complaint is None)


async def test_messages_have_numbers_and_what_was_sent_is_kept(client: Client, bot: Bot) -> None:
    reference = {"message_id": 4}
    for text in ("one", "two"):
        body = await client.call(
            "sendMessage", chat_id=7, text=text, message_thread_id=3, reply_parameters=reference, parse_mode="HTML"
        )
        assert body["result"]["message_id"] == bot.sent[-1]["message_id"]
    assert bot.sent[0]["message_id"] != bot.sent[1]["message_id"]
    kept = [bot.sent[-1][key] for key in ("text", "message_thread_id", "reply_parameters", "parse_mode")]
    assert kept == ["two", 3, reference, "HTML"]


async def test_marks_are_read_and_bad_ones_are_refused(client: Client, bot: Bot) -> None:
    body = await client.call("sendMessage", chat_id=7, text="<b>a</b> &lt; b", parse_mode="HTML")
    assert (body["result"]["text"], bot.sent[-1]["shown"]) == ("a < b", "a < b")
    refusals = {
        "<p>a</p>": 'can\'t parse entities: Unsupported start tag "p" at byte offset 0',
        "a < b": "can't parse entities: Unclosed start tag at byte offset 2",
        "<b></b>": "message text is empty",
    }
    for text, why in refusals.items():
        body = await client.call("sendMessage", chat_id=7, text=text, parse_mode="HTML")
        assert (body["error_code"], body["description"]) == (400, f"Bad Request: {why}")
    long = "<b>" + "&lt;" * 4096 + "</b>"
    assert (await client.call("sendMessage", chat_id=7, text=long, parse_mode="HTML"))["ok"]
    body = await client.call("sendMessage", chat_id=7, text="a", parse_mode="Word")
    assert body["description"] == "Bad Request: unsupported parse_mode"
    assert len(bot.sent) == 2


async def test_actions_and_answers_to_buttons_are_kept(client: Client, bot: Bot) -> None:
    assert (await client.call("sendChatAction", chat_id=7, action="typing"))["result"] is True
    assert (await client.call("answerCallbackQuery", callback_query_id="5"))["result"] is True
    assert (await client.call("answerCallbackQuery"))["error_code"] == 400
    assert bot.actions == [{"chat_id": 7, "action": "typing"}]
    assert bot.callback_answers == [{"callback_query_id": "5"}]


async def test_a_webhook_refuses_and_ends_polls(client: Client, bot: Bot) -> None:
    held = client.start_poll(timeout=30)
    await bot.wait_polling()
    assert (await client.call("setWebhook", url="https://x.test"))["result"] is True
    assert (await held)["description"] == "Conflict: terminated by setWebhook request"
    assert (await client.call("getWebhookInfo"))["result"]["url"] == "https://x.test"
    refusal = (await client.call("getUpdates"))["description"]
    complaint, _, advice = refusal.partition("; ")
    assert complaint == "Conflict: can't use getUpdates method while webhook is active"
    assert advice == "use deleteWebhook to delete the webhook first"
    await client.call("deleteWebhook")
    assert bot.webhook_url == ""
    assert await client.poll() == []
    assert bot.stats.conflicts_self == bot.stats.conflicts_foreign == 0
    assert bot.stats.both == 1


async def test_a_revoked_token_ends_polls_and_refuses_everything(client: Client, bot: Bot) -> None:
    held = client.start_poll(timeout=30)
    await bot.wait_polling()
    bot.revoke()
    assert (await held)["error_code"] == 401
    assert (await client.call("getMe"))["error_code"] == 401
    assert (await client.call("getUpdates"))["error_code"] == 401
    assert [record.outcome for record in bot.stats.poll_log] == ["401", "401"]


# Updates and offsets.


async def test_an_update_has_telegrams_shape(client: Client, bot: Bot) -> None:
    update_id = bot.push("hello", chat_id=7, user_id=5, username="ann")
    (update,) = (await client.call("getUpdates"))["result"]
    message = update["message"]
    assert update["update_id"] == update_id
    assert message["chat"] == {"id": 7, "type": "private"}
    assert (message["from"]["id"], message["from"]["username"]) == (5, "ann")
    assert message["text"] == "hello"


async def test_an_offset_forgets_what_lies_below_it(client: Client, bot: Bot) -> None:
    first, second, third = (bot.push(text) for text in ("a", "b", "c"))
    assert await client.poll(limit=2) == [first, second]
    assert await client.poll(offset=second) == [second, third]
    assert await client.poll() == [second, third]
    assert await client.poll(offset=third + 1) == []
    assert await client.poll() == []
    assert bot.stats.confirmed_offset == third + 1


async def test_a_negative_offset_counts_from_the_end(client: Client, bot: Bot) -> None:
    ids = [bot.push("x") for _ in range(5)]
    assert await client.poll(offset=-99) == ids
    assert await client.poll(offset=-2) == ids[-2:]
    assert await client.poll() == ids[-2:]


async def test_an_offset_far_in_the_future_is_disbelieved(client: Client, bot: Bot) -> None:
    update_id = bot.push("x")
    assert await client.poll(offset=update_id + 1000) == [update_id]
    assert bot.stats.confirmed_offset == 0


async def test_a_poll_is_held_until_an_update_comes(client: Client, bot: Bot) -> None:
    held = client.start_poll(timeout=30)
    await bot.wait_polling()
    update_id = bot.push("now")
    assert [update["update_id"] for update in (await held)["result"]] == [update_id]


async def test_a_poll_without_updates_ends_at_its_timeout(client: Client, bot: Bot) -> None:
    began = time.monotonic()
    assert await client.poll(timeout=1, offset=5) == []
    assert 0.9 < time.monotonic() - began < LONGEST_POLL
    (record,) = bot.stats.poll_log
    assert (record.timeout_param, record.offset, record.outcome) == (1, 5, "empty")


async def test_kinds_that_are_not_allowed_are_not_queued(client: Client, bot: Bot) -> None:
    await client.poll(allowed_updates=["callback_query"])
    bot.push("unwanted")
    await client.poll(allowed_updates='["message"]')
    wanted = bot.push("wanted")
    assert await client.poll() == [wanted]


async def test_updates_of_any_kind_are_delivered(client: Client, bot: Bot) -> None:
    ids = [
        bot.push_update("a_kind_of_tomorrow", 3),
        bot.push_message(-7, kind="edited_message", caption="hi", photo=[]),
        bot.push("hello"),
    ]
    updates = (await client.call("getUpdates"))["result"]
    assert [update["update_id"] for update in updates] == ids
    assert updates[0]["a_kind_of_tomorrow"] == 3
    edited = updates[1]["edited_message"]
    assert (edited["chat"], edited["caption"]) == ({"id": -7, "type": "group"}, "hi")
    assert "text" not in edited
    await client.poll(offset=ids[-1] + 1, allowed_updates=["edited_message"])
    bot.push("not asked for")
    wanted = bot.push_message(kind="edited_message", text="asked for")
    assert await client.poll() == [wanted]


async def test_ids_that_jump_back_come_and_are_confirmed(client: Client, bot: Bot) -> None:
    await client.poll(offset=bot.push("before") + 1)
    bot.next_update_id = 100
    bot.push("after")
    assert await client.poll(offset=500_000_002) == [100], "an offset far in the future is disbelieved"
    assert await client.poll(offset=101) == []
    assert bot.updates == []


async def test_one_that_was_stopped_refuses_connections(telegram: FakeTelegram, client: Client, bot: Bot) -> None:
    held = client.start_poll(timeout=30)
    await bot.wait_polling()
    await telegram.stop()
    with pytest.raises(aiohttp.ClientOSError):
        await held
    with pytest.raises(aiohttp.ClientConnectorError):
        await client.call("getMe")


async def test_redeliveries_are_counted(client: Client, bot: Bot) -> None:
    first = bot.push("a")
    await client.poll()
    second = bot.push("b")
    await client.poll()
    await client.poll(offset=first + 1)
    assert bot.stats.delivered == [first, first, second, second]
    assert bot.stats.redelivered == 2
