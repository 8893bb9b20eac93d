"""`gateway init`: a commented starter config, with what is needed for a first answered message and no more."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gateway.cli.exits import EXIT_FAILED, EXIT_OK, complain
from gateway.cli.plain import say

HEAD = """\
# The gateway's config. It may change while the gateway runs: save it, and what changed is applied.
# Every key: python -m gateway schema says what it means, python -m gateway check names the line where one is wrong.

gateway:
  name: home
  admin:
    host: 127.0.0.1       # other than loopback needs a token here
    port: 18790

channels:
  webchat:                # the chat on the gateway's own page
    accounts:
      default: {}
"""

TELEGRAM = """\
  telegram:
    accounts:
      main:
        token: ${TELEGRAM_TOKEN}      # taken from the environment; or {file: path}
        api_base: %s
        allow_from: ["*"]             # user ids, @names or "*"
"""

TAIL = """
handlers:
  echo: {type: echo}      # answers with what it was sent

routes:                   # the first that matches wins
  - {channel: "*", handler: echo}
"""

API_BASE = "https://api.telegram.org"


def starter(environ: Mapping[str, str]) -> str:
    """The starter config: web chat and echo, and Telegram when the environment has TELEGRAM_TOKEN."""
    telegram = TELEGRAM % environ.get("TELEGRAM_API_BASE", API_BASE) if "TELEGRAM_TOKEN" in environ else ""
    return HEAD + telegram + TAIL


def init(config: Path, environ: Mapping[str, str]) -> int:
    """Write the starter; a file that is there is never touched."""
    try:
        with config.open("x", encoding="utf-8") as file:
            file.write(starter(environ))
    except FileExistsError:
        complain(f"{config} is there already; nothing was written")
        return EXIT_FAILED
    config.chmod(0o600)
    say(f"wrote {config}")
    return EXIT_OK
