"""Commands that a listed person gives the gateway in a chat: `/gateway status`, `/gateway restart`.

One that does something is done at most once, whatever happens in between: first its message is written down as handled,
together with who is to be told; only then it is done. Were it the other way round, the restart that it asks for would
find it unhandled, and restart again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from gateway.clock import Clock
from gateway.config.model import Config
from gateway.dispatcher import LIFECYCLE, Dispatcher
from gateway.messages.model import Address, Message, Order, Reply
from gateway.messages.outbox import Outbox
from gateway.process.errands import Errands
from gateway.requests import PENDING, Request, Requests, new_id
from gateway.store.store import Store
from statemachine import Refusal
from statemachine.channel import Channel
from statemachine.lifecycle_events import RestartRequested, Ticket

log: structlog.stdlib.BoundLogger = structlog.get_logger()

HELP = "Commands: /gateway status, /gateway restart"
RESTART = "restart"


class Commands:
    """Answers commands, and carries out what they order. `config` returns what applies now."""

    def __init__(
        self,
        config: Callable[[], Config],
        dispatcher: Dispatcher,
        requests: Requests,
        outbox: Outbox,
        store: Store,
        errands: Errands,
        clock: Clock,
    ) -> None:
        self._config = config
        self._dispatcher = dispatcher
        self._requests = requests
        self._outbox = outbox
        self._store = store
        self._errands = errands
        self._clock = clock
        self._to_tell: dict[str, Address] = {}
        """Request -> the conversation that is told what became of it."""

    def answer(self, message: Message) -> tuple[Reply | Order, ...]:
        """What is said to a command, and what is done for it afterwards."""
        verb = message.text.split()[1:2]
        if verb == ["status"]:
            return (Reply(self._status()),)
        if verb == [RESTART]:
            return Reply("The gateway restarts, and will say here when it runs again."), Order(RESTART)
        return (Reply(HELP),)

    def _status(self) -> str:
        machine = self._dispatcher.machine(LIFECYCLE)
        lines = [f"{self._config().gateway.name} is {machine.state.value}, config {machine.data.applied[:12]}"]
        lines += [f"{name} is {each.state.value}" for name, each in self._dispatcher.machines(Channel).items()]
        waiting = len(machine.data.tickets)
        return "\n".join([*lines, f"{waiting} restart{'s' if waiting > 1 else ''} asked for"] if waiting else lines)

    def carry_out(self, message: Message, order: Order) -> None:
        """Its message is being written down as handled: who is to be told goes with it, and when both are kept it is done."""
        request = new_id(order.verb)
        self._to_tell[request] = Address(message.channel, message.account, message.conversation, message.thread)
        self._store.notice(request, self._to_tell[request])
        self._errands.run(self._do(request, f"{message.name} {message.sender_name or message.sender_id}"))

    async def _do(self, request: str, requester: str) -> None:
        await self._store.committed()
        delay = self._config().gateway.restart.delay_ms / 1000
        ticket = Ticket(request, requester, "asked for in a chat", None, self._clock.monotonic() + delay)
        answer = await asyncio.shield(self._dispatcher.post(LIFECYCLE, RestartRequested(ticket), requester))
        if isinstance(answer, Refusal):
            self._tell(request, f"The gateway does not restart: {answer.why}")

    # Telling

    def resume(self, notices: dict[str, Any]) -> None:
        """Those whom an earlier life has not told yet. What it did not carry out is not carried out any more."""
        self._to_tell |= {request: msgspec.convert(body, Address) for request, body in notices.items()}
        for request in notices:
            known = self._requests.get(request)
            if known is None:
                self._tell(request, "The process ended before it could restart; the gateway runs again.")
            else:
                self.learn(known)

    def learn(self, request: Request) -> None:
        """A request is opened, or has its outcome. It is told through the account that it came from, as soon as that runs."""
        if request.id in self._to_tell and request.outcome != PENDING:
            again = "The gateway has restarted, and runs again."
            why = f": {request.why}" if request.why else ""
            self._tell(request.id, again if request.outcome == "done" else f"The restart is {request.outcome}{why}")

    def _tell(self, request: str, text: str) -> None:
        to = self._to_tell.pop(request)
        self._store.forget_notice(request)
        self._errands.run(self._outbox.ask(f"notice:{request}", to, Reply(text)))
