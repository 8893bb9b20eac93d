"""What may happen: the tables of Gateway's lifecycles, and pure steps over them.

No I/O, no clock, no asyncio: `gateway` makes happen what a Step asks for.
"""

from statemachine._machine import Command, Effect, Event, Machine, Outcome, Refusal, Row, Step, Work
from statemachine.change import Change, ChangeState
from statemachine.channel import Channel, ChannelState
from statemachine.circuit import Circuit, CircuitState
from statemachine.delivery import Delivery, DeliveryState
from statemachine.errors import BrokenActionError, StateMachineError, TableError
from statemachine.incoming import Incoming, IncomingState
from statemachine.lease import Lease, LeaseState
from statemachine.lifecycle import Lifecycle, LifecycleState

MACHINES: tuple[type[Machine], ...] = (Lifecycle, Channel, Change, Lease, Incoming, Delivery, Circuit)  # type: ignore[type-arg]
"""Every machine class, in the order in which a reader should meet them."""

__all__ = [
    "MACHINES",
    "BrokenActionError",
    "Change",
    "ChangeState",
    "Channel",
    "ChannelState",
    "Circuit",
    "CircuitState",
    "Command",
    "Delivery",
    "DeliveryState",
    "Effect",
    "Event",
    "Incoming",
    "IncomingState",
    "Lease",
    "LeaseState",
    "Lifecycle",
    "LifecycleState",
    "Machine",
    "Outcome",
    "Refusal",
    "Row",
    "StateMachineError",
    "Step",
    "TableError",
    "Work",
]
