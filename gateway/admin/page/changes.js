// What a change of the config means, drawn: a plan before it is carried out, and what came of it afterwards.

import { h, showState, words } from "./dom.js";

const NEEDS = {
  nothing: "Nothing that runs changes.",
  reload: "It is taken up without a restart.",
  restart: "The gateway restarts for it.",
};
const CLASSES = { live: "at once", channel: "restarts its account", gateway: "restarts the gateway" };
const CLASS_TONES = { live: "good", channel: "busy", gateway: "warn" };
const ACTIONS = { start: "starts", stop: "stops", restart: "restarts", live: "goes on with the new settings" };
const OUTCOMES = {
  noop: ["calm", "Nothing had to change: it runs already."],
  applied: ["good", "It runs."],
  restart_pending: ["warn", "It is saved, and runs after a restart of the gateway."],
  probation: ["busy", "It runs on trial, until you confirm it."],
  rolled_back: ["bad", "What ran before runs again; the file was left as it is."],
  rejected: ["bad", "Nothing was changed."],
};
const LONGEST = 300;

export function toned(className, tone, text) {
  const element = h("span", className, text);
  element.dataset.tone = tone;
  return element;
}

/** A value as one line. Null is where there is nothing. */
function valueOf(value) {
  if (value === null) return h("span", "nothing", "nothing");
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return h("code", "", text.length > LONGEST ? `${text.slice(0, LONGEST)}\u2026` : text || '""');
}

function changeLine({ path, class: reload, old, new: next }) {
  return h("li", "change",
    h("code", "change-path", path), toned("pill", CLASS_TONES[reload], CLASSES[reload]),
    h("span", "change-values", valueOf(old), h("span", "arrow", " \u2192 "), valueOf(next)));
}

/** What differs, path by path. */
export function changeList(changes) {
  if (!changes.length) return h("p", "soft", "No setting differs: at most comments and the order do.");
  return h("ul", "rows changes", ...changes.map(changeLine));
}

/** The plan of a write: what to look at twice first, then what it needs, changes and does to accounts. */
export function planParts({ needs, changes, accounts, warnings, triggers }) {
  const warned = warnings.map(({ message }) => h("li", "notice", h("strong", "", "Look twice"), `: ${message}.`));
  const parts = [h("p", "plan-needs", NEEDS[needs]), changeList(changes)];
  if (warned.length) parts.unshift(h("ul", "rows notices", ...warned));
  const touched = Object.entries(accounts);
  if (touched.length) {
    parts.push(h("h4", "", "Accounts"), h("ul", "rows plain", ...touched.map(([name, action]) =>
      h("li", "", h("code", "", name), ` ${ACTIONS[action] ?? action}`))));
  }
  if (triggers.length && needs !== "nothing") parts.push(firedBy(triggers));
  return parts;
}

function firedBy(triggers) {
  const lines = triggers.map(({ machine, trigger, why }) =>
    h("li", "", h("code", "", trigger), " at ", h("code", "", machine), why && h("span", "soft", `: ${why}`)));
  return h("details", "", h("summary", "", "What is fired at the machines"), h("ol", "rows plain", ...lines));
}

function accountLine([name, result]) {
  if (typeof result === "string") return h("li", "", h("code", "", name), ` ${ACTIONS[result] ?? result}`);
  const { state, generation, error } = result;
  return h("li", "", h("code", "", name), " ", showState(h("span", "state"), state),
    h("span", "soft", `, generation ${generation}${error ? `: ${error}` : ""}`));
}

/** What a receipt says. */
export function receiptParts({ outcome, stage, why, plan, restart }) {
  const [tone, said] = OUTCOMES[outcome] ?? ["calm", words(outcome)];
  const due = outcome === "restart_pending" && restart ? ` It is due in ${Math.ceil(restart.due_in_ms / 1000)} s.` : "";
  const parts = [h("p", "", toned("pill", tone, words(outcome)), ` ${said}${due}`)];
  if (outcome === "rolled_back") parts.push(h("p", "soft", `${stage ? `At the stage ${words(stage)}: ` : "Why: "}${why}.`));
  const touched = outcome === "noop" ? [] : Object.entries(plan.accounts);
  if (touched.length) parts.push(h("ul", "rows plain", ...touched.map(accountLine)));
  return parts;
}
