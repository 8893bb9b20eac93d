"""A program as a handler: what it reads and writes, its end, its limits, and that nothing of it is left."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from gateway.config.handlers import CommandHandler
from gateway.errors import HandlerError
from gateway.handlers.command import Command
from gateway.messages.model import Reply
from tests.gateway.handlers.desk import MESSAGE, tools


def make(folder: Path, source: str, **settings: Any) -> Command:
    (folder / "answer.py").write_text(f"import json, os, sys, time\n{source}\n")
    argv = (sys.executable, "answer.py")
    return Command("mine", CommandHandler(type="command", argv=argv, **settings), tools(folder))


@pytest.mark.parametrize(
    ("source", "replies"),
    [
        ("print(json.load(sys.stdin)['text'].upper())", (Reply("HELLO"),)),
        ("print(json.dumps({'text': 'one', 'format': 'html'}))", (Reply("one", "html"),)),
        ("print(json.dumps({'messages': ['one', 'two']}))", (Reply("one"), Reply("two"))),
        ("", ()),
        ("sys.stdin.close(); print('it need not read')", (Reply("it need not read"),)),
        ("sys.stderr.write('x' * 1_000_000); print('it may complain')", (Reply("it may complain"),)),
    ],
)
async def test_what_it_writes_is_the_reply(tmp_path: Path, source: str, replies: tuple[Reply, ...]) -> None:
    assert tuple(await make(tmp_path, source).handle(MESSAGE)) == replies


@pytest.mark.parametrize(
    ("source", "why", "retryable"),
    [
        ("sys.exit('it is broken')", "ended with 1: it is broken", False),
        ("sys.exit(75)", "ended with 75", True),
        ("os.kill(os.getpid(), 9)", "ended with -9", False),
        ("print('x' * 70_000)", "wrote more than 65,536 bytes; `max_output` says how many it may", False),
        ("print('{\"text\": ')", "no JSON", False),
    ],
)
async def test_another_end_is_an_error(tmp_path: Path, source: str, why: str, retryable: bool) -> None:
    with pytest.raises(HandlerError, match="the handler 'mine'") as caught:
        await make(tmp_path, source).handle(MESSAGE)
    assert why in str(caught.value)
    assert caught.value.retryable is retryable


@pytest.mark.parametrize("program", ["./nothing", "no-program-of-that-name", "./notes.txt"])
def test_a_program_that_is_not_there_is_told_of_when_the_handler_is_made(tmp_path: Path, program: str) -> None:
    """So that its messages wait until it is."""
    (tmp_path / "notes.txt").write_text("no program")
    with pytest.raises(HandlerError, match="there is no program"):
        Command("mine", CommandHandler(type="command", argv=(program,)), tools(tmp_path))


async def test_one_that_goes_away_later_is_told_of_and_can_be_tried_again(tmp_path: Path) -> None:
    program = tmp_path / "answer.sh"
    program.write_text("#!/bin/sh\necho yes\n")
    program.chmod(0o755)
    handler = Command("mine", CommandHandler(type="command", argv=("./answer.sh",)), tools(tmp_path))
    assert tuple(await handler.handle(MESSAGE)) == (Reply("yes"),)
    program.unlink()
    with pytest.raises(HandlerError, match="cannot be started: No such file") as caught:
        await handler.handle(MESSAGE)
    assert caught.value.retryable


async def test_what_it_leaves_behind_keeps_nobody_waiting(tmp_path: Path) -> None:
    """It has answered and ended; what it has started holds its output open."""
    handler = make(
        tmp_path,
        "import subprocess\nchild = subprocess.Popen(['sleep', '600'])\nopen('pid', 'w').write(str(child.pid))\nprint('yes')",
    )
    async with asyncio.timeout(30):
        assert tuple(await handler.handle(MESSAGE)) == (Reply("yes"),)
        pid = int((tmp_path / "pid").read_text())
        while psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie":
            await asyncio.sleep(0.02)


async def test_given_up_it_is_killed_with_all_that_it_has_started(tmp_path: Path) -> None:
    handler = make(
        tmp_path,
        "import subprocess\nchild = subprocess.Popen(['sleep', '600'])\n"
        "open('pids', 'w').write(f'{os.getpid()} {child.pid}')\ntime.sleep(600)",
    )
    asked = asyncio.ensure_future(handler.handle(MESSAGE))
    while not (tmp_path / "pids").exists() or len((tmp_path / "pids").read_text().split()) < 2:
        await asyncio.sleep(0.02)
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    async with asyncio.timeout(10):
        while any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in pids):
            await asyncio.sleep(0.02)
