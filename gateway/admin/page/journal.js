// The journal: lines that come live, and the view that filters them.

import { $, clock, h, showState, words } from "./dom.js";

const LINES = 1_000;

function whatOf({ kind, before, after, why }) {
  if (kind === "refusal") return [h("strong", "refused", "refused"), `: ${why || `while ${words(before)}`}`];
  if (before === after) return [showState(h("span", "state"), after)];
  return [words(before), h("span", "arrow", " \u2192 "), showState(h("span", "state"), after)];
}

/** Steps are named by their number, which stands in their line. */
const causeOf = (cause) => cause.replaceAll(/\bstep:(\d+)/g, "#$1");

function lineOf(entry) {
  const { seq, at, machine, trigger, row, cause, kind } = entry;
  const taken = row === null || row === undefined ? "" : h("span", "row-number", ` row ${row}`);
  const line = h("li", "step",
    h("span", "at", h("time", "", clock(at, "2-digit")), h("span", "seq", ` #${seq}`)),
    h("span", "machine", machine),
    h("span", "what", ...whatOf(entry)),
    h("span", "trigger", h("code", "", trigger), taken),
    h("span", "cause", cause ? `by ${causeOf(cause)}` : ""));
  line.dataset.kind = kind;
  return line;
}

const textOf = ({ machine, trigger, before, after, why, cause, guards, kind }) =>
  [machine, trigger, words(before), words(after), why, cause, kind, ...(guards ?? [])].join(" ").toLowerCase();

/** A list of at most LINES lines, newest first. What comes is drawn once a frame, however much that is. */
export class Lines {
  #list;
  #empty;
  #wanted;
  #waiting = [];
  #frame = 0;

  constructor(list, empty, wanted = () => true) {
    this.#list = list;
    this.#empty = empty;
    this.#wanted = wanted;
  }

  /** Draws anew, from all entries, oldest first. */
  reset(entries) {
    this.#waiting = [];
    const shown = entries.filter(this.#wanted).slice(-LINES).reverse();
    this.#list.replaceChildren(...shown.map(lineOf));
    this.#empty.hidden = shown.length > 0;
  }

  add(entry) {
    if (!this.#wanted(entry)) return;
    this.#waiting.push(entry);
    // No frame comes while nobody looks.
    if (this.#waiting.length > LINES) this.#waiting.shift();
    this.#frame ||= requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    this.#frame = 0;
    const lines = this.#waiting.reverse().map(lineOf);
    this.#waiting = [];
    this.#list.prepend(...lines);
    while (this.#list.childElementCount > LINES) this.#list.lastElementChild.remove();
    this.#empty.hidden = this.#list.childElementCount > 0;
  }
}

/** The view with its filters. */
export class JournalView {
  #store;
  #lines;
  #open = false;
  #paused = false;

  constructor(store) {
    this.#store = store;
    this.#lines = new Lines($("journal"), $("journal-empty"), (entry) => this.#wants(entry));
    store.addEventListener("entry", ({ detail }) => this.#live && this.#lines.add(detail));
    store.addEventListener("entries", () => this.#redraw());
    store.addEventListener("accounts", () => this.#offerMachines());
    for (const id of ["journal-machine", "journal-text", "journal-refusals"]) {
      $(id).addEventListener("input", () => this.#lines.reset(store.entries));
    }
    $("journal-pause").addEventListener("click", () => this.#pause(!this.#paused));
  }

  open() {
    this.#open = true;
    this.#redraw();
  }

  close() { this.#open = false; }

  get #live() { return this.#open && !this.#paused; }

  #redraw() {
    if (this.#live) this.#lines.reset(this.#store.entries);
  }

  #pause(paused) {
    this.#paused = paused;
    $("journal-pause").setAttribute("aria-pressed", String(paused));
    this.#redraw();
  }

  #wants(entry) {
    const machine = $("journal-machine").value;
    const text = $("journal-text").value.trim().toLowerCase();
    if (machine && (machine.endsWith("/*") ? !entry.machine.startsWith(machine.slice(0, -1)) : entry.machine !== machine)) {
      return false;
    }
    if ($("journal-refusals").checked && entry.kind !== "refusal") return false;
    return !text || textOf(entry).includes(text);
  }

  #offerMachines() {
    const group = $("journal-accounts");
    const names = [...this.#store.accounts.keys()].sort();
    if (names.join() === [...group.children].map(({ value }) => value).join()) return;
    group.replaceChildren(...names.map((name) => new Option(name, name)));
  }
}
