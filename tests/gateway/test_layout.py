"""How the house is built: imports point down, states are looked at in one place only, and nothing grows too long."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted([*(ROOT / "gateway").rglob("*.py"), *(ROOT / "statemachine").rglob("*.py")])
GATEWAY = [file for file in FILES if file.is_relative_to(ROOT / "gateway")]
MACHINES = [file for file in FILES if file.is_relative_to(ROOT / "statemachine")]

LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"statemachine"}),
    frozenset({"errors", "log", "logtail", "clock", "redact", "boot"}),
    frozenset({"channels", "messages", "handlers", "store", "config", "plugins", "testing", "traces", "otel"}),
    frozenset({"dispatcher", "journal", "export", "metrics", "requests"}),
    frozenset({"admin", "process", "runner"}),
    frozenset({"app"}),
    frozenset({"cli"}),
    frozenset({"__main__"}),
)
"""From the bottom up. A part may import its own layer and those below it."""
FOUNDATIONS = {"errors", "log", "logtail", "clock", "redact"}
FORBIDDEN_BELOW = {"asyncio", "aiohttp", "structlog", "gateway", "time"}
TOOLS_WITH_A_WATCH = {"statemachine/explore_command.py"}
"""Commands that say how long they took; no table and no model imports them."""
OFFERED = ("Address", "Message", "Reply")
LONGEST_FUNCTION = 50
LONGEST_FILE = 500


def name_of(file: Path) -> str:
    return str(file.relative_to(ROOT))


def module_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def part_of(module: str) -> str:
    """`config` of `gateway.config.file`; `statemachine` of all that is in it; "" of the package `gateway` itself."""
    top, _, rest = module.partition(".")
    return "statemachine" if top == "statemachine" else rest.split(".")[0]


def layer_of(part: str) -> int:
    return next(number for number, layer in enumerate(LAYERS) if part in layer)


def imports_of(file: Path) -> Iterator[str]:
    """Every module that a file imports, be it in a function, under TYPE_CHECKING, or by its name in a text."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(file)}:{node.lineno}: a relative import"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call):
            yield from _by_name(node)


def _by_name(call: ast.Call) -> Iterator[str]:
    """`import_module("x")`, and what runs it elsewhere: `to_thread(import_module, "x")`."""
    if any(
        "import_module" in ast.unparse(part)
        for part in (call.func, *call.args)
        if isinstance(part, (ast.Name, ast.Attribute))
    ):
        for argument in call.args:
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                yield argument.value


def house_imports(file: Path) -> Iterator[str]:
    """The imported modules that are of this house; `from gateway import __version__` is the package itself."""
    for module in imports_of(file):
        if module.split(".")[0] in ("gateway", "statemachine") and not module.startswith("gateway.__"):
            yield module


def test_every_part_has_its_layer() -> None:
    parts = {part_of(module_of(file)) for file in FILES} - {""}
    assert parts <= frozenset().union(*LAYERS)


@pytest.mark.parametrize("file", GATEWAY, ids=name_of)
def test_imports_point_down_only(file: Path) -> None:
    part = part_of(module_of(file))
    if not part:
        # What the package offers to those who write a handler, and imports when they ask for it.
        assert set(house_imports(file)) <= {"gateway.messages.model", *(f"gateway.messages.model.{n}" for n in OFFERED)}
        return
    for module in house_imports(file):
        assert layer_of(part_of(module)) <= layer_of(part), f"{name_of(file)} imports {module}, which is above it"


@pytest.mark.parametrize("file", [file for file in GATEWAY if file.stem in FOUNDATIONS], ids=name_of)
def test_the_foundations_import_nothing_of_the_house_but_each_other(file: Path) -> None:
    if file.parent.name == "gateway":
        assert {part_of(module) for module in house_imports(file)} <= FOUNDATIONS


@pytest.mark.parametrize("file", MACHINES, ids=name_of)
def test_statemachine_does_no_io_and_reads_no_clock(file: Path) -> None:
    allowed = {"time"} if name_of(file) in TOOLS_WITH_A_WATCH else set()
    assert {module.split(".")[0] for module in imports_of(file)}.isdisjoint(FORBIDDEN_BELOW - allowed)


@pytest.mark.parametrize("file", [*(ROOT / "gateway" / "process").glob("*.py")], ids=name_of)
def test_process_does_not_know_admin(file: Path) -> None:
    assert not [module for module in house_imports(file) if module.startswith("gateway.admin")]


def test_only_the_engine_knows_the_library() -> None:
    knowing = {name_of(file) for file in FILES if any(m.split(".")[0] == "transitions" for m in imports_of(file))}
    assert knowing == {"statemachine/_machine.py"}


@pytest.mark.parametrize("file", GATEWAY, ids=name_of)
def test_no_state_is_compared_outside_the_machines(file: Path) -> None:
    """Who must know whether a machine is in some state asks a predicate that stands beside its table."""
    found = [
        f"{name_of(file)}:{node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Compare)
        and any(isinstance(side, ast.Attribute) and side.attr == "state" for side in (node.left, *node.comparators))
    ]
    assert found == []


def test_only_the_dispatcher_fires() -> None:
    firing = {
        name_of(file)
        for file in GATEWAY
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "fire"
    }
    assert firing == {"gateway/dispatcher.py"}


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_no_function_is_longer_than_a_screen(file: Path) -> None:
    long = [
        f"{name_of(file)}:{node.lineno}: {node.name} has {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > LONGEST_FUNCTION
    ]
    assert long == []


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_no_file_is_too_long_to_read(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE
