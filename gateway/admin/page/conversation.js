// One conversation: what came in and what went out, each with how far it is.

import { $, clock, h, setText, showState } from "./dom.js";
import { DeliveryButtons, attemptsOf } from "./deliveries.js";
import { ofIncoming, ofOutgoing } from "./meanings.js";
import { Rows } from "./rows.js";

const FIRST = 100;
const MOST = 1_000;
const END_PX = 48;

/** What was said, oldest first; an answer stands right below what it answers, whenever it was made. */
export function linesOf({ messages, deliveries }) {
  const asked = new Map(messages.map((row) => [row.number, row]));
  const lines = [
    ...messages.map((row) => ({ key: `in ${row.number}`, row, ours: false, place: [row.received_at, row.number, 0] })),
    ...deliveries.map((row) => {
      const message = asked.get(row.answers);
      const place = message ? [message.received_at, message.number, row.id] : [row.created_at, Infinity, row.id];
      return { key: `out ${row.id}`, row, ours: true, place };
    }),
  ];
  const before = ({ place: a }, { place: b }) => {
    const first = a.findIndex((part, index) => part !== b[index]);
    return first < 0 || a[first] < b[first] ? -1 : 1;
  };
  return lines.sort(before);
}

class Line {
  element;
  #state = h("span", "state");
  #facts = h("span", "");
  #why = h("span", "why");
  #buttons = null;

  constructor({ row, ours }, decider) {
    const at = ours ? row.created_at : row.received_at;
    const who = ours ? "Gateway" : row.sender.name || row.sender.id;
    const body = h("p", "text", row.text || `(${row.kind})`);
    body.dir = "auto";
    const meta = h("p", "meta", h("span", ours ? "unseen" : "who", who), h("time", "", clock(at)), this.#state, this.#facts, this.#why);
    this.element = h("li", ours ? "said ours" : "said", body, meta);
    if (!ours) return;
    this.#buttons = new DeliveryButtons(decider, row);
    this.element.append(this.#buttons.element);
  }

  show({ row, ours }) {
    const { state, why, attempts, marked } = row;
    showState(this.#state, state).title = ours ? ofOutgoing(state) : ofIncoming(state);
    setText(this.#facts, [attemptsOf(attempts), marked && "marked as a repeat"].filter(Boolean).join(", "));
    setText(this.#why, [state === "unknown" && "It may have arrived", why].filter(Boolean).join(": "));
    this.#buttons?.show(row);
  }
}

export class Conversation {
  #client;
  #rows;
  #account = "";
  #conversation = null;
  #limit = FIRST;

  constructor(client, decider) {
    this.#client = client;
    this.#rows = new Rows($("said"), (line) => new Line(line, decider), $("conversation-title"));
    $("said-earlier").addEventListener("click", () => {
      this.#limit = MOST;
      this.load();
    });
  }

  open(account, conversation) {
    if (account === this.#account && conversation === this.#conversation) return;
    [this.#account, this.#conversation, this.#limit] = [account, conversation, FIRST];
    this.#rows.show([]);
    $("said-earlier").hidden = true;
    setText($("conversation-title"), conversation);
    setText($("conversation-place"), account);
    setText($("said-empty"), "");
  }

  close() { this.#conversation = null; }

  async load() {
    const [account, conversation] = [this.#account, this.#conversation];
    const query = new URLSearchParams({ account, conversation, limit: this.#limit });
    let found = { messages: [], deliveries: [], more: false };
    let note = "Nothing was said here, or it is not kept any more.";
    try {
      found = JSON.parse(await this.#client.read(`/api/v1/conversation?${query}`));
    } catch (error) {
      if (error.disconnected) return; // what was last known stays
      note = `The conversation could not be loaded: ${error.message}`;
    }
    // Unless another one was opened meanwhile, or somebody signed out.
    const same = account === this.#account && conversation === this.#conversation;
    if (same && this.#client.status === "online") this.#show(found, note);
  }

  #show(found, note) {
    const list = $("said");
    const fromEnd = list.scrollHeight - list.scrollTop;
    const lines = linesOf(found);
    this.#rows.show(lines.map((line) => [line.key, line]));
    // What is read stays in its place; who reads the end goes on with it.
    list.scrollTop = fromEnd - list.clientHeight < END_PX ? list.scrollHeight : list.scrollHeight - fromEnd;
    const sender = found.messages[0]?.sender;
    setText($("conversation-title"), sender?.name || this.#conversation);
    setText($("conversation-place"), [this.#account, sender?.name && this.#conversation].filter(Boolean).join(", "));
    setText($("said-empty"), note);
    $("said-empty").hidden = lines.length > 0;
    $("said-earlier").hidden = !found.more || this.#limit === MOST;
  }
}
