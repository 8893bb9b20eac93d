"""Log lines: their form, their level, and that no secret is in any of them."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from gateway.log import LevelFilter, configure, tell_of_crashes
from gateway.logtail import LogTail
from gateway.redact import MARK, Redactor, Secret

TOKEN = "1001:AAF-secret"
URL = f"https://api.telegram.org/bot{TOKEN}/getUpdates"


class Log:
    """The process's log, set up as the gateway does it, and what was written to it."""

    def __init__(self, style: str = "json", level: str = "info") -> None:
        self.written = io.StringIO()
        self.redactor = Redactor()
        self.tail = LogTail()
        self.redactor.learn([TOKEN])
        stderr, sys.stderr = sys.stderr, self.written
        try:
            self.filter: LevelFilter = configure(level, style, self.redactor, self.tail)
        finally:
            sys.stderr = stderr
        self.logger: Any = structlog.get_logger()

    @property
    def text(self) -> str:
        return self.written.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    for handler in handlers:
        root.removeHandler(handler)  # or it would be closed
    yield
    structlog.reset_defaults()
    root.handlers[:], root.level = handlers, level


def test_a_line_says_what_it_is_said_within() -> None:
    """Of libraries, too: what is logged while a message is handled says its trace."""
    log = Log()
    with structlog.contextvars.bound_contextvars(trace_id="abc", of=TOKEN):
        log.logger.info("handled")
        logging.getLogger("aiohttp").warning("slow")
    log.logger.info("after")
    assert [line.get("trace_id") for line in log.lines] == ["abc", "abc", None]
    assert TOKEN not in log.text


def test_a_line_is_json() -> None:
    log = Log()
    log.logger.info("transition", machine="telegram/main", seq=3)
    (line,) = log.lines
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "transition", "machine": "telegram/main", "seq": 3, "level": "info"}


def test_on_a_terminal_it_is_for_people() -> None:
    log = Log("console")
    log.logger.info("transition", machine="telegram/main")
    assert "transition" in log.text
    assert "telegram/main" in log.text
    with pytest.raises(ValueError):
        assert log.lines


def test_auto_is_json_where_there_is_no_terminal() -> None:
    log = Log("auto")
    log.logger.info("started")
    assert log.lines[0]["event"] == "started"


def test_the_level_changes_while_it_runs() -> None:
    log = Log(level="warning")
    log.logger.info("first")
    log.logger.warning("second")
    log.filter.level = "debug"
    log.logger.debug("third")
    log.filter.level = "error"
    log.logger.warning("fourth")
    log.logger.error("fifth")
    log.logger.critical("sixth")
    assert [line["event"] for line in log.lines] == ["second", "third", "fifth", "sixth"]


def crash() -> None:
    token = TOKEN
    raise ConnectionError(f"cannot connect to {URL}, {token}")


@pytest.mark.parametrize("style", ["json", "console"])
def test_no_secret_is_in_any_line(style: str) -> None:
    log = Log(style)
    log.logger.info(URL, address=URL)
    log.logger.info("nested", data={"urls": [URL, {URL: (URL,)}]}, secret=Secret(TOKEN))
    log.logger.info("objects", path=Path(URL), many={URL}, error=ConnectionError(URL), raw=URL.encode())
    try:
        crash()
    except ConnectionError as error:
        log.logger.error("crashed", exc_info=True)
        log.logger.error("crashed", exc_info=error)
        log.logger.error("crashed", error=error)
    assert TOKEN not in log.text
    assert MARK in log.text
    assert log.text.count("ConnectionError") >= 2, "the tracebacks are there, without the secret"
    assert "in crash" in log.text
    assert TOKEN not in "".join(log.tail.read(None, 100, 100_000).lines)


@pytest.mark.parametrize("style", ["json", "console"])
def test_the_newest_lines_are_kept_as_json_in_either_style(style: str) -> None:
    log = Log(style)
    log.logger.debug("too low")
    log.logger.info("transition", address=URL)
    (kept,) = log.tail.read(None, 100, 100_000).lines
    line = json.loads(kept)
    assert (line["event"], line["level"], line["address"]) == ("transition", "info", URL.replace(TOKEN, MARK))
    assert style == "console" or log.text == kept + "\n"


def test_a_secret_that_json_writes_in_another_way_is_found_before_it_does() -> None:
    log = Log()
    secret = 'quoted "secret" with \\ and ü'
    log.redactor.learn([secret])
    log.logger.info("said", text=f"<{secret}>", nested=[{"text": secret}])
    (line,) = log.lines
    assert (line["text"], line["nested"]) == (f"<{MARK}>", [{"text": MARK}])


def test_a_traceback_is_whole() -> None:
    log = Log()
    try:
        crash()
    except ConnectionError:
        log.logger.error("crashed", exc_info=True)
    (line,) = log.lines
    assert line["level"] == "error"
    assert line["exception"].startswith("Traceback")
    assert f"/bot{MARK}/getUpdates" in line["exception"]


def test_what_libraries_log_takes_the_same_road() -> None:
    log = Log()
    library = logging.getLogger("aiohttp.access.test")
    library.info("too low for a library")
    library.warning("asked for %s", URL)
    try:
        crash()
    except ConnectionError:
        library.exception("it broke")
    lines = log.lines
    assert [(line["event"], line["logger"], line["level"]) for line in lines] == [
        ("library", "aiohttp.access.test", "warning"),
        ("library", "aiohttp.access.test", "error"),
    ]
    assert lines[0]["message"] == f"asked for https://api.telegram.org/bot{MARK}/getUpdates"
    assert "in crash" in lines[1]["exception"]
    assert TOKEN not in log.text


def test_a_log_that_cannot_be_written_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard error is often a file, and the disk under it may be full."""
    full = open("/dev/full", "w")  # noqa: SIM115, PTH123 - to close it is an error, too
    try:
        monkeypatch.setattr(sys, "stderr", full)
        configure("info", "json", Redactor(), LogTail())
        for _ in range(100):
            structlog.get_logger().info("said", text="x" * 1000)
    finally:
        with contextlib.suppress(OSError):
            full.close()


class Trap:
    """Its end goes wrong, where nobody can catch it."""

    def __del__(self) -> None:
        raise ValueError(f"an end: {TOKEN}")


def _fail() -> None:
    raise ValueError(f"a thread: {TOKEN}")


def test_what_nobody_catches_is_a_line_of_the_log_without_its_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of the program, of a thread, of an object, and a warning; to standard error goes nothing."""
    for owner, name in (
        (sys, "excepthook"),
        (threading, "excepthook"),
        (sys, "unraisablehook"),
        (warnings, "showwarning"),
    ):
        monkeypatch.setattr(owner, name, getattr(owner, name))  # they are put back afterwards
    log = Log()
    tell_of_crashes()
    past_it = io.StringIO()
    with contextlib.redirect_stderr(past_it), warnings.catch_warnings():
        warnings.simplefilter("always")
        sys.excepthook(ValueError, ValueError(f"the program: {TOKEN}"), None)
        thread = threading.Thread(target=_fail, name="a thread of ours")
        thread.start()
        thread.join()
        Trap()
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn(f"a warning: {TOKEN}", stacklevel=1)
    logging.captureWarnings(capture=False)
    assert past_it.getvalue() == ""
    assert [(line["event"], line["level"]) for line in log.lines] == [
        ("crashed", "critical"),
        ("thread_crashed", "error"),
        ("error_ignored", "error"),
        ("library", "warning"),
    ]
    for what in ("the program", "a thread", "an end", "a warning"):
        assert f"{what}: {MARK}" in log.text, what
    assert TOKEN not in log.text
