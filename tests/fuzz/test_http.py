"""HTTP calls made up from the OpenAPI document, against a running gateway: every answer is one that the document knows."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import requests
import schemathesis
from hypothesis import given
from hypothesis import strategies as st
from schemathesis import CheckContext, GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.config import SchemathesisConfig
from schemathesis.core.transport import Response

from gateway.admin.routes import SIGN_IN
from gateway.admin.server import LONGEST_LINE
from tests.fuzz.profiles import tries
from tests.real.process import TOKEN, Gateway, config_text

DOCUMENT = "/api/v1/openapi.json"
CONFIG = config_text(restart="{delay_ms: 0, cooldown_ms: 3600000}")
"""Restarts are asked for all the time: one happens, the others wait for the cooldown."""
STALE = "412"
"""What nearly every made-up write gets, right or wrong in itself: its hash is not the current one."""


def no_server_error(_: CheckContext, response: Response, case: schemathesis.Case[Any]) -> None:
    """Not in the library's words: 503 is an answer of ours, and the document has it."""
    if response.status_code >= 500 and response.status_code != 503:
        raise AssertionError(f"{case.method} {case.path}: {response.status_code} {response.text}")


load_all_checks()
LIBRARYS: list[Any] = CHECKS.get_by_names(
    [
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
        "negative_data_rejection",
        "missing_required_header",
        "unsupported_method",
        "allow_header_conformance",
    ]
)


def schema_of(document: dict[str, Any]) -> Any:
    config = SchemathesisConfig()
    rejected = config.projects.default.checks.negative_data_rejection
    rejected.expected_statuses = [*rejected.expected_statuses, STALE]
    # Every call here has the token: what one without it gets is a test of its own.
    return schemathesis.openapi.from_dict(document | {"security": []}, config=config)


def with_known(case: Any, url: str) -> Any:
    """The same call for something that exists, and a write for the config of now. What is said of the gateway itself is
    not: it would lock us out."""

    def ask(path: str) -> Any:
        response = requests.get(url + path, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30)
        assert response.ok, f"{path}: {response.status_code} {response.text}"
        return response.json()

    names = {"channel": "webchat", "account": "default", "name": "page.js" if "/page/" in case.path else "lifecycle"}
    names["revision"] = "1"
    for name in set(case.path_parameters or {}) & set(names):
        case.path_parameters[name] = names[name]
    if "id" in (case.path_parameters or {}):
        case.path_parameters["id"] = next(
            (ticket["id"] for ticket in ask("/api/v1/status")["tickets"]), case.path_parameters["id"]
        )
    if "path" in (case.query or {}):
        case.query["path"] = "channels.telegram.accounts.main"
    if case.path == "/api/v1/config" and case.method == "PATCH":
        case.headers["If-Match"] = ask("/api/v1/config")["hash"]
        if isinstance(case.body, dict):
            case.body.pop("gateway", None)
    if case.path == "/api/v1/config/plan":
        case.headers.pop("If-Match", None)
    return case


def check_operation(operation: Any, url: str) -> None:
    """Call it with what it may be called with, and with what it may not."""
    modes = st.sampled_from([GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
    has_input = any(True for _ in operation.iter_parameters()) or bool(operation.body)
    cases = modes.flatmap(operation.as_strategy) if has_input else operation.as_strategy()
    known = operation.as_strategy().map(lambda case: with_known(case, url))

    @tries(8 if has_input else 1)
    @given(case=st.one_of(cases, known))
    def check(case: schemathesis.Case[Any]) -> None:
        with requests.Session() as session:
            sent = {"Authorization": f"Bearer {TOKEN}", "Connection": "close"}
            response = case.call(base_url=url, session=session, headers=sent, allow_redirects=False, timeout=30)
            if len(response.request.url or "") > LONGEST_LINE - 100:
                return  # that is no HTTP to the library below, which answers it in its own words
            if "yaml" in (case.media_type or "") and isinstance(case.body, (dict, list)):
                return  # meant to be no text, and as YAML it is one, like any other
            case.validate_response(response, checks=[no_server_error, *LIBRARYS], headers=sent)
            if case.path == SIGN_IN:
                # Wrong codes lock an address out; whoever says a right token then is let off.
                assert session.get(url + "/api/v1/status", headers=sent, timeout=30).ok

    check()


async def test_every_answer_is_one_that_the_document_knows(tmp_path: Path) -> None:
    async with Gateway(tmp_path, CONFIG) as gateway:
        status, document = await gateway.http("GET", DOCUMENT)
        assert status == 200
        operations = [result.ok() for result in schema_of(document).get_all_operations()]
        assert len(operations) == sum(len(calls) for calls in document["paths"].values())
        for operation in operations:
            await asyncio.to_thread(check_operation, operation, gateway.url)
        assert (await gateway.http("GET", "/healthz"))[0] == 200
        assert [line for line in gateway.log if line["event"] in ("http_failed", "raw")] == []


async def test_without_a_token_nothing_is_answered_but_what_is_said_to_be_open(tmp_path: Path) -> None:
    async with Gateway(tmp_path, CONFIG) as gateway:
        _, document = await gateway.http("GET", DOCUMENT)
        for path, calls in document["paths"].items():
            for method, call in calls.items():
                if call.get("security") == []:
                    continue
                status, body = await gateway.http(method.upper(), path, token=None)
                assert (status, body["error"]["code"]) == (401, "unauthorized"), (method, path)
