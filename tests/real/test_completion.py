"""What a shell completes, asked as its script asks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.real.commands import command
from tests.real.process import Gateway, config_text


async def completed(folder: Path, line: str) -> list[str]:
    """What may stand where the line ends. Nothing is said of what goes wrong: it would stand in the middle of the line."""
    words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    done = await command(folder, _GATEWAY_COMPLETE="complete_bash", **words)
    assert (done.code, done.err) == (0, "")
    return done.out.split()


async def test_a_shell_completes_commands_options_and_the_names_of_the_running_gateway(tmp_path: Path) -> None:
    async with Gateway(tmp_path, config_text()):
        assert await completed(tmp_path, "gateway cha") == ["channels"]
        assert await completed(tmp_path, "gateway status --w") == ["--watch"]
        assert await completed(tmp_path, "gateway outbox --state un") == ["unknown"]
        assert await completed(tmp_path, "gateway channels stop ") == ["webchat/default"]
        assert await completed(tmp_path, "gateway send web") == ["webchat/default/"]
        assert await completed(tmp_path, "gateway journal --machine g") == ["gateway"]
        assert "config.get" in await completed(tmp_path, "gateway call config.g")
        ticket = (await command(tmp_path, "restart", "--delay", "60", "--json")).json["id"]
        assert await completed(tmp_path, "gateway restart --cancel ") == [ticket]
        elsewhere = f"gateway --state-dir {tmp_path / 'elsewhere'} channels stop "
        assert await completed(tmp_path, elsewhere) == []


async def test_where_none_runs_a_shell_completes_no_name_and_says_nothing(tmp_path: Path) -> None:
    assert await completed(tmp_path, "gateway channels stop ") == []
    (tmp_path / "gateway.yaml").write_text("{{{")
    assert await completed(tmp_path, "gateway channels stop ") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_the_script_for_a_shell_is_shown(tmp_path: Path, shell: str) -> None:
    detect = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    shown = await command(tmp_path, "--show-completion", shell, **detect)
    assert shown.code == 0, shown.err
    assert f"_GATEWAY_COMPLETE=complete_{shell}" in shown.out
