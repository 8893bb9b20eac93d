// The messages: conversations beside the outbox, or beside the one that is open.

import { $, atMost, clock, h, setText, showState } from "./dom.js";
import { Conversation } from "./conversation.js";
import { Decider, DeliveryList, addressOf } from "./deliveries.js";
import { ofIncoming, ofOutgoing } from "./meanings.js";
import { Rows } from "./rows.js";
import { nameOf } from "./store.js";

const EVERY_MS = 1_000;
const LISTED = 1_000;
const UNANSWERED = 100;
const WELL = ["handled", "sent"]; // of these the state goes without saying

class ConversationLine {
  element;
  #link;
  #who = h("span", "who");
  #at = h("time", "at");
  #state = h("span", "state");
  #text = h("span", "latest");

  constructor(row) {
    const place = h("span", "place", `${nameOf(row)}, ${row.conversation}`);
    this.#text.dir = "auto";
    this.#link = h("a", "conversation", this.#who, this.#at, place, this.#state, this.#text);
    this.#link.href = addressOf(row);
    this.element = h("li", "", this.#link);
  }

  show({ conversation, sender, ours, text, state, at, open }) {
    setText(this.#who, sender?.name || sender?.id || conversation);
    setText(this.#at, clock(at));
    setText(this.#text, `${ours ? "Gateway: " : ""}${text}`);
    showState(this.#state, state).title = ours ? ofOutgoing(state) : ofIncoming(state);
    this.#state.hidden = WELL.includes(state);
    if (open) this.#link.setAttribute("aria-current", "true");
    else this.#link.removeAttribute("aria-current");
  }
}

class UnansweredLine {
  element;
  #why = h("p", "why");

  constructor({ channel, account, conversation, sender, text, kind, received_at: at }) {
    const from = h("a", "to", `${sender.name || sender.id} to ${channel}/${account}`);
    from.href = addressOf({ channel, account, conversation });
    const body = h("p", "queued-text", text || `(${kind})`);
    body.dir = "auto";
    this.element = h("li", "delivery", h("p", "head", from, h("time", "aside", clock(at, "2-digit"))), body, this.#why);
  }

  show({ why, attempts }) {
    setText(this.#why, [why || "The handler failed", attempts > 1 && `${attempts} attempts`].filter(Boolean).join(", "));
  }
}

export class MessagesView {
  #client;
  #outbox;
  #conversation;
  #decider;
  #rows;
  #unanswered;
  #known = null; // conversations, as they were last read
  #place = null; // [account, conversation] of the one that is open
  #open = false;
  #stale = false;
  #loading = false;

  constructor(client, store) {
    this.#client = client;
    this.#decider = new Decider(client, () => this.#load());
    this.#outbox = new DeliveryList(client, this.#decider, () => $("messages-account").value);
    this.#conversation = new Conversation(client, this.#decider);
    this.#rows = new Rows($("conversations"), (row) => new ConversationLine(row), $("conversations-title"));
    this.#unanswered = new Rows($("unanswered"), (row) => new UnansweredLine(row), $("unanswered-title"));
    store.addEventListener("accounts", () => this.#offerAccounts(store.accounts));
    client.addEventListener("event:message", atMost(EVERY_MS, () => this.#load()));
    client.addEventListener("hello", () => this.#load());
    $("messages-account").addEventListener("input", () => this.#load());
    $("messages-text").addEventListener("input", () => this.#list());
  }

  /** Where who comes by the keyboard starts. */
  get heading() { return this.#place ? $("conversation-title") : $("messages-title"); }

  /** `address` is empty, or names a conversation: `telegram/main/42`. */
  open(address) {
    const [channel, account, ...rest] = address.split("/");
    this.#open = true;
    this.#place = rest.length ? [`${channel}/${account}`, rest.join("/")] : null;
    if (this.#place) this.#conversation.open(...this.#place);
    else this.#conversation.close();
    $("messages-panes").dataset.open = this.#place ? "conversation" : "outbox";
    $("conversation-pane").hidden = !this.#place;
    $("outbox-pane").hidden = Boolean(this.#place);
    this.#list();
    this.#load();
  }

  close() {
    this.#open = false;
    this.#decider.say("");
  }

  clear() {
    this.#known = null;
    this.#list();
    this.#unanswered.show([]);
    $("unanswered-pane").hidden = true;
    this.#outbox.show({ deliveries: [], counts: {} });
    this.#conversation.open("", "");
  }

  /** One reading at a time: what is asked for meanwhile is read after it, once. */
  async #load() {
    this.#stale = true;
    if (this.#loading) return;
    this.#loading = true;
    try {
      while (this.#stale && this.#open && this.#client.status === "online") {
        this.#stale = false;
        await Promise.all([this.#loadConversations(), ...this.#loadBeside()]);
      }
    } finally {
      this.#loading = false;
    }
  }

  #loadBeside() {
    if (!this.#place) return [this.#outbox.load(), this.#loadUnanswered()];
    this.#conversation.open(...this.#place);
    return [this.#conversation.load()];
  }

  /** What is read for the account that is picked; nothing when another one was picked meanwhile, or somebody signed out. */
  async #read(path, query) {
    const account = $("messages-account").value;
    const given = new URLSearchParams({ ...query, ...(account ? { account } : {}) });
    const found = JSON.parse(await this.#client.read(`${path}?${given}`));
    return account === $("messages-account").value && this.#client.status === "online" ? found : null;
  }

  async #loadConversations() {
    try {
      const found = await this.#read("/api/v1/conversations", { limit: LISTED });
      if (found) this.#known = found.conversations;
      this.#list();
    } catch (error) {
      if (error.disconnected) return; // what was last known stays
      $("conversations-empty").hidden = false;
      setText($("conversations-empty"), `The conversations could not be loaded: ${error.message}`);
    }
  }

  async #loadUnanswered() {
    try {
      const found = await this.#read("/api/v1/messages", { state: "dead", limit: UNANSWERED });
      if (!found) return;
      this.#unanswered.show(found.messages.map((row) => [row.number, row]));
      $("unanswered-pane").hidden = !found.messages.length;
    } catch { /* what ails is told by the lists beside it */ }
  }

  #list() {
    const text = $("messages-text").value.trim().toLowerCase();
    const wanted = (this.#known ?? []).filter(({ conversation, sender, text: latest }) =>
      [conversation, sender?.name, sender?.id, latest].join(" ").toLowerCase().includes(text));
    const isOpen = (row) => nameOf(row) === this.#place?.[0] && row.conversation === this.#place[1];
    this.#rows.show(wanted.map((row) => [addressOf(row), { ...row, open: isOpen(row) }]));
    setText($("conversations-sum"), wanted.length ? String(wanted.length) : "");
    setText($("conversations-empty"), text ? "None has this in it." : "Nobody has written yet.");
    $("conversations-empty").hidden = wanted.length > 0 || !this.#known;
  }

  #offerAccounts(accounts) {
    const names = [...accounts.keys()].sort();
    const [all, ...offered] = $("messages-account").options;
    if (names.join() === offered.map(({ value }) => value).join()) return;
    const picked = $("messages-account").value;
    $("messages-account").replaceChildren(all, ...names.map((name) => new Option(name, name)));
    $("messages-account").value = names.includes(picked) ? picked : "";
  }
}
