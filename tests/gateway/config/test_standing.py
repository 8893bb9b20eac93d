"""What is wanted, and what is kept of it on the disk."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.config import standing as standing_module
from gateway.config.standing import Record, SetAside, Standing, Window
from gateway.errors import ConfigWriteError

OLD, NEW, EDIT = "old", "new", "edit"
WINDOW = Window(NEW, OLD, 60.0, 7, ("telegram/main",), 1_000)


def on_disk(folder: Path) -> Record:
    return Standing(folder).record


def test_the_file_is_wanted_where_nothing_is_held(tmp_path: Path) -> None:
    assert Standing(tmp_path).wanted(EDIT) == EDIT
    assert Standing(tmp_path).pinned() == set()


def test_what_must_be_confirmed_is_wanted_whatever_the_file_says(tmp_path: Path) -> None:
    standing = Standing(tmp_path)
    standing.hold(WINDOW)
    assert {standing.wanted(revision) for revision in (OLD, NEW, EDIT)} == {NEW}
    assert standing.pinned() == {OLD, NEW}
    standing.release(EDIT)
    assert standing.wanted(EDIT) == NEW, "nobody else's end closes it"
    standing.release(NEW)
    assert standing.wanted(EDIT) == EDIT


def test_what_was_rolled_back_is_not_wanted_as_long_as_the_file_holds_it(tmp_path: Path) -> None:
    standing = Standing(tmp_path)
    standing.hold(WINDOW)
    standing.put_aside(NEW, OLD, "why")
    assert (standing.wanted(NEW), standing.wanted(EDIT)) == (OLD, EDIT)
    assert standing.record.window is None
    assert standing.pinned() == {OLD}
    standing.forget(NEW)
    assert standing.wanted(NEW) == OLD, "the file holds it still"
    standing.forget(EDIT)
    assert standing.wanted(NEW) == NEW
    standing.put_aside(NEW, OLD, "why")
    standing.adopt()
    assert standing.wanted(NEW) == NEW


def test_what_is_held_counts_for_more_than_what_was_rolled_back_before(tmp_path: Path) -> None:
    """The same revision is written again, confirmed this time, and stays."""
    standing = Standing(tmp_path)
    standing.put_aside(NEW, OLD, "why")
    standing.hold(WINDOW)
    standing.release(NEW)
    assert standing.wanted(NEW) == NEW


def test_it_outlives_the_process(tmp_path: Path) -> None:
    standing = Standing(tmp_path / "state")
    standing.promote(OLD)
    standing.hold(WINDOW)
    assert on_disk(tmp_path / "state") == Record(), "not before it is flushed"
    standing.flush()
    assert on_disk(tmp_path / "state") == Record(OLD, WINDOW)
    standing.put_aside(NEW, OLD, "why")
    standing.flush()
    assert on_disk(tmp_path / "state") == Record(OLD, None, SetAside(NEW, OLD, "why"))
    assert stat.S_IMODE((tmp_path / "state" / "standing.json").stat().st_mode) == 0o600
    assert Standing(tmp_path / "state").pinned() == {OLD}


def test_what_could_not_be_written_is_written_with_the_next_flush(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, raw: bytes) -> None:
        raise ConfigWriteError(f"{path} cannot be written: no space left on device")

    standing = Standing(tmp_path)
    standing.hold(WINDOW)
    with monkeypatch.context() as patched:
        patched.setattr(standing_module, "write", full)
        with pytest.raises(ConfigWriteError, match="no space"):
            standing.flush()
        assert "no space" in standing.fault
    standing.flush()
    assert standing.fault == ""
    assert on_disk(tmp_path).window == WINDOW


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    standing = Standing(tmp_path / "elsewhere")
    standing._path = tmp_path / "state" / "deeper" / "standing.json"
    standing.promote(OLD)
    with pytest.raises(ConfigWriteError, match="deeper cannot be made"):
        standing.flush()


@pytest.mark.parametrize("text", ["", "{", '{"window": {}}', '{"last_good": 5}'])
def test_a_record_that_cannot_be_read_holds_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "standing.json").write_text(text)
    with capture_logs() as lines:
        assert Standing(tmp_path).wanted(EDIT) == EDIT
    assert [line["event"] for line in lines] == ["standing_unreadable"]
