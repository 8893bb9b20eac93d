"""Traces by OpenTelemetry: the extra `otel`. Imported by `gateway.traces` when the environment asks for traces.

A message is one trace: `receive`, which all else hangs at, then `route`, a `handler` for each time that one is asked, and a
`send` for each time that an answer is sent. Names are those of the semantic conventions for messaging where they have one
(https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), and begin with `gateway.` where they have none.
What was said, to whom, and what an error says of it, is in no span: who reads traces need not be who may read messages.

Spans are exported by a thread of their own. A collector that is away is told of once, and nothing waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from urllib.parse import unquote, urlsplit

import msgspec
import structlog
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.util.types import AttributeValue

from gateway import __version__
from gateway.messages.model import Message, Outgoing
from gateway.redact import Redactor
from gateway.traces import ENDPOINTS, Receiving, Traces
from statemachine import Event
from statemachine.delivery import AnswerLost, DeliveryFailed, DeliverySent

log: structlog.stdlib.BoundLogger = structlog.get_logger()

SERVICE = "gateway"
"""What the service is called where the environment does not say."""
LAST_PATIENCE = 2.0
"""Seconds for the last spans at the end of the process, and never more than half of what there is."""
HEADERS = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
EXPORTER = "opentelemetry.exporter.otlp"
"""Its loggers tell of each batch that a collector does not take; it is told of once, here."""
QUEUE = "opentelemetry.sdk._shared_internal"
"""Its logger tells of spans that are dropped: that is news as long as they are taken."""
OUTCOMES = {DeliverySent: "sent", DeliveryFailed: "failed", AnswerLost: "unknown"}

Attributes = dict[str, AttributeValue]


def open_traces(environ: Mapping[str, str], redactor: Redactor, instance: str) -> Traces:
    """What else the environment says (where to, how, and how many) is read by the library itself."""
    endpoint = urlsplit(next((environ[name] for name in ENDPOINTS if environ.get(name)), "http://localhost:4318"))
    headers = [pair for name in HEADERS for pair in environ.get(name, "").split(",")]
    secrets = [endpoint.password or "", *(pair.partition("=")[2].strip() for pair in headers)]
    redactor.learn([form for secret in secrets for form in (secret, unquote(secret))])
    exporter = Courier(OTLPSpanExporter())
    logging.getLogger(EXPORTER).setLevel(logging.CRITICAL)
    logging.getLogger(QUEUE).addFilter(lambda _: not exporter.failing)
    # At its end the gateway says itself how long it waits.
    provider = TracerProvider(resource=_resource(instance), shutdown_on_exit=False)
    processor = BatchSpanProcessor(exporter)
    provider.add_span_processor(processor)
    # For what a handler in this process records itself: its spans are then of the same trace.
    trace.set_tracer_provider(provider)
    log.info("traces_on", to=endpoint.netloc.rpartition("@")[2])
    return OtelTraces(provider, processor, exporter, redactor)


def _resource(instance: str) -> Resource:
    ours = {"service.name": SERVICE, "service.version": __version__, "service.instance.id": instance}
    said = OTELResourceDetector().detect().attributes
    return Resource.create({name: value for name, value in ours.items() if name not in said})


class Courier(SpanExporter):
    """Brings spans to the collector, and says so once when they are not taken, and once when they are again."""

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner
        self.failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """In the thread of the processor."""
        why = "the collector cannot be reached, or refuses them"
        try:
            result = self._inner.export(spans)
        except Exception as error:  # noqa: BLE001 - whatever a transport raises is the same to us
            result, why = SpanExportResult.FAILURE, type(error).__name__
        failing = result is not SpanExportResult.SUCCESS
        if failing and not self.failing:
            log.warning(
                "traces_not_exported", why=why, remedy="see OTEL_EXPORTER_OTLP_ENDPOINT; spans are dropped meanwhile"
            )
        elif self.failing and not failing:
            log.info("traces_exported_again")
        self.failing = failing
        return result

    def shutdown(self) -> None:
        """Nothing more is brought; a wait for another try is broken off."""
        self._inner.shutdown()


class OtelTraces(Traces):
    """Traces that are exported."""

    def __init__(
        self, provider: TracerProvider, processor: BatchSpanProcessor, exporter: Courier, redactor: Redactor
    ) -> None:
        self._tracer = provider.get_tracer("gateway", __version__)
        self._processor = processor
        self._exporter = exporter
        self._redactor = redactor

    def now(self) -> int:
        return time.time_ns()

    def receiving(self, messages: Sequence[Message]) -> Receiving:
        spans = [self._receive(message, len(messages)) for message in messages]
        pairs = zip(messages, spans, strict=True)
        return _Receiving(
            [msgspec.structs.replace(message, traceparent=_told(span)) for message, span in pairs],
            spans,
        )

    def _receive(self, message: Message, of: int) -> Span:
        more: Attributes = {"messaging.batch.message_count": of} if of > 1 else {}
        attributes = self._of_message(message, "receive", "receive") | more
        return self._start(f"receive {message.name}", message.traceparent, SpanKind.CLIENT, attributes)

    def routed(self, message: Message, began: int, verdict: str, handler: str | None) -> None:
        attributes: Attributes = {"gateway.route.verdict": verdict}
        if handler:
            attributes["gateway.handler.name"] = self._redactor.text(handler)
        self._start("route", message.traceparent, SpanKind.INTERNAL, attributes, began).end()

    @contextmanager
    def handling(self, message: Message, handler: str, kind: str) -> Iterator[Message]:
        attributes = self._of_message(message, "handler", "process") | {
            "gateway.handler.name": self._redactor.text(handler),
            "gateway.handler.type": kind,
            "gateway.attempt": message.attempt,
        }
        span = self._start(f"handler {handler}", message.traceparent, SpanKind.CONSUMER, attributes)
        with _ended(span):
            yield msgspec.structs.replace(message, traceparent=_told(span))

    def ordering(self, account: str, traceparent: str | None) -> tuple[str | None, Callable[[], None]]:
        attributes = self._at(account, "create", "create")
        span = self._start(f"create {account}", traceparent, SpanKind.PRODUCER, attributes)
        return _told(span), span.end

    @contextmanager
    def sending(self, outgoing: Outgoing, attempt: int) -> Iterator[Callable[[Event], None]]:
        attributes = self._at(outgoing.name, "send", "send") | {
            "gateway.attempt": attempt,
            "gateway.delivery": outgoing.number,
        }
        span = self._start(f"send {outgoing.name}", outgoing.traceparent, SpanKind.PRODUCER, attributes)
        with _ended(span):
            yield lambda event: _note_outcome(span, event)

    # Spans

    def _start(
        self, name: str, parent: str | None, kind: SpanKind, attributes: Attributes, began: int | None = None
    ) -> Span:
        return self._tracer.start_span(self._redactor.text(name), _context(parent), kind, attributes, start_time=began)

    def _of_message(self, message: Message, name: str, kind: str) -> Attributes:
        number = message.id.rpartition(":")[2]
        # The network's number of it, where it has one: what else stands in an id somebody has made up.
        told: Attributes = {"messaging.message.id": number} if number.isdecimal() else {}
        return self._at(message.name, name, kind) | told

    def _at(self, account: str, name: str, kind: str) -> Attributes:
        return {
            "messaging.system": account.partition("/")[0],
            "messaging.destination.name": self._redactor.text(account),
            "messaging.operation.name": name,
            "messaging.operation.type": kind,
        }

    # Exporting

    async def flush(self, patience: float) -> None:
        if not self._exporter.failing:
            await _in_thread(self._processor.force_flush, patience)

    async def close(self, patience: float) -> None:
        if self._exporter.failing:
            # Nobody takes them: what waits for another try need not wait.
            self._exporter.shutdown()
        await _in_thread(self._processor.shutdown, min(patience / 2, LAST_PATIENCE))


class _Receiving(Receiving):
    def __init__(self, messages: Sequence[Message], spans: Sequence[Span]) -> None:
        super().__init__(messages)
        self._spans = {message.traceparent: span for message, span in zip(messages, spans, strict=True)}

    def kept(self, new: Iterable[Message]) -> None:
        """The span of one that was known before is never ended: there is one from then."""
        for message in new:
            self._spans[message.traceparent].end()


def _context(traceparent: str | None) -> Context:
    """An empty one where there is no parent: a span never hangs at what happens to run."""
    if traceparent is None:
        return Context()
    _, number, span, flags = traceparent.split("-")
    parent = SpanContext(int(number, 16), int(span, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))
    return trace.set_span_in_context(NonRecordingSpan(parent), Context())


def _told(span: Span) -> str:
    """As `traceparent` says it."""
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


@contextmanager
def _ended(span: Span) -> Iterator[None]:
    """It is the present one, and ends; an exception is told by its name alone, since it may quote what was said."""
    with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        try:
            yield
        except BaseException as error:
            _fail(span, type(error).__name__)
            raise


def _fail(span: Span, kind: str) -> None:
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR))


def _note_outcome(span: Span, event: Event) -> None:
    outcome = OUTCOMES[type(event)]
    span.set_attribute("gateway.outcome", outcome)
    if isinstance(event, DeliverySent):
        span.set_attribute("messaging.message.id", event.network_id)
        return
    _fail(span, outcome)
    if isinstance(event, DeliveryFailed):
        span.set_attribute("gateway.retryable", event.retryable)
        span.set_attribute("gateway.retry_after_s", event.after)


async def _in_thread(work: Callable[[], object], patience: float) -> None:
    """In one that nobody waits for any longer: a collector that does not answer holds up no end."""
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def run() -> None:
        with contextlib.suppress(Exception):
            work()
        with contextlib.suppress(RuntimeError):  # nobody waited so long, and the loop is closed
            loop.call_soon_threadsafe(done.set)

    threading.Thread(target=run, name="traces-last", daemon=True).start()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(patience):
            await done.wait()
