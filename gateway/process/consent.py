"""What the writer of a change has seen of what it changes: its plan, and what has moved since."""

from __future__ import annotations

from gateway.config import file
from gateway.config.file import MISSING, Reader, Revision
from gateway.config.history import History
from gateway.config.plan import make_plan, plan_id
from gateway.errors import ConfigError, GatewayError, Issue, StalePlanError
from gateway.process.pending import Write

WORTH_ASKING = 512
"""Bytes of a file of which nobody drops most without having seen the plan."""


def check_consent(write: Write, old: bytes | None, revision: Revision, reader: Reader, applied: str) -> None:
    """Blocks. Who has seen the plan may do what it says, and nothing else; who has not may not drop most of the file.

    A file that is not valid is mended by whatever is. Raises StalePlanError, or ConfigError.
    """
    before, after = len(old or b""), len(revision.raw)
    if write.plan is not None:
        current = plan_id(applied, MISSING if old is None else file.revision_of(old), revision.id)
        if write.plan != current:
            raise StalePlanError(current)
    elif not write.insists and before >= WORTH_ASKING and after < before / 2 and _is_valid(old or b"", reader):
        text = f"it would leave {after:,} of {before:,} bytes; look at its plan, and send the plan's id"
        raise ConfigError([Issue("", f"{text} with the write (plan_id, planId) if that is meant")], revision.id)


def _is_valid(raw: bytes, reader: Reader) -> bool:
    try:
        reader.load(raw)
    except ConfigError:
        return False
    return True


def moved_since(base: str | None, old: bytes | None, reader: Reader, history: History) -> list[str] | None:
    """Blocks. The paths that differ from what the writer saw, where that is still known."""
    if base is None or old is None:
        return None
    try:
        then, now = reader.load(history.raw(base)), reader.load(old)
    except GatewayError:
        return None
    return make_plan(then.config, now.config).paths
