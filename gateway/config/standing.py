"""Which revision is wanted, and why it may be another one than the file's; kept on disk, since it must outlive the process.

Nothing of this is ever written into the user's file. `wanted` is the one place where it is decided what runs.
"""

from __future__ import annotations

from pathlib import Path
from threading import Lock

import msgspec
import structlog

from gateway.config.file import write
from gateway.errors import ConfigWriteError

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Window(msgspec.Struct, frozen=True):
    """A change that must be confirmed. While it is open its revision is wanted, whatever the file says.

    `until` is the wall-clock deadline in milliseconds; None before the revision runs: then it has all its `seconds` left.
    `number` is its entry in the history, `accounts` are those that ran before.
    """

    revision: str
    base: str
    seconds: float
    number: int
    accounts: tuple[str, ...] = ()
    until: int | None = None


class SetAside(msgspec.Struct, frozen=True):
    """A revision that was rolled back: as long as the file holds it, `base` is wanted in its place."""

    revision: str
    base: str
    why: str
    stage: str = ""


class Record(msgspec.Struct, frozen=True):
    """What the file `standing.json` holds."""

    last_good: str | None = None
    window: Window | None = None
    set_aside: SetAside | None = None


class Standing:
    """Holds the record, and writes it: at once where the caller says so, else with the next `flush`."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "standing.json"
        self._changing, self._writing = Lock(), Lock()
        self.record = self._read()
        self._written = self.record
        self.fault = ""
        """Why the record could not be written, if it could not."""

    def _read(self) -> Record:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Record)
        except FileNotFoundError:
            return Record()
        except (OSError, msgspec.MsgspecError) as error:
            # Without it the file is what is wanted, which is what its owner sees in it.
            log.error("standing_unreadable", path=str(self._path), why=str(error))
            return Record()

    def wanted(self, on_disk: str) -> str:
        """The revision that should run while the file holds `on_disk`."""
        window, aside = self.record.window, self.record.set_aside
        if window is not None:
            return window.revision
        return aside.base if aside is not None and aside.revision == on_disk else on_disk

    def pinned(self) -> set[str]:
        """Revisions whose bytes must be kept."""
        window, aside = self.record.window, self.record.set_aside
        named = [self.record.last_good, *((window.revision, window.base) if window else ())]
        return {revision for revision in (*named, aside.base if aside else None) if revision}

    # Changing it; each of these is in force at once, and on disk after the next `flush`

    def change(self, **fields: object) -> None:
        with self._changing:
            self.record = msgspec.structs.replace(self.record, **fields)

    def hold(self, window: Window) -> None:
        """This revision is wanted until it is confirmed or rolled back. Another one stays set aside: the file may hold that still."""
        aside = self.record.set_aside
        self.change(window=window, set_aside=None if aside is None or aside.revision == window.revision else aside)

    def release(self, revision: str) -> None:
        """Whatever the file holds is wanted again."""
        window = self.record.window
        if window is not None and window.revision == revision:
            self.change(window=None)

    def put_aside(self, revision: str, base: str, why: str, stage: str = "") -> None:
        self.change(window=None, set_aside=SetAside(revision, base, why, stage))

    def promote(self, revision: str) -> None:
        """It ran well for long enough."""
        self.change(last_good=revision)

    def adopt(self) -> None:
        """A person wants what the file holds."""
        if self.record.set_aside is not None:
            self.change(set_aside=None)

    def forget(self, on_disk: str) -> None:
        """The file holds this, and it can be used: what was set aside while the file held something else counts no longer."""
        aside = self.record.set_aside
        if aside is not None and aside.revision != on_disk:
            self.change(set_aside=None)

    # On disk

    def flush(self) -> None:
        """Blocks until the record is on disk. Raises ConfigWriteError."""
        with self._writing:
            record = self.record
            if record == self._written:
                self.fault = ""
                return
            try:
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                write(self._path, msgspec.json.encode(record))
            except OSError as error:
                self.fault = f"{self._path.parent} cannot be made: {error.strerror}"
                raise ConfigWriteError(self.fault) from error
            except ConfigWriteError as error:
                self.fault = str(error)
                raise
            self._written, self.fault = record, ""
