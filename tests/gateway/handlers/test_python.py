"""A function as a handler: found, checked when it is loaded, called, and read anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.handlers import PythonHandler
from gateway.errors import HandlerError
from gateway.handlers.python import Python
from gateway.messages.model import Reply
from tests.gateway.handlers.desk import MESSAGE, tools


def make(folder: Path, source: str, target: str = "bot:answer") -> Python:
    (folder / "bot.py").write_text(source)
    return Python("mine", PythonHandler(type="python", target=target), tools(folder))


@pytest.mark.parametrize(
    ("source", "replies"),
    [
        ("def answer(message): return message.text.upper()", (Reply("HELLO"),)),
        ("async def answer(message): return message.text.upper()", (Reply("HELLO"),)),
        (
            "import gateway\ndef answer(message: gateway.Message): return gateway.Reply('*x*', format='markdown')",
            (Reply("*x*", "markdown"),),
        ),
        ("def answer(message): return None", ()),
        ("def answer(message): return ['a', {'text': 'b'}, '']", (Reply("a"), Reply("b"))),
        ("class Bot:\n    def __call__(self, message): return 'called'\nanswer = Bot()", (Reply("called"),)),
        ("def answer(message, loud=False): return 'one is enough'", (Reply("one is enough"),)),
    ],
)
async def test_what_it_returns_is_the_reply(tmp_path: Path, source: str, replies: tuple[Reply, ...]) -> None:
    assert tuple(await make(tmp_path, source).handle(MESSAGE)) == replies


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("def answer(message): return 5", "gave int, and not a text"),
        ("def answer(message): return object()", "gave object"),
        ("def answer(message): return {'words': 'x'}", "a reply that is none"),
        ("def answer(message): return 'x' * 1_000_001", "a reply of 1,000,001 characters"),
        ("def answer(message):\n    return 1 / 0", "raised ZeroDivisionError: division by zero (bot.py, line 2)"),
        ("def answer(message): raise KeyError('x')", "raised KeyError"),
    ],
)
async def test_rubbish_and_errors_are_told_with_their_place(tmp_path: Path, source: str, why: str) -> None:
    handler = make(tmp_path, source)
    with pytest.raises(HandlerError, match="the handler 'mine'") as caught:
        await handler.handle(MESSAGE)
    assert why in str(caught.value)
    assert not caught.value.retryable


async def test_it_says_itself_what_can_be_tried_again(tmp_path: Path) -> None:
    handler = make(
        tmp_path,
        "from gateway.errors import HandlerError\n"
        "def answer(message): raise HandlerError('later', retryable=True, after=3.0)",
    )
    with pytest.raises(HandlerError, match="later") as caught:
        await handler.handle(MESSAGE)
    assert (caught.value.retryable, caught.value.after) == (True, 3.0)


@pytest.mark.parametrize(
    ("source", "target", "why"),
    [
        ("x = 1", "bot:answer", "bot has no function answer; it has: none"),
        ("def reply(m): ...", "bot:answer", "it has: reply"),
        ("def answer(): ...", "bot:answer", "called with the message alone, and answer() cannot be"),
        ("def answer(a, b): ...", "bot:answer", "answer(a, b) cannot be"),
        ("def answer(m:", "bot:answer", "cannot be imported: SyntaxError"),
        ("1 / 0", "bot:answer", "cannot be imported: ZeroDivisionError: division by zero (bot.py, line 1)"),
        ("", "no_such_module_at_all:answer", "cannot be imported: ModuleNotFoundError"),
    ],
)
def test_what_cannot_be_loaded_says_why(tmp_path: Path, source: str, target: str, why: str) -> None:
    with pytest.raises(HandlerError) as caught:
        make(tmp_path, source, target)
    assert why in str(caught.value)


async def test_a_changed_module_is_read_anew(tmp_path: Path) -> None:
    first = make(tmp_path, "def answer(message): return 'one'")
    second = make(tmp_path, "def answer(message): return 'two'")
    assert tuple(await second.handle(MESSAGE)) == (Reply("two"),)
    assert tuple(await first.handle(MESSAGE)) == (Reply("one"),)


async def test_a_function_that_blocks_does_not_block_the_loop(tmp_path: Path) -> None:
    import asyncio
    import threading

    handler = make(tmp_path, "import threading\ndef answer(message): return threading.current_thread().name")
    (reply,) = await handler.handle(MESSAGE)
    assert reply.text != threading.current_thread().name
    assert asyncio.get_running_loop().is_running()
