"""What the config says of hosts that share accounts."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from gateway.config.declared import GATEWAY, Model
from gateway.redact import Secret


class LeaseSettings(Model, frozen=True, kw_only=True):
    """Where several hosts share accounts: what they agree by, which of them receives.

    The library is found out here and not at the first lease: a config that cannot work is told of at once.
    """

    url: Annotated[
        str | None,
        GATEWAY,
        Meta(
            title="URL",
            description="A NATS server with JetStream, or more of them, with commas between: the same for all hosts that "
            "share an account. Without it there is one host.",
            examples=["nats://10.0.0.5:4222"],
        ),
    ] = None
    token: Annotated[
        Secret | None, GATEWAY, Meta(description="What NATS asks for, if it does.", examples=["${NATS_TOKEN}"])
    ] = None
    credentials: Annotated[
        str | None, GATEWAY, Meta(description="A file with NATS credentials, as `nsc` writes it, by its whole path.")
    ] = None
    bucket: Annotated[
        str,
        GATEWAY,
        Meta(
            pattern=r"^[A-Za-z0-9_-]{1,64}$(?!\n)",
            description="The key-value bucket that has the leases; it is made where there is none.",
        ),
    ] = "gateway-leases"
    ttl_ms: Annotated[
        int,
        GATEWAY,
        Meta(
            title="TTL (ms)",
            ge=10_000,
            le=600_000,
            description="How long a lease is good for. It is renewed three times in that time; when its host dies, "
            "another takes it over after it, and after the time of one poll.",
        ),
    ] = 15_000

    def __post_init__(self) -> None:
        if self.url is None:
            return
        if find_spec("nats") is None:
            raise ValueError("url", "it needs a library that is not installed: pip install 'chat-gateway[fleet]'")
        for server in self.url.split(","):
            if not re.match(r"(nats|tls|ws|wss)://[^/]", server.strip()):
                raise ValueError("url", "it is no address of a NATS server; write it as nats://10.0.0.5:4222")
        if "@" in self.url:
            raise ValueError("url", "it names a user: set gateway.lease.token or credentials in place of that")
        if self.credentials is not None and not Path(self.credentials).is_absolute():
            raise ValueError("credentials", "write its whole path: a gateway may be started in any folder")
