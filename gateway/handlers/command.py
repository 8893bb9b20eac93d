"""Runs a program for each message: the message as JSON on its standard input, the answer on its standard output."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Sequence

import msgspec

from gateway.config.handlers import CommandHandler
from gateway.errors import HandlerError
from gateway.handlers.base import Tools, answer_of, replies_of
from gateway.messages.model import Message, Reply

TRY_AGAIN = 75
"""EX_TEMPFAIL of sysexits.h: the program asks to be run again later."""
LONGEST_COMPLAINT = 300
LAST_WORDS = 1.0
LOOK_EVERY = 0.1


class Command:
    """One program."""

    acts_outside = True

    def __init__(self, name: str, settings: CommandHandler, tools: Tools) -> None:
        self._who = f"the handler {name!r} ({settings.argv[0]})"
        self._settings = settings
        self._folder = tools.folder
        program = settings.argv[0]
        # A name is looked for in PATH, a path is one beside the config file.
        if shutil.which(tools.folder / program if "/" in program else program) is None:
            raise HandlerError(f"{self._who}: there is no program {program}, or it may not be run")

    async def handle(self, message: Message) -> Sequence[Reply]:
        try:
            process = await asyncio.create_subprocess_exec(
                *self._settings.argv,
                cwd=self._folder,
                env=_environ(message),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                # A group of its own: what it starts ends with it, and what is sent to our terminal is not sent to it.
                start_new_session=True,
            )
        except OSError as error:
            raise HandlerError(f"{self._who} cannot be started: {error.strerror}", retryable=True) from error
        try:
            output, complaint = await self._talk(process, msgspec.json.encode(message.as_told()) + b"\n")
            code = await process.wait()
        finally:
            await _end(process)
        if code != 0:
            said = complaint.decode(errors="replace").strip()[-LONGEST_COMPLAINT:]
            raise HandlerError(f"{self._who} ended with {code}: {said}", retryable=code == TRY_AGAIN)
        text = output.strip()
        if text.startswith(b"{"):
            return answer_of(text, self._who)
        return replies_of(text.decode(errors="replace") or None, self._who)

    async def _talk(self, process: asyncio.subprocess.Process, message: bytes) -> tuple[bytes, bytes]:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        most = self._settings.max_output
        reading = asyncio.gather(_read(process.stdout, most, self._who), _tail(process.stderr))
        try:
            # One that reads nothing is no fault: it may answer all the same.
            with contextlib.suppress(ConnectionError):
                process.stdin.write(message)
                await process.stdin.drain()
            process.stdin.close()
            while not reading.done() and process.returncode is None:
                # Looked at, since waiting for its end would wait for the end of its output, too.
                await asyncio.wait({reading}, timeout=LOOK_EVERY)
            if not reading.done():
                # It has ended, and something that it has started holds its output open: what it has said is said.
                await asyncio.wait({reading}, timeout=LAST_WORDS)
                _kill(process)
            output, complaint = await reading
        finally:
            reading.cancel()
            await asyncio.wait({reading})
        return output, complaint

    async def close(self) -> None:
        """What runs is whoever's who asked."""


def _environ(message: Message) -> dict[str, str] | None:
    """Ours; with the message's trace, as https://opentelemetry.io/docs/specs/otel/context/env-carriers/ names it."""
    if message.traceparent is None:
        return None
    return os.environ | {"TRACEPARENT": message.traceparent}


async def _read(stream: asyncio.StreamReader, most: int, who: str) -> bytes:
    raw = bytearray()
    while chunk := await stream.read(65_536):
        raw += chunk
        if len(raw) > most:
            raise HandlerError(f"{who} wrote more than {most:,} bytes; `max_output` says how many it may")
    return bytes(raw)


async def _tail(stream: asyncio.StreamReader) -> bytes:
    """The end of what it complains of, however much that is."""
    kept = b""
    while chunk := await stream.read(65_536):
        kept = (kept + chunk)[-4 * LONGEST_COMPLAINT :]
    return kept


async def _end(process: asyncio.subprocess.Process) -> None:
    """It, and all that it has started; and what it had written and nobody read."""
    _kill(process)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LAST_WORDS):
            for stream in (process.stdout, process.stderr):
                while stream is not None and await stream.read(65_536):
                    """Only then are its pipes closed; unless what it has started has got away with them."""
    await process.wait()


def _kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
