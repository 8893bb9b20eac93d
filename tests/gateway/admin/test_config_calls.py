"""The plan and the history over HTTP and WebSocket."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from gateway.admin.methods import METHODS
from gateway.config.file import revision_of
from gateway.redact import MARK
from tests.gateway.admin.house import SECRET, TEXT, AdminHouse, run

CONFIG, PLAN, HISTORY = "/api/v1/config", "/api/v1/config/plan", "/api/v1/config/history"
NEW_SECRET = "another-secret-token"
NEW = TEXT.replace(SECRET, NEW_SECRET)
NAME = {"gateway": {"name": "office"}}
TOKEN_PATH = "channels.telegram.accounts.main.token"
YAML = {"Content-Type": "application/yaml"}


# The plan


def test_a_replacement_and_a_patch_have_a_plan_whatever_the_way_they_are_sent(tmp_path: Path) -> None:
    renamed = TEXT.replace("gateway:\n", "gateway:\n  name: office\n")
    patch = json.dumps(NAME)

    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            sent: list[tuple[str, str, str]] = [
                ("", "application/yaml", renamed), ("?patch=false", "text/yaml", renamed),
                ("?patch=true", "application/json", patch), ("?patch=true", "application/yaml", "gateway: {name: office}"),
                ("", "application/merge-patch+json", patch), ("?patch=true", "application/merge-patch+json", patch),
            ]  # fmt: skip
            for query, kind, body in sent:
                status, plan, _ = await house.http("POST", PLAN + query, data=body, headers={"Content-Type": kind})
                assert status == 200, plan
                assert plan["changes"] == [{"path": "gateway.name", "class": "live", "old": "gateway", "new": "office"}]
                assert plan["needs"] == "reload"
            status, _, _ = await house.http("POST", PLAN, data=patch, headers={"Content-Type": "application/json"})
            assert status == 200, "a whole text it is then: nearly everything goes"
            assert house.on_disk() == TEXT.encode()
            assert len(house._history.entries(9)) == 1

    run(main())


def test_over_the_websocket_it_is_the_same(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            socket = await house.sign_in()
            _, over_http, _ = await house.http("POST", PLAN, data=NEW, headers=YAML)
            plan = await socket.ask("config.plan", raw=NEW, baseHash=house.hash)
            assert plan == over_http
            assert plan["changes"] == [{"path": TOKEN_PATH, "class": "channel", "old": MARK, "new": MARK}]
            assert [f["machine"] for f in plan["triggers"]] == ["gateway", "telegram/main"]
            kept = await socket.ask("config.plan", raw=NEW.replace(NEW_SECRET, MARK))
            assert kept["needs"] == "nothing"
            fewer: dict[str, Any] = {"raw": json.dumps({"routes": []}), "patch": True}
            refused = await socket.request("config.plan", fewer)
            assert refused["error"]["details"]["issues"][0]["path"] == "routes"
            named = await socket.ask("config.plan", **fewer, replacePaths=["routes"])
            assert [warning["code"] for warning in named["warnings"]] == ["routes_emptied"]
            assert NEW_SECRET not in "".join(house.frames)

    run(main())


def test_a_rollback_has_a_plan_too(tmp_path: Path) -> None:
    """With the secrets of then: those that are marked in what is shown of it."""

    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            await three(house)
            socket = await house.sign_in()
            before = house.path.read_bytes()
            plan = await socket.ask("config.plan", revision="1")
            assert (plan["changed_paths"], plan["revision"]) == ([TOKEN_PATH], revision_of(TEXT.encode()))
            assert plan["accounts"] == {"telegram/main": "restart"}
            assert house.path.read_bytes() == before
            for wrong, said in (({"revision": "99"}, "no entry"), ({}, "`raw`")):
                answer = await socket.request("config.plan", wrong)
                assert said in answer["error"]["message"]

    run(main())


def test_a_base_that_is_given_must_be_the_current_one(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            status, _, _ = await house.http("POST", PLAN, data=NEW, headers=YAML | {"If-Match": f'"{house.hash}"'})
            assert status == 200
            status, body, headers = await house.http("POST", PLAN, data=NEW, headers=YAML | {"If-Match": "stale"})
            assert (status, body["error"]["code"], headers["ETag"]) == (412, "stale_hash", f'"{house.hash}"')
            socket = await house.sign_in()
            answer = await socket.request("config.plan", {"raw": NEW, "baseHash": "stale"})
            assert answer["error"]["details"] == {"currentHash": house.hash, "changedPaths": None}

    run(main())


@pytest.mark.parametrize(
    ("query", "kind", "body", "status"),
    [
        ("?patch=perhaps", "application/json", "{}", 400),
        ("?patsch=true", "application/json", "{}", 400),
        ("", "text/plain", "{}", 400),
        ("", "application/yaml", b"\xff", 400),
        ("", "application/yaml", "gateway: {nme: x}", 422),
        ("", "application/yaml", "", 422),
        ("?patch=true", "application/json", "[]", 422),
        ("?patch=true", "application/json", "{", 422),
    ],
)
def test_what_is_wrong_has_no_plan(tmp_path: Path, query: str, kind: str, body: Any, status: int) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            answer, found, _ = await house.http("POST", PLAN + query, data=body, headers={"Content-Type": kind})
            assert answer == status, found

    run(main())


def test_who_may_only_read_may_not_try_secrets(tmp_path: Path) -> None:
    """A plan says whether a guess is the token, and whether a file can be read."""

    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            socket = await house.sign_in(scopes=["operator.read"])
            answer = await socket.request("config.plan", {"raw": NEW})
            assert answer["error"]["details"]["missingScope"] == "operator.admin"
            assert (await socket.ask("config.history"))["entries"]

    assert METHODS["config.plan"].scope == METHODS["config.patch"].scope
    run(main())


# The history


async def three(house: AdminHouse) -> None:
    """After the boot: a write by HTTP, one over the WebSocket, an edit."""
    headers = {"If-Match": house.hash or ""}
    status, _, _ = await house.http("PATCH", f"{CONFIG}?note=a+new+name", json=NAME, headers=headers)
    assert status == 200
    socket = await house.sign_in()
    await socket.ask("config.apply", raw=NEW, baseHash=house.hash, note=f"instead of {SECRET}")
    await house.edit(NEW + "# by hand\n")
    await asyncio.sleep(1)


def test_the_history_says_who_when_why_and_by_which_road(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            await three(house)
            status, body, _ = await house.http("GET", HISTORY)
            assert status == 200
            assert [
                (e["number"], e["requester"].split(" ")[0], e["road"], e["note"], e["changed_paths"], e["outcome"])
                for e in body["entries"]
            ] == [
                (4, "watcher", "file", "", [], "noop"),
                (3, "ws", "ws", f"instead of {MARK}", ["gateway.name", TOKEN_PATH], "committed"),
                (2, "http", "http", "a new name", ["gateway.name"], "committed"),
                (1, "boot", "boot", "", [], "committed"),
            ]
            assert all(entry["ended_at"] >= entry["at"] for entry in body["entries"])
            socket = await house.sign_in()
            assert await socket.ask("config.history") == body
            _, page, _ = await house.http("GET", f"{HISTORY}?limit=2&before=4")
            assert [entry["number"] for entry in page["entries"]] == [3, 2]
            assert await socket.ask("config.history", limit=2, before=4) == page

    run(main())


def test_a_revision_has_its_text_and_what_it_changed(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            await three(house)
            status, one, _ = await house.http("GET", f"{HISTORY}/3")
            assert (status, one["number"], one["issues"]) == (200, 3, [])
            assert one["raw"] == TEXT.replace(SECRET, f'"{MARK}"').replace("the-admin-token", f'"{MARK}"')
            assert one["against"] == one["base"]
            assert one["against_raw"] == (await house.http("GET", f"{HISTORY}/2"))[1]["raw"]
            assert one["changes"] == [
                {"path": "gateway.name", "class": "live", "old": "office", "new": "gateway"},
                {"path": TOKEN_PATH, "class": "channel", "old": MARK, "new": MARK},
            ]
            for ref in (one["revision"], one["revision"][:6]):
                assert (await house.http("GET", f"{HISTORY}/{ref}"))[1] == one
            first = (await house.http("GET", f"{HISTORY}/1"))[1]
            assert (first["against"], first["changes"], first["issues"]) == (None, None, [])
            assert (await house.http("GET", f"{HISTORY}/4"))[1]["changes"] == [], "a comment changes nothing"

    run(main())


def test_any_two_are_compared_either_way(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            await three(house)
            socket = await house.sign_in()
            _, forth, _ = await house.http("GET", f"{HISTORY}/4?against=1")
            assert [change["path"] for change in forth["changes"]] == [TOKEN_PATH]
            assert forth["against"] == revision_of(TEXT.encode())
            assert await socket.ask("config.history", revision=4, against=forth["against"][:8]) == forth
            back = await socket.ask("config.history", revision="1", against=2)
            assert [(c["path"], c["old"], c["new"]) for c in back["changes"]] == [("gateway.name", "office", "gateway")]
            same = await socket.ask("config.history", revision=1, against=1)
            assert same["changes"] == []

    run(main())


def test_what_is_not_kept_is_answered_with_what_is(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            for path in ("/99", "/deadbeef", "/..", "/%2e%2e%2flog", "/1?against=99", "/1?against=" + "0" * 64):
                status, body, _ = await house.http("GET", HISTORY + path)
                assert (status, body["error"]["code"]) == (404, "not_found"), path
            _, body, _ = await house.http("GET", f"{HISTORY}/99")
            assert body["error"]["message"] == (
                "the history has no entry '99'; it keeps 1 of at most 200, the oldest is number 1"
            )
            socket = await house.sign_in()
            answer = await socket.request("config.history", {"revision": 99})
            assert answer["error"]["code"] == "INVALID_REQUEST"
            assert "the oldest is number 1" in answer["error"]["message"]

    run(main())


def test_what_is_not_valid_any_more_is_not_shown_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOT", "9:from-the-environment")
    text = TEXT.replace(SECRET, '"${BOT}"')

    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            await house.write(text)
            await house.write(NEW)
            assert '"${BOT}"' in (await house.http("GET", f"{HISTORY}/2"))[1]["raw"], "a source form is no secret"
            monkeypatch.delenv("BOT")
            for number in (2, 3):
                status, one, _ = await house.http("GET", f"{HISTORY}/{number}")
                assert (status, one["changes"]) == (200, None)
                assert (one["raw"] is None) == (number == 2)
                [issue] = one["issues"]
                assert issue["path"] == TOKEN_PATH
                assert issue["message"].startswith(
                    f"revision {revision_of(text.encode())[:12]}: the environment has no BOT"
                )
            _, other, _ = await house.http("GET", f"{HISTORY}/3?against=1")
            assert [change["path"] for change in other["changes"]] == [TOKEN_PATH]
            frames = "".join(house.frames)
            assert "from-the-environment" not in frames
            assert NEW_SECRET not in frames

    run(main())


def test_damaged_and_lost_texts_are_named(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            await house.write(NEW)
            folder = tmp_path / "state" / "config-history"
            (folder / f"{revision_of(TEXT.encode())}.yaml").write_bytes(b"{}")
            (folder / f"{revision_of(NEW.encode())}.yaml").unlink()
            _, one, _ = await house.http("GET", f"{HISTORY}/2")
            assert (one["raw"], one["changes"]) == (None, None)
            lost, damaged = (issue["message"] for issue in one["issues"])
            assert lost.endswith("are not kept")
            assert "config-history" in damaged
            assert damaged.endswith("is damaged: it is not what its name says")

    run(main())
