"""`gateway plan, apply, patch, history, rollback, confirm` against a running gateway, as a person and as a script would use them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.client import NOT_LET_IN
from tests.fakes.telegram import FakeTelegram
from tests.real.commands import command
from tests.real.process import TOKEN, Gateway, config_text, telegram_account

ACCOUNT = "channels.telegram.accounts.main"
SECRET = "1001:a-secret-of-the-command-line"


def revision_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def bot_text(telegram: FakeTelegram, seconds: int = 20) -> str:
    return config_text(telegram_account("main", SECRET, telegram.url, poll_timeout_s=seconds, allow_from=["*"]))


async def test_a_plan_says_what_would_happen_and_does_nothing(tmp_path: Path) -> None:
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(SECRET, "main_bot")
        async with Gateway(tmp_path, bot_text(telegram)) as gateway:
            await bot.wait_polls(2)
            before, new = gateway.config.read_bytes(), tmp_path / "new.yaml"
            new.write_bytes(before)
            same = await command(tmp_path, "plan", "new.yaml")
            assert (same.code, same.out) == (0, "no changes\n")
            new.write_text(bot_text(telegram, 21).replace('["*"]', "[]"))
            other = await command(tmp_path, "plan", "new.yaml")
            assert other.code == 2
            lines = other.out.splitlines()
            assert f"{ACCOUNT}.poll_timeout_s: 20 -> 21 (channel)" in lines
            assert "telegram/main: restart" in lines
            assert any(line.startswith("fires restart at telegram/main: ") for line in lines)
            assert "warning: nobody may write to telegram/main any more" in lines
            assert lines[-1].endswith(": 2 changes, class channel; it is reloaded")
            as_data = await command(tmp_path, "plan", "--json", "-", stdin=new.read_text())
            assert (as_data.code, as_data.json["accounts"]) == (2, {"telegram/main": "restart"})
            patch = await command(tmp_path, "plan", "--patch", "-", stdin=f"{{gateway: {{name: x}}}} # {SECRET}")
            assert (patch.code, patch.out.splitlines()[0]) == (2, 'gateway.name: "gateway" -> "x" (live)')
            assert gateway.config.read_bytes() == before
            assert bot.stats.polls == 2


@pytest.mark.parametrize("name", ["plan", "apply"])
async def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, name: str) -> None:
    async with Gateway(tmp_path, config_text()) as gateway:
        before = gateway.config.read_bytes()
        (tmp_path / "bad.yaml").write_text(config_text() + "gatewya: {}\n")
        bad = await command(tmp_path, name, "bad.yaml")
        assert (bad.code, bad.out) == (1, "")
        assert "gatewya (line 12, column 1): unknown key 'gatewya'; did you mean 'gateway'?" in bad.err
        as_data = await command(tmp_path, name, "bad.yaml", "--json")
        assert (as_data.code, as_data.json["error"]["code"]) == (1, "invalid_config")
        none = await command(tmp_path, name, "nowhere.yaml")
        assert (none.code, none.err) == (1, "gateway: [Errno 2] No such file or directory: 'nowhere.yaml'\n")
        assert gateway.config.read_bytes() == before


async def test_what_was_planned_is_applied_and_what_is_stale_is_not(tmp_path: Path) -> None:
    async with Gateway(tmp_path, config_text()) as gateway:
        new = tmp_path / "new.yaml"
        new.write_text(config_text(extra="store: {keep_days: 7}\n"))
        plan = (await command(tmp_path, "plan", "new.yaml", "--json")).json["plan_id"]
        base = revision_of(gateway.config)
        applied = await command(tmp_path, "apply", "new.yaml", "--plan", plan, "--note", "a week is enough")
        assert applied.code == 0, applied.err
        assert applied.out == f"changed store.keep_days\napplied: revision {revision_of(new)[:12]}\n"
        assert gateway.config.read_bytes() == new.read_bytes()
        new.write_text(config_text(extra="store: {keep_days: 8}\n"))
        for stale in (["--plan", plan], ["--base", base]):
            refused = await command(tmp_path, "apply", "new.yaml", *stale)
            assert (refused.code, refused.out) == (1, "")
        assert f"the file's hash is now {revision_of(gateway.config)}" in refused.err
        assert "changed meanwhile: store.keep_days" in refused.err
        (entry, *_) = (await command(tmp_path, "history", "--json")).json["entries"]
        assert (entry["note"], entry["road"]) == ("a week is enough", "http")


async def test_a_patch_by_every_way_keeps_the_comments(tmp_path: Path) -> None:
    async with Gateway(tmp_path, config_text()) as gateway:
        (tmp_path / "patch.json").write_text('{"gateway": {"name": "three"}}')
        ways = (["{gateway: {name: one}}"], ["-"], ["@patch.json"])
        for way, name in zip(ways, ("one", "two", "three"), strict=True):
            done = await command(tmp_path, "patch", *way, stdin="gateway: {name: two}")
            assert done.code == 0, done.err
            assert f"name: {name}" in gateway.config.read_text()
        assert gateway.config.read_text().startswith("# a comment that must survive\n")
        again = await command(tmp_path, "patch", "{gateway: {name: three}}", "--json")
        assert (again.code, again.json["outcome"]) == (0, "noop")


async def test_a_change_on_trial_is_confirmed_extended_and_cancelled(tmp_path: Path) -> None:
    async with Gateway(tmp_path, config_text()) as gateway:
        nothing = await command(tmp_path, "confirm")
        assert (nothing.code, nothing.err) == (1, "gateway: no change waits to be confirmed\n")
        trial = await command(tmp_path, "patch", "{gateway: {name: one}}", "--confirm-within", "600")
        assert trial.code == 0
        assert "probation: revision " in trial.out
        assert trial.out.rstrip().endswith("with: gateway confirm")
        longer = await command(tmp_path, "confirm", "--extend", "1200", "--json")
        window = (await gateway.status())["config"]["window"]
        assert (longer.code, longer.json["confirm_by"]) == (0, window["confirm_by"])
        done = await command(tmp_path, "confirm", window["revision"][:8])
        assert (done.code, done.out.startswith("committed: revision ")) == (0, True)
        await command(tmp_path, "patch", "{gateway: {name: two}}", "--confirm-within", "600")
        back = await command(tmp_path, "confirm", "--cancel")
        assert (back.code, back.out.startswith("rolled_back: revision ")) == (0, True)
        assert (await gateway.status())["name"] == "one"
        both = await command(tmp_path, "confirm", "--cancel", "--extend", "5")
        assert both.code == 2


async def test_the_history_is_told_compared_and_gone_back_to(tmp_path: Path) -> None:
    async with FakeTelegram() as telegram:
        telegram.add_bot(SECRET, "main_bot")
        async with Gateway(tmp_path, bot_text(telegram)) as gateway:
            first = gateway.config.read_bytes()
            for seconds, note in ((21, "longer"), (22, "longer still")):
                patch = f"{{channels: {{telegram: {{accounts: {{main: {{poll_timeout_s: {seconds}}}}}}}}}}}"
                assert (await command(tmp_path, "patch", patch, "--note", note)).code == 0
            lines = (await command(tmp_path, "history")).out.splitlines()
            assert [line.split()[0] for line in lines] == ["3", "2", "1"]
            assert '"longer still"' in lines[0]
            assert f"{ACCOUNT}.poll_timeout_s" in lines[0]
            assert len((await command(tmp_path, "history", "--limit", "1")).out.splitlines()) == 1
            one = await command(tmp_path, "history", "3", "--against", "1")
            assert f"{ACCOUNT}.poll_timeout_s: 20 -> 22 (channel)" in one.out.splitlines()
            back = await command(tmp_path, "rollback", "1")
            assert (back.code, gateway.config.read_bytes()) == (0, first)
            assert "telegram/main: restart, now running in generation 4" in back.out.splitlines()
            newest = (await command(tmp_path, "history", "4", "--json")).json
            assert (newest["note"], newest["outcome"]) == ("rollback to 1", "applied")
            none = await command(tmp_path, "rollback", "99")
            assert (none.code, "the history has no entry '99'" in none.err) == (1, True)


async def test_a_change_that_is_rolled_back_fails_the_command_and_says_why(tmp_path: Path) -> None:
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(SECRET, "main_bot")
        async with Gateway(tmp_path, bot_text(telegram)) as gateway:
            await bot.wait_polls(2)
            bot.fail_next(401, method="getUpdates")
            patch = "{channels: {telegram: {accounts: {main: {poll_timeout_s: 21}}}}}"
            done = await command(tmp_path, "patch", patch, "--confirm-within", "600")
            assert done.code == 1
            assert "rolled_back: revision" in done.out
            assert "at the stage health: telegram/main ran before and has failed: getUpdates: Unauthorized" in done.out
            await gateway.until(lambda s: {account["state"] for account in s["accounts"]} == {"running"})


# Finding the gateway


async def test_where_no_gateway_runs_that_is_said(tmp_path: Path) -> None:
    """Never started, stopped, or killed: then its line is still there, and nobody is asked."""
    told = f"gateway: no gateway runs with the state folder {tmp_path / '.gateway'}; start one, or name another with --state-dir\n"
    none = await command(tmp_path, "history")
    assert (none.code, none.out, none.err) == (1, "", told)
    gateway = Gateway(tmp_path, config_text())
    async with gateway:
        address = tmp_path / ".gateway" / "address"
        assert address.read_text() == f"{gateway.url}\n"
        assert address.stat().st_mode & 0o777 == 0o600
    assert not address.exists()
    assert (await command(tmp_path, "history")).err == told
    try:
        await gateway.start()
        assert (await command(tmp_path, "history")).code == 0
        assert gateway.process is not None
        gateway.process.kill()
        await gateway.wait()
    finally:
        await gateway.close()
    assert address.exists()
    assert (await command(tmp_path, "history")).err == told


async def test_a_gateway_elsewhere_is_found_by_its_state_folder(tmp_path: Path) -> None:
    own, other = tmp_path / "own", tmp_path / "other"
    for folder in (own, other):
        folder.mkdir()
    async with Gateway(own, config_text()) as gateway:
        for named in (["--state-dir", str(own / ".gateway"), "--config", str(gateway.config)], []):
            environ = {} if named else {"GATEWAY_STATE_DIR": str(own / ".gateway"), "GATEWAY_TOKEN": TOKEN}
            assert (await command(other, "history", *named, **environ)).code == 0


@pytest.mark.parametrize("where", ["generated", "environment", "file", "none"])
async def test_the_token_is_found_where_it_is(tmp_path: Path, where: str) -> None:
    environment = "token: '${GATEWAY_TOKEN}', "
    tokens = {"generated": "", "environment": environment, "file": "token: {file: token}, ", "none": environment}
    (tmp_path / "token").write_text("the-token-in-a-file\n")
    text = config_text().replace(f"token: {TOKEN}, ", tokens[where])
    environ: dict[str, Any] = {"GATEWAY_TOKEN": "the-token-of-the-environment"} if tokens[where] == environment else {}
    async with Gateway(tmp_path, text, **environ) as gateway:
        done = await command(tmp_path, "history", **(environ if where == "environment" else {}))
        assert (done.code, done.err) == ((0, "") if where != "none" else (1, f"gateway: {NOT_LET_IN}\n"))
        assert gateway.url


async def test_a_restart_keeps_the_address_right(tmp_path: Path) -> None:
    """The gateway comes up again elsewhere: the commands follow it."""
    text = config_text(restart="{delay_ms: 0, cooldown_ms: 0}")
    async with Gateway(tmp_path, text) as gateway:
        moved = await command(tmp_path, "patch", "{gateway: {admin: {host: localhost}}}")
        assert moved.code == 0, moved.err
        await gateway.ready(2)
        assert (tmp_path / ".gateway" / "address").read_text() == f"{gateway.url}\n"
        assert (await command(tmp_path, "history")).code == 0
