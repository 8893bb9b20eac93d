"""What the API says of changes, as lines for people: no tables that a script would have to take apart, which `--json` is for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]

SHORT = 12
"""Characters of a revision that are enough to name it."""
NEEDS = {"nothing": "nothing has to happen for it", "reload": "it is reloaded", "restart": "the gateway restarts"}


def plan(answer: Json) -> str:
    """A plan, with the id by which it can be applied."""
    if not answer["changed_paths"]:
        return "no changes"
    return "\n".join([
        *map(_change, answer["changes"]),
        *(f"{name}: {action}" for name, action in answer["accounts"].items()),
        *(f"fires {each['trigger']} at {each['machine']}: {each['why']}" for each in answer["triggers"]),
        *(f"warning: {each['message']}" for each in answer["warnings"]),
        f"plan {answer['plan_id']}: {count(answer['changes'])}, class {answer['class']}; {NEEDS[answer['needs']]}",
    ])  # fmt: skip


def change(found: Json) -> tuple[str, str, str, str]:
    """A key with its old and its new value as JSON, and what its change needs."""
    old, new = (json.dumps(found[side], ensure_ascii=False) for side in ("old", "new"))
    return found["path"], old, new, found["class"]


def _change(found: Json) -> str:
    path, old, new, kind = change(found)
    return f"{path}: {old} -> {new} ({kind})"


def count(changes: list[Json]) -> str:
    """How many."""
    return "1 change" if len(changes) == 1 else f"{len(changes)} changes"


def receipt(answer: Json) -> str:
    """What became of a write."""
    return "\n".join([
        *(f"changed {path}" for path in answer["changed_paths"]),
        *(_account(name, result) for name, result in answer["plan"]["accounts"].items()),
        f"{answer['outcome']}: revision {answer['revision'][:SHORT]}{''.join(_end(answer))}",
    ])  # fmt: skip


def _account(name: str, result: Any) -> str:
    if not isinstance(result, dict):
        return f"{name}: {result}"
    error = f" ({result['error']})" if result.get("error") else ""
    return f"{name}: {result['action']}, now {result['state']} in generation {result['generation']}{error}"


def _end(answer: Json) -> Iterator[str]:
    if answer["stage"]:
        yield f", at the stage {answer['stage']}"
    if answer["why"]:
        yield f": {answer['why']}"
    if answer["confirm_by"] is not None:
        yield f"; confirm it by {moment(answer['confirm_by'])} with: gateway confirm"
    if answer["restart"] is not None:
        yield f"; a restart is due in {answer['restart']['due_in_ms'] / 1000:g} s ({answer['restart']['id']})"


def history(entries: list[Json]) -> str:
    """The newest first, a line each."""
    return "\n".join(map(_line, entries)) if entries else "the history is empty"


def _line(entry: Json) -> str:
    paths = ", ".join(entry["changed_paths"][:3]) + (", ..." if len(entry["changed_paths"]) > 3 else "")
    words = (
        str(entry["number"]), moment(entry["at"]), entry["revision"][:SHORT], _outcome(entry), entry["requester"],
        f"by {entry['road']}", f'"{entry["note"]}"' if entry["note"] else "", paths,
    )  # fmt: skip
    return "  ".join(word for word in words if word)


def _outcome(entry: Json) -> str:
    return str(entry["outcome"]) + (f" at {entry['stage']}" if entry["stage"] else "")


def entry(answer: Json) -> str:
    """One entry, and what it changed."""
    return "\n".join([*entry_head(answer), *map(_change, answer["changes"] or ())])


def entry_head(answer: Json) -> list[str]:
    """One entry, without the changes themselves."""
    lines = [_line(answer)]
    lines += [f"why: {answer['why']}"] if answer["why"] else []
    lines += map(issue, answer["issues"])
    if answer["changes"] is not None:
        against = answer["against"][:SHORT] if answer["against"] else "nothing"
        lines.append(f"against {against}: {count(answer['changes']) if answer['changes'] else 'no changes'}")
    return lines


def decision(answer: Json) -> str:
    """What became of a change that was confirmed, cancelled or given more time."""
    why = f": {answer['why']}" if answer["why"] else ""
    until = f"; confirm it by {moment(answer['confirm_by'])}" if answer["confirm_by"] is not None else ""
    return f"{answer['outcome']}: revision {answer['revision'][:SHORT]}{why}{until}"


def refusal(message: str, details: Json) -> list[str]:
    """Why a call was refused: each fault of the config, or what the gateway says, and what has changed meanwhile."""
    if details.get("issues"):
        return [*map(issue, details["issues"])]
    lines = [message]
    if "currentHash" in details:
        lines.append(f"the file's hash is now {details['currentHash']}")
    if details.get("changedPaths"):
        lines.append(f"changed meanwhile: {', '.join(details['changedPaths'])}")
    return lines


def issue(found: Json) -> str:
    """A fault of a config, with its place."""
    place = f" (line {found['line']}, column {found['column']})" if found.get("line") is not None else ""
    return f"{found['path'] or 'config'}{place}: {found['message']}"


def moment(milliseconds: int) -> str:
    """A wall-clock time, as it is here."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).astimezone().isoformat(timespec="seconds")
