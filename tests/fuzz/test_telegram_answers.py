"""A Bot API server that answers whatever it likes: it is normal work or an error whose class says what follows."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.channels.base import Intake, Offsets
from gateway.channels.telegram import SHORTEST_EMPTY_POLL, TelegramAdapter
from gateway.channels.telegram_answers import LONGEST_WAIT
from gateway.errors import AnswerLostError, ChannelError, ConnectionLostError, SendError
from gateway.messages.model import Message, Outgoing
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
UPDATES = st.integers(0, 9).flatmap(lambda number: bent({"update_id": number, "message": MESSAGE}))
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
    """One generation of a receiver against such a server, to its end."""

    def __init__(self, answers: list[Answer]) -> None:
        self.server = Scripted(answers)
        self.delivered: list[Message] = []
        self.offsets = Offsets()

    async def accept(self, identity: str, offset: int, messages: list[Message]) -> None:
        self.delivered += messages
        self.offsets.set(identity, offset)

    async def room(self) -> None:
        """There always is."""

    async def receive(self, text: str | None = None) -> BaseException:
        """What the receiver, or the sending of a text, ended with. It ends: a server that says nothing is given up."""
        listener = await asyncio.start_server(self.server.serve, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        inside = f"token: '{TOKEN}', api_base: 'http://127.0.0.1:{port}', poll_timeout_s: 1"
        settings = config(telegram(main=inside)).accounts()[NAME]
        adapter = TelegramAdapter()
        receiver = adapter.open(NAME, settings, Intake(self.offsets, self, lambda: None, lambda: 1))  # type: ignore[arg-type]
        try:
            await (receiver.run() if text is None else receiver.send(outgoing(text)))
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
    """And its offset never goes back, and it is not in a hurry when there is nothing."""
    run = Run([me, *polls])
    error = run_virtual(run.receive())
    assert isinstance(error, ChannelError), repr(error)
    assert no_secret(error)
    assert 0 <= getattr(error, "retry_after", 0) <= LONGEST_WAIT
    offsets = [offset for _, method, offset in run.server.asked if method == "getUpdates"]
    assert offsets == sorted(offsets)
    times = [at for at, _, _ in run.server.asked]
    for number, empty in enumerate(run.server.empty[2:-1], start=2):
        assert not empty or times[number + 1] - times[number] > SHORTEST_EMPTY_POLL * 0.99
    ids = [int(message.id.rpartition(":")[2]) for message in run.delivered]
    assert ids == sorted(set(ids))
    for message in run.delivered:
        assert isinstance(message.text, str)
        json.dumps(message.text).encode()
        message.text.encode()
        assert int(message.conversation) is not None
        assert message.received_at >= 0


@tries(40)
@given(answers=st.lists(ANSWERS, min_size=1, max_size=2), text=TEXTS)
def test_a_reply_is_sent_or_known_not_to_be_or_nobody_knows(answers: list[Answer], text: str) -> None:
    run = Run(list(answers))
    try:
        error = run_virtual(run.receive(text))
    except AssertionError:  # sent, and so without an error
        return
    assert isinstance(error, (SendError, AnswerLostError)), repr(error)
    assert no_secret(error)
    assert 0 <= getattr(error, "retry_after", 0) <= LONGEST_WAIT


@pytest.mark.parametrize("answer", [b'{"ok": true, "result": []}', b'{"ok": true, "result": [{"update_id": 3}]}'])
def test_a_server_that_says_the_same_for_ever_is_not_asked_all_the_time(answer: bytes) -> None:
    """Empty at once although it was asked to wait, or what was confirmed before."""
    run = Run([SIGNED_IN, *[(200, answer)] * 20])
    error = run_virtual(run.receive())
    assert isinstance(error, ConnectionLostError)
    times = [at for at, method, _ in run.server.asked if method == "getUpdates"]
    assert times[-1] - times[1] >= 0.99 * SHORTEST_EMPTY_POLL * (len(times) - 2)
    assert len(run.delivered) == 0
