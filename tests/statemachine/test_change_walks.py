"""Changes, whatever happens to them in whatever order: random walks over the table, each step held against what must be true."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import accumulate
from random import Random

from statemachine import Change, ChangeState, Effect, Event, Refusal
from statemachine.change import ENDED, PREPARING
from statemachine.change_events import (
    AccountLost,
    CancelStage,
    ChangeCancelled,
    ChangeConfirmed,
    ChangeData,
    ChangeProposed,
    ChangeProvisioned,
    ChangeResumed,
    ChangeSuperseded,
    ChangeUnfit,
    ChangeValidated,
    ChangeWritten,
    CheckHealth,
    CloseWindow,
    HealthChecked,
    OpenWindow,
    ProbationExtended,
    ProbationOver,
    PromoteRevision,
    ProvisionChange,
    ReportChange,
    RestoreBase,
    RevisionSettled,
    Settlement,
    Stage,
    StageOverdue,
    SubmitRevision,
    ValidateChange,
    WriteChange,
)
from statemachine.effects import ArmTimer, DisarmTimer

from .builders import number, settled

S = ChangeState
SEEDS, STEPS = 1_000, 30
WORK = (ValidateChange, ProvisionChange, WriteChange, CheckHealth)
LAST_WORDS = {
    S.COMMITTED: {"committed", "its word"},
    S.ROLLED_BACK: {"rolled_back"},
    S.REJECTED: {"rejected", "superseded", "its word"},
}


def confirm(random: Random) -> float | None:
    return random.choice((None, 5.0))


MAKERS: dict[Callable[[Random, ChangeData], Event], int] = {
    lambda r, d: ChangeProposed(r.random() < 0.7, confirm(r), r.random() < 0.1): 6,
    lambda r, d: ChangeResumed("b", r.choice("ab"), confirm(r), r.random() < 0.2): 2,
    lambda r, d: ChangeValidated(number(r, d.work), "b", r.choice("aab")): 9,
    lambda r, d: ChangeProvisioned(number(r, d.work)): 9,
    lambda r, d: ChangeWritten(number(r, d.work)): 9,
    lambda r, d: ChangeUnfit(number(r, d.work), r.choice(tuple(Stage)), "no"): 1,
    lambda r, d: StageOverdue(number(r, d.timer)): 1,
    lambda r, d: settled(r.choice(tuple(Settlement)), r.choice("abbc"), lost=r.choice(("", "", "x/y"))): 6,
    lambda r, d: ChangeSuperseded("change/2"): 1,
    lambda r, d: ChangeConfirmed("x"): 1,
    lambda r, d: ProbationExtended(60.0, "x"): 1,
    lambda r, d: ChangeCancelled("x"): 1,
    lambda r, d: AccountLost("x/y", "401"): 1,
    lambda r, d: ProbationOver(number(r, d.timer)): 2,
    lambda r, d: HealthChecked(number(r, d.work), r.random() < 0.5): 2,
}
MAKERS_UP_TO = tuple(accumulate(MAKERS.values()))


class Watch:
    """Follows one machine, and asserts after each step what must always be true."""

    def __init__(self) -> None:
        self.machine = Change("change/1", ChangeData())
        self.promised = False
        """It is on disk that this must be confirmed, or else is rolled back."""
        self.armed: Event | None = None
        self.working: int | None = None
        """The number of the work whose completion is still to come."""
        self.reports: list[str] = []

    def can_come(self, event: Event) -> bool:
        """Each piece of work is completed once, and each timer fires once: after that, only older ones may still speak."""
        data = self.machine.data
        again = self.working is None and getattr(event, "work", None) == data.work
        return not again and not (self.armed is None and getattr(event, "token", None) == data.timer)

    def fire(self, event: Event) -> None:
        state, before = self.machine.state, self.machine.data
        answer = self.machine.fire(event)
        if isinstance(answer, Refusal):
            assert (self.machine.state, self.machine.data) == (state, before)
            return
        assert state not in ENDED, "an ended change takes nothing more"
        self._hear(event)
        for effect in answer.effects:
            self._follow(effect, event, state)
        restored = [effect for effect in answer.effects if isinstance(effect, RestoreBase)]
        assert len(restored) == (state is not S.ROLLING_BACK and self.machine.state is S.ROLLING_BACK)
        self._look()
        if self.machine.state in ENDED:
            self._look_at_the_end(event, answer.effects)

    def _hear(self, event: Event) -> None:
        """What the accepted event says, before what the step asks for."""
        self.promised = self.promised or (isinstance(event, ChangeResumed) and event.confirm is not None)
        if isinstance(event, StageOverdue | ProbationOver):
            assert event == self.armed, "a stale timer was taken"
            self.armed = None
        work = getattr(event, "work", None)
        if work is not None:
            assert work == self.working, "stale work was taken"
            self.working = None

    def _follow(self, effect: Effect, event: Event, state: ChangeState) -> None:
        if isinstance(effect, WORK):
            assert self.working is None, "one piece of work at a time"
            self.working = effect.work
        elif isinstance(effect, CancelStage):
            self.working = None
        elif isinstance(effect, ArmTimer):
            self.armed = effect.then
        elif isinstance(effect, DisarmTimer):
            self.armed = None
        elif isinstance(effect, ReportChange):
            self.reports.append(effect.outcome)
        elif isinstance(effect, SubmitRevision):
            assert state in PREPARING
        elif isinstance(effect, PromoteRevision):
            assert state is S.PROBATION
            assert isinstance(event, ChangeConfirmed) or (isinstance(event, HealthChecked) and event.healthy)
        self._follow_window(effect)

    def _follow_window(self, effect: Effect) -> None:
        if isinstance(effect, OpenWindow) or (isinstance(effect, WriteChange) and effect.confirm is not None):
            self.promised = True
        elif isinstance(effect, CloseWindow | RestoreBase):
            assert effect.revision == self.machine.data.revision
            self.promised = False

    def _look(self) -> None:
        state, data = self.machine.state, self.machine.data
        if state in PREPARING:
            assert self.armed == StageOverdue(data.timer), "nothing would ever end it"
            assert self.working == data.work
        elif state is S.PROBATION:
            assert (self.armed == ProbationOver(data.timer)) != (self.working == data.work), "nothing would ever end it"
            assert self.promised == (data.confirm is not None)
        else:
            assert self.armed is None
        assert not data.waiting or state not in (*PREPARING, S.PROBATION)
        assert data.confirm is None or not data.superseded

    def _look_at_the_end(self, event: Event, effects: tuple[Effect, ...]) -> None:
        state, must_be_confirmed = self.machine.state, self.machine.data.confirm is not None
        assert isinstance(effects[-1], ReportChange), "the last thing that is done for it is to say what became of it"
        assert effects[-1].outcome in LAST_WORDS[state]
        if must_be_confirmed and state is S.COMMITTED:
            assert isinstance(event, ChangeConfirmed)
        if not (isinstance(event, RevisionSettled) and event.settlement is Settlement.ENDS):
            assert not self.promised, "a later boot would roll back what has ended"
        if state is S.ROLLED_BACK and must_be_confirmed:
            assert "rolling_back" in self.reports, "why was said when it began"


def wander(seed: int) -> Counter[ChangeState]:
    random, watch, seen = Random(seed), Watch(), Counter[ChangeState]()
    makers = tuple(MAKERS)
    for _ in range(STEPS):
        for _ in range(4):
            event = random.choices(makers, cum_weights=MAKERS_UP_TO)[0](random, watch.machine.data)
            if watch.can_come(event):
                watch.fire(event)
        seen[watch.machine.state] += 1
    return seen


def test_a_change_keeps_its_promises_whatever_happens():
    seen: Counter[ChangeState] = Counter()
    for seed in range(SEEDS):
        try:
            seen += wander(seed)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error!r}") from error
    assert set(seen) == set(S), "the wandering is worth nothing where it does not come"
    assert min(seen.values()) > SEEDS * STEPS / 200
