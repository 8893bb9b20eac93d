"""One account's ownership among several hosts: who holds its lease may receive on it, and nobody else.

Who sends what: whoever opens receivers says `lease_wanted`, which is said only when the receiver before it is proven dead;
who sees an account come to rest says `lease_given_up`; the store that the hosts share answers `lease_taken`, `lease_denied`,
`lease_released`, or fails. The rest is this machine's timer.

Source: the leader election of Kubernetes' client-go, which compares no clocks of two hosts: whoever waits takes a lease over
when it has seen it unchanged for as long as it is given; whoever holds it counts from before it asked, and ends sooner.
Its `fenced` and the waiting for a long poll are this project's.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, ClassVar

import msgspec

from statemachine._machine import Command, Draft, Event, Exits, Machine, Outcome, Row, Work, action, guard
from statemachine.effects import ArmTimer, DisarmTimer


class LeaseState(Enum):
    """Whether this gateway may receive on the account."""

    FREE = "free"
    """It is not wanted here."""
    ACQUIRING = "acquiring"
    """It is asked for, or taken and not used yet: what the holder before had asked its network may still be under way."""
    HELD = "held"
    """It is ours, and is renewed: there may be a receiver."""
    FENCED = "fenced"
    """It could not be renewed: still ours, for the short time that it takes to cut the receiver off."""
    RELEASING = "releasing"
    """The account is at rest, and the store is being told that anybody may have it."""
    LOST = "lost"
    """It is anybody's: there is no receiver any more."""


S = LeaseState


class LeasePolicy(msgspec.Struct, frozen=True):
    """How long everything takes, in seconds.

    `margin` is what is left of `ttl` when a receiver is cut off; `linger` is how long one that is dead may still
    receive, since its network waits with it: the long poll's time and a margin.
    """

    ttl: float = 15.0
    margin: float = 4.0
    renew_after: float = 5.0
    ask_after: float = 1.0
    answer_within: float = 3.0
    linger: float = 45.0


class LeaseData(msgspec.Struct, frozen=True):
    """What it knows beside its state. Times are monotonic seconds."""

    key: str = ""
    """Which bot, in which store."""
    policy: LeasePolicy = LeasePolicy()
    term: int = 0
    """Rises each time that somebody takes it: what says a lower one is a former holder's word."""
    attempt: int = 0
    """The number of what the store was asked last: other answers are stale."""
    clear_at: float = 0.0
    """When nothing that an earlier holder had asked its network for can be under way."""
    ends: float = 0.0
    """When the receiver must be cut off, unless it is renewed before."""
    why: str = ""
    """Why it is not held: who holds it, or what the store failed with."""
    answers: bool = True
    """The store did, the last time that it was asked."""
    timer: int = 0


class LeaseWanted(Event, frozen=True):
    """A receiver is about to be opened; the one before it is dead. `key` says which bot it is, and in which store it is asked for."""

    key: str
    policy: LeasePolicy


class LeaseGivenUp(Event, frozen=True):
    """The account is at rest: there is no receiver, and none is wanted."""


class LeaseTaken(Event, frozen=True):
    """It is ours from `at`, when it was asked for. For so many seconds somebody else may still receive, or seem to."""

    attempt: int
    at: float
    term: int
    waits: float = 0.0


class LeaseDenied(Event, frozen=True):
    """It is somebody else's."""

    attempt: int
    holder: str


class LeaseReleased(Event, frozen=True):
    """Whoever wants it may have it at once."""

    attempt: int


class StoreFailed(Event, frozen=True):
    """Nobody knows: the store that the hosts share did not answer, or not in a way that can be understood."""

    attempt: int
    at: float
    why: str


class AskDue(Event, frozen=True):
    """It is time to ask for it, or to renew it."""

    token: int


class LeaseEnds(Event, frozen=True):
    """It was not renewed, and nothing more can be waited for."""

    token: int


class LeaseOver(Event, frozen=True):
    """Whoever waits for it may have it from now on."""

    token: int


class ReleaseOverdue(Event, frozen=True):
    """The store was not told; it runs out by itself."""

    token: int


class HoldLease(Work, frozen=True):
    """Ask the store for it. Ends in LeaseTaken, LeaseDenied or StoreFailed.

    Before `clear_at` it is written down that it may not be used yet, for another life of this gateway. `renews`: it is held,
    under the number `term`, and whatever else the store says is a denial.
    """

    attempt: int
    key: str
    policy: LeasePolicy
    term: int
    clear_at: float
    renews: bool = False


class ReleaseLease(Work, frozen=True):
    """Tell the store that anybody may have it. Ends in LeaseReleased or StoreFailed."""

    attempt: int
    key: str
    term: int


class GrantLease(Command, frozen=True):
    """Tell the account's channel that it may receive."""


class RevokeLease(Command, frozen=True):
    """Tell the account's channel that it must not receive any more, from now on."""


class Lease(Machine[LeaseState, LeaseData]):
    """The machine of one account's lease; its name is `lease/channel/account`."""

    kind = "lease"
    states = LeaseState
    initial = S.FREE
    final = frozenset({S.FREE})
    failed = frozenset({S.FENCED, S.LOST})
    repeats = True
    exits: ClassVar[dict[Any, Exits[Any]]] = {
        S.ACQUIRING: Exits((LeaseTaken,), (LeaseDenied, StoreFailed), (AskDue,), (LeaseWanted,)),
        S.RELEASING: Exits((LeaseReleased,), (StoreFailed,), (ReleaseOverdue,), (LeaseWanted,)),
    }
    # fmt: off
    table: ClassVar[tuple[Row[LeaseState], ...]] = (
        # That it is wanted is the proof that no receiver lives: one is opened only when the one before is dead.
        Row(LeaseWanted, (S.FREE, S.FENCED, S.LOST, S.RELEASING), S.ACQUIRING, effects=("adopt", "expect_an_answer", "ask", "arm_next_ask")),
        # The account is another bot from now on, or is asked for elsewhere.
        Row(LeaseWanted, (S.ACQUIRING, S.HELD), S.ACQUIRING, ("is_asked_for_elsewhere",),
            effects=("let_go", "adopt", "ask", "arm_next_ask")),
        Row(LeaseWanted, (S.ACQUIRING, S.HELD), None, effects=("adopt",), outcome=Outcome.COALESCED),

        # Asked for, again and again.
        Row(LeaseTaken, S.ACQUIRING, None, ("answer_is_awaited", "others_may_still_receive"),
            effects=("note_taken", "arm_renewal"), outcome=Outcome.DEFERRED),
        Row(LeaseTaken, S.ACQUIRING, S.HELD, ("answer_is_awaited",), effects=("note_taken", "arm_renewal", "grant")),
        Row(LeaseDenied, S.ACQUIRING, None, ("answer_is_awaited",), effects=("note_holder", "arm_ask"),
            outcome=Outcome.DEFERRED),
        Row(StoreFailed, S.ACQUIRING, None, ("answer_is_awaited",), effects=("note_failure", "arm_ask"),
            outcome=Outcome.DEFERRED),
        # Also where no answer came, which is one.
        Row(AskDue, S.ACQUIRING, None, ("timer_is_current",), effects=("note_silence", "ask", "arm_next_ask")),

        # Renewed, as long as it goes. While the store is asked, the end of what it gave the last time is what is waited for.
        Row(AskDue, S.HELD, None, ("timer_is_current",), effects=("renew", "arm_end")),
        Row(LeaseTaken, S.HELD, None, ("answer_is_awaited",), effects=("note_taken", "arm_renewal")),
        Row(StoreFailed, S.HELD, None, ("answer_is_awaited", "there_is_time_to_ask"), effects=("note_failure", "arm_ask"),
            outcome=Outcome.DEFERRED),
        Row(StoreFailed, S.HELD, None, ("answer_is_awaited",), effects=("note_failure", "arm_end"),
            outcome=Outcome.DEFERRED),
        # Before it is anybody else's, nothing of ours receives any more.
        Row(LeaseEnds, S.HELD, S.FENCED, ("timer_is_current",), effects=("expect_no_answer", "revoke", "arm_over")),
        Row(LeaseOver, S.FENCED, S.LOST, ("timer_is_current",)),
        Row(LeaseDenied, S.HELD, S.LOST, ("answer_is_awaited",), effects=("note_holder", "revoke", "disarm")),

        # Given up, when the account is at rest.
        Row(LeaseGivenUp, (S.ACQUIRING, S.HELD, S.FENCED), S.RELEASING, effects=("let_go", "arm_release_deadline")),
        Row(LeaseGivenUp, S.LOST, S.FREE),
        Row(LeaseGivenUp, (S.FREE, S.RELEASING), None, outcome=Outcome.COALESCED),
        Row(LeaseReleased, S.RELEASING, S.FREE, ("answer_is_awaited",), effects=("disarm",)),
        Row(StoreFailed, S.RELEASING, S.FREE, ("answer_is_awaited",), effects=("note_failure", "disarm")),
        Row(ReleaseOverdue, S.RELEASING, S.FREE, ("timer_is_current",), effects=("expect_no_answer",)),
    )
    # fmt: on

    # Guards

    @guard
    def is_asked_for_elsewhere(data: LeaseData, event: LeaseWanted) -> bool:
        return event.key != data.key

    @guard
    def answer_is_awaited(data: LeaseData, event: Any) -> bool:
        return bool(event.attempt == data.attempt)

    @guard
    def timer_is_current(data: LeaseData, event: Any) -> bool:
        return bool(event.token == data.timer)

    @guard
    def others_may_still_receive(data: LeaseData, event: LeaseTaken) -> bool:
        return max(event.at + event.waits, data.clear_at) > event.at

    @guard
    def there_is_time_to_ask(data: LeaseData, event: StoreFailed) -> bool:
        return event.at + data.policy.ask_after < data.ends

    # Actions

    @action
    def adopt(draft: Draft[LeaseData], event: LeaseWanted) -> None:
        draft.set(policy=event.policy)
        if event.key != draft.data.key:
            draft.set(key=event.key, term=0, clear_at=0.0, ends=0.0)

    @action
    def expect_an_answer(draft: Draft[LeaseData], event: LeaseWanted) -> None:
        draft.set(why="")

    @action
    def ask(draft: Draft[LeaseData], event: Event) -> None:
        _hold(draft, renews=False)

    @action
    def renew(draft: Draft[LeaseData], event: AskDue) -> None:
        _hold(draft, renews=True)

    @action
    def let_go(draft: Draft[LeaseData], event: LeaseGivenUp | LeaseWanted) -> None:
        draft.set(why="")
        draft.emit(ReleaseLease(_next_attempt(draft), draft.data.key, draft.data.term))

    @action
    def expect_no_answer(draft: Draft[LeaseData], event: Event) -> None:
        _next_attempt(draft)

    @action
    def note_taken(draft: Draft[LeaseData], event: LeaseTaken) -> None:
        policy = draft.data.policy
        clear_at = max(draft.data.clear_at, event.at + event.waits) if event.waits else draft.data.clear_at
        left = clear_at - event.at
        waits = f"whoever had it before may still receive, for {left:.3g} s at the most" if left > 0 else ""
        draft.set(term=event.term, clear_at=clear_at, ends=event.at + policy.ttl - policy.margin)
        draft.set(why=waits, answers=True)

    @action
    def note_holder(draft: Draft[LeaseData], event: LeaseDenied) -> None:
        draft.set(why=f"another gateway has its lease: {event.holder}", answers=True)

    @action
    def note_failure(draft: Draft[LeaseData], event: StoreFailed) -> None:
        draft.set(why=f"the lease store does not answer: {event.why}", answers=False)

    @action
    def note_silence(draft: Draft[LeaseData], event: AskDue) -> None:
        if not draft.data.why:
            draft.set(why="the lease store does not answer", answers=False)

    @action
    def grant(draft: Draft[LeaseData], event: LeaseTaken) -> None:
        draft.emit(GrantLease())

    @action
    def revoke(draft: Draft[LeaseData], event: Event) -> None:
        draft.emit(RevokeLease())

    # Actions: the timer

    @action
    def arm_next_ask(draft: Draft[LeaseData], event: Event) -> None:
        """Should no answer come."""
        draft.emit(ArmTimer(AskDue(_next_timer(draft)), after=draft.data.policy.answer_within))

    @action
    def arm_ask(draft: Draft[LeaseData], event: Event) -> None:
        draft.emit(ArmTimer(AskDue(_next_timer(draft)), after=draft.data.policy.ask_after))

    @action
    def arm_renewal(draft: Draft[LeaseData], event: LeaseTaken) -> None:
        """Sooner where it may be used sooner."""
        due, clear_at = event.at + draft.data.policy.renew_after, draft.data.clear_at
        draft.emit(ArmTimer(AskDue(_next_timer(draft)), at=min(due, clear_at) if event.at < clear_at else due))

    @action
    def arm_end(draft: Draft[LeaseData], event: Event) -> None:
        draft.emit(ArmTimer(LeaseEnds(_next_timer(draft)), at=draft.data.ends))

    @action
    def arm_over(draft: Draft[LeaseData], event: LeaseEnds) -> None:
        draft.emit(ArmTimer(LeaseOver(_next_timer(draft)), at=draft.data.ends + draft.data.policy.margin))

    @action
    def arm_release_deadline(draft: Draft[LeaseData], event: LeaseGivenUp) -> None:
        draft.emit(ArmTimer(ReleaseOverdue(_next_timer(draft)), after=draft.data.policy.answer_within))

    @action
    def disarm(draft: Draft[LeaseData], event: Event) -> None:
        _next_timer(draft)
        draft.emit(DisarmTimer())


def is_held(machine: Machine[Any, Any]) -> bool:
    """There may be a receiver."""
    return machine.state is S.HELD


def is_free(machine: Machine[Any, Any]) -> bool:
    return machine.state is S.FREE


def has_an_answer(machine: Machine[Any, Any]) -> bool:
    """It is held, or it is known why not."""
    return machine.state is not S.ACQUIRING or machine.data.why != ""


def is_unanswered(machine: Machine[Any, Any]) -> bool:
    """The store that the hosts share does not answer: what is held will be lost, and nothing can be had."""
    return not machine.data.answers and machine.state is not S.FREE


def _hold(draft: Draft[LeaseData], *, renews: bool) -> None:
    attempt, data = _next_attempt(draft), draft.data
    draft.emit(HoldLease(attempt, data.key, data.policy, data.term, data.clear_at, renews))


def _next_attempt(draft: Draft[LeaseData]) -> int:
    draft.set(attempt=draft.data.attempt + 1)
    return draft.data.attempt


def _next_timer(draft: Draft[LeaseData]) -> int:
    draft.set(timer=draft.data.timer + 1)
    return draft.data.timer
