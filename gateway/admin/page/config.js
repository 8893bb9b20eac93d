// The config: its text with help, faults at their lines and the plan as a person types; applied, confirmed, taken back.

import { planParts, receiptParts } from "./changes.js";
import { Ask } from "./configask.js";
import { completionsAt, showHelp } from "./confighelp.js";
import { ConfigHistory } from "./confighistory.js";
import { ConfigState, showSection } from "./configstate.js";
import { $, atMost, button, h, setReason, setText } from "./dom.js";
import { Editor } from "./editor.js";

const PLAN_AFTER_MS = 300;
const HELP_AFTER_MS = 120;
const APPLY_MS = 120_000; // accounts are given time to settle

export class ConfigView {
  #client;
  #store;
  #editor;
  #state;
  #ask;
  #history;
  #open = false;
  #schema = null;
  #base = null; // {hash, text}: the file that the text in the editor began as
  #theirs = null; // the same, of a file that somebody else changed meanwhile
  #plan = null; // of the text as it is; null while there is none
  #faults = [];
  #planned = 0; // counts the plans that were asked for: an answer to an older one is late
  #receipt = null; // of the last write, while it is not at its end
  #busy = false;
  #loading = false;
  #wanted = false;
  #makePlan;

  constructor(client, store) {
    this.#client = client;
    this.#store = store;
    const help = atMost(HELP_AFTER_MS, () => this.#help());
    this.#editor = new Editor($("config-editor"), "Text of the config", {
      onChange: () => this.#changed(),
      onPlace: help,
      complete: (text, place) => this.#schema && completionsAt(this.#schema, text, place),
    });
    this.#ask = new Ask(client, (receipt) => this.#done(receipt));
    this.#state = new ConfigState(client, store, this.#ask);
    this.#history = new ConfigHistory(client, store, (entry) => this.#ask.rollBack(entry));
    this.#makePlan = atMost(PLAN_AFTER_MS, () => this.#askForPlan());
    client.addEventListener("hello", () => {
      this.#load();
      this.#history.load();
    });
    client.addEventListener("status", () => this.#showReason());
    store.addEventListener("lifecycle", () => {
      this.#compareWithDisk();
      this.#follow();
      this.#showReason();
    });
    $("config-apply").addEventListener("click", () => this.#apply());
    $("config-discard").addEventListener("click", () => this.#begin(this.#base));
    $("stale-theirs").addEventListener("click", () => this.#begin(this.#theirs));
    // What of theirs was not taken is dropped, and the plan shows that.
    $("stale-mine").addEventListener("click", () => this.#begin(this.#theirs, true));
    addEventListener("beforeunload", (event) => this.#isDirty && event.preventDefault());
  }

  async open() {
    this.#open = true;
    this.#history.open();
    try {
      await this.#editor.open();
      await this.#load();
    } catch (error) {
      this.#tell(h("p", "fault", `The editor could not be loaded: ${error.message}`));
    }
  }

  close() {
    this.#open = false;
    this.#history.close();
  }

  /** Somebody signs out: nothing is left to see. */
  clear() {
    this.#base = this.#theirs = this.#plan = this.#receipt = null;
    this.#faults = [];
    if (this.#editor.isOpen) this.#editor.set("");
    this.#history.clear();
    for (const id of ["config-plan", "config-outcome", "config-faults", "config-help"]) $(id).replaceChildren();
    $("config-note").value = "";
  }

  tick() { this.#state.tick(); }

  get #isDirty() { return this.#base !== null && this.#editor.text !== this.#base.text; }

  // What is on disk

  /** One at a time: what is asked for meanwhile is done once more, after it. */
  async #load() {
    this.#wanted = true;
    if (this.#loading) return;
    this.#loading = true;
    while (this.#wanted && this.#open && this.#client.status === "online" && this.#editor.isOpen) {
      this.#wanted = false;
      try {
        // A config may bring a network of its own, and with it more to say.
        this.#schema = (await this.#client.request("config.schema")).schema;
        await this.#take(await this.#client.request("config.get"));
        this.#help();
      } catch (error) {
        if (!error.disconnected) this.#tell(h("p", "fault", `The config could not be loaded: ${error.message}`));
      }
    }
    this.#loading = false;
  }

  async #take({ raw, hash, issues, path }) {
    setText($("config-path"), path);
    const found = { hash, text: raw ?? await this.#whatRuns() };
    $("config-unread").hidden = raw !== null;
    const isOurs = hash === this.#base?.hash || found.text === this.#editor.text; // perhaps its answer was lost
    if (!this.#isDirty || isOurs) this.#begin(found, this.#isDirty);
    else if (hash !== this.#theirs?.hash) this.#foundStale(found);
    if (raw === null && !this.#isDirty) this.#showFaults(issues.map((issue) => ({ ...issue, elsewhere: true })));
  }

  /** A file that cannot be read is not shown: nobody could tell what in it is a secret. */
  async #whatRuns() {
    const { applied } = (await this.#client.request("status")).config;
    try {
      return (await this.#client.request("config.history", { revision: applied })).raw ?? "";
    } catch {
      return ""; // a part of a revision may run, which no text is
    }
  }

  /** Something was written, by whomever. */
  #compareWithDisk() {
    const disk = this.#store.lifecycle.config?.on_disk;
    const known = this.#theirs ?? this.#base;
    if (this.#open && !this.#busy && known && disk && disk !== (known.hash ?? "missing")) this.#load();
    else if (this.#theirs && !this.#theirs.paths) this.#tellPaths(this.#theirs);
  }

  /** What is written from now on is written over this; `keeps` what stands in the editor, else that is this, too. */
  #begin(found, keeps = false) {
    this.#base = found;
    this.#theirs = null;
    if (!keeps && this.#editor.text !== found.text) this.#editor.set(found.text);
    this.#editor.compare(null);
    showSection($("config-stale"), false);
    this.#changed();
  }

  // Somebody else was here

  #foundStale(found) {
    this.#theirs = found;
    this.#editor.compare(found.text);
    showSection($("config-stale"), true);
    setText($("stale-paths"), "");
    this.#changed();
    this.#tellPaths(found);
  }

  /** Which parts differ. The history may not have it yet: what is written is noticed a moment later. */
  async #tellPaths(found) {
    try {
      const { changes } = await this.#client.request("config.history", { revision: found.hash, against: this.#base.hash });
      found.paths = changes?.map(({ path }) => path) ?? [];
    } catch {
      return; // asked again when it is noticed; until then the text itself shows it
    }
    if (this.#theirs === found && found.paths.length) setText($("stale-paths"), `Changed there: ${found.paths.join(", ")}.`);
  }

  // The plan as a person types

  #changed() {
    this.#plan = null;
    this.#planned += 1;
    this.#showReason();
    this.#makePlan();
  }

  async #askForPlan() {
    if (!this.#base || this.#client.status !== "online") return undefined;
    if (this.#theirs) return this.#showPlan(null, h("p", "soft", "The plan is made when you have decided about what changed."));
    if (!this.#isDirty) return this.#showPlan(null, h("p", "soft", "Nothing is changed yet. What a change would do stands here as you type."));
    const number = this.#planned;
    const raw = this.#editor.text;
    if (!raw.trim()) return this.#refusePlan([{ path: "", message: "an empty text is no config" }]);
    let plan = null;
    let fault = null;
    try {
      plan = await this.#client.request("config.plan", { raw, baseHash: this.#base.hash });
    } catch (error) {
      fault = error;
    }
    if (number !== this.#planned) return undefined;
    if (plan) return this.#showPlan(plan, ...planParts(plan));
    if (fault.disconnected) return undefined; // asked again when the line is back
    if (fault.details?.currentHash) return this.#load();
    return this.#refusePlan(fault.details?.issues ?? [{ path: "", message: fault.message }]);
  }

  #showPlan(plan, ...parts) {
    this.#plan = plan;
    if ($("config-unread").hidden || this.#isDirty) this.#showFaults([]);
    $("config-plan").replaceChildren(...parts);
    return this.#showReason();
  }

  #refusePlan(issues) {
    this.#showFaults(issues);
    $("config-plan").replaceChildren(h("p", "soft", "There is no plan while the text has faults."));
    this.#showReason();
  }

  #showFaults(issues) {
    this.#faults = [...issues].sort(({ line: one = 0 }, { line: other = 0 }) => one - other);
    this.#editor.mark(issues.filter(({ elsewhere }) => !elsewhere));
    $("config-faults").replaceChildren(...this.#faults.map((issue) => this.#faultLine(issue)));
  }

  #faultLine({ line, column, path, message, elsewhere }) {
    const said = `${path ? `${path}: ` : ""}${message}`;
    if (!line) return h("li", "", said);
    const place = elsewhere ? `Line ${line}` : button("link", `Line ${line}`, () => this.#editor.goTo(line, column));
    return h("li", "", place, ` ${said}`);
  }

  #help() {
    if (this.#schema && this.#editor.isOpen) showHelp($("config-help"), this.#schema, this.#editor.text, this.#editor.place);
  }

  // Applying

  #whyNot() {
    const config = this.#store.lifecycle.config;
    if (this.#client.status !== "online") return "There is no connection; your text stays here.";
    if (this.#busy) return "A change is under way.";
    if (config && !config.writable) return `The gateway may not write this file: ${config.owner}.`;
    if (config?.window) return "A change waits to be confirmed: decide about that first.";
    if (this.#theirs) return "The file was changed meanwhile: decide about that first.";
    if (!this.#isDirty) return "Nothing is changed.";
    if (this.#faults.length) return "Mend the faults first.";
    return this.#plan ? "" : "The plan is being made.";
  }

  #showReason() {
    const why = this.#whyNot();
    setReason($("config-apply"), why);
    setText($("config-why"), this.#isDirty ? why : "");
    $("config-discard").hidden = !this.#isDirty || this.#theirs !== null;
  }

  async #apply() {
    const why = this.#whyNot();
    if (why) return setText($("config-why"), why);
    const within = Number($("config-within").value);
    const params = { raw: this.#editor.text, baseHash: this.#base.hash, planId: this.#plan.plan_id, note: $("config-note").value };
    if (within) params.confirmWithinMs = within;
    this.#busy = true;
    this.#showReason();
    this.#receipt = null;
    this.#tell(h("p", "", "It is being applied."));
    try {
      const { receipt } = await this.#client.request("config.apply", params, APPLY_MS);
      $("config-note").value = "";
      await this.#done(receipt, params.raw);
    } catch (error) {
      this.#refused(error);
    }
    this.#busy = false;
    this.#showReason();
    return undefined;
  }

  /** A write is through. `text` is what was written, where that was the editor's. */
  async #done(receipt, text) {
    this.#receipt = receipt;
    this.#tell(...receiptParts(receipt));
    this.#history.load();
    // What was typed meanwhile stays; else the file as it is now, in which a new secret is a mark.
    if (text !== undefined) this.#base = { hash: receipt.hash, text };
    await this.#load();
  }

  /** What became since of a write that waited for a restart, or for being confirmed. */
  #follow() {
    const { config } = this.#store.lifecycle;
    if (!config || !["restart_pending", "probation"].includes(this.#receipt?.outcome)) return;
    const { revision, outcome } = this.#receipt;
    const { window, set_aside: aside, applied } = config;
    let ended = null;
    if (window?.revision === revision) ended = window.confirm_by && outcome !== "probation" && { outcome: "probation" };
    else if (aside?.revision === revision) ended = { outcome: "rolled_back", why: aside.why };
    else if (applied === revision) ended = { outcome: "applied" };
    if (!ended) return;
    this.#receipt = { ...this.#receipt, ...ended };
    this.#tell(...receiptParts(this.#receipt));
  }

  #refused(error) {
    const { issues, currentHash, currentPlan } = error.details ?? {};
    if (error.disconnected) {
      return this.#tell(h("p", "fault", "The connection was lost before the answer. What became of it is in the history, and your text is here."));
    }
    this.#tell(h("p", "fault", error.message));
    if (issues) this.#refusePlan(issues);
    else if (currentHash) this.#load();
    else if (currentPlan) this.#changed();
    return undefined;
  }

  #tell(...parts) { $("config-outcome").replaceChildren(...parts); }
}
