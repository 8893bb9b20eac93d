"""What a look has found, and what there is to look at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from gateway.config.model import Config


class Severity(IntEnum):
    """How bad it is, the worst last."""

    OK = 0
    """It is as it should be."""
    NOTE = 1
    """Nothing is wrong, and it is good to know."""
    WARNING = 2
    """It works, and something will go wrong, or goes wrong already without stopping it."""
    ERROR = 3
    """A gateway would not start, or an account would not receive."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `remedy` is what to do, and empty where there is nothing to do."""

    check: str
    severity: Severity
    message: str
    remedy: str = ""


@dataclass(frozen=True)
class Patient:
    """What is examined. `config` is None where the file cannot be used; `address` is where a running gateway answers."""

    path: Path
    state_dir: Path
    config: Config | None
    address: str | None
