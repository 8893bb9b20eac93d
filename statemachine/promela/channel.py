"""What the channel's guards and actions mean in Promela. `c` is the number of the account that the event is for.

Abstracted: numbers are relative (a generation or timer is the present one or an older one), time is gone (an armed timer
may ring at any moment, every failure is a recent one), the second failure in a row spends the intensity. There is one host.
"""

from __future__ import annotations

from statemachine.promela.table import Vocabulary

DECLARATIONS = """\
/* Settings of an account. */
#define SETTINGS_A 0
#define SETTINGS_B 1
#define OFF 2
/* An account is stopped, or will be; it is left behind by a reload that broke off where that is not what is wanted. */
#define IS_CLOSING(c) (channel_state[c] == CHANNEL_STOPPING || channel_state[c] == CHANNEL_STOP_OVERDUE)
#define RESTS(c) (channel_state[c] == CHANNEL_STOPPED || (IS_CLOSING(c) && follows[c] == REST))
#define LEFT_BEHIND(c, wanted) (RESTS(c) -> !held[c] : settings[c] != (wanted))
/* What follows when the receiver that was told to end has ended. */
#define REST 0
#define RUN 1
#define RETRY 2
/* Why a receiver ended. */
#define CLOSED 0
#define LOST 1
#define CONFLICT 2
#define REFUSED_BY_NETWORK 3
#define CRASHED 4
#define STANDBY 5
#define SPENT 6
/* What there is of a receiver. */
#define NONE 0
#define OPENING 1
#define UP 2


/* The channel's data. */
byte channel_state[ACCOUNTS], settings[ACCOUNTS], follows[ACCOUNTS];
bit held[ACCOUNTS], half_open[ACCOUNTS], failed_before[ACCOUNTS], crashed[ACCOUNTS], in_conflict[ACCOUNTS];
/* The outside of the machine: its timer, its receiver. */
byte channel_timer[ACCOUNTS], receiver[ACCOUNTS];
bit told[ACCOUNTS], hangs[ACCOUNTS], fencing[ACCOUNTS], watched[ACCOUNTS];
bit cut_off[ACCOUNTS];  /* The receiver of the present generation was cut off; its task may still say that it has ended. */

inline open_receiver() {
  if :: receiver[c] != NONE -> BREAK_one_receiver :: else fi;
  if :: held[c] -> BREAK_stays_stopped :: else fi;
  receiver[c] = OPENING; told[c] = 0; hangs[c] = 0; watched[c] = 0; fencing[c] = 0; cut_off[c] = 0; follows[c] = REST
}

inline lose_receiver() { receiver[c] = NONE; told[c] = 0; hangs[c] = 0; watched[c] = 0 }

inline begin_account() {
  channel_state[c] = INITIAL_CHANNEL; settings[c] = OFF; follows[c] = REST; held[c] = 0; half_open[c] = 0; failed_before[c] = 0;
  crashed[c] = 0; in_conflict[c] = 0; channel_timer[c] = NO_TIMER; fencing[c] = 0; cut_off[c] = 0; lose_receiver()
}
"""

CHANNEL = Vocabulary(
    state="channel_state[c]",
    guards={
        "generation_is_current": "ev_current",
        "timer_is_current": "ev_current",
        "is_enabled": "ev_run != OFF",
        "may_start": "ev_person || !held[c]",
        "asked_by_person": "ev_person",
        "deserves_attempt": "ev_person || ev_run != settings[c]",
        "network_refuses": "ev_cause == REFUSED_BY_NETWORK",
        "somebody_else_receives": "ev_cause == CONFLICT",
        "another_host_may_receive": "ev_cause == STANDBY",
        "lease_has_come": "0",
        "waits_for_the_lease": "0",
        "starts_are_spent": "ev_cause == SPENT",
        "intensity_is_spent": "half_open[c] || failed_before[c]",
        "conflict_is_open": "in_conflict[c]",
        "slept_through_the_wait": "ev_slept_long",
        "runs_again": "follows[c] == RUN",
        "rests": "follows[c] == REST",
    },
    actions={
        "adopt_run": "half_open[c] = half_open[c] && ev_run == settings[c]; held[c] = held[c] && !ev_person; "
        "in_conflict[c] = in_conflict[c] && ev_run == settings[c]; settings[c] = ev_run",
        "adjust": "settings[c] = ev_run",
        "open_receiver": "open_receiver()",
        "close_receiver": "told[c] = (receiver[c] != NONE)",
        "watch_receiver": "watched[c] = (receiver[c] != NONE)",
        "fence_receiver": "fencing[c] = 1",
        "run_again": "follows[c] = RUN",
        "retry_later": "follows[c] = RETRY",
        "note_stop": "follows[c] = REST; held[c] = held[c] || ev_person; half_open[c] = 0; crashed[c] = 0; "
        "in_conflict[c] = 0",
        "note_stall": "follows[c] = RETRY",
        "note_ready": "half_open[c] = 0; crashed[c] = 0",
        "note_failure": "failed_before[c] = 1; half_open[c] = 0; crashed[c] = (ev_cause == CRASHED)",
        "note_conflict": "half_open[c] = 0; crashed[c] = 0; in_conflict[c] = 1",
        "note_standby": "half_open[c] = 0; crashed[c] = 0; in_conflict[c] = 0",
        "note_lease": "skip",
        "note_conflict_over": "in_conflict[c] = 0",
        "forget_failures": "failed_before[c] = 0; half_open[c] = 0",
        "try_half_open": "half_open[c] = 1",
        "note_fence_failed": "skip",
        "arm_start_deadline": "channel_timer[c] = TIMER_START_OVERDUE",
        "arm_stop_deadline": "channel_timer[c] = TIMER_STOP_OVERDUE",
        "arm_backoff": "channel_timer[c] = TIMER_RETRY_DUE",
        "arm_conflict_wait": "channel_timer[c] = TIMER_RETRY_DUE",
        "arm_half_open": "channel_timer[c] = TIMER_RETRY_DUE",
        "arm_conflict_over": "channel_timer[c] = TIMER_CONFLICT_OVER",
        "arm_fence_retry": "channel_timer[c] = TIMER_FENCE_DUE",
        "disarm": "channel_timer[c] = NO_TIMER",
    },
)
