"""Gateway makes happen what the tables of `statemachine` allow. Start at `app.py`.

For those who write a handler: `gateway.Message` is what a function is called with, `gateway.Reply` what it may answer.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.messages.model import Address, Message, Reply

__version__ = "0.1.0"
__all__ = ["Address", "Message", "Reply", "__version__"]


def __getattr__(name: str) -> Any:
    """Imported when it is asked for: who imports a part of the package does not pay for all of it."""
    if name in __all__:
        return getattr(import_module("gateway.messages.model"), name)
    raise AttributeError(f"module 'gateway' has no attribute {name!r}")
