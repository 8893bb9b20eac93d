"""The file is written: whole or not at all, over what was read and nothing else, with its comments."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.config.file import write
from gateway.errors import ConfigWriteError

SECRET, OTHER = "first-secret", "second-secret"


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A config with a mode of its own, in a folder of its own."""
    folder = tmp_path / "etc"
    folder.mkdir()
    config = folder / "gateway.yaml"
    config.write_bytes(b"old")
    config.chmod(0o640)
    return config


def test_a_write_replaces_the_file_and_leaves_nothing_beside_it(path: Path) -> None:
    inode = path.stat().st_ino
    write(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_ino != inode, "it was written in place: a reader could have seen the half of it"
    assert names(path.parent) == [path.name]


def test_a_write_keeps_the_mode(path: Path) -> None:
    for mode in (0o640, 0o600, 0o644, 0o400):
        path.chmod(mode)
        write(path, b"new")
        assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_new_file_is_for_its_owner_alone(path: Path) -> None:
    path.unlink()
    write(path, b"new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_symlink_is_followed(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "gateway.yaml"
    link.symlink_to(path)
    write(link, b"new")
    assert link.is_symlink()
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert names(tmp_path) == ["etc", "gateway.yaml"]


def test_links_to_links_are_followed_and_relative_ones(path: Path, tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to("etc")
    (tmp_path / "first.yaml").symlink_to(Path("current", "gateway.yaml"))
    (tmp_path / "etc" / "second.yaml").symlink_to(Path("..", "first.yaml"))
    link = tmp_path / "current" / "second.yaml"
    write(link, b"new")
    assert path.read_bytes() == b"new"
    assert not path.is_symlink()
    assert [file.readlink() for file in (tmp_path / "first.yaml", tmp_path / "etc" / "second.yaml")] == [
        Path("current", "gateway.yaml"),
        Path("..", "first.yaml"),
    ]
    assert names(tmp_path / "etc") == ["gateway.yaml", "second.yaml"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_write_keeps_owner_and_group(path: Path) -> None:
    os.chown(path, 1234, 5678)
    write(path, b"new")
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 5678)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


class Owners:
    """Says what the system says to a chown of the owner, or of the group."""

    def __init__(self, *, owner: int = 0, group: int = 0) -> None:
        self._errors = {"owner": owner, "group": group}

    def __call__(self, descriptor: int, owner: int, group: int) -> None:
        if error := self._errors["owner" if owner >= 0 else "group"]:
            raise OSError(error, os.strerror(error))


@pytest.mark.parametrize("error", [errno.EPERM, errno.EINVAL])
def test_an_owner_that_we_may_not_give_it_is_no_fault(path: Path, monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    monkeypatch.setattr(os, "fchown", Owners(owner=error))
    write(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_another_group_is_not_let_in(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fchown", Owners(group=errno.EPERM))
    for mode, wanted in ((0o660, 0o600), (0o644, 0o644), (0o604, 0o644)):
        path.chmod(mode)
        write(path, b"new")
        assert stat.S_IMODE(path.stat().st_mode) == wanted


def test_a_write_keeps_attributes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, bytes] = {}

    def give(_: int, name: str, value: bytes) -> None:
        if name == "security.theirs":
            raise PermissionError
        given[name] = value

    monkeypatch.setattr(os, "listxattr", lambda _: ["security.theirs", "user.ours"])
    monkeypatch.setattr(os, "getxattr", lambda _, name: name.upper().encode())
    monkeypatch.setattr(os, "setxattr", give)
    write(path, b"new")
    assert given == {"user.ours": b"USER.OURS"}
    monkeypatch.setattr(os, "listxattr", no_space)
    write(path, b"newer")
    assert path.read_bytes() == b"newer"


class Syncs:
    """Counts fsync calls, and fails those that it is told to."""

    def __init__(self, *fail: int) -> None:
        self.kinds: list[str] = []
        self._fail = fail

    def __call__(self, descriptor: int) -> None:
        self.kinds.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        if len(self.kinds) in self._fail:
            raise OSError(errno.EIO, "Input/output error")


def test_the_file_is_on_the_disk_before_the_rename_and_the_folder_after(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs, order = Syncs(), list[str]()
    rename = Path.replace

    def replace(self: Path, target: Path) -> Path:
        order.append(f"rename after {syncs.kinds}")
        assert self.read_bytes() == b"new"
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", syncs)
    monkeypatch.setattr(Path, "replace", replace)
    write(path, b"new")
    assert order == ["rename after ['file']"]
    assert syncs.kinds == ["file", "folder"]


def no_space(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    "break_it",
    [
        lambda patch: patch.setattr(os, "fsync", Syncs(1)),
        lambda patch: patch.setattr(os, "fchmod", no_space),
        lambda patch: patch.setattr(os, "fchown", no_space),
        lambda patch: patch.setattr(tempfile, "mkstemp", no_space),
        lambda patch: patch.setattr(Path, "replace", no_space),
    ],
    ids=["fsync", "fchmod", "fchown", "mkstemp", "rename"],
)
def test_when_a_write_fails_the_old_file_is_whole(
    path: Path, monkeypatch: pytest.MonkeyPatch, break_it: Callable[[pytest.MonkeyPatch], None]
) -> None:
    with monkeypatch.context() as patch:
        break_it(patch)
        with pytest.raises(ConfigWriteError, match="cannot be written"):
            write(path, b"new")
    assert path.read_bytes() == b"old"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert names(path.parent) == [path.name]


def test_a_folder_that_cannot_be_synced_does_not_make_a_write_that_happened_a_failure(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some file systems have no fsync for folders; the new file is in its place by then."""
    monkeypatch.setattr(os, "fsync", Syncs(2))
    write(path, b"new")
    assert path.read_bytes() == b"new"


@pytest.fixture
def as_nobody() -> Iterator[None]:
    """Permissions mean nothing to root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def read_only() -> Iterator[Path]:
    """A config in a folder that anybody may look into and that nobody may write to."""
    with tempfile.TemporaryDirectory(prefix="gateway-test-") as name:
        folder = Path(name)
        config = folder / "gateway.yaml"
        config.write_bytes(b"old")
        config.chmod(0o644)
        folder.chmod(0o555)
        yield config
        folder.chmod(0o755)


def test_a_read_only_folder(read_only: Path, as_nobody: None) -> None:
    with pytest.raises(ConfigWriteError, match="cannot be written: Permission denied"):
        write(read_only, b"new")
    assert read_only.read_bytes() == b"old"
    assert names(read_only.parent) == ["gateway.yaml"]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigWriteError, match="No such file or directory"):
        write(tmp_path / "nowhere" / "gateway.yaml", b"new")
