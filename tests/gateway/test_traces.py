"""Traces within the process: whether there are any, what a span holds, and how a trace goes on."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Sampler
from structlog.testing import capture_logs

from gateway.config.handlers import CommandHandler, HttpHandler, OpenaiHandler, PythonHandler
from gateway.errors import HandlerError
from gateway.handlers.base import Handler
from gateway.handlers.command import Command
from gateway.handlers.http import Http
from gateway.handlers.openai import Openai
from gateway.handlers.python import Python
from gateway.messages.model import Message
from gateway.otel import Courier, OtelTraces, open_traces
from gateway.redact import MARK, Redactor
from gateway.store.store import Store
from gateway.traces import UNTRACED, carried, traces_for, wanted
from tests.gateway.fakes import FakeHandlers
from tests.gateway.handlers.desk import MESSAGE, answering, serving, tools
from tests.gateway.messages.bench import IDENTITY, Life, message, not_now, order
from tests.virtual import VirtualClock, run_virtual

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GIVEN = f"00-{TRACE}-{SPAN}-01"
OTLP = "OTEL_EXPORTER_OTLP_ENDPOINT"
HERE = {OTLP: "http://127.0.0.1:4318"}


class Kept(SpanExporter):
    """Takes spans, or does what it is told instead."""

    def __init__(self, *results: SpanExportResult | Exception) -> None:
        self.spans: list[ReadableSpan] = []
        self.results = list(results)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.spans += spans
        result = self.results.pop(0) if self.results else SpanExportResult.SUCCESS
        if isinstance(result, Exception):
            raise result
        return result


class Recorded:
    """Traces, and what was exported of them."""

    def __init__(self, sampler: Sampler | None = None) -> None:
        self.kept, self.redactor = Kept(), Redactor()
        provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self._processor = BatchSpanProcessor(Courier(self.kept), schedule_delay_millis=3_600_000)
        provider.add_span_processor(self._processor)
        self.traces = OtelTraces(provider, self._processor, Courier(self.kept), self.redactor)
        self.tracer = provider.get_tracer("a handler's own")

    @property
    def spans(self) -> list[ReadableSpan]:
        self._processor.force_flush()
        return self.kept.spans

    def close(self) -> None:
        BatchSpanProcessor.shutdown(self._processor)  # type: ignore[no-untyped-call]

    def names(self) -> list[str]:
        return [span.name for span in self.spans]


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    found = Recorded()
    yield found
    found.close()


def traceparent_of(span: ReadableSpan) -> str:
    context = span.get_span_context()
    assert context is not None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def one(spans: Sequence[ReadableSpan], name: str) -> ReadableSpan:
    (found,) = [span for span in spans if span.name == name]
    return found


# What a `traceparent` is


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        (GIVEN, GIVEN),
        (GIVEN.replace("00-", "cc-", 1) + "-what-is-to-come", GIVEN),
        (GIVEN.replace("-01", "-00"), GIVEN.replace("-01", "-00")),
        (None, None),
        (7, None),
        ("", None),
        (GIVEN.upper(), None),
        (GIVEN + "-more", None),
        (GIVEN + "\n", None),
        (f"{GIVEN}\r\nX-Another: header", None),
        (GIVEN.replace("00-", "ff-", 1), None),
        (GIVEN.replace(TRACE, "0" * 32), None),
        (GIVEN.replace(SPAN, "0" * 16), None),
        (GIVEN.replace("00-", "cc-", 1) + "-" * 200, None),
    ],
)
def test_what_is_no_traceparent_is_none(given: Any, taken: str | None) -> None:
    assert carried(given) == taken


# Whether there are any


@pytest.mark.parametrize(
    ("environ", "asked"),
    [
        ({}, False),
        ({OTLP: ""}, False),
        ({"OTEL_SERVICE_NAME": "mine"}, False),
        (HERE, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        (HERE | {"OTEL_TRACES_EXPORTER": "none"}, False),
        (HERE | {"OTEL_SDK_DISABLED": "TRUE"}, False),
        (HERE | {"OTEL_SDK_DISABLED": "false"}, True),
    ],
)
def test_the_environment_says_whether_there_are_traces(environ: dict[str, str], asked: bool) -> None:
    assert wanted(environ) is asked


@pytest.mark.parametrize(
    ("environ", "why"),
    [
        ({"OTEL_TRACES_EXPORTER": "console"}, "the exporter that there is is called otlp"),
        (HERE | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "what is spoken is http/protobuf"),
        (HERE | {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"}, "what is spoken is http/protobuf"),
    ],
)
def test_what_cannot_be_done_is_told_and_stops_nothing(environ: dict[str, str], why: str) -> None:
    with capture_logs() as lines:
        assert traces_for(environ, Redactor(), "a boot") is UNTRACED
    assert [line["event"] for line in lines] == ["traces_off"]
    assert why in lines[0]["why"]


def test_what_the_library_cannot_read_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "1")
    with capture_logs() as lines:
        assert traces_for(HERE, Redactor(), "a boot") is UNTRACED
    assert [line["event"] for line in lines] == ["traces_off"]
    assert "max_queue_size" in lines[0]["why"]


def test_an_extra_that_is_not_installed_is_told_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "gateway.otel")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with capture_logs() as lines:
        assert traces_for(HERE, Redactor(), "a boot") is UNTRACED
    assert lines[0]["event"] == "traces_off"
    assert "opentelemetry" in lines[0]["why"]
    assert "pip install 'chat-gateway[otel]'" in lines[0]["remedy"]


async def test_what_stands_in_the_headers_of_the_exporter_is_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a password in its address is told to nobody."""
    secret = "Bearer%20a-secret-of-the-collector"
    environ = {
        OTLP: "http://ann:a-password@127.0.0.1:4318",
        "OTEL_EXPORTER_OTLP_HEADERS": f"a=b,authorization={secret}",
    }
    monkeypatch.setattr(trace, "set_tracer_provider", lambda _: None)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    redactor = Redactor()
    with capture_logs() as lines:
        traces = open_traces(environ, redactor, "a boot")
    await traces.close(1.0)
    assert redactor.text("a-password") == MARK
    assert lines == [{"event": "traces_on", "to": "127.0.0.1:4318", "log_level": "info"}]
    assert (
        redactor.text(f"refused: {secret}")
        == redactor.text("refused: Bearer a-secret-of-the-collector")
        == f"refused: {MARK}"
    )


def test_a_collector_that_is_away_is_told_of_once_and_once_when_it_is_back() -> None:
    took, refused = SpanExportResult.SUCCESS, SpanExportResult.FAILURE
    courier = Courier(Kept(took, refused, ConnectionError("a text"), refused, took, took, refused))
    with capture_logs() as lines:
        for _ in range(7):
            courier.export([])
    events = [line["event"] for line in lines]
    assert events == ["traces_not_exported", "traces_exported_again", "traces_not_exported"]


# What a span holds


def test_an_account_that_was_called_by_its_token_is_not_in_a_span(recorded: Recorded) -> None:
    recorded.redactor.learn(["1001:a-secret-token"])
    for each in (message("hello", account="1001:a-secret-token"),):
        (taken,) = (taking := recorded.traces.receiving([each])).messages
        taking.kept([taken])
        recorded.traces.routed(taken, 0, "matched", "1001:a-secret-token")
        with recorded.traces.handling(taken, "1001:a-secret-token", "echo"):
            pass
    assert len(recorded.spans) == 3
    assert "a-secret-token" not in "".join(span.to_json() for span in recorded.spans)


def test_an_error_is_told_by_its_name_and_not_by_what_it_quotes(recorded: Recorded) -> None:
    with contextlib.suppress(HandlerError), recorded.traces.handling(message("hello"), "model", "openai"):
        raise HandlerError("HTTP 400: I will not answer `hello`")
    (span,) = recorded.spans
    assert span.attributes is not None
    assert span.attributes["error.type"] == "HandlerError"
    assert "hello" not in span.to_json()


@pytest.mark.parametrize(("number", "told"), [("telegram:1001:55", "55"), ("webchat:default:me:a key of mine", None)])
def test_of_an_id_only_the_networks_number_is_told(recorded: Recorded, number: str, told: str | None) -> None:
    taking = recorded.traces.receiving([message("hello", name=number)])
    taking.kept(taking.messages)
    (span,) = recorded.spans
    assert span.attributes is not None
    assert span.attributes.get("messaging.message.id") == told


# How a trace goes on


def test_what_is_brought_again_goes_on_with_the_trace_of_the_first_time(tmp_path: Path, recorded: Recorded) -> None:
    """A crash after the commit, before its network was told: the second receive is known, and tells of nothing."""

    async def main() -> None:
        life = await Life(tmp_path, traces=recorded.traces).begin()
        life.pipeline._handlers = FakeHandlers(never, outside=True)
        await life.say("hello")
        await life.crash()
        again = await Life(tmp_path, traces=recorded.traces).begin()
        await again.pipeline.accept(IDENTITY, 1, [message("hello")])
        await again.end()
        assert again.texts == ["hello"]

    run_virtual(main())
    spans = recorded.spans
    assert sorted(recorded.names()) == ["receive telegram/main", "route", "route", "send telegram/main"]
    root = one(spans, "receive telegram/main")
    assert {span.parent.span_id for span in spans if span.parent} == {root.get_span_context().span_id}  # type: ignore[union-attr]


async def never(_: Message) -> str:
    await asyncio.Event().wait()
    return ""


def test_the_trace_is_in_the_store_with_the_message(tmp_path: Path, recorded: Recorded) -> None:
    async def main() -> None:
        life = await Life(tmp_path, traces=recorded.traces).begin()
        await life.say("hello")
        await order(life, "an order")
        await life.end()
        store = Store(tmp_path, lambda: "full", VirtualClock())
        await store.open()
        (row,) = await store.messages(None, 10)
        sent = {kept.outgoing.text: kept.outgoing.traceparent for kept in await store.outbox("sent", 10)}
        await store.close()
        assert (
            row["body"]["traceparent"] == sent["hello"] == traceparent_of(one(recorded.spans, "receive telegram/main"))
        )
        assert sent["an order"] == traceparent_of(one(recorded.spans, "create telegram/main"))

    run_virtual(main())


def test_each_attempt_to_send_is_a_span_that_says_what_came_of_it(tmp_path: Path, recorded: Recorded) -> None:
    async def main() -> None:
        life = await Life(tmp_path, traces=recorded.traces).begin()
        life.network.steps.append(not_now(after=3.0))
        await life.say("hello")
        await asyncio.sleep(10)
        await life.end()

    run_virtual(main())
    first, second = (dict(span.attributes or {}) for span in recorded.spans if span.name.startswith("send"))
    assert (first["gateway.attempt"], first["gateway.outcome"], first["gateway.retry_after_s"]) == (1, "failed", 3.0)
    assert (second["gateway.attempt"], second["gateway.outcome"]) == (2, "sent")
    assert second["messaging.message.id"] == "n1"


def test_log_lines_of_a_message_say_its_trace(tmp_path: Path, recorded: Recorded) -> None:
    async def fails(_: Message) -> str:
        raise HandlerError("no")

    async def main() -> None:
        life = await Life(tmp_path, traces=recorded.traces).begin()
        life.pipeline._handlers = FakeHandlers(fails)
        await life.say("hello")
        await life.end()

    with capture_logs() as lines:
        run_virtual(main())
    (line,) = [line for line in lines if line["event"] == "message_not_handled"]
    assert line["trace_id"] == traceparent_of(one(recorded.spans, "route")).split("-")[1]


def test_what_is_not_sampled_is_not_exported_and_says_so_to_handlers() -> None:
    recorded = Recorded(ALWAYS_OFF)
    taking = recorded.traces.receiving([message("hello")])
    taking.kept(taking.messages)
    with recorded.traces.handling(taking.messages[0], "hook", "http") as given:
        assert given.traceparent is not None
        assert int(given.traceparent[-2:], 16) & 1 == 0
    assert recorded.spans == []
    recorded.close()


# What handlers are told

TRACED = Message(
    MESSAGE.id, "telegram", "main", "77", "9", "ann", "hello", MESSAGE.received_at, traceparent=GIVEN
)  # fmt: skip


@pytest.mark.parametrize("given", [TRACED, MESSAGE], ids=["with a trace", "without"])
async def test_those_elsewhere_are_told_in_a_header(given: Message, tmp_path: Path) -> None:
    heard: list[tuple[web.Request, bytes]] = []
    answer = web.json_response({"text": "yes", "choices": [{"message": {"content": "yes"}}]})
    async with serving(answering(answer, heard=heard)) as url:
        settings = OpenaiHandler(type="openai", base_url=url, model="small", stream=False)
        handlers: list[Handler] = [
            Http("hook", HttpHandler(type="http", url=url), tools(tmp_path)),
            Openai("model", settings, tools(tmp_path)),
        ]
        for handler in handlers:
            await handler.handle(given)
            await handler.close()
    assert [request.headers.get("traceparent") for request, _ in heard] == [given.traceparent] * 2


@pytest.mark.parametrize("given", [TRACED, MESSAGE], ids=["with a trace", "without"])
async def test_a_program_is_told_in_its_environment(given: Message, tmp_path: Path) -> None:
    (tmp_path / "answer.py").write_text("import os; print(os.environ.get('TRACEPARENT'), len(os.environ) > 1)\n")
    settings = CommandHandler(type="command", argv=(sys.executable, "answer.py"))
    (reply,) = await Command("mine", settings, tools(tmp_path)).handle(given)
    assert reply.text == f"{given.traceparent} True"


@pytest.mark.parametrize("how", ["def", "async def"])
async def test_what_a_function_records_itself_is_of_the_same_trace(
    how: str, tmp_path: Path, recorded: Recorded
) -> None:
    (tmp_path / "traced.py").write_text(
        "from opentelemetry import trace\n\n"
        f"{how} answer(message):\n"
        "    context = trace.get_current_span().get_span_context()\n"
        "    return f'{context.trace_id:032x}-{context.span_id:016x} {message.traceparent[3:-3]}'\n"
    )
    handler = Python("mine", PythonHandler(type="python", target="traced:answer"), tools(tmp_path))
    with recorded.traces.handling(TRACED, "mine", "python") as given:
        (reply,) = await handler.handle(given)
    await handler.close()
    present, told = reply.text.split()
    assert present == told
    assert told.startswith(TRACE)
