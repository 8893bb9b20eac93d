// What the states of messages mean, in words.

const INCOMING = {
  received: "In the store. It waits for its turn, or a handler works on it.",
  handled: "A handler has answered, and its replies are kept.",
  unmatched: "No route takes it: it is kept, and nothing follows.",
  refused: "Its sender is not among those whom the account listens to.",
  dead: "The handler failed for good, or too often.",
};

const OUTGOING = {
  queued: "It waits for those before it, for its account to run, or for the network\u2019s pace.",
  sending: "It is being sent now.",
  sent: "The network has said that it has it.",
  retry_wait: "The network has not taken it yet. It is tried again by itself.",
  unknown: "It may have arrived: the line broke, or the process ended, before the network\u2019s answer came.",
  dead: "It is not sent any more.",
};

export const ofIncoming = (state) => INCOMING[state] ?? "";
export const ofOutgoing = (state) => OUTGOING[state] ?? "";

/** Of what the outbox can be asked for; "" is what is neither sent nor dead. */
export const OUTBOX = {
  "": "What is neither sent nor dead. What waits goes out by itself, each conversation in its order; what is "
    + "unknown may wait for your word.",
  unknown: "Each of these may have arrived: the line broke, or the process ended, before the network\u2019s answer came. "
    + "Retry sends it once more, and says so in it; discard leaves it as it is.",
  dead: "These are not sent any more: the network refused them, they grew too old, or a person discarded them. "
    + "Retry sends one after all.",
  sent: "The network has said that it has these.",
};
