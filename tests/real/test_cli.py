"""The command line from outside: init, check, help and wrong usage; the starter config works as it is written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.telegram import FakeTelegram
from tests.real.process import ROOT, Gateway

TOKEN = "1001:a-token-of-the-environment"


def gateway(*arguments: str, folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gateway", *arguments]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("TELEGRAM_", "GATEWAY_"))}
    return subprocess.run(
        command, cwd=folder, env={**clean, "PYTHONPATH": str(ROOT), **environ},
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip


def test_init_writes_a_valid_starter_and_never_over_a_file(tmp_path: Path) -> None:
    assert gateway("init", folder=tmp_path).returncode == 0
    config = tmp_path / "gateway.yaml"
    assert config.stat().st_mode & 0o777 == 0o600
    assert "webchat" in config.read_text()
    assert "telegram" not in config.read_text()
    assert "is valid" in gateway("check", folder=tmp_path).stdout
    config.write_text("mine: 1\n")
    again = gateway("init", folder=tmp_path)
    assert again.returncode == 1
    assert "nothing was written" in again.stderr
    assert config.read_text() == "mine: 1\n"


def test_check_names_the_line_and_the_nearest_key(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("gateway:\n  nmae: x\n")
    done = gateway("check", "--config", "other.yaml", folder=tmp_path)
    assert done.returncode == 78
    assert "gateway.nmae (line 2, column 3): unknown key 'nmae'; did you mean 'name'?" in done.stderr


@pytest.mark.parametrize("arguments", [["nonsense"], ["run", "--nonsense"], ["check", "--config"]])
def test_wrong_usage_is_2(tmp_path: Path, arguments: list[str]) -> None:
    assert gateway(*arguments, folder=tmp_path).returncode == 2


def test_a_state_folder_that_cannot_be_is_told_of(tmp_path: Path) -> None:
    assert gateway("init", folder=tmp_path).returncode == 0
    (tmp_path / "a-file").write_text("in the way")
    done = gateway("run", "--state-dir", "a-file", folder=tmp_path)
    assert done.returncode == 1
    assert "a-file cannot be used: File exists; mend that, or use another --state-dir" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_names_the_commands_the_exit_codes_and_the_signals(tmp_path: Path) -> None:
    text = gateway("--help", folder=tmp_path).stdout
    for word in ("run", "init", "check", "schema", "replay", "76", "78", "SIGUSR1", "--config", "--state-dir"):
        assert word in text


def test_replay_says_where_a_journal_leads(tmp_path: Path) -> None:
    """One of a real process leads where it led; one that was tampered with elsewhere; one that is cut off nowhere."""
    text = (ROOT / "tests" / "replay" / "journals" / "founding_case.jsonl").read_text()
    for name, content, code, said in (
        ("journal.jsonl", text, 0, "the tables lead to the same states"),
        ("tampered.jsonl", text.replace('"after": "hot_reloading"', '"after": "running"', 1), 1, "the tables lead elsewhere: entry"),
        ("cut.jsonl", text[: len(text) // 2], 2, "gateway: cut.jsonl: line "),
    ):  # fmt: skip
        (tmp_path / name).write_text(content)
        done = gateway("replay", name, folder=tmp_path)
        assert done.returncode == code, name
        assert said in done.stdout + done.stderr, name


async def test_the_starter_config_polls_with_the_token_of_the_environment(tmp_path: Path) -> None:
    """TELEGRAM_TOKEN and TELEGRAM_API_BASE set: `init`, `run`, and a message is answered. The token is not in the file."""
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(TOKEN, username="starter_bot")
        environ: Any = {"TELEGRAM_TOKEN": TOKEN, "TELEGRAM_API_BASE": telegram.url}
        assert gateway("init", folder=tmp_path, **environ).returncode == 0
        config = tmp_path / "gateway.yaml"
        config.write_text(config.read_text().replace("port: 18790", "port: 0"))
        assert TOKEN not in config.read_text()
        async with Gateway(tmp_path, None, **environ):
            await bot.wait_polling()
            bot.push("hello", chat_id=7)
            await bot.wait_sent(1)
        assert [sent["text"] for sent in bot.sent] == ["hello"]
        assert TOKEN not in (tmp_path / "log").read_text()


async def test_the_environment_names_config_and_state_folder(tmp_path: Path) -> None:
    """GATEWAY_CONFIG and GATEWAY_STATE_DIR serve where the flags are absent."""
    (tmp_path / "elsewhere.yaml").write_text("gateway: {admin: {port: 0}}\n")
    environ: Any = {"GATEWAY_CONFIG": "elsewhere.yaml", "GATEWAY_STATE_DIR": "state"}
    async with Gateway(tmp_path, None, **environ) as running:
        assert running.url
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "state" / "admin-token").stat().st_mode & 0o777 == 0o600
