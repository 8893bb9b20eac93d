"""The configs that must not be confused: accepted (valid, newest), waiting (needs a restart), applied (what runs).

The one on disk is whatever the file holds: its hash is taken when it is read. Plans are made against *applied*,
and *applied* moves on commit only.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.config.file import Revision, revision_of
from gateway.config.model import Config
from gateway.config.plan import Plan, graft, make_plan
from statemachine.lifecycle_events import Impact


@dataclass(frozen=True)
class Proposal:
    """What becoming of a revision means now. `target` is what runs afterwards, and `identity` names it.

    `impact` is what the whole of it needs. `complete` is False for an overlay: a part that can be applied now of a revision that needs a restart.
    """

    revision: Revision
    base: str
    whole: Plan
    impact: Impact
    plan: Plan
    target: Config
    identity: str
    complete: bool


class Ledger:
    """Holds the configs. It decides nothing: the lifecycle says when a proposal is carried out."""

    def __init__(self, first: Revision) -> None:
        self.accepted = first
        self.applied = first.config
        self.applied_id = first.id
        self.waiting: Config | None = None
        self.astray = False
        """A reload broke off: what ran before counts as what runs, and accounts may run with what it wanted."""
        self._proposals: dict[str, Proposal] = {}
        self._before: tuple[str, Config, str] | None = None
        """What ran before the revision that is, or was last, carried out."""

    def propose(self, revision: Revision) -> Proposal:
        """Accept a revision: plan it against what runs now, and remember the plan until its outcome is noted."""
        self.accepted = revision
        proposal = self._proposals[revision.id] = self.plan(revision)
        return proposal

    def plan(self, revision: Revision) -> Proposal:
        """The same, and nothing is remembered: for who only wants to know."""
        whole = make_plan(self.applied, revision.config)
        # Even what differs in nothing has accounts to bring back then: it is no change of nothing.
        impact = max(whole.impact, Impact.CHANNEL) if self.astray else whole.impact
        proposal = Proposal(
            revision, self.applied_id, whole, impact, whole, revision.config, revision.id, complete=True
        )
        if whole.impact is Impact.GATEWAY and self.waiting is not None:
            return self._overlay(revision, whole, self.waiting) or proposal
        return proposal

    def _overlay(self, revision: Revision, whole: Plan, waiting: Config) -> Proposal | None:
        """What this revision changes beside the one that waits for a restart, if that much can be applied now."""
        delta = make_plan(waiting, revision.config)
        if delta.impact not in (Impact.LIVE, Impact.CHANNEL):
            return None
        try:
            target = graft(self.applied, revision.config, [change.path for change in delta.changes])
        except ValueError:
            return None  # it leans on what waits, and so it waits with it
        identity = revision_of(f"{self.applied_id}+{revision.id}".encode())
        plan = make_plan(self.applied, target)
        if plan.impact is Impact.NONE and not self.astray:
            return None  # that part runs already: there is nothing to reload, and only the restart is left
        return Proposal(revision, self.applied_id, whole, whole.impact, plan, target, identity, complete=False)

    def proposal(self, revision: str) -> Proposal:
        return self._proposals[revision]

    def find(self, revision: str) -> Proposal | None:
        """The proposal of a revision that is not settled yet."""
        return self._proposals.get(revision)

    def swap(self, config: Config, identity: str) -> None:
        """Let this run from now on."""
        self.applied, self.applied_id = config, identity

    def carry_out(self, proposal: Proposal) -> None:
        """Let the proposal's target run, as far as it goes well."""
        self._before = proposal.revision.id, self.applied, self.applied_id
        self.astray = False
        self.swap(proposal.target, proposal.identity)

    def put_back(self, revision: str) -> None:
        """It did not go well with this revision: what ran before it runs again. Once is enough, twice does no harm."""
        if self._before is not None and self._before[0] == revision:
            _, config, identity = self._before
            self._before = None
            self.astray = True
            self.swap(config, identity)

    def note(self, revision: str, outcome: str) -> None:
        """What the lifecycle said of a revision: one that waits for a restart is remembered, with what it wants."""
        proposal = self._proposals.pop(revision, None)
        self.astray = self.astray and outcome != "applied"
        if outcome == "noop" and proposal is not None:
            self.swap(proposal.revision.config, revision)
        if outcome == "restart_pending" and proposal is not None:
            self.waiting = proposal.revision.config
        elif outcome in ("applied", "noop"):
            self.waiting = None
