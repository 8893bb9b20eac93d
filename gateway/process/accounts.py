"""Bringing accounts in line with a config: each by its own machine, none touched that the plan does not name."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

import structlog

from gateway.channels.base import Adapter
from gateway.config.ledger import Proposal
from gateway.config.model import Account, Config
from gateway.config.plan import AccountAction, Plan
from gateway.dispatcher import Dispatcher
from gateway.errors import ConfigError, GatewayError, Issue
from statemachine import Event, Refusal
from statemachine.channel import Channel, ChannelData, comes_to_rest, has_let_go, is_broken, is_settled, is_stopped
from statemachine.channel_events import Adjust, By, HostWoke, Restart, Run, Start, Stop

log: structlog.stdlib.BoundLogger = structlog.get_logger()

START_PATIENCE = 45.0
"""Seconds for a new receiver to settle: longer than a channel's own deadline for a start."""
FENCE_PATIENCE = 4.0
"""Seconds beyond an account's stop deadline for cutting its receiver off."""


class ReloadFailedError(GatewayError):
    """An account could not be brought in line, and what ran before cannot be put back."""


class Accounts:
    """Speaks to the channel machines on behalf of boot, reload, restart and stop."""

    def __init__(
        self, dispatcher: Dispatcher, adapters: Mapping[str, Adapter], generations: Mapping[str, int] | None = None
    ) -> None:
        """`generations` says how far accounts have come already."""
        self._dispatcher = dispatcher
        self._adapters = adapters
        self._held: frozenset[str] = frozenset()
        """Accounts that a person has stopped in an earlier life."""
        self._generations = dict(generations or {})
        """How far accounts had come that are not there: one that comes back goes on from there, so that no number is used twice."""

    @property
    def generations(self) -> dict[str, int]:
        """How far each account has come, those that were removed included."""
        return self._generations | {name: self._dispatcher.machine(name).data.generation for name in self._channels()}

    def run_of(self, name: str, account: Account, revision: str) -> Run:
        """What the account's receiver runs with."""
        return Run(revision, account, account.enabled, self._adapter(name).policy(account))

    def asked(self, verb: str, name: str, account: Account, revision: str) -> Event:
        """What a person asks for by `start`, `stop` or `restart`."""
        if verb == "stop":
            return Stop(By.PERSON, confirm=True)
        run = self.run_of(name, account, revision)
        return Start(run, By.PERSON) if verb == "start" else Restart(run, By.PERSON)

    def _adapter(self, name: str) -> Adapter:
        return self._adapters[name.split("/", 1)[0]]

    def boot(self, config: Config, revision: str, held: Collection[str] = ()) -> None:
        """Make a machine for each account, and ask those that are enabled to start. Those `held` a person has stopped."""
        self._held = frozenset(held)
        for name, account in config.accounts().items():
            self._ensure(name)
            if account.enabled:
                self._dispatcher.post(name, Start(self.run_of(name, account, revision), By.GATEWAY), "boot")

    async def try_out(self, applied: Config, proposal: Proposal) -> None:
        """Ask the networks about new settings while the old receivers run. Raises ConfigError with every refusal."""
        old, new = applied.accounts(), proposal.target.accounts()
        names = [name for name, action in proposal.plan.accounts.items() if action is AccountAction.RESTART]
        faults = await asyncio.gather(*(self._adapter(name).probe(name, old[name], new[name]) for name in names))
        issues = [
            Issue("channels.{}.accounts.{}".format(*name.split("/", 1)), f"its network refuses it: {fault}")
            for name, fault in zip(names, faults, strict=True)
            if fault
        ]
        if issues:
            raise ConfigError(issues, proposal.revision.id)

    async def carry_out(self, plan: Plan, config: Config, revision: str, cause: str) -> dict[str, Any]:
        """Do what the plan says to each account, side by side. Raises ReloadFailedError after all of them were tried."""
        touched = self._left_behind(config)
        touched |= {name: action for name, action in plan.accounts.items() if action is not AccountAction.NOTHING}
        for name in config.accounts():
            self._ensure(name)
        blocked = await self._clear_the_way(config, revision, cause)
        steps = [
            self._bring(name, action, config, revision, cause)
            for name, action in touched.items()
            if name not in blocked
        ]
        faults = [*blocked.values(), *(fault for fault in await asyncio.gather(*steps) if fault)]
        results = {name: self._describe(name, action) for name, action in touched.items()}
        self._forget_absent(config)
        if faults:
            raise ReloadFailedError("; ".join(faults))
        return results

    async def restart_all(self, config: Config, revision: str) -> None:
        """Every account of a gateway that restarts: the old receivers end, the new config's begin."""
        blocked = await self._clear_the_way(config, revision, "restart")
        for name, fault in blocked.items():
            log.error("account_not_started", account=name, why=fault)
        steps = []
        for name, account in config.accounts().items():
            self._ensure(name)
            if name in blocked:
                continue
            action = AccountAction.RESTART if account.enabled else AccountAction.STOP
            steps.append(self._bring(name, action, config, revision, "restart"))
        gone = [name for name in self._channels() if name not in config.accounts()]
        steps += [self._bring(name, AccountAction.STOP, config, revision, "restart") for name in gone]
        await asyncio.gather(*steps)
        self._forget_absent(config)

    async def _clear_the_way(self, config: Config, revision: str, cause: str) -> dict[str, str]:
        """End what receives as a bot that is another account's from now on, before that one begins.

        By name the accounts whose way could not be cleared, and why: they must not begin.
        """
        owners = config.owners()
        in_the_way = {}
        for name in self._channels():
            machine = self._dispatcher.machine(name)
            identity = config.identity_of(name, machine.data.run.settings)
            owner = owners.get(identity) if identity is not None else None
            if owner not in (None, name) and not is_stopped(machine):
                in_the_way[name] = owner
        stops = [self._bring(name, AccountAction.STOP, config, revision, cause) for name in in_the_way]
        faults = await asyncio.gather(*stops)
        return {owner: fault for owner, fault in zip(in_the_way.values(), faults, strict=True) if owner and fault}

    async def stop_all(self, cause: str, *, confirm: bool) -> None:
        """End every receiver. `confirm` is the last poll, which a stop owes, and a restart leaves to who comes after it."""
        names = self._channels()
        for name in names:
            self._dispatcher.post(name, Stop(By.GATEWAY, confirm), cause)
        await asyncio.gather(*(self._dispatcher.until(name, is_stopped) for name in names))

    async def end_all(self) -> None:
        """End every receiver, for another image of the process. One that neither ends nor can be cut off ends with this one:
        the kernel closes what it has open before the first line of the next runs.
        """
        patience = max((self._patience(name) for name in self._channels()), default=0.0)
        try:
            async with asyncio.timeout(patience):
                await self.stop_all("restart", confirm=False)
        except TimeoutError:
            left = [name for name in self._channels() if not is_stopped(self._dispatcher.machine(name))]
            log.error("receivers_end_with_the_image", accounts=left)

    def _patience(self, name: str) -> float:
        stop_timeout: float = self._dispatcher.machine(name).data.run.policy.stop_timeout
        return stop_timeout + FENCE_PATIENCE

    def woke(self, slept: float) -> None:
        """Nothing has run for so many seconds: each account is told, and its machine says what follows."""
        for name in self._channels():
            self._dispatcher.tell(name, HostWoke(slept), "host")

    def left_running(self) -> str:
        """The accounts that have not ended, and where each is."""
        machines = {name: self._dispatcher.machine(name) for name in self._channels()}
        return ", ".join(f"{name} is {each.state.value}" for name, each in machines.items() if not is_stopped(each))

    # One account

    async def _bring(self, name: str, action: AccountAction, config: Config, revision: str, cause: str) -> str:
        """Bring one account in line and wait until it has settled; the fault, if it is one of the reload's."""
        answer = await self._dispatcher.post(name, self._event(name, action, config, revision), cause)
        if isinstance(answer, Refusal) or action is AccountAction.LIVE:
            return ""
        machine = self._dispatcher.machine(name)
        try:
            async with asyncio.timeout(self._patience(name)):
                await self._dispatcher.until(name, has_let_go)
            async with asyncio.timeout(START_PATIENCE):
                await self._dispatcher.until(name, is_settled)
        except TimeoutError:
            return f"{name} did not settle: it is {machine.state.value}"
        return f"{name}: {machine.data.last_error}" if is_broken(machine) else ""

    def _event(self, name: str, action: AccountAction, config: Config, revision: str) -> Event:
        if action is AccountAction.STOP:
            return Stop(By.GATEWAY)
        run = self.run_of(name, config.accounts()[name], revision)
        if action is AccountAction.LIVE:
            return Adjust(run)
        # Of a stopped account it is a start; where an older receiver has not ended yet, it is what follows its end.
        return Restart(run, By.GATEWAY)

    def _describe(self, name: str, action: AccountAction) -> dict[str, Any]:
        machine = self._dispatcher.machine(name)
        described = {"action": action.value, "state": machine.state.value, "generation": machine.data.generation}
        return described | ({"error": machine.data.last_error} if machine.data.last_error else {})

    def _channels(self) -> list[str]:
        return list(self._dispatcher.machines(Channel))

    def _ensure(self, name: str) -> None:
        if self._dispatcher.find(name) is None:
            self._dispatcher.add(
                Channel(name, ChannelData(generation=self._generations.get(name, 0), held=name in self._held))
            )

    def _left_behind(self, config: Config) -> dict[str, AccountAction]:
        """What a reload that could not be finished left behind, and no plan knows of, since what ran before was put back."""
        found = {}
        for name in self._channels():
            machine, account = self._dispatcher.machine(name), config.accounts().get(name)
            if account is None or not account.enabled:
                if not is_stopped(machine):
                    found[name] = AccountAction.STOP
            elif comes_to_rest(machine):
                # Nobody but that reload has stopped it: what a person stopped is held.
                if not machine.data.held:
                    found[name] = AccountAction.RESTART
            elif machine.data.run.settings != account:
                found[name] = AccountAction.RESTART
        return found

    def _forget_absent(self, config: Config) -> None:
        """An account that the config does not name does not exist, once its receiver is proven dead."""
        for name in self._channels():
            if name not in config.accounts() and is_stopped(self._dispatcher.machine(name)):
                self._generations[name] = self._dispatcher.machine(name).data.generation
                self._dispatcher.remove(name)
