"""What a gateway boots with: the file, or what stands in its place when it cannot be used or was rolled back.

The user's file is read and never written here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog
from msgspec.structs import replace

from gateway.clock import Clock
from gateway.config import file
from gateway.config.file import MISSING, Reader, Revision
from gateway.config.history import History
from gateway.config.standing import Standing, Window
from gateway.errors import ConfigError, GatewayError
from statemachine.change_events import Stage

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True)
class First:
    """`fault` is what is wrong with the file, where something else runs for that.

    `overdue` is the change whose time to be confirmed ran out while no gateway was there; where one is still open,
    `seconds_left` are left of its time, at the monotonic time `at`.
    """

    revision: Revision
    on_disk: str
    fault: ConfigError | None = None
    overdue: Window | None = None
    seconds_left: float | None = None
    at: float = 0.0


class FirstRevision:
    """Chooses the first revision."""

    def __init__(
        self,
        path: Path,
        reader: Reader,
        standing: Standing,
        history: History,
        clock: Clock,
        handed_on: Sequence[str] = (),
    ) -> None:
        """`handed_on` are revisions that an image of this process before this one knew to be usable, the best first."""
        self._handed_on = handed_on
        self._path = path
        self._reader = reader
        self._standing = standing
        self._history = history
        self._clock = clock

    def choose(self) -> First:
        """Raises ConfigError when the file cannot be used and there is no last good config."""
        raw, fault = self._read()
        on_disk = file.revision_of(raw) if raw is not None else MISSING
        overdue, seconds_left = self._window(on_disk)
        at = self._clock.monotonic()
        wanted = self._standing.wanted(on_disk)
        if wanted != on_disk:
            kept = self._kept(wanted)
            if kept is not None:
                return First(kept, on_disk, fault, overdue, seconds_left, at)
            # It cannot be had: then the file is the next best, and nothing is held in its place.
            self._standing.change(window=None, set_aside=None)
            overdue = seconds_left = None
        try:
            if raw is None:
                raise fault or ConfigError([], MISSING)
            revision = self._reader.load(raw)
        except ConfigError as error:
            # What ran before a change that was not confirmed, or what is known to be good.
            last_good = self._kept(overdue.base) if overdue is not None else None
            for known in (self._standing.record.last_good, *self._handed_on):
                # Also what was good once may have been rolled back since.
                last_good = last_good or self._kept(known and self._standing.wanted(known))
            if last_good is None:
                raise
            log.error("running_on_last_good", revision=last_good.id[:12])
            return First(last_good, on_disk, error, overdue, seconds_left, at)
        return First(revision, on_disk, None, overdue, seconds_left, at)

    def _read(self) -> tuple[bytes | None, ConfigError | None]:
        try:
            return file.read(self._path), None
        except ConfigError as error:
            return None, error

    def _window(self, on_disk: str) -> tuple[Window | None, float | None]:
        """The change that was to be confirmed: overdue, or with its seconds left; neither when there is none any more."""
        window = self._standing.record.window
        if window is None:
            return None, None
        if window.until is None:
            # It had not begun to run. Where the file does not hold it, it was never written, or was edited since.
            if window.revision != on_disk:
                self._standing.release(window.revision)
                return None, None
            return None, window.seconds
        now = self._clock.wall_ms()
        left = (window.until - now) / 1000
        if left > window.seconds:
            # The clock was set back. All its time again is the most that it can have.
            left = window.seconds
            self._standing.change(window=replace(window, until=now + round(left * 1000)))
        if left > 0:
            return None, left
        self._standing.put_aside(window.revision, window.base, "it was not confirmed in time", Stage.CONFIRM.value)
        return window, None

    def _kept(self, revision: str | None) -> Revision | None:
        if revision is None:
            return None
        try:
            return self._reader.load(self._history.raw(revision))
        except GatewayError as error:
            log.error("kept_revision_unusable", revision=revision[:12], why=str(error))
            return None
