"""What every test is held to beside what it says itself."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from tests.protocol import frames

LONGEST = (
    "statemachine/test_world.py",
    "real/test_founding_case.py",
    "real/test_restart_tickets.py",
    "real/test_exec.py",
    "real/test_kills.py",
    "real/test_messages.py",
    "simulation/test_simulation.py",
    "statemachine/test_spin.py",
    "browser/test_operator.py",
    "real/test_message_kills.py",
    "chaos/test_chaos.py",
    "gateway/process/test_schedules.py",
)
"""Files that take most of a minute and more. Begun first, none of them is what all other workers wait for in the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole files, for one goes to one worker."""
    places = {f"tests/{name}": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(places)))


def pytest_collection_finish() -> None:
    """What is there by now (seven thousand tests and all that they import) stays: no collection of garbage looks at it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _frames_are_as_published() -> Iterator[None]:
    """No frame that the test received, be it in the background, was other than the published protocol says."""
    frames.take_faults()
    yield
    faults = frames.take_faults()
    assert not faults, "\n\n".join(faults)
