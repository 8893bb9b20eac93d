"""Mutants killed by the table tests: the tests are collected once, and each mutant meets them in a process of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from tests.mutation.tables import Mutant

TESTS = (
    "tests/statemachine/test_lifecycle.py",
    "tests/statemachine/test_lifecycle_stories.py",
    "tests/statemachine/test_lifecycle_walks.py",
    "tests/statemachine/test_channel.py",
    "tests/statemachine/test_channel_stories.py",
    "tests/statemachine/test_channel_walks.py",
    "tests/statemachine/test_change.py",
    "tests/statemachine/test_change_walks.py",
    "tests/statemachine/test_incoming.py",
    "tests/statemachine/test_delivery.py",
    "tests/statemachine/test_circuit.py",
    "tests/statemachine/test_lease.py",
)

COUNTS_GUARDS = "test_each_guard_is_tried_both_ways"
"""It sees that there is a guard more, whatever that one says: no kill."""


class _Trial:
    """A pytest plugin that, in place of running the tests, runs them once for each mutant, until one fails."""

    def __init__(self, mutants: Sequence[Mutant]) -> None:
        self._mutants = mutants
        self.killers: dict[str, str] = {}

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        for mutant in self._mutants:
            # A machine's own tests first: they find it soonest.
            items = sorted(session.items, key=lambda item: mutant.machine.kind not in item.nodeid)
            killer = _in_a_child(lambda mutant=mutant, items=items: _first_failing(mutant, items))
            if killer:
                self.killers[mutant.name] = killer
        return True


def killers(mutants: Sequence[Mutant]) -> dict[str, str]:
    """The test that kills each mutant, by the mutant's name; one that survives is absent."""
    trial = _Trial(mutants)
    options = ["-q", "-p", "no:cacheprovider", *TESTS]
    code = pytest.main(options, plugins=[trial])
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        raise RuntimeError(f"the table tests could not be collected: pytest ended with {code}")
    return trial.killers


def _first_failing(mutant: Mutant, items: Sequence[pytest.Item]) -> str:
    mutant.put_in_place()
    for item in items:
        if mutant.guards and COUNTS_GUARDS in item.nodeid:
            continue
        reports = _run(item)
        if any(report.failed for report in reports):
            return item.nodeid
    return ""


def _run(item: pytest.Item) -> list[pytest.TestReport]:
    from _pytest.runner import runtestprotocol

    return runtestprotocol(item, log=False, nextitem=None)


def _in_a_child(job: Any) -> str:
    """The text that a job returns, done in a forked process: what it changes is gone with it."""
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(receive)
        text = "a crash of the test run"
        try:
            text = job()
        finally:
            os.write(send, text.encode()[:4096])
            sys.stdout.flush()
            os._exit(0)
    os.close(send)
    with os.fdopen(receive, "rb") as pipe:
        answer = pipe.read().decode()
    os.waitpid(child, 0)
    return answer
