"""The measurements as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

from tests.bench.reference import (
    ECHO_RATIOS,
    LAG,
    OTHER,
    OURS,
    PAGE_MS,
    RESTART_GAPS,
    RSS_MB,
    SCALE_RATIO,
    START_RATIO,
    THEIRS,
    Figures,
    Span,
)

DASH = "-"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns as wide as they must be; the first to the left, numbers to the right."""
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    texts = [[cell.rjust(width) for cell, width in zip(line, widths, strict=True)] for line in lines]
    for text, line in zip(texts, lines, strict=True):
        text[0] = line[0].ljust(widths[0])
    rule = "  ".join("-" * width for width in widths)
    body = ["  ".join(text) for text in texts]
    return "\n".join([body[0], rule, *body[1:]])


def ms(value: float) -> str:
    """Milliseconds, with a decimal where it says something."""
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def span(value: Span | None) -> str:
    if value is None:
        return DASH
    return f"{value.low:,.0f}" if value.low == value.high else f"{value.low:,.0f}-{value.high:,.0f}"


def times(theirs: Span | None, ours: float) -> str:
    """How many times as long the other one takes."""
    if theirs is None or ours <= 0:
        return DASH
    low, high = theirs.low / ours, theirs.high / ours
    return f"{low:,.0f}x" if low == high else f"{low:,.0f}-{high:,.0f}x"


PARTS = {
    "answer": ("answer_ms", "TIME TO THE ANSWER, ms"),
    "longest": ("longest_ms", "LONGEST TIME WITHOUT A POLL, ms"),
    "total": ("total_ms", "ALL TIME WITHOUT A POLL, ms"),
}
"""The field of `Figures`, where it is in a row, and what its table is called."""


def title(row: dict[str, Any]) -> str:
    return f"{row['change']}, {row['traffic']}"


def part_row(row: dict[str, Any], part: str) -> list[str]:
    found = row[PARTS[part][0]]
    target = getattr(OURS.get((row["change"], row["traffic"]), Figures()), part)
    theirs = getattr(THEIRS.get((row["change"], row["traffic"]), Figures()), part)
    usual = [ms(row["usual_total_ms"])] if part == "total" else []
    measured = [ms(found[each]) for each in ("median", "p95", "most")]
    return [
        title(row),
        str(row["times"]),
        *measured,
        *usual,
        span(target),
        span(theirs),
        times(theirs, found["median"]),
    ]


def part_table(rows: list[dict[str, Any]], part: str) -> str:
    usual = ["usual"] if part == "total" else []
    head = (PARTS[part][1], "n", "median", "p95", "most", *usual, "target", "other", "other / this")
    return table(head, [part_row(row, part) for row in rows])


def count_row(row: dict[str, Any]) -> list[str]:
    keys = ("account_restarts", "overlaps", "conflicts", "pushed", "lost", "doubled")
    return [title(row), *(str(row[key]) for key in keys)]


RELOAD_NOTES = f"""\
RELOAD of one account: idle, and with 20 messages a second coming in and being echoed.
A file edit's answer has in it the 300 ms that the file must be quiet, and up to 5 ms of looking.
Without a poll: from just before the change to 150 ms after the answer. Traffic ends a poll with every message: `no change`
is what that alone leaves, `usual` the same for a window as long. A live patch should add nothing to it.
other: {OTHER}."""


def reloads(rows: list[dict[str, Any]]) -> str:
    head = ("COUNTED", "account restarts", "overlaps", "409s", "pushed", "lost", "doubled")
    tables = [part_table(rows, part) for part in PARTS]
    return "\n\n".join([RELOAD_NOTES, *tables, table(head, map(count_row, rows))])


def idles(rows: list[dict[str, Any]]) -> str:
    keys = ("rss_mb", "pss_mb", "uss_mb", "cpu_s", "seconds", "cpu_percent", "threads")
    head = ("IDLE", "RSS MB", "PSS MB", "USS MB", "CPU s", "in s", "CPU %", "threads")
    gateway, bare = rows
    lines = [[row["program"], *(str(row[key]) for key in keys)] for row in rows]
    ratio = gateway["rss_mb"] / bare["rss_mb"]
    return f"{table(head, lines)}\nRSS ratio {ratio:.2f}; target: below {RSS_MB:.0f} MB"


def start(found: dict[str, Any]) -> str:
    names = {
        "gateway_ms": "gateway",
        "bare_ms": "bare poll loop",
        "gateway_ready_ms": "gateway, to `gateway ready`",
        "gateway_cpu_ms": "gateway, CPU time",
        "bare_cpu_ms": "bare poll loop, CPU time",
    }
    head = ("COLD START to the first getUpdates, ms", "median", "p95", "least", "most")
    rows = [[name, *(ms(found[key][part]) for part in head[1:])] for key, name in names.items()]
    pairs = found["ratio_of_pairs"]
    ratios = f"ratio {found['ratio']:.2f} (of pairs: {pairs['least']:.2f} to {pairs['most']:.2f})"
    last = f"{ratios}, of CPU time {found['cpu_ratio']:.2f}; target {START_RATIO}; {found['pairs']} pairs in turn"
    return f"{table(head, rows)}\n{last}"


def restart(found: dict[str, Any]) -> str:
    names = {
        "longest_ms": "longest gap without a poll",
        "total_ms": "gaps together",
        "ready_ms": "signal to `gateway ready`",
        "stall_ms": "port's longest stall (connect to end of answer)",
        "usual_stall_ms": "the same in the half second before",
    }
    how = {"exec": "by another image", "in_process": "in the process"}[found["mode"]]
    head = (f"RESTART {how}, {found['times']} times, {found['clients']} clients, ms", "median", "p95", "least", "most")
    rows = [[name, *(ms(found[key][part]) for part in head[1:])] for key, name in names.items()]
    counts = f"overlaps {found['overlaps']}, 409s {found['conflicts']}"
    visits = f"{found['visits']} new connections, {found['errors']} errors {' '.join(found['which_errors'])}".rstrip()
    return f"{table(head, rows)}\ntarget for the gap {RESTART_GAPS[found['mode']]:,.0f}; {counts}; {visits}"


SCALE_NOTE = f"""\
From the rename of the file, or from the call, to the account's next poll at the server, and to the answer: the event or the
receipt that says that it runs. Each time the one account and the many were changed in turn. A file edit has in it the
300 ms that the file must be quiet; the last column is without them. target for a file edit: {SCALE_RATIO}."""


def scale(rows: list[dict[str, Any]]) -> str:
    head = (
        f"ONE OF {rows[0]['accounts']:,} ACCOUNTS, ms",
        "n",
        "only one",
        "p95",
        "of many",
        "p95",
        "ratio",
        "work's ratio",
    )
    lines = [scale_row(row, what) for row in rows for what in ("poll_ms", "answer_ms")]
    counts = f"polls of the others that were broken off {rows[0]['interrupted']}, overlaps {rows[0]['overlaps']}"
    return f"{table(head, lines)}\n{counts}\n{SCALE_NOTE}"


def scale_row(row: dict[str, Any], what: str) -> list[str]:
    one, many, quiet = row[f"one_{what}"], row[f"many_{what}"], row["debounce_ms"]
    ratio = many["median"] / one["median"]
    work = (many["median"] - quiet) / (one["median"] - quiet)
    name = f"{row['change']}, to the {'poll' if what == 'poll_ms' else 'answer'}"
    times = [ms(found[part]) for found in (one, many) for part in ("median", "p95")]
    return [name, str(row["times"]), *times, f"{ratio:.2f}", f"{work:.1f}"]


def write(found: dict[str, Any]) -> str:
    names = {
        "answer_ms": "config.patch, to its answer",
        "longest_ping_ms": "longest answer to /healthz meanwhile",
        "quiet_ping_ms": "the same in 0.3 s without a write",
    }
    head = (f"A CONFIG OF {found['bytes']:,} BYTES IS WRITTEN, ms", "median", "p95", "least", "most")
    rows = [[name, *(ms(found[key][part]) for part in head[1:])] for key, name in names.items()]
    return f"{table(head, rows)}\ntarget for the loop, which the longest answer is an upper bound of: {LAG:.0f}; {found['times']} times"


def messages(rows: list[dict[str, Any]]) -> str:
    """Medians of all runs, and what the gateway takes beside the bare loop."""
    programs = {row["program"]: [each for each in rows if each["program"] == row["program"]] for row in rows}
    keys = {"per_s": ",.0f", "cpu_ms": ".3f", "p50_ms": ".2f", "p99_ms": ".2f"}
    medians = {name: {key: median(row[key] for row in runs) for key in keys} for name, runs in programs.items()}
    head = ("ECHO, durable and not", "messages a second", "CPU ms each", "p50 ms", "p99 ms")
    lines = [[name, *(format(found[key], form) for key, form in keys.items())] for name, found in medians.items()]
    ours, bare = medians.values()
    lines.append(["ratio", *(f"{ours[key] / bare[key]:.2f}" for key in keys)])
    lines.append(["target", *(f"{target:.2f}" for target in ECHO_RATIOS)])
    note = f"a burst over many chats, then 50 a second evenly; medians of {len(rows) // 2} runs each, in turn"
    return f"{table(head, lines)}\n{note}"


def page(found: dict[str, Any]) -> str:
    if "skipped" in found:
        return f"THE PAGE was not measured: {found['skipped']}"
    names = {
        "gateway_ms": "gateway, signed in, its accounts shown",
        "bare_ms": "bare page, one frame of a socket shown",
    }
    head = ("THE PAGE from its first byte, ms", "median", "p95", "least", "most")
    rows = [[name, *(ms(found[key][part]) for part in head[1:])] for key, name in names.items()]
    last = f"ratio {found['ratio']:.2f}; target for the gateway {PAGE_MS:.0f}; {found['pairs']} pairs in turn, nothing in a cache"
    return f"{table(head, rows)}\n{last}"


def about(found: dict[str, Any]) -> str:
    load = " -> ".join(f"{each:.2f}" for each in found["load"])
    note = "" if max(found["load"]) < found["cpus"] else "  (busy: other work takes time from what is measured)"
    return f"{found['python']}, {found['cpus']} CPUs, {found['took_s']:.0f} s, load before -> after {load}{note}"


def whole(results: dict[str, Any]) -> str:
    return "\n\n".join([
        reloads(results["reload"]), idles(results["idle"]), start(results["start"]), *map(restart, results["restart"]),
        messages(results["messages"]), scale(results["scale"]), write(results["writes"]), page(results["page"]),
        about(results["about"]),
    ])  # fmt: skip
