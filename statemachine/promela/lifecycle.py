"""What the lifecycle's guards and actions mean in Promela.

Abstracted: a revision is a small number (see the macros), a ticket is a slot, due times are three (soon, later, latest),
numbers of works and timers are relative, and time is gone: whatever waits for its time may come at any moment.
"""

from __future__ import annotations

from statemachine.promela.table import Vocabulary

DECLARATIONS = """\
/* Revisions: 1 is the first, 2 differs from it in the settings of account 0, 3 in what needs a restart, 4 in both,
   5 switches account 0 off, 6 says the same in other bytes, 7 cannot be used. An identity 8 above a revision is an
   overlay: what of that revision can run before the restart that it needs. 0 is none. */
#define NOTHING_KNOWN 0
#define BAD 7
#define OVERLAY 8
#define REVISION(id) ((id) & 7)
#define GATE(id) ((REVISION(id) == 3 || REVISION(id) == 4) != ((id) >= OVERLAY))
#define EDITED(id) (REVISION(id) == 5 -> OFF : (REVISION(id) == 2 || REVISION(id) == 4 -> SETTINGS_B : SETTINGS_A))
#define SETTINGS(account, id) ((account) == 0 -> EDITED(id) : SETTINGS_A)
#define NO_IMPACT 0
#define IMPACT_ON_CHANNEL 2
#define IMPACT_ON_GATEWAY 3
#define IMPACT(old, new) (GATE(old) != GATE(new) -> IMPACT_ON_GATEWAY : (EDITED(old) != EDITED(new) -> IMPACT_ON_CHANNEL : NO_IMPACT))
#define BIT(revision) (1 << ((revision) - 1))
/* What becomes of a revision, and of a ticket. */
#define NOOP 0
#define APPLIED 1
#define RESTART_PENDING 2
#define NOTED 3
#define SUPERSEDED 4
#define FAILED 5
#define REJECTED 6
#define DONE 7
#define CANCELLED 8
#define REFUSED_TICKET 9
/* When a ticket is due. */
#define SOON 1
#define LATER 2
#define LATEST 3
/* Where a ticket is in the machine. */
#define NOWHERE 0
#define OPEN 1
#define SERVED 2
/* Work under way. */
#define NO_WORK 0
#define WORK_OPEN 1
#define WORK_APPLY 2
#define WORK_RESTART 3
#define WORK_STOP 4
#define WORK_VACATE 5
#define WORK_REPLACE 6


/* The lifecycle's data. */
byte lifecycle_state, applied, known, kept, reviewed, carried, stops_asked;
bit drift, deferred;
byte ticket_at[TICKETS], ticket_revision[TICKETS], ticket_due[TICKETS];
bit ticket_force[TICKETS];
byte left_at[TICKETS];  /* Where tickets were in the machine of the process before this one. */
/* The outside of the machine: its timer, its work, the file, the ledger, and who waits for an answer. */
byte lifecycle_timer, work, work_revision, work_identity, touched;
bit begun, work_hangs, work_complete, hurried, checking, reviewing;
byte disk, ledger, waits_for_restart, before_revision, before_identity;
byte posted, posted_base, posted_impact, posted_identity;
bit posted_complete, posted_call;
bit unread, busy, excused, ended;
bit astray;  /* A reload broke off: accounts may run with what it wanted. */
byte asked;  /* Revisions whose writers wait for an answer, a bit each. */
bit told_open[TICKETS];  /* Requests that were told that they are open, and have no outcome yet. */

inline settle(revision, outcome, by) {
  if
  :: revision == NOTHING_KNOWN -> skip
  :: else ->
     if :: outcome == SUPERSEDED && revision < OVERLAY && (asked & BIT(revision)) -> asked = asked | BIT(REVISION(by)) :: else fi;
     if :: revision < OVERLAY -> asked = asked & (255 - BIT(revision)) :: else fi;
     if
     :: outcome == RESTART_PENDING -> waits_for_restart = revision
     :: outcome == NOOP -> ledger = revision; waits_for_restart = NOTHING_KNOWN
     :: outcome == APPLIED -> waits_for_restart = NOTHING_KNOWN; astray = 0
     :: outcome == NOTED -> excused = 1
     :: else
     fi
  fi
}

inline know(revision) {
  if :: reviewed != NOTHING_KNOWN && reviewed != revision -> settle(reviewed, SUPERSEDED, revision) :: else fi;
  known = revision; drift = 0; reviewed = NOTHING_KNOWN
}

/* Tickets. */
inline open_ticket() {
  i = 0;
  do :: i < TICKETS && ticket_at[i] != NOWHERE -> i++ :: else -> break od;
  if
  :: i == TICKETS -> BREAK_model_fits
  :: else ->
     ticket_at[i] = OPEN; ticket_revision[i] = ev_ticket_revision; ticket_due[i] = ev_due; ticket_force[i] = ev_force;
     if :: told_open[i] -> BREAK_one_outcome :: else fi;
     told_open[i] = 1
  fi
}

inline take_over() {
  i = 0;
  do :: i < TICKETS -> ticket_at[i] = left_at[i]; left_at[i] = NOWHERE; i++ :: else -> break od
}

inline close_ticket(slot, outcome) {
  if :: !told_open[slot] -> BREAK_one_outcome :: else fi;
  if :: outcome == DONE && ticket_at[slot] != SERVED -> BREAK_open_tickets :: else fi;
  if :: outcome == CANCELLED || outcome == REFUSED_TICKET || outcome == FAILED -> excused = 1 :: else fi;
  told_open[slot] = 0; ticket_at[slot] = NOWHERE; ticket_revision[slot] = 0; ticket_due[slot] = 0; ticket_force[slot] = 0
}

inline close_all(place, outcome) {
  i = 0;
  do
  :: i < TICKETS -> if :: ticket_at[i] == place -> close_ticket(i, outcome) :: else fi; i++
  :: else -> break
  od
}

inline close_of_revisions(only) {
  i = 0;
  do
  :: i < TICKETS ->
     if
     :: ticket_at[i] == OPEN && ticket_revision[i] != 0 && (only == 0 || ticket_revision[i] == only) -> close_ticket(i, SUPERSEDED)
     :: else
     fi;
     i++
  :: else -> break
  od
}

/* Work. */
inline begin_work(kind) {
  if :: work != NO_WORK -> BREAK_one_work :: else fi;
  work = kind; begun = 0; work_hangs = 0; touched = 0; hurried = 0;
  work_revision = 0; work_identity = 0; work_complete = 0
}

inline end_work() {
  work = NO_WORK; begun = 0; work_hangs = 0; touched = 0; hurried = 0;
  work_revision = 0; work_identity = 0; work_complete = 0
}

inline put_back(revision) {
  if
  :: before_revision != 0 && before_revision == revision -> ledger = before_identity; before_revision = 0; before_identity = 0; astray = 1
  :: else
  fi
}

inline apply_plan() {
  carried = ev_revision;
  begin_work(WORK_APPLY);
  if :: posted_complete && !astray && IMPACT(ledger, ev_revision) == NO_IMPACT -> BREAK_applied_once :: else fi;
  work_revision = ev_revision; work_identity = posted_identity; work_complete = posted_complete
}

inline begin_restart() {
  i = 0; serves = 0; misses = 0; all_revisions = 1;
  do
  :: i < TICKETS ->
     if
     :: ticket_at[i] == SERVED -> ticket_at[i] = NOWHERE
     :: ticket_at[i] == OPEN ->
        ticket_at[i] = SERVED; serves = 1;
        if :: ticket_revision[i] == 0 -> all_revisions = 0 :: else fi
     :: else -> if :: told_open[i] -> misses = 1 :: else fi
     fi;
     i++
  :: else -> break
  od;
  if :: !serves || misses -> BREAK_open_tickets :: else fi;
  if
  :: all_revisions && !astray && !unread && posted == 0 && !reviewing && disk != BAD && IMPACT(ledger, disk) == NO_IMPACT -> BREAK_applied_once
  :: else
  fi;
  known = NOTHING_KNOWN; deferred = 0;
  begin_work((BY_EXEC || BY_EXIT -> WORK_VACATE : WORK_RESTART));
  asked = 0  /* Who waits is told now: the connection ends with it. */
}

inline commit() {
  carried_now = (carried != 0 -> carried : ev_applied);
  applied = ev_applied; carried = 0;
  if
  :: ev_complete -> close_of_revisions(0)
  :: else ->
     i = 0; earlier = 0;
     do
     :: i < TICKETS -> earlier = earlier || (ticket_at[i] == OPEN && ticket_revision[i] != 0 && ticket_revision[i] != carried_now); i++
     :: else -> break
     od;
     if :: earlier -> close_of_revisions(carried_now) :: else fi
  fi;
  said = (ev_complete -> APPLIED : (TICKET_IS_OPEN -> RESTART_PENDING : NOTED));
  settle(carried_now, said, 0)
}

inline give_up_plan() {
  put_back(carried);
  said = (TICKET_IS_OPEN -> RESTART_PENDING : FAILED);
  settle(carried, said, 0);
  carried = 0
}

inline answer_known() {
  if
  :: reviewed != 0 ->
     if :: reviewed != ev_revision -> settle(reviewed, SUPERSEDED, ev_revision) :: else fi;
     reviewed = 0
  :: else
  fi;
  if
  :: ev_revision == carried || ev_revision == kept -> skip
  :: else ->
     said = (ev_revision == applied -> NOOP : (TICKET_IS_OPEN -> RESTART_PENDING : NOTED));
     settle(ev_revision, said, 0)
  fi
}

inline keep_revision() {
  know(ev_revision);
  if :: kept != 0 && kept != ev_revision -> settle(kept, SUPERSEDED, ev_revision) :: else fi;
  kept = ev_revision
}

inline review_kept() {
  if :: kept != 0 -> reviewing = 1; reviewed = kept; kept = 0; known = NOTHING_KNOWN :: else fi
}

inline note_rejected() {
  know(ev_revision);
  if :: kept == ev_revision -> kept = 0 :: else fi;
  if :: ev_revision != carried -> settle(ev_revision, REJECTED, 0) :: else fi
}

inline refuse_all() {
  settle(carried, FAILED, 0); settle(kept, FAILED, 0); settle(reviewed, FAILED, 0);
  close_all(SERVED, FAILED); close_all(OPEN, REFUSED_TICKET);
  carried = 0; kept = 0; reviewed = 0
}

inline arm(kind) { lifecycle_timer = kind; checking = 0 }

/* The process is gone: with it its timer, its work, its receivers, and what it has not read. */
inline exit_process() {
  ended = 1; lifecycle_timer = NO_TIMER; checking = 0; reviewing = 0; unread = 0; busy = 0;
  if :: posted != 0 && posted != BAD -> asked = asked & (255 - BIT(posted)) :: else fi;
  forget_posted(); end_work();
  c = 0;
  do :: c < ACCOUNTS -> begin_account(); c++ :: else -> break od
}

inline forget_posted() {
  posted = 0; posted_base = 0; posted_impact = 0; posted_identity = 0; posted_complete = 0; posted_call = 0
}

/* After every step: what the machine holds open is what requesters were told is open. */
inline hold_tickets() {
  i = 0;
  do
  :: i < TICKETS -> if :: (ticket_at[i] != NOWHERE) != told_open[i] -> BREAK_one_outcome; told_open[i] = (ticket_at[i] != NOWHERE) :: else fi; i++
  :: else -> break
  od
}
"""


def vocabulary(tickets: int) -> Vocabulary:
    """The lifecycle's, for a model with so many slots for tickets."""

    def some(condition: str) -> str:
        return " || ".join(f"(ticket_at[{n}] == OPEN && {condition.format(n=n)})" for n in range(tickets))

    def every(condition: str) -> str:
        return " && ".join(f"(ticket_at[{n}] != OPEN || {condition.format(n=n)})" for n in range(tickets))

    number = " + ".join(f"(ticket_at[{n}] == OPEN)" for n in range(tickets))
    return Vocabulary(
        state="lifecycle_state",
        guards={
            "work_is_current": "ev_current",
            "timer_is_current": "ev_current",
            "revision_is_known": "ev_revision == known && !(drift && ev_call)",
            "plan_is_stale": "ev_base != applied",
            "nothing_differs": "ev_impact == NO_IMPACT",
            "is_drift": "!RELOAD && !ev_call",
            "may_reload": "RELOAD && (ev_impact < IMPACT_ON_GATEWAY || ev_overlay)",
            "ticket_is_open": "TICKET_IS_OPEN",
            "ticket_outlives_plan": some("(ticket_revision[{n}] == 0 || !ev_complete)"),
            "only_revisions_ask": every("ticket_revision[{n}] != 0"),
            "pulls_in": every("ev_due < ticket_due[{n}]"),
            "ticket_is_known": "ticket_at[ev_ticket] == OPEN",
            "ticket_is_last": f"{number} == 1",
            "waited_long_enough": "deferred && ev_much_later",
            "a_warning_is_due": "false",  # it says something, and changes nothing
            "a_ticket_forces": some("ticket_force[{n}]"),
            "another_process_follows": "BY_EXIT",
            "old_run_is_back": "ev_recovered",
            "asked_before": "stops_asked >= 2",
        },
        actions=ACTIONS,
    )


def some_ticket(tickets: int) -> str:
    """Whether the machine holds an open ticket."""
    return " || ".join(f"ticket_at[{n}] == OPEN" for n in range(tickets))


ACTIONS = {
    "take_over": "take_over()",
    "open_gateway": "known = ev_revision; applied = ev_revision; begin_work(WORK_OPEN)",
    "adopt": "applied = ev_applied; close_all(SERVED, DONE)",
    "replace_process": "begin_work(WORK_REPLACE)",
    "exit_to_restart": "exit_process()",
    "begin_stop": "stops_asked = 1; begin_work(WORK_STOP)",
    "hurry": "stops_asked++; hurried = (work == WORK_STOP)",
    "cancel_work": "end_work()",
    "exit_clean": "exit_process()",
    "exit_failed": "exit_process()",
    "exit_with_code": "exit_process()",
    "answer_known": "answer_known()",
    "keep_revision": "keep_revision()",
    "review": "know(ev_revision); reviewed = ev_revision; known = NOTHING_KNOWN; reviewing = 1",
    "review_kept": "review_kept()",
    "know_revision": "know(ev_revision)",
    "note_unchanged": "know(ev_revision); applied = ev_revision; settle(ev_revision, NOOP, 0)",
    "note_drift": "know(ev_revision); drift = 1; settle(ev_revision, NOTED, 0)",
    "note_rejected": "note_rejected()",
    "promise_restart": "settle(ev_revision, RESTART_PENDING, 0)",
    "give_up_waiting": "skip",  # what waits has been told so by the ticket that was closed; who is told is not in this model
    "apply_plan": "apply_plan()",
    "commit": "commit()",
    "give_up_plan": "give_up_plan()",
    "open_ticket": "open_ticket()",
    "close_revision_tickets": "close_of_revisions(0)",
    "cancel_ticket": "close_ticket(ev_ticket, CANCELLED)",
    "refuse_all": "refuse_all()",
    "refuse_tickets": "close_all(OPEN, REFUSED_TICKET)",
    "check_readiness": "checking = 1",
    "wait_for_idle": "deferred = 1; arm(TIMER_RESTART_DUE)",
    "warn_of_waiting": "skip",
    "begin_restart": "begin_restart()",
    "finish_restart": "close_all(SERVED, DONE); applied = ev_applied; known = (known != 0 -> known : ev_applied); drift = 0",
    "fail_restart": "close_all(SERVED, FAILED)",
    "arm_due": "arm(TIMER_RESTART_DUE)",
    "arm_start_deadline": "arm(TIMER_START_OVERDUE)",
    "arm_reload_deadline": "arm(TIMER_RELOAD_OVERDUE)",
    "arm_restart_deadline": "arm(TIMER_RESTART_OVERDUE)",
    "arm_stop_deadline": "arm(TIMER_STOP_OVERDUE)",
    "arm_short_deadline": "arm(TIMER_STOP_OVERDUE)",
    "disarm": "arm(NO_TIMER); deferred = 0",
}
