// How the file stands to what runs: a change that waits to be confirmed, and a file that is not what runs.

import { $, setText } from "./dom.js";

const MORE_MS = 300_000;

export class ConfigState {
  #client;
  #store;
  #window = null;

  constructor(client, store, ask) {
    this.#client = client;
    this.#store = store;
    store.addEventListener("lifecycle", () => this.#show());
    const decide = { "trial-confirm": "confirm", "trial-more": "extend", "trial-back": "cancel" };
    for (const [id, decision] of Object.entries(decide)) $(id).addEventListener("click", () => this.#decide(decision));
    $("drift-adopt").addEventListener("click", () => ask.adopt(store.lifecycle.config.on_disk));
    $("drift-restore").addEventListener("click", () => ask.rollBack({ revision: this.#wanted() }));
  }

  /** Called every second. */
  tick() {
    const until = this.#window?.confirm_by;
    if (!this.#window) return;
    const left = Math.max(0, Math.ceil((until - this.#client.now()) / 1000));
    setText($("trial-left"), until === null ? "as soon as it runs" : left ? leftOf(left) : "now");
  }

  /** What is to come back: what ran before the file was set aside, or what runs. */
  #wanted() {
    const { set_aside: aside, on_disk: disk, applied } = this.#store.lifecycle.config;
    return aside?.revision === disk ? aside.base : applied;
  }

  #show() {
    const { config, tickets = [] } = this.#store.lifecycle;
    this.#window = config?.window ?? null;
    showSection($("config-trial"), this.#window !== null);
    if (this.#window) setText($("trial-revision"), this.#window.revision.slice(0, 12));
    else setText($("trial-fault"), "");
    const drifts = Boolean(config?.drift) && !this.#window;
    showSection($("config-drift"), drifts);
    $("config-owned").hidden = !config || config.writable;
    setText($("config-owned-why"), config?.owner ?? "");
    if (drifts) this.#showDrift(config, tickets);
    this.tick();
  }

  #showDrift({ set_aside: aside, on_disk: disk, issues, writable }, tickets) {
    const waits = tickets.some(({ revision }) => revision === disk);
    const [title, why] = driftOf(aside?.revision === disk ? aside : null, issues, waits);
    setText($("drift-title"), title);
    setText($("drift-why"), why);
    $("drift-adopt").hidden = !writable || waits || issues.length > 0;
    $("drift-restore").hidden = !writable;
  }

  async #decide(decision) {
    const { revision } = this.#window;
    setText($("trial-fault"), "");
    try {
      await this.#client.request("config.confirm", { revision, decision, ...(decision === "extend" && { withinMs: MORE_MS }) });
    } catch (error) {
      setText($("trial-fault"), error.message);
    }
  }
}

/** Who was in what goes is not left nowhere: a keyboard would begin at the top of the page again. */
export function showSection(section, shown) {
  const moves = !shown && section.contains(document.activeElement);
  section.hidden = !shown;
  if (moves) $("config-title").focus();
}

function driftOf(aside, issues, waits) {
  if (issues.length) return ["The file cannot be used", `What ran before runs on. ${issues.map(({ message }) => message).join("; ")}`];
  if (aside) return ["The file is not what runs", `It holds a change that was rolled back: ${aside.why}.`];
  if (waits) return ["The file waits for a restart", "What it holds runs after the restart that is pending."];
  return ["The file is not what runs", "It was changed, and that change was not taken up."];
}

function leftOf(seconds) {
  if (seconds < 120) return `${seconds} s`;
  return seconds < 7_200 ? `${Math.floor(seconds / 60)} min ${seconds % 60} s` : `${Math.floor(seconds / 3_600)} h`;
}
