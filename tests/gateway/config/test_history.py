"""The history of the config: its bytes, its log, and what a crash, a full disk or a stranger does to them."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from threading import Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from gateway.config import history as history_module
from gateway.config.file import revision_of
from gateway.config.history import KEPT, LONGEST, MOST_PATHS, PENDING, History, HistoryEntry
from gateway.errors import ConfigError, ConfigWriteError, GatewayError, UnavailableError, UnknownRevisionError
from tests.chaos.disk import Disk
from tests.fuzz.profiles import tries
from tests.virtual import VirtualClock

ROOT = Path(__file__).resolve().parents[3]
FULL_DISK = OSError(errno.ENOSPC, "No space left on device")


class StoppedClock(VirtualClock):
    """Needs no loop."""

    def wall_ms(self) -> int:
        return 1_800_000_000_000


def history(folder: Path, *pinned: bytes) -> History:
    return History(folder, StoppedClock(), lambda: set(map(revision_of, pinned)))


def text(number: int) -> bytes:
    return b"gateway: {name: n%d}\n" % number


def enter(to: History, number: int, **more: Any) -> int:
    """The entry of one in a chain of revisions."""
    raw, before = text(number), text(number - 1) if number else None
    return to.open(
        revision_of(raw),
        raw,
        **{
            "base": before and revision_of(before),
            "base_raw": before,
            "requester": "http 127.0.0.1",
            "road": "http",
            "note": f"note {number}",
            "paths": ["gateway.name"],
        }
        | more,
    )


def whole(folder: Path) -> list[HistoryEntry]:
    """What a new process finds, every text that is named with it."""
    found = history(folder)
    entries = found.entries(KEPT)
    for entry in entries:
        found.raw(entry.revision)
        if entry.base is not None:
            found.raw(entry.base)
    return entries


def numbers(of: History) -> list[int]:
    return [entry.number for entry in of.entries(KEPT)]


# Entries


def test_an_entry_says_who_when_why_by_which_road_and_what_became_of_it(tmp_path: Path) -> None:
    one = history(tmp_path)
    assert (enter(one, 0), enter(one, 1)) == (1, 2)
    one.conclude(2, "applied", "as asked")
    for found in (one, history(tmp_path)):
        newest, oldest = found.entries(KEPT)
        assert newest.as_dict() == {
            "number": 2,
            "revision": revision_of(text(1)),
            "base": revision_of(text(0)),
            "at": 1_800_000_000_000,
            "requester": "http 127.0.0.1",
            "road": "http",
            "note": "note 1",
            "changed_paths": ("gateway.name",),
            "outcome": "applied",
            "why": "as asked",
            "ended_at": 1_800_000_000_000,
            "stage": "",
        }
        assert (oldest.number, oldest.base, oldest.outcome, oldest.ended_at) == (1, None, PENDING, None)


def test_both_texts_are_kept(tmp_path: Path) -> None:
    one = history(tmp_path)
    enter(one, 5)
    assert one.raw(revision_of(text(5))) == text(5)
    assert one.raw(revision_of(text(4))) == text(4)


def test_no_value_is_in_the_log(tmp_path: Path) -> None:
    one = history(tmp_path)
    raw = b"token: a-secret-token\n"
    one.conclude(enter(one, 1, base=revision_of(raw), base_raw=raw), "applied")
    assert b"a-secret-token" not in (tmp_path / "log.jsonl").read_bytes()


def test_what_is_kept_is_for_its_owner_alone(tmp_path: Path) -> None:
    """It holds the secrets that the config held."""
    before = os.umask(0)
    try:
        for folder in (tmp_path / "state" / "config-history", tmp_path / "lax"):
            if folder.name == "lax":
                folder.mkdir(mode=0o755)
            one = history(folder)
            one.conclude(enter(one, 1), "applied")
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}
            assert set(modes.values()) == {0o600}
            assert len(modes) == 3
    finally:
        os.umask(before)


def test_the_same_again_is_another_entry_and_the_same_bytes(tmp_path: Path) -> None:
    one = history(tmp_path)
    enter(one, 1)
    enter(one, 1)
    assert numbers(one) == [2, 1]
    assert len(list(tmp_path.glob("*.yaml"))) == 2


def test_the_last_conclusion_counts(tmp_path: Path) -> None:
    one = history(tmp_path)
    enter(one, 1)
    one.conclude(1, "restart_pending", "restart-1")
    one.conclude(1, "applied", "by a restart")
    one.conclude(99, "applied")
    for found in (one, history(tmp_path)):
        assert [(e.outcome, e.why) for e in found.entries(KEPT)] == [("applied", "by a restart")]


def test_pages(tmp_path: Path) -> None:
    one = history(tmp_path)
    for number in range(7):
        enter(one, number)
    assert [e.number for e in one.entries(3)] == [7, 6, 5]
    assert [e.number for e in one.entries(3, before=5)] == [4, 3, 2]
    assert one.entries(3, before=1) == []


def test_what_anybody_may_send_fits_in_a_line(tmp_path: Path) -> None:
    one = history(tmp_path)
    enter(one, 1, note="half \ud83d and\na line" + "x" * 5_000, requester="\udcff", paths=["a.\ud83d"])
    one.conclude(1, "failed", "why \ud83d" + "y" * 5_000)
    [entry] = whole(tmp_path)
    assert entry.note == ("half ? and\na line" + "x" * 5_000)[:LONGEST]
    assert (entry.requester, entry.changed_paths, len(entry.why)) == ("?", ("a.?",), LONGEST)


@pytest.mark.parametrize(
    ("paths", "kept"),
    [
        ([f"channels.telegram.accounts.a{n}.token" for n in range(MOST_PATHS + 1)], ("channels.telegram.accounts",)),
        ([f"a{n}" for n in range(MOST_PATHS + 1)], ("",)),
        (["a", *(f"b.c{n}" for n in range(MOST_PATHS))], ("", "b")),
    ],
)
def test_very_many_paths_are_told_by_what_they_are_under(
    tmp_path: Path, paths: list[str], kept: tuple[str, ...]
) -> None:
    one = history(tmp_path)
    enter(one, 1, paths=paths)
    assert one.entries(1)[0].changed_paths == kept


# Finding


def test_an_entry_is_found_by_its_number_and_by_the_beginning_of_its_revision(tmp_path: Path) -> None:
    one = history(tmp_path)
    for number in (1, 2, 1):
        enter(one, number)
    revision = revision_of(text(1))
    assert one.find("1").number == 1
    for size in (6, 12, 64):
        assert one.find(revision[:size]).number == 3, "the newest of that revision"


@pytest.mark.parametrize(
    "ref", ["", "0", "-1", "04", "4", "zzzzzz", "abcdef", "abc", "../log", "a" * 65, "1" * 10_000, "\ud83d", "1 ", "٣"]
)
def test_what_is_not_there_is_answered_with_what_is(tmp_path: Path, ref: str) -> None:
    one = history(tmp_path)
    with pytest.raises(UnknownRevisionError, match="it has none yet"):
        one.find(ref)
    for number in range(3):
        enter(one, number)
    with pytest.raises(UnknownRevisionError, match=r"it keeps 3 of at most 200, the oldest is number 1") as caught:
        one.find(ref)
    assert len(str(caught.value)) < 300
    str(caught.value).encode()


def test_a_prefix_of_two_revisions_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = history(tmp_path)
    for number in (0, 1):
        enter(one, number)
    found = [HistoryEntry(n, f"abcdef{n}" + "0" * 57, None, 0, "", "", "", ()) for n in (2, 1)]
    monkeypatch.setattr(one, "entries", lambda *_: found)
    with pytest.raises(UnknownRevisionError, match="several revisions begin with abcdef"):
        one.find("abcdef")
    assert one.find("abcdef2").number == 2


def test_a_damaged_text_is_never_handed_out(tmp_path: Path) -> None:
    one = history(tmp_path)
    enter(one, 1)
    file = tmp_path / f"{revision_of(text(1))}.yaml"
    file.write_bytes(text(1)[:-1])
    with pytest.raises(ConfigError, match="is damaged") as caught:
        one.raw(revision_of(text(1)))
    assert str(file) in str(caught.value)
    enter(one, 1)
    assert one.raw(revision_of(text(1))) == text(1), "the next one that has it mends it"
    file.unlink()
    with pytest.raises(UnknownRevisionError, match="are not kept"):
        one.raw(revision_of(text(1)))
    file.mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        one.raw(revision_of(text(1)))


@pytest.mark.parametrize("revision", ["", "../../etc/passwd", "missing", "A" * 64, "a" * 63 + "\n", "\ud83d"])
def test_what_is_no_revision_is_no_file(tmp_path: Path, revision: str) -> None:
    with pytest.raises(UnknownRevisionError, match="is no revision"):
        history(tmp_path).raw(revision)


# Bounds


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_module, "KEPT", 3)
    monkeypatch.setattr(history_module, "MOST_LINES", 12)


@pytest.mark.usefixtures("_small")
def test_the_newest_entries_are_kept_and_the_texts_that_they_name(tmp_path: Path) -> None:
    one = history(tmp_path, text(0))
    for number in range(20):
        one.conclude(enter(one, number), "applied")
    for found in (one, history(tmp_path)):
        assert numbers(found) == [20, 19, 18]
        with pytest.raises(UnknownRevisionError, match="it keeps 3 of at most 3, the oldest is number 18"):
            found.find("17")
    kept = {file.read_bytes() for file in tmp_path.glob("*.yaml")}
    assert kept == {text(0), *(text(number) for number in range(16, 20))}, "those and what is pinned"
    assert len((tmp_path / "log.jsonl").read_bytes().splitlines()) <= 13
    assert [e.outcome for e in whole(tmp_path)] == ["applied"] * 3


@pytest.mark.usefixtures("_small")
def test_numbers_go_on_when_the_log_was_written_anew(tmp_path: Path) -> None:
    for number in range(30):
        assert enter(history(tmp_path), number) == number + 1


def test_bytes_without_an_entry_stay_as_long_as_they_are_pinned(tmp_path: Path) -> None:
    pinned = {revision_of(b"{}")}
    one = History(tmp_path, StoppedClock(), lambda: pinned)
    one.keep(b"{}")
    enter(one, 1)
    assert one.raw(revision_of(b"{}")) == b"{}"
    pinned.clear()
    enter(one, 2)
    with pytest.raises(UnknownRevisionError):
        one.raw(revision_of(b"{}"))


def test_what_a_crash_left_of_a_write_is_swept_away(tmp_path: Path) -> None:
    for name in (f".{'a' * 64}.yaml.x.tmp", ".log.jsonl.x.tmp"):
        (tmp_path / name).write_bytes(b"half")
    (tmp_path / f"{'b' * 64}.yaml").write_bytes(b"nobody names it")
    (tmp_path / "README").write_bytes(b"not ours")
    enter(history(tmp_path), 0)
    assert {file.name for file in tmp_path.iterdir()} == {"README", "log.jsonl", f"{revision_of(text(0))}.yaml"}


# What happens to the log


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
