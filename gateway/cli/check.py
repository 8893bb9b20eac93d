"""`gateway check`: read the config as `run` would, and say what is wrong with it."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

from gateway.channels.telegram import TelegramAdapter
from gateway.channels.webchat import WebchatAdapter
from gateway.cli.exits import EXIT_CONFIG, EXIT_OK, complain
from gateway.cli.plain import say, say_json
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


def check(config: Path, *, as_json: bool = False) -> int:
    """Say whether it can be used; EXIT_CONFIG where it cannot."""
    try:
        revision = load(config)
    except ConfigError as error:
        for issue in error.issues:
            complain(f"{config}: {issue}")
        if as_json:
            say_json({"config": str(config), "valid": False, "issues": [asdict(issue) for issue in error.issues]})
        return EXIT_CONFIG
    accounts = list(revision.config.accounts())
    if as_json:
        say_json({"config": str(config), "valid": True, "revision": revision.id, "accounts": accounts, "issues": []})
    else:
        say(f"{config} is valid: {', '.join(accounts) or 'no account'}; revision {revision.id[:12]}")
    return EXIT_OK
