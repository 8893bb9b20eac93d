"""A file is put in another one's place only where that one is what it should be, whoever saves in between."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from gateway.config import file, swap

RENAME = swap._rename


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.yaml"
    path.write_bytes(b"old")
    return path


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    path = tmp_path / "fresh"
    path.write_bytes(b"new")
    return path


def save(path: Path, text: bytes) -> int:
    """As an editor does; the inode of what it saved."""
    mine = path.with_name("editor")
    mine.write_bytes(text)
    mine.replace(path)
    return path.stat().st_ino


def no_such_renames(*_: object) -> None:
    raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))


@pytest.fixture(params=["by the kernel", "by looking"])
def _both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "by looking":
        monkeypatch.setattr(swap, "_rename", no_such_renames)


@pytest.mark.usefixtures("_both_ways")
def test_what_is_expected_is_replaced(target: Path, fresh: Path) -> None:
    assert swap.put(fresh, target, b"old")
    assert target.read_bytes() == b"new"
    assert [found.name for found in target.parent.iterdir()] == [target.name]


@pytest.mark.usefixtures("_both_ways")
@pytest.mark.parametrize("expected", [b"older", None])
def test_what_is_not_expected_stays(target: Path, fresh: Path, expected: bytes | None) -> None:
    inode = target.stat().st_ino
    assert not swap.put(fresh, target, expected)
    assert (target.read_bytes(), target.stat().st_ino) == (b"old", inode)
    assert fresh.read_bytes() == b"new"


@pytest.mark.usefixtures("_both_ways")
def test_where_there_is_none_one_is_made(target: Path, fresh: Path) -> None:
    target.unlink()
    assert swap.put(fresh, target, None)
    assert target.read_bytes() == b"new"


@pytest.mark.usefixtures("_both_ways")
def test_one_that_was_taken_away_is_not_brought_back(target: Path, fresh: Path) -> None:
    target.unlink()
    assert not swap.put(fresh, target, b"old")
    assert not target.exists()


@pytest.mark.parametrize("saves", [1, 2])
def test_who_saves_after_the_last_look_is_not_lost(
    target: Path, fresh: Path, monkeypatch: pytest.MonkeyPatch, saves: int
) -> None:
    """Between the look and the swap; and again, while that is taken back: the newest stays, with its owner's file."""
    inodes: list[int] = []

    def rename(source: Path, place: Path, flags: int) -> None:
        if len(inodes) < saves:
            inodes.append(save(target, b"saved %d" % len(inodes)))
        RENAME(source, place, flags)

    monkeypatch.setattr(swap, "_rename", rename)
    assert not swap.put(fresh, target, b"old")
    assert (target.read_bytes(), target.stat().st_ino) == (b"saved %d" % (saves - 1), inodes[-1])


def test_who_saves_the_first_file_after_the_last_look_is_not_lost(
    target: Path, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rename(source: Path, place: Path, flags: int) -> None:
        save(target, b"saved")
        RENAME(source, place, flags)

    target.unlink()
    monkeypatch.setattr(swap, "_rename", rename)
    assert not swap.put(fresh, target, None)
    assert target.read_bytes() == b"saved"


def test_other_errors_are_told(target: Path, fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(swap, "_rename", full)
    with pytest.raises(OSError, match="No space left"):
        swap.put(fresh, target, b"old")
    assert target.read_bytes() == b"old"


def test_a_write_says_that_the_file_is_another_one_and_leaves_nothing_behind(target: Path) -> None:
    assert not file.write(target, b"new", b"older")
    assert target.read_bytes() == b"old"
    assert file.write(target, b"new", b"old")
    assert target.read_bytes() == b"new"
    assert [found.name for found in target.parent.iterdir()] == [target.name]


def test_what_a_crash_has_left_of_a_write_is_swept_away(target: Path) -> None:
    target.with_name(".gateway.yaml.abc123.tmp").write_bytes(b"half")
    others = (".gateway.yaml.mine", ".another.yaml.abc123.tmp")
    for name in others:
        target.with_name(name).write_bytes(b"not ours")
    file.write(target, b"new")
    assert {found.name for found in target.parent.iterdir()} == {target.name, *others}
