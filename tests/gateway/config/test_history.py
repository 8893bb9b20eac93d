"""The history of the config: its entries, how they are found, and how many are kept."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from gateway.config import history as history_module
from gateway.config.file import revision_of
from gateway.config.history import KEPT, LONGEST, MOST_PATHS, PENDING, History, HistoryEntry
from gateway.errors import ConfigError, UnknownRevisionError
from tests.gateway.config.histories import StoppedClock, enter, history, numbers, text, whole

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
