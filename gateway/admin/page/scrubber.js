// The journal's scrubber: takes the machines back to any entry, and shows them as they were.

import { Diagram } from "./diagram.js";
import { $, clock, eachFrame, setText, showState, words } from "./dom.js";
import { placeOf, standingAt } from "./replay.js";
import { kindOf } from "./store.js";

const LIVE = "Every entry as it comes. Move the slider to see the machines as they were.";

function happened({ kind, trigger, before, after, why }) {
  if (kind === "refusal") return `${trigger} refused while ${words(before)}${why ? `: ${why}` : ""}`;
  return before === after ? `${trigger}, still ${words(after)}` : `${trigger}: ${words(before)} \u2192 ${words(after)}`;
}

/** Two ways to be: live, and held at an entry. What comes while it is held is counted. */
export class Scrubber {
  #store;
  #wanted;
  #show;
  #diagram;
  #slider = $("journal-at");
  #entries = []; // as they were when somebody took hold, oldest first
  #shown = []; // those of them that the filters let through
  #held = false;
  #lines = 0; // how many the slider has while it is live
  #missed = 0;
  #countSoon = eachFrame(() => this.#count());
  #drawSoon = eachFrame(() => this.#draw());

  /**
   * `wanted` says which entries the filters let through. `show` is told what the list is to show: entries, which of
   * them is the point, and whether they are others than before; nothing when it is live again.
   */
  constructor(client, store, wanted, show) {
    this.#store = store;
    this.#wanted = wanted;
    this.#show = show;
    this.#diagram = new Diagram(client, $("replay-picture"), $("replay-note"));
    this.#slider.addEventListener("input", () => {
      const fromEnd = Number(this.#slider.max) - Number(this.#slider.value);
      if (!this.#held) this.#hold(fromEnd);
      this.#drawSoon();
    });
    $("journal-live").addEventListener("click", () => this.#turn());
    $("journal-earlier").addEventListener("click", () => this.#loadEarlier());
  }

  get held() { return this.#held; }

  get #entry() { return this.#shown[Number(this.#slider.value)]; }

  /** Live, one more entry came that the filters let through; held, one that is seen later. */
  add() {
    if (this.#held) this.#missed += 1;
    else this.#lines += 1;
    this.#countSoon();
  }

  /** The entries, or what the filters let through, are others. */
  refresh() {
    const { entries } = this.#store;
    // Signed out; or the gateway has a new state folder, and counts from the beginning again.
    if (!entries.length || entries.at(-1).seq < this.#entries.at(-1)?.seq) this.#held = false;
    $("journal-earlier").setAttribute("aria-disabled", String(!entries.length || entries[0].seq === 1));
    if (this.#held) this.#keepPoint(entries);
    else this.#goOn(entries);
  }

  #turn() {
    if (this.#held) {
      this.#held = false;
      this.#goOn(this.#store.entries);
    } else {
      this.#hold(0);
      this.#draw();
    }
  }

  #goOn(entries) {
    this.#lines = entries.filter(this.#wanted).length;
    this.#missed = 0;
    this.#entries = this.#shown = [];
    $("replay").hidden = true;
    this.#show(null);
    this.#say(LIVE, "live");
    this.#count();
  }

  #hold(fromEnd) {
    this.#held = true;
    this.#entries = [...this.#store.entries];
    this.#shown = this.#entries.filter(this.#wanted);
    this.#set(this.#shown.length - 1 - fromEnd);
  }

  #keepPoint(entries) {
    const { seq } = this.#entry ?? this.#entries.at(-1) ?? entries.at(-1);
    const [first, last] = [this.#entries[0]?.seq, this.#entries.at(-1)?.seq];
    const older = entries.filter((entry) => entry.seq < first);
    this.#missed = entries.filter((entry) => entry.seq > last && this.#wanted(entry)).length;
    this.#entries = [...older, ...this.#entries];
    this.#shown = this.#entries.filter(this.#wanted);
    this.#set(placeOf(this.#shown, seq));
    this.#draw(true);
  }

  #set(index) {
    this.#slider.max = Math.max(0, this.#shown.length - 1);
    this.#slider.value = Math.max(0, index);
  }

  async #loadEarlier() {
    const load = $("journal-earlier");
    if (load.ariaDisabled === "true" || load.ariaBusy === "true") return;
    load.ariaBusy = "true";
    if (await this.#store.loadEarlier() === 0) load.ariaDisabled = "true";
    load.ariaBusy = "false";
  }

  #count() {
    setText($("journal-live"), this.#held ? `Live${this.#missed ? ` (${this.#missed} new)` : ""}` : "Pause");
    if (this.#held) return;
    this.#slider.max = Math.max(0, this.#lines - 1);
    this.#slider.value = this.#slider.max;
  }

  #draw(others = false) {
    if (!this.#held) return; // let go meanwhile
    const entry = this.#entry;
    this.#count();
    this.#show({ entries: this.#shown, index: Number(this.#slider.value), others });
    $("replay").hidden = !entry;
    if (entry) {
      this.#say(`As of ${clock(entry.at, "2-digit")}, entry ${entry.seq}: ${entry.machine} ${happened(entry)}`);
      this.#light(entry);
    } else this.#say("Nothing that fits has happened yet.");
  }

  #say(text, short = text) {
    setText($("journal-as-of"), text);
    this.#slider.setAttribute("aria-valuetext", short);
  }

  async #light(entry) {
    const picked = $("journal-machine").value;
    // Of a choice that is one machine that one is shown, otherwise whose entry it is.
    const machine = picked && !picked.endsWith("/*") ? picked : entry.machine;
    const standing = standingAt(this.#entries, placeOf(this.#entries, entry.seq), machine);
    setText($("replay-machine"), machine);
    if (standing.state) showState($("replay-state"), standing.state);
    $("replay-state").hidden = !standing.state;
    $("replay-picture").ariaBusy = "true"; // the picture may have to come first
    await this.#diagram.show(kindOf(machine));
    if (!this.#held || this.#entry !== entry) return; // moved on meanwhile
    this.#diagram.stand({ ...standing, when: "then" });
    this.#diagram.keepLit(entry.machine === machine ? entry : {});
    $("replay-picture").ariaBusy = "false";
  }
}
