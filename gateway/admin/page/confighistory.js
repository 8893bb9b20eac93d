// The history of the config: who brought what, when and why, what came of it, what it changed, and the way back to it.

import { changeList, toned } from "./changes.js";
import { $, atMost, button, clock, h, setText, showState } from "./dom.js";
import { showDifference } from "./editor.js";

const PAGE = 20;
const SETTLE_MS = 500;
const PATHS = 3;

/** `rollBack(entry)` is called when a person wants an entry back. */
export class ConfigHistory {
  #client;
  #store;
  #rollBack;
  #rows = new Map(); // number -> its row's parts
  #open = false;

  constructor(client, store, rollBack) {
    this.#client = client;
    this.#store = store;
    this.#rollBack = rollBack;
    const refresh = atMost(SETTLE_MS, () => this.load());
    client.addEventListener("event:config", refresh);
    store.addEventListener("lifecycle", () => this.#mark());
    $("history-older").addEventListener("click", () => this.load(Math.min(...this.#rows.keys())));
  }

  open() {
    this.#open = true;
    this.load();
  }

  close() { this.#open = false; }

  clear() {
    this.#rows.clear();
    $("history").replaceChildren();
  }

  async load(before) {
    if (!this.#open || this.#client.status !== "online") return;
    try {
      const { entries } = await this.#client.request("config.history", before ? { limit: PAGE, before } : { limit: PAGE });
      this.#take(entries, before);
      setText($("history-note"), this.#rows.size ? "" : "No revision has come yet.");
    } catch (error) {
      if (!error.disconnected) setText($("history-note"), `The history could not be loaded: ${error.message}`);
    }
  }

  /** A row stays the same one, or what is unfolded in it, and the focus, would go with every change. */
  #take(entries, before) {
    for (const entry of entries) {
      if (!this.#rows.has(entry.number)) this.#rows.set(entry.number, this.#row(entry));
      this.#show(this.#rows.get(entry.number), entry);
    }
    const sorted = [...this.#rows].sort(([one], [other]) => other - one).map(([, { row }]) => row);
    sorted.forEach((row, index) => {
      if ($("history").children[index] !== row) $("history").insertBefore(row, $("history").children[index] ?? null);
    });
    if (before || this.#rows.size === entries.length) {
      $("history-older").hidden = entries.length < PAGE || this.#rows.has(1);
    }
    this.#mark();
  }

  #row(entry) {
    const [outcome, when, note, paths, runs] = ["state", "at", "entry-note", "paths", "runs"].map((name) => h("span", name));
    const detail = h("div", "entry-detail");
    detail.hidden = true;
    const label = `entry ${entry.number}`;
    const show = button("small", "Show", () => this.#unfold(entry, show, detail));
    show.setAttribute("aria-expanded", "false");
    show.setAttribute("aria-label", `Show ${label}`);
    const back = button("small", "Roll back to this", () => this.#rollBack(entry));
    back.setAttribute("aria-label", `Roll back to this: ${label}`);
    const by = entry.requester.startsWith(entry.road) ? entry.requester : `${entry.requester}, ${entry.road}`;
    const what = h("span", "entry-what", note, h("span", "aside who", `by ${by}`));
    const row = h("li", "entry",
      h("span", "number", `#${entry.number}`), outcome, when, what, paths, h("span", "control", runs, show, back), detail);
    return { row, outcome, when, note, paths, runs, back, entry };
  }

  #show(row, entry) {
    row.entry = entry;
    showState(row.outcome, entry.outcome);
    setText(row.when, clock(entry.at, "2-digit"));
    setText(row.note, entry.note);
    const more = entry.changed_paths.length - PATHS;
    setText(row.paths, entry.changed_paths.slice(0, PATHS).join(", ") + (more > 0 ? ` and ${more} more` : ""));
    row.outcome.title = [entry.stage, entry.why].filter(Boolean).join(": ");
  }

  /** Which of them runs: the newest entry of the applied revision. */
  #mark() {
    const applied = this.#store.lifecycle.config?.applied;
    const newest = Math.max(0, ...[...this.#rows.values()].filter(({ entry }) => entry.revision === applied).map(({ entry }) => entry.number));
    for (const { entry, runs, back } of this.#rows.values()) {
      setText(runs, entry.number === newest ? "runs now" : "");
      back.hidden = entry.revision === applied;
    }
  }

  async #unfold(entry, show, detail) {
    const open = detail.hidden;
    detail.hidden = !open;
    show.setAttribute("aria-expanded", String(open));
    setText(show, open ? "Hide" : "Show");
    show.setAttribute("aria-label", `${show.textContent} entry ${entry.number}`);
    if (!open) return;
    const picker = h("select", "");
    picker.append(new Option("the one before it", ""), new Option("what runs now", "now"));
    const body = h("div", "entry-body");
    picker.addEventListener("change", () => this.#compare(entry, picker.value, body));
    detail.replaceChildren(h("label", "pick", h("span", "", "Compared with"), picker), body);
    await this.#compare(entry, "", body);
  }

  async #compare({ number }, against, body) {
    const other = against && this.#store.lifecycle.config.applied;
    try {
      const found = await this.#client.request("config.history", { revision: String(number), ...(other && { against: other }) });
      body.replaceChildren(...this.#story(found));
      await drawTexts(found, body);
    } catch (error) {
      body.replaceChildren(h("p", "fault", error.message));
    }
  }

  #story({ stage, why, issues, changes }) {
    const parts = issues.map(({ message }) => h("p", "fault", message));
    if (stage || why) parts.unshift(h("p", "", toned("soft", "calm", [stage && `Stage ${stage}`, why].filter(Boolean).join(": "))));
    if (changes) parts.push(changeList(changes));
    else if (!issues.length) parts.push(h("p", "soft", "It is the first of which anything is known."));
    return parts;
  }
}

async function drawTexts({ number, raw, against_raw: before }, body) {
  if (raw === null) return;
  const texts = h("div", "texts");
  body.append(texts);
  await showDifference(texts, `Text of entry ${number}`, before ?? raw, raw);
}
