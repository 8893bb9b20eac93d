"""Configs for tests: the model of the two networks that are built in, and short ways to one."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.channels.telegram import TelegramAdapter
from gateway.channels.webchat import WebchatAdapter
from gateway.config.file import Reader, Revision
from gateway.config.model import Config, build_config_model
from gateway.errors import ConfigError, Issue

MODEL = build_config_model({"telegram": TelegramAdapter.account_model, "webchat": WebchatAdapter.account_model})
ENVIRON = {"TELEGRAM_TOKEN": "1001:from-the-environment", "PORT": "8080", "EMPTY": ""}

HEAD = """\
gateway:
  admin: {port: 0, token: the-admin-token}
handlers:
  echo: {type: echo}
routes:
  - {channel: "*", handler: echo}
"""


def cold(text: str) -> str:
    """The same with another drain timeout: a setting that only a restart of the gateway changes."""
    return text.replace("gateway:\n", "gateway:\n  restart: {drain_timeout_ms: 29000}\n", 1)


def reader(folder: Path = Path(), environ: dict[str, str] | None = None) -> Reader:
    return Reader(lambda _: MODEL, ENVIRON if environ is None else environ, folder)


def revision(text: str | bytes, folder: Path = Path()) -> Revision:
    return reader(folder).load(text.encode() if isinstance(text, str) else text)


def config(text: str | bytes, folder: Path = Path()) -> Config:
    return revision(text, folder).config


def faults(text: str | bytes, folder: Path = Path()) -> list[Issue]:
    """What is wrong with a text; something must be."""
    with pytest.raises(ConfigError) as caught:
        revision(text, folder)
    return caught.value.issues


def telegram(**accounts: str) -> str:
    """A config with these Telegram accounts, each the inside of a flow mapping."""
    lines = "".join(f"      {name}: {{{inside}}}\n" for name, inside in accounts.items())
    return f"{HEAD}channels:\n  telegram:\n    accounts:\n{lines}"
