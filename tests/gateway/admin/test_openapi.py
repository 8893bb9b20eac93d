"""The OpenAPI document: that of the routes, valid, and true of what is answered."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.gateway.admin.house import AdminHouse, run

DOCUMENT = "/api/v1/openapi.json"
CHANGE = {"channels": {"telegram": {"accounts": {"main": {"poll_timeout_s": 7}}}}}


def document(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}

    async def main() -> None:
        async with AdminHouse(folder) as house:
            status, body, _ = await house.http("GET", DOCUMENT)
            assert status == 200
            found.update(body)
            assert house.server is not None
            found["routes"] = {
                (route.method, re.sub(r"\{(\w+):[^}]*\}", r"{\1}", _pattern(route)))
                for route in house.server._app.router.routes()
                if route.method != "HEAD"
            }

    run(main())
    return found


def _pattern(route: Any) -> str:
    return str(route.resource.canonical)


def test_it_is_valid_and_has_each_route_of_the_router_and_no_other(tmp_path: Path) -> None:
    whole = document(tmp_path)
    routes = whole.pop("routes")
    OpenAPIV31SpecValidator(whole).validate()
    assert {(method.upper(), path) for path, calls in whole["paths"].items() for method in calls} == routes


def test_it_says_who_needs_the_token_and_what_everything_is_for(tmp_path: Path) -> None:
    whole = document(tmp_path)
    assert whole["security"] == [{"token": []}]
    for path, calls in whole["paths"].items():
        for method, call in calls.items():
            if path == "/telegram/{account}":
                assert call["security"] == [{"telegram": []}]
                assert "401" in call["responses"]
                continue
            if path == "/api/v1/sign-in":
                assert call["security"] == []
                assert {"401", "429"} < set(call["responses"])
                continue
            closed = path.startswith("/api/") or path == "/metrics"
            assert ("401" in call["responses"]) == closed == ("security" not in call), (method, path)
            assert "403" in call["responses"]
            assert call["summary"], (method, path)
            assert call["description"].endswith((".", "`")), (method, path)
            for response in call["responses"].values():
                assert response["description"].strip(". "), (method, path)
    ids = [call["operationId"] for calls in whole["paths"].values() for call in calls.values()]
    assert len(ids) == len(set(ids))


def test_a_write_says_what_it_takes_and_what_may_come_of_it(tmp_path: Path) -> None:
    patch = document(tmp_path)["paths"]["/api/v1/config"]["patch"]
    assert set(patch["responses"]) == {"200", "400", "401", "403", "409", "412", "413", "422", "429", "503"}
    assert {one["name"] for one in patch["parameters"]} == {
        "note",
        "restart_delay_ms",
        "confirm_within_s",
        "plan_id",
        "If-Match",
    }
    assert set(patch["requestBody"]["content"]) >= {"application/json", "application/yaml"}
    assert patch["responses"]["412"]["headers"]["ETag"]["required"]
    assert patch["responses"]["503"]["headers"]["Retry-After"]["required"]
    send = document(tmp_path)["paths"]["/api/v1/send"]["post"]
    assert [(one["name"], one["in"], one["required"]) for one in send["parameters"]] == [
        ("traceparent", "header", False)
    ]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/healthz", 200),
        ("GET", "/readyz", 200),
        ("GET", "/api/v1/openapi.json", 200),
        ("GET", "/api/v1/asyncapi.json", 200),
        ("POST", "/api/v1/sign-in/codes", 201),
        ("POST", "/api/v1/sign-in", 200),
        ("POST", "/api/v1/sign-in", 400),
        ("POST", "/api/v1/sign-in", 401),
        ("GET", "/api/v1/status", 200),
        ("GET", "/api/v1/config", 200),
        ("GET", "/api/v1/config/schema", 200),
        ("GET", "/api/v1/config/schema", 404),
        ("GET", "/api/v1/config/schema", 400),
        ("POST", "/api/v1/config/plan", 200),
        ("POST", "/api/v1/config/plan", 400),
        ("POST", "/api/v1/config/plan", 412),
        ("POST", "/api/v1/config/plan", 422),
        ("GET", "/api/v1/config/history", 200),
        ("GET", "/api/v1/config/history", 400),
        ("GET", "/api/v1/config/history/{revision}", 200),
        ("GET", "/api/v1/config/history/{revision}", 404),
        ("GET", "/api/v1/channels", 200),
        ("POST", "/api/v1/channels/{channel}/{account}/{verb}", 200),
        ("POST", "/api/v1/channels/{channel}/{account}/{verb}", 409),
        ("POST", "/api/v1/channels/{channel}/{account}/{verb}", 404),
        ("GET", "/api/v1/journal", 200),
        ("GET", "/api/v1/journal", 400),
        ("GET", "/api/v1/machines", 200),
        ("PATCH", "/api/v1/config", 200),
        ("PATCH", "/api/v1/config", 412),
        ("PATCH", "/api/v1/config", 422),
        ("POST", "/api/v1/restart", 202),
        ("GET", "/api/v1/requests/{id}", 200),
        ("DELETE", "/api/v1/restart/{id}", 200),
        ("DELETE", "/api/v1/restart/{id}", 409),
    ],
)
def test_an_answer_is_what_the_document_says(method: str, path: str, status: int, tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            _, whole, _ = await house.http("GET", DOCUMENT)
            answer, body, headers = await _call(house, method, path, status)
            assert answer == status, body
            said = whole["paths"][path][method.lower()]["responses"][str(status)]
            schema = said["content"]["application/json"]["schema"] | {"components": whole["components"]}
            faults = [f"{list(f.path)}: {f.message}" for f in Draft202012Validator(schema).iter_errors(body)]
            assert not faults
            for name, header in said.get("headers", {}).items():
                assert name in headers or not header["required"]

    run(main())


async def _call(house: AdminHouse, method: str, path: str, status: int) -> tuple[int, Any, Any]:
    """A call that is answered with the status."""
    if path.endswith("{verb}"):
        account = "nobody" if status == 404 else "default"
        path = f"/api/v1/channels/webchat/{account}/{'start' if status == 409 else 'restart'}"
    if path.endswith("{id}"):
        _, asked, _ = await house.http("POST", "/api/v1/restart", json={"delay_ms": 60_000})
        path = path.replace("{id}", asked["id"])
        if status == 409:
            await house.http("DELETE", path)
    if path == "/api/v1/config/schema" and status != 200:
        path += "?path=gateway.nmae" if status == 404 else "?path="
    if path in ("/api/v1/journal", "/api/v1/config/history") and status == 400:
        path += "?limit=none"
    if path.endswith("{revision}"):
        await house.http("PATCH", "/api/v1/config", json=CHANGE, headers={"If-Match": house.hash or ""})
        path = path.replace("{revision}", "2" if status == 200 else "99")
    more: dict[str, Any] = {}
    if path.endswith("/sign-in") and status != 400:
        code = (await house.http("POST", path + "/codes"))[1]["code"] if status == 200 else "wrong"
        more = {"json": {"code": code}}
    if path.endswith("/plan"):
        path += "?patch=perhaps" if status == 400 else "?patch=true"
    if method == "PATCH" or "/plan?" in path:
        _, config, _ = await house.http("GET", "/api/v1/config")
        more = {
            "json": {"gateway": {"name": "" if status == 422 else "new"}},
            "headers": {"If-Match": "stale" if status == 412 else config["hash"]},
        }
    return await house.http(method, path, **more)


@pytest.mark.parametrize("place", [".", "gateway", "gateway.admin.token", "routes[0].match", "handlers"])
def test_a_place_of_the_config_is_what_the_document_says(place: str, tmp_path: Path) -> None:
    """Of two answers that it may be, it is the one."""

    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            _, whole, _ = await house.http("GET", DOCUMENT)
            _, body, _ = await house.http("GET", "/api/v1/config/schema", params={"path": place})
            said = whole["paths"]["/api/v1/config/schema"]["get"]["responses"]["200"]["content"]["application/json"]
            whole_schema, place_schema = (one | {"components": whole["components"]} for one in said["schema"]["anyOf"])
            Draft202012Validator(place_schema).validate(body)
            assert not Draft202012Validator(whole_schema).is_valid(body)

    run(main())


def test_its_models_are_not_imported_before_it_is_asked_for() -> None:
    code = "import sys, gateway.admin.server; print([n for n in sys.modules if n.startswith('gateway.admin.')])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "gateway.admin.http" in loaded
    for name in ("openapi", "asyncapi", "answers", "frame_answers"):
        assert f"gateway.admin.{name}'" not in loaded
