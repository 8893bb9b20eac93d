// The journal: lines that come live, and the view that filters them and goes back in them.

import { $, clock, eachFrame, h, showState, words } from "./dom.js";
import { Scrubber } from "./scrubber.js";

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
  line.dataset.seq = seq;
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
  #marked = null;
  #drawSoon = eachFrame(() => this.#draw());

  constructor(list, empty, wanted = () => true) {
    this.#list = list;
    this.#empty = empty;
    this.#wanted = wanted;
  }

  /** Draws anew, from all entries, oldest first. */
  reset(entries) {
    this.#fill(entries.filter(this.#wanted).slice(-LINES));
  }

  /** Whether it is one that is shown here. */
  add(entry) {
    if (!this.#wanted(entry)) return false;
    this.#waiting.push(entry);
    // No frame comes while nobody looks.
    if (this.#waiting.length > LINES) this.#waiting.shift();
    this.#drawSoon();
    return true;
  }

  /** Marks the line of one of these entries, and has it in sight; drawn anew where they are others, or it is not there. */
  mark({ entries, index, others }) {
    const line = () => this.#list.querySelector(`[data-seq="${entries[index].seq}"]`);
    if (others || !line()) {
      const first = Math.max(0, Math.min(index - LINES / 2, entries.length - LINES));
      this.#fill(entries.slice(first, first + LINES));
    }
    this.#marked?.removeAttribute("aria-current");
    this.#marked = line();
    this.#marked.setAttribute("aria-current", "true");
    // By a class, and not by what stands before it: a rule for that is looked up anew for each line that comes.
    for (const each of this.#list.children) each.classList.toggle("later", Number(each.dataset.seq) > entries[index].seq);
    // Not scrollIntoView, which would move the page, too, under the hand that has the slider.
    const [mark, whole] = [this.#marked.getBoundingClientRect(), this.#list.getBoundingClientRect()];
    this.#list.scrollTop += mark.y + mark.height / 2 - whole.y - whole.height / 2;
  }

  #fill(entries) {
    this.#waiting = [];
    this.#list.replaceChildren(...entries.map(lineOf).reverse());
    this.#empty.hidden = entries.length > 0;
  }

  #draw() {
    const lines = this.#waiting.reverse().map(lineOf);
    this.#waiting = [];
    this.#list.prepend(...lines);
    while (this.#list.childElementCount > LINES) this.#list.lastElementChild.remove();
    this.#empty.hidden = this.#list.childElementCount > 0;
  }
}

/** The view with its filters and its scrubber. */
export class JournalView {
  #store;
  #lines;
  #scrubber;
  #open = false;

  constructor(client, store) {
    this.#store = store;
    const wants = (entry) => this.#wants(entry);
    this.#lines = new Lines($("journal"), $("journal-empty"), wants);
    this.#scrubber = new Scrubber(client, store, wants, (point) => this.#show(point));
    store.addEventListener("entry", ({ detail }) => this.#happened(detail));
    store.addEventListener("entries", () => this.#redraw());
    store.addEventListener("accounts", () => this.#offerMachines());
    for (const id of ["journal-machine", "journal-text", "journal-refusals"]) {
      $(id).addEventListener("input", () => this.#scrubber.refresh());
    }
  }

  open() {
    this.#open = true;
    this.#redraw();
  }

  close() { this.#open = false; }

  #redraw() {
    // What is left behind at signing out is taken away unseen.
    if (this.#open || !this.#store.entries.length) this.#scrubber.refresh();
  }

  #happened(entry) {
    if (!this.#open) return;
    if (this.#scrubber.held ? this.#wants(entry) : this.#lines.add(entry)) this.#scrubber.add();
  }

  /** At a point of the past its line is marked; without one the list is live. */
  #show(point) {
    if (!point) this.#lines.reset(this.#store.entries);
    else if (point.entries.length) this.#lines.mark(point);
    else this.#lines.reset([]);
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
