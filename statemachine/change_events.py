"""The change machine's alphabet: the events that go in, the effects that come out, and what it knows beside its state."""

from __future__ import annotations

from enum import Enum

import msgspec

from statemachine._machine import Command, Event, Work


class Stage(Enum):
    """How far a change came: what its receipt and the history name when it did not come to its end."""

    VALIDATE = "validate"
    PROVISION = "provision"
    WRITE = "write"
    SWAP = "swap"
    HEALTH = "health"
    CONFIRM = "confirm"


class Settlement(Enum):
    """What the lifecycle made of a revision."""

    RUNS = "runs"
    """It is what runs now, whether anything had to be done for that or not."""
    WAITS = "waits"
    """It needs a restart, which is asked for."""
    PASSED = "passed"
    """It does not run: a newer one took its place, reloads are off, or it cannot be used any more."""
    BROKE = "broke"
    """Carrying it out broke off; what ran before was put back."""
    ENDS = "ends"
    """The gateway ends. What becomes of it is for the next boot to say."""


class ChangeData(msgspec.Struct, frozen=True, cache_hash=True):
    """What a change knows beside its state."""

    revision: str = ""
    """What it brings; empty until it was validated."""
    base: str = ""
    """The revision that was wanted when it was proposed: what is put back."""
    writes: bool = False
    """The file is written for it. A change that was read from the file has nothing to write."""
    confirm: float | None = None
    """Seconds within which somebody must confirm it, once it runs; None when nobody need."""
    waiting: bool = False
    """The lifecycle has said that it waits for a restart."""
    superseded: bool = False
    """A newer change is on its way to the lifecycle: this one is not watched any more when it runs."""
    timer: int = 0
    work: int = 0
    """Numbers of the present timer and of the present work: what carries an older one is stale."""


# Events: requests


class ChangeProposed(Event, frozen=True):
    """Somebody wants the config to be another one. `window` says that an earlier change waits for its confirmation."""

    writes: bool
    confirm: float | None
    window: bool


class ChangeResumed(Event, frozen=True):
    """A gateway that boots, or has read the file in a restart, takes up what it found: a change without an earlier machine.

    `overdue` says that the time to confirm it ran out while no gateway was there.
    """

    revision: str
    base: str
    confirm: float | None
    overdue: bool


class ChangeConfirmed(Event, frozen=True):
    """A person, or a program for one, says that it may stay."""

    by: str


class ProbationExtended(Event, frozen=True):
    """The time to confirm it begins anew, with this many seconds."""

    seconds: float
    by: str


class ChangeCancelled(Event, frozen=True):
    """A person, or a program for one, wants back what ran before."""

    by: str


class ChangeSuperseded(Event, frozen=True):
    """A newer change goes to the lifecycle."""

    by: str


# Events: completions and timers. `work` and `token` are the numbers that the effect was given.


class ChangeValidated(Event, frozen=True):
    """It can be read, every field is right, and its plan is made. `revision` is the hash of its bytes, `base` what was wanted before."""

    work: int
    revision: str
    base: str


class ChangeProvisioned(Event, frozen=True):
    """What it brings was tried as far as it can be without touching what runs."""

    work: int


class ChangeWritten(Event, frozen=True):
    """The file holds it, whole, and is on the disk."""

    work: int


class ChangeUnfit(Event, frozen=True):
    """It was refused in this stage, or the stage failed. Nothing was changed."""

    work: int
    stage: Stage
    why: str


class StageOverdue(Event, frozen=True):
    token: int


class RevisionSettled(Event, frozen=True):
    """What the lifecycle made of a revision; `word` is its own word for it.

    `lost` names an account that ran before and has failed, and is empty if none has; `lost_why` is what its network said.
    """

    revision: str
    settlement: Settlement
    word: str
    why: str
    lost: str
    lost_why: str = ""


class AccountLost(Event, frozen=True):
    """An account that ran before this change has failed."""

    account: str
    why: str


class ProbationOver(Event, frozen=True):
    token: int


class HealthChecked(Event, frozen=True):
    """`healthy`: every account that is to run has completed a receive."""

    work: int
    healthy: bool


# Effects


class ValidateChange(Work, frozen=True):
    """Make the new text, read it and plan it. Ends in ChangeValidated or ChangeUnfit."""

    work: int


class ProvisionChange(Work, frozen=True):
    """Try what can be tried beforehand: a new token, while the old receiver runs. Ends in ChangeProvisioned or ChangeUnfit."""

    work: int
    revision: str


class WriteChange(Work, frozen=True):
    """Put the old bytes into the history and the new ones in the file's place. Ends in ChangeWritten or ChangeUnfit.

    With `confirm` it is on disk before the file is touched that this revision must be confirmed.
    """

    work: int
    revision: str
    base: str
    confirm: float | None


class CheckHealth(Work, frozen=True):
    """Look at the accounts. Ends in HealthChecked."""

    work: int


class CancelStage(Command, frozen=True):
    """Cancel the work of this change; its completion still comes, and is stale."""


class SubmitRevision(Command, frozen=True):
    """Tell the lifecycle of the revision."""

    revision: str


class OpenWindow(Command, frozen=True):
    """From now on it has this many seconds to be confirmed, whatever happens to the process."""

    revision: str
    seconds: float


class CloseWindow(Command, frozen=True):
    """It is confirmed, or will never run: nothing is rolled back for it any more."""

    revision: str


class RestoreBase(Command, frozen=True):
    """The base is what is wanted, and the file is set aside for as long as it holds this revision. Tell the lifecycle."""

    revision: str
    base: str


class PromoteRevision(Command, frozen=True):
    """It ran well for long enough: it is what a gateway with an unusable file falls back to."""

    revision: str


class ReportChange(Command, frozen=True):
    """What became of it so far: the first report answers its submitter, and the last one stands in the history."""

    outcome: str
    stage: str
    why: str
