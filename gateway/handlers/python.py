"""Calls a function with the message: `def answer(message: gateway.Message) -> str | gateway.Reply | None`, async or not."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import inspect
import sys
import types
import typing
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import Any

from gateway.config.handlers import PythonHandler
from gateway.errors import HandlerError
from gateway.handlers.base import Tools, replies_of
from gateway.messages.model import Message, Reply

UNIONS = (typing.Union, types.UnionType)
SEQUENCES = (list, tuple, Sequence)


class Python:
    """One function."""

    acts_outside = True
    made_in_thread = True
    """What a module does when it is imported is its own affair, and must hold up nobody."""

    def __init__(self, name: str, settings: PythonHandler, tools: Tools) -> None:
        self._who = f"the handler {name!r} ({settings.target})"
        self._function = load(settings.target, tools.folder, self._who)
        self._is_async = inspect.iscoroutinefunction(self._function)
        # Of its own: functions that hang must not take the threads in which names are looked up and configs are read.
        self._threads = ThreadPoolExecutor(settings.concurrency, thread_name_prefix=name)

    async def handle(self, message: Message) -> Sequence[Reply]:
        try:
            if self._is_async:
                answer = await self._function(message)
            else:
                loop = asyncio.get_running_loop()
                # In a copy of the context, so that what it records of itself is of the message's trace.
                answer = await loop.run_in_executor(self._threads, copy_context().run, self._function, message)
                if inspect.isawaitable(answer):
                    answer = await answer
        except HandlerError:
            raise
        except Exception as error:
            place = _place_of(error)
            raise HandlerError(f"{self._who} raised {type(error).__name__}: {error}{place}") from error
        return replies_of(answer, self._who)

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def load(target: str, folder: Path, who: str) -> Callable[[Message], Any]:
    """The function; its module is read anew, and may lie beside the config file. Raises HandlerError that says what is wrong."""
    module_name, _, name = target.partition(":")
    try:
        module = _module(module_name, folder)
    except Exception as error:
        why = f"{type(error).__name__}: {error}{_place_of(error)}"
        raise HandlerError(f"{who}: the module {module_name} cannot be imported: {why}") from error
    function = getattr(module, name, None)
    if not callable(function):
        known = ", ".join(key for key, value in vars(module).items() if inspect.isfunction(value)) or "none"
        raise HandlerError(f"{who}: {module_name} has no function {name}; it has: {known}")
    try:
        inspect.signature(function).bind(None)
    except (TypeError, ValueError) as error:
        given = f"{name}{inspect.signature(function)}"
        raise HandlerError(f"{who}: it is called with the message alone, and {given} cannot be ({error})") from error
    _check_annotations(function, who)
    return function  # type: ignore[no-any-return]


def _check_annotations(function: Callable[..., Any], who: str) -> None:
    """What it says of itself is held against what it will be given, and must return. Raises HandlerError."""
    called = function if inspect.isroutine(function) else type(function).__call__
    if inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called):
        raise HandlerError(f"{who}: it yields, and must return")
    try:
        hints = typing.get_type_hints(called)
    except Exception:  # noqa: BLE001 - whatever a name stands for that only type checkers know
        return
    first = next(iter(inspect.signature(function).parameters))
    if first in hints and not _takes_message(hints[first]):
        raise HandlerError(f"{who}: its parameter is said to be {_named(hints[first])}, and is a gateway.Message")
    if "return" in hints and not _is_answer(hints["return"]):
        raise HandlerError(
            f"{who}: it is said to return {_named(hints['return'])}, and not a text, a gateway.Reply, a list of them, or None"
        )


def _takes_message(hint: Any) -> bool:
    if typing.get_origin(hint) in UNIONS:
        return any(map(_takes_message, typing.get_args(hint)))
    return hint is Any or not isinstance(hint, type) or issubclass(Message, hint)


def _is_answer(hint: Any) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in UNIONS or origin in SEQUENCES:
        return all(_is_answer(each) for each in arguments if each is not ...)
    if hint is Any or origin is not None or not isinstance(hint, type):
        return True  # a mapping, something to await, or what only type checkers know
    return hint is object or issubclass(hint, (str, Reply, type(None), dict, list, tuple))


def _named(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)


def _module(name: str, folder: Path) -> Any:
    """Beside the config file first: that is where somebody who writes a bot puts it."""
    file = folder.joinpath(*name.split(".")).with_suffix(".py")
    if not file.exists():
        importlib.invalidate_caches()
        known = sys.modules.get(name)
        return importlib.reload(known) if known is not None else importlib.import_module(name)
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Compiled from what the file holds now: a compiled copy of the same second may be of another text.
    exec(compile(file.read_bytes(), str(file), "exec"), module.__dict__)  # noqa: S102 - it is the operator's own program
    sys.modules[name] = module
    return module


def _place_of(error: BaseException) -> str:
    """Where it was raised, as file and line."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f" ({Path(trace.tb_frame.f_code.co_filename).name}, line {trace.tb_lineno})"
