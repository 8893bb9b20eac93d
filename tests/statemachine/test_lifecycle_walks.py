"""The lifecycle, whatever happens to it in whatever order: random walks over the table, each step held against what must be true."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import accumulate
from random import Random

import pytest

from statemachine import Effect, Event, Lifecycle, LifecycleState, Refusal
from statemachine.effects import ArmTimer, DisarmTimer
from statemachine.lifecycle import ALIVE, BUSY, TABLE
from statemachine.lifecycle_data import LifecycleData, Waiting
from statemachine.lifecycle_events import (
    Boot,
    CheckReadiness,
    CloseTicket,
    ConfigChanged,
    ConfigRejected,
    ConfigUnfit,
    Impact,
    Origin,
    PlanApplied,
    PlanFailed,
    ReloadOverdue,
    RestartCancelled,
    RestartDue,
    Restarted,
    RestartFailed,
    RestartOverdue,
    RestartReady,
    RestartRequested,
    SettleRevision,
    Started,
    StartFailed,
    StartOverdue,
    StopFailed,
    StopFinished,
    StopOverdue,
    StopRequested,
    TicketOpened,
    Vacated,
    WorkInFlight,
)

from .builders import (
    POLICY,
    Story,
    changed,
    lifecycle,
    lifecycle_data,
    outcomes,
    settlements,
    ticket,
)

S = LifecycleState
SEEDS, STEPS = 300, 200


REVISIONS = "abcde"
IMPACTS, ORIGINS = tuple(Impact), tuple(Origin)


def number(random: Random, current: int) -> int:
    """Mostly the current one."""
    return current if random.random() < 0.8 else current + random.choice((-1, 1))


def config_changed(random: Random, data: LifecycleData, step: int) -> ConfigChanged:
    return changed(
        random.choice(REVISIONS),
        random.choice(IMPACTS),
        data.applied if random.random() < 0.85 else "z",
        overlay=random.random() < 0.3,
        origin=random.choice(ORIGINS),
        reload=random.random() < 0.8,
        due_at=random.uniform(0, 2 * step),
        ticket_id=f"revision {step}",
    )


MAKERS: dict[Callable[[Random, LifecycleData, int], Event], float] = {
    config_changed: 8,
    lambda r, d, n: changed(d.reviewed or d.known, r.choice(IMPACTS), d.applied, ticket_id=f"review {n}"): 4,
    lambda r, d, n: ConfigRejected(r.choice(["bad", "worse", r.choice(REVISIONS), d.reviewed or "bad"]), "x"): 2,
    lambda r, d, n: RestartRequested(ticket(f"person {n}", r.uniform(0, 2 * n), force=r.random() < 0.1)): 3,
    lambda r, d, n: RestartCancelled(r.choice([t.id for t in (*d.tickets, *d.served)] or ["none"])): 3,
    lambda r, d, n: Started(number(r, d.work), r.choice(REVISIONS)): 3,
    lambda r, d, n: PlanApplied(number(r, d.work), d.carried or "a", complete=True): 3,
    lambda r, d, n: PlanApplied(number(r, d.work), f"{d.applied}+", complete=False): 1,
    lambda r, d, n: PlanFailed(number(r, d.work), "x"): 2,
    lambda r, d, n: ReloadOverdue(number(r, d.timer)): 1,
    lambda r, d, n: RestartDue(number(r, d.timer)): 4,
    lambda r, d, n: RestartReady(number(r, d.timer)): 3,
    lambda r, d, n: WorkInFlight(number(r, d.timer), r.choice([None, 1]), 10.0 * n): 2,
    lambda r, d, n: ConfigUnfit(number(r, d.timer), "x"): 1,
    lambda r, d, n: Restarted(number(r, d.work), r.choice(REVISIONS), float(n), POLICY): 3,
    lambda r, d, n: Vacated(number(r, d.work)): 1,
    lambda r, d, n: RestartFailed(number(r, d.work), "x", float(n), recovered=r.random() < 0.8): 1,
    lambda r, d, n: StartFailed(number(r, d.work), "x", 1): 0.2,
    lambda r, d, n: StartOverdue(number(r, d.timer)): 0.2,
    lambda r, d, n: RestartOverdue(number(r, d.timer)): 0.2,
    lambda r, d, n: StopFinished(number(r, d.work)): 2,
    lambda r, d, n: StopFailed(number(r, d.work), "x"): 1,
    lambda r, d, n: StopOverdue(number(r, d.timer)): 1,
    lambda r, d, n: StopRequested("SIGTERM"): 0.5,
}
MAKERS_UP_TO = tuple(accumulate(MAKERS.values()))
DEADLINES = {
    S.STARTING: StartOverdue,
    S.HOT_RELOADING: ReloadOverdue,
    S.RESTARTING: RestartOverdue,
    S.STOPPING: StopOverdue,
}


class Watch:
    """Follows one machine, and asserts after each step what must always be true."""

    def __init__(self) -> None:
        self.machine = Lifecycle("gateway", LifecycleData())
        self.opened: set[str] = set()
        self.closed: set[str] = set()
        self.handling: Counter[str] = Counter()
        """How often each revision still has to be settled."""
        self.armed: Event | None = None
        self.check: int | None = None
        """The number that the readiness is being looked at under."""

    def fire(self, event: Event) -> None:
        state, before = self.machine.state, self.machine.data
        answer = self.machine.fire(event)
        if isinstance(answer, Refusal):
            assert self.machine.state is state
            assert self.machine.data is before
            return
        self._begin(event, before, absorbed="revision_is_known" in TABLE[answer.row].guards)
        if event == self.armed:
            self.armed = None
        for effect in answer.effects:
            given_up = isinstance(event, RestartCancelled | ConfigUnfit | RestartFailed)
            reverted = isinstance(event, ConfigChanged) and event.impact is Impact.NONE
            if isinstance(effect, SettleRevision) and (
                (given_up and effect.outcome == "noted") or (reverted and not self.handling[effect.revision])
            ):
                assert effect.revision == before.awaiting, "a second word is for what was told to wait"
            else:
                self._follow(effect)
        self._look()

    def _begin(self, event: Event, before: LifecycleData, absorbed: bool) -> None:
        """A revision that is accepted is to be settled. A review goes on with the handling; a joiner shares one."""
        if isinstance(event, ConfigChanged | ConfigRejected):
            goes_on = not absorbed and before.reviewed == event.revision
            again = event.revision in (before.kept, before.reviewed)
            again = again or (isinstance(event, ConfigRejected) and event.revision == before.carried)
            joins = again or (absorbed and (self.handling[event.revision] or isinstance(event, ConfigRejected)))
            if not goes_on and not joins:
                self.handling[event.revision] += 1

    def _follow(self, effect: Effect) -> None:
        if isinstance(effect, TicketOpened):
            assert effect.ticket.id not in self.opened, "opened twice"
            self.opened.add(effect.ticket.id)
        elif isinstance(effect, CloseTicket):
            assert effect.id in self.opened, "closed and never opened"
            assert effect.id not in self.closed, f"{effect.id} was closed twice"
            self.closed.add(effect.id)
        elif isinstance(effect, SettleRevision):
            assert self.handling[effect.revision], f"{effect.revision} was settled twice for one handling: {effect}"
            self.handling[effect.revision] -= 1
        elif isinstance(effect, ArmTimer):
            self.armed = effect.then
        elif isinstance(effect, DisarmTimer):
            self.armed = None
        elif isinstance(effect, CheckReadiness):
            self.check = effect.token

    def _look(self) -> None:
        state, data = self.machine.state, self.machine.data
        waiting = {told.id for told in (*data.tickets, *data.served)}
        assert waiting == self.opened - self.closed, "who waits is known, and nobody else is"
        assert bool(data.tickets) or state is not S.RESTART_PENDING
        assert not data.tickets or state in (S.RESTART_PENDING, *BUSY)
        assert bool(data.served) == (state is S.RESTARTING)
        assert (data.carried is not None) == (state is S.HOT_RELOADING)
        assert data.kept is None or state in BUSY
        assert (data.waiting is Waiting.NOTHING) == (state is not S.RESTART_PENDING)
        if state in (S.STOPPING, S.STOPPED, S.FAILED):
            assert self.opened == self.closed, "nobody waits in vain"
            assert +self.handling == Counter()
        self._is_not_stuck(state, data)

    def _is_not_stuck(self, state: LifecycleState, data: LifecycleData) -> None:
        """Whatever is under way ends: by the timer that is armed, or by the look that is being taken."""
        if state is S.RESTART_PENDING:
            assert self.armed == RestartDue(data.timer) or self.check == data.timer
        elif state in DEADLINES:
            assert self.armed == DEADLINES[state](data.timer)
        elif state is S.RUNNING:
            assert self.armed is None


def booted_watch() -> Watch:
    watch = Watch()
    watch.fire(Boot("a", POLICY))
    return watch


def wander(seed: int, steps: int) -> Counter[LifecycleState]:
    """Random events through one machine, then a stop; a new machine where one has come to its end."""
    random, seen = Random(seed), Counter[LifecycleState]()
    watch = booted_watch()
    makers = tuple(MAKERS)
    for step in range(1, steps + 1):
        event = random.choices(makers, cum_weights=MAKERS_UP_TO)[0](random, watch.machine.data, step)
        watch.fire(event)
        seen[watch.machine.state] += 1
        if watch.machine.state is S.FAILED:
            watch.fire(StopRequested("SIGTERM"))
        if watch.machine.state is S.STOPPED:
            watch = booted_watch()
    watch.fire(StopRequested("SIGTERM"))
    assert watch.machine.state in (S.STOPPING, S.STOPPED)
    return seen


def test_every_ticket_and_every_revision_gets_one_outcome_whatever_happens():
    """A ticket is closed at most once, and after a stop exactly once; each handling of a revision is settled once."""
    seen: Counter[LifecycleState] = Counter()
    for seed in range(SEEDS):
        try:
            seen += wander(seed, STEPS)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error!r}") from error
    assert set(seen) == set(S), "the wandering is worth nothing where it does not come"
    assert min(seen[state] for state in ALIVE) > SEEDS * STEPS / 50


@pytest.mark.parametrize("state", [*ALIVE, S.FAILED], ids=lambda state: state.value)
def test_a_stop_answers_everybody_from_there(state):
    """Random tickets and revisions in every combination of the places where they can wait."""
    random = Random(state.value)
    for _ in range(100):
        mine = [ticket(f"t{index}", random.uniform(0, 100)) for index in range(random.randint(0, 4))]
        cut = random.randint(0, len(mine))
        carried, kept, reviewed = (random.choice([None, revision]) for revision in "bce")
        data = lifecycle_data(
            tickets=tuple(mine[:cut]), served=tuple(mine[cut:]), carried=carried, kept=kept, reviewed=reviewed
        )
        if state is S.FAILED:
            data = lifecycle_data()
        story = Story(lifecycle(state, data))
        story.fire(StopRequested("SIGTERM"), S.STOPPED if state is S.FAILED else S.STOPPING)
        expected = {told.id: "refused" for told in data.tickets} | {told.id: "failed" for told in data.served}
        assert outcomes(story) == expected
        waited = [revision for revision in (data.carried, data.kept, data.reviewed) if revision is not None]
        assert [told.revision for told in story.said(SettleRevision)] == waited


@pytest.mark.parametrize("given_up", ["cancelled", "unfit", "failed"])
def test_what_waits_for_a_restart_that_will_not_come_is_told_so(given_up):
    story = Story(lifecycle(S.RUNNING, lifecycle_data()))
    story.fire(changed("b", Impact.GATEWAY), S.RESTART_PENDING)
    assert story.data.awaiting == "b"
    if given_up == "cancelled":
        story.fire(RestartCancelled("for b"), S.RUNNING)
    elif given_up == "unfit":
        story.fire(ConfigUnfit(story.data.timer, "it is not valid"), S.RUNNING)
    else:
        story.fire(RestartReady(story.data.timer), S.RESTARTING)
        story.fire(RestartFailed(story.work, "no port", 5.0, recovered=True), S.RUNNING)
    assert settlements(story, "b") == ["restart_pending", "noted"]
    assert story.data.awaiting is None


@pytest.mark.parametrize("gone", ["reverted", "applied", "restarted"])
def test_what_runs_waits_for_no_restart_any_more(gone):
    story = Story(lifecycle(S.RUNNING, lifecycle_data()))
    story.fire(changed("b", Impact.GATEWAY), S.RESTART_PENDING)
    if gone == "reverted":
        story.fire(changed("c", Impact.NONE), S.RUNNING)
    elif gone == "applied":
        story.fire(changed("c"), S.HOT_RELOADING)
        story.fire(PlanApplied(story.work, "c", complete=True), S.RUNNING)
    else:
        story.fire(RestartReady(story.data.timer), S.RESTARTING)
        story.fire(Restarted(story.work, "b", 5.0, POLICY), S.RUNNING)
    assert story.data.awaiting is None
