"""What the gateway's own work, its file, its timers and those who ask may do, told as moves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from statemachine.promela.move import Move

USABLE = range(1, 7)
BAD = 7
REFUSED_STOP = "if :: took == REFUSED -> BREAK_stop_arrives :: else fi"

HELPERS = """\
/* The file is read, and what it says is posted to the machine. */
inline propose(revision, by_call) {
  posted = revision; posted_base = ledger; posted_impact = IMPACT(ledger, revision); posted_identity = revision;
  posted_complete = 1; posted_call = by_call;
  if
  :: posted_impact == IMPACT_ON_GATEWAY && waits_for_restart != 0 && IMPACT(waits_for_restart, revision) == IMPACT_ON_CHANNEL &&
     (EDITED(revision) != EDITED(ledger) || astray) ->
     posted_identity = revision + OVERLAY; posted_complete = 0
  :: posted_impact == NO_IMPACT && astray -> posted_impact = IMPACT_ON_CHANNEL
  :: else
  fi
}

inline read_file() {
  if
  :: disk == BAD -> posted = BAD
  :: else -> propose(disk, ((asked & BIT(disk)) != 0))
  fi
}

inline deliver() {
  ev_revision = posted; ev_base = posted_base; ev_impact = posted_impact; ev_overlay = !posted_complete; ev_call = posted_call;
  ev_due = LATER; ev_force = 0; ev_ticket_revision = posted;
  lifecycle_config_changed();
  if :: took == REFUSED -> asked = asked & (255 - BIT(posted)) :: else fi;
  forget_posted()
}

/* What work does to the accounts. */
inline ask_to_start() {
  c = 0; ev_person = 0;
  do
  :: c < ACCOUNTS ->
     ev_run = SETTINGS(c, ledger);
     if :: ev_run != OFF -> channel_start() :: else fi;
     c++
  :: else -> break
  od
}

inline ask_to_stop() {
  c = 0; ev_person = 0;
  do :: c < ACCOUNTS -> channel_stop(); c++ :: else -> break od
}

inline ask_to_restart() {
  c = 0; ev_person = 0;
  do
  :: c < ACCOUNTS ->
     ev_run = SETTINGS(c, ledger);
     if :: ev_run != OFF -> channel_restart() :: else -> channel_stop() fi;
     c++
  :: else -> break
  od
}

inline carry_out_plan() {
  c = 0; ev_person = 0;
  do
  :: c < ACCOUNTS ->
     ev_run = SETTINGS(c, work_identity); said = SETTINGS(c, ledger); found = (channel_state[c] == CHANNEL_STOPPED);
     if
     :: ev_run == OFF && (said != OFF || !found) -> touched = touched | (1 << c); channel_stop()
     :: ev_run != OFF && (said != ev_run || LEFT_BEHIND(c, ev_run)) -> touched = touched | (1 << c); channel_restart()
     :: else
     fi;
     c++
  :: else -> break
  od;
  before_revision = work_revision; before_identity = ledger; ledger = work_identity; begun = 1; astray = 0
}

inline forget_tickets() {
  i = 0;
  do
  :: i < TICKETS ->
     ticket_at[i] = NOWHERE; ticket_revision[i] = 0; ticket_due[i] = 0; ticket_force[i] = 0; told_open[i] = 0; left_at[i] = NOWHERE; i++
  :: else -> break
  od
}

inline leave_tickets() {
  i = 0;
  do :: i < TICKETS -> left_at[i] = ticket_at[i]; i++ :: else -> break od
}

/* Another image, or another process, is begun. It has what is on disk, and the tickets that the one before has left. */
inline begin_process() {
  known = 0; kept = 0; reviewed = 0; carried = 0; stops_asked = 0; drift = 0; deferred = 0;
  lifecycle_state = INITIAL_LIFECYCLE; applied = 0; ledger = disk; waits_for_restart = 0; astray = 0; before_revision = 0; before_identity = 0;
  asked = 0; excused = 0;
  i = 0;
  do :: i < TICKETS -> ticket_at[i] = NOWHERE; i++ :: else -> break od;
  exit_process();
  ended = (disk == BAD);
  if :: !ended -> ev_revision = disk; lifecycle_boot() :: else -> forget_tickets() fi
}
"""


def moves(accounts: int, tickets: int) -> Iterator[Move]:
    """All that can happen to the process but for what happens to its accounts."""
    found = [*_file(), *_requests(tickets), *_timers(accounts), *_check()]
    works = (*_opening(), *_applying(accounts), *_restarting(accounts), *_replacing(accounts), *_stopping(accounts))
    found += [replace(move, guard=f"!work_hangs && {move.guard}") for move in works]
    found.append(Move("the work hangs", "work != NO_WORK && !work_hangs && budget > 0", ("budget--", "work_hangs = 1")))
    for move in found:
        yield Move(move.label, f"!ended && {move.guard}", (*move.body, "hold_tickets()"))
    killed = ("budget--", "forget_tickets()", "begin_process()")
    yield Move("the process is killed and started again", "!ended && budget > 0", killed)
    left = " || ".join(f"ticket_at[{n}] == SERVED" for n in range(tickets))
    yield Move(
        "whoever supervises it starts another",
        f"ended && ({left})",
        ("leave_tickets()", "begin_process()", "hold_tickets()"),
    )


def _file() -> Iterator[Move]:
    for revision in (*USABLE, BAD):
        yield Move(
            f"somebody saves revision {revision}",
            f"budget > 0 && disk != {revision}",
            ("budget--", f"disk = {revision}", "unread = 1", "excused = 0"),
        )
    for revision in USABLE:
        yield Move(
            f"a call writes revision {revision}",
            "budget > 0 && posted == 0 && ALIVE",
            (
                "budget--",
                f"if :: disk != {revision} -> unread = 1; excused = 0 :: else fi",
                f"disk = {revision}",
                f"asked = asked | BIT({revision})",
                f"propose({revision}, 1)",
            ),
        )
    yield Move("the file's event is read", "unread && posted == 0", ("unread = 0", "read_file()"))
    yield Move(
        "a file event comes without a change", "!unread && posted == 0 && budget > 0", ("budget--", "read_file()")
    )
    yield Move("the file is read again", "reviewing && posted == 0", ("reviewing = 0", "read_file()"))
    yield Move("the gateway hears of a revision", "posted != 0 && posted != BAD", ("deliver()",))
    yield Move(
        "the gateway hears of a bad file",
        "posted == BAD",
        ("ev_revision = BAD", "ev_call = 0", "forget_posted()", "lifecycle_config_rejected()"),
    )


def _requests(tickets: int) -> Iterator[Move]:
    for due, force, how in (("SOON", 0, ""), ("LATEST", 1, " by force, later")):
        yield Move(
            f"somebody asks for a restart{how}",
            "budget > 0",
            (
                "budget--",
                f"ev_due = {due}",
                f"ev_force = {force}",
                "ev_ticket_revision = 0",
                "lifecycle_restart_requested()",
            ),
        )
    # To cancel costs nothing, as long as the outside does anything at all: there are only so many tickets.
    for slot in range(tickets):
        yield Move(
            f"somebody cancels ticket {slot}",
            f"ticket_at[{slot}] == OPEN && stops > 0",
            (f"ev_ticket = {slot}", "lifecycle_restart_cancelled()"),
        )
    yield Move("somebody asks for a stop", "stops > 0", ("stops--", "lifecycle_stop_requested()", REFUSED_STOP))


def _timers(accounts: int) -> Iterator[Move]:
    rings = ("lifecycle_timer = NO_TIMER", "ev_current = 1")
    yield Move(
        "the timer rings: restart_due", "lifecycle_timer == TIMER_RESTART_DUE", (*rings, "lifecycle_restart_due()")
    )
    # A deadline is due where the work hangs; that it passes although the work goes on is a fault.
    for trigger in ("start_overdue", "reload_overdue", "restart_overdue", "stop_overdue"):
        due = f"lifecycle_timer == TIMER_{trigger.upper()}"
        hangs = (
            "work_hangs" if trigger != "stop_overdue" else f"(work == NO_WORK || work_hangs || {_some_hang(accounts)})"
        )
        fires = (*rings, f"lifecycle_{trigger}()")
        yield Move(f"the timer rings: {trigger}", f"{due} && {hangs}", fires)
        yield Move(f"the timer rings early: {trigger}", f"{due} && !{hangs} && budget > 0", ("budget--", *fires))


def _check() -> Iterator[Move]:
    checked = ("checking = 0", "ev_current = 1")
    yield Move("a message is handled for ever", "!busy && budget > 0", ("budget--", "busy = 1"))
    yield Move("the next config cannot be used", "checking && disk == BAD", (*checked, "lifecycle_config_unfit()"))
    # The second look is past the budget for waiting: so a wait has an end, as it has in time.
    yield Move(
        "messages are in flight",
        "checking && disk != BAD && busy",
        (*checked, "ev_much_later = deferred", "lifecycle_work_in_flight()"),
    )
    yield Move("a restart may begin", "checking && disk != BAD && !busy", (*checked, "lifecycle_restart_ready()"))


def _ends(event: str) -> tuple[str, ...]:
    return ("end_work()", "ev_current = 1", f"lifecycle_{event}()")


def _opening() -> Iterator[Move]:
    opening = "work == WORK_OPEN"
    yield Move("the accounts are asked to start", f"{opening} && !begun", ("ask_to_start()", "begun = 1"))
    yield Move("the gateway is open", f"{opening} && begun", ("ev_applied = ledger", *_ends("started")))
    yield Move("it cannot be opened", f"{opening} && budget > 0", ("budget--", *_ends("start_failed")))


def _applying(accounts: int) -> Iterator[Move]:
    applying = "work == WORK_APPLY"
    touched = [f"(touched & {1 << account})" for account in range(accounts)]
    settled = " && ".join(f"(!{some} || SETTLED({n}))" for n, some in enumerate(touched))
    broke = " || ".join(
        f"({some} && crashed[{n}] && channel_state[{n}] != CHANNEL_RUNNING)" for n, some in enumerate(touched)
    )
    hanging = " || ".join(f"({some} && hangs[{n}])" for n, some in enumerate(touched))
    fails = ("put_back(work_revision)", *_ends("plan_failed"))
    # Events are heard in the order in which they were posted: what was read before this is heard before what comes of it.
    yield Move("the plan is begun", f"{applying} && !begun && posted == 0", ("carry_out_plan()",))
    yield Move(
        "the plan is carried out",
        f"{applying} && begun && {settled} && !({broke})",
        ("ev_applied = work_identity", "ev_complete = work_complete", *_ends("plan_applied")),
    )
    yield Move("an account broke", f"{applying} && begun && {settled} && ({broke})", fails)
    yield Move("an account does not settle", f"{applying} && begun && ({hanging})", fails)
    yield Move("the plan cannot be carried out", f"{applying} && budget > 0", ("budget--", *fails))


def _restarting(accounts: int) -> Iterator[Move]:
    restarting = "work == WORK_RESTART"
    settled = " && ".join(f"SETTLED({account})" for account in range(accounts))
    reads = ("ledger = disk", "waits_for_restart = 0", "astray = 0", "ask_to_restart()", "begun = 1")
    yield Move("the restart reads the file", f"{restarting} && !begun && posted == 0 && disk != BAD", reads)
    yield Move(
        "the restart finds a bad file",
        f"{restarting} && !begun && disk == BAD",
        ("ev_recovered = 1", *_ends("restart_failed")),
    )
    yield Move(
        "the restart is complete",
        f"{restarting} && begun && (({settled}) || {_some_hang(accounts)})",
        ("ev_applied = ledger", *_ends("restarted")),
    )
    for recovered, when, how in ((0, "", ""), (1, " && !begun", ", and the old run is back")):
        yield Move(
            f"the restart fails{how}",
            f"{restarting} && budget > 0{when}",
            ("budget--", f"ev_recovered = {recovered}", *_ends("restart_failed")),
        )


def _replacing(accounts: int) -> Iterator[Move]:
    """A restart by another image, or another process."""
    vacating, replacing = "work == WORK_VACATE", "work == WORK_REPLACE"
    over = " && ".join(f"(channel_state[{n}] == CHANNEL_STOPPED || hangs[{n}])" for n in range(accounts))
    settled = " && ".join(f"SETTLED({account})" for account in range(accounts))
    lives = " || ".join(f"(channel_state[{n}] != CHANNEL_STOPPED && !hangs[{n}])" for n in range(accounts))
    bad = ("ev_recovered = 1", *_ends("restart_failed"))
    yield Move("what follows finds a bad file", f"{vacating} && !begun && disk == BAD", bad)
    asks = ("ask_to_stop()", "begun = 1")
    yield Move("the accounts are asked to stop, for what follows", f"{vacating} && !begun && disk != BAD", asks)
    empty = f"{vacating} && begun && {over}"
    yield Move("nothing of it receives or serves", empty, _ends("vacated"))
    fails = ("budget--", "ev_recovered = 0", *_ends("restart_failed"))
    yield Move("it cannot be vacated", f"{vacating} && budget > 0", fails)
    follows = (f"if :: {lives} -> BREAK_left_empty :: else fi", "leave_tickets()", "begin_process()")
    yield Move("the next image takes its place", f"{replacing} && !begun", follows)
    back = ("budget--", "ask_to_restart()", "begun = 1")
    yield Move("the program cannot be started anew", f"{replacing} && !begun && budget > 0", back)
    again = f"{replacing} && begun && (({settled}) || {_some_hang(accounts)})"
    yield Move("the old run is back", again, ("ev_recovered = 1", *_ends("restart_failed")))


def _stopping(accounts: int) -> Iterator[Move]:
    stopping = "work == WORK_STOP"
    stopped = " && ".join(f"channel_state[{account}] == CHANNEL_STOPPED" for account in range(accounts))
    yield Move("the accounts are asked to stop", f"{stopping} && !begun", ("ask_to_stop()", "begun = 1"))
    yield Move("everything has ended", f"{stopping} && begun && (hurried || ({stopped}))", _ends("stop_finished"))
    yield Move("the stop breaks", f"{stopping} && budget > 0", ("budget--", *_ends("stop_failed")))


def _some_hang(accounts: int) -> str:
    return "(" + " || ".join(f"hangs[{account}]" for account in range(accounts)) + ")"
