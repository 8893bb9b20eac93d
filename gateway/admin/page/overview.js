// The overview: what waits and what ails, one row an account, and the diagram of the lifecycle.

import { Control } from "./control.js";
import { Diagram } from "./diagram.js";
import { $, ago, atMost, button, clock, h, setText, showState } from "./dom.js";
import { GATEWAY, kindOf } from "./store.js";

const MINUTES = 30;
const COUNT_EVERY_MS = 5_000;
const COUNTED = 1_000;
const SVG = "http://www.w3.org/2000/svg";

export class Overview {
  #client;
  #store;
  #diagram;
  #rows = new Map(); // "channel/account" -> its row's parts
  #tickets = new Map(); // id -> its line's parts
  #open = false;

  constructor(client, store) {
    this.#client = client;
    this.#store = store;
    this.#diagram = new Diagram(client, $("picture"), $("picture-note"));
    store.addEventListener("lifecycle", () => this.#showLifecycle());
    store.addEventListener("accounts", () => this.#showAccounts());
    store.addEventListener("entries", () => this.#stand());
    store.addEventListener("entry", ({ detail }) => this.#happened(detail));
    const count = atMost(COUNT_EVERY_MS, () => this.#count());
    client.addEventListener("event:message", count);
    client.addEventListener("hello", () => this.#open && this.open());
    $("machine").addEventListener("change", () => this.#draw());
  }

  open() {
    this.#open = true;
    if (this.#client.status !== "online") return;
    this.#draw();
    this.#count();
  }

  close() { this.#open = false; }

  /** What changes by the clock alone. Called every second. */
  tick() {
    for (const [name, { received }] of this.#rows) {
      const at = this.#store.accounts.get(name).last_receive_ms;
      setText(received, at === null ? "nothing received yet" : `received ${ago(at, this.#client.now())}`);
    }
    const passed = performance.now() - this.#store.readAt;
    for (const { due, dueInMs } of this.#tickets.values()) {
      const left = Math.ceil((dueInMs - passed) / 1000);
      setText(due, left > 0 ? `due in ${left} s` : "due now");
    }
  }

  // Tickets and what ails

  #showLifecycle() {
    const { tickets = [], degraded = [] } = this.#store.lifecycle;
    const before = this.#tickets;
    // The line of a ticket stays the same one, or a press on its button would miss.
    this.#tickets = new Map(tickets.map((ticket) => [ticket.id, before.get(ticket.id) ?? this.#ticketLine(ticket)]));
    for (const { id, due_in_ms: dueInMs } of tickets) this.#tickets.get(id).dueInMs = dueInMs;
    const lines = [...this.#tickets.values()].map(({ line }) => line);
    if (lines.length !== $("tickets").childElementCount || lines.some((line) => !line.isConnected)) {
      $("tickets").replaceChildren(...lines);
    }
    $("degraded").replaceChildren(...degraded.map(({ detail, remedy }) =>
      h("li", "notice", h("strong", "", "Degraded"), `: ${detail}. `, h("span", "remedy", `What helps: ${remedy}.`))));
    this.#stand();
    this.tick();
  }

  #ticketLine({ id, reason, requester }) {
    const due = h("span", "due");
    due.ariaHidden = "true"; // it changes every second
    const note = h("span", "control-note");
    note.role = "alert";
    const cancel = button("small", "Cancel", () => this.#cancel(id, note));
    cancel.setAttribute("aria-label", `Cancel the restart: ${reason}`);
    const why = [reason, requester && `asked by ${requester}`].filter(Boolean).join(", ");
    const line = h("li", "notice ticket",
      h("span", "why", h("strong", "", "Restart pending"), why && `: ${why}`, " ", due, " ", note), cancel);
    return { line, due, dueInMs: 0 };
  }

  async #cancel(id, note) {
    try {
      await this.#client.request("lifecycle.cancelRestart", { id });
    } catch (error) {
      setText(note, error.message);
    }
  }

  // Accounts

  #showAccounts() {
    const { accounts } = this.#store;
    const names = [...accounts.keys()].sort();
    const rows = new Map(names.map((name) => [name, this.#rows.get(name) ?? this.#row(name)]));
    const changed = names.join() !== [...this.#rows.keys()].join();
    this.#rows = rows;
    // Only when they are others: a row that is taken out loses the focus.
    if (changed) $("accounts").replaceChildren(...[...rows.values()].map(({ row }) => row));
    for (const [name, row] of rows) this.#showAccount(row, accounts.get(name));
    $("accounts-empty").hidden = names.length > 0;
    const running = [...accounts.values()].filter(({ state }) => state === "running").length;
    setText($("accounts-sum"), names.length ? `${running} of ${names.length} running` : "");
    this.tick();
  }

  #row(name) {
    const link = h("a", "name", name);
    link.href = `#account/${name}`;
    const [state, generation, received, fault] = ["state", "generation", "received", "fault"].map((part) => h("span", part));
    const chart = h("span", "chart");
    const control = new Control(this.#client, name);
    const row = h("li", "account", link, state, generation, received, chart, control.element, control.note, fault);
    return { row, state, generation, received, fault, chart, control };
  }

  #showAccount({ state, generation, fault, control }, account) {
    showState(state, account.state).title = account.since ? `since ${clock(account.since, "2-digit")}` : "";
    setText(generation, `generation ${account.generation}${account.enabled ? "" : ", disabled"}`);
    setText(fault, account.state === "running" || !account.error ? "" : account.error);
    control.show(account);
  }

  /** Messages a minute, of the latest that are kept. */
  async #count() {
    if (!this.#open || this.#client.status !== "online") return;
    try {
      const { messages } = JSON.parse(await this.#client.read(`/api/v1/messages?limit=${COUNTED}`));
      const now = this.#client.now();
      for (const [name, { chart }] of this.#rows) chart.replaceChildren(chartOf(countsOf(messages, name, now)));
    } catch { /* a chart is no reason for an alarm; what ails the store is told above */ }
  }

  // The diagram

  #draw() {
    this.#diagram.show($("machine").value);
    this.#stand();
  }

  #stand() {
    const ours = $("machine").value === "lifecycle";
    this.#diagram.stand(ours ? this.#store.standing(GATEWAY) : {});
  }

  #happened(entry) {
    if (entry.machine === GATEWAY) this.#stand();
    if (this.#open && kindOf(entry.machine) === $("machine").value) this.#diagram.fire(entry);
  }
}

function countsOf(messages, name, now) {
  const counts = Array(MINUTES).fill(0);
  for (const { channel, account, received_at: at } of messages) {
    const minute = MINUTES - 1 - Math.floor((now - at) / 60_000);
    if (`${channel}/${account}` === name && minute >= 0) counts[Math.min(minute, MINUTES - 1)] += 1;
  }
  return counts;
}

function chartOf(counts) {
  const most = Math.max(...counts);
  const chart = document.createElementNS(SVG, "svg");
  chart.setAttribute("viewBox", `0 0 ${MINUTES * 4} 24`);
  chart.setAttribute("preserveAspectRatio", "none");
  chart.setAttribute("role", "img");
  chart.setAttribute("aria-label", `${counts.at(-1)} messages in the last minute, ${most} at most in one of the last ${MINUTES}`);
  counts.forEach((count, minute) => {
    const bar = document.createElementNS(SVG, "rect");
    const height = count ? Math.max(2, (count / most) * 23) : 1;
    const place = { x: minute * 4, y: 24 - height, width: 3, height };
    for (const [name, value] of Object.entries(place)) bar.setAttribute(name, value);
    if (count) bar.classList.add("some");
    chart.append(bar);
  });
  return chart;
}
