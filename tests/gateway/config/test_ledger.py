"""The configs that must not be confused, and what can be applied of one while another waits for a restart."""

from __future__ import annotations

import pytest

from gateway.config.file import revision_of
from gateway.config.ledger import Ledger, Proposal
from gateway.config.plan import AccountAction
from statemachine.lifecycle_events import Impact
from tests.gateway.configs import config, revision, telegram

ONE, TWO = "token: one-token", "token: two-token"
FIRST = telegram(main=ONE)
PORT = FIRST.replace("port: 0", "port: 1")


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(revision(FIRST))


def propose(ledger: Ledger, text: str) -> Proposal:
    return ledger.propose(revision(text))


def wait(ledger: Ledger, text: str) -> str:
    """A revision that needs a restart was accepted, and waits for one; its id."""
    proposal = propose(ledger, text)
    ledger.note(proposal.revision.id, "restart_pending")
    return proposal.revision.id


def test_in_the_beginning_one_config_is_all_of_them(ledger: Ledger) -> None:
    assert ledger.applied == config(FIRST)
    assert ledger.applied_id == revision_of(FIRST.encode())
    assert ledger.accepted.id == ledger.applied_id
    assert ledger.waiting is None


def test_a_proposal_is_planned_against_what_runs_and_changes_nothing(ledger: Ledger) -> None:
    proposal = propose(ledger, telegram(main=TWO))
    assert (proposal.base, proposal.complete) == (ledger.applied_id, True)
    assert proposal.plan is proposal.whole
    assert proposal.plan.accounts == {"telegram/main": AccountAction.RESTART}
    assert proposal.identity == proposal.revision.id
    assert ledger.applied == config(FIRST)
    assert ledger.accepted is proposal.revision
    assert ledger.proposal(proposal.revision.id) is proposal


def test_what_is_carried_out_runs_and_can_be_put_back(ledger: Ledger) -> None:
    proposal = propose(ledger, telegram(main=TWO))
    ledger.carry_out(proposal)
    assert (ledger.applied, ledger.applied_id) == (config(telegram(main=TWO)), proposal.revision.id)
    for _ in range(2):
        ledger.put_back(proposal.revision.id)
        assert (ledger.applied, ledger.applied_id) == (config(FIRST), revision_of(FIRST.encode()))


def test_only_what_is_carried_out_can_be_put_back(ledger: Ledger) -> None:
    first, second = propose(ledger, telegram(main=TWO)), propose(ledger, telegram(main="token: three-token"))
    ledger.put_back(first.revision.id)
    ledger.carry_out(first)
    ledger.carry_out(second)
    ledger.put_back(first.revision.id)
    assert ledger.applied_id == second.revision.id
    ledger.put_back(second.revision.id)
    assert ledger.applied_id == first.revision.id


def test_the_first_edit_that_needs_a_restart_waits_whole(ledger: Ledger) -> None:
    """A part of it is not taken out: what its author wrote together comes together."""
    mixed = telegram(main=TWO).replace("port: 0", "port: 1")
    proposal = propose(ledger, mixed)
    assert proposal.complete
    assert proposal.plan.impact is Impact.GATEWAY
    assert proposal.target == config(mixed)


def test_case_21_an_edit_beside_one_that_waits_is_applied_alone(ledger: Ledger) -> None:
    wait(ledger, PORT)
    proposal = propose(ledger, telegram(main=TWO).replace("port: 0", "port: 1"))
    assert not proposal.complete
    assert proposal.target == config(telegram(main=TWO)), "the token of the new one, the port of what runs"
    assert proposal.plan.impact is Impact.CHANNEL
    assert proposal.plan.accounts == {"telegram/main": AccountAction.RESTART}
    assert proposal.whole.impact is Impact.GATEWAY
    assert set(proposal.whole.paths) == {"gateway.admin.port", "channels.telegram.accounts.main.token"}
    assert proposal.identity not in (proposal.revision.id, ledger.applied_id), (
        "what runs then is neither the one nor the other"
    )


def test_an_overlay_of_added_and_removed_accounts(ledger: Ledger) -> None:
    wait(ledger, PORT)
    proposal = propose(ledger, telegram(new=TWO).replace("port: 0", "port: 1"))
    assert not proposal.complete
    assert proposal.target == config(telegram(new=TWO))
    assert proposal.plan.accounts == {"telegram/main": AccountAction.STOP, "telegram/new": AccountAction.START}


def test_one_overlay_upon_another(ledger: Ledger) -> None:
    wait(ledger, PORT)
    first = propose(ledger, telegram(main=TWO).replace("port: 0", "port: 1"))
    ledger.swap(first.target, first.identity)
    ledger.note(first.revision.id, "restart_pending")
    second = propose(ledger, telegram(main=f"{TWO}, allow_from: [1]").replace("port: 0", "port: 1"))
    assert not second.complete
    assert second.plan.paths == ["channels.telegram.accounts.main.allow_from"]
    assert second.target == config(telegram(main=f"{TWO}, allow_from: [1]"))
    assert second.base == first.identity


def test_an_edit_of_what_waits_waits_too(ledger: Ledger) -> None:
    wait(ledger, PORT)
    for text in (PORT.replace("port: 1", "port: 2"), telegram(main=TWO).replace("port: 0", "port: 2")):
        proposal = propose(ledger, text)
        assert proposal.complete
        assert proposal.plan.impact is Impact.GATEWAY
        assert proposal.target == config(text)


def test_the_same_that_waits_in_other_words_is_no_overlay(ledger: Ledger) -> None:
    wait(ledger, PORT)
    proposal = propose(ledger, PORT + "# a comment\n")
    assert proposal.complete
    assert proposal.plan.impact is Impact.GATEWAY


def test_an_overlay_of_routes_and_their_handlers_is_made_as_a_whole(ledger: Ledger) -> None:
    wait(ledger, PORT)
    other = PORT.replace("echo: {type", "second: {type").replace("handler: echo", "handler: second")
    proposal = propose(ledger, other)
    assert not proposal.complete
    assert proposal.target == config(other.replace("port: 1", "port: 0"))


def test_an_edit_that_leans_on_what_waits_waits_too(ledger: Ledger) -> None:
    handlers = PORT.replace("echo: {type: echo}", "echo: {type: echo}\n  second: {type: echo}")
    wait(ledger, handlers)
    proposal = propose(ledger, handlers.replace("handler: echo", "handler: second"))
    assert proposal.complete
    assert proposal.plan.impact is Impact.GATEWAY


def test_case_21_a_revert_differs_in_nothing(ledger: Ledger) -> None:
    wait(ledger, PORT)
    proposal = propose(ledger, FIRST)
    assert proposal.complete
    assert proposal.plan.impact is Impact.NONE
    ledger.note(proposal.revision.id, "noop")
    assert ledger.waiting is None


def test_a_revert_of_the_part_that_needs_the_restart_is_an_ordinary_change(ledger: Ledger) -> None:
    wait(ledger, PORT)
    proposal = propose(ledger, telegram(main=TWO))
    assert (proposal.complete, proposal.plan.impact) == (True, Impact.CHANNEL)
    ledger.note(proposal.revision.id, "applied")
    assert ledger.waiting is None


@pytest.mark.parametrize("outcome", ["noted", "rejected", "superseded", "failed"])
def test_other_outcomes_leave_what_waits(ledger: Ledger, outcome: str) -> None:
    wait(ledger, PORT)
    proposal = propose(ledger, telegram(main=TWO))
    ledger.note(proposal.revision.id, outcome)
    assert ledger.waiting == config(PORT)


def test_a_proposal_is_forgotten_with_its_outcome(ledger: Ledger) -> None:
    name = wait(ledger, PORT)
    with pytest.raises(KeyError):
        ledger.proposal(name)
    ledger.note("never proposed", "restart_pending")
    assert ledger.waiting == config(PORT)


def test_what_runs_already_is_no_overlay(ledger: Ledger) -> None:
    """A revision that waits for a restart had a part for an account as well, and the next one takes that part back."""
    wait(ledger, PORT.replace(ONE, TWO))
    proposal = propose(ledger, PORT)
    assert (proposal.impact, proposal.complete) == (Impact.GATEWAY, True)


def test_after_a_reload_that_broke_off_nothing_is_a_change_of_nothing(ledger: Ledger) -> None:
    failed = propose(ledger, telegram(main=TWO))
    ledger.carry_out(failed)
    ledger.put_back(failed.revision.id)
    proposal = propose(ledger, FIRST)
    assert (proposal.whole.impact, proposal.impact) == (Impact.NONE, Impact.CHANNEL)
    ledger.carry_out(proposal)
    assert propose(ledger, FIRST).impact is Impact.NONE
