"""What a plan shows before anything is written, and that showing it leaves nothing behind."""

from __future__ import annotations

import json
from itertools import product
from typing import Any

import pytest

from gateway.config.file import revision_of
from gateway.config.ledger import Ledger
from gateway.config.plan import make_plan, plan_id
from gateway.config.preview import preview
from gateway.redact import MARK
from tests.gateway.configs import HEAD, config, revision, telegram

ONE, TWO = "token: '1:one-token'", "token: '2:two-token'"
FIRST = telegram(main=ONE)
OFF = FIRST.replace("gateway:\n", "gateway:\n  reload: {mode: 'off'}\n")
PORT = FIRST.replace("port: 0", "port: 1")


def shown(new: str, old: str = FIRST, *, waiting: str = "", current: bytes | None = b"") -> dict[str, Any]:
    ledger = Ledger(revision(old))
    if waiting:
        ledger.note(ledger.propose(revision(waiting)).revision.id, "restart_pending")
    before = vars(ledger) | {"_proposals": dict(ledger._proposals)}
    found = preview(ledger.plan(revision(new)), ledger.applied, old.encode() if current == b"" else current, "gateway")
    assert vars(ledger) == before, "to look changes nothing"
    as_sent: dict[str, Any] = json.loads(json.dumps(found))
    return as_sent


def fired(found: dict[str, Any]) -> list[str]:
    return [f"{firing['machine']} {firing['trigger']}: {firing['why']}" for firing in found["triggers"]]


# Values


def test_case_60_what_differs_is_shown_with_both_values_and_secrets_only_as_changed() -> None:
    found = shown(telegram(main=f"{TWO}, poll_timeout_s: 7, allow_from: [1, '@me']"))
    place = "channels.telegram.accounts.main"
    assert found["changes"] == [
        {"path": f"{place}.allow_from", "class": "live", "old": ["*"], "new": [1, "@me"]},
        {"path": f"{place}.token", "class": "channel", "old": MARK, "new": MARK},
        {"path": f"{place}.poll_timeout_s", "class": "channel", "old": 30, "new": 7},
    ]
    assert found["changed_paths"] == [change["path"] for change in found["changes"]]
    assert (found["class"], found["accounts"], found["needs"]) == ("channel", {"telegram/main": "restart"}, "reload")


def test_what_comes_and_goes_is_shown_whole_and_null_where_it_is_not() -> None:
    found = shown(telegram(main=ONE, new=TWO).replace("{port: 0, token: the-admin-token}", "{port: 0}"))
    token, new = found["changes"]
    assert (token["old"], token["new"]) == (MARK, None)
    assert (new["old"], new["new"]["token"], new["new"]["poll_timeout_s"]) == (None, MARK, 30)
    gone = shown(HEAD)["changes"]
    assert [(change["path"], change["new"]) for change in gone] == [("channels.telegram.accounts.main", None)]
    assert "one-token" not in json.dumps([found, gone])


def test_a_whole_list_is_one_change() -> None:
    [change] = shown(FIRST.replace('channel: "*"', "channel: telegram"))["changes"]
    assert (change["path"], change["class"]) == ("routes", "live")
    assert [route["channel"] for route in (*change["old"], *change["new"])] == ["*", "telegram"]


def test_every_kind_of_value_can_be_shown() -> None:
    other = telegram(other=TWO).replace("echo: {type: echo}", "b: {type: echo}").replace("handler: echo", "handler: b")
    for old, new in product((FIRST, other, PORT, HEAD), repeat=2):
        described = [change.describe() for change in make_plan(config(old), config(new)).changes]
        assert json.dumps(described).count("-token") == 0


# Its identity


def test_a_plan_is_of_one_moment() -> None:
    """Another file, another config that runs, or another text: another plan."""
    names = [plan_id(*three) for three in product(("a", "b"), ("c", "missing"), ("e", "f"))]
    assert len(set(names)) == len(names)
    assert names[0] == plan_id("a", "c", "e")
    assert plan_id("a", "bc", "d") != plan_id("ab", "c", "d")
    assert {len(name) for name in names} == {16}


def test_the_preview_is_named_by_what_it_was_made_of() -> None:
    found = shown(telegram(main=TWO), current=PORT.encode())
    applied, disk, new = (revision_of(text.encode()) for text in (FIRST, PORT, telegram(main=TWO)))
    assert (found["applied"], found["base"], found["revision"]) == (applied, disk, new)
    assert found["plan_id"] == plan_id(applied, disk, new)
    without = shown(telegram(main=TWO), current=None)
    assert (without["base"], without["plan_id"]) == (None, plan_id(applied, "missing", new))


# Triggers


def test_nothing_but_the_event_itself_for_a_comment() -> None:
    found = shown(FIRST + "# more\n")
    assert fired(found) == ["gateway config_changed: the file is written"]
    assert (found["class"], found["needs"], found["accounts"], found["changes"]) == ("none", "nothing", {}, [])


def test_a_trigger_for_each_account_that_something_happens_to_and_why() -> None:
    old = telegram(a=ONE, b=TWO, c="token: '3:c', enabled: false", d="token: '4:d'", e="token: '5:e'", f="token: '6:f'")
    new = telegram(
        a=f"{ONE}, stop_timeout_ms: 70", b=f"{TWO}, poll_timeout_s: 7, api_base: 'http://x'", c="token: '3:c'",
        d="token: '4:d', enabled: false", f="token: '6:f'", g="token: '7:g'",
    )  # fmt: skip
    assert fired(shown(new, old)) == [
        "gateway config_changed: the file is written",
        "telegram/a adjust: its stop_timeout_ms changed",
        "telegram/b restart: its api_base, poll_timeout_s changed",
        "telegram/c restart: it is enabled",
        "telegram/d stop: it is disabled",
        "telegram/e stop: it is removed",
        "telegram/g restart: it is new",
    ]


def test_a_bot_that_moves_is_let_go_first() -> None:
    found = shown(telegram(other=ONE))
    assert fired(found)[1:] == [
        "telegram/main stop: its bot is telegram/other's from then on",
        "telegram/main stop: it is removed",
        "telegram/other restart: it is new",
    ]


def test_a_restart_is_named_with_what_asks_for_it_and_touches_every_account() -> None:
    found = shown(
        telegram(main=ONE, off=f"{TWO}, enabled: false").replace("port: 0", "port: 1"), telegram(main=ONE, old=TWO)
    )
    assert (found["class"], found["needs"]) == ("gateway", "restart")
    assert fired(found) == [
        "gateway config_changed: the file is written",
        "gateway restart_due: gateway.admin.port: a change of it needs a restart, 2 s from then",
        "telegram/main restart: the gateway restarts",
        "telegram/off stop: the gateway restarts",
        "telegram/old stop: it is removed",
    ]


def test_in_reload_mode_off_whatever_changes_needs_a_restart() -> None:
    found = shown(OFF.replace("one-token", "new-token"), OFF)
    assert (found["class"], found["needs"]) == ("channel", "restart")
    assert fired(found)[1:] == [
        "gateway restart_due: gateway.reload.mode is off: it runs after a restart, 2 s from then",
        "telegram/main restart: the gateway restarts",
    ]
    assert shown(OFF + "# more\n", OFF)["needs"] == "nothing"


def test_beside_what_waits_for_a_restart_the_rest_is_reloaded() -> None:
    found = shown(PORT.replace("one-token", "new-token"), waiting=PORT)
    assert found["needs"] == "restart"
    assert [firing.split(":")[0] for firing in fired(found)] == [
        "gateway config_changed",
        "telegram/main restart",
        "gateway restart_due",
        "telegram/main restart",
    ]


# Warnings


def warned(new: str, old: str = FIRST) -> list[tuple[str, str]]:
    return [(warning["code"], warning["path"]) for warning in shown(new, old)["warnings"]]


def allowing(allowed: str) -> str:
    return telegram(main=f"{ONE}, allow_from: {allowed}")


PLACE = "channels.telegram.accounts.main"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (FIRST, FIRST, []),
        (FIRST, telegram(main=TWO, new=ONE), []),
        (telegram(main=ONE, old=TWO), FIRST, [("account_removed", "channels.telegram.accounts.old")]),
        (FIRST, telegram(main=f"{ONE}, enabled: false"), [("account_disabled", f"{PLACE}.enabled")]),
        (telegram(main=f"{ONE}, enabled: false"), FIRST, []),
        (allowing("[1]"), allowing("[]"), [("allow_list_emptied", f"{PLACE}.allow_from")]),
        (allowing("['*']"), allowing("[]"), [("allow_list_emptied", f"{PLACE}.allow_from")]),
        (allowing("[]"), allowing("[1]"), []),
        (allowing("[1]"), allowing("[2]"), []),
        (allowing("['*']"), allowing("[1]"), []),
        (allowing("[1]"), allowing("[1, '*']"), [("allow_list_opened", f"{PLACE}.allow_from")]),
        (allowing("[]"), FIRST, [("allow_list_opened", f"{PLACE}.allow_from")]),
        (FIRST, FIRST.replace('routes:\n  - {channel: "*", handler: echo}', "routes: []"), [("routes_emptied", "routes")]),
        (FIRST + "#" * 2 * len(FIRST), FIRST, [("file_shrunk", "")]),
        (FIRST + "#" * len(FIRST), FIRST, []),
        (FIRST, "{}", [("file_shrunk", ""), ("routes_emptied", "routes"), ("account_removed", PLACE)]),
    ],
)  # fmt: skip
def test_case_55_what_may_not_be_meant_is_warned_about(old: str, new: str, expected: list[tuple[str, str]]) -> None:
    """What drops most of a file, or an entry of it, is not done unseen."""
    assert warned(new, old) == expected


def test_a_warning_is_a_sentence() -> None:
    [warning] = shown(FIRST, FIRST + "#" * 5_000)["warnings"]
    assert (
        warning["message"]
        == f"the file shrinks from {len(FIRST) + 5000:,} bytes to {len(FIRST)}: less than half is left"
    )
    assert shown(FIRST, current=None)["warnings"] == []
