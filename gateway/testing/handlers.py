"""What every handler promises, whatever it does. Its own test module runs these against it.

Time is real here: what handlers talk to is. Whoever is asked must be there, and answer within a second or so.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec
import pytest

from gateway.config.handlers import Handler as Settings
from gateway.config.plan import reload_class
from gateway.config.validate import fields_of
from gateway.errors import HandlerError
from gateway.handlers.base import Handler, Make, Tools
from gateway.messages.model import Attachment, Message, Reply

PATIENCE = 10.0
MESSAGE = Message(
    "telegram:1:5", "telegram", "main", "77", "9", "ann", "hello", 1_700_000_000_000, kind="media",
    attachments=(Attachment("photo", "a-file", size=12),), reply_to="3",
)  # fmt: skip
HARD_TEXTS = {
    "empty": "",
    "blank": " \n\t",
    "100,000 characters": "x" * 100_000,
    "every plane": "".join(chr(plane * 0x10000 + 0x41) for plane in range(17)),
    "NUL": "a\0b",
    "right to left": "\u202eabc\u202c",
    "line ends": "a\r\nb\u2028c",
    "braces": "{} {0} {text} ${HOME} %s",
    "quotes": "'\"\\`$(true)",
    "JSON": '{"text": "x"}',
}


class HandlerContract:
    """Subclass it as `Test...` with the fixtures `maker` and `settings`: what makes the handler, and what of."""

    name = "mine"

    @pytest.fixture
    def tools(self, tmp_path: Path) -> Tools:
        async def typing(_: Message) -> None:
            """Nobody sees it."""

        async def said(_: Message, limit: int) -> list[tuple[str, str]]:
            return [("user", "earlier"), ("assistant", "yes")][-limit:]

        return Tools(tmp_path, typing, said)

    @pytest.fixture
    async def handler(self, maker: Make, settings: Any, tools: Tools) -> AsyncIterator[Handler]:
        handler = maker(self.name, settings, tools)
        yield handler
        await handler.close()

    async def ask(self, handler: Handler, message: Message = MESSAGE) -> Sequence[Reply]:
        """What it answers, held against what an answer is."""
        async with asyncio.timeout(PATIENCE):
            replies = await handler.handle(message)
        assert isinstance(replies, (list, tuple))
        assert all(isinstance(reply, Reply) for reply in replies), replies
        return replies

    def test_its_settings_are_declared(self, settings: Any) -> None:
        """Derived from `gateway.config.handlers.Handler`, of one type; each field says what it means, and is LIVE or more."""
        model = type(settings)
        assert issubclass(model, Settings)
        fields = fields_of(model)
        kind = get_args(fields["type"].type)[0]
        assert get_origin(kind) is Literal
        assert get_args(kind) == (settings.type,)
        for name, field in fields.items():
            reload_class(field)
            said = [mark.description for mark in field.type.__metadata__ if isinstance(mark, msgspec.Meta)]
            assert any(said), f"{name} has no description"

    async def test_it_says_whether_it_does_more_than_answer(self, handler: Handler) -> None:
        assert isinstance(handler.acts_outside, bool)

    async def test_made_and_never_asked_it_leaves_nothing(self, maker: Make, settings: Any, tools: Tools) -> None:
        before = asyncio.all_tasks()
        await maker(self.name, settings, tools).close()
        await until(lambda: asyncio.all_tasks() <= before)

    async def test_its_answer_is_replies(self, handler: Handler) -> None:
        await self.ask(handler)

    @pytest.mark.parametrize("text", HARD_TEXTS.values(), ids=HARD_TEXTS)
    async def test_whatever_is_said_it_answers_or_says_why_not(self, handler: Handler, text: str) -> None:
        """HandlerError is the one way to say it, and names the handler."""
        said = self.name
        try:
            await self.ask(handler, msgspec.structs.replace(MESSAGE, text=text))
        except HandlerError as error:
            said = str(error)
        assert self.name in said

    async def test_one_without_a_name_or_attachments(self, handler: Handler) -> None:
        bare = msgspec.structs.replace(MESSAGE, sender_name="", attachments=(), reply_to=None, kind="text")
        await self.ask(handler, bare)

    async def test_many_are_answered_at_once_and_each_is_its_own(self, handler: Handler) -> None:
        texts = [f"number {number}" for number in range(8)]
        messages = [msgspec.structs.replace(MESSAGE, id=f"telegram:1:{text}", text=text) for text in texts]
        alone = [await self.ask(handler, message) for message in messages]
        assert list(await asyncio.gather(*(self.ask(handler, message) for message in messages))) == alone

    @pytest.mark.parametrize("turns", [0, 1, 2, 5, 20])
    async def test_given_up_it_ends_and_leaves_nothing(self, handler: Handler, turns: int) -> None:
        """And can be asked again."""
        with family() as tasks:
            asked = asyncio.ensure_future(handler.handle(MESSAGE))
            tasks.add(asked)
            for _ in range(turns):
                await asyncio.sleep(0)
            asked.cancel()
            await asyncio.wait({asked}, timeout=PATIENCE)
            assert asked.done(), "it does not let itself be cancelled"
            await until(lambda: all(task.done() for task in tasks))
        await self.ask(handler)


@contextlib.contextmanager
def family() -> Iterator[set[asyncio.Future[Any]]]:
    """Put a task in, and all that it begins, and what that begins, is put in too."""
    loop, tasks = asyncio.get_running_loop(), set[asyncio.Future[Any]]()

    def make(_: asyncio.AbstractEventLoop, work: Any, **how: Any) -> asyncio.Task[Any]:
        task = asyncio.Task(work, loop=loop, **how)
        if asyncio.current_task() in tasks:
            tasks.add(task)
        return task

    before = loop.get_task_factory()
    loop.set_task_factory(make)
    try:
        yield tasks
    finally:
        loop.set_task_factory(before)


async def until(holds: Callable[[], bool]) -> None:
    """Return when it holds."""
    async with asyncio.timeout(PATIENCE):
        while not holds():
            await asyncio.sleep(0.005)
