"""Accounts over time: what is asked of one, what its rows tell together, and faults that the table had."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from statemachine import Channel, ChannelState, Outcome
from statemachine.channel import (
    SETTLED,
    ChannelData,
    has_let_go,
    has_spent_its_starts,
    is_broken,
    is_running,
    is_settled,
    is_stopped,
)
from statemachine.channel_events import (
    By,
    Cause,
    CloseReceiver,
    ConflictOver,
    FenceDue,
    FenceFailed,
    FenceReceiver,
    HostWoke,
    OpenReceiver,
    ReceiverFenced,
    ReceiverReady,
    ReceiverStalled,
    RetryDue,
    Stop,
    StopOverdue,
)
from statemachine.effects import ArmTimer

from .builders import (
    NEW,
    OLD,
    PATIENCE,
    Story,
    armed,
    backoff,
    channel,
    channel_data,
    ended,
    only,
    restart,
    run_of,
    start,
)

S = ChannelState


# What can be asked of a machine


@pytest.mark.parametrize("state", S, ids=lambda state: state.value)
def test_what_can_be_asked_of_a_machine(state):
    machine = channel(state)
    under_way = {S.STARTING, S.STOPPING, S.STOP_OVERDUE}
    assert is_settled(machine) == (state not in under_way) == (state in SETTLED)
    assert has_let_go(machine) == (state not in {S.STOPPING, S.STOP_OVERDUE})
    assert is_stopped(machine) == (state is S.STOPPED)
    assert is_running(machine) == (state is S.RUNNING)
    assert not is_broken(machine)


@pytest.mark.parametrize("cause", Cause, ids=lambda cause: cause.value)
def test_only_a_crash_of_the_adapter_is_a_broken_account(cause):
    """What the network does to an account is no fault of the reload that was applied to it."""
    story = Story(channel(S.STARTING))
    story.machine.fire(ended(cause))
    assert is_broken(story.machine) == (cause is Cause.CRASHED)
    assert not is_broken(channel(S.RUNNING, channel_data(last_cause=cause)))
    if cause is Cause.CRASHED:
        story.fire(RetryDue(story.token), S.STARTING)
        story.fire(ReceiverReady(story.generation), S.RUNNING)
        assert not is_broken(story.machine)


# Stories


def running() -> Story:
    """Generation 1 is running."""
    story = Story(Channel("telegram/main", ChannelData()))
    story.fire(start(By.GATEWAY), S.STARTING)
    story.fire(ReceiverReady(story.generation), S.RUNNING)
    return story


def stopping() -> Story:
    story = running()
    story.fire(Stop(By.GATEWAY), S.STOPPING)
    return story


def overdue() -> Story:
    """The receiver of generation 1 was told to end and does not."""
    story = stopping()
    story.ring(S.STOP_OVERDUE)
    return story


def broken(cause: Cause, after: ChannelState) -> Story:
    story = running()
    story.fire(ended(cause, generation=1), after)
    return story


def generations(story: Story) -> list[int]:
    return [effect.generation for effect in story.said(OpenReceiver)]


def test_a_restart_during_a_stop_joins_it_and_the_newest_run_follows():
    story = stopping()
    story.fire(restart(run=NEW), S.STOPPING, Outcome.COALESCED)
    story.fire(restart(run=OLD), S.STOPPING, Outcome.COALESCED)
    story.fire(restart(run=NEW), S.STOPPING, Outcome.COALESCED)
    assert generations(story) == [1], "nothing is opened while the old one lives"
    assert len(story.said(CloseReceiver)) == 1, "nor is it told twice"
    effects = story.fire(ended(Cause.CLOSED, generation=1), S.STARTING)
    assert only(effects, OpenReceiver) == OpenReceiver(2, NEW)


def test_a_stop_during_a_restart_wins():
    story = running()
    story.fire(restart(run=NEW), S.STOPPING)
    story.fire(Stop(By.GATEWAY), S.STOPPING, Outcome.COALESCED)
    story.fire(ended(Cause.CLOSED, generation=1), S.STOPPED)
    assert generations(story) == [1]


def test_a_restart_opens_the_next_generation_only_when_the_old_one_has_ended():
    story = running()
    effects = story.fire(restart(run=NEW), S.STOPPING)
    assert effects == (CloseReceiver(1, confirm=False), armed(StopOverdue(story.token), 8.0))
    effects = story.fire(ended(Cause.CLOSED, generation=1), S.STARTING)
    assert only(effects, OpenReceiver) == OpenReceiver(2, NEW)
    story.refuse(ReceiverReady(1), "generation_is_current")
    story.fire(ReceiverReady(2), S.RUNNING)
    assert story.armed is None


def test_a_persons_stop_survives_what_the_gateway_asks_for():
    story = running()
    story.fire(Stop(By.PERSON), S.STOPPING)
    story.refuse(restart(By.GATEWAY, NEW), "may_start")
    story.fire(ended(Cause.CLOSED, generation=1), S.STOPPED)
    story.refuse(start(By.GATEWAY, NEW), "may_start")
    story.refuse(restart(By.GATEWAY, NEW), "may_start")
    story.fire(Stop(By.GATEWAY), S.STOPPED, Outcome.COALESCED)
    story.refuse(start(By.GATEWAY), "may_start")
    story.fire(start(By.PERSON), S.STARTING)
    assert not story.data.held


def test_a_stop_by_the_gateway_is_not_remembered():
    story = stopping()
    story.fire(ended(Cause.CLOSED, generation=1), S.STOPPED)
    story.fire(start(By.GATEWAY, NEW), S.STARTING)


@pytest.mark.parametrize(
    ("cause", "after"),
    [(Cause.LOST, S.BACKOFF), (Cause.CONFLICT, S.CONFLICT), (Cause.REFUSED, S.FAILED)],
    ids=["backoff", "conflict", "failed"],
)
def test_a_persons_stop_during_a_wait_ends_the_wait_and_is_remembered(cause, after):
    story = broken(cause, after)
    token = story.token
    story.fire(Stop(By.PERSON), S.STOPPED)
    assert story.armed is None
    story.refuse(RetryDue(token))
    story.refuse(start(By.GATEWAY, NEW), "may_start")


def test_a_start_while_a_receiver_lives_is_refused():
    for story in (running(), stopping(), overdue()):
        story.refuse(start(By.PERSON, NEW))


def test_nothing_starts_while_the_old_receiver_may_live():
    """Neither a person nor the gateway nor a timer nor an old generation opens anything."""
    story = overdue()
    assert story.effects[-1] == FenceReceiver(1)
    story.refuse(start(By.PERSON, NEW))
    story.refuse(RetryDue(story.token))
    story.refuse(StopOverdue(story.token))
    story.refuse(ReceiverReady(1))
    story.refuse(ended(Cause.CLOSED, generation=0), "generation_is_current")
    story.refuse(ReceiverFenced(0, 0.0), "generation_is_current")
    story.refuse(ReceiverFenced(2, 0.0), "generation_is_current")
    story.fire(restart(By.PERSON, NEW), S.STOP_OVERDUE, Outcome.COALESCED)
    for _ in range(3):
        story.fire(FenceFailed(1, "stuck"), S.STOP_OVERDUE, Outcome.DEFERRED)
        assert story.armed == armed(FenceDue(story.token), PATIENCE.fence_retry)
        assert story.ring(S.STOP_OVERDUE) == (FenceReceiver(1),)
    assert generations(story) == [1]
    effects = story.fire(ReceiverFenced(1, 1000.0), S.STARTING)
    assert only(effects, OpenReceiver) == OpenReceiver(2, NEW)


def test_a_receiver_that_ends_late_is_as_good_as_a_fence_and_the_fence_is_stale_then():
    story = overdue()
    story.fire(restart(run=NEW), S.STOP_OVERDUE, Outcome.COALESCED)
    effects = story.fire(ended(Cause.CLOSED, generation=1), S.STARTING)
    assert only(effects, OpenReceiver) == OpenReceiver(2, NEW)
    story.refuse(ReceiverFenced(1, 1000.0))
    story.fire(Stop(By.GATEWAY), S.STOPPING)
    story.ring(S.STOP_OVERDUE)
    story.refuse(ReceiverFenced(1, 1000.0), "generation_is_current")
    story.refuse(FenceFailed(1, "x"), "generation_is_current")


def test_a_fenced_receiver_that_ends_later_is_stale():
    story = overdue()
    story.fire(restart(run=NEW), S.STOP_OVERDUE, Outcome.COALESCED)
    story.fire(ReceiverFenced(1, 1000.0), S.STARTING)
    story.refuse(ended(Cause.CLOSED, generation=1), "generation_is_current")
    story.fire(ReceiverReady(2), S.RUNNING)
    story.refuse(ended(Cause.CONFLICT, generation=1), "generation_is_current")


def test_a_stopped_account_that_was_cut_off_stays_stopped():
    story = overdue()
    story.fire(ReceiverFenced(1, 1000.0), S.STOPPED)
    story.refuse(ended(Cause.CLOSED, generation=1))
    assert story.armed is None


def test_what_the_network_refuses_is_left_only_by_a_person_or_new_settings():
    for event in (start(By.PERSON), restart(By.PERSON), restart(By.GATEWAY, NEW)):
        story = broken(Cause.REFUSED, S.FAILED)
        assert story.armed is None, "no timer brings it back"
        story.refuse(start(By.GATEWAY), "asked_by_person")
        story.refuse(start(By.GATEWAY, NEW), "asked_by_person")
        story.refuse(restart(By.GATEWAY), "deserves_attempt")
        story.refuse(RetryDue(story.token))
        story.fire(event, S.STARTING)


def test_a_conflict_waits_for_a_long_poll_and_a_margin_each_time():
    story = broken(Cause.CONFLICT, S.CONFLICT)
    for generation in (2, 3, 4):
        assert story.armed == armed(RetryDue(story.token), PATIENCE.conflict_wait)
        story.ring(S.STARTING)
        story.fire(ended(Cause.CONFLICT, at=1000.0 + generation, generation=generation), S.CONFLICT)
    assert len(story.data.conflicts) == 4
    assert story.data.failures == (), "a conflict is no failure: it is never suppressed"
    story.fire(restart(), S.CONFLICT, Outcome.DEFERRED)
    assert story.armed == armed(RetryDue(story.token), PATIENCE.conflict_wait), "nor hurried by a reload"


def test_conflicts_are_counted_over_an_hour():
    story = broken(Cause.CONFLICT, S.CONFLICT)
    story.ring(S.STARTING)
    story.fire(ended(Cause.CONFLICT, at=1000.0 + 3600.0, generation=2), S.CONFLICT)
    assert story.data.conflicts == (4600.0,)


def patient() -> Story:
    """An account that is never suppressed."""
    story = Story(Channel("telegram/main", ChannelData()))
    story.fire(start(run=run_of(policy=replace(PATIENCE, intensity=10**6))), S.STARTING)
    return story


def test_backoff_doubles_up_to_a_cap_and_begins_anew_after_success():
    story = patient()
    waits = []
    for at_time in range(8):
        effects = story.fire(ended(at=float(at_time), generation=story.generation), S.BACKOFF)
        waits.append(only(effects, ArmTimer))
        story.ring(S.STARTING)
    assert [wait.after for wait in waits] == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    assert all(wait.jitter and wait.at_least == 0.0 and wait.at is None for wait in waits)
    story.fire(ReceiverReady(story.generation), S.RUNNING)
    effects = story.fire(ended(at=99.0, generation=story.generation), S.BACKOFF)
    assert only(effects, ArmTimer).after == 1.0


def test_backoff_is_never_shorter_than_the_network_asked_for():
    story = patient()
    effects = story.fire(ended(generation=1, retry_after=77.0), S.BACKOFF)
    assert only(effects, ArmTimer) == backoff(story.token, 1.0, 77.0)
    story.ring(S.STARTING)
    effects = story.fire(ended(generation=2), S.BACKOFF)
    assert only(effects, ArmTimer) == backoff(story.token, 2.0, 0.0)


def test_a_year_of_attempts_does_not_overflow():
    story = Story(channel(S.STARTING, channel_data(attempts=10**9)))
    effects = story.fire(ended(), S.BACKOFF)
    assert only(effects, ArmTimer).after == PATIENCE.backoff_cap


def suppressed() -> Story:
    """Three failures in a row, which is the intensity."""
    story = running()
    for generation in (1, 2):
        story.fire(ended(at=1000.0 + generation, generation=generation), S.BACKOFF)
        story.ring(S.STARTING)
    story.fire(ended(at=1003.0, generation=3), S.SUPPRESSED)
    return story


def test_too_many_failures_suppress_the_account_and_a_single_attempt_follows():
    story = suppressed()
    assert story.armed == armed(RetryDue(story.token), PATIENCE.half_open_after)
    story.ring(S.STARTING)
    assert story.data.half_open
    story.fire(ended(at=9000.0, generation=4), S.SUPPRESSED)
    assert not story.data.half_open
    assert story.armed == armed(RetryDue(story.token), PATIENCE.half_open_after), "long after the period, too"
    story.ring(S.STARTING)
    story.fire(ReceiverReady(5), S.RUNNING)
    assert not story.data.half_open
    story.fire(ended(at=9500.0, generation=5), S.BACKOFF)


def test_a_suppressed_account_waits_no_shorter_than_its_network_asked_for():
    for cause in (Cause.LOST, Cause.SPENT):
        story = suppressed()
        story.ring(S.STARTING)
        story.fire(ended(cause, at=9000.0, generation=4, retry_after=600.0), S.SUPPRESSED)
        assert story.armed == armed(RetryDue(story.token), PATIENCE.half_open_after, 600.0)
        assert story.data.wait == 600.0


def test_one_whose_starts_are_spent_is_suppressed_at_once_and_by_whatever_road_it_is_tried():
    """A person, new settings, a long sleep: each attempt is refused again, and leads back to the wait."""
    roads = (start(), restart(By.PERSON), restart(By.GATEWAY, NEW), HostWoke(50_000.0))
    for road in roads:
        story = running()
        story.fire(ended(Cause.SPENT, generation=1, retry_after=40_000.0), S.SUPPRESSED)
        story.refuse(start(By.GATEWAY), "asked_by_person")
        story.fire(restart(By.GATEWAY), S.SUPPRESSED, Outcome.DEFERRED)
        story.fire(HostWoke(39_999.0), S.SUPPRESSED, Outcome.COALESCED)
        story.fire(road, S.STARTING)
        story.fire(ended(Cause.SPENT, at=1100.0, generation=2, retry_after=39_900.0), S.SUPPRESSED)
        assert story.armed == armed(RetryDue(story.token), PATIENCE.half_open_after, 39_900.0)


def test_a_single_attempt_that_takes_too_long_is_a_failed_one():
    story = suppressed()
    story.ring(S.STARTING)
    story.ring(S.STOPPING)
    story.fire(ended(Cause.CLOSED, at=9000.0, generation=4, why=""), S.SUPPRESSED)
    assert story.data.last_error == "the start did not end in time"


def test_failures_that_lie_apart_do_not_suppress():
    story = running()
    for generation in range(1, 20):
        story.fire(ended(at=generation * 150.0, generation=generation), S.BACKOFF)
        story.ring(S.STARTING)


def test_a_person_or_new_settings_end_the_suppression_and_forget_what_led_to_it():
    for event in (start(By.PERSON), restart(By.PERSON), restart(By.GATEWAY, run_of("another token"))):
        story = suppressed()
        story.refuse(start(By.GATEWAY), "asked_by_person")
        story.fire(restart(By.GATEWAY), S.SUPPRESSED, Outcome.DEFERRED)
        story.fire(event, S.STARTING)
        assert (story.data.failures, story.data.attempts, story.data.half_open) == ((), 0, False)
        story.fire(ended(at=1004.0, generation=4), S.BACKOFF)


def test_a_start_that_takes_too_long_is_tried_again_after_its_receiver_has_ended():
    story = Story(Channel("telegram/main", ChannelData()))
    story.fire(start(), S.STARTING)
    assert story.ring(S.STOPPING)[0] == CloseReceiver(1, confirm=False)
    story.refuse(ReceiverReady(1))
    story.fire(ended(Cause.CLOSED, generation=1, why=""), S.BACKOFF)
    assert generations(story) == [1]
    story.ring(S.STARTING)
    assert generations(story) == [1, 2]


def test_a_stop_during_the_end_of_an_overdue_start_wins():
    story = Story(Channel("telegram/main", ChannelData()))
    story.fire(start(), S.STARTING)
    story.ring(S.STOPPING)
    story.fire(Stop(By.GATEWAY), S.STOPPING, Outcome.COALESCED)
    story.fire(ended(Cause.CLOSED, generation=1), S.STOPPED)


def test_a_reload_with_the_same_settings_does_not_hurry_a_wait():
    """The run is adopted; the timer that is armed stays."""
    story = broken(Cause.LOST, S.BACKOFF)
    before = story.armed
    assert story.fire(restart(run=replace(OLD, revision="b")), S.BACKOFF, Outcome.DEFERRED) == ()
    assert story.armed is before
    effects = story.ring(S.STARTING)
    assert only(effects, OpenReceiver).run.revision == "b"


@pytest.mark.parametrize("cause", Cause, ids=lambda cause: cause.value)
def test_starts_are_spent_while_it_waits_for_the_next_one(cause):
    story = Story(channel(S.RUNNING, channel_data(failures=(999.0, 999.5))))
    story.machine.fire(ended(cause))
    assert has_spent_its_starts(story.machine) == (cause is Cause.SPENT)
    if cause is Cause.SPENT:
        story.fire(RetryDue(story.token), S.STARTING)
        assert not has_spent_its_starts(story.machine)


# Faults that the table had, and what holds in their place


def test_an_account_that_crashed_and_was_stopped_as_asked_is_not_broken():
    """Else the reload that disables or removes a crashing account counts as failed, and the gateway restarts."""
    story = broken(Cause.CRASHED, S.BACKOFF)
    story.fire(Stop(By.GATEWAY), S.STOPPED)
    assert not is_broken(story.machine)


def test_a_goodbye_that_is_asked_for_while_the_receiver_ends_is_said():
    """A stop of the gateway may meet an account in the middle of a reload; nobody confirms after it."""
    story = running()
    story.fire(restart(run=NEW), S.STOPPING)
    effects = story.fire(Stop(By.GATEWAY, confirm=True), S.STOPPING, Outcome.COALESCED)
    assert CloseReceiver(1, confirm=True) in effects


def test_new_settings_during_the_single_attempt_are_no_single_attempt():
    """The next generation runs with other settings; its first failure is an ordinary one, as after `suppressed`."""
    story = suppressed()
    story.ring(S.STARTING)
    story.fire(restart(By.GATEWAY, NEW), S.STOPPING)
    story.fire(ended(Cause.CLOSED, at=9000.0, generation=4), S.STARTING)
    assert not story.data.half_open


@pytest.mark.parametrize("event", [start(By.PERSON), restart(By.PERSON)], ids=["start", "restart"])
def test_a_persons_stop_and_start_is_as_good_as_a_start(event):
    """A start out of `suppressed` forgets the failures; a stop before it must not bring them back.

    A restart of what is stopped is a start.
    """
    story = suppressed()
    story.fire(Stop(By.PERSON), S.STOPPED)
    story.fire(event, S.STARTING)
    assert (story.data.failures, story.data.attempts) == ((), 0)


# Stalls, sleep, and conflicts that come back


def test_a_stall_is_one_failure_and_the_next_generation_waits_for_the_old_one_to_end():
    story = running()
    effects = story.fire(ReceiverStalled(1), S.STOPPING)
    assert effects == (CloseReceiver(1, confirm=False), armed(StopOverdue(story.token), 6.0))
    story.refuse(ReceiverStalled(1))
    story.fire(ended(Cause.CLOSED, generation=1, why=""), S.BACKOFF)
    assert story.data.failures == (1000.0,)
    assert "does not answer" in story.data.last_error
    assert generations(story) == [1]
    story.ring(S.STARTING)
    story.refuse(ReceiverStalled(1))
    story.fire(ReceiverReady(2), S.RUNNING)
    story.refuse(ReceiverStalled(1), "generation_is_current")


def test_a_stalled_receiver_that_will_not_die_is_cut_off_before_the_next_begins():
    story = running()
    story.fire(ReceiverStalled(1), S.STOPPING)
    assert FenceReceiver(1) in story.ring(S.STOP_OVERDUE)
    story.fire(ReceiverFenced(1, 1000.0), S.BACKOFF)
    assert generations(story) == [1]
    story.ring(S.STARTING)
    assert generations(story) == [1, 2]


def test_a_sleep_counts_no_failure():
    story = running()
    story.fire(HostWoke(3600.0), S.STOPPING)
    story.fire(ended(Cause.LOST, generation=1), S.STARTING)
    assert (story.data.failures, story.data.attempts, story.data.last_error) == ((), 0, "")
    story.fire(ReceiverReady(2), S.RUNNING)


def test_a_person_stops_an_account_and_no_sleep_wakes_it():
    story = running()
    story.fire(Stop(By.PERSON), S.STOPPING)
    story.fire(HostWoke(3600.0), S.STOPPING, Outcome.COALESCED)
    story.fire(ended(Cause.CLOSED, generation=1), S.STOPPED)
    story.fire(HostWoke(3600.0), S.STOPPED, Outcome.COALESCED)
    assert generations(story) == [1]
    assert story.data.held


def test_a_conflict_that_comes_back_began_when_it_first_came():
    story = running()
    story.fire(ended(Cause.CONFLICT, at=1000.0, generation=1), S.CONFLICT)
    story.ring(S.STARTING)
    story.fire(ReceiverReady(2), S.RUNNING)
    assert story.data.conflict_since == 1000.0, "our first poll has ended the other's, no more"
    story.fire(ended(Cause.CONFLICT, at=1050.0, generation=2), S.CONFLICT)
    assert story.data.conflict_since == 1000.0
    story.ring(S.STARTING)
    story.fire(ReceiverReady(3), S.RUNNING)
    assert story.armed == armed(ConflictOver(story.token), PATIENCE.conflict_wait)
    story.ring(S.RUNNING)
    assert story.data.conflict_since is None
    assert len(story.data.conflicts) == 2, "they are counted on"


def test_the_end_of_a_conflict_is_not_told_by_a_generation_that_is_gone():
    story = running()
    story.fire(ended(Cause.CONFLICT, at=1000.0, generation=1), S.CONFLICT)
    story.ring(S.STARTING)
    story.fire(ReceiverReady(2), S.RUNNING)
    over = ConflictOver(story.token)
    story.fire(HostWoke(50.0), S.STOPPING)
    story.refuse(over)
    story.fire(ended(Cause.CLOSED, generation=2), S.STARTING)
    story.fire(ReceiverReady(3), S.RUNNING)
    story.refuse(over, "timer_is_current")
    assert story.data.conflict_since == 1000.0
