"""The ledger of requests: each has one outcome in the end, and never two."""

from __future__ import annotations

import pytest

from gateway import requests as requests_module
from gateway.requests import PENDING, Requests, new_id
from tests.gateway.test_journal import StillClock


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
def requests(clock: StillClock) -> Requests:
    return Requests(clock)


def test_a_request_is_pending_until_it_is_closed(requests: Requests, clock: StillClock) -> None:
    request = requests.open("change", "somebody")
    assert (request.kind, request.requester, request.at, request.outcome) == ("change", "somebody", 5_000, PENDING)
    clock.now = 7_000
    requests.close(request.id, "done", "applied")
    closed = requests.get(request.id)
    assert closed is not None
    assert (closed.outcome, closed.why, closed.at, closed.ended_at) == ("done", "applied", 5_000, 7_000)
    assert closed.as_dict()["outcome"] == "done"


def test_a_second_outcome_is_a_defect_and_the_first_one_stands(requests: Requests) -> None:
    request = requests.open("restart", "somebody", "restart-1")
    requests.close("restart-1", "cancelled", "as asked")
    with pytest.raises(ValueError, match="restart-1 has its outcome already: cancelled"):
        requests.close("restart-1", "done")
    found = requests.get(request.id)
    assert found is not None
    assert (found.outcome, found.why) == ("cancelled", "as asked")


def test_what_was_never_opened_is_not_known(requests: Requests) -> None:
    requests.close("restart-of-an-earlier-boot", "done")
    assert requests.get("restart-of-an-earlier-boot") is None


def test_it_does_not_grow_for_ever(monkeypatch: pytest.MonkeyPatch, requests: Requests) -> None:
    monkeypatch.setattr(requests_module, "KEPT", 2)
    ids = [requests.open("change", "somebody").id for _ in range(4)]
    assert [requests.get(name) is not None for name in ids] == [False, False, True, True]


def test_ids_are_unique_and_say_what_they_are_of() -> None:
    ids = {new_id("restart") for _ in range(1000)}
    assert len(ids) == 1000
    assert all(name.startswith("restart-") for name in ids)
