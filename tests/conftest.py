"""What every test is held to beside what it says itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.protocol import frames


@pytest.fixture(autouse=True)
def _frames_are_as_published() -> Iterator[None]:
    """No frame that the test received, be it in the background, was other than the published protocol says."""
    frames.take_faults()
    yield
    faults = frames.take_faults()
    assert not faults, "\n\n".join(faults)
