"""One gateway a state folder."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.errors import LockedError
from gateway.process.lock import StateLock

HOLDER = """
import sys
from pathlib import Path
from gateway.process.lock import StateLock
lock = StateLock(Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""


def hold(folder: Path) -> subprocess.Popen[str]:
    """Another process that holds the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_second_is_told_who_the_first_is(tmp_path: Path) -> None:
    first = StateLock(tmp_path)
    first.acquire()
    for _ in range(2):
        with pytest.raises(LockedError) as caught:
            StateLock(tmp_path).acquire()
        assert caught.value.holder == os.getpid()
        assert str(caught.value) == f"another gateway (PID {os.getpid()}) holds {tmp_path}"
    first.release()


def test_released_it_can_be_had(tmp_path: Path) -> None:
    for _ in range(3):
        lock = StateLock(tmp_path)
        lock.acquire()
        lock.release()
        lock.release()
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600


def test_what_was_never_held_can_be_released(tmp_path: Path) -> None:
    first, second = StateLock(tmp_path), StateLock(tmp_path)
    first.acquire()
    second.release()
    with pytest.raises(LockedError):
        second.acquire()
    first.release()


def test_two_folders_are_two_gateways(tmp_path: Path) -> None:
    locks = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        locks.append(StateLock(tmp_path / name))
        locks[-1].acquire()
    for lock in locks:
        lock.release()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_death_of_the_holder_releases_it_whatever_kind_of_death(tmp_path: Path, number: signal.Signals) -> None:
    holder = hold(tmp_path)
    with holder:
        with pytest.raises(LockedError) as caught:
            StateLock(tmp_path).acquire()
        assert caught.value.holder == holder.pid
        holder.send_signal(number)
        assert holder.wait(10) == -number
        lock = StateLock(tmp_path)
        lock.acquire()
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
        lock.release()


def test_a_child_of_the_holder_does_not_hold_it_on(tmp_path: Path) -> None:
    lock = StateLock(tmp_path)
    lock.acquire()
    with subprocess.Popen(
        [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        close_fds=False,
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()  # it has begun: until then it is a copy of this process
        lock.release()
        again = StateLock(tmp_path)
        again.acquire()
        again.release()
        child.communicate()


def test_a_lock_file_that_names_nobody(tmp_path: Path) -> None:
    holder = StateLock(tmp_path)
    holder.acquire()
    for text, pid in (("", 0), ("not a number\n", 0), ("99999999999999\n", 99999999999999), ("\udcff", 0)):
        (tmp_path / "lock").write_bytes(text.encode(errors="surrogateescape"))
        with pytest.raises(LockedError) as caught:
            StateLock(tmp_path).acquire()
        assert caught.value.holder == pid
        assert f"PID {pid or 'unknown'}" in str(caught.value)
    holder.release()


def test_a_full_disk_keeps_nobody_from_holding_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.pwrite", full)
    lock = StateLock(tmp_path)
    lock.acquire()
    with pytest.raises(LockedError):
        StateLock(tmp_path).acquire()
    lock.release()


def test_an_older_name_that_is_longer_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("12345678901234\n")
    lock = StateLock(tmp_path)
    lock.acquire()
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    lock.release()
