"""What the API says of the gateway and its accounts, as lines for people: aligned, the important first."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from gateway.cli.change_text import SHORT, Json, moment

UNDER_WAY = frozenset({"starting", "stopping", "stop_overdue"})
"""States in which an account does not stay."""
UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def status(answer: Json) -> str:
    """Where the gateway is, what waits, what is wrong and what mends it, and its accounts."""
    return "\n".join([
        f"{answer['name']} is {answer['state']} for {ago(answer['since'], answer['now'])}"
        f" (pid {answer['process']['pid']}, up {ago(answer['boot_at'], answer['now'])}, {answer['restarts']} restarts, by {answer['restart']['by']})",
        *config(answer),
        *tickets(answer),
        *(line for reason in answer["degraded"] for line in _reason(reason)),
        *pending(answer["pending"]),
        "",
        accounts(answer["accounts"], answer["now"]),
    ])  # fmt: skip


def config(answer: Json) -> Iterator[str]:
    """Which config runs; and where the file is another one, or one waits to be confirmed, that too."""
    said = answer["config"]
    yield f"config {said['path']}, revision {said['applied'][:SHORT]}"
    if said["drift"]:
        yield f"the file is another one: {said['on_disk'][:SHORT]} is not what runs"
    if said["window"] is not None:
        yield f"revision {said['window']['revision'][:SHORT]} waits to be confirmed{_until(said)}: gateway confirm"


def _until(said: Json) -> str:
    """Of one that does not run yet the time has not begun."""
    end = said["window"]["confirm_by"]
    return "" if end is None else f" by {moment(end)}"


def tickets(answer: Json) -> Iterator[str]:
    """The restarts that are pending."""
    for ticket in answer["tickets"]:
        yield f"a restart is due in {ticket['due_in_ms'] / 1000:.1f} s: {_ticket(ticket)}"


def _ticket(ticket: Json) -> str:
    why = f", {ticket['reason']}" if ticket["reason"] else ""
    return f"{ticket['id']} ({ticket['requester']}{why})"


def _reason(reason: Json) -> Iterator[str]:
    yield f"degraded: {reason['reason']}: {reason['detail']}"
    yield f"  -> {reason['remedy']}"


def pending(waiting: Json) -> Iterator[str]:
    """How many messages are under way."""
    words = [
        f"{waiting[key]} {text}" for key, text in (("messages", "in work"), ("outbox", "to be sent")) if waiting[key]
    ]
    if words:
        yield f"messages: {', '.join(words)}"


def holds_up(answer: Json) -> str:
    """What a restart that was asked for waits for."""
    due = min((ticket["due_in_ms"] for ticket in answer["tickets"]), default=0) / 1000
    if answer["waiting"] == "idle":
        return f"{answer['pending']['messages']} messages are in work"
    if answer["waiting"] == "cooldown":
        return f"due in {due:.0f} s, for it has restarted lately"
    return f"due in {due:.0f} s" if answer["tickets"] else str(answer["state"])


def unsettled(answer: Json) -> str:
    """What a change waits for: the accounts that are on their way, or else what the gateway does."""
    under_way = [
        f"{row['channel']}/{row['account']} is {row['state']}"
        for row in answer["accounts"]
        if row["state"] in UNDER_WAY
    ]
    return ", ".join(under_way) or f"the gateway is {answer['state']}"


def moved(before: Json, after: Json) -> Iterator[str]:
    """What is different from one look to the next, a line each; times that merely go by are not."""
    if after["boot"] != before["boot"]:
        yield f"{after['name']} has restarted, with pid {after['process']['pid']}"
    if after["state"] != before["state"]:
        yield f"{after['name']} is {after['state']}"
    if _told(before) != _told(after):
        yield from config(after)
    known = {ticket["id"] for ticket in before["tickets"]}
    yield from tickets({"tickets": [ticket for ticket in after["tickets"] if ticket["id"] not in known]})
    for ticket in known - {ticket["id"] for ticket in after["tickets"]}:
        yield f"{ticket} is pending no more"
    for reason in after["degraded"]:
        if reason not in before["degraded"]:
            yield from _reason(reason)
    for reason in before["degraded"]:
        if reason not in after["degraded"]:
            yield f"degraded no more: {reason['reason']}: {reason['detail']}"
    yield from _moved_accounts(before["accounts"], after["accounts"])


def _told(answer: Json) -> tuple[object, ...]:
    said = answer["config"]
    return said["path"], said["applied"], said["drift"] and said["on_disk"], said["window"]


def _moved_accounts(before: list[Json], after: list[Json]) -> Iterator[str]:
    old, new = ({f"{row['channel']}/{row['account']}": account(row) for row in rows} for rows in (before, after))
    yield from (line for name, line in new.items() if old.get(name) != line)
    yield from (f"{name} is gone" for name in old if name not in new)


def accounts(rows: list[Json], now: int) -> str:
    """A line each: name, state, generation, when something was received last, its lease if it has one, and what is wrong."""
    if not rows:
        return "no accounts"
    names = [f"{row['channel']}/{row['account']}" for row in rows]
    width = max(map(len, names))
    return "\n".join(
        f"{name:<{width}}  {row['state']:<12}  generation {row['generation']:<4}  {_received(row, now)}{_said(_lease(row))}{_said(wrong(row, now))}".rstrip()
        for name, row in zip(names, rows, strict=True)
    )


def _received(row: Json, now: int) -> str:
    last = row["last_receive_ms"]
    return "" if last is None else f"received {ago(last, now)} ago"


def lease(row: Json) -> str:
    """The state of its lease; "" where it is shared with no other host."""
    shared = row.get("lease")
    return "" if shared is None else str(shared["state"])


def _lease(row: Json) -> str:
    state = lease(row)
    return f"lease {state}" if state else ""


def _said(words: str) -> str:
    return f"  {words}" if words else ""


def wrong(row: Json, now: int | None = None) -> str:
    """What is to be said of an account; with the time of now what its network last said against the webhook, too.

    That is remembered for ever, and so it is told how long ago it was.
    """
    words = ["stopped by a person"] if row["held"] else [row["error"]] if row["error"] else []
    shared = row.get("lease")
    # Who waits for it has the same words as its error; who holds it may be about to lose it, or was not heard as it gave it up.
    if shared and shared["why"] not in ("", row["error"]):
        words.append(f"lease: {shared['why']}")
    hook = row.get("webhook")
    if now is not None and hook and hook["error"]:
        words.append(f"webhook: {hook['error']}, {ago(hook['error_at'], now)} ago")
    return "  ".join(words)


def account(answer: Json) -> str:
    """What became of a person's wish for one account."""
    name = f"{answer['channel']}/{answer['account']}"
    return f"{name} is {answer['state']}, generation {answer['generation']}{_said(wrong(answer))}"


def restart(answer: Json) -> str:
    """The ticket of a restart that was asked for."""
    joined = f"; it joins {answer['joined']}" if answer["joined"] else ""
    return f"{answer['id']}: the gateway restarts in {answer['due_in_ms'] / 1000:.1f} s{joined}"


def outcome(request: Json) -> str:
    """What became of a request."""
    return f"{request['id']} is {request['outcome']}{': ' + request['why'] if request['why'] else ''}"


def entry(row: Json) -> str:
    """One step or refusal of the journal."""
    if row["kind"] == "refusal":
        moved = f"refused in {row['before']}"
    else:
        moved = row["before"] if row["before"] == row["after"] else f"{row['before']} -> {row['after']}"
    why = f"  ({row['why']})" if row["why"] else ""
    return f"{row['seq']:>7}  {clock(row['at'])}  {row['machine']:<20}  {row['trigger']:<20}  {moved}{why}"


def ago(then: int | None, now: int) -> str:
    """How long it is since then, in its largest unit; both in milliseconds."""
    if then is None:
        return "ever"
    seconds = max(0, now - then) / 1000
    return next((f"{seconds / size:.0f} {unit}" for size, unit in UNITS if seconds >= size), f"{seconds:.0f} s")


def clock(milliseconds: int) -> str:
    """To the millisecond: steps of machines follow each other closely."""
    return (
        datetime.fromtimestamp(milliseconds / 1000, UTC).astimezone().isoformat(sep=" ", timespec="milliseconds")[:23]
    )
