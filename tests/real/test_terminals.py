"""The command line before a person: tables, colours and what moves on a terminal, and plain lines in a pipe."""

from __future__ import annotations

import re
import signal
from pathlib import Path

from tests.fakes.telegram import FakeTelegram
from tests.real.commands import command
from tests.real.process import Gateway, config_text, telegram_account
from tests.real.terminals import STEERING, Terminal, drawn
from tests.real.test_operate_commands import GOOD, running

GREEN, RED = "\x1b[32m● running", "\x1b[1;31m✖ failed"
COLOUR = re.compile(r"\x1b\[[0-9;]*(?:3|4|9|10)[0-7]m")
NASTY = "[red]loud[/red] :smile: \x1b]0;owned\x07\x1b[2J \x9b31m \u202egnp.exe"
HARMLESS = r"[red]loud[/red] :smile: \x1b]0;owned\x07\x1b[2J \x9b31m \x202egnp.exe"


async def test_the_machines_are_a_table_in_colours_and_lines_in_a_pipe(tmp_path: Path) -> None:
    async with running(tmp_path):
        seen = await drawn(tmp_path, "status")
        assert seen.code == 0
        assert GREEN in seen.raw
        assert RED in seen.raw
        lines = seen.text.splitlines()
        assert lines[0].startswith("gateway  ● running for ")
        (heading,) = [line for line in lines if line.startswith("account")]
        assert heading.split() == ["account", "state", "since", "generation", "received", "queue"]
        (main,) = [line for line in lines if line.startswith("telegram/main")]
        assert main.split()[1:3] == ["●", "running"]
        assert any(line.startswith("✖ channel_failed: telegram/bad is failed") for line in lines)
        assert any(line.startswith("  → mend the account's settings") for line in lines)
        assert max(map(len, lines)) <= 80
        grey = await drawn(tmp_path, "status", NO_COLOR="1")
        assert "✖ failed" in grey.text
        assert not COLOUR.search(grey.raw)
        dumb = await drawn(tmp_path, "status", TERM="dumb")
        assert dumb.text.startswith("gateway is running for ")
        piped = await command(tmp_path, "status")
        assert "\x1b" not in piped.out
        assert piped.out.startswith("gateway is running for ")
        as_data = await drawn(tmp_path, "channels", "--json")
        assert as_data.raw.startswith("{")
        assert "\x1b" not in as_data.raw


async def test_each_command_has_its_table(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        (tmp_path / "new.yaml").write_text(gateway.config.read_text() + "store: {keep_days: 7}\n")
        planned = await drawn(tmp_path, "plan", "new.yaml")
        assert planned.code == 2
        assert re.search(r"store\.keep_days +30 +7 +live", planned.text), planned.text
        assert (await drawn(tmp_path, "plan", "gateway.yaml")).text == "● no changes"
        applied = await drawn(tmp_path, "apply", "new.yaml", "--note", "a [bold]week[/bold]")
        assert applied.text.splitlines()[-1].startswith("● applied: revision ")
        entries = await drawn(tmp_path, "history")
        assert re.search(r"● applied +http 127", entries.text)
        assert "[bold]week[/bold]" in entries.text
        assert max(map(len, entries.text.splitlines())) <= 80
        assert "against" in (await drawn(tmp_path, "history", "2")).text
        refused = await drawn(tmp_path, "channels", "start", "telegram/main")
        assert refused.code == 1
        assert "\x1b[1;31mgateway:\x1b[0m telegram/main cannot start in state running" in refused.raw
        steps = await drawn(tmp_path, "journal", "--limit", "1", columns=160)
        assert "✖ refused in running  (telegram/main cannot start in state running)" in steps.text
        stopped = await drawn(tmp_path, "channels", "stop", "telegram/main")
        assert stopped.text.splitlines()[-1] == "○ telegram/main is stopped, generation 1  stopped by a person"
        found = await drawn(tmp_path, "doctor", "--offline")
        assert "● ok      config   gateway.yaml is valid" in found.text
        assert max(map(len, found.text.splitlines())) <= 80


async def test_what_somebody_writes_is_shown_and_obeyed_by_no_terminal(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        body = {"channel": "telegram", "account": "bad", "to": "7", "text": NASTY, "idempotency_key": "1"}
        status, answer = await gateway.http("POST", "/api/v1/send", json=body)
        assert (status, answer["state"]) == (202, "queued")
        shown = await drawn(tmp_path, "outbox", columns=200)
        assert HARMLESS in shown.text
        assert "\x1b" not in STEERING.sub("", shown.raw)
        piped = await command(tmp_path, "outbox")
        assert HARMLESS[:40] in piped.out
        assert "\x1b" not in piped.out
        as_data = await command(tmp_path, "outbox", "--json")
        assert as_data.json["deliveries"][0]["text"] == NASTY
        assert not {"\x1b", "\x9b", "\u202e"} & {*as_data.out}
        queued = await drawn(tmp_path, "status")
        (row,) = [line for line in queued.text.splitlines() if line.startswith("telegram/bad")]
        assert row.split()[-1] == "1"


async def test_the_status_is_redrawn_in_place_and_goes_on_after_the_gateway_was_away(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, config_text())
    try:
        await gateway.start()
        async with Terminal(tmp_path, "status", "--watch") as terminal:
            await terminal.shows("● running")
            await command(tmp_path, "restart", "--delay", "30")
            await terminal.shows("a restart is due in 2")
            await command(tmp_path, "channels", "stop", "webchat/default")
            await terminal.shows("stopped by a person")
            assert await gateway.stop() == 0
            await terminal.shows("cannot be reached")
            await gateway.start()
            pid = gateway.process.pid if gateway.process else 0
            await terminal.shows(f"pid {pid}")
            terminal.process.send_signal(signal.SIGINT)
            seen = await terminal.ended()
        assert seen.code == 0
        assert "\x1b[1A\x1b[2K" in seen.raw, "it is not drawn over what was there"
        assert seen.raw.endswith("\x1b[?25h") or "\x1b[?25h" in seen.raw[-40:], "the cursor is back"
    finally:
        await gateway.close()


async def test_a_restart_is_seen_through_on_a_terminal(tmp_path: Path) -> None:
    async with Gateway(tmp_path, config_text(restart="{delay_ms: 1000, cooldown_ms: 0}")) as gateway:
        seen = await drawn(tmp_path, "restart")
        assert seen.code == 0
        assert "the restart: due in " in seen.text
        assert re.search(r"● restart-\w+ is done$", seen.text)
        await gateway.ready(2)
        waited = await command(tmp_path, "restart", "--wait", "--delay", "0", "--json")
        assert (waited.code, waited.json["outcome"], waited.err) == (0, "done", "")
        await gateway.ready(3)
        async with Terminal(tmp_path, "restart", "--delay", "60") as terminal:
            await terminal.shows("the restart: due in ")
            await command(tmp_path, "restart", "--cancel")
            seen = await terminal.ended()
        assert seen.code == 1
        assert re.search(r"▲ restart-\w+ is cancelled", seen.text)
        async with Terminal(tmp_path, "restart", "--delay", "60") as terminal:
            await terminal.shows("the restart: due in ")
            terminal.process.send_signal(signal.SIGINT)
            seen = await terminal.ended()
        (ticket,) = [each["id"] for each in (await gateway.status())["tickets"]]
        assert seen.code == 0
        assert f"it is asked for all the same; `gateway restart --cancel {ticket}` calls it off" in seen.text


async def test_what_a_change_waits_for_is_said_on_a_terminal_and_is_gone_afterwards(tmp_path: Path) -> None:
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(GOOD, "main_bot")
        async with Gateway(tmp_path, config_text(telegram_account("main", GOOD, telegram.url))):
            await bot.wait_polls(1)
            bot.fail_next(method="getMe", hang=2.0)
            patch = "{channels: {telegram: {accounts: {main: {poll_timeout_s: 6}}}}}"
            async with Terminal(tmp_path, "patch", patch) as terminal:
                await terminal.shows("the change is seen through: telegram/main is starting")
                seen = await terminal.ended()
            assert (seen.code, seen.text.splitlines()[-1][:11]) == (0, "● applied: ")
            assert "\x1b[1A\x1b[2K" in seen.raw, "what was waited for is left there"


async def test_help_on_a_terminal_has_frames_and_its_examples(tmp_path: Path) -> None:
    seen = await drawn(tmp_path, "channels", "--help")
    assert seen.code == 0
    assert "╭─ Options" in seen.text
    assert "   gateway channels stop telegram/main\n" in seen.text
    assert max(map(len, seen.text.splitlines())) <= 80
