"""Calls a function with the message: `def answer(message: gateway.Message) -> str | gateway.Reply | None`, async or not."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gateway.config.handlers import PythonHandler
from gateway.errors import HandlerError
from gateway.handlers.base import Tools, replies_of
from gateway.messages.model import Message, Reply


class Python:
    """One function."""

    acts_outside = True
    made_in_thread = True
    """What a module does when it is imported is its own affair, and must hold up nobody."""

    def __init__(self, name: str, settings: PythonHandler, tools: Tools) -> None:
        self._who = f"the handler {name!r} ({settings.target})"
        self._function = load(settings.target, tools.folder, self._who)
        self._is_async = inspect.iscoroutinefunction(self._function)

    async def handle(self, message: Message) -> Sequence[Reply]:
        try:
            if self._is_async:
                answer = await self._function(message)
            else:
                answer = await asyncio.to_thread(self._function, message)
                if inspect.isawaitable(answer):
                    answer = await answer
        except HandlerError:
            raise
        except Exception as error:
            place = _place_of(error)
            raise HandlerError(f"{self._who} raised {type(error).__name__}: {error}{place}") from error
        return replies_of(answer, self._who)

    async def close(self) -> None:
        """Nothing is open."""


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
    return function  # type: ignore[no-any-return]


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
