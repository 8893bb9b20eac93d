"""One writer at a time, among all processes."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.config.writerlock import PATIENCE, WriterLock
from gateway.errors import UnavailableError
from tests.virtual import run_virtual


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.yaml"
    path.write_text("{}\n")
    return path


@contextmanager
def taken(folder: Path) -> Iterator[None]:
    """Somebody else has the folder's lock. By another open file, which is another holder in the same process, too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def is_free(folder: Path) -> bool:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def test_it_is_held_and_let_go_and_leaves_nothing_behind(path: Path) -> None:
    async def main() -> None:
        lock = WriterLock(path)
        for _ in range(2):
            async with lock.held():
                assert not is_free(path.parent)
            assert is_free(path.parent)
        with pytest.raises(ZeroDivisionError):
            async with lock.held():
                raise ZeroDivisionError
        assert is_free(path.parent)
        assert [found.name for found in path.parent.iterdir()] == ["gateway.yaml"]

    asyncio.run(main())


def test_it_is_where_the_file_is_and_not_where_a_link_to_it_is(path: Path, tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "conf").mkdir()
        link = tmp_path / "conf" / "gateway.yaml"
        link.symlink_to(path)
        async with WriterLock(link).held():
            assert not is_free(path.parent)
            assert is_free(link.parent)

    asyncio.run(main())


def test_who_waits_gets_it_when_it_is_free(path: Path) -> None:
    async def main() -> None:
        with taken(path.parent):
            waiting = asyncio.ensure_future(_hold(path))
            await asyncio.sleep(PATIENCE - 1)
            assert not waiting.done()
        await waiting

    run_virtual(main())


def test_a_wait_ends_and_says_for_what_it_was(path: Path) -> None:
    async def main() -> None:
        began = asyncio.get_running_loop().time()
        with (
            taken(path.parent),
            pytest.raises(UnavailableError, match="nothing was written") as refused,
        ):
            await _hold(path)
        assert str(path.parent) in str(refused.value)
        assert refused.value.retry_after > 0
        assert asyncio.get_running_loop().time() - began == pytest.approx(PATIENCE)

    run_virtual(main())


def test_who_gives_up_waiting_leaves_nothing_open(path: Path) -> None:
    async def main() -> None:
        before = len(list(Path("/proc/self/fd").iterdir()))
        with taken(path.parent):
            waiting = asyncio.ensure_future(_hold(path))
            await asyncio.sleep(1)
            waiting.cancel()
            await asyncio.wait({waiting})
        assert len(list(Path("/proc/self/fd").iterdir())) == before
        assert is_free(path.parent)

    run_virtual(main())


async def test_the_death_of_its_holder_frees_it(path: Path) -> None:
    """Kill -9: the kernel lets go for it."""
    program = "import fcntl, os, sys, time\nfcntl.flock(os.open(sys.argv[1], 0), 2)\nprint(flush=True)\ntime.sleep(60)"
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(path.parent), stdout=asyncio.subprocess.PIPE
    )
    assert holder.stdout is not None
    await holder.stdout.readline()
    assert not is_free(path.parent)
    waiting = asyncio.ensure_future(_hold(path))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    holder.kill()
    await waiting
    await holder.wait()


@pytest.mark.parametrize("call", ["open", "flock"])
def test_where_there_is_no_such_lock_a_write_goes_on_and_that_is_said_once(
    path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def cannot(*_: object, **__: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    async def main() -> None:
        lock = WriterLock(path)
        for _ in range(2):
            async with lock.held():
                pass

    monkeypatch.setattr(os if call == "open" else fcntl, call, cannot)
    with capture_logs() as lines:
        run_virtual(main())
    assert [line["event"] for line in lines] == ["no_writer_lock"]
    assert lines[0]["folder"] == str(path.parent)


async def _hold(path: Path) -> None:
    async with WriterLock(path).held():
        pass
