"""How a run is told: a line every few seconds, a table at the end, and the same as JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

from tests.chaos.world import World


def progress(world: World) -> str:
    record, lag = world.record, world.lag
    polls, overlaps, own = _polls(world)
    return (
        f"{sum(record.doings.values())} doings, {sum(record.faults.values())} faults, "
        f"{record.counts['processes']} processes, {record.counts['gateway restarting']} restarts, {polls} polls, "
        f"{overlaps} overlaps, {own} own 409s, {record.violated} violations, lag {lag.worst * 1000:.0f} ms"
    )


def _polls(world: World) -> tuple[int, int, int]:
    stats = [bot.stats for bot in world.bots.values()]
    return sum(s.polls for s in stats), sum(s.overlaps for s in stats), sum(s.conflicts_self for s in stats)


def summary(world: World) -> dict[str, Any]:
    """The whole of it, as JSON."""
    record, lag = world.record, world.lag
    polls, overlaps, own = _polls(world)
    return {
        "seed": record.seed,
        "minutes": round(record.seconds / 60, 2),
        "disk": world.disk.kind,
        "permissions": "taken away" if world.obeys else "left out: it would not obey them here",
        "doings": dict(record.doings.most_common()),
        "faults": dict(record.faults.most_common()),
        "processes": record.counts["processes"],
        "restarts": record.counts["gateway restarting"],
        "hot_reloads": record.counts["gateway hot_reloading"],
        "generations": record.counts["channel starting"],
        "counts": dict(sorted(record.counts.items())),
        "polls": polls,
        "overlaps": overlaps,
        "own_409s": own,
        "foreign_409s": sum(bot.stats.conflicts_foreign for bot in world.bots.values()),
        "replies": sum(bot.stats.send_count for bot in world.bots.values()),
        "calls": dict(record.calls.most_common()),
        "writes": dict(record.writes.most_common()),
        "requests": dict(record.requests.most_common()),
        "log": dict(record.log.most_common()),
        "rests": [asdict(rest) for rest in record.rests],
        "lag": {"worst_ms": round(lag.worst * 1000), "stalls": lag.stalls, "stalled_s": round(lag.stalled, 2)},
        "violated": record.violated,
        "violations": [asdict(violation) for violation in record.violations],
    }


def table(world: World) -> str:
    """The same for people."""
    told = summary(world)
    lines = [f"{'seed':24} {told['seed']}"]
    lines += [f"{name.replace('_', ' '):24} {told[name]}" for name in ("minutes", "disk", "permissions")]
    for name in ("processes", "restarts", "hot_reloads", "generations", "polls", "replies", "foreign_409s"):
        lines.append(f"{name.replace('_', ' '):24} {told[name]}")
    lines += [f"{'overlaps':24} {told['overlaps']}", f"{'own 409s':24} {told['own_409s']}"]
    lag = told["lag"]
    lines.append(
        f"{'referee lag':24} worst {lag['worst_ms']} ms, {lag['stalls']} stalls of {lag['stalled_s']} s in all"
    )
    for name in ("doings", "faults", "calls", "writes", "requests", "log", "counts"):
        lines += ["", name, *_column(Counter(told[name]))]
    lines += ["", "at rest     process  after s   fds (first)  threads (first)  tasks (first)  RSS kB (first)"]
    for rest in world.record.rests:
        found, base = rest.found, rest.baseline
        lines.append(
            f"{rest.at:9.0f} s  {rest.pid:7}  {rest.seconds:7.1f}   {found.fds:3} ({base.fds})      {found.threads:3} ({base.threads})"
            f"          {found.tasks:3} ({base.tasks})        {found.rss_kb} ({base.rss_kb})"
        )
    return "\n".join([*lines, "", f"{told['violated']} violations"])


def _column(counts: Counter[str]) -> list[str]:
    return [f"  {count:8}  {name}" for name, count in counts.most_common()]


def violations(world: World) -> str:
    """Each violation with what had been done before it."""
    blocks = []
    for violation in world.record.violations:
        around = "\n".join(f"    {line}" for line in violation.around)
        blocks.append(f"at {violation.at} s: {violation.what}\n{around}")
    return "\n\n".join(blocks)
