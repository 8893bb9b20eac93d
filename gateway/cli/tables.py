"""What the API says, as tables for a terminal. `status_text` and `change_text` have the same as lines for a pipe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gateway.cli import change_text, status_text
from gateway.cli.change_text import NEEDS, SHORT, Json, change, count, moment
from gateway.cli.status_text import ago
from gateway.cli.terminal import SOFT, TONES, plain, toned

SHOWN = 200
"""Characters of a text that a row shows."""


def table(*columns: str) -> Table:
    """Headings, no frame. A heading that begins with `>` is of numbers; where there is no room, those with `~` are folded."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False)
    for heading in columns:
        made.add_column(
            heading.lstrip(">~"),
            justify="right" if heading.startswith(">") else "left",
            no_wrap=not heading.startswith("~"),
            overflow="fold",
        )
    return made


def status(answer: Json, queues: Mapping[str, int], trouble: str = "") -> RenderableType:
    """Everything of `status`: the lifecycle, what waits, what is wrong and what mends it, and the accounts."""
    now = answer["now"]
    head = Text.assemble(
        plain(answer["name"], "bold"), "  ", toned(answer["state"]), f" for {ago(answer['since'], now)}"
    )
    process = (
        f"pid {answer['process']['pid']}, up {ago(answer['boot_at'], now)},"
        f" {answer['restarts']} restarts, by {answer['restart']['by']}"
    )
    lines: list[RenderableType] = [head, plain(process, SOFT)]
    config, *wrong = status_text.config(answer)
    lines += [plain(config, SOFT)]
    lines += [toned("", "warn", line) for line in (*wrong, *_left(answer), *status_text.tickets(answer))]
    for reason in answer["degraded"]:
        lines += [toned("", "bad", f"{reason['reason']}: {reason['detail']}"), plain(f"  → {reason['remedy']}")]
    lines += map(plain, status_text.pending(answer["pending"]))
    lines += [toned(each["circuit"], said=f"handler {each['handler']}: its circuit is {each['circuit']}")
              for each in answer["handlers"] if each["circuit"] != "closed"]  # fmt: skip
    lines += [toned("", "bad", trouble)] if trouble else []
    return Group(*lines, "", accounts(answer["accounts"], now, queues))


def _left(answer: Json) -> Iterator[str]:
    """The countdown of a change that waits to be confirmed."""
    window = answer["config"]["window"]
    if window is not None and window["confirm_by"] is not None:
        yield f"{max(0, window['confirm_by'] - answer['now']) / 1000:.0f} s are left to confirm it, or it is undone"


def accounts(rows: list[Json], now: int, queues: Mapping[str, int] | None = None) -> RenderableType:
    """A row for each account, and below them what is to be said of one at length."""
    if not rows:
        return plain("no accounts")
    shared = any(map(status_text.lease, rows))
    more = [*(["lease"] if shared else []), *([] if queues is None else [">queue"])]
    shown = table("~account", "state", ">since", ">generation", ">received", *more)
    for row in rows:
        name, last = f"{row['channel']}/{row['account']}", row["last_receive_ms"]
        lease = [toned(said) if (said := status_text.lease(row)) else plain("")] if shared else []
        queue = [] if queues is None else [str(queues.get(name, 0))]
        shown.add_row(
            plain(name), toned(row["state"]), ago(row["since"], now) if row["since"] else "", str(row["generation"]),
            "" if last is None else f"{ago(last, now)} ago", *lease, *queue,
        )  # fmt: skip
    return Group(shown, *_notes(rows, now))


def account(answer: Json) -> Text:
    """What became of a person's wish for one account."""
    return toned(answer["state"], said=status_text.account(answer))


def outcome(request: Json) -> Text:
    """What became of a request."""
    return toned(request["outcome"], said=status_text.outcome(request))


def _notes(rows: list[Json], now: int) -> Iterator[Text]:
    for row in rows:
        if said := status_text.wrong(row, now):
            tone = TONES.get(row["state"], "calm")
            # An account may run, and its network complain all the same.
            yield toned("", "warn" if tone == "good" else tone, f"{row['channel']}/{row['account']}: {said}")


def entry(row: Json) -> Table:
    """One step or refusal of the journal, coloured by where it leads."""
    refused = row["kind"] == "refusal"
    after = toned("refused", said=f"refused in {row['before']}") if refused else toned(row["after"])
    before = "" if refused or row["before"] == row["after"] else f"{row['before']} → "
    shown = Table.grid(padding=(0, 2))
    # What does not fit on a line goes on below itself, and not below the number.
    shown.add_column(width=7, justify="right")
    shown.add_column(width=12)
    shown.add_column(overflow="fold")
    why = plain(f"  ({row['why']})" if row["why"] else "", SOFT)
    said = Text.assemble(plain(f"{row['machine']} ", "bold"), plain(f"{row['trigger']}  "), plain(before), after, why)
    shown.add_row(plain(row["seq"], SOFT), plain(status_text.clock(row["at"])[11:], SOFT), said)
    return shown


def plan(answer: Json) -> RenderableType:
    """A plan: the changes as a table, and what would follow."""
    if not answer["changed_paths"]:
        return toned("", "good", "no changes")
    follows = [plain(f"fires {each['trigger']} at {each['machine']}: {each['why']}") for each in answer["triggers"]]
    return Group(
        changes(answer["changes"]),
        *(toned("", "busy", f"{name}: {action}") for name, action in answer["accounts"].items()),
        *follows,
        *(toned("", "warn", f"warning: {each['message']}") for each in answer["warnings"]),
        plain(
            f"plan {answer['plan_id']}: {count(answer['changes'])}, class {answer['class']}; {NEEDS[answer['needs']]}"
        ),
    )


def changes(rows: Iterable[Json]) -> Table:
    """What is different, a row a key."""
    shown = table("~key", "~old", "~new", "class")
    for row in rows:
        path, old, new, kind = change(row)
        shown.add_row(plain(path), plain(old, "red"), plain(new, "green"), plain(kind))
    return shown


def receipt(answer: Json) -> RenderableType:
    """What became of a write; the last line says whether it runs."""
    *before, last = change_text.receipt(answer).split("\n")
    return Group(*map(plain, before), toned(answer["outcome"], said=last))


def decision(answer: Json) -> Text:
    """What became of a change that was confirmed, cancelled or given more time."""
    return toned(answer["outcome"], said=change_text.decision(answer))


def history(entries: list[Json]) -> RenderableType:
    """The newest first."""
    if not entries:
        return plain("the history is empty")
    shown = table(">entry", "when", "revision", "outcome", "~who, why and what")
    for each in entries:
        paths = ", ".join(each["changed_paths"][:3]) + (", ..." if len(each["changed_paths"]) > 3 else "")
        note = plain(f'"{each["note"]}" ' if each["note"] else "", "italic")
        shown.add_row(
            str(each["number"]), plain(moment(each["at"])[:16].replace("T", " ")), plain(each["revision"][:SHORT]),
            toned(each["outcome"]), plain(f"{each['requester']}, by {each['road']} ") + note + plain(paths),
        )  # fmt: skip
    return shown


def entry_of_history(answer: Json) -> RenderableType:
    """One entry, and what it changed."""
    head, *rest = change_text.entry_head(answer)
    return Group(
        toned(answer["outcome"], said=head),
        *map(plain, rest),
        *([changes(answer["changes"])] if answer["changes"] else []),
    )


def outbox(rows: Iterable[Json]) -> Table:
    """Messages that go out, the oldest first; their texts are of anybody."""
    shown = table(">id", "state", "~to", "~text")
    for row in rows:
        place = f"{row['channel']}/{row['account']}/{row['conversation']}"
        why = plain(f"  ({row['why']})" if row["why"] else "", SOFT)
        text = " ".join(row["text"].split())
        text = text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
        shown.add_row(str(row["id"]), toned(row["state"]), plain(place), plain(text) + why)
    return shown


def finding(severity: str, check: str, message: str, remedy: str) -> RenderableType:
    """What a look of the doctor has found, and what mends it."""
    row = Table.grid(padding=(0, 1))
    row.add_column(width=9)
    row.add_column(width=8)
    row.add_column(overflow="fold")
    row.add_row(toned(severity), plain(check, "bold"), plain(message))
    if remedy:
        row.add_row("", "", plain(f"→ {remedy}"))
    return row


def queues(deliveries: Iterable[Json]) -> Counter[str]:
    """How many messages wait to go out by each account."""
    return Counter(f"{row['channel']}/{row['account']}" for row in deliveries)
