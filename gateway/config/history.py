"""The bytes of earlier configs, kept in the state folder before the file is written over."""

from __future__ import annotations

from pathlib import Path

from gateway.config.file import revision_of, write
from gateway.errors import ConfigWriteError

KEPT = 50


class History:
    """One file a revision under `folder`, newest KEPT of them, readable by the owner alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, raw: bytes) -> None:
        """Raises ConfigWriteError when it cannot be kept: then nothing may be written over."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigWriteError(f"{self._folder} cannot be made: {error.strerror}") from error
        write(self._folder / f"{revision_of(raw)}.yaml", raw)
        newest_first = sorted(self._folder.glob("*.yaml"), key=lambda file: file.stat().st_mtime_ns, reverse=True)
        for old in newest_first[KEPT:]:
            old.unlink(missing_ok=True)
