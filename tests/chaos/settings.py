"""The config that chaos begins with, and the changes that are made to its text."""

from __future__ import annotations

import re
from random import Random

from gateway.config.file import parse
from gateway.errors import ConfigError
from tests.real.process import TOKEN, config_text, telegram_account

BOTS = {
    "one": "1001:a-secret-of-the-chaos-one",
    "two": "1002:a-secret-of-the-chaos-two",
    "three": "1003:a-secret-of-the-chaos-three",
}
OPTIONAL = "three"
"""The account that comes and goes."""
SECRETS = (TOKEN, *(token.partition(":")[2] for token in BOTS.values()))
STOP_BUDGET = 10.0
RESTART = f"delay_ms: 500, cooldown_ms: 1000, defer_timeout_ms: 2000, drain_timeout_ms: {STOP_BUDGET * 1000:.0f}"
POLL_TIMEOUTS = (1, 2, 3)
"""Short polls, so that the wait after a conflict is short."""


def first_text(api_base: str, port: int, restart: str) -> str:
    """Three bots and a web chat, on a port that stays. `restart` is the mode."""
    accounts = "".join(_account(name, api_base) for name in BOTS)
    text = config_text(
        accounts,
        restart=f"{{mode: {restart}, {RESTART}}}",
        reload="{mode: hybrid, debounce_ms: 200}",
        extra="# edit 0\n",
    )
    return text.replace("port: 0", f"port: {port}").replace("gateway:\n", "gateway:\n  name: chaos-0\n", 1)


def _account(name: str, api_base: str) -> str:
    return telegram_account(name, BOTS[name], api_base, poll_timeout_s=1, allow_from=["*"], stop_timeout_ms=2000)


def is_sound(text: str) -> bool:
    """Whether a text can be edited: a config, whole, with the accounts that always are."""
    try:
        return {"one", "two"} <= set(parse(text.encode())["channels"]["telegram"]["accounts"])
    except (ConfigError, KeyError, TypeError):
        return False


def changed(text: str, random: Random, number: int, api_base: str) -> str:
    """A change of the text of some class: of nothing, live, of an account, of the gateway."""
    kind = random.choice(("comment", "live", "live", "channel", "channel", "channel", "comes or goes", "gateway"))
    if kind == "comment":
        return numbered(text, number)
    if kind == "live":
        return re.sub(r"name: (chaos|trial)-\d+|name: beside|name: stale", f"name: chaos-{number}", text)
    if kind == "gateway":
        return re.sub(r"defer_timeout_ms: \d+", f"defer_timeout_ms: {2000 + number % 500}", text)
    if kind == "comes or goes":
        return _without_or_with(text, api_base)
    return _with_timeout(text, random.choice(list(BOTS)), random.choice(POLL_TIMEOUTS))


def numbered(text: str, number: int) -> str:
    """The same config in other bytes."""
    return re.sub(r"# edit \d+", f"# edit {number}", text)


def _without_or_with(text: str, api_base: str) -> str:
    kept = [line for line in text.splitlines(keepends=True) if not line.startswith(f"      {OPTIONAL}: ")]
    without = "".join(kept)
    return without if without != text else with_all_accounts(text, api_base)


def with_all_accounts(text: str, api_base: str) -> str:
    """The text with the account that comes and goes."""
    if f"      {OPTIONAL}: " in text:
        return text
    return text.replace("handlers:\n", _account(OPTIONAL, api_base) + "handlers:\n", 1)


def _with_timeout(text: str, name: str, seconds: int) -> str:
    def put(line: re.Match[str]) -> str:
        return re.sub(r'("?poll_timeout_s"?: )\d+', rf"\g<1>{seconds}", line[0])

    return re.sub(rf"^      {name}: .*$", put, text, flags=re.MULTILINE)


def patch_of(random: Random, number: int) -> dict[str, object]:
    """A merge patch of some class."""
    account = random.choice(("one", "two"))
    patches: tuple[dict[str, object], ...] = (
        {"gateway": {"name": f"chaos-{number}"}},
        {"channels": {"telegram": {"accounts": {account: {"poll_timeout_s": random.choice(POLL_TIMEOUTS)}}}}},
        {"channels": {"telegram": {"accounts": {account: {"allow_from": ["*", str(number)]}}}}},
        {"gateway": {"restart": {"defer_timeout_ms": 2000 + number % 500}}},
        {"channels": {"telegram": {"accounts": {OPTIONAL: None}}}},
        {},
    )
    return random.choice(patches)
