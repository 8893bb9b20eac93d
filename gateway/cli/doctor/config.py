"""The config file: whether it can be used, who can read its secrets, and whether it does anything."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from gateway.cli.check import load
from gateway.cli.doctor.finding import Finding, Severity
from gateway.config.custody import custody_of
from gateway.config.file import MISSING, Revision
from gateway.config.secrets import secrets_of
from gateway.errors import ConfigError

OTHERS = stat.S_IRWXG | stat.S_IRWXO
MAKE_ONE = "`python -m gateway init` writes one to start from; or name yours with --config"
MEND_IT = "mend it there; `python -m gateway schema` says what may be"


def read_config(path: Path) -> tuple[Revision | None, list[Finding]]:
    """The config, None where it cannot be used, and what is to be said of it."""
    try:
        revision = load(path)
    except ConfigError as error:
        if error.revision == MISSING:
            return None, [Finding("config", Severity.ERROR, issue.message, MAKE_ONE) for issue in error.issues]
        return None, [Finding("config", Severity.ERROR, f"{path}: {issue}", MEND_IT) for issue in error.issues]
    return revision, list(_examine(path, revision))


def _examine(path: Path, revision: Revision) -> Iterator[Finding]:
    accounts = revision.config.accounts()
    enabled = [name for name, account in accounts.items() if account.enabled]
    yield Finding("config", Severity.OK, f"{path} is valid: {', '.join(accounts) or 'no account'}")
    if not enabled:
        yield Finding(
            "config", Severity.WARNING, "no account is enabled: nothing is received", "add one below `channels`"
        )
    elif not revision.config.routes:
        yield Finding(
            "config",
            Severity.WARNING,
            "there is no route: no message is answered",
            "add one to `routes`, with a handler",
        )
    mode = path.stat().st_mode
    literal = any(secret.encode() in revision.raw for secret in secrets_of(revision.config))
    if literal and mode & OTHERS:
        yield Finding(
            "config",
            Severity.WARNING,
            f"{path} holds a secret, and its mode is {stat.S_IMODE(mode):04o}: others on this machine can read it",
            f"chmod 600 {path}; or write ${{NAME}} or {{file: ...}} in place of the secret",
        )
    if owner := custody_of(path):
        yield Finding("config", Severity.NOTE, f"{path} is followed and never written: {owner}")
