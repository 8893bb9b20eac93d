"""Tests that need what pip does not bring: skipped with the reason where it cannot be had, failed where that must not be."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def which_browser() -> str | None:
    """Chromium's path: without windows of its own it takes half the work; one with them does as well."""
    return shutil.which("chromium-headless-shell") or shutil.which("chromium")


def find_browser() -> str:
    """The same for a test, which is skipped without one; with CI=true that is a failure."""
    return which_browser() or find_program("chromium", "chromium-headless-shell")


def find_program(program: str, package: str) -> str:
    """The program's path. Without it the test is skipped; with CI=true that is a failure."""
    return shutil.which(program) or go_without(f"needs {program}: apt-get install {package}")


def go_without(reason: str) -> NoReturn:
    """Skip the test, and say why at the end of the run; with CI=true that is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
