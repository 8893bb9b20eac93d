"""`gateway call` and `gateway diagram` against a running gateway, and without one."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from statemachine import MACHINES
from tests.real.commands import command
from tests.real.process import TOKEN, Gateway, config_text


async def test_any_method_can_be_called(tmp_path: Path) -> None:
    async with Gateway(tmp_path, config_text()) as gateway:
        assert (await command(tmp_path, "call", "health")).json["ok"] is True
        asked = {"path": "gateway.admin.port"}
        found = await command(tmp_path, "call", "config.schema.lookup", json.dumps(asked))
        assert found.json["path"] == asked["path"]
        (tmp_path / "params.json").write_text(json.dumps(asked))
        for words, stdin in ((["@params.json"], ""), (["-"], json.dumps(asked))):
            assert (await command(tmp_path, "call", "config.schema.lookup", *words, stdin=stdin)).json == found.json
        # The file's token is not the gateway's any more, and the environment has it.
        gateway.config.write_text("gateway: 7\n")
        assert (await command(tmp_path, "call", "health", GATEWAY_TOKEN=TOKEN)).code == 0
        await gateway.until(lambda status: status["config"]["drift"])


async def test_a_call_that_is_refused_says_why(tmp_path: Path) -> None:
    async with Gateway(tmp_path, config_text()):
        unknown = await command(tmp_path, "call", "no.such.method")
        assert (unknown.code, unknown.out) == (1, "")
        assert unknown.err.startswith("gateway: INVALID_REQUEST: ")
        stale = await command(tmp_path, "call", "config.patch", '{"raw": "{}", "baseHash": "0"}')
        assert (stale.code, "currentHash" in stale.json["details"]) == (1, True)


@pytest.mark.parametrize("params", ["7", "[]", "{", "nothing"])
async def test_params_that_are_no_object_are_a_usage_error(tmp_path: Path, params: str) -> None:
    done = await command(tmp_path, "call", "health", params)
    assert (done.code, done.err.startswith("gateway: PARAMS must be a JSON object: ")) == (2, True)


async def test_a_token_that_is_wrong_is_told(tmp_path: Path) -> None:
    text = config_text(reload="{mode: off}")
    async with Gateway(tmp_path, text) as gateway:
        gateway.config.write_text(text.replace(TOKEN, "another-token-0123456789"))
        done = await command(tmp_path, "call", "health")
        assert (done.code, "takes none of the tokens" in done.err) == (1, True)


async def test_a_diagram_has_the_present_state_lit(tmp_path: Path) -> None:
    async with Gateway(tmp_path, config_text()):
        text = (await command(tmp_path, "diagram")).out
        assert text.startswith("%% Written from the table")
        assert text.endswith("    class RUNNING now\n")
        await command(tmp_path, "channels", "stop", "webchat/default")
        assert (await command(tmp_path, "diagram", "webchat/default")).out.endswith("    class STOPPED now\n")
        done = await command(tmp_path, "diagram", "webchat/default", "--svg", "channel.svg")
        assert (done.code, done.out) == (0, "")
        picture = (tmp_path / "channel.svg").read_text()
        assert '[id="state-stopped"] > path { stroke:' in picture
        ids = {element.get("id") for element in ET.fromstring(picture).iter()}
        assert "state-stopped" in ids, "or the rule lights nothing"
        nowhere = await command(tmp_path, "diagram", "--svg", "no/such/folder.svg")
        assert (nowhere.code, "cannot be written" in nowhere.err) == (1, True)
        unknown = await command(tmp_path, "diagram", "telegram/main")
        assert (unknown.code, unknown.err) == (
            1,
            "gateway: there is no account telegram/main; there are webchat/default\n",
        )


async def test_the_diagram_of_a_kind_needs_no_gateway(tmp_path: Path) -> None:
    for machine in MACHINES:
        done = await command(tmp_path, "diagram", machine.kind)
        assert done.code == 0
        assert f"%% {machine.kind}: " in done.out
        assert " now" not in done.out.splitlines()[-1]
    unknown = await command(tmp_path, "diagram", "chanel")
    assert (unknown.code, "channel" in unknown.err) == (2, True)
    without = await command(tmp_path, "diagram")
    assert (without.code, "no gateway runs" in without.err) == (1, True)
