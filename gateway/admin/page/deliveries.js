// Outgoing messages: what a person may ask of one, and the outbox as a list.

import { $, button, clock, h, setReason, setText, showState, words } from "./dom.js";
import { OUTBOX, ofOutgoing } from "./meanings.js";
import { Rows } from "./rows.js";

const VERBS = ["retry", "discard"];
const LISTED = 100;

export const addressOf = ({ channel, account, conversation }) =>
  `#messages/${[channel, account, conversation].map(encodeURIComponent).join("/")}`;

let answer = () => {};

/** Asks whether a message shall be discarded; the answer is whether it shall. */
function confirmDiscard({ id, channel, account, conversation, text, state }) {
  const dialog = $("discard");
  answer(false); // the event of a dialog that was just closed may come when it is open again
  setText($("discard-what"), `#${id} to ${channel}/${account}, ${conversation}`);
  setText($("discard-text"), text);
  setText($("discard-note"), state === "unknown" ? "It may have arrived already: then it stays there." : "");
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    answer = resolve;
    dialog.onclose = () => dialog.open || resolve(dialog.returnValue === "discard");
  });
}

/** What a refusal says is the machine's word, and what it would take is told with it. */
function toldOf(error) {
  const allowed = error.details?.allowed;
  if (!allowed) return `Not done: ${error.message}.`;
  return `Refused: ${error.message}. ${allowed.length ? `It would take: ${allowed.join(", ")}.` : "It takes nothing more."}`;
}

/** Carries out what a person asks of a message. `changed` is called when something may have come of it. */
export class Decider {
  #client;
  #changed;

  constructor(client, changed) {
    this.#client = client;
    this.#changed = changed;
  }

  async decide(verb, row) {
    this.say("");
    if (verb === "discard" && !await confirmDiscard(row)) return;
    try {
      const { state } = await this.#client.post(`/api/v1/outbox/${row.id}/${verb}`);
      this.say(`#${row.id} is ${words(state)} now.`);
    } catch (error) {
      this.say(toldOf(error), true);
    }
    await this.#changed();
  }

  /** In one place for all: the line of a message may be gone by then. */
  say(text, fault = false) {
    $("messages-note").classList.toggle("notice", fault);
    setText($("messages-note"), text);
  }
}

/** Retry and discard of one message, off with the reason where its machine takes no such thing. */
export class DeliveryButtons {
  element = h("div", "control");
  #row = null;
  #buttons;

  constructor(decider, { id }) {
    this.element.role = "group";
    this.element.ariaLabel = `Message ${id}`;
    this.#buttons = VERBS.map((verb) => {
      const press = () => this.#whyNot(verb) ? decider.say(this.#whyNot(verb)) : decider.decide(verb, this.#row);
      const each = button("small", verb[0].toUpperCase() + verb.slice(1), press);
      each.setAttribute("aria-label", `${each.textContent} message ${id}`);
      return each;
    });
    this.element.append(...this.#buttons);
  }

  show(row) {
    this.#row = row;
    this.element.hidden = !row.allowed.length;
    VERBS.forEach((verb, index) => setReason(this.#buttons[index], this.#whyNot(verb)));
  }

  #whyNot(verb) {
    return this.#row.allowed.includes(verb) ? "" : `Its machine takes no ${verb} while ${words(this.#row.state)}.`;
  }
}

export const attemptsOf = (attempts) => (attempts > 1 ? `${attempts} attempts` : "");

class DeliveryLine {
  element;
  #state = h("span", "state");
  #facts = h("span", "aside");
  #meaning = h("p", "meaning-line");
  #why = h("p", "why");
  #buttons;

  constructor(decider, row) {
    const { channel, account, conversation, text } = row;
    const to = h("a", "to", `${channel}/${account}, ${conversation}`);
    to.href = addressOf(row);
    const body = h("p", "queued-text", text);
    body.dir = "auto";
    this.#buttons = new DeliveryButtons(decider, row);
    const head = h("p", "head", this.#state, to, this.#facts);
    this.element = h("li", "delivery", head, body, this.#meaning, this.#why, this.#buttons.element);
  }

  /** Where several states stand in one list, each line says what its own means. */
  show({ row, several }) {
    const { id, state, why, attempts, marked, changed_at: at } = row;
    showState(this.#state, state);
    setText(this.#meaning, several ? ofOutgoing(state) : "");
    const facts = [`#${id}`, clock(at, "2-digit"), attemptsOf(attempts), marked && "marked as a repeat"];
    setText(this.#facts, facts.filter(Boolean).join(", "));
    setText(this.#why, why);
    this.#buttons.show(row);
  }
}

/** The list with its choice of states. `account` is asked for the one whose messages are wanted, "" for all. */
export class DeliveryList {
  #client;
  #account;
  #rows;

  constructor(client, decider, account) {
    this.#client = client;
    this.#account = account;
    this.#rows = new Rows($("outbox"), ({ row }) => new DeliveryLine(decider, row), $("outbox-title"));
    for (const choice of this.#choices) choice.addEventListener("change", () => this.load());
  }

  get #choices() { return [...document.getElementsByName("outbox-state")]; }

  get #state() { return this.#choices.find(({ checked }) => checked).value; }

  async load() {
    const [state, account] = [this.#state, this.#account()];
    const query = new URLSearchParams({ limit: LISTED });
    if (state) query.set("state", state);
    if (account) query.set("account", account);
    let found = { deliveries: [], counts: {} };
    let note = "None.";
    try {
      found = JSON.parse(await this.#client.read(`/api/v1/outbox?${query}`));
    } catch (error) {
      if (error.disconnected) return; // what was last known stays
      note = `The outbox could not be loaded: ${error.message}`;
    }
    // Another one was picked meanwhile, or somebody signed out.
    if (state !== this.#state || account !== this.#account() || this.#client.status !== "online") return;
    this.show(found, note);
  }

  show({ deliveries, counts }, note = "") {
    this.#rows.show(deliveries.map((row) => [row.id, { row, several: this.#state === "" }]));
    setText($("outbox-meaning"), OUTBOX[this.#state]);
    setText($("outbox-empty"), note);
    $("outbox-empty").hidden = deliveries.length > 0;
    setText($("outbox-sum"), deliveries.length < LISTED ? "" : `the newest ${LISTED}`);
    const open = Object.entries(counts).filter(([state]) => !["sent", "dead"].includes(state));
    const sums = { ...counts, "": open.reduce((sum, [, count]) => sum + count, 0) };
    for (const { value, nextElementSibling } of this.#choices) {
      setText(nextElementSibling.querySelector(".count"), sums[value] ? String(sums[value]) : "");
    }
  }
}
