"""What the README promises, done: its commands are run as they stand there."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.real.process import READY, ROOT, Client

README = (ROOT / "README.md").read_text()
COMMANDS = [line for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]
RUN_HERE = {"make run", "cat .gateway/admin-token"}
"""Run by the test of the first run; the `make` targets below are run by whoever runs this very suite."""
DEVELOPMENT = {line for line in COMMANDS if line.startswith("make ")} - RUN_HERE
FIRST_RUN = 180.0


def test_every_command_of_the_readme_is_known_here() -> None:
    """A command that is added to the README must be added to a test."""
    tried = {
        *RUN_HERE,
        *DEVELOPMENT,
        "python -m gateway plan gateway.yaml",
        "python -m gateway patch '{gateway: {name: home}}' --confirm-within 60 --note 'as it was'",
        "python -m gateway confirm",
        "python -m gateway history",
        "python -m gateway rollback 1",
        "python -m gateway send webchat/default/main 'a word from the shell'",
        "python -m gateway outbox",
        "python -m gateway backup messages.sqlite3",
        "python -m gateway open --print",
        "python -m gateway status",
        "python -m gateway channels restart webchat/default",
        "python -m gateway journal --limit 5",
        "python -m gateway diagram webchat/default",
        "python -m gateway call health",
        "python -m gateway check",
        "python -m gateway doctor",
        "python -m gateway schema gateway.admin.port",
        "python -m gateway --help",
        "python -m gateway replay journal.jsonl",
        "python -m statemachine check",
        "python -m statemachine promela",
    }
    rest = [line for line in COMMANDS if line not in tried]
    assert [line.split()[0] for line in rest] == ["curl", "curl", "kill", "curl"]


@pytest.mark.parametrize("target", sorted(DEVELOPMENT))
def test_make_knows_the_target(target: str) -> None:
    dry = subprocess.run(
        ["make", "--dry-run", target.split()[1]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert dry.returncode == 0, dry.stderr


def test_the_files_that_the_readme_names_exist() -> None:
    for path in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / path).exists(), path


@pytest.mark.timeout(400)
async def test_from_a_clone_to_an_answered_message(tmp_path: Path) -> None:
    """`make run` in a copy of the checkout, then every command of the section on changing the config."""
    checkout = tmp_path / "checkout"
    _copy_checkout(checkout)
    _use_free_port(checkout)
    environ = {
        name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "TELEGRAM_TOKEN", "MAKEFLAGS"}
    }
    run = await asyncio.create_subprocess_exec(
        "make", f"PYTHON={sys.executable}", "run", cwd=checkout, env=environ,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        url = await asyncio.wait_for(_ready(run), FIRST_RUN)
        token = (checkout / ".gateway" / "admin-token").read_text().strip()
        await _talk(url, token)
        await asyncio.to_thread(_try_the_section_on_changes, checkout, url)
        assert await asyncio.wait_for(_ready(run), 20) == url  # the kill asked for a restart
        os.kill(int((checkout / ".gateway" / "lock").read_text()), signal.SIGINT)
        await asyncio.wait_for(run.wait(), 20)
    finally:
        if run.returncode is None:
            os.killpg(run.pid, signal.SIGKILL)
            await run.wait()


def _copy_checkout(target: Path) -> None:
    skipped = shutil.ignore_patterns(".git", ".venv", ".gateway", "__pycache__", ".*_cache", "gateway.yaml", "tests")
    shutil.copytree(ROOT, target, ignore=skipped)


def _use_free_port(checkout: Path) -> None:
    """The one thing that is not as it stands: the port, since another gateway may run on this machine."""
    starter = checkout / "gateway" / "cli" / "init.py"
    starter.write_text(starter.read_text().replace("port: 18790", "port: 0"))


async def _ready(run: asyncio.subprocess.Process) -> str:
    assert run.stdout is not None
    async for line in run.stdout:
        if found := READY.search(line.decode()):
            return found[1]
    raise AssertionError(f"make run ended with {await run.wait()}")


async def _talk(url: str, token: str) -> None:
    client = await Client.connect(url, token)
    session = "webchat:default:main"
    await client.request("chat.send", {"sessionKey": session, "message": "hello", "idempotencyKey": "1"})
    async with asyncio.timeout(5):
        while not any(event["event"] == "chat" for event in client.events):
            await asyncio.sleep(0.01)
    history = await client.request("chat.history", {"sessionKey": session})
    assert [(line["role"], line["text"]) for line in history["messages"]] == [("user", "hello"), ("assistant", "hello")]
    await client.close()


def _try_the_section_on_changes(checkout: Path, url: str) -> None:
    python = checkout / ".venv" / "bin" / "python"
    status, patch, kill, journal = (line for line in COMMANDS if line.startswith(("curl", "kill")))
    shown = _shell(status.replace("http://127.0.0.1:18790", url), checkout)
    assert '"state": "running"' in shown
    receipt = _shell(patch.replace("http://127.0.0.1:18790", url), checkout)
    assert '"outcome": "applied"' in receipt
    assert "name: office" in (checkout / "gateway.yaml").read_text()
    _shell(journal.replace("http://127.0.0.1:18790", url), checkout)
    for line in COMMANDS:
        if line.startswith("python -m"):
            assert _shell(line.replace("python", str(python), 1), checkout)
    _shell(kill, checkout)


def _shell(command: str, folder: Path) -> str:
    done = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout
