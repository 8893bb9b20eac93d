"""Logs: console style on a terminal, JSON lines otherwise; one processor keeps secrets out of both."""

from __future__ import annotations

import logging
import os
import sys
import threading
from contextlib import suppress
from types import TracebackType
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from gateway.logtail import LogTail
from gateway.redact import Redactor

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class LevelFilter:
    """Drops what is below the level, which may change while the gateway runs."""

    def __init__(self, level: str) -> None:
        self.level = level

    def __call__(self, _: WrappedLogger, method: str, event: EventDict) -> EventDict:
        if LEVELS.get(method, 40) < LEVELS[self.level]:
            raise structlog.DropEvent
        return event


class _Forward(logging.Handler):
    """Libraries log through the standard library; their lines take the same road as ours."""

    def emit(self, record: logging.LogRecord) -> None:
        logger = structlog.get_logger()
        report = getattr(logger, record.levelname.lower(), logger.error)
        report("library", logger=record.name, message=record.getMessage(), exc_info=record.exc_info)


class Lines:
    """Writes lines. One that cannot be written, on a full disk or when its reader has gone, is lost, and stops nothing."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._descriptor: int | None = None
        with suppress(OSError, AttributeError):  # a stream in memory, or none: the process was started without one
            self._descriptor = None if stream is None else stream.fileno()

    def msg(self, line: str) -> None:
        with suppress(OSError):
            if self._descriptor is not None:
                # Past the stream's buffer, which would keep what could not be written, and fail with it at the very end.
                os.write(self._descriptor, f"{line}\n".encode(errors="backslashreplace"))
            elif self._stream is not None:
                print(line, file=self._stream, flush=True)

    debug = info = warning = error = critical = msg


def configure(level: str, style: str, redactor: Redactor, tail: LogTail) -> LevelFilter:
    """Set up logging for the process. `style` is auto, console or json. Returns the filter, to change the level.

    Every line goes to `tail` as well, as JSON whatever the style.
    """
    wanted = LevelFilter(level)
    console = style == "console" or (style == "auto" and sys.stderr is not None and sys.stderr.isatty())

    def redact(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        return {key: redactor.tree(value) for key, value in event.items()}

    as_json = structlog.processors.JSONRenderer(default=str)
    as_text = structlog.dev.ConsoleRenderer() if console else None

    def render(logger: WrappedLogger, method: str, event: EventDict) -> str:
        """Redacted once more: an object becomes text only when it is rendered."""
        line = redactor.text(str(as_json(logger, method, dict(event))))
        tail.add(line)
        return line if as_text is None else redactor.text(as_text(logger, method, event))

    bound = structlog.contextvars.merge_contextvars
    first: list[Processor] = [wanted, bound, structlog.processors.add_log_level, structlog.processors.format_exc_info]
    lines = Lines(sys.stderr)
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=not console)
    structlog.configure(
        processors=[*first, stamp, redact, render],
        wrapper_class=structlog.BoundLogger,
        logger_factory=lambda: lines,
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_Forward()], level=logging.WARNING, force=True)
    return wanted


def tell_of_crashes() -> None:
    """What nobody catches goes into the log from now on, and not past it: what an error says may hold a secret.

    For a process of our own. Python would write it to standard error as it is.
    """

    def crashed(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        structlog.get_logger().critical("crashed", exc_info=(kind, error, trace))

    def thread_crashed(given: threading.ExceptHookArgs) -> None:
        thread = None if given.thread is None else given.thread.name
        error = given.exc_value or given.exc_type()
        structlog.get_logger().error(
            "thread_crashed", thread=thread, exc_info=(given.exc_type, error, given.exc_traceback)
        )

    def ignored(given: sys.UnraisableHookArgs) -> None:
        error = given.exc_value or given.exc_type()
        where = repr(given.object)
        structlog.get_logger().error(
            "error_ignored", where=where, exc_info=(given.exc_type, error, given.exc_traceback)
        )

    sys.excepthook, threading.excepthook, sys.unraisablehook = crashed, thread_crashed, ignored
    logging.captureWarnings(capture=True)
