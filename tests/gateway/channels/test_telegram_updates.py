"""Every kind of update as a message: what is taken from it, and that nothing chokes on the rest."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given

from gateway.channels.telegram_updates import READERS, callback_of, message_of
from gateway.messages.model import Attachment, Message
from gateway.messages.routes import is_allowed
from tests.fuzz.profiles import tries
from tests.fuzz.values import JSON

NOW = 1_700_000_000_000
BLANK = Message("telegram:1001:5", "telegram", "main", "", "", "", "", NOW, kind="other")
ANN = {"id": 5, "is_bot": False, "first_name": "Ann", "last_name": "Lee", "username": "ann"}
HEAD = {"message_id": 41, "date": 1_600_000_000, "chat": {"id": -7, "type": "supergroup"}, "from": ANN}
FILE = {"file_id": "AgAD", "file_unique_id": "u", "file_name": "a.pdf", "mime_type": "application/pdf", "file_size": 99}


def read(kind: str = "message", **body: Any) -> Message:
    """The message that an update with these fields is."""
    return message_of(BLANK, {"update_id": 5, kind: HEAD | body})


def bare(*names: str) -> dict[str, Any]:
    return {name: value for name, value in FILE.items() if name in names}


def test_a_text() -> None:
    assert read(text="hello") == Message(
        "telegram:1001:5", "telegram", "main", "-7", "5", "ann", "hello", 1_600_000_000_000, network_id="41"
    )


def test_an_empty_text_is_one() -> None:
    assert (read(text="").kind, read(text="").text) == ("text", "")


def test_a_text_of_100000_characters_and_one_with_everything_in_it() -> None:
    for text in ("ä" * 100_000, "\0 \u202ertl\u200f \U0010fffd"):
        assert read(text=text).text == text
    assert read(text="a\ud800b").text == "a\ufffdb"


ATTACHMENTS: dict[str, tuple[dict[str, Any], Attachment]] = {
    "document": ({"document": FILE}, Attachment("document", "AgAD", "a.pdf", "application/pdf", 99)),
    "audio": ({"audio": FILE}, Attachment("audio", "AgAD", "a.pdf", "application/pdf", 99)),
    "voice": ({"voice": bare("file_id", "mime_type")}, Attachment("voice", "AgAD", "", "application/pdf")),
    "video": ({"video": FILE}, Attachment("video", "AgAD", "a.pdf", "application/pdf", 99)),
    "video note": ({"video_note": bare("file_id", "file_size")}, Attachment("video", "AgAD", size=99)),
    "animation": (
        {"animation": FILE, "document": FILE},
        Attachment("animation", "AgAD", "a.pdf", "application/pdf", 99),
    ),
    "sticker": ({"sticker": bare("file_id")}, Attachment("sticker", "AgAD", mime="image/webp")),
    "animated sticker": (
        {"sticker": {"file_id": "AgAD", "is_animated": True}},
        Attachment("sticker", "AgAD", mime="application/x-tgsticker"),
    ),
    "video sticker": (
        {"sticker": {"file_id": "AgAD", "is_video": True}},
        Attachment("sticker", "AgAD", mime="video/webm"),
    ),
    "location": ({"location": {"latitude": 48.2, "longitude": -16}}, Attachment("location", "geo:48.2,-16")),
    "venue": (
        {"venue": {"title": "Prater"}, "location": {"latitude": 48.2, "longitude": 16.4}},
        Attachment("location", "geo:48.2,16.4", "Prater"),
    ),
    "contact": (
        {"contact": {"phone_number": "+43", "first_name": "Bob", "last_name": "Ray"}},
        Attachment("contact", "+43", "Bob Ray"),
    ),
}


@pytest.mark.parametrize(("body", "attachment"), ATTACHMENTS.values(), ids=list(ATTACHMENTS))
def test_what_comes_with_a_message_comes_by_reference(body: dict[str, Any], attachment: Attachment) -> None:
    message = read(**body, caption="look")
    assert (message.kind, message.text, message.attachments) == ("media", "look", (attachment,))
    assert (message.conversation, message.network_id) == ("-7", "41")


def test_of_a_photo_the_largest_size_is_taken() -> None:
    sizes = [{"file_id": str(width), "width": width, "height": 2, "file_size": 9} for width in (90, 800, 320)]
    message = read(photo=[*sizes, "no size", {"file_id": "none"}])
    assert message.attachments == (Attachment("photo", "800", "", "image/jpeg", 9),)
    assert (message.kind, message.text) == ("media", "")


def test_a_sticker_says_its_emoji() -> None:
    assert read(sticker={"file_id": "AgAD", "emoji": "👍"}).text == "👍"


@pytest.mark.parametrize("kind", ["edited_message", "edited_channel_post"])
@pytest.mark.parametrize(("body", "files"), [({"text": "new"}, 0), ({"caption": "new", "video": FILE}, 1)])
def test_an_edit(kind: str, body: dict[str, Any], files: int) -> None:
    edit = read(kind, **body, edit_date=1_650_000_000)
    assert (edit.kind, edit.text, len(edit.attachments)) == ("edit", "new", files)
    assert (edit.network_id, edit.received_at) == ("41", 1_650_000_000_000)


def test_a_press_of_a_button() -> None:
    under = HEAD | {
        "from": {"id": 1001, "is_bot": True},
        "text": "Sure?",
        "message_thread_id": 3,
        "is_topic_message": True,
    }
    update = {"update_id": 5, "callback_query": {"id": "77", "from": ANN, "message": under, "data": "yes"}}
    press = message_of(BLANK, update)
    assert (press.kind, press.text, press.sender_id, press.sender_name) == ("callback", "yes", "5", "ann")
    assert (press.conversation, press.thread, press.reply_to, press.network_id) == ("-7", "3", "41", "41")
    assert press.received_at == NOW, "the message above the button is older"
    assert callback_of(update) == "77"


def test_a_press_under_a_message_that_is_gone_is_said_to_the_bot_alone() -> None:
    update = {"callback_query": {"id": "77", "from": ANN, "inline_message_id": "i", "game_short_name": "chess"}}
    press = message_of(BLANK, update)
    assert (press.kind, press.text, press.conversation, press.reply_to) == ("callback", "", "5", None)


def test_a_reaction() -> None:
    body = {"user": ANN, "new_reaction": [{"type": "emoji", "emoji": "👍"}, {"type": "paid"}], "date": 1_600_000_001}
    reaction = message_of(BLANK, {"message_reaction": {"chat": {"id": -7}, "message_id": 41, **body}})
    assert (reaction.kind, reaction.text, reaction.reply_to, reaction.sender_id) == ("other", "👍", "41", "5")
    assert reaction.received_at == 1_600_000_001_000


def test_a_reply_names_what_it_answers() -> None:
    assert read(text="yes", reply_to_message=HEAD | {"message_id": 40, "text": "Sure?"}).reply_to == "40"


def test_a_topic_is_a_thread_and_its_beginning_is_not_answered() -> None:
    begin = HEAD | {"message_id": 3, "forum_topic_created": {"name": "Cats"}}
    message = read(text="hi", message_thread_id=3, is_topic_message=True, reply_to_message=begin)
    assert (message.thread, message.reply_to) == ("3", None)


def test_a_reply_in_a_group_without_topics_is_in_no_thread() -> None:
    """It has the number of one all the same, and what is sent there is refused."""
    assert read(text="yes", message_thread_id=40, reply_to_message=HEAD | {"message_id": 40}).thread is None


# Who said it


@pytest.mark.parametrize(
    ("who", "sender"),
    [
        ({"from": ANN}, ("5", "ann")),
        ({"from": {"id": 5, "first_name": "Ann", "last_name": "Lee"}}, ("5", "Ann Lee (5)")),
        ({"from": {"id": 5}}, ("5", "")),
        ({"from": {"id": "5"}}, ("-7", "")),
        ({"from": None, "sender_chat": {"id": -9, "title": "News"}}, ("-9", "News (-9)")),
        ({"from": None, "sender_chat": {"id": -9, "title": "News", "username": "news"}}, ("-9", "news")),
        ({"from": None}, ("-7", "")),
    ],
)
def test_who_said_it(who: dict[str, Any], sender: tuple[str, str]) -> None:
    message = read("channel_post", text="hello", **who)
    assert (message.sender_id, message.sender_name) == sender


def test_nobody_passes_for_an_at_name_by_being_called_so() -> None:
    people: list[dict[str, Any]] = [{"id": 5, "first_name": "A", "username": "boss"}, {"id": 6, "first_name": "boss"}]
    honest, forged = (message_of(BLANK, {"message": HEAD | {"text": "hello", "from": person}}) for person in people)
    assert is_allowed(("@boss",), honest)
    assert not is_allowed(("@boss",), forged)


# What is not known


@pytest.mark.parametrize(
    "update",
    [
        {},
        {"a_kind_of_tomorrow": {"chat": {"id": 7}}},
        {"message": None},
        {"message": "hello"},
        {"message": {"text": "in no chat"}},
        {"message": {"text": "in no chat", "chat": {"id": "7"}}},
        {"edited_message": {"text": "in no chat"}},
        {"message_reaction": {}},
        {"callback_query": {"data": "pressed by nobody, nowhere"}},
        {"callback_query": {"data": "yes", "from": {"id": "5"}, "message": {"chat": {}}}},
    ],
)
def test_what_nothing_is_known_of_is_kept_as_that(update: dict[str, Any]) -> None:
    assert message_of(BLANK, update) == BLANK


@pytest.mark.parametrize(
    "body",
    [
        {"new_chat_members": [ANN]},
        {"pinned_message": HEAD},
        {"photo": []},
        {"photo": [3]},
        {"document": "AgAD"},
        {"location": {"latitude": "48", "longitude": 16}},
        {"location": {"latitude": float("nan"), "longitude": 16}},
        {"dice": {"emoji": "🎲", "value": 3}},
        {"text": None},
    ],
)
def test_what_is_neither_text_nor_file_is_other_and_says_where(body: dict[str, Any]) -> None:
    message = read(**body)
    assert (message.kind, message.text, message.conversation, message.sender_id) == ("other", "", "-7", "5")


@tries(200)
@given(body=JSON, inner=JSON)
def test_nothing_chokes(body: Any, inner: Any) -> None:
    fields = (
        "chat",
        "from",
        "text",
        "photo",
        "document",
        "location",
        "contact",
        "reply_to_message",
        "message",
        "data",
        "date",
    )
    for kind in READERS:
        for update in ({kind: body}, *({kind: HEAD | {field: inner}} for field in fields)):
            message = message_of(BLANK, update)
            assert msgspec.json.decode(msgspec.json.encode(message), type=Message) == message
            assert message.id == BLANK.id
