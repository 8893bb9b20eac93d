"""What can happen next, as options of one Promela loop: each is one indivisible step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

EVENT = (
    "ev_current", "ev_revision", "ev_base", "ev_impact", "ev_overlay", "ev_call", "ev_due", "ev_force", "ev_ticket",
    "ev_ticket_revision", "ev_applied", "ev_complete", "ev_recovered", "ev_much_later", "ev_run", "ev_cause", "ev_slept_long", "ev_person",
)  # fmt: skip
"""What an event says, for the length of one move."""
SCRATCH = (*EVENT, "took", "c", "i", "said", "carried_now", "serves", "misses", "all_revisions", "earlier", "found")
"""Variables that hold for one move only. Each move ends by forgetting them, so that equal worlds are equal states."""


def declarations() -> Iterator[str]:
    yield f"byte {', '.join(SCRATCH)};"
    yield f"inline forget() {{ {'; '.join(f'{name} = 0' for name in SCRATCH)} }}"


@dataclass(frozen=True)
class Move:
    """An option of the loop. Moves of the outside spend a budget in their body; what is owed happens for nothing."""

    label: str
    guard: str
    body: tuple[str, ...]

    def promela(self) -> Iterator[str]:
        yield f"  :: d_step {{ ({self.guard}) ->"
        yield f'      printf("-- {self.label}\\n");'
        for statement in self.body:
            yield f"      {statement};"
        yield "      forget() }"
