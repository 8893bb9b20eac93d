"""The bytes of earlier configs."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from gateway.config import history as history_module
from gateway.config.file import revision_of
from gateway.config.history import History
from gateway.errors import ConfigWriteError


def test_the_bytes_are_kept_under_their_revision(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "config-history"
    History(folder).keep(b"gateway: {}\n")
    kept = folder / f"{revision_of(b'gateway: {}' + os.linesep.encode())}.yaml"
    assert kept.read_bytes() == b"gateway: {}\n"
    assert list(folder.iterdir()) == [kept]


def test_what_is_kept_is_for_its_owner_alone(tmp_path: Path) -> None:
    """It holds the secrets that the config held."""
    folder = tmp_path / "config-history"
    History(folder).keep(b"{}")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}


def test_keeping_the_same_again_keeps_one(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.keep(b"{}")
    history.keep(b"{}")
    assert len(list(tmp_path.iterdir())) == 1


def test_the_newest_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_module, "KEPT", 3)
    history = History(tmp_path)
    for number in range(6):
        history.keep(b"%d" % number)
        os.utime(tmp_path / f"{revision_of(b'%d' % number)}.yaml", ns=(number, number))
    history.keep(b"1")
    assert {file.read_bytes() for file in tmp_path.iterdir()} == {b"1", b"5", b"4"}


def test_a_history_that_cannot_be_kept_is_a_write_that_must_not_happen(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where the folder should be")
    with pytest.raises(ConfigWriteError):
        History(tmp_path / "taken").keep(b"{}")
    with pytest.raises(ConfigWriteError):
        History(tmp_path / "taken" / "config-history").keep(b"{}")
