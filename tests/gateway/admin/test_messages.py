"""The calls about messages: conversations, what waits, and what a person may ask of it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from jsonschema import Draft202012Validator

from gateway.admin.message_calls import ALLOWED, SHOWN
from gateway.errors import SendError
from tests.gateway.admin.house import CHAT, MAIN, AdminHouse, run

OF_CHAT = {"account": CHAT, "conversation": "one"}


async def get(house: AdminHouse, path: str, **query: Any) -> Any:
    """What is answered, held against the document."""
    status, body, _ = await house.http("GET", f"{path}?{urlencode(query)}")
    _, document, _ = await house.http("GET", "/api/v1/openapi.json")
    said = document["paths"][path]["get"]["responses"][str(status)]["content"]["application/json"]["schema"]
    Draft202012Validator(said | {"components": document["components"]}).validate(body)
    return body


async def say(house: AdminHouse, *texts: str, conversation: str = "one") -> None:
    """Somebody says this in the web chat, one after the other, and is answered."""
    house._hub._clock = house._clock
    socket = await house.sign_in()
    for text in texts:
        session = f"webchat:default:{conversation}"
        await socket.ask("chat.send", sessionKey=session, message=text, idempotencyKey=text)
        await asyncio.sleep(1)


async def send(house: AdminHouse, text: str, to: str = "42") -> int:
    body = {"channel": "telegram", "account": "main", "to": to, "text": text, "idempotency_key": text[:9]}
    status, answer, _ = await house.http("POST", "/api/v1/send", json=body)
    assert status == 202
    await asyncio.sleep(1)
    number: int = answer["id"]
    return number


def test_conversations_come_with_what_was_said_last_the_latest_first(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            await say(house, "good morning")
            await send(house, "x" * 300)
            sent, chat = (await get(house, "/api/v1/conversations"))["conversations"]
            assert (sent["channel"], sent["account"], sent["conversation"]) == ("telegram", "main", "42")
            assert (sent["sender"], sent["ours"], sent["text"], sent["state"]) == (None, True, "x" * SHOWN, "sent")
            assert (chat["channel"], chat["account"], chat["conversation"]) == ("webchat", "default", "one")
            assert (chat["ours"], chat["text"], chat["state"]) == (True, "good morning", "sent")
            assert chat["sender"]["id"]
            assert chat["at"] < sent["at"]
            assert (await get(house, "/api/v1/conversations", limit=1))["conversations"] == [sent]
            assert (await get(house, "/api/v1/conversations", account=CHAT))["conversations"] == [chat]
            assert (await get(house, "/api/v1/conversations", account="telegram/none"))["conversations"] == []

    run(main())


@pytest.mark.parametrize("text", [" ", "\n\n\t", "\u3000"])
def test_a_blank_text_is_refused_and_nothing_is_kept(tmp_path: Path, text: str) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            body = {"channel": "telegram", "account": "main", "to": "42", "text": text, "idempotency_key": "1"}
            status, answer, _ = await house.http("POST", "/api/v1/send", json=body)
            assert (status, answer["error"]["message"]) == (400, "the text is blank: there is nothing to send")
            socket = await house.sign_in()
            frame = await socket.request("send", {"to": "42", "message": text, "idempotencyKey": "1"})
            assert frame["error"]["code"] == "INVALID_REQUEST"
            assert (await get(house, "/api/v1/outbox"))["counts"] == {}

    run(main())


def test_one_that_nobody_answers_shows_what_came(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            await house.http("PATCH", "/api/v1/config", json={"routes": []}, headers={"If-Match": house.hash or ""})
            await say(house, "is anybody there")
            (chat,) = (await get(house, "/api/v1/conversations"))["conversations"]
            assert (chat["ours"], chat["text"], chat["state"]) == (False, "is anybody there", "unmatched")

    run(main())


def test_a_conversation_has_both_sides_and_says_whether_there_is_more(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            await say(house, "first", "second", "third")
            await say(house, "elsewhere", conversation="two")
            whole = await get(house, "/api/v1/conversation", **OF_CHAT)
            assert [row["text"] for row in whole["messages"]] == ["third", "second", "first"]
            assert [row["answers"] for row in whole["deliveries"]] == [row["number"] for row in whole["messages"]]
            assert not whole["more"]
            latest = await get(house, "/api/v1/conversation", limit=3, **OF_CHAT)
            assert [row["text"] for row in latest["deliveries"]] == ["third", "second"]
            assert [row["text"] for row in latest["messages"]] == ["third"]
            assert latest["more"]
            assert not (await get(house, "/api/v1/conversation", limit=6, **OF_CHAT))["more"]

    run(main())


def test_a_conversation_must_be_named(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            for query in ({}, {"account": CHAT}, {"conversation": "one"}, OF_CHAT | {"limit": 0}):
                body = await get(house, "/api/v1/conversation", **query)
                assert body["error"]["code"] == "bad_request", query

    run(main())


def test_what_waits_and_what_came_can_be_had_of_one_account(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            await say(house, "hello")
            await send(house, "and good night")
            for account, text in ((MAIN, "and good night"), (CHAT, "hello")):
                found = await get(house, "/api/v1/outbox", state="sent", account=account)
                assert [row["text"] for row in found["deliveries"]] == [text]
                assert found["counts"] == {"sent": 2}, "of all accounts"
                assert (await get(house, "/api/v1/outbox", account=account))["deliveries"] == []
            assert [row["text"] for row in (await get(house, "/api/v1/messages", account=CHAT))["messages"]] == [
                "hello"
            ]
            assert (await get(house, "/api/v1/messages", account=MAIN))["messages"] == []

    run(main())


def test_one_says_what_may_be_asked_of_it_and_the_machine_what_may_not(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            house.network.sends.append(SendError("the chat is gone", retryable=False))
            number = await send(house, "hello")
            (row,) = (await get(house, "/api/v1/outbox", state="dead"))["deliveries"]
            assert (row["why"], row["allowed"]) == ("the chat is gone", ["retry"])
            for state, allowed in (("dead", ["retry_requested"]), ("sent", [])):
                status, body, _ = await house.http("POST", f"/api/v1/outbox/{number}/discard")
                error = body["error"]
                assert (status, error["details"]["allowed"]) == (409, allowed)
                assert error["message"] == f"delivery/{number} cannot discard_requested in state {state}"
                if state == "dead":
                    status, body, _ = await house.http("POST", f"/api/v1/outbox/{number}/retry")
                    assert (status, body) == (200, {"id": number, "state": "queued"})
                    await asyncio.sleep(1)
            (row,) = (await get(house, "/api/v1/outbox", state="sent"))["deliveries"]
            assert row["allowed"] == []

    run(main())


def test_what_may_be_asked_is_what_the_table_has() -> None:
    assert ALLOWED == {
        "queued": ["discard"],
        "sending": [],
        "sent": [],
        "retry_wait": ["retry", "discard"],
        "unknown": ["retry", "discard"],
        "dead": ["retry"],
    }
