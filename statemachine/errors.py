"""What can be wrong with a table. A refused trigger is no error: it is a Refusal, and an answer."""

from __future__ import annotations


class StateMachineError(Exception):
    """The base of every error of this package."""


class TableError(StateMachineError):
    """A table names something that does not exist. Raised when the machine class is made."""


class BrokenActionError(StateMachineError):
    """A guard or an action raised: a defect of ours. The machine has not moved."""

    def __init__(self, machine: str, trigger: str, error: Exception) -> None:
        super().__init__(f"{machine}: {trigger} met a broken guard or action: {error!r}")


class DrawingError(StateMachineError):
    """An SVG was asked for and cannot be drawn here; the message says what is missing."""


class VocabularyError(StateMachineError):
    """A guard or an action of a table has no translation into Promela; the message names it."""


class SpinError(StateMachineError):
    """Spin could not say anything about a model; the message says why, and what to do."""
