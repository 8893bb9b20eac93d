"""The page: each promise with what holds it, then each check with its command and the figure of its last run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from tests.proof.checks import CHECKS

EXPLORED = ("explore, 3 accounts", "explore, 5 accounts", "explore, 1 account, 3 things", "Spin")
CHANGES = ("explore, changes", "simulation", "chaos", "transactions")
HOSTS = ("explore, leases", "explore, hosts", "hosts")
MESSAGES = ("explore, messages", "simulation")
REPLACED = ("explore, exec", "explore, exit", "Spin, exec", "simulation", "chaos", "restarts, real process")
BROUGHT = (*MESSAGES, "webhook, real process")
ALL_ROADS = (*EXPLORED, "simulation", "chaos")


class Promise(NamedTuple):
    """A promise in one sentence, and the checks that hold it."""

    sentence: str
    held_by: tuple[str, ...]


PROMISES = (
    Promise("An account has at most one receiver, at any instant.", (*ALL_ROADS, "founding race", "founding case, real process")),
    Promise("A revision leads to at most one application; one that is known changes nothing.", (*ALL_ROADS, "founding race")),
    Promise("Every accepted request ends in exactly one recorded outcome.", (*ALL_ROADS, "fuzz")),
    Promise("A restart begins only for an open ticket, and closes every ticket that was open when it began.", (*EXPLORED, "simulation")),
    Promise("No change is dropped: what is in the file runs in the end, unless somebody refused or cancelled it.", ALL_ROADS),
    Promise("A stop always arrives, and whatever is under way ends.", ALL_ROADS),
    Promise("Nothing of an older generation, timer or piece of work has an effect.", (*EXPLORED, "simulation", "mutants")),
    Promise("What a person stopped stays stopped.", (*EXPLORED, "simulation")),
    Promise("A receiver that hangs is found and replaced, and a quiet one is not; what ran before its host slept begins anew.", (*EXPLORED, "simulation")),
    Promise("A process is replaced when no receiver of it lives, keeps its port and its locks, and what follows answers whoever asked.", REPLACED),
    Promise("On one machine an account has one receiver among all gateways.", ("explore, exec", "simulation", "restarts, real process")),
    Promise("Of hosts that share an account one receives at a time; one that cannot show that it may receives nothing.", HOSTS),
    Promise("No road starts more sessions than a network allows within a day.", ("session starts",)),
    Promise("Of a change that must be confirmed only what was confirmed stays, and nothing is begun beside it.", CHANGES),
    Promise("What was rolled back does not run again by itself, and no rollback by itself writes into the user's file.", CHANGES),
    Promise("The config file is the old one or the new one, whole, and no write is lost to another.", ("simulation", "writers", "killed writes")),
    Promise("What was confirmed to a network is in the store, and what is in the store is handled, whatever ends the process.", BROUGHT),
    Promise("A reply is sent, dead with a reason, or unknown and shown; none is sent twice unless it says so.", MESSAGES),
    Promise("Within a conversation messages are handled, and replies sent, in the order in which they came.", MESSAGES),
    Promise("A secret is in no output.", ("simulation", "chaos", "fuzz", "redaction", "canaries")),
    Promise("Who has no token gets nothing out of the control plane and nothing done, from this machine's browser neither.", ("holes", "fuzz")),
    Promise("What the journal says happened can be run through the tables again, and leads to the same states.", ("replay",)),
    Promise("Every row of the tables is taken by a test of a running gateway, and every guard is missed when it is gone.", ("rows", "mutants", "planted bugs")),
)  # fmt: skip

HEAD = """\
# Promises

What Gateway promises, what holds each promise, and the figures of the last run. This page is written by the run (`make proof`); nobody edits it.

| promise | held by |
| --- | --- |
"""


def page(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """The page as Markdown. A check that has not been run yet says so."""
    rows = [f"| {promise.sentence} | {', '.join(promise.held_by)} |" for promise in PROMISES]
    checks = []
    for name, check in CHECKS.items():
        last = figures.get(name)
        told = f"{last['figure']} | {last['on']}" if last else "not run yet | "
        checks.append(f"| {name} | `{check.command}` | {told} |")
    table = "\n".join(["| check | command | figure | run on |", "| --- | --- | --- | --- |", *checks])
    return HEAD + "\n".join(rows) + f"\n\n## The checks\n\n{table}\n"
