"""A gateway with one network more, whose receivers misbehave as their account's `mode` says.

`python -m tests.real.stubborn_gateway` takes what `python -m gateway` takes. The network is in this process alone:
what its receivers do is written to `receivers` in the working folder, a line `+` when one can receive, `-` when it cannot
any more. The file `release` there lets those end that would not.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from gateway.channels.base import Intake
from gateway.cli.run import run
from gateway.config.declared import CHANNEL
from gateway.config.model import Account
from gateway.errors import AccountRefusedError
from gateway.messages.model import Outgoing
from gateway.messages.pace import Limits
from statemachine.channel_events import ChannelPolicy

RELEASE = Path("release")
RECEIVERS = Path("receivers")
SLOW = 2.0
"""Seconds to the first receive of a slow one."""

Mode = Literal["good", "slow", "deaf", "fenceable", "clinging", "broken", "refused", "unopenable"]


class StubbornAccount(Account, frozen=True, kw_only=True):
    """An account of the network. `note` changes nothing but what is compared."""

    mode: Annotated[Mode, CHANNEL] = "good"
    note: Annotated[str, CHANNEL] = ""


class StubbornAdapter:
    """Makes the receivers."""

    account_model: ClassVar[type[Account]] = StubbornAccount

    def open(self, name: str, settings: StubbornAccount, intake: Intake) -> StubbornReceiver:
        if settings.mode == "unopenable":
            raise RuntimeError(f"{name}: an adapter that cannot even be built")
        return StubbornReceiver(settings.mode, intake)

    def policy(self, settings: StubbornAccount) -> ChannelPolicy:
        return ChannelPolicy(
            stop_timeout=settings.stop_timeout_ms / 1000, fence_retry=0.5, backoff_base=0.2, backoff_cap=0.2
        )

    def limits(self, settings: StubbornAccount) -> Limits:
        return Limits()

    async def probe(self, name: str, old: StubbornAccount, new: StubbornAccount) -> str:
        return ""


class StubbornReceiver:
    """good: ends when told. slow: like it, but takes its time to begin. deaf: ends when released, and cannot be cut off.

    fenceable: as deaf, but can be cut off. clinging: its `close` never returns. broken: raises what nobody foresaw.
    refused: its network does not take it.
    """

    def __init__(self, mode: Mode, intake: Intake) -> None:
        self._mode = mode
        self._intake = intake
        self._live = False

    async def run(self) -> None:
        if self._mode == "broken":
            raise RuntimeError("an adapter that breaks when it starts")
        if self._mode == "refused":
            raise AccountRefusedError("this account is not accepted")
        if self._mode == "slow":
            await asyncio.sleep(SLOW)
        self._say(live=True)
        self._intake.received()
        try:
            await self._receive()
        finally:
            self._say(live=False)

    async def _receive(self) -> None:
        while True:
            try:
                await asyncio.sleep(0.02)
            except asyncio.CancelledError:
                if self._mode not in ("deaf", "fenceable"):
                    raise
            if self._mode in ("deaf", "fenceable") and RELEASE.exists():
                return

    def _say(self, *, live: bool) -> None:
        if live != self._live:
            self._live = live
            with RECEIVERS.open("a") as file:
                file.write("+\n" if live else "-\n")

    async def send(self, outgoing: Outgoing) -> str:
        """Nobody is there."""
        return ""

    async def typing(self, conversation: str) -> None:
        """Nobody looks."""

    async def confirm(self) -> None:
        """There is nothing to confirm."""

    async def close(self) -> None:
        while self._mode == "clinging" and not RELEASE.exists():
            try:
                await asyncio.sleep(0.02)
            except asyncio.CancelledError:
                continue

    async def fence(self) -> None:
        if self._mode == "deaf":
            raise RuntimeError("this receiver cannot be cut off")
        self._say(live=False)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, default=Path("gateway.yaml"))
    parser.add_argument("--state-dir", type=Path, default=Path(".gateway"))
    given = parser.parse_args()
    return run(given.config.absolute(), given.state_dir.absolute(), {"stubborn": StubbornAdapter()})


if __name__ == "__main__":
    raise SystemExit(main())
