"""The clock of the tests themselves."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.virtual import VirtualClock, run_virtual


def test_an_hour_takes_no_time_and_things_come_in_their_order() -> None:
    async def main() -> list[str]:
        order: list[str] = []

        async def after(seconds: float, name: str) -> None:
            await asyncio.sleep(seconds)
            order.append(name)

        before = VirtualClock().monotonic()
        await asyncio.gather(after(3600, "hour"), after(60, "minute"), after(1, "second"))
        assert VirtualClock().monotonic() - before == pytest.approx(3600)
        return order

    before = time.monotonic()
    assert run_virtual(main()) == ["second", "minute", "hour"]
    assert time.monotonic() - before < 60, "not even the minute was waited for"


def test_the_clock_stands_still_while_a_thread_works() -> None:
    async def main() -> None:
        before = VirtualClock().monotonic()
        async with asyncio.timeout(0.001):
            await asyncio.to_thread(time.sleep, 0.05)
        assert VirtualClock().monotonic() == before

    run_virtual(main())


def test_a_timeout_is_a_timeout() -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await asyncio.sleep(31)

    run_virtual(main())


def test_a_connection_within_the_process_needs_no_time() -> None:
    async def main() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            line = await reader.readline()
            await asyncio.sleep(2)
            writer.write(line)
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        before = VirtualClock().monotonic()
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"hello\n")
        assert await reader.readline() == b"hello\n"
        assert VirtualClock().monotonic() - before == pytest.approx(2)
        writer.close()
        await writer.wait_closed()
        server.close()

    run_virtual(main())
