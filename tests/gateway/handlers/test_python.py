"""A function as a handler: found, checked when it is loaded, called, and read anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.handlers import PythonHandler
from gateway.errors import HandlerError
from gateway.handlers.python import Python
from gateway.messages.model import Reply
from tests.gateway.handlers.desk import MESSAGE, tools


def make(folder: Path, source: str, target: str = "bot:answer", **settings: int) -> Python:
    (folder / "bot.py").write_text(source)
    return Python("mine", PythonHandler(type="python", target=target, **settings), tools(folder))


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
        ("def answer(m: int): ...", "bot:answer", "its parameter is said to be int, and is a gateway.Message"),
        ("def answer(m: int | None): ...", "bot:answer", "its parameter is said to be int | None"),
        ("def answer(m) -> int: ...", "bot:answer", "it is said to return int"),
        ("async def answer(m) -> list[bytes]: ...", "bot:answer", "it is said to return list[bytes]"),
        ("def answer(m) -> 'str | float': ...", "bot:answer", "it is said to return str | float"),
        ("class Bot:\n    def __call__(self, m: dict): ...\nanswer = Bot()", "bot:answer", "said to be dict"),
        ("def answer(m): yield 'a'", "bot:answer", "it yields, and must return"),
        ("async def answer(m): yield 'a'", "bot:answer", "it yields, and must return"),
    ],
)
def test_what_cannot_be_loaded_says_why(tmp_path: Path, source: str, target: str, why: str) -> None:
    with pytest.raises(HandlerError) as caught:
        make(tmp_path, source, target)
    assert why in str(caught.value)


@pytest.mark.parametrize(
    "signature",
    [
        "(m: gateway.Message) -> str | gateway.Reply | None",
        "(m: 'gateway.Message') -> 'list[str | gateway.Reply]'",
        "(m: Any) -> Any",
        "(m: object) -> None",
        "(m: gateway.Message | None) -> Optional[tuple[str, ...]]",
        "(m: NoSuchNameAtAll) -> 'nor this one'",
        "(m) -> Awaitable[str]",
        "(m) -> dict[str, str]",
        "(m) -> Text",
    ],
)
def test_a_signature_that_says_what_is_true_is_taken(tmp_path: Path, signature: str) -> None:
    """And one that says what only a type checker knows."""
    head = "from __future__ import annotations\nimport gateway\nfrom typing import Any, Awaitable, Optional, NewType\n"
    make(tmp_path, f"{head}Text = NewType('Text', str)\ndef answer{signature}: ...")


async def test_functions_that_hang_take_threads_of_nobody_else(tmp_path: Path) -> None:
    """Whoever else needs a thread (names are looked up in one, configs read) has it, however many of ours hang."""
    import asyncio
    import os
    import sys
    import threading

    sys.let_them_go = threading.Event()  # type: ignore[attr-defined]
    handler = make(tmp_path, "import sys\ndef answer(message): sys.let_them_go.wait(30)", concurrency=64)
    asked = [asyncio.ensure_future(handler.handle(MESSAGE)) for _ in range((os.cpu_count() or 1) + 10)]
    for _ in range(3):
        await asyncio.sleep(0)  # each has asked for its thread
    try:
        async with asyncio.timeout(10):
            assert await asyncio.to_thread(lambda: "a thread") == "a thread"
            await handler.close()
    finally:
        sys.let_them_go.set()  # type: ignore[attr-defined]
    await asyncio.gather(*asked)


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
