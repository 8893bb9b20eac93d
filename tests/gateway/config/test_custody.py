"""Whose the config file is: what is somebody else's is told apart from what is ours, whoever we run as."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.config.custody import custody_of, refuse_if_owned
from gateway.errors import ConfigOwnedError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "etc" / "gateway.yaml"
    path.parent.mkdir()
    path.write_text("{}\n")
    return path


@contextmanager
def mounted(target: Path, *arguments: str) -> Iterator[None]:
    """Something is mounted there; the test is skipped where that may not be done."""
    if subprocess.run(["mount", *arguments, str(target)], capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(target)], check=True)


def config_map(mount: Path) -> Path:
    """The way Kubernetes mounts one; the file's path in it."""
    (mount / "..2026_01_01").mkdir(parents=True)
    (mount / "..2026_01_01" / "gateway.yaml").write_text("{}\n")
    (mount / "..data").symlink_to("..2026_01_01")
    (mount / "gateway.yaml").symlink_to("..data/gateway.yaml")
    return mount / "gateway.yaml"


# What is ours


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o200, 0o404 | 0o020])
def test_a_file_that_somebody_may_write_is_ours(path: Path, mode: int) -> None:
    path.chmod(mode)
    assert custody_of(path) is None
    refuse_if_owned(path)


def test_a_file_that_is_not_there_yet_can_be_made(path: Path) -> None:
    path.unlink()
    assert custody_of(path) is None
    assert custody_of(path.parent / "no" / "such" / "folder.yaml") is None, "the write itself says what is missing"


def test_a_link_to_a_file_of_ours_is_ours(path: Path, tmp_path: Path) -> None:
    link, folder = tmp_path / "link.yaml", tmp_path / "conf"
    link.symlink_to("etc/gateway.yaml")
    folder.symlink_to(path.parent)
    assert custody_of(link) is custody_of(folder / "gateway.yaml") is None


def test_a_folder_that_is_only_called_like_a_mount_is_ours(tmp_path: Path) -> None:
    path = tmp_path / "..data" / "gateway.yaml"
    path.parent.mkdir()
    path.write_text("{}\n")
    assert custody_of(path) is None


def test_links_in_a_circle_end(path: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.symlink_to("two")
    two.symlink_to("one")
    assert custody_of(one) is None


# What is not


@pytest.mark.parametrize("mode", [0o444, 0o400, 0o555, 0o000])
def test_case_61_a_file_that_nobody_may_write_is_not_ours(path: Path, mode: int) -> None:
    """For root neither, whom its mode would not stop; nor for the rename that is our way to write."""
    path.chmod(mode)
    assert custody_of(path) == f"its mode, {mode:04o}, lets nobody write it"


def test_case_61_a_link_to_a_file_that_nobody_may_write(path: Path, tmp_path: Path) -> None:
    path.chmod(0o444)
    (tmp_path / "link.yaml").symlink_to(path)
    assert "lets nobody write it" in str(custody_of(tmp_path / "link.yaml"))


def test_case_61_a_config_map(tmp_path: Path) -> None:
    """By its path, by a link to it from elsewhere, through a link to its folder, and where the version is named."""
    path = config_map(tmp_path / "mount")
    (tmp_path / "link.yaml").symlink_to(path)
    (tmp_path / "conf").symlink_to(path.parent)
    for way in (path, tmp_path / "link.yaml", tmp_path / "conf" / path.name, path.parent / "..data" / path.name):
        assert "..data" in str(custody_of(way))


def test_case_61_a_folder_of_somebody_else(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.parent.chmod(0o555)
    path.parent.parent.chmod(0o755)
    as_nobody = os.geteuid() == 0
    if as_nobody:
        for parent in path.parents[1:5]:  # up to the folder of all temporary ones, one more with a worker of its own
            parent.chmod(parent.stat().st_mode | 0o055)
        os.seteuid(65534)
    try:
        found = custody_of(path)
    finally:
        if as_nobody:
            os.seteuid(0)
        path.parent.chmod(0o755)
    assert found == f"this user may not write to {path.parent}"


def test_case_61_a_read_only_file_system(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    with mounted(disk, "-t", "tmpfs", "-o", "size=64k", "test"):
        (disk / "gateway.yaml").write_text("{}\n")
        assert custody_of(disk / "gateway.yaml") is None, "a mounted folder is no hindrance"
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        assert custody_of(disk / "gateway.yaml") == f"the file system of {disk} is read-only"


@pytest.mark.parametrize("kernel_says", [True, False])
def test_case_61_a_file_that_is_mounted_alone(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, kernel_says: bool
) -> None:
    """As `docker run -v config.yaml:/etc/gateway.yaml` does. A rename onto it is EBUSY. Where the kernel does not tell the
    number of a mount, a source on another device gives it away."""
    disk = tmp_path / "disk"
    disk.mkdir()
    with mounted(disk, "-t", "tmpfs", "-o", "size=64k", "test"):
        (disk / "source.yaml").write_text("{}\n")
        with mounted(path, "--bind", str(disk / "source.yaml")):
            if not kernel_says:
                monkeypatch.setattr("builtins.open", _no_proc)
            assert "mount of its own" in str(custody_of(path))
            with pytest.raises(ConfigOwnedError, match=r"gateway\.yaml is not written: .* edit its source"):
                refuse_if_owned(path)
            monkeypatch.undo()
        assert custody_of(path) is None


def _no_proc(*_: object, **__: object) -> None:
    raise FileNotFoundError
