"""The packages, for the tests that need them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.node.packages import install


@pytest.fixture(scope="session")
def packages() -> Path:
    return install()
