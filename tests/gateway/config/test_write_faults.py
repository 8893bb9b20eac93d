"""What a write leaves when even its leavings cannot be taken away."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import NoReturn

import pytest

from gateway.config import file
from gateway.errors import ConfigWriteError


def test_a_folder_that_is_closed_in_the_middle_of_a_write_is_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old file is whole; what is left beside it goes with the next write."""
    path = tmp_path / "gateway.yaml"
    path.write_bytes(b"old")

    def denied(*_: object, **__: object) -> NoReturn:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", denied)
        patch.setattr(Path, "unlink", denied)
        with pytest.raises(ConfigWriteError, match="Permission denied"):
            file.write(path, b"new")
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 2
    assert file.write(path, b"new")
    assert [each.name for each in tmp_path.iterdir()] == ["gateway.yaml"]
