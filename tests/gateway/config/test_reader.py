"""What the reader remembers of what it has read, and what it looks at anew each time; and that many accounts cost no more than they must."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import CollectionStartEvent, ScalarEvent

from gateway.config import bounds
from gateway.config.bounds import MAX_VALUES, may_exceed, most_values
from gateway.config.file import REMEMBERED, parse
from gateway.errors import ConfigError
from tests.gateway.configs import HEAD, reader, telegram
from tests.gateway.memory import kept_by_nobody
from tests.real.process import config_text, telegram_account


def test_the_same_bytes_are_read_once(tmp_path: Path) -> None:
    here = reader(tmp_path)
    assert here.load(HEAD.encode()) is here.load(HEAD.encode())


def test_no_more_than_a_few_are_remembered(tmp_path: Path) -> None:
    here = reader(tmp_path)
    first = here.load(HEAD.encode())
    for number in range(REMEMBERED):
        here.load(f"{HEAD}# {number}\n".encode())
    again = here.load(HEAD.encode())
    assert (again.id, again is first) == (first.id, False)


def test_a_secret_in_a_file_of_its_own_is_read_each_time(tmp_path: Path) -> None:
    """The bytes say where it is, not what it is."""
    here, raw = reader(tmp_path), telegram(main="token: {file: secret}").encode()
    tokens = []
    for secret in ("1:one-token", "1:two-token"):
        (tmp_path / "secret").write_text(secret)
        tokens.append(here.load(raw).config.accounts()["telegram/main"].identity)
        (account,) = here.load(raw).config.channels.telegram.accounts.values()  # type: ignore[attr-defined]
        assert account.token.reveal() == secret
    assert tokens == ["1", "1"]


def test_another_environment_is_another_reading(tmp_path: Path) -> None:
    environ = {"BOT": "1:one-token"}
    here, raw = reader(tmp_path, environ), telegram(main='token: "${BOT}"').encode()
    assert here.load(raw).config.accounts()["telegram/main"].identity == "1"
    environ["BOT"] = "2:two-token"
    assert here.load(raw).config.accounts()["telegram/main"].identity == "2"


def test_what_was_wrong_is_looked_at_again(tmp_path: Path) -> None:
    here, raw = reader(tmp_path), telegram(main="token: {file: secret}").encode()
    with pytest.raises(ConfigError):
        here.load(raw)
    (tmp_path / "secret").write_text("1:one-token")
    assert here.load(raw).config.accounts()


def test_accounts_are_listed_once(tmp_path: Path) -> None:
    config = reader(tmp_path).load(telegram(main="token: one-token").encode()).config
    assert config.accounts() is config.accounts()


# What is too much must be seen at a glance, or looked for; a thousand accounts are neither


def test_a_thousand_accounts_are_taken_at_a_glance() -> None:
    accounts = "".join(
        telegram_account(f"account-{n}", f"{n}:a-secret-of-a-bot", "http://127.0.0.1:8081") for n in range(1000)
    )
    assert not may_exceed(config_text(accounts))


@pytest.mark.parametrize(
    "text",
    [
        "a: [" + ",".join(["1"] * MAX_VALUES) + "]",
        "a:\n" + "- 1\n" * MAX_VALUES,
        "a:\r" + "- 1\r" * MAX_VALUES,
        "a:\n" + "- - 1\n  - 1\n" * (MAX_VALUES // 2),
        "".join(f"k{n}: 1\n" for n in range(MAX_VALUES // 2 + 1)),
        "".join(f"? k{n}\n: 1\n" for n in range(MAX_VALUES // 2 + 1)),
        "a: {" + ",".join(f"k{n}" for n in range(MAX_VALUES // 2 + 1)) + "}",
        "a:\u2028" + "- 1\u2028" * MAX_VALUES,
        "a: [" + "{},[]," * (MAX_VALUES // 2) + "]",
    ],
    ids=["flow", "block", "carriage returns", "nested", "keys", "question marks", "keys alone", "line separators", "empty"],
)  # fmt: skip
def test_whatever_parts_them_too_many_values_are_too_many(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "SURELY_SHALLOW", 10_000_000)
    assert may_exceed(text)
    with pytest.raises(ConfigError, match=r"stands for more than|not YAML"):
        parse(text.encode())


def test_no_text_has_more_values_than_what_parts_them_says() -> None:
    random, tried = Random(7), 0
    for _ in range(30_000):
        text = "".join(
            random.choices(
                ["a", " ", "\n", "\n  ", ":", ": ", ",", "- ", "-", "? ", "[", "]", "{", "}", "'", '"', "#"], k=9
            )
        )
        events = events_of(text)
        if events is not None:
            tried += 1
            assert most_values(text, len(text.splitlines())) >= len(events), repr(text)
    assert tried > 1000


@pytest.mark.parametrize(
    "text",
    [f"a: [{'1, ' * 60_000}1]", f"{HEAD}more: {'x' * 500_000}", f"a: [:{'x' * 60_000}]"],
    ids=["too much", "unknown", "for the slow reader"],
)  # fmt: skip
def test_a_text_that_was_read_is_let_go_at_once(text: str) -> None:
    """Not when the garbage collector comes: it looks at what is large once in millions of objects."""
    with kept_by_nobody(3) as times:
        for _ in times:
            with pytest.raises(ConfigError):
                reader().load(text.encode())


def events_of(text: str) -> list[Any] | None:
    """What becomes a value; None where the text is none."""
    try:
        events = list(YAML(typ="safe").parse(text))
    except YAMLError:
        return None
    return [event for event in events if isinstance(event, (ScalarEvent, CollectionStartEvent))]
