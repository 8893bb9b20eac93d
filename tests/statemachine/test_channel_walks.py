"""Accounts, whatever happens to them in whatever order: random walks over the table, each step held against what must be true."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import accumulate
from random import Random

from msgspec.structs import replace

from statemachine import Channel, ChannelState, Event, Refusal
from statemachine.channel import (
    CLOSING,
    LIVE,
    OPEN,
    ChannelData,
    Then,
    waits_for_lease,
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
    LeaseGained,
    LeaseLost,
    OpenReceiver,
    ReceiverEnded,
    ReceiverFenced,
    ReceiverReady,
    ReceiverStalled,
    Restart,
    RetryDue,
    Start,
    StartOverdue,
    Stop,
    StopOverdue,
    WatchReceiver,
)
from statemachine.effects import ArmTimer, DisarmTimer

from .builders import (
    OFF,
    PATIENCE,
    ended,
    number,
    run_of,
)

S = ChannelState
SEEDS, STEPS = 500, 60


QUICK = replace(PATIENCE, intensity=2)
RUNS = (run_of(policy=QUICK), run_of("new token", policy=QUICK), run_of("new token", "b", policy=QUICK), OFF)
CAUSES = (*Cause, Cause.LOST, Cause.LOST, Cause.CRASHED)
MAKERS: dict[Callable[[Random, ChannelData, float], Event], int] = {
    lambda r, d, now: Start(r.choice(RUNS), r.choice((By.PERSON, By.GATEWAY))): 4,
    lambda r, d, now: Restart(r.choice(RUNS), r.choice((By.PERSON, By.GATEWAY))): 3,
    lambda r, d, now: Stop(r.choice((By.PERSON, By.GATEWAY)), r.random() < 0.5): 1,
    lambda r, d, now: ReceiverReady(number(r, d.generation)): 4,
    lambda r, d, now: ended(r.choice(CAUSES), now, number(r, d.generation)): 6,
    lambda r, d, now: StartOverdue(number(r, d.timer)): 2,
    lambda r, d, now: StopOverdue(number(r, d.timer)): 4,
    lambda r, d, now: RetryDue(number(r, d.timer)): 4,
    lambda r, d, now: FenceDue(number(r, d.timer)): 3,
    lambda r, d, now: ReceiverFenced(number(r, d.generation), now): 3,
    lambda r, d, now: FenceFailed(number(r, d.generation), "stuck"): 3,
    lambda r, d, now: ReceiverStalled(number(r, d.generation)): 1,
    lambda r, d, now: HostWoke(r.choice((45.0, 100.0, 3600.0))): 1,
    lambda r, d, now: LeaseGained(): 1,
    lambda r, d, now: LeaseLost(): 1,
    lambda r, d, now: ConflictOver(number(r, d.timer)): 1,
}
MAKERS_UP_TO = tuple(accumulate(MAKERS.values()))
DEADLINES = {
    S.STARTING: StartOverdue,
    S.STOPPING: StopOverdue,
    S.BACKOFF: RetryDue,
    S.CONFLICT: RetryDue,
    S.SUPPRESSED: RetryDue,
}


class Watch:
    """Follows one machine, and asserts after each step what must always be true."""

    def __init__(self) -> None:
        self.machine = Channel("telegram/main", ChannelData())
        self.alive: int | None = None
        """The generation whose receiver may receive."""
        self.newest = 0
        self.wanted_by_person = True
        """No person has stopped it since one started it."""
        self.armed: Event | None = None
        self.fencing = False
        self.watched: int | None = None

    def fire(self, event: Event) -> None:
        state, before = self.machine.state, self.machine.data
        answer = self.machine.fire(event)
        if isinstance(answer, Refusal):
            assert self.machine.state is state
            assert self.machine.data is before
            return
        self._hear(event)
        for effect in answer.effects:
            self._follow(effect)
        self._look()

    def _hear(self, event: Event) -> None:
        """What the accepted event says, before what the step asks for."""
        if event == self.armed:
            self.armed = None
        if isinstance(event, ReceiverEnded | ReceiverFenced):
            assert event.generation == self.alive, "the word of another generation was taken"
            self.alive, self.fencing = None, False
        elif isinstance(event, ReceiverReady):
            assert event.generation == self.alive
        elif isinstance(event, FenceFailed):
            self.fencing = False
        elif isinstance(event, Stop) and event.by is By.PERSON:
            self.wanted_by_person = False
        elif isinstance(event, Start | Restart) and event.by is By.PERSON:
            self.wanted_by_person = True

    def _follow(self, effect: object) -> None:
        if isinstance(effect, OpenReceiver):
            assert self.alive is None, f"generation {effect.generation} beside {self.alive}"
            assert effect.generation > self.newest
            assert effect.run.enabled
            assert self.wanted_by_person, "a person stopped it"
            self.alive = self.newest = effect.generation
        elif isinstance(effect, CloseReceiver | FenceReceiver):
            assert effect.generation == self.alive
            self.fencing = self.fencing or isinstance(effect, FenceReceiver)
        elif isinstance(effect, WatchReceiver):
            assert effect.generation == self.alive
            self.watched = self.alive
        elif isinstance(effect, ArmTimer):
            self.armed = effect.then
        elif isinstance(effect, DisarmTimer):
            self.armed = None

    def _look(self) -> None:
        state, data = self.machine.state, self.machine.data
        assert (self.alive is not None) == (state in LIVE)
        assert self.alive in (None, data.generation)
        assert data.generation == self.newest
        assert not data.held or state in (S.STOPPED, *CLOSING)
        assert data.then is Then.REST or state not in OPEN
        assert data.then is not Then.RUN or state in CLOSING
        assert not data.half_open or state in LIVE
        if state is S.STOP_OVERDUE:
            assert self.fencing or self.armed == FenceDue(data.timer), "nothing would ever free it"
        elif waits_for_lease(self.machine):
            assert self.armed is None, "its lease ends it, and no timer"
        elif state in DEADLINES:
            assert self.armed == DEADLINES[state](data.timer), "nothing would ever end it"
        elif state is S.RUNNING and data.conflict_since is not None:
            assert self.armed == ConflictOver(data.timer), "it would never be over"
        else:
            assert self.armed is None
        assert state is not S.RUNNING or self.watched == self.alive, "nobody would see it hang"


def wander(seed: int, steps: int) -> Counter[ChannelState]:
    random, seen = Random(seed), Counter[ChannelState]()
    watch, now = Watch(), 0.0
    makers = tuple(MAKERS)
    for _ in range(steps):
        now += random.uniform(0, 10)
        watch.fire(random.choices(makers, cum_weights=MAKERS_UP_TO)[0](random, watch.machine.data, now))
        seen[watch.machine.state] += 1
    return seen


def test_never_two_receivers_whatever_happens():
    """Between two `OpenReceiver` lies the accepted end or fence of the older one; generations only ever grow."""
    seen: Counter[ChannelState] = Counter()
    for seed in range(SEEDS):
        try:
            seen += wander(seed, STEPS)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error!r}") from error
    assert set(seen) == set(S), "the wandering is worth nothing where it does not come"
    assert min(seen.values()) > SEEDS * STEPS / 200
