"""An exported journal leads where it led, and one that was tampered with is caught."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway import journal as journal_module
from gateway.cli.main import main
from gateway.cli.replay import run
from gateway.clock import Clock
from gateway.errors import ConflictError
from gateway.export import exported, header
from gateway.journal import Journal
from gateway.messages.model import Outgoing
from statemachine import MACHINES
from statemachine.channel_events import By, Start, Stop
from statemachine.incoming import HandlerAnswered
from statemachine.record import plain, restored
from statemachine.replay import KINDS, KNOWS
from tests.gateway.configs import telegram
from tests.gateway.fakes import NEVER, Script
from tests.gateway.process.house import House
from tests.virtual import run_virtual

MAIN, OTHER = "telegram/main", "telegram/other"
TOKEN = "a-token-that-nobody-may-see"
BOTH = telegram(main=f"token: {TOKEN}", other="token: other-token")
ALONE = telegram(main=f"token: {TOKEN}")
OFF = telegram(main="token: a-new-token", other="token: other-token, enabled: false")


def export(journal: Journal, **chosen: Any) -> str:
    """What GET /api/v1/journal?format=jsonl answers."""
    entries = journal.page(chosen.get("after", 0), 10_000, chosen.get("machine"))
    lines = [header(journal, entries, "a boot", **chosen), *exported(journal, entries)]
    return "".join(json.dumps(line) + "\n" for line in lines)


async def live_a_little(folder: Path, text: str = BOTH) -> House:
    """Patches, a conflict, a receiver that is cut off, refusals, a restart, and an account that leaves and comes back."""
    async with House(folder, text) as house:
        for name in (MAIN, OTHER):
            await house.until_account(name, "running")
        run_of = house._accounts.run_of(MAIN, house._ledger.applied.accounts()[MAIN], house._ledger.applied_id)
        await house.post(Start(run_of, By.PERSON), MAIN)
        await house.write(ALONE)
        await house.post(Stop(By.PERSON), OTHER)
        house.network.script(OTHER, Script(error=ConflictError("somebody else receives"), fails_after=0.5))
        await house.write(BOTH)
        await house.until_account(OTHER, "conflict")
        house.network.live(MAIN)[0].script.lingers = NEVER
        await house.write(OFF)
        await house.ticket("one", 1)
        await house.cancel("one")
        await house.cancel("one")
        await house.ticket("two", 0)
        await asyncio.sleep(60)
    return house


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> House:
    with capture_logs():
        return run_virtual(live_a_little(tmp_path_factory.mktemp("lived")))


@pytest.fixture
def journal(lived: House, tmp_path: Path) -> Path:
    path = tmp_path / "journal.jsonl"
    path.write_text(export(lived._journal))
    return path


def tamper(path: Path, change: Callable[[list[dict[str, Any]]], None]) -> None:
    """Change the entries of a file, the header with them (it is the first)."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    change(lines)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def find(lines: list[dict[str, Any]], machine: str, trigger: str) -> dict[str, Any]:
    return next(line for line in lines[1:] if (line["machine"], line["trigger"]) == (machine, trigger))


def test_it_leads_to_the_same_states(lived: House, journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(journal)]) == 0
    said = capsys.readouterr().out
    steps = [entry for entry in lived._journal.page(0, 10_000) if entry.kind == "step"]
    refusals = [entry for entry in lived._journal.page(0, 10_000) if entry.kind == "refusal"]
    assert len(steps) > 30
    assert len(refusals) >= 3
    assert f"7 machines, {len(steps)} steps, {len(refusals)} refusals" in said
    for line in (
        "  gateway: stopped",
        f"  {MAIN}: stopped",
        f"  {OTHER}: stopped",
        *(f"  change/{number}: committed" for number in (1, 2, 3, 4)),
        "the tables lead to the same states",
    ):
        assert line in said.splitlines()


def test_as_json(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(journal), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    changes = {f"change/{number}": "committed" for number in (1, 2, 3, 4)}
    assert report["states"] == {"gateway": "stopped", MAIN: "stopped", OTHER: "stopped"} | changes
    assert (report["difference"], report["cut"], report["other_tables"]) == (None, False, [])


def test_the_account_that_came_back_went_on_from_its_generation(journal: Path) -> None:
    lines = [json.loads(line) for line in journal.read_text().splitlines()[1:]]
    starts = [line["start"] for line in lines if line["machine"] == OTHER and "start" in line]
    assert [start["data"]["generation"] for start in starts] == [0, 1]
    assert [line["before"] for line in lines if line["machine"] == OTHER].count("absent") == 1


def test_no_secret_is_in_it_and_equal_settings_have_equal_seals(lived: House, journal: Path) -> None:
    text = journal.read_text()
    assert TOKEN not in text
    assert "other-token" not in text
    accounts = lived._reader().load(BOTH.encode()).config.accounts()
    again = lived._reader().load(BOTH.encode()).config.accounts()
    changed = lived._reader().load(OFF.encode()).config.accounts()
    seal = lived._journal.seal
    assert seal(accounts[MAIN]) == seal(again[MAIN])
    assert seal(accounts[MAIN]) in text
    assert len({seal(account) for account in (*accounts.values(), *changed.values())}) == 4
    # Of another run nobody can tell whether the token is the same.
    assert Journal(lived._clock).seal(accounts[MAIN]) != seal(accounts[MAIN])


def test_what_people_say_to_each_other_is_not_in_it() -> None:
    reply = Outgoing(1, "a key", "telegram", "main", "7", "a word in confidence", 0, 10)
    journal = Journal(Clock())
    told = plain(HandlerAnswered(1, (reply,)), journal.seal)
    assert told == {"attempt": 1, "replies": (journal.seal(reply),)}
    assert restored(HandlerAnswered, told).replies == (journal.seal(reply),)


@pytest.mark.parametrize(
    ("machine", "trigger", "changes", "words"),
    [
        (MAIN, "receiver_ready", {"after": "failed"}, "recorded: starting to failed, done, by row 3; replayed: starting to running"),
        (MAIN, "receiver_ready", {"before": "backoff"}, "recorded: backoff to running"),
        (MAIN, "receiver_ready", {"row": 4}, "by row 4; replayed: starting to running, done, by row 3"),
        (MAIN, "receiver_ready", {"outcome": "deferred"}, "running, deferred, by row 3; replayed:"),
        (MAIN, "receiver_ready", {"event": {"generation": 7}}, "replayed: refused in starting by generation_is_current"),
        (MAIN, "start", {"trigger": "nonsense"}, "replayed: refused in stopped"),
        (MAIN, "receiver_fenced", {"row": None, "after": "stop_overdue", "outcome": "refused"}, "recorded: refused in"),
        ("gateway", "restart_cancelled", {"event": {"ticket_id": "other"}}, "replayed: refused in restart_pending by ticket"),
        ("gateway", "config_changed", {"guards": ["is_drift"]}, "replayed:"),
    ],
)  # fmt: skip
def test_a_line_that_was_tampered_with_is_caught(
    journal: Path, capsys: pytest.CaptureFixture[str], machine: str, trigger: str, changes: dict[str, Any], words: str
) -> None:
    seqs: list[int] = []

    def change(lines: list[dict[str, Any]]) -> None:
        entry = find(lines, machine, trigger)
        entry.update(changes)
        seqs.append(entry["seq"])

    tamper(journal, change)
    (seq,) = seqs
    assert main(["replay", str(journal)]) == 1
    said = capsys.readouterr().out
    assert f"the tables lead elsewhere: entry {seq}, {machine} {changes.get('trigger', trigger)}: recorded:" in said
    assert words in said
    assert main(["replay", str(journal), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["difference"]["seq"] == seq


def _back_too_early(lines: list[dict[str, Any]]) -> None:
    find(lines, MAIN, "receiver_ready")["start"] = find(lines, MAIN, "start")["start"]


def _with_an_old_generation(lines: list[dict[str, Any]]) -> None:
    starts = [line["start"] for line in lines[1:] if line["machine"] == OTHER and "start" in line]
    starts[1]["data"]["generation"] = 0


def _running_at_first(lines: list[dict[str, Any]]) -> None:
    find(lines, MAIN, "start")["start"]["state"] = "running"


def _gone_while_running(lines: list[dict[str, Any]]) -> None:
    find(lines, MAIN, "receiver_ready").update(before="absent", after="absent")


def _refused_by_another_than_absence(lines: list[dict[str, Any]]) -> None:
    next(line for line in lines[1:] if line["before"] == "absent").update(guards=["is_enabled"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_back_too_early, "it is starting, and does not begin anew from there"),
        (_with_an_old_generation, "it had generation 1, and begins anew with 0"),
        (_running_at_first, "a channel begins in stopped, not in running"),
        (_gone_while_running, "it is starting, and is not removed from there"),
        (_refused_by_another_than_absence, "replayed: refused in absent by machine_exists"),
    ],
)
def test_a_machine_begins_and_goes_as_it_may(
    journal: Path, capsys: pytest.CaptureFixture[str], change: Callable[[list[dict[str, Any]]], None], words: str
) -> None:
    tamper(journal, change)
    assert main(["replay", str(journal)]) == 1
    assert words in capsys.readouterr().out


def _without_line(number: int) -> Callable[[str], str]:
    return lambda text: "".join(line for n, line in enumerate(text.splitlines(keepends=True), 1) if n != number)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda _: "", "line 1: no header of an exported journal"),
        (lambda text: text.replace('"format": 1', '"format": 2'), "line 1: format 2, and this gateway reads 1"),
        (_without_line(1), "line 1: no header of an exported journal"),
        (_without_line(2), "has no start before its first event"),
        (_without_line(9), "line 9: entry 9 follows entry 7: lines are missing or moved"),
        (lambda text: text[:-40], "no JSON, cut off perhaps"),
        (lambda text: text + "[" * 100_000, "no JSON, cut off perhaps"),
        (lambda text: text + "[]\n", "no entry of a journal: Expected object, got array"),
        (lambda text: "[" * 100_000 + text, "line 1: no header of an exported journal"),
        (lambda text: "".join(text.splitlines(keepends=True)[:-1]), "the file is cut off"),
        (lambda text: text.replace('"kind": "channel"', '"kind": "lamp"', 1), "there is no machine of kind 'lamp'"),
        (lambda text: text.replace('"generation": 0', '"generation": "x"', 1), "cannot begin: generation: Expected int"),
        (lambda text: text.replace('"by": "gateway"', '"by": "nobody"', 1), "no event start: by: Invalid enum value"),
        (lambda text: text.replace('"outcome": "done"', '"outcome": 5', 1), "line 2: no entry of a journal: outcome"),
    ],
)  # fmt: skip
def test_what_is_no_whole_journal_is_named_with_its_line(
    journal: Path, capsys: pytest.CaptureFixture[str], change: Callable[[str], str], words: str
) -> None:
    text = journal.read_text()
    changed = change(text)
    assert changed != text
    journal.write_text(changed)
    assert main(["replay", str(journal)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"gateway: {journal}: line ")
    assert words in said


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    for name in ("bytes", "nothing"):
        assert main(["replay", str(tmp_path / name)]) == 2
        assert "cannot be read" in capsys.readouterr().err


def test_a_journal_of_other_tables_is_replayed_and_that_is_said(
    journal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def older(lines: list[dict[str, Any]]) -> None:
        lines[0]["machines"]["channel"] = "0" * 64
        for line in lines[1:]:
            if line["machine"] in (MAIN, OTHER) and line["row"] is not None:
                line["row"] += 1

    tamper(journal, older)
    assert main(["replay", str(journal)]) == 0
    assert "recorded with another table of: channel" in capsys.readouterr().out
    tamper(journal, lambda lines: find(lines, MAIN, "receiver_ready").update(after="failed"))
    assert main(["replay", str(journal)]) == 1


def test_a_journal_that_has_dropped_its_beginning_is_replayed_from_where_everything_stood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(journal_module, "KEPT", 25)
    with capture_logs():
        house = run_virtual(live_a_little(tmp_path))
    path = tmp_path / "journal.jsonl"
    path.write_text(export(house._journal))
    assert main(["replay", str(path)]) == 0
    assert "its beginning is not in the file" in capsys.readouterr().out
    report = run(path)
    assert report["steps"] + report["refusals"] == 25
    assert set(report["states"].values()) <= {"stopped", "committed"}


@pytest.mark.parametrize("chosen", [{"machine": OTHER}, {"after": 30}, {"after": 20, "machine": MAIN}])
def test_a_part_of_a_journal(lived: House, tmp_path: Path, chosen: dict[str, Any]) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text(export(lived._journal, **chosen))
    report = run(path)
    assert report["difference"] is None
    assert report["cut"] is ("after" in chosen)
    assert report["steps"] > 5
    assert set(report["states"].values()) <= {"stopped", "committed"}


def test_every_machine_can_be_replayed() -> None:
    assert list(KINDS) == list(KNOWS) == [machine.kind for machine in MACHINES]
    for kind, knows in KNOWS.items():
        assert KINDS[kind]("a name", knows()).data == knows()
