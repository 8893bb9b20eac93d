"""What the command line understands, and what its help teaches."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from gateway.cli import exits, main
from gateway.cli.commands.app import COMMANDS, build
from gateway.cli.commands.common import Command
from gateway.cli.main import Places, run_places

SHORT = 66
"""Characters of a summary: more, and the list of commands cuts it off on 80 columns."""
NAMES = [command.name for command in COMMANDS]


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder where no gateway runs, and with no variable that names another."""
    monkeypatch.chdir(tmp_path)
    for name in ("GATEWAY_CONFIG", "GATEWAY_STATE_DIR", "_GATEWAY_COMPLETE"):
        monkeypatch.delenv(name, raising=False)


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main.main(words)
    out, err = capsys.readouterr()
    return code, out, err


# Run, which is told apart before typer is imported


@pytest.mark.parametrize(
    ("words", "config", "state_dir"),
    [
        ("", "gateway.yaml", ".gateway"),
        ("run", "gateway.yaml", ".gateway"),
        ("run --config a --state-dir b", "a", "b"),
        ("--config=a run --state-dir=b", "a", "b"),
        ("--config a run --config b", "b", ".gateway"),
        ("--config run", "run", ".gateway"),
    ],
)
def test_a_gateway_that_is_to_run_is_told_apart(words: str, config: str, state_dir: str) -> None:
    assert run_places(words.split()) == Places(Path(config), Path(state_dir))


@pytest.mark.parametrize(
    "words", ["--help", "run -h", "run --nonsense", "run run", "--config", "run --state-dir", "status", "run x"]
)
def test_anything_else_is_for_the_command_line(words: str) -> None:
    assert run_places(words.split()) is None


def test_the_environment_serves_where_the_options_are_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_CONFIG", "c")
    monkeypatch.setenv("GATEWAY_STATE_DIR", "s")
    assert run_places([]) == Places(Path("c"), Path("s"))
    assert run_places(["--config", "a"]) == Places(Path("a"), Path("s"))


# The others


def test_a_place_is_said_before_or_behind_the_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Behind it counts more."""
    (tmp_path / "good.yaml").write_text("gateway: {}\n")
    for words in (
        ["check", "--config", "good.yaml"],
        ["--config", "good.yaml", "check"],
        ["--config", "x", "check", "--config", "good.yaml"],
    ):
        code, out, _ = said(capsys, *words)
        assert (code, out.startswith("good.yaml is valid")) == (0, True), words
    code, _, err = said(capsys, "--state-dir", "elsewhere", "status")
    assert (code, f"state folder {tmp_path / 'elsewhere'};" in err) == (1, True)


@pytest.mark.parametrize(
    ("words", "nearest"),
    [
        ("statsu", "Did you mean 'status'"),
        ("status --wach", "--watch"),
        ("run --confg x", "--config"),
        ("channels strat telegram/main", "'start'"),
        ("plan", "FILE"),
        ("restart restart-1", "`gateway restart --cancel restart-1`"),
        ("confirm --cancel --extend 5", "exclude each other"),
    ],
)
def test_wrong_usage_is_told_with_the_nearest_that_is_right(
    capsys: pytest.CaptureFixture[str], words: str, nearest: str
) -> None:
    code, out, err = said(capsys, *words.split())
    assert (code, out) == (2, "")
    assert nearest in err
    assert all(line.startswith("gateway: ") for line in err.splitlines())
    assert err.splitlines()[-1].endswith("--help` says how it is used, with examples")


def test_a_restart_may_be_named_as_it_always_could(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--cancel"], ["--cancel", "restart-1"], ["restart-1", "--cancel"], ["--cancel=restart-1"]):
        code, _, err = said(capsys, "restart", *words)
        assert (code, "no gateway runs" in err) == (1, True), words


# Help


@pytest.mark.parametrize("command", COMMANDS, ids=NAMES)
def test_the_help_of_a_command_has_a_summary_its_examples_and_its_exit_codes(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = said(capsys, command.name, "--help")
    summary = (command.function.__doc__ or "").splitlines()[0]
    assert code == 0
    assert summary in out
    assert len(summary) <= SHORT
    assert command.examples
    for example, what in command.examples:
        assert example in out
        assert what in out
    for number, what in command.codes:
        assert f"    {number:<2}  {what}\n" in out
    assert max(map(len, out.splitlines())) <= 80


def words_of(example: str) -> Iterator[list[str]]:
    """The words behind each `gateway` of a line of a shell."""
    line: list[str] = []
    for word in [*shlex.split(example), "|"]:
        if word in {"|", "&&", ">"}:
            if "gateway" in line:
                yield line[line.index("gateway") + 1 :]
            line = []
        else:
            line.append(word)


@pytest.mark.parametrize("example", [example for command in COMMANDS for example, _ in command.examples])
def test_each_example_is_understood(example: str) -> None:
    """Parsed as it would be, and not done."""
    (words,) = words_of(example)
    if run_places(words) is not None:
        return
    group = typer.main.get_command(build(rich=False))
    assert isinstance(group, TyperGroup)
    with group.make_context("gateway", [*words]) as context:
        name, command, rest = group.resolve_command(context, [words[0], *words[1:]])
        assert command is not None
        command.make_context(name, rest, parent=context)


def test_the_exit_codes_are_those_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = said(capsys, "--help")
    told = {int(code) for code in re.findall(r"^    (\d+) ", out, re.MULTILINE)}
    constants = {value for name, value in vars(exits).items() if name.startswith("EXIT_")}
    assert told == constants | {75}
    assert {code for command in COMMANDS for code, _ in command.codes} == told
    page = (Path(__file__).resolve().parents[3] / "docs" / "operating" / "README.md").read_text()
    table = page[page.index("## Exit codes") :].split("\n\n")[1]
    assert {int(code) for code in re.findall(r"^\| (\d+) ", table, re.MULTILINE)} == told


def test_a_crash_shows_no_value_of_any_variable(tmp_path: Path) -> None:
    """A traceback with what the variables held would have tokens in it."""
    program = (
        "from gateway.cli import check\n"
        "def load(config):\n"
        "    token = 'a-' + 'secret'\n"
        "    raise RuntimeError('broken')\n"
        "check.load = load\n"
        "from gateway.cli.main import main\n"
        "main(['check'])\n"
    )
    environ = {**os.environ, "FORCE_COLOR": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "RuntimeError: broken" in done.stderr
    assert "a-secret" not in done.stderr


def test_whoever_has_read_enough_ends_a_command_in_peace(tmp_path: Path) -> None:
    """`gateway ... | head` has neither a traceback nor an error at the very end."""
    program = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from gateway.cli import asking, plain\n"
        "asking.Client = lambda *places: None\n"
        "os.close(int(sys.argv[1]))\n"
        "sys.exit(asking.asked(Path(), Path(), lambda client: plain.say('x')))\n"
    )
    reading, writing = os.pipe()
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    environ = {**buffered, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(reading)], cwd=tmp_path, env=environ, stdout=writing,
        stderr=subprocess.PIPE, pass_fds=[reading],
    )  # fmt: skip
    os.close(reading)
    os.close(writing)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, b"")
