"""Tests that need a Debian package: skipped with the reason where it cannot be had, failed where that must not be."""

from __future__ import annotations

import os
import shutil

import pytest


def find_program(program: str, package: str) -> str:
    """The program's path. Without it the test is skipped; with CI=true that is a failure."""
    found = shutil.which(program)
    if found is None:
        reason = f"needs {program}: apt-get install {package}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return found
