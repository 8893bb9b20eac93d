"""The history of the config: what a cut line, a full disk, a crash or a stranger does to it."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from gateway.config import history as history_module
from gateway.config.file import revision_of
from gateway.config.history import KEPT, LONGEST, PENDING
from gateway.errors import ConfigWriteError, GatewayError, UnavailableError
from tests.chaos.disk import Disk
from tests.fuzz.profiles import tries
from tests.gateway.config.histories import enter, history, numbers, text, whole

# What happens to the log

ROOT = Path(__file__).resolve().parents[3]
FULL_DISK = OSError(errno.ENOSPC, "No space left on device")


def three(folder: Path) -> bytes:
    """A history of three entries; its log."""
    one = history(folder)
    for number in range(3):
        one.conclude(enter(one, number), "applied")
    return (folder / "log.jsonl").read_bytes()


def test_a_log_that_ends_anywhere_is_read_up_to_there_and_goes_on(tmp_path: Path) -> None:
    log = three(tmp_path)
    for size in range(len(log) + 1):
        (tmp_path / "log.jsonl").write_bytes(log[:size])
        found = history(tmp_path)
        lines = log[:size].count(b"\n")
        assert len(found.entries(KEPT)) == (lines + 1) // 2
        if size % 17 == 0:
            added = enter(found, 9)
            found.conclude(added, "applied")
            content = (tmp_path / "log.jsonl").read_bytes()
            assert content.startswith(log[:size][: log[:size].rfind(b"\n") + 1])
            assert all(json.loads(line) for line in content.splitlines()), "the torn line is gone"
            assert numbers(history(tmp_path))[0] == added


JUNK = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [b"{}", b"[]", b"null", b"1", b'{"number": 1}', b'{"revision": 1}', b"\0" * 30, b"[" * 5_000, b'{"number":'],
    ),
)


@tries(60)
@given(junk=JUNK, at=st.integers(0, 6), torn=st.binary(max_size=40))
def test_what_is_no_record_is_passed_over(junk: bytes, at: int, torn: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = three(folder).splitlines()
        lines.insert(at, junk)
        (folder / "log.jsonl").write_bytes(b"\n".join(lines) + b"\n" + torn)
        with capture_logs() as logged:
            found = history(folder)
            assert [e.outcome for e in found.entries(KEPT)] == ["applied"] * 3
        assert [line["event"] for line in logged] in ([], ["history_damaged"])
        assert enter(found, 3) == 4
        assert numbers(history(folder)) == [4, 3, 2, 1]


def test_a_log_that_somebody_took_away_is_written_again(tmp_path: Path) -> None:
    one = history(tmp_path)
    enter(one, 1)
    (tmp_path / "log.jsonl").unlink()
    enter(one, 2)
    (tmp_path / "log.jsonl").write_bytes(b"")
    one.conclude(2, "applied")
    assert [(e.number, e.outcome) for e in whole(tmp_path)] == [(2, "applied"), (1, PENDING)]


def test_a_log_that_cannot_be_read_stops_a_write_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").mkdir()
    one = history(tmp_path)
    with pytest.raises(UnavailableError, match=r"log\.jsonl cannot be read"):
        one.entries(1)
    with pytest.raises(ConfigWriteError, match=r"log\.jsonl cannot be read"):
        enter(one, 1)
    one.conclude(1, "applied")


def test_a_history_that_cannot_be_kept_is_a_write_that_must_not_happen(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where the folder should be")
    for folder in (tmp_path / "taken", tmp_path / "taken" / "config-history"):
        with pytest.raises(ConfigWriteError):
            history(folder).keep(b"{}")
        with pytest.raises(ConfigWriteError):
            enter(history(folder), 1)


# A full disk


def test_an_entry_that_cannot_be_synced_never_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = history(tmp_path)
    enter(one, 1)
    one.keep(text(2))
    before = (tmp_path / "log.jsonl").read_bytes()

    def full(_: int) -> None:
        raise FULL_DISK

    for name in ("fsync", "write"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, lambda *_: full(0))
            for _ in range(3):
                with pytest.raises(ConfigWriteError, match="No space left"):
                    enter(one, 2)
                with capture_logs() as logged:
                    one.conclude(1, "applied")
                assert [line["event"] for line in logged] == ["history_not_written"]
            assert (tmp_path / "log.jsonl").read_bytes() == before
            assert [(e.number, e.outcome) for e in one.entries(KEPT)] == [(1, "applied")], "in memory it is right"
    assert enter(one, 2) == 2
    assert [(e.number, e.outcome) for e in whole(tmp_path)] == [(2, PENDING), (1, "applied")], "told with the next one"


def test_a_line_that_was_cut_and_cannot_be_taken_back_is_mended_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = history(tmp_path)
    enter(one, 1)
    real = os.write

    def half(descriptor: int, data: bytes) -> int:
        if len(data) < 40:
            raise FULL_DISK
        return real(descriptor, data[:30])

    real_cut = os.ftruncate
    cuts = iter([real_cut])

    def cut_once(descriptor: int, size: int) -> None:
        next(cuts, _no_more)(descriptor, size)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", half)
        patch.setattr(os, "ftruncate", cut_once)
        with pytest.raises(ConfigWriteError):
            enter(one, 2)
    assert not (tmp_path / "log.jsonl").read_bytes().endswith(b"\n")
    assert [e.number for e in whole(tmp_path)] == [1]
    assert enter(one, 2) == 2
    assert [e.number for e in whole(tmp_path)] == [2, 1]


def _no_more(_: int, __: int) -> None:
    raise FULL_DISK


def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    with Disk.under(tmp_path / "small") as disk:
        if disk.kind != "tmpfs":
            pytest.skip("nothing can be mounted here")
        folder = disk.folder / "config-history"
        one = history(folder)
        enter(one, 1)
        for number in range(2, 8):
            disk.fill(0)
            big = b"# " + b"x" * 100_000
            with pytest.raises(ConfigWriteError, match="No space left"):
                one.open(revision_of(big), big, base=None, base_raw=None, requester="", road="http", note="", paths=[])
            one.conclude(number - 1, "failed", "x" * LONGEST)
            assert whole(folder), "what was there is there"
            disk.free(0)
            assert enter(one, number) == number
            assert [e.number for e in whole(folder)] == list(range(number, 0, -1))


# Crashes and threads

LOOP = """
import sys
from pathlib import Path
import structlog
from gateway.clock import Clock
from gateway.config import history as module
from gateway.config.file import revision_of
module.KEPT, module.MOST_LINES = 5, 14
history = module.History(Path(sys.argv[1]), Clock())
# A line that the kill before has torn is told of, and not among what is promised here.
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
number = max((entry.number for entry in history.entries(5)), default=0)
print("begin", flush=True)
while True:
    texts = [b"# %d\\n" % (number + n) * 3000 for n in range(2)]
    number = history.open(
        revision_of(texts[1]), texts[1], base=revision_of(texts[0]), base_raw=texts[0],
        requester="test", road="http", note="x" * 500, paths=["a.b"] * 50,
    )
    print(number, flush=True)
    history.conclude(number, "applied", "y" * 300)
"""


@pytest.mark.timeout(300)
def test_killed_at_any_moment_it_is_whole_and_has_what_was_promised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_module, "KEPT", 5)
    random, newest = Random(7), 0
    environ = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    for _ in range(50):
        command = [sys.executable, "-c", LOOP, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "begin\n"
            opened = [int(process.stdout.readline()) for _ in range(random.randint(0, 2))]
            time.sleep(random.uniform(0, 0.02))
            process.send_signal(signal.SIGKILL)
            opened += [int(line) for line in process.stdout.read().split("\n")[:-1]]
        promised = max([newest, *opened])
        entries = whole(tmp_path)
        newest = entries[0].number if entries else 0
        assert newest - promised in (0, 1), "what open had returned is there, and at most one more"
        assert [e.number for e in entries] == list(range(newest, max(0, newest - 5), -1))
        outcomes = {e.number: e.outcome for e in entries}
        assert all(outcomes.get(number, "applied") == "applied" for number in opened[:-1])


def test_threads_take_turns(tmp_path: Path) -> None:
    one = history(tmp_path)
    failures: list[GatewayError] = []

    def work(begin: int) -> None:
        try:
            for number in range(begin, begin + 10):
                one.conclude(enter(one, number), "applied")
                one.entries(5)
        except GatewayError as error:
            failures.append(error)

    threads = [Thread(target=work, args=(100 * n,)) for n in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [(e.number, e.outcome) for e in whole(tmp_path)] == [(n, "applied") for n in range(40, 0, -1)]
