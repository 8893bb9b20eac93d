"""A broken promise, told: as a story for a person, and as a test that stays."""

from __future__ import annotations

import re
from typing import TypeVar

from statemachine.explore import Model, Violation

W = TypeVar("W")

TEST = '''\
"""A way to break a promise, found by `{command}`."""

from __future__ import annotations

from statemachine.explore import follow
from statemachine.world import {world}

WAY = (
{way}
)


def test_{name}() -> None:
    assert {promise!r} not in follow({made}, WAY)
'''


def story(model: Model[W], violation: Violation[W]) -> str:
    """The shortest way to a broken promise: a numbered line a move, and under it the world after it."""
    lines = [f"BROKEN: {violation.promise}", "", "  0. it begins", f"     {model.tell(model.start())}"]
    for number, move in enumerate(violation.story, 1):
        lines += [f"{number:>3}. {move.label}", f"     {model.tell(move.after)}"]
    if not (violation.story and violation.promise in violation.story[-1].broken):
        lines += ["", "     and from here on nothing leads to it, however long one waits"]
    return "\n".join(lines)


def as_test(violation: Violation[W], made: str, command: str) -> str:
    """A module of pytest that fails as long as this way breaks the promise. `made` is the model, as an expression."""
    return TEST.format(
        command=command,
        way="\n".join(f"    {move.label!r}," for move in violation.story),
        name=re.sub(r"\W+", "_", violation.promise).strip("_"),
        promise=violation.promise,
        made=made,
        world=made.partition("(")[0],
    )
