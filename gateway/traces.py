"""Traces as messages leave them: one message is one trace, whatever restarts and crashes lie between its spans.

What a trace needs to go on is a line of text, `traceparent` as https://www.w3.org/TR/trace-context/ has it, and it stands
in the message itself: the store keeps it with the message, so whoever takes the message up again goes on with its trace,
and a message that its network brings twice has the trace of the first time. (A trace's number could as well be made of the
message's id, and nothing be kept; but then a trace that somebody else has begun, a client with its frame, could not go on.)

This module knows nothing of OpenTelemetry. It has what is done where there are no traces, which is next to nothing, and
says whether there are some: where the environment asks for them as it does of every program of theirs, and the extra
`otel` is installed, they are those of `gateway.otel`, which is imported then and not before.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from typing import Any

import structlog

from gateway.messages.model import Message, Outgoing
from gateway.redact import Redactor
from statemachine import Event

log: structlog.stdlib.BoundLogger = structlog.get_logger()

EXTRA = "install the extra: pip install 'chat-gateway[otel]', or '.[otel]' in a checkout"
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
SPOKEN = "http/protobuf"
CONTEXT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
LONGEST = 128
"""Characters of a `traceparent`, as the published protocol has it."""


def carried(given: Any) -> str | None:
    """The trace that somebody says a message belongs to; None where it says none, or what is none: that is no fault.

    What a later version of the standard adds is left out, as the standard wants it.
    """
    found = CONTEXT.fullmatch(given) if isinstance(given, str) and len(given) <= LONGEST else None
    if found is None:
        return None
    version, trace, span, flags, more = found.groups()
    if version == "ff" or not int(trace, 16) or not int(span, 16) or (version == "00" and more):
        return None
    return f"00-{trace}-{span}-{flags}"


def log_keys(traceparent: str | None) -> dict[str, str]:
    """What a log line about a message says of its trace."""
    return {} if traceparent is None else {"trace_id": traceparent.split("-")[1]}


class Receiving:
    """Messages that are being taken over. `messages` are those that are to be kept."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self.messages = messages

    def kept(self, new: Iterable[Message]) -> None:
        """They are on the disk, and were not known before."""


class Traces:
    """There are none."""

    def now(self) -> int:
        """Nanoseconds of the wall clock, for what is told when it is over."""
        return 0

    def receiving(self, messages: Sequence[Message]) -> Receiving:
        """They have come from their network."""
        return Receiving(messages)

    def routed(self, message: Message, began: int, verdict: str, handler: str | None) -> None:
        """The routes were asked, and say this."""

    def handling(self, message: Message, handler: str, kind: str) -> AbstractContextManager[Message]:
        """While a handler, of this kind, has it. It is given the message as it comes out: with the trace of its own call."""
        return nullcontext(message)

    def ordering(self, account: str, traceparent: str | None) -> tuple[str | None, Callable[[], None]]:
        """Somebody wants something said: the trace that it has, and who is told that it is new, and kept."""
        return traceparent, _nothing

    def sending(self, outgoing: Outgoing, attempt: int) -> AbstractContextManager[Callable[[Event], None]]:
        """While it is being sent. What comes out is told what came of it."""
        return nullcontext(_nothing)

    async def flush(self, patience: float) -> None:
        """What is recorded is exported, within so many seconds or not at all."""

    async def close(self, patience: float) -> None:
        """The same, for the last time."""


UNTRACED = Traces()


def _nothing(*_: object) -> None:
    """Nobody records it."""


def traces_for(environ: Mapping[str, str], redactor: Redactor, instance: str) -> Traces:
    """Those that the environment asks for. `instance` tells this run from others. What cannot be had stops nothing."""
    if not wanted(environ):
        return UNTRACED
    if why := _not_spoken(environ):
        log.warning("traces_off", why=why)
        return UNTRACED
    try:
        otel = import_module("gateway.otel")
    except ImportError as error:
        log.warning(
            "traces_off", why=f"the environment asks for traces, and {error.name} is not installed", remedy=EXTRA
        )
        return UNTRACED
    try:
        found: Traces = otel.open_traces(environ, redactor, instance)
    except Exception as error:  # noqa: BLE001 - whatever the library makes of a variable that it cannot read
        log.warning("traces_off", why=f"the library cannot do what the environment says: {error}")
        return UNTRACED
    return found


def wanted(environ: Mapping[str, str]) -> bool:
    """As https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/ has it; an empty one says nothing.

    Unlike there, nothing is exported where nothing says so: nobody wants a gateway to look for a collector by itself.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporters = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    return exporters != "none" and bool(exporters or any(environ.get(name) for name in ENDPOINTS))


def _not_spoken(environ: Mapping[str, str]) -> str:
    """What is asked for that there is not; "" where there is all."""
    exporters = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if exporters and "otlp" not in [name.strip() for name in exporters.split(",")]:
        return f"OTEL_TRACES_EXPORTER is {exporters!r}; the exporter that there is is called otlp"
    name = next((name for name in PROTOCOLS if environ.get(name)), "")
    if name and environ[name].strip() != SPOKEN:
        return f"{name} is {environ[name]!r}; what is spoken is {SPOKEN}, as a rule on port 4318"
    return ""
