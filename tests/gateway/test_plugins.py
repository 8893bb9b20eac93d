"""Networks and handlers of installed packages: found when a config names them, told of when they cannot be used."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.channels.telegram import TelegramAdapter
from gateway.channels.webchat import WebchatAdapter
from gateway.cli.main import main
from gateway.config.file import Reader
from gateway.config.model import Config, build_config_model
from gateway.config.plan import AccountAction, graft, make_plan
from gateway.errors import ConfigError
from gateway.messages.model import Reply
from gateway.plugins import Plugins
from statemachine.lifecycle_events import Impact
from tests.gateway.handlers.desk import MESSAGE, tools

PACKAGE = """\
from typing import Annotated, ClassVar, Literal
from msgspec import Meta
from gateway.channels.webchat import WebchatAdapter
from gateway.config.declared import CHANNEL, LIVE
from gateway.config.handlers import WorkingHandler
from gateway.config.model import Account
from gateway.messages.model import Reply

class ShoutSettings(WorkingHandler, frozen=True, kw_only=True):
    type: Annotated[Literal["shout"], LIVE, Meta(description="`shout` answers loudly.")]
    marks: Annotated[int, LIVE, Meta(ge=1, description="How many marks of exclamation.")] = 1

class Shout:
    settings = ShoutSettings
    acts_outside = False
    def __init__(self, name, settings, tools):
        self._end = "!" * settings.marks
    async def handle(self, message):
        return [Reply(message.text.upper() + self._end)]
    async def close(self):
        pass

class PigeonAccount(Account, frozen=True, kw_only=True):
    loft: Annotated[str, CHANNEL, Meta(description="Where it lives.")]

class Pigeons(WebchatAdapter):
    account_model: ClassVar[type[Account]] = PigeonAccount
    def __init__(self):
        super().__init__(None)
"""
ENTRIES = """\
[gateway.handlers]
shout = loft_birds:Shout
broken = loft_broken:Nothing
odd = loft_birds:PigeonAccount
[gateway.channels]
pigeon = loft_birds:Pigeons
[other.group]
shout = nowhere:Nothing
"""
SHOUT = "handlers: {loud: {type: shout, marks: 2}}\n"
PIGEON = "channels: {webchat: {accounts: {a: {}}}, pigeon: {accounts: {one: {loft: north}}}}\n"


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package with entry points, as pip would leave it."""
    (tmp_path / "loft_birds.py").write_text(PACKAGE)
    (tmp_path / "loft_broken.py").write_text("raise OSError('no birds today')\n")
    about = tmp_path / "loft_birds-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: loft-birds\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(ENTRIES)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("loft_birds", None)


@pytest.fixture
def plugins() -> Plugins:
    return Plugins({"telegram": TelegramAdapter, "webchat": WebchatAdapter}, build_config_model)


def load(plugins: Plugins, text: str) -> Config:
    return Reader(plugins.model_for, {}, Path()).load(text.encode()).config


def faults(plugins: Plugins, text: str) -> list[tuple[str, int | None, str]]:
    with pytest.raises(ConfigError) as caught:
        load(plugins, text)
    return [(issue.path, issue.line, issue.message) for issue in caught.value.issues]


def test_what_is_built_in_is_looked_for_nowhere(plugins: Plugins, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "importlib.metadata", raising=False)
    load(plugins, "handlers: {echo: {type: echo}}\n")
    assert "importlib.metadata" not in sys.modules
    assert "loft_birds" not in sys.modules


async def test_a_handler_that_a_config_names_is_found_and_made(plugins: Plugins, tmp_path: Path) -> None:
    settings: Any = load(plugins, SHOUT).handlers["loud"]
    assert (settings.type, settings.marks, settings.timeout_ms) == ("shout", 2, 10_000)
    handler = plugins.handlers["shout"]("loud", settings, tools(tmp_path))
    assert await handler.handle(MESSAGE) == [Reply("HELLO!!")]


def test_its_settings_are_checked_like_any(plugins: Plugins) -> None:
    text = "handlers:\n  loud: {type: shout, marks: 0, mark: 1}\n"
    assert faults(plugins, text) == [
        ("handlers.loud.mark", 2, "unknown key 'mark'; did you mean 'marks'?"),
        ("handlers.loud.marks", 2, "Expected int >= 1"),
    ]


def test_a_network_is_found_in_a_later_config_and_only_its_account_starts(plugins: Plugins) -> None:
    before = load(plugins, "channels: {webchat: {accounts: {a: {}}}}\n")
    after = load(plugins, PIGEON)
    plan = make_plan(before, after)
    assert plan.impact is Impact.CHANNEL
    assert plan.accounts == {"webchat/a": AccountAction.NOTHING, "pigeon/one": AccountAction.START}
    assert plan.paths == ["channels.pigeon.accounts.one"]
    back = make_plan(after, before)
    assert back.accounts == {"webchat/a": AccountAction.NOTHING, "pigeon/one": AccountAction.STOP}
    assert list(plugins.channels) == ["telegram", "webchat", "pigeon"]


def test_a_part_of_a_change_that_names_one_can_be_had_before_the_rest(plugins: Plugins) -> None:
    before = load(plugins, "channels: {webchat: {accounts: {a: {}}}}\n")
    after = load(plugins, PIGEON)
    paths = [change.path for change in make_plan(before, after).changes]
    grafted = graft(before, after, paths)
    assert grafted.accounts() == after.accounts()
    assert make_plan(grafted, after).changes == ()
    assert graft(after, before, paths).accounts() == before.accounts()


def test_what_cannot_be_used_is_a_fault_where_it_is_named(plugins: Plugins) -> None:
    ((path, line, message),) = faults(plugins, "handlers:\n  a: {type: echo}\n  b: {type: broken}\n")
    assert (path, line) == ("handlers.b.type", 3)
    assert message == (
        "loft_broken:Nothing, which an installed package offers for 'broken', cannot be used: OSError: no birds today"
    )
    ((path, _, message),) = faults(plugins, "handlers: {c: {type: odd}}\n")
    assert (path, "cannot be used: AttributeError" in message) == ("handlers.c.type", True)
    assert load(plugins, SHOUT).handlers["loud"].type == "shout", "and what can be is not lost with it"


def test_what_nobody_offers_is_unknown(plugins: Plugins) -> None:
    found = faults(plugins, "channels: {owl: {}}\nhandlers: {a: {type: shoutt}, b: {type: shout}}\n")
    assert [path for path, _, _ in found] == ["channels.owl", "handlers.a.type"]
    assert "one of echo, http, openai, python, command, bridge, shout; did you mean 'shout'?" in found[1][2]


def test_check_knows_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "gateway.yaml"
    config.write_text(SHOUT + PIGEON)
    assert main(["check", "--config", str(config)]) == 0
    assert "webchat/a, pigeon/one" in capsys.readouterr().out
