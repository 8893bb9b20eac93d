// One account: where its machine is, what it did, and what waits to be sent on it.

import { Control } from "./control.js";
import { Diagram } from "./diagram.js";
import { $, ago, atMost, clock, h, setText, showState } from "./dom.js";
import { Lines } from "./journal.js";

const QUEUE_EVERY_MS = 1_000;
const QUEUED = 1_000;

export class AccountView {
  #client;
  #store;
  #name = null;
  #diagram;
  #lines;
  #control = null;

  constructor(client, store) {
    this.#client = client;
    this.#store = store;
    this.#diagram = new Diagram(client, $("account-picture"), $("account-picture-note"));
    this.#lines = new Lines($("account-journal"), $("account-journal-empty"), ({ machine }) => machine === this.#name);
    store.addEventListener("accounts", () => this.#show());
    store.addEventListener("entries", () => this.#showJournal());
    store.addEventListener("entry", ({ detail }) => this.#happened(detail));
    client.addEventListener("event:message", atMost(QUEUE_EVERY_MS, () => this.#loadQueue()));
    client.addEventListener("hello", () => this.#name && this.open(this.#name));
  }

  open(name) {
    if (name !== this.#name) {
      this.#control = new Control(this.#client, name);
      $("account-control").replaceChildren(this.#control.element, this.#control.note);
      $("queue").replaceChildren();
    }
    this.#name = name;
    setText($("account-title"), name);
    this.#showJournal();
    this.#show();
    if (this.#client.status !== "online") return;
    this.#diagram.show("channel");
    this.#loadQueue();
  }

  close() { this.#name = null; }

  /** What changes by the clock alone. Called every second. */
  tick() {
    const account = this.#store.accounts.get(this.#name);
    if (!account) return;
    const { since, last_receive_ms: received } = account;
    const now = this.#client.now();
    setText($("account-since"), since === null ? "unknown" : `${clock(since, "2-digit")}, ${ago(since, now)}`);
    setText($("account-received"), received === null ? "nothing yet" : ago(received, now));
  }

  #show() {
    if (this.#name === null) return;
    const account = this.#store.accounts.get(this.#name);
    $("account-known").hidden = !account;
    $("account-unknown").hidden = Boolean(account) || this.#client.status !== "online";
    if (!account) return;
    showState($("account-state"), account.state);
    setText($("account-generation"), String(account.generation));
    setText($("account-attempts"), String(account.attempts));
    setText($("account-conflicts"), String(account.conflicts));
    this.#showLease(account.lease);
    setText($("account-error"), account.error ?? "");
    $("account-disabled").hidden = account.enabled;
    this.#control.show(account);
    this.#diagram.stand(this.#store.standing(this.#name));
    this.tick();
  }

  /** Why one that waits has not got it is its account's error. */
  #showLease(lease) {
    $("account-shared").hidden = !lease;
    setText($("account-lease"), lease ? `${lease.state}${lease.term ? `, term ${lease.term}` : ""}` : "");
  }

  #showJournal() {
    if (this.#name === null) return;
    this.#lines.reset(this.#store.entries);
    this.#diagram.stand(this.#store.standing(this.#name));
  }

  #happened(entry) {
    if (this.#name === null || entry.machine !== this.#name) return;
    this.#lines.add(entry);
    this.#diagram.fire(entry);
  }

  async #loadQueue() {
    const name = this.#name;
    if (name === null || this.#client.status !== "online") return;
    let rows = [];
    let note = "Nothing waits to be sent.";
    try {
      const query = new URLSearchParams({ account: name, limit: QUEUED });
      rows = JSON.parse(await this.#client.read(`/api/v1/outbox?${query}`)).deliveries;
    } catch (error) {
      note = `The queue could not be loaded: ${error.message}.`;
    }
    if (name !== this.#name) return; // another one was picked meanwhile
    $("queue").replaceChildren(...rows.map(queueLine));
    setText($("queue-empty"), note);
    $("queue-empty").hidden = rows.length > 0;
    setText($("queue-sum"), rows.length ? String(rows.length) : "");
  }
}

function queueLine({ id, conversation, text, state, attempts, why, created_at: at }) {
  const body = h("span", "queued-text", text);
  body.dir = "auto";
  return h("li", "queued",
    h("time", "at", clock(at, "2-digit")), showState(h("span", "state"), state), body,
    h("span", "aside", [`#${id} to ${conversation}`, attempts && `${attempts} attempts`, why].filter(Boolean).join(", ")));
}
