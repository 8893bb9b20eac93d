"""What the API says of the gateway and its accounts, as lines for people: aligned, the important first."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from gateway.cli.change_text import SHORT, Json, moment

UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def status(answer: Json) -> str:
    """Where the gateway is, what waits, what is wrong and what mends it, and its accounts."""
    return "\n".join([
        f"{answer['name']} is {answer['state']} for {ago(answer['since'], answer['now'])}"
        f" (pid {answer['process']['pid']}, up {ago(answer['boot_at'], answer['now'])}, {answer['restarts']} restarts, by {answer['restart']['by']})",
        *_config(answer["config"]),
        *(f"a restart is due in {ticket['due_in_ms'] / 1000:.1f} s: {_ticket(ticket)}" for ticket in answer["tickets"]),
        *(line for reason in answer["degraded"] for line in _reason(reason)),
        *_pending(answer["pending"]),
        "",
        accounts(answer["accounts"], answer["now"]),
    ])  # fmt: skip


def _config(config: Json) -> Iterator[str]:
    yield f"config {config['path']}, revision {config['applied'][:SHORT]}"
    if config["drift"]:
        yield f"the file is another one: {config['on_disk'][:SHORT]} is not what runs"
    if config["window"] is not None:
        until = moment(config["window"]["confirm_by"])
        yield f"revision {config['window']['revision'][:SHORT]} waits to be confirmed by {until}: gateway confirm"


def _ticket(ticket: Json) -> str:
    why = f", {ticket['reason']}" if ticket["reason"] else ""
    return f"{ticket['id']} ({ticket['requester']}{why})"


def _reason(reason: Json) -> Iterator[str]:
    yield f"degraded: {reason['reason']}: {reason['detail']}"
    yield f"  -> {reason['remedy']}"


def _pending(pending: Json) -> Iterator[str]:
    words = [
        f"{pending[key]} {text}" for key, text in (("messages", "in work"), ("outbox", "to be sent")) if pending[key]
    ]
    if words:
        yield f"messages: {', '.join(words)}"


def accounts(rows: list[Json], now: int) -> str:
    """A line each: name, state, generation, when something was received last, and what is wrong."""
    if not rows:
        return "no accounts"
    names = [f"{row['channel']}/{row['account']}" for row in rows]
    width = max(map(len, names))
    return "\n".join(
        f"{name:<{width}}  {row['state']:<12}  generation {row['generation']:<4}  {_received(row, now)}{_wrong(row)}"
        f"{_webhook(row, now)}".rstrip()
        for name, row in zip(names, rows, strict=True)
    )


def _received(row: Json, now: int) -> str:
    last = row["last_receive_ms"]
    return "" if last is None else f"received {ago(last, now)} ago"


def _wrong(row: Json) -> str:
    if row["held"]:
        return "  stopped by a person"
    return f"  {row['error']}" if row["error"] else ""


def _webhook(row: Json, now: int) -> str:
    """What its network last said against the webhook, and when: that is remembered for ever."""
    hook = row.get("webhook")
    return f"  webhook: {hook['error']}, {ago(hook['error_at'], now)} ago" if hook and hook["error"] else ""


def account(answer: Json) -> str:
    """What became of a person's wish for one account."""
    name = f"{answer['channel']}/{answer['account']}"
    return f"{name} is {answer['state']}, generation {answer['generation']}{_wrong(answer)}"


def restart(answer: Json) -> str:
    """The ticket of a restart that was asked for."""
    joined = f"; it joins {answer['joined']}" if answer["joined"] else ""
    return f"{answer['id']}: the gateway restarts in {answer['due_in_ms'] / 1000:.1f} s{joined}"


def entry(row: Json) -> str:
    """One step or refusal of the journal."""
    if row["kind"] == "refusal":
        moved = f"refused in {row['before']}"
    else:
        moved = row["before"] if row["before"] == row["after"] else f"{row['before']} -> {row['after']}"
    why = f"  ({row['why']})" if row["why"] else ""
    return f"{row['seq']:>7}  {_time(row['at'])}  {row['machine']:<20}  {row['trigger']:<20}  {moved}{why}"


def ago(then: int | None, now: int) -> str:
    """How long it is since then, in its largest unit; both in milliseconds."""
    if then is None:
        return "ever"
    seconds = max(0, now - then) / 1000
    return next((f"{seconds / size:.0f} {unit}" for size, unit in UNITS if seconds >= size), f"{seconds:.0f} s")


def _time(milliseconds: int) -> str:
    """To the millisecond: steps of machines follow each other closely."""
    return (
        datetime.fromtimestamp(milliseconds / 1000, UTC).astimezone().isoformat(sep=" ", timespec="milliseconds")[:23]
    )
