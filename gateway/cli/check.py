"""`gateway check`: read the config as `run` would, and say what is wrong with it."""

from __future__ import annotations

import os
from pathlib import Path

from gateway.channels.telegram import TelegramAdapter
from gateway.channels.webchat import WebchatAdapter
from gateway.cli.exits import EXIT_CONFIG, EXIT_OK, complain
from gateway.config.file import Reader, Revision, read
from gateway.config.model import build_config_model
from gateway.errors import ConfigError
from gateway.plugins import Plugins


def known() -> Plugins:
    """What is built in, and what installed packages offer."""
    return Plugins({"telegram": TelegramAdapter, "webchat": WebchatAdapter}, build_config_model)


def load(config: Path) -> Revision:
    """The config as `run` would read it. Raises ConfigError."""
    return Reader(known().model_for, os.environ, config.absolute().parent).load(read(config))


def check(config: Path) -> int:
    try:
        revision = load(config)
    except ConfigError as error:
        for issue in error.issues:
            complain(f"{config}: {issue}")
        return EXIT_CONFIG
    accounts = ", ".join(revision.config.accounts()) or "no account"
    print(f"{config} is valid: {accounts}; revision {revision.id[:12]}")  # noqa: T201
    return EXIT_OK
