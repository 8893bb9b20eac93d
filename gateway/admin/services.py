"""What the control plane works with, handed over by `app`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gateway.boot import BootRecord
from gateway.channels.hooks import Hooks
from gateway.channels.receivers import Receivers
from gateway.channels.webchat import WebchatHub
from gateway.clock import Clock
from gateway.config.file import Reader
from gateway.config.history import History
from gateway.config.ledger import Ledger
from gateway.config.model import Config
from gateway.config.standing import Standing
from gateway.dispatcher import Dispatcher
from gateway.journal import Journal
from gateway.logtail import LogTail
from gateway.metrics import Tally
from gateway.process.accounts import Accounts
from gateway.process.changes import Changes
from gateway.process.image import Choice
from gateway.process.leases import Leases
from gateway.process.loopwatch import LoopWatch
from gateway.process.messages import Messages
from gateway.redact import Redactor
from gateway.requests import Requests
from gateway.runner import Runner


@dataclass(frozen=True)
class Services:
    """The parts, by what they do."""

    dispatcher: Dispatcher
    journal: Journal
    changes: Changes
    ledger: Ledger
    standing: Standing
    reader: Reader
    history: History
    model: Callable[[], type[Config]]
    """Of all that a config may have now; it grows with the networks and handlers of installed packages."""
    accounts: Accounts
    receivers: Receivers
    messages: Messages
    leases: Leases
    hub: WebchatHub
    hooks: Hooks
    requests: Requests
    redactor: Redactor
    tail: LogTail
    clock: Clock
    state_dir: Path
    boot: Callable[[], BootRecord]
    watching: Callable[[], str]
    """How the file is watched: inotify, polling or off."""
    tally: Tally
    choice: Choice
    """How restarts are done."""
    runner: Runner
    loop_watch: LoopWatch
    stop_shortfall: Callable[[], str]
    """Why a stop has less time than the config gives it; "" where it has not."""
