"""What becomes of text on its way out, and what a watched status says has changed."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.plain import clean, say_json
from gateway.cli.status_text import UNDER_WAY, holds_up, moved, unsettled
from gateway.cli.terminal import COLOURS, MARKS, TONES
from statemachine.channel import SETTLED, ChannelState

ROOT = Path(__file__).resolve().parents[3]
ACCOUNT = {
    "channel": "telegram", "account": "main", "state": "running", "generation": 1, "held": False, "error": None,
    "last_receive_ms": 1, "webhook": None,
}  # fmt: skip
STATUS: dict[str, Any] = {
    "name": "home", "state": "running", "since": 1, "now": 2, "boot": "b1", "waiting": "nothing", "process": {"pid": 7},
    "config": {"path": "g.yaml", "applied": "a" * 64, "on_disk": "a" * 64, "drift": False, "window": None},
    "tickets": [], "degraded": [], "accounts": [ACCOUNT], "pending": {"messages": 3, "outbox": 0},
}  # fmt: skip
TICKET = {"id": "restart-1", "requester": "http", "reason": "a new version", "revision": None, "due_in_ms": 2000}
REASON = {"reason": "store_stalled", "detail": "the disk is full", "remedy": "make room"}


def test_what_would_steer_a_terminal_is_shown_by_its_number() -> None:
    assert (
        clean("\x1b[2J \x07 \r \x7f \x9b1m \u2028 \u202e \udc80")
        == r"\x1b[2J \x07 \x0d \x7f \x9b1m \x2028 \x202e \xdc80"
    )
    untouched = "ä 漢字 👩‍👩‍👧 [red]x[/red]\n\tnext line"
    assert clean(untouched) == untouched


def test_json_says_the_same_with_and_without_its_letters(capsys: pytest.CaptureFixture[str]) -> None:
    answer = {"text": "ä \x1b \x9b \u202e \udc80 \n"}
    say_json(answer, ascii_only=False)
    shown = capsys.readouterr().out
    assert json.loads(shown) == answer
    assert "ä" in shown
    assert "\\u009b \\u202e \\udc80" in shown


def changed(**parts: Any) -> list[str]:
    return list(moved(STATUS, {**copy.deepcopy(STATUS), **parts}))


def test_of_a_watched_status_each_difference_is_a_line_and_time_is_none() -> None:
    assert changed(now=9_000, since=5) == []
    assert changed(boot="b2", process={"pid": 8}) == ["home has restarted, with pid 8"]
    assert changed(state="restart_pending", tickets=[TICKET]) == [
        "home is restart_pending", "a restart is due in 2.0 s: restart-1 (http, a new version)",
    ]  # fmt: skip
    assert changed(degraded=[REASON]) == ["degraded: store_stalled: the disk is full", "  -> make room"]
    assert changed(accounts=[ACCOUNT | {"state": "stopped", "held": True}]) == [
        "telegram/main is stopped, generation 1  stopped by a person"
    ]
    assert changed(accounts=[ACCOUNT | {"last_receive_ms": 7}]) == []
    assert changed(accounts=[]) == ["telegram/main is gone"]
    assert changed(config=STATUS["config"] | {"drift": True, "on_disk": "b" * 64}) == [
        "config g.yaml, revision aaaaaaaaaaaa", "the file is another one: bbbbbbbbbbbb is not what runs",
    ]  # fmt: skip
    window = {"revision": "c" * 64, "base": "a" * 64, "confirm_by": None}
    assert changed(config=STATUS["config"] | {"window": window})[1:] == [
        "revision cccccccccccc waits to be confirmed: gateway confirm"
    ]
    before = {**STATUS, "tickets": [TICKET], "degraded": [REASON]}
    assert list(moved(before, STATUS)) == [
        "restart-1 is pending no more", "degraded no more: store_stalled: the disk is full",
    ]  # fmt: skip


def test_what_a_restart_waits_for_is_said() -> None:
    assert holds_up({**STATUS, "tickets": [TICKET], "waiting": "delay"}) == "due in 2 s"
    assert holds_up({**STATUS, "tickets": [TICKET], "waiting": "cooldown"}) == "due in 2 s, for it has restarted lately"
    assert holds_up({**STATUS, "tickets": [TICKET], "waiting": "idle"}) == "3 messages are in work"
    assert holds_up({**STATUS, "state": "restarting"}) == "restarting"


def test_what_a_change_waits_for_is_said() -> None:
    assert {state.value for state in ChannelState} - {state.value for state in SETTLED} == UNDER_WAY
    starting = ACCOUNT | {"state": "starting"}
    assert unsettled({**STATUS, "accounts": [ACCOUNT, starting]}) == "telegram/main is starting"
    assert unsettled({**STATUS, "state": "hot_reloading"}) == "the gateway is hot_reloading"


def test_the_tones_are_those_of_the_page() -> None:
    page = (ROOT / "gateway" / "admin" / "page" / "dom.js").read_text()
    (table,) = re.findall(r"const TONES = \{(.*?)\}", page, re.DOTALL)
    there = dict(re.findall(r'(\w+): "(\w+)"', table))
    assert there
    assert {state: TONES.get(state) for state in there} == there
    assert {*TONES.values(), "calm"} == {*COLOURS} == {*MARKS}
    assert len({*MARKS.values()}) == len(MARKS), "a tone is never said by its colour alone"
