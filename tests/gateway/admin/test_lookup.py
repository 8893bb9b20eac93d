"""One place of the config, as config.schema.lookup and GET /api/v1/config/schema?path= answer."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from gateway.admin import lookup
from gateway.admin.errors import NotFoundError
from gateway.admin.lookup import _resolve, look_up
from gateway.admin.schema import hints_of, json_schema
from gateway.admin.schemas import SchemaLookup
from tests.gateway.admin.house import AdminHouse, run
from tests.gateway.config.test_file import FAULTS
from tests.gateway.configs import MODEL, faults
from tests.protocol.frames import definitions, faults_in

HINTS = dict(hints_of(json_schema(MODEL)))
CALL = "/api/v1/config/schema"


@pytest.mark.parametrize("path", [".", *HINTS])
def test_every_place_is_found_and_its_answer_is_as_published(path: str) -> None:
    answer = look_up(MODEL, path)
    assert faults_in("ConfigSchemaLookupResult", answer) == []
    jsonschema.Draft202012Validator.check_schema(answer["schema"])
    assert answer["path"] == path
    if path != ".":
        assert (answer["hintPath"], answer["hint"]) == (path, HINTS[path])
    for child in answer["children"]:
        below = look_up(MODEL, child["path"])
        assert (below["hint"], below["reloadKind"]) == (child["hint"], child["reloadKind"])
        assert child["hasChildren"] == bool(below["children"])
        assert child["path"] == (child["key"] if path == "." else f"{path}.{child['key']}")
        assert child["required"] == (child["key"] in answer["schema"].get("required", ()))


def test_the_answers_lead_from_the_whole_to_every_place() -> None:
    found, pending = [], ["."]
    while pending:
        children = look_up(MODEL, pending.pop())["children"]
        found += [child["path"] for child in children]
        pending += [child["path"] for child in children if child["hasChildren"]]
    assert sorted(found) == sorted(HINTS)


@pytest.mark.parametrize(
    ("path", "normal", "hint"),
    [
        ("channels.telegram.accounts.main.token", None, "channels.telegram.accounts.*.token"),
        ("channels.telegram.accounts.main", None, "channels.telegram.accounts.*"),
        ("channels.telegram.accounts.my.own.bot.token", None, "channels.telegram.accounts.*.token"),
        ("channels.telegram.accounts.token.token", None, "channels.telegram.accounts.*.token"),
        ("channels.telegram.accounts.enabled", None, "channels.telegram.accounts.*"),
        ("channels.telegram.accounts.main.allow_from.3", None, "channels.telegram.accounts.*.allow_from.*"),
        ("routes.0.match", None, "routes.*.match"),
        ("routes[0].match", "routes.0.match", "routes.*.match"),
        ("routes[].match", "routes.*.match", "routes.*.match"),
        ("routes[*]", "routes.*", "routes.*"),
        (".gateway..admin.", "gateway.admin", "gateway.admin"),
    ],
)
def test_an_entry_is_found_by_its_own_name_or_number(path: str, normal: str | None, hint: str) -> None:
    answer = look_up(MODEL, path)
    assert faults_in("ConfigSchemaLookupResult", answer) == []
    assert (answer["path"], answer["hintPath"]) == (normal or path, hint)
    assert answer["schema"] == look_up(MODEL, hint)["schema"]
    assert all(child["path"].startswith(f"{answer['path']}.") for child in answer["children"])


def test_a_place_has_its_type_its_bounds_and_what_a_change_of_it_needs() -> None:
    port = look_up(MODEL, "gateway.admin.port")
    assert (port["schema"]["type"], port["schema"]["maximum"], port["schema"]["default"]) == ("integer", 65535, 18790)
    assert (port["reloadKind"], port["schema"]["x-reload"], port["children"]) == ("restart", "gateway", [])
    token = look_up(MODEL, "channels.telegram.accounts.main.token")
    assert (token["reloadKind"], token["schema"]["x-reload"], token["schema"]["writeOnly"]) == ("hot", "channel", True)
    assert token["hint"]["sensitive"]
    children = {child["key"]: child for child in look_up(MODEL, "channels.telegram.accounts.main")["children"]}
    assert children["token"]["type"] == ["string", "object"]
    assert (children["token"]["required"], children["enabled"]["required"]) == (True, False)
    (entry,) = look_up(MODEL, "handlers")["children"]
    assert (entry["key"], entry["path"], entry["hasChildren"]) == ("*", "handlers.*", True)


@pytest.mark.parametrize(
    ("path", "kind"),
    [("gateway", "restart"), ("gateway.reload", "hot"), ("store", "hot"), ("channels", "hot"), ("routes", "hot")],
)
def test_a_section_needs_what_the_weightiest_of_its_keys_needs(path: str, kind: str) -> None:
    assert look_up(MODEL, path)["reloadKind"] == kind
    assert kind == ("restart" if "reload:gateway" in json.dumps(look_up(MODEL, path)["children"]) else "hot")


def test_a_value_can_be_held_against_the_schema_of_its_place() -> None:
    account = jsonschema.Draft202012Validator(look_up(MODEL, "channels.telegram.accounts.main")["schema"])
    account.validate({"token": {"file": "token"}, "poll_timeout_s": 10})
    for wrong in ({}, {"token": "t", "poll_timeout_s": 0}, {"token": "t", "colour": "red"}):
        with pytest.raises(jsonschema.ValidationError):
            account.validate(wrong)


@pytest.mark.parametrize(
    ("path", "remedy"),
    [
        ("gateway.admn.port", "the nearest known path is 'gateway.admin.port'"),
        ("gatway.admn.prot", "the nearest known path is 'gateway.admin.port'"),
        ("port", "the nearest known path is 'gateway.admin.port'"),
        ("gateway.port", "the nearest known path is 'gateway.admin.port'"),
        ("telegram.accounts", "the nearest known path is 'channels.telegram.accounts'"),
        ("telegram.accounts.main.token", "the nearest known path is 'channels.telegram.accounts.main.token'"),
        ("gateway.admin.colour", "the nearest known path is 'gateway.admin'"),
        ("gateway.admin.token.file", "the nearest known path is 'gateway.admin.token'"),
        ("gateway.admin.port.0", "the nearest known path is 'gateway.admin.port'"),
        ("channels.telegram.accounts.main.tokn", "the nearest known path is 'channels.telegram.accounts.main.token'"),
        ("channels.telegram.acounts.main.tokn", "the nearest known path is 'channels.telegram.accounts.main.token'"),
        ("channels.telegram.accounts.a/b.token", "the nearest known path is 'channels.telegram.accounts"),
        ("channels.telegram.accounts." + "a" * 65, "the nearest known path is 'channels.telegram.accounts'"),
        ("channels.irc.accounts.main", "the nearest known path is 'channels'"),
        ("routes.first.match", "the nearest known path is 'routes"),
        ("routes.-1", "the nearest known path is 'routes'"),
        ("routes.0.mach", "the nearest known path is 'routes.0.match'"),
        ("handlers.echo.ur", "the nearest known path is 'handlers.echo.url'"),
        ("handlers.echo.colour", "the nearest known path is 'handlers.echo'"),
        ("constructor", "it begins with one of gateway, store, channels, handlers, routes"),
        ("__proto__.polluted", "it begins with one of gateway"),
        ("toString", "it begins with one of gateway"),
        ("**", "it begins with one of gateway"),
        ("[", "it begins with one of gateway"),
    ],
)
def test_a_path_that_is_not_known_is_refused_with_the_nearest_that_is(path: str, remedy: str) -> None:
    with pytest.raises(NotFoundError) as refused:
        look_up(MODEL, path)
    text = str(refused.value)
    assert text.startswith(f"the config has no path {path!r}; ")
    assert remedy in text
    if nearest := re.search(r"path is '(.*)'$", text):
        look_up(MODEL, nearest[1])


@pytest.mark.parametrize("name", FAULTS)
def test_where_a_config_is_wrong_can_be_looked_up(name: str) -> None:
    """Every path that a fault names is a place of the schema, unless the fault is that there is none."""
    for issue in faults(FAULTS[name][0]):
        if issue.path and "unknown key" not in issue.message and "regex" not in issue.message:
            look_up(MODEL, issue.path)


@pytest.mark.parametrize(
    "path",
    [
        ".".join(["a"] * 512),
        "channels.telegram.accounts." + ".".join(["a"] * 490) + ".colour",
        "channels.telegram.accounts." + ".".join(["a"] * 490) + ".token",
        "routes" + "[0]" * 330,
        "gateway." * 128,
        "x" * 1024,
        "." * 1023 + "x",
        "[" * 1024,
    ],
)
def test_no_path_keeps_the_gateway_busy(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in steps that are tried: what is allowed here takes some milliseconds."""
    tried = []

    def resolve(*arguments: Any) -> Any:
        tried.append(arguments)
        return _resolve(*arguments)

    monkeypatch.setattr(lookup, "_resolve", resolve)
    with pytest.raises(NotFoundError):
        look_up(MODEL, path)
    assert len(tried) < 2_000


def test_the_parameters_are_those_that_are_published() -> None:
    ours = msgspec.json.schema_components([SchemaLookup])[1]["SchemaLookup"]
    published = definitions()["ConfigSchemaLookupParams"]
    assert {name: ours[name] for name in published} == published


def test_over_the_websocket(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            socket = await house.sign_in(scopes=["operator.read"])
            assert "config.schema.lookup" in socket.hello["features"]["methods"]
            answer = await socket.ask("config.schema.lookup", path="channels.telegram.accounts.main.token")
            assert faults_in("ConfigSchemaLookupResult", answer) == []
            assert answer["hintPath"] == "channels.telegram.accounts.*.token"
            assert faults_in("ConfigSchemaLookupResult", await socket.ask("config.schema.lookup", path=".")) == []
            assert faults_in("ConfigSchemaResponse", await socket.ask("config.schema")) == []
            wrong: list[Any] = [{"path": "gateway.admn"}, {"path": "x" * 10_000}, {"path": ""}, {"path": "a b"}]
            wrong += [
                {"path": "ü"},
                {"path": "\ud800"},
                {"path": "gateway.admin\nspoof"},
                {"path": 42},
                {},
                {"path": None},
            ]
            wrong += [{"path": "gateway", "more": 1}, None, []]
            for params in wrong:
                refused = await socket.request("config.schema.lookup", params)
                assert faults_in("ResponseFrame", refused) == []
                assert faults_in("ResponseFrame", refused) == []
                assert refused["error"]["code"] == "INVALID_REQUEST", params
                assert len(refused["error"]["message"]) < 2_000
            refused = await socket.request("config.schema.lookup", {"path": "gateway.admn"})
            assert "'gateway.admin'" in refused["error"]["message"]

    run(main())


def test_over_http(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            socket = await house.sign_in()
            for path in (".", "gateway.admin", "routes[0].match", "channels.telegram.accounts.main"):
                status, body, _ = await house.http("GET", CALL, params={"path": path})
                assert (status, body) == (200, await socket.ask("config.schema.lookup", path=path))
            status, body, _ = await house.http("GET", CALL)
            assert (status, set(body)) == (200, {"schema", "uiHints", "version", "generatedAt"})
            status, body, _ = await house.http("GET", CALL, params={"path": "gateway.admn.port"})
            assert (status, body["error"]["code"]) == (404, "not_found")
            assert "'gateway.admin.port'" in body["error"]["message"]
            for query in ({"path": "x" * 10_000}, {"path": ""}, {"path": "a b"}, {"path": "ü"}, {"paht": "gateway"}):
                status, body, _ = await house.http("GET", CALL, params=query)
                assert (status, body["error"]["code"]) == (400, "bad_request"), query
            assert (await house.http("GET", f"{CALL}?path=gateway", token=None))[0] == 401

    run(main())


def test_it_is_not_imported_before_it_is_asked_for() -> None:
    code = "import sys, gateway.admin.server; print([n for n in sys.modules if n.startswith('gateway.admin.')])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "gateway.admin.http" in loaded
    assert "gateway.admin.lookup" not in loaded
