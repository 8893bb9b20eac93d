"""The lifecycle over time: what its rows tell together, and faults that the tables had."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from statemachine import Lifecycle, LifecycleState, Outcome
from statemachine.effects import ArmTimer
from statemachine.lifecycle import ALIVE, BUSY, is_restarting, is_serving
from statemachine.lifecycle_data import LifecycleData, Waiting
from statemachine.lifecycle_events import (
    Boot,
    CancelWork,
    CheckReadiness,
    ConfigRejected,
    ConfigUnfit,
    Exit,
    HurryStop,
    Impact,
    Origin,
    PlanApplied,
    PlanFailed,
    RestartCancelled,
    RestartDue,
    Restarted,
    RestartFailed,
    RestartGateway,
    RestartOverdue,
    RestartReady,
    RestartRequested,
    ReviewConfig,
    SettleRevision,
    Started,
    StartFailed,
    StartOverdue,
    StopFinished,
    StopOverdue,
    StopRequested,
    TicketOpened,
    WorkInFlight,
)

from .builders import (
    FOR_B,
    P1,
    P2,
    POLICY,
    Story,
    armed,
    changed,
    lifecycle,
    only,
    outcomes,
    settlements,
    ticket,
)

S = LifecycleState


def booted() -> Story:
    """The gateway runs revision a."""
    story = Story(Lifecycle("gateway", LifecycleData()))
    story.fire(Boot("a", POLICY), S.STARTING)
    story.fire(Started(story.work, "a"), S.RUNNING)
    return story


def starting() -> Story:
    story = Story(Lifecycle("gateway", LifecycleData()))
    story.fire(Boot("a", POLICY), S.STARTING)
    return story


def reloading() -> Story:
    """Revision b is being applied."""
    story = booted()
    story.fire(changed("b"), S.HOT_RELOADING)
    return story


def pending() -> Story:
    """Revision g waits for a restart that is due at 150."""
    story = booted()
    story.fire(changed("g", Impact.GATEWAY, due_at=150.0), S.RESTART_PENDING)
    return story


def restarting() -> Story:
    story = pending()
    story.ring(S.RESTART_PENDING)
    story.fire(RestartReady(story.token), S.RESTARTING)
    return story


ROADS = {
    S.STARTING: starting,
    S.RUNNING: booted,
    S.HOT_RELOADING: reloading,
    S.RESTART_PENDING: pending,
    S.RESTARTING: restarting,
}
by_every_road = pytest.mark.parametrize("road", ROADS.values(), ids=[state.value for state in ROADS])


def test_there_is_a_road_to_every_living_state():
    assert set(ROADS) == set(ALIVE)
    for state, road in ROADS.items():
        assert road().machine.state is state


@pytest.mark.parametrize("state", S, ids=lambda state: state.value)
def test_it_serves_while_it_runs_waits_for_a_restart_or_reloads(state):
    assert is_serving(lifecycle(state)) == (state in (S.RUNNING, S.RESTART_PENDING, S.HOT_RELOADING))
    assert is_restarting(lifecycle(state)) == (state is S.RESTARTING)


def test_a_reload_that_succeeds_closes_its_standby_ticket_as_superseded():
    story = reloading()
    assert story.said(TicketOpened) == [TicketOpened(FOR_B)]
    story.fire(PlanApplied(story.work, "b", complete=True), S.RUNNING)
    assert outcomes(story) == {"for b": "superseded"}
    assert settlements(story, "b") == ["applied"]
    assert (story.data.applied, story.armed) == ("b", None)


def test_a_reload_that_fails_becomes_a_restart_by_the_ticket_that_stood_by():
    story = reloading()
    story.fire(PlanFailed(story.work, "boom"), S.RESTART_PENDING)
    assert story.data.tickets == (FOR_B,)
    assert settlements(story, "b") == ["restart_pending"]
    assert story.data.applied == "a", "what runs is what ran before"
    assert story.armed == armed(RestartDue(story.token), due=100.0)
    (check,) = story.ring(S.RESTART_PENDING)
    assert check == CheckReadiness(story.token)
    effects = story.fire(RestartReady(story.token), S.RESTARTING)
    assert only(effects, RestartGateway).tickets == (FOR_B,)
    assert outcomes(story) == {}, "it is not done before it is done"
    story.fire(Restarted(story.work, "b", 1000.0, POLICY), S.RUNNING)
    assert outcomes(story) == {"for b": "done"}
    assert (story.data.applied, story.data.restarts) == ("b", 1)


def test_a_reload_that_takes_too_long_becomes_a_restart_and_its_late_end_is_stale():
    story = reloading()
    work = story.work
    effects = story.ring(S.RESTART_PENDING)
    assert isinstance(effects[0], CancelWork)
    assert story.data.tickets == (FOR_B,)
    story.refuse(PlanApplied(work, "b", complete=True))
    story.fire(changed("c", due_at=500.0), S.HOT_RELOADING)
    story.refuse(PlanApplied(work, "b", complete=True), "work_is_current")


def test_a_second_writer_of_a_revision_that_is_being_applied_is_answered_with_it():
    story = reloading()
    assert story.fire(changed("b"), S.HOT_RELOADING, Outcome.COALESCED) == ()
    story.fire(PlanApplied(story.work, "b", complete=True), S.RUNNING)
    assert settlements(story, "b") == ["applied"]


@pytest.mark.parametrize(
    "state", [state for state in ALIVE if state is not S.RESTARTING], ids=lambda state: state.value
)
def test_the_file_event_of_a_known_revision_is_absorbed(state):
    """In every living state but one: nothing is opened, kept, planned or restarted because of it."""
    story = ROADS[state]()
    data = story.data
    assert data.known in ("a", "b", "g")
    effects = story.fire(changed(data.known, origin=Origin.FILE), state, Outcome.COALESCED)
    assert story.data is data
    assert all(isinstance(effect, SettleRevision) for effect in effects)


def test_the_file_event_of_the_revision_that_a_restart_reads_comes_to_nothing():
    """Nobody knows yet which file the restart has read: the event is kept, and reviewed when that is known."""
    story = restarting()
    story.fire(changed("g", Impact.GATEWAY, origin=Origin.FILE), S.RESTARTING, Outcome.DEFERRED)
    effects = story.fire(Restarted(story.work, "g", 1000.0, POLICY), S.RUNNING)
    assert only(effects, ReviewConfig) == ReviewConfig("g")
    story.fire(changed("g", Impact.NONE, base="g", origin=Origin.FILE), S.RUNNING)
    assert settlements(story, "g") == ["restart_pending", "noop"]
    assert len(story.said(TicketOpened)) == 1
    assert outcomes(story) == {"for g": "done"}


def test_after_a_restart_the_file_that_it_read_is_known():
    story = restarting()
    story.fire(Restarted(story.work, "h", 1000.0, POLICY), S.RUNNING)
    assert story.data.known == "h"
    story.fire(changed("h", Impact.NONE, base="h", origin=Origin.FILE), S.RUNNING, Outcome.COALESCED)


def test_after_a_restart_that_failed_the_revision_may_be_tried_anew():
    story = restarting()
    story.fire(RestartFailed(story.work, "boom", 1000.0, recovered=True), S.RUNNING)
    story.fire(changed("g", Impact.GATEWAY, origin=Origin.FILE, ticket_id="again"), S.RESTART_PENDING)
    assert story.data.waiting is Waiting.COOLDOWN


@by_every_road
def test_a_rejected_file_is_noted_once_and_changes_nothing_else(road):
    story = road()
    state, before = story.machine.state, story.data
    assert story.fire(ConfigRejected("bad", "x"), state) == (SettleRevision("bad", "rejected", "x"),)
    assert story.data == replace(before, known="bad", rejected="bad")
    assert story.fire(ConfigRejected("bad", "x"), state, Outcome.COALESCED) == ()


def test_a_good_file_after_a_bad_one_clears_the_rejection():
    story = booted()
    story.fire(ConfigRejected("bad", "x"), S.RUNNING)
    story.fire(changed("a", Impact.NONE), S.RUNNING)
    assert (story.data.rejected, settlements(story, "a")) == (None, ["noop"])


def test_revisions_that_come_during_a_reload_are_reviewed_after_it_the_newest_only():
    story = reloading()
    story.fire(changed("c"), S.HOT_RELOADING, Outcome.DEFERRED)
    story.fire(changed("e"), S.HOT_RELOADING, Outcome.DEFERRED)
    assert settlements(story, "c") == ["superseded"]
    effects = story.fire(PlanApplied(story.work, "b", complete=True), S.RUNNING)
    assert only(effects, ReviewConfig) == ReviewConfig("e")
    assert settlements(story, "e") == []
    story.fire(changed("e", base="b"), S.HOT_RELOADING)
    story.fire(PlanApplied(story.work, "e", complete=True), S.RUNNING)
    assert settlements(story, "e") == ["applied"]
    assert outcomes(story) == {"for b": "superseded", "for e": "superseded"}
    assert len(story.said(ReviewConfig)) == 1


def test_a_kept_revision_that_was_overwritten_is_superseded_by_what_the_review_finds():
    story = reloading()
    story.fire(changed("c"), S.HOT_RELOADING, Outcome.DEFERRED)
    story.fire(PlanApplied(story.work, "b", complete=True), S.RUNNING)
    effects = story.fire(changed("e", Impact.GATEWAY, base="b"), S.RESTART_PENDING)
    assert effects[0] == SettleRevision("c", "superseded", "e")
    assert settlements(story, "e") == ["restart_pending"]


def test_a_review_that_finds_a_bad_file_answers_who_waited():
    story = reloading()
    story.fire(changed("c"), S.HOT_RELOADING, Outcome.DEFERRED)
    story.fire(PlanFailed(story.work, "boom"), S.RESTART_PENDING)
    effects = story.fire(ConfigRejected("bad", "x"), S.RESTART_PENDING)
    assert effects == (SettleRevision("c", "superseded", "bad"), SettleRevision("bad", "rejected", "x"))


def test_a_file_event_that_comes_before_the_review_is_handled_and_the_review_absorbed():
    """Whichever of the two comes first handles the revision, the other finds it known."""
    story = reloading()
    story.fire(changed("c"), S.HOT_RELOADING, Outcome.DEFERRED)
    story.fire(PlanApplied(story.work, "b", complete=True), S.RUNNING)
    story.fire(changed("c", base="b", origin=Origin.FILE), S.HOT_RELOADING)
    assert story.fire(changed("c", base="b"), S.HOT_RELOADING, Outcome.COALESCED) == ()
    story.fire(PlanApplied(story.work, "c", complete=True), S.RUNNING)
    assert settlements(story, "c") == ["applied"]


def test_a_plan_made_against_what_no_longer_runs_is_made_anew():
    story = booted()
    assert story.fire(changed("b", base="z"), S.RUNNING, Outcome.DEFERRED) == (ReviewConfig("b"),)
    assert settlements(story, "b") == []
    story.fire(changed("b", Impact.NONE), S.RUNNING)
    assert settlements(story, "b") == ["noop"]


def test_a_revert_drops_the_ticket_of_the_edit():
    story = pending()
    story.fire(changed("a", Impact.NONE), S.RUNNING)
    assert outcomes(story) == {"for g": "superseded"}
    assert story.armed is None


def test_a_revert_keeps_the_ticket_of_a_person():
    story = pending()
    story.fire(RestartRequested(P2), S.RESTART_PENDING, Outcome.COALESCED)
    story.fire(changed("a", Impact.NONE), S.RESTART_PENDING)
    assert outcomes(story) == {"for g": "superseded"}
    assert story.data.tickets == (P2,)
    assert story.armed == armed(RestartDue(story.token), due=200.0)


def test_a_revert_with_a_live_change_is_applied_and_drops_the_ticket_of_the_edit():
    story = pending()
    story.fire(changed("b"), S.HOT_RELOADING)
    story.fire(PlanApplied(story.work, "b", complete=True), S.RUNNING)
    assert outcomes(story) == {"for g": "superseded", "for b": "superseded"}


def test_a_live_change_beside_a_pending_restart_is_applied_in_part_and_the_restart_stays():
    story = pending()
    story.fire(changed("h", Impact.GATEWAY, overlay=True, due_at=160.0), S.HOT_RELOADING)
    story.fire(PlanApplied(story.work, "a+h", complete=False), S.RESTART_PENDING)
    assert settlements(story, "h") == ["restart_pending"]
    assert outcomes(story) == {"for h": "superseded"}, "the ticket is neither erased nor doubled"
    assert story.armed == armed(RestartDue(story.token), due=150.0)


def test_in_reload_mode_off_an_edit_is_noted_and_a_call_asks_for_a_restart():
    story = booted()
    story.fire(changed("b", origin=Origin.FILE, reload=False), S.RUNNING)
    assert (settlements(story, "b"), story.data.drift, story.said(TicketOpened)) == (["noted"], True, [])
    story.fire(changed("c", reload=False), S.RESTART_PENDING)
    assert (settlements(story, "c"), story.data.drift) == (["restart_pending"], False)


def test_in_reload_mode_off_a_call_asks_for_what_was_noted():
    story = booted()
    story.fire(changed("b", origin=Origin.FILE, reload=False), S.RUNNING)
    story.fire(changed("b", reload=False), S.RESTART_PENDING)
    assert (settlements(story, "b"), story.data.drift) == (["noted", "restart_pending"], False)
    story.fire(changed("b", origin=Origin.FILE, reload=False), S.RESTART_PENDING, Outcome.COALESCED)


def test_an_earlier_due_time_pulls_the_restart_in_and_a_later_one_never_pushes_it_out():
    story = booted()
    story.fire(RestartRequested(ticket("middle", 200.0)), S.RESTART_PENDING)
    token = story.token
    story.fire(RestartRequested(ticket("late", 900.0)), S.RESTART_PENDING, Outcome.COALESCED)
    assert story.armed == armed(RestartDue(token), due=200.0)
    story.fire(RestartRequested(ticket("early", 50.0)), S.RESTART_PENDING, Outcome.COALESCED)
    assert story.armed == armed(RestartDue(story.token), due=50.0)
    story.fire(changed("g", Impact.GATEWAY, due_at=900.0), S.RESTART_PENDING, Outcome.COALESCED)
    assert story.armed == armed(RestartDue(story.token), due=50.0)
    story.refuse(RestartDue(token), "timer_is_current")


def test_cancelling_one_of_two_the_last_and_none():
    story = booted()
    story.fire(RestartRequested(P1), S.RESTART_PENDING)
    story.fire(RestartRequested(P2), S.RESTART_PENDING, Outcome.COALESCED)
    story.refuse(RestartCancelled("another"), "ticket_is_known")
    story.fire(RestartCancelled("p1"), S.RESTART_PENDING)
    assert story.armed == armed(RestartDue(story.token), due=200.0)
    story.refuse(RestartCancelled("p1"), "ticket_is_known")
    story.fire(RestartCancelled("p2"), S.RUNNING)
    assert story.armed is None
    assert outcomes(story) == {"p1": "cancelled", "p2": "cancelled"}
    story.refuse(RestartCancelled("p2"))


@pytest.mark.parametrize("road", [starting, reloading, restarting], ids=["starting", "hot_reloading", "restarting"])
def test_a_kept_ticket_can_be_cancelled_while_work_is_under_way_and_one_in_service_cannot(road):
    story = road()
    state = story.machine.state
    story.fire(RestartRequested(P1), state, Outcome.DEFERRED)
    story.refuse(RestartCancelled("another"), "ticket_is_known")
    story.fire(RestartCancelled("p1"), state)
    story.refuse(RestartCancelled("p1"), "ticket_is_known")
    if state is S.RESTARTING:
        story.refuse(RestartCancelled("for g"), "ticket_is_known")


def test_cancelling_the_standby_ticket_makes_a_failed_reload_final():
    story = reloading()
    story.fire(RestartCancelled("for b"), S.HOT_RELOADING)
    story.fire(PlanFailed(story.work, "boom"), S.RUNNING)
    assert (settlements(story, "b"), outcomes(story), story.armed) == (["failed"], {"for b": "cancelled"}, None)


def test_a_request_during_a_restart_is_served_after_the_cooldown():
    story = restarting()
    story.fire(RestartRequested(P1), S.RESTARTING, Outcome.DEFERRED)
    story.fire(Restarted(story.work, "g", 1000.0, POLICY), S.RESTART_PENDING)
    assert outcomes(story) == {"for g": "done"}, "the kept one is not served by the restart that was under way"
    assert story.data.waiting is Waiting.COOLDOWN
    assert story.armed == armed(RestartDue(story.token), due=1025.0)
    story.ring(S.RESTART_PENDING)
    story.fire(RestartReady(story.token), S.RESTARTING)
    story.fire(Restarted(story.work, "g", 1030.0, POLICY), S.RUNNING)
    assert outcomes(story) == {"for g": "done", "p1": "done"}
    assert story.data.restarts == 2


def test_a_forced_request_waits_for_the_cooldown_too():
    story = restarting()
    story.fire(Restarted(story.work, "g", 1000.0, POLICY), S.RUNNING)
    story.fire(RestartRequested(ticket("forced", 1001.0, force=True)), S.RESTART_PENDING)
    assert story.armed == armed(RestartDue(story.token), due=1025.0)


def test_a_restart_that_failed_cools_too_and_its_tickets_are_failed():
    story = restarting()
    story.fire(RestartFailed(story.work, "boom", 1000.0, recovered=True), S.RUNNING)
    assert outcomes(story) == {"for g": "failed"}
    story.fire(RestartRequested(P1), S.RESTART_PENDING)
    assert (story.data.waiting, story.armed) == (Waiting.COOLDOWN, armed(RestartDue(story.token), due=1025.0))


def test_an_old_timer_and_old_work_are_refused_in_the_state_that_waits_for_new_ones():
    story = booted()
    story.fire(RestartRequested(P1), S.RESTART_PENDING)
    first = story.token
    story.fire(RestartCancelled("p1"), S.RUNNING)
    story.refuse(RestartDue(first))
    story.fire(RestartRequested(P2), S.RESTART_PENDING)
    story.refuse(RestartDue(first), "timer_is_current")
    story.ring(S.RESTART_PENDING)
    check = story.token
    story.fire(RestartRequested(P1), S.RESTART_PENDING, Outcome.COALESCED)
    story.refuse(RestartReady(check), "timer_is_current")
    story.ring(S.RESTART_PENDING)
    story.fire(RestartReady(story.token), S.RESTARTING)
    work = story.work
    story.fire(Restarted(work, "a", 1000.0, POLICY), S.RUNNING)
    story.refuse(Restarted(work, "a", 1000.0, POLICY))
    story.fire(changed("b"), S.HOT_RELOADING)
    story.refuse(PlanApplied(work, "b", complete=True), "work_is_current")


def test_a_restart_waits_for_idle_work_as_long_as_the_budget():
    story = pending()
    for moment in (1000.0, 1000.5, 1299.9):
        assert story.ring(S.RESTART_PENDING) == (CheckReadiness(story.token),)
        story.fire(WorkInFlight(story.token, 2, moment), S.RESTART_PENDING, Outcome.DEFERRED)
        assert story.data.waiting is Waiting.IDLE
        assert story.armed == armed(RestartDue(story.token), POLICY.defer_poll)
    story.ring(S.RESTART_PENDING)
    effects = story.fire(WorkInFlight(story.token, 2, 1300.0), S.RESTARTING)
    assert only(effects, RestartGateway).tickets == (ticket("for g", 150.0, "g"),)


def test_a_restart_begins_as_soon_as_the_work_is_idle():
    story = pending()
    story.ring(S.RESTART_PENDING)
    story.fire(WorkInFlight(story.token, 1, 1000.0), S.RESTART_PENDING, Outcome.DEFERRED)
    story.ring(S.RESTART_PENDING)
    story.fire(RestartReady(story.token), S.RESTARTING)
    assert story.data.deferred_since is None


def test_a_new_wait_for_idle_work_has_its_own_budget():
    story = pending()
    story.ring(S.RESTART_PENDING)
    story.fire(WorkInFlight(story.token, 1, 1000.0), S.RESTART_PENDING, Outcome.DEFERRED)
    story.fire(RestartCancelled("for g"), S.RUNNING)
    story.fire(RestartRequested(P1), S.RESTART_PENDING)
    story.ring(S.RESTART_PENDING)
    story.fire(WorkInFlight(story.token, 1, 5000.0), S.RESTART_PENDING, Outcome.DEFERRED)


def test_a_bad_file_refuses_every_ticket_and_the_gateway_runs_on():
    story = pending()
    story.fire(RestartRequested(P2), S.RESTART_PENDING, Outcome.COALESCED)
    story.ring(S.RESTART_PENDING)
    story.fire(ConfigUnfit(story.token, "no such key"), S.RUNNING)
    assert outcomes(story) == {"for g": "refused", "p2": "refused"}
    assert (story.armed, story.data.applied) == (None, "a")


def test_what_comes_during_the_start_is_handled_after_it():
    story = starting()
    story.fire(changed("b"), S.STARTING, Outcome.DEFERRED)
    story.fire(RestartRequested(P1), S.STARTING, Outcome.DEFERRED)
    effects = story.fire(Started(story.work, "a"), S.RESTART_PENDING)
    assert only(effects, ReviewConfig) == ReviewConfig("b")
    assert only(effects, ArmTimer) == armed(RestartDue(story.token), due=100.0)
    story.fire(changed("b"), S.HOT_RELOADING)
    story.fire(PlanApplied(story.work, "b", complete=True), S.RESTART_PENDING)
    assert story.data.tickets == (P1,)


@pytest.mark.parametrize(
    ("road", "end"),
    [
        (starting, lambda story: StartFailed(story.work, "x", 3)),
        (starting, lambda story: StartOverdue(story.token)),
        (restarting, lambda story: RestartFailed(story.work, "x", 0.0, recovered=False)),
        (restarting, lambda story: RestartOverdue(story.token)),
    ],
    ids=["start failed", "start overdue", "restart failed", "restart overdue"],
)
def test_a_gateway_that_cannot_run_answers_everybody_and_ends(road, end):
    story = road()
    state = story.machine.state
    story.fire(RestartRequested(P1), state, Outcome.DEFERRED)
    story.fire(changed("c"), state, Outcome.DEFERRED)
    effects = story.fire(end(story), S.FAILED)
    assert only(effects, Exit).code == (3 if isinstance(end(story), StartFailed) else 1)
    assert outcomes(story) == {"p1": "refused"} | ({"for g": "failed"} if road is restarting else {})
    assert settlements(story, "c") == ["failed"]
    for event in (changed("e"), RestartRequested(P2), RestartCancelled("p1"), ConfigRejected("bad", "x")):
        story.refuse(event)
    story.fire(StopRequested("SIGTERM"), S.STOPPED)


@by_every_road
def test_stop_wins_from_every_living_state_and_leaves_nobody_waiting(road):
    story = road()
    state = story.machine.state
    if state in BUSY:
        story.fire(changed("c"), state, Outcome.DEFERRED)
    if state is S.RUNNING:
        story.fire(RestartRequested(P1), S.RESTART_PENDING)
    else:
        story.fire(
            RestartRequested(P1),
            state,
            Outcome.COALESCED if state is S.RESTART_PENDING else Outcome.DEFERRED,
        )
    work, token = story.work, story.token
    story.fire(StopRequested("SIGTERM"), S.STOPPING)
    assert set(outcomes(story)) == {told.ticket.id for told in story.said(TicketOpened)}
    assert outcomes(story)["p1"] == "refused"
    if state is S.RESTARTING:
        assert outcomes(story)["for g"] == "failed", "one that was in service"
    for revision in ("b", "c"):
        expected = {"b": state is S.HOT_RELOADING, "c": state in BUSY}[revision]
        assert settlements(story, revision) == (["failed"] if expected else [])
    assert (story.work > work, story.token > token) == (True, True)
    for event in (changed("e"), RestartRequested(P2), RestartCancelled("p1"), Started(work, "a"), RestartDue(token)):
        story.refuse(event)
    story.fire(StopFinished(story.work), S.STOPPED)
    assert story.said(Exit) == [Exit(0)]
    assert story.armed is None


def test_a_second_stop_hurries_and_a_third_ends_it():
    story = booted()
    story.fire(StopRequested("SIGINT"), S.STOPPING)
    assert story.armed == armed(StopOverdue(story.token), POLICY.stop_timeout)
    effects = story.fire(StopRequested("SIGINT"), S.STOPPING, Outcome.COALESCED)
    assert effects == (HurryStop(POLICY.stop_timeout / 10), armed(StopOverdue(story.token), POLICY.stop_timeout / 10))
    story.fire(StopRequested("SIGINT"), S.STOPPED)
    assert story.said(Exit) == [Exit(0)]
    story.refuse(StopRequested("SIGINT"))


def test_a_stop_that_takes_too_long_ends_all_the_same():
    story = booted()
    story.fire(StopRequested("SIGTERM"), S.STOPPING)
    story.ring(S.STOPPED)
    assert story.said(Exit) == [Exit(0)]


# Faults that the tables had, and what holds in their place


def test_a_revision_under_review_is_answered_when_a_stale_plan_of_another_comes():
    """`review` forgets which revision was being read again: its submitter is never answered, not even by a stop."""
    story = reloading()
    story.fire(changed("c"), S.HOT_RELOADING, Outcome.DEFERRED)
    story.fire(PlanApplied(story.work, "b", complete=True), S.RUNNING)
    assert story.data.reviewed == "c"
    story.fire(changed("e", base="a"), S.RUNNING, Outcome.DEFERRED)
    story.fire(changed("e", base="b"), S.HOT_RELOADING)
    story.fire(PlanApplied(story.work, "e", complete=True), S.RUNNING)
    story.fire(StopRequested("SIGTERM"), S.STOPPING)
    assert settlements(story, "c") == ["superseded"]


def test_a_revert_to_what_runs_that_is_kept_is_not_answered_before_it_is_handled():
    """What runs is about to be replaced by b, so a is no noop. The second event is that of the first one's own file.

    The ledger takes `noop` for "a runs" while b is being applied: from then on every review is stale, for ever.
    """
    story = reloading()
    story.fire(changed("a"), S.HOT_RELOADING, Outcome.DEFERRED)
    effects = story.fire(changed("a"), S.HOT_RELOADING, Outcome.COALESCED)
    assert effects == ()


def test_after_a_restart_that_read_another_file_the_older_revision_is_news():
    """The file was g for the restart to read and is a again before anybody noticed: a is known, and not what runs."""
    story = booted()
    story.fire(RestartRequested(P1), S.RESTART_PENDING)
    story.ring(S.RESTART_PENDING)
    story.fire(RestartReady(story.token), S.RESTARTING)
    story.fire(Restarted(story.work, "g", 1000.0, POLICY), S.RUNNING)
    story.fire(changed("a", base="g", origin=Origin.FILE), S.HOT_RELOADING)


def test_a_kept_revision_that_comes_again_is_not_superseded_by_itself():
    story = reloading()
    story.fire(changed("c"), S.HOT_RELOADING, Outcome.DEFERRED)
    story.fire(ConfigRejected("bad", "x"), S.HOT_RELOADING)
    effects = story.fire(changed("c"), S.HOT_RELOADING, Outcome.DEFERRED)
    assert SettleRevision("c", "superseded", "c") not in effects


def test_a_forced_ticket_forces_nothing_before_it_is_due():
    """It asks for a restart at 900 that does not wait for work; at 100 work is in flight and another ticket is due."""
    story = booted()
    story.fire(RestartRequested(P1), S.RESTART_PENDING)
    story.fire(RestartRequested(ticket("forced", 900.0, force=True)), S.RESTART_PENDING, Outcome.COALESCED)
    story.ring(S.RESTART_PENDING)
    story.fire(WorkInFlight(story.token, 2, 100.0), S.RESTART_PENDING, Outcome.DEFERRED)
