"""A Bot API server that answers whatever it likes: it is normal work or an error whose class says what follows."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.channels.base import Intake, Offsets
from gateway.channels.telegram import TelegramAdapter
from gateway.channels.telegram_answers import LONGEST_WAIT
from gateway.channels.telegram_receiver import SHORTEST_EMPTY_POLL
from gateway.channels.telegram_updates import FILES, READERS
from gateway.errors import AnswerLostError, ChannelError, ConnectionLostError, SendError
from gateway.messages.model import Format, Message, Outgoing
from gateway.messages.split import split
from tests.fuzz.profiles import tries
from tests.fuzz.values import JSON, TEXTS, nested
from tests.gateway.configs import config, telegram
from tests.virtual import run_virtual

SECRET = "AAF-a-secret-token"
TOKEN = f"1001:{SECRET}"
NAME = "telegram/main"

Answer = tuple[int, bytes]
"""Status and body."""


def bent(whole: dict[str, Any]) -> st.SearchStrategy[Any]:
    """A mapping with these fields, each of them right, missing, or anything else."""
    fields = {key: bent(value) if isinstance(value, dict) else st.just(value) for key, value in whole.items()}
    right = st.fixed_dictionaries({}, optional={key: st.one_of(value, JSON) for key, value in fields.items()})
    return st.one_of(st.fixed_dictionaries(fields), right, JSON)


PERSON = {"id": 5, "is_bot": False, "first_name": "Ann", "username": "ann"}
MESSAGE = {"message_id": 1, "date": 1_700_000_000, "chat": {"id": 7, "type": "private"}, "from": PERSON, "text": "hi"}
FILE = {"file_id": "f", "file_name": "n", "mime_type": "m/t", "file_size": 1, "is_video": True, "emoji": "😀"}
PARTS: dict[str, Any] = {
    "caption": "hi",
    "photo": [{"file_id": "f", "width": 1, "height": 2}],
    **dict.fromkeys(FILES, FILE),
    "location": {"latitude": 48.2, "longitude": 16},
    "contact": {"phone_number": "1", "first_name": "Bob"},
    "reply_to_message": {"message_id": 1},
    "message_thread_id": 3,
    "is_topic_message": True,
    "sender_chat": {"id": -1, "title": "a channel"},
}
MEDIA = st.sampled_from(sorted(PARTS)).map(lambda part: {**MESSAGE, part: PARTS[part]} | {"text": None})
PRESS = {"id": "q", "from": PERSON, "message": MESSAGE, "data": "yes"}
REACTION = {"chat": {"id": 7}, "message_id": 1, "user": PERSON, "date": 1, "new_reaction": [{"emoji": "👍"}]}
KINDS = st.sampled_from([*READERS, "a_kind_of_tomorrow"])


def an_update(number: int) -> st.SearchStrategy[Any]:
    return st.one_of(
        bent({"update_id": number, "message": MESSAGE}),
        bent({"update_id": number, "callback_query": PRESS}),
        bent({"update_id": number, "message_reaction": REACTION}),
        st.tuples(KINDS, MEDIA).flatmap(lambda of: bent({"update_id": number, of[0]: of[1]})),
    )


UPDATES = st.integers(0, 9).flatmap(an_update)
ERROR = {
    "ok": False,
    "error_code": 429,
    "description": f"no such method /bot{TOKEN}/getMe, {SECRET}",
    "parameters": {"retry_after": 3},
}
RESULTS = st.one_of(st.lists(UPDATES, max_size=4), JSON, bent({"id": 1001, "is_bot": True, "username": "bot"}))
BODIES = st.one_of(
    st.binary(max_size=40),
    st.just(100_000).map(lambda levels: nested(levels, "[", "]").encode()),
    st.sampled_from([b"", b"\xff\xfe", b'{"ok":', b"1" * 5_000]),
    JSON.map(lambda value: json.dumps(value).encode()),
    RESULTS.map(lambda value: json.dumps({"ok": True, "result": value}).encode()),
    st.one_of(bent(ERROR), st.integers(-1, 700).map(lambda code: ERROR | {"error_code": code})).map(
        lambda value: json.dumps(value).encode()
    ),
)
STATUSES = st.one_of(st.just(200), st.sampled_from([204, 301, 302, 400, 401, 403, 404, 409, 429, 500, 502, 503, 999]))
ANSWERS: st.SearchStrategy[Answer] = st.tuples(STATUSES, BODIES)
SIGNED_IN: Answer = (200, b'{"ok": true, "result": {"id": 1001}}')
POLLS = st.one_of(ANSWERS, RESULTS.map(lambda value: (200, json.dumps({"ok": True, "result": value}).encode())))


class Scripted:
    """A server that gives these answers in order, and after them none; it keeps when it was asked for what."""

    def __init__(self, answers: list[Answer]) -> None:
        self.answers = answers
        self.asked: list[tuple[float, str, int]] = []
        self.empty: list[bool] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            target = urlsplit(head.split(" ")[1])
            offset = int(parse_qs(target.query).get("offset", ["0"])[0])
            self.asked.append((asyncio.get_running_loop().time(), target.path.rpartition("/")[2], offset))
            if not self.answers:
                await asyncio.sleep(10_000)
            status, body = self.answers.pop(0)
            self.empty.append(body.replace(b" ", b"") == b'{"ok":true,"result":[]}')
            location = b"Location: http://127.0.0.1:9/elsewhere\r\n" if 300 <= status < 400 else b""
            length = b"" if status == 204 else b"Content-Length: %d\r\n" % len(body)
            writer.write(b"HTTP/1.1 %d Any\r\n%s%sConnection: close\r\n\r\n" % (status, location, length))
            writer.write(b"" if status == 204 else body)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


class Run:
    """One generation of a receiver against such a server, to its end. As a consumer it knows a message again by its id."""

    def __init__(self, answers: list[Answer]) -> None:
        self.server = Scripted(answers)
        self.delivered: list[Message] = []
        self.accepted: list[int] = [0]
        """The offsets that were taken over; the first was none."""
        self.polls_with_news: set[int] = set()
        self._known: set[str] = set()
        self._offsets = Offsets()

    @property
    def polls(self) -> list[tuple[float, int]]:
        return [(at, offset) for at, method, offset in self.server.asked if method == "getUpdates"]

    async def accept(self, identity: str, offset: int, messages: list[Message], first: int | None) -> int:
        for message in messages:
            assert msgspec.json.decode(msgspec.json.encode(message), type=Message) == message
        new = [message for message in messages if message.id not in self._known]
        self._known |= {message.id for message in new}
        self.delivered += new
        self.accepted.append(offset)
        self._offsets.set(identity, offset)
        if new:
            self.polls_with_news.add(len(self.polls))
        return len(new)

    async def room(self) -> None:
        """There is always some."""

    async def receive(self, text: str | None = None, form: Format = "plain") -> BaseException:
        """What the receiver, or the sending of a text, ended with. It ends: a server that says nothing is given up."""
        listener = await asyncio.start_server(self.server.serve, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        inside = f"token: '{TOKEN}', api_base: 'http://127.0.0.1:{port}', poll_timeout_s: 1"
        settings: Any = config(telegram(main=inside)).accounts()[NAME]
        receiver = TelegramAdapter().open(NAME, settings, Intake(self._offsets, self, lambda: None, lambda: 1))
        try:
            if text is None:
                await receiver.run()
            else:
                await receiver.send(Outgoing(1, "key", "telegram", "main", "7", text, 0, 1, format=form))
        except Exception as error:  # noqa: BLE001 - which one it is, is the question
            return error
        finally:
            await receiver.close()
            listener.close()
        raise AssertionError("it ended by itself")


def outgoing(text: str) -> Outgoing:
    return Outgoing(1, "a key", "telegram", "main", "7", text, 0, 0)


def no_secret(error: BaseException) -> bool:
    return SECRET not in f"{error}{error!r}{error.__cause__!r}"


@tries(80)
@given(me=st.one_of(st.just(SIGNED_IN), ANSWERS), polls=st.lists(POLLS, max_size=5))
def test_a_receiver_ends_in_an_error_of_ours_whatever_it_is_answered(me: Answer, polls: list[Answer]) -> None:
    """It asks from where it has accepted, wherever that is, and is not in a hurry when there is nothing new."""
    run = Run([me, *polls])
    error = run_virtual(run.receive())
    assert isinstance(error, ChannelError), repr(error)
    assert no_secret(error)
    assert 0 <= getattr(error, "retry_after", 0) <= LONGEST_WAIT
    assert {offset for _, offset in run.polls} <= set(run.accepted)
    # The first is a short one, which the first long one follows at once.
    for number, ((before, _), (after, _)) in enumerate(pairwise(run.polls[1:]), start=2):
        assert number in run.polls_with_news or after - before > SHORTEST_EMPTY_POLL * 0.99
    for message in run.delivered:
        assert message.kind in ("text", "media", "edit", "callback", "other")
        assert message.kind == "other" or int(message.conversation) is not None
        assert message.received_at >= 0


@tries(60)
@given(
    answers=st.lists(ANSWERS, min_size=1, max_size=2), text=TEXTS, form=st.sampled_from(["plain", "markdown", "html"])
)
def test_a_reply_is_sent_or_is_not_or_nobody_knows(answers: list[Answer], text: str, form: Format) -> None:
    run = Run(list(answers))
    for part in split(text, form):
        try:
            error = run_virtual(run.receive(part, form))
        except AssertionError:  # sent, and so without an error
            continue
        assert isinstance(error, (SendError, AnswerLostError)), repr(error)
        assert no_secret(error)
        assert 0 <= getattr(error, "retry_after", 0) <= LONGEST_WAIT


@pytest.mark.parametrize("answer", [b'{"ok": true, "result": []}', b'{"ok": true, "result": [{"update_id": 3}]}'])
def test_a_server_that_says_the_same_for_ever_is_not_asked_all_the_time(answer: bytes) -> None:
    """Empty at once although it was asked to wait, or what was confirmed before."""
    run = Run([SIGNED_IN, *[(200, answer)] * 20])
    error = run_virtual(run.receive())
    assert isinstance(error, ConnectionLostError)
    times = [at for at, _ in run.polls]
    assert len(times) == 21
    assert times[-1] - times[1] >= 0.99 * SHORTEST_EMPTY_POLL * (len(times) - 2)
    assert len(run.delivered) == (b"3" in answer)
