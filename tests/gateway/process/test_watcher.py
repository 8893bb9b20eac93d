"""Watching the file: real files, real watchdog, real time."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import watchdog.observers
import watchdog.observers.polling
from structlog.testing import capture_logs

from gateway.process import watcher as watcher_module
from gateway.process.watcher import OFF, Watcher, signature_of

DEBOUNCE = 0.08
QUIET = 0.3
"""Long enough for whatever there is to be told of."""
PATIENCE = 5.0


class Watch:
    """A watcher, and what the file held whenever it told of a change."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: list[str | None] = []
        self.at_once = 0
        self.most_at_once = 0
        self.takes = 0.0
        self.debounce = DEBOUNCE
        self.watcher = Watcher(path, signature_of(path), lambda: self.debounce, self._changed)
        self._told = asyncio.Event()

    async def _changed(self) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.found.append(self.path.read_text() if self.path.exists() else None)
        self._told.set()
        await asyncio.sleep(self.takes)
        self.at_once -= 1

    async def until(self, text: str | None) -> None:
        """It tells of the file with this text."""
        async with asyncio.timeout(PATIENCE):
            while not self.found or self.found[-1] != text:
                self._told.clear()
                await self._told.wait()

    async def settled(self) -> list[str | None]:
        """What was told of, each text once: on a busy machine the events of one save may come far apart."""
        await asyncio.sleep(QUIET)
        assert len(self.found) <= 3 + len(set(self.found))
        return list(dict.fromkeys(self.found))


@contextlib.asynccontextmanager
async def watching(path: Path) -> AsyncIterator[Watch]:
    watch = Watch(path)
    await watch.watcher.start()
    try:
        yield watch
    finally:
        watch.watcher.stop()
        observer = watch.watcher._observer
        if observer is not None:
            await asyncio.to_thread(observer.join)
        await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def _no_reconcile(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that what a test sees is what the events told."""
    monkeypatch.setattr(watcher_module, "RECONCILE", 60.0)


@pytest.fixture
def reconcile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher_module, "RECONCILE", 0.1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "etc"
    folder.mkdir()
    config = folder / "gateway.yaml"
    config.write_text("old")
    return config


def replace(path: Path, text: str, folder: Path | None = None) -> None:
    fresh = (folder or path.parent) / "editor.tmp"
    fresh.write_text(text)
    fresh.replace(path)


async def test_a_write_in_place(path: Path) -> None:
    async with watching(path) as watch:
        assert watch.watcher.kind == "inotify"
        path.write_text("new")
        await watch.until("new")
        assert await watch.settled() == ["new"]


async def test_a_rename_over_the_file(path: Path) -> None:
    async with watching(path) as watch:
        for number in range(3):
            replace(path, f"new {number}")
            await watch.until(f"new {number}")
        assert await watch.settled() == ["new 0", "new 1", "new 2"]


async def test_a_rename_from_another_folder(path: Path, tmp_path: Path) -> None:
    async with watching(path) as watch:
        replace(path, "new", tmp_path)
        await watch.until("new")
        assert await watch.settled() == ["new"]


async def test_as_vim_saves(path: Path) -> None:
    async with watching(path) as watch:
        path.rename(path.with_name("gateway.yaml~"))
        path.write_text("new")
        path.with_name("gateway.yaml~").unlink()
        await watch.until("new")
        assert await watch.settled() == ["new"]


async def test_removed_and_made_anew(path: Path) -> None:
    async with watching(path) as watch:
        path.unlink()
        path.write_text("new")
        await watch.until("new")
        assert await watch.settled() == ["new"], "that it was gone for a moment was told as well"
        path.unlink()
        await watch.until(None)
        path.write_text("newer")
        await watch.until("newer")


async def test_case_61_a_swap_of_data_as_kubernetes_does_it(tmp_path: Path) -> None:
    folder = tmp_path / "etc"
    folder.mkdir()

    def swap(version: str, text: str) -> None:
        (folder / version).mkdir()
        (folder / version / "gateway.yaml").write_text(text)
        (folder / "..data_tmp").symlink_to(version)
        (folder / "..data_tmp").replace(folder / "..data")

    swap("..v1", "old")
    path = folder / "gateway.yaml"
    path.symlink_to("..data/gateway.yaml")
    async with watching(path) as watch:
        for number in (2, 3):
            swap(f"..v{number}", f"new {number}")
            await watch.until(f"new {number}")
        assert await watch.settled() == ["new 2", "new 3"]


async def test_reading_the_file_causes_nothing(path: Path) -> None:
    async with watching(path) as watch:
        for _ in range(20):
            path.read_bytes()
            await asyncio.sleep(0.005)
        assert await watch.settled() == []
        path.write_text("new")
        await watch.until("new")
        assert await watch.settled() == ["new"], "what was read to tell of it was told of in its turn"


async def test_other_files_of_the_folder_cause_nothing(path: Path) -> None:
    async with watching(path) as watch:
        for name in ("other.yaml", ".gateway.yaml.swp", "gateway.yaml.bak", "gateway"):
            (path.parent / name).write_text("x")
            (path.parent / name).unlink()
        assert await watch.settled() == []


async def test_a_burst_is_told_of_once_and_of_its_end(path: Path) -> None:
    async with watching(path) as watch:
        for number in range(100):
            path.write_text(f"new {number}") if number % 2 else replace(path, f"new {number}")
        await watch.until("new 99")
        assert await watch.settled() == ["new 99"]
        assert len(watch.found) <= 4


async def test_case_56_a_slow_write_is_told_of_when_it_has_ended(path: Path) -> None:
    async with watching(path) as watch:
        with path.open("w") as file:
            for part in ("one ", "two ", "three"):
                file.write(part)
                file.flush()
                await asyncio.sleep(2 * DEBOUNCE)
        await watch.until("one two three")
        assert await watch.settled() == ["one two three"]


@pytest.mark.usefixtures("reconcile")
async def test_case_56_a_long_write_that_is_looked_at_meanwhile_is_told_of_when_it_has_ended(path: Path) -> None:
    """The look of the watcher's own falls into a write that goes on for long: what is still growing is not read."""
    async with watching(path) as watch:
        parts = [f"{number} " for number in range(60)]
        with path.open("w") as file:
            for part in parts:
                file.write(part)
                file.flush()
                await asyncio.sleep(DEBOUNCE / 4)
        await watch.until("".join(parts))
        assert await watch.settled() == ["".join(parts)]


async def test_one_reading_at_a_time_and_none_is_left_out(path: Path) -> None:
    async with watching(path) as watch:
        watch.takes = 4 * DEBOUNCE
        for number in range(3):
            replace(path, f"new {number}")
            await asyncio.sleep(2 * DEBOUNCE)
        await watch.until("new 2")
        assert watch.most_at_once == 1


async def test_a_reading_that_breaks_is_not_the_last(path: Path) -> None:
    async with watching(path) as watch:
        broken, watch.watcher._changed = watch.watcher._changed, _broken
        replace(path, "new")
        await asyncio.sleep(4 * DEBOUNCE)
        reading = watch.watcher._reading
        assert reading is not None
        assert isinstance(reading.exception(), RuntimeError)
        watch.watcher._changed = broken
        replace(path, "newer")
        await watch.until("newer")


async def _broken() -> None:
    raise RuntimeError("a defect")


async def test_the_debounce_may_change_while_it_watches(path: Path) -> None:
    async with watching(path) as watch:
        watch.debounce = 60.0
        replace(path, "new")
        assert await watch.settled() == []
        watch.debounce = DEBOUNCE
        replace(path, "newer")
        await watch.until("newer")
        assert await watch.settled() == ["newer"]


async def test_after_stop_nothing_is_told(path: Path) -> None:
    async with watching(path) as watch:
        replace(path, "new")
        await asyncio.sleep(DEBOUNCE / 2)
    path.write_text("newer")
    assert await watch.settled() == []


# Blind spots


@pytest.mark.usefixtures("reconcile")
async def test_case_61_a_folder_that_was_itself_replaced(path: Path, tmp_path: Path) -> None:
    async with watching(path) as watch:
        path.parent.rename(tmp_path / "old-etc")
        path.parent.mkdir()
        path.write_text("new")
        await watch.until("new")
        path.write_text("newer")  # here the kernel tells nothing any more
        await watch.until("newer")
        before = len(watch.found)
        await watch.settled()
        assert len(watch.found) == before, "an unchanged file is told of again and again"


@pytest.mark.usefixtures("reconcile")
async def test_an_edit_between_the_first_reading_and_the_first_look(path: Path) -> None:
    watch = Watch(path)
    replace(path, "edited while it booted")
    await watch.watcher.start()
    await watch.until("edited while it booted")
    watch.watcher.stop()
    assert watch.watcher._observer is not None
    await asyncio.to_thread(watch.watcher._observer.join)


class Unavailable:
    """An observer that cannot be had, as the kernel says it."""

    def __init__(self) -> None:
        raise OSError(24, "inotify instance limit reached")


class Exhausted(watchdog.observers.polling.PollingObserver):
    """One whose folder cannot be watched."""

    def start(self) -> None:
        raise OSError(28, "inotify watch limit reached")


@pytest.mark.parametrize("observer", [Unavailable, Exhausted])
async def test_without_inotify_it_polls(path: Path, monkeypatch: pytest.MonkeyPatch, observer: type) -> None:
    monkeypatch.setattr(watchdog.observers, "Observer", observer)
    with capture_logs() as lines:
        async with watching(path) as watch:
            assert watch.watcher.kind == "polling"
            replace(path, "new")
            await watch.until("new")
    assert [(line["event"], line["by"]) for line in lines] == [("watching_failed", "inotify")]
    assert "limit reached" in lines[0]["why"]


@pytest.mark.usefixtures("reconcile")
async def test_polling_does_not_tell_of_a_write_in_place_and_the_look_does(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog.observers, "Observer", Unavailable)
    with capture_logs():
        async with watching(path) as watch:
            path.write_text("something new")
            await watch.until("something new")


@pytest.mark.usefixtures("reconcile")
async def test_with_neither_it_looks_by_itself(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog.observers, "Observer", Unavailable)
    monkeypatch.setattr(watchdog.observers.polling, "PollingObserver", Unavailable)
    with capture_logs():
        async with watching(path) as watch:
            assert watch.watcher.kind == OFF
            replace(path, "new")
            await watch.until("new")


@pytest.mark.usefixtures("reconcile")
async def test_a_second_try_to_watch_does_not_look_twice(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a restart it is tried again, where it could not be had."""
    with monkeypatch.context() as patch, capture_logs():
        patch.setattr(watchdog.observers, "Observer", Unavailable)
        patch.setattr(watchdog.observers.polling, "PollingObserver", Unavailable)
        async with watching(path) as watch:
            patch.undo()
            await watch.watcher.start()
            assert watch.watcher.kind == "inotify"
            looking = [task for task in asyncio.all_tasks() if "_reconcile" in repr(task)]
            assert len(looking) == 1


# What a file is known by


def test_a_signature_changes_with_whatever_is_done_to_the_file(path: Path) -> None:
    seen: list[Any] = [signature_of(path)]
    path.write_text("longer than before")
    seen.append(signature_of(path))
    replace(path, "longer than before")
    seen.append(signature_of(path))
    os.utime(path, ns=(1, 1))
    seen.append(signature_of(path))
    path.unlink()
    seen.append(signature_of(path))
    assert seen[-1] is None
    assert len(set(seen)) == len(seen)


def test_a_signature_is_that_of_what_a_link_leads_to(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(path)
    before = signature_of(link)
    path.write_text("longer than before")
    assert signature_of(link) == signature_of(path) != before
