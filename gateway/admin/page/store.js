// What is known of the gateway: its lifecycle, its accounts, the latest of its journal. The views draw it, none owns it.

import { atMost, eachFrame } from "./dom.js";

const KEPT = 10_000;
const FIRST = 1_000;
const SETTLE_MS = 300;
export const GATEWAY = "gateway"; // the name of the lifecycle's machine

export const nameOf = ({ channel, account }) => `${channel}/${account}`;

/** Of which kind a machine is, by its name: an account's is its channel and its own. */
export function kindOf(machine) {
  if (machine === GATEWAY) return "lifecycle";
  const [first] = machine.split("/");
  return ["change", "circuit", "delivery", "incoming", "lease"].includes(first) ? first : "channel";
}

/**
 * Events: "lifecycle", "accounts" (look at what is here), "entry" (detail: one journal entry, as it happens),
 * "entries" (the whole list is another one), "fault" (detail: why something could not be loaded, "" when it could).
 */
export class Store extends EventTarget {
  lifecycle = {};
  accounts = new Map(); // "channel/account" -> as GET /api/v1/channels has it
  entries = []; // oldest first
  readAt = 0; // performance.now() of the lifecycle's reading: what is due counts from it
  #client;
  #kept = KEPT;
  #held = null; // entries that came while the list was under way
  #accountsSoon = eachFrame(() => this.#emit("accounts"));

  constructor(client) {
    super();
    this.#client = client;
    const on = (name, handle) => client.addEventListener(`event:${name}`, ({ detail }) => handle(detail));
    const refresh = atMost(SETTLE_MS, () => this.#loadStatus());
    client.addEventListener("hello", () => this.#load());
    on("journal", (entry) => this.#take(entry));
    on("config", refresh);
    on("channel", (account) => {
      this.#setAccount(account);
      refresh(); // what is degraded hangs on accounts
    });
    on("lifecycle", (lifecycle) => {
      this.#setLifecycle(lifecycle);
      refresh(); // accounts come and go with a reload
    });
  }

  /** The state of a machine, and the one before it where the journal still has that. */
  standing(machine) {
    const state = machine === GATEWAY ? this.lifecycle.state : this.accounts.get(machine)?.state;
    const moved = this.entries.findLast((entry) => entry.machine === machine && entry.before !== entry.after);
    return { state, previous: moved?.before };
  }

  clear() {
    this.lifecycle = {};
    this.accounts.clear();
    this.entries = [];
    this.#kept = KEPT;
    for (const name of ["accounts", "lifecycle", "entries"]) this.#emit(name); // accounts first, as when they are loaded
  }

  /** Entries from before those that are here; how many came. */
  async loadEarlier() {
    const before = this.entries[0]?.seq;
    if (!before) return 0;
    try {
      const { entries } = await this.#client.request("journal.list", { before, limit: FIRST });
      this.#kept += entries.length;
      this.entries = [...entries, ...this.entries];
      this.#emit("entries");
      return entries.length;
    } catch (error) {
      if (!error.disconnected) this.#emit("fault", `The journal could not be loaded: ${error.message}`);
      return null;
    }
  }

  #load() {
    this.#loadStatus();
    this.#loadJournal();
  }

  async #loadStatus() {
    try {
      const { accounts, ...rest } = await this.#client.request("status");
      this.accounts = new Map(accounts.map((account) => [nameOf(account), account]));
      this.#emit("accounts");
      this.#setLifecycle(rest);
      this.#emit("fault", "");
    } catch (error) {
      if (!error.disconnected) this.#emit("fault", `What runs could not be loaded: ${error.message}`);
    }
  }

  async #loadJournal() {
    this.#held = [];
    let found = [];
    try {
      found = (await this.#client.request("journal.list", { limit: FIRST })).entries;
    } catch (error) {
      if (!error.disconnected) this.#emit("fault", `The journal could not be loaded: ${error.message}`);
    }
    const known = [...found, ...this.#held.filter(({ seq }) => !(seq <= found.at(-1)?.seq))];
    this.#held = null;
    if (!known.length) return;
    // A gateway with a new state folder counts from the beginning again.
    const older = this.entries.at(-1)?.seq <= known.at(-1).seq ? this.entries : [];
    this.entries = [...older.filter(({ seq }) => seq < known[0].seq), ...known].slice(-this.#kept);
    this.#emit("entries");
  }

  #take(entry) {
    if (this.#held) this.#held.push(entry);
    else {
      this.entries.push(entry);
      if (this.entries.length > this.#kept * 1.1) this.entries = this.entries.slice(-this.#kept);
    }
    this.#emit("entry", entry);
  }

  #setAccount(account) {
    this.accounts.set(nameOf(account), account);
    this.#accountsSoon(); // many may come in a frame
  }

  #setLifecycle(lifecycle) {
    // The event says nothing of the config: what is known of that stays.
    this.lifecycle = { config: this.lifecycle.config, ...lifecycle };
    this.readAt = performance.now();
    this.#emit("lifecycle");
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
