// The first-run page: sign-in, web chat, accounts, what happened, the diagrams.
// All text goes in through textContent; the one parsed thing is the gateway's own picture, as an SVG document.

import { GatewayClient, Outbox } from "./protocol.js";

const SESSION = "webchat:default:main";
const SAME_MESSAGE_MS = 5_000;
const SETTLE_MS = 300;
const END_PX = 48;
const TONES = {
  running: "good", starting: "busy", hot_reloading: "busy", restarting: "busy",
  restart_pending: "warn", stopping: "warn", stop_overdue: "warn", backoff: "warn",
  conflict: "bad", suppressed: "bad", failed: "bad",
};
const CONNECTION = { offline: "Signed out", connecting: "Connecting", online: "Connected", waiting: "Reconnecting" };

const client = new GatewayClient();
const outbox = new Outbox(client, SESSION);

const $ = (id) => document.getElementById(id);
const words = (state) => String(state ?? "unknown").replaceAll("_", " ");
const millis = (when) => (when === null || when === undefined ? NaN : new Date(when).getTime());

// Tools

function h(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

function setText(element, text) {
  // An equal text would still be a mutation, which live regions may read aloud.
  if (element.textContent !== text) element.textContent = text;
}

function showState(element, state) {
  element.dataset.state = state;
  element.dataset.tone = TONES[state] ?? "calm";
  setText(element, words(state));
  return element;
}

function ago(then) {
  const seconds = Math.max(0, Math.floor((client.now() - then) / 1000));
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min ago`;
  return seconds < 86_400 ? `${Math.floor(seconds / 3_600)} h ago` : `${Math.floor(seconds / 86_400)} d ago`;
}

function clock(when, seconds) {
  const date = new Date(millis(when));
  if (Number.isNaN(date.getTime())) return "";
  const day = date.toDateString() === new Date().toDateString() ? {} : { day: "numeric", month: "short" };
  return date.toLocaleString("en-GB", { ...day, hour: "2-digit", minute: "2-digit", second: seconds });
}

/** What this tab remembers. Storage may be refused altogether; then a reload forgets, no more. */
function keep(key, value) {
  try {
    if (value) sessionStorage.setItem(`gateway.${key}`, value);
    else sessionStorage.removeItem(`gateway.${key}`);
  } catch { /* see above */ }
}

function recall(key) {
  try { return sessionStorage.getItem(`gateway.${key}`); } catch { return null; }
}

/** Loads one part of the view; a fault is shown in its note, which else says that there is nothing. */
async function load(method, params, show, note) {
  note.dataset.usual ??= note.textContent;
  try {
    const answer = await client.request(method, params);
    setText(note, note.dataset.usual);
    show(answer);
  } catch (error) {
    if (error.disconnected) return;
    note.hidden = false;
    setText(note, `Could not be loaded: ${error.message}`);
  }
}

// Header and notices

let lifecycle = {};
let lifecycleReadAt = 0;
let interruption = "";

function showLifecycle(payload) {
  lifecycle = payload;
  lifecycleReadAt = performance.now();
  $("lifecycle").hidden = !payload.state;
  $("lifecycle-note").hidden = true;
  showState($("lifecycle"), payload.state).title = payload.since ? `since ${clock(payload.since, "2-digit")}` : "";
  showNotices();
}

function ticketNotice({ requester, reason }) {
  const due = h("span", "due");
  due.ariaHidden = "true"; // it changes every second
  const why = [reason, requester && `asked by ${requester}`].filter(Boolean).join(", ");
  return h("p", "notice", h("strong", "", "Restart pending"), why && `: ${why}`, " ", due);
}

function degradedNotice(fault) {
  return h("p", "notice", h("strong", "", "Degraded"), `: ${fault.detail}. What helps: ${fault.remedy}.`);
}

function showNotices(text = interruption) {
  interruption = text;
  $("notices").replaceChildren(
    ...(text ? [h("p", "notice", text)] : []),
    ...(lifecycle.tickets ?? []).map(ticketNotice),
    ...(lifecycle.degraded ?? []).map(degradedNotice),
  );
  showDue();
}

function showDue() {
  const passed = performance.now() - lifecycleReadAt;
  document.querySelectorAll(".due").forEach((due, index) => {
    const left = Math.ceil((lifecycle.tickets[index].due_in_ms - passed) / 1000);
    setText(due, left > 0 ? `due in ${left} s` : "due now");
  });
}

// Web chat

const log = $("log");
const draft = $("draft");
const unsentNodes = new Map(); // entry -> its bubble
let syncing = false;
let arrivedMeanwhile = [];
let atEnd = true;

function bubble({ role, text, ts, fault }) {
  const body = h("p", "text", text);
  body.dir = "auto";
  const who = h("span", "unseen", role === "user" ? "You: " : "Gateway: ");
  const node = h("article", `message ${role === "user" ? "user" : "assistant"}`, who, body, h("p", "meta", clock(ts)));
  if (fault) node.dataset.state = "failed";
  return node;
}

function showEntry(entry) {
  const node = unsentNodes.get(entry);
  if (!node) return;
  node.dataset.state = entry.state;
  const sending = client.status === "online" ? "Sending" : "Sending when connected";
  const label = { sending: [sending], failed: [`Not sent: ${entry.error}`, retryButton(entry)], sent: [clock(entry.ts)] };
  node.querySelector(".meta").replaceChildren(...label[entry.state]);
  if (entry.state === "sent") unsentNodes.delete(entry);
}

function retryButton(entry) {
  const button = h("button", "retry", "Retry");
  button.type = "button";
  button.addEventListener("click", () => {
    log.append(unsentNodes.get(entry)); // it is sent after what stands there now
    draft.focus();
    outbox.retry(entry);
  });
  return button;
}

function addEntry(entry) {
  unsentNodes.set(entry, bubble({ role: "user", ...entry }));
  showEntry(entry);
  append(unsentNodes.get(entry));
}

function entryChanged({ detail: entry }) {
  showEntry(entry);
  keepUnsent();
  if (atEnd) scrollToEnd();
}

function keepUnsent() {
  keep("unsent", outbox.unsent.length && JSON.stringify(outbox.unsent));
}

function send(event) {
  event.preventDefault();
  const text = draft.value.trim();
  if (!text) return;
  atEnd = true;
  addEntry(outbox.add(text));
  setDraft("");
  keepUnsent();
  outbox.drain();
}

function setDraft(text) {
  if (draft.value !== text) draft.value = text;
  draft.rows = Math.min(6, text.split("\n").length); // for browsers without field-sizing
  keep("draft", text);
}

function replied({ sessionKey, state, message, errorMessage }) {
  if (sessionKey !== SESSION || (state !== "final" && state !== "error")) return;
  const fault = state === "error";
  const text = message?.text || errorMessage || (fault ? "No reply could be made." : "");
  if (!text) return;
  const reply = { role: "assistant", text, ts: message?.ts ?? client.now(), fault };
  if (syncing) arrivedMeanwhile.push(reply);
  append(bubble(reply));
}

function append(node) {
  log.append(node);
  $("chat-empty").hidden = true;
  if (atEnd) scrollToEnd();
  else $("to-latest").hidden = false;
}

const isSame = (a) => (b) =>
  a.role === b.role && a.text === b.text && Math.abs(millis(a.ts) - millis(b.ts)) < SAME_MESSAGE_MS;

function showHistory({ messages = [] }) {
  const unsent = new Set(unsentNodes.values());
  const missed = arrivedMeanwhile.filter((reply) => !messages.some(isSame(reply)));
  log.ariaLive = "off"; // old messages are not news
  for (const node of [...log.children]) if (!unsent.has(node)) node.remove();
  log.prepend(...[...messages, ...missed].map(bubble));
  $("chat-empty").hidden = log.childElementCount > 0;
  if (atEnd) scrollToEnd();
  setTimeout(() => { log.ariaLive = "polite"; }, SETTLE_MS);
}

async function syncChat() {
  if (syncing) return;
  syncing = true;
  await outbox.whileQuiet(() => {
    arrivedMeanwhile = [];
    return load("chat.history", { sessionKey: SESSION, limit: 200 }, showHistory, $("chat-empty"));
  });
  syncing = false;
}

function scrollToEnd() {
  log.scrollTop = log.scrollHeight;
  $("to-latest").hidden = true;
}

function scrolled() {
  atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < END_PX;
  if (atEnd) $("to-latest").hidden = true;
}

// Accounts

let refreshTimer;
let accounts = new Map(); // "channel/account" -> {name, state, generation, received, enabled, fault, row}

function showStatus({ channelAccounts = {} }) {
  const list = Object.entries(channelAccounts).flatMap(([channel, ones]) => ones.map((one) => accountOf(channel, one)));
  list.sort((a, b) => a.name.localeCompare(b.name));
  accounts = new Map(list.map((account) => [account.name, account]));
  $("accounts").replaceChildren(...list.map(({ row }) => row));
  $("accounts-empty").hidden = list.length > 0;
  showAges();
}

function accountOf(channel, { accountId, enabled, healthState, generation, lastTransportActivityAt, lastError }) {
  const name = `${channel}/${accountId}`;
  const row = accounts.get(name)?.row ?? accountRow(name);
  const received = millis(lastTransportActivityAt);
  const account = { name, row, enabled, state: healthState, generation, received, fault: lastError };
  showAccount(account);
  return account;
}

function accountRow(name) {
  const parts = ["state", "generation", "received", "fault"].map((part) => h("span", part));
  return h("li", "account", h("span", "name", name), ...parts);
}

function showAccount({ row, state, enabled, generation, fault }) {
  const part = (name) => row.querySelector(`.${name}`);
  showState(part("state"), state);
  setText(part("generation"), `generation ${generation ?? 0}${enabled === false ? ", disabled" : ""}`);
  setText(part("fault"), state === "running" || !fault ? "" : String(fault));
}

function accountChanged({ channel, account: id, state, generation, last_receive_ms: received }) {
  const account = accounts.get(`${channel}/${id}`);
  if (!account || account.state !== state) refreshAccounts(); // the event does not carry the error
  if (!account) return;
  Object.assign(account, { state, generation, received: millis(received) });
  showAccount(account);
  showAges();
}

function showAges() {
  for (const { row, received } of accounts.values()) {
    setText(row.querySelector(".received"), Number.isNaN(received) ? "nothing received yet" : `received ${ago(received)}`);
  }
  const running = [...accounts.values()].filter(({ state }) => state === "running").length;
  setText($("accounts-sum"), accounts.size ? `${running} of ${accounts.size} running` : "");
}

const loadAccounts = () => load("channels.status", {}, showStatus, $("accounts-empty"));

function refreshAccounts() {
  clearTimeout(refreshTimer); // a reload moves many accounts at once
  refreshTimer = setTimeout(loadAccounts, SETTLE_MS);
}

// What happened

let steps = new Map(); // seq -> row

function stepRow({ at, machine, trigger, before, after, kind, why }) {
  const refused = kind === "refusal";
  const what = refused
    ? [h("strong", "refused", "refused"), ` while ${words(before)}${why ? `: ${why}` : ""}`]
    : [words(before), h("span", "arrow", " \u2192 "), showState(h("span", "state"), after)];
  const row = h("li", "step", h("time", "at", clock(at, "2-digit")), h("span", "machine", machine),
    h("span", "what", ...what), h("code", "trigger", trigger));
  row.dataset.kind = kind;
  return row;
}

function addSteps(entries) {
  for (const entry of entries) if (!steps.has(entry.seq)) steps.set(entry.seq, stepRow(entry));
  steps = new Map([...steps].sort(([a], [b]) => b - a).slice(0, 30));
  $("journal").replaceChildren(...steps.values());
  $("journal-empty").hidden = steps.size > 0;
}

// Diagrams

async function showDiagram() {
  if (!$("diagram").open) return;
  const machine = $("machine").value;
  const headers = { Authorization: `Bearer ${token}` };
  let picture;
  let fault = "";
  try {
    const answer = await fetch(`/api/v1/machines/${machine}.svg`, { headers });
    if (!answer.ok) throw new Error(`the gateway answered ${answer.status}`);
    picture = new DOMParser().parseFromString(await answer.text(), "image/svg+xml").documentElement;
    if (picture.localName !== "svg") throw new Error("the answer is no picture");
  } catch (error) {
    fault = `The diagram could not be loaded: ${error.message}.`;
  }
  if (machine !== $("machine").value) return; // another one was picked meanwhile
  $("picture").replaceChildren(...(fault ? [] : [document.importNode(picture, true)]));
  $("picture").hidden = Boolean(fault);
  setText($("picture-note"), fault);
}

// Signing in and out

let token = null;

function askToken(fault = "") {
  setText($("sign-in-fault"), fault);
  $("sign-in-go").disabled = false;
  if (!$("sign-in").open) $("sign-in").showModal();
  $("token").select();
}

function signIn(given) {
  token = given;
  client.connect(token);
}

function submitToken(event) {
  event.preventDefault();
  setText($("sign-in-fault"), "");
  $("sign-in-go").disabled = true;
  signIn($("token").value.trim());
}

function denied({ detail: error }) {
  keep("token", null);
  askToken(error.message);
}

function signOut() {
  client.close();
  outbox.clear();
  unsentNodes.clear();
  accounts.clear();
  keep("token", null);
  keep("unsent", null);
  setDraft("");
  for (const id of ["log", "accounts", "journal", "picture"]) $(id).replaceChildren();
  $("diagram").open = false;
  atEnd = true;
  $("to-latest").hidden = true;
  showLifecycle({});
  showAges();
  askToken();
}

function greeted() {
  keep("token", token);
  $("token").value = "";
  if ($("sign-in").open) {
    $("sign-in").close();
    // On a touch screen the focus would raise the keyboard over half the page.
    if (!matchMedia("(pointer: coarse)").matches) draft.focus();
  }
  showNotices("");
  steps.clear();
  load("lifecycle.get", {}, showLifecycle, $("lifecycle-note"));
  load("journal.list", { limit: 30 }, ({ entries }) => addSteps(entries), $("journal-empty"));
  loadAccounts();
  syncChat();
}

function statusChanged({ detail: status }) {
  document.body.dataset.status = status;
  setText($("connection"), CONNECTION[status]);
  $("sign-out").hidden = status === "offline";
  if (status === "waiting" && $("sign-in").open) askToken("The gateway does not answer. Trying again.");
  for (const entry of unsentNodes.keys()) showEntry(entry);
}

function refused({ detail: error }) {
  const text = `The gateway refused the connection: ${error.message}`;
  if ($("sign-in").open) askToken(text);
  else showNotices(text);
}

function shuttingDown({ reason, restartExpectedMs: back }) {
  const what = back === undefined ? "is stopping" : "is restarting";
  const when = back ? `, back in about ${Math.ceil(back / 1000)} s` : "";
  showNotices(`The gateway ${what}${when}${reason ? ` (${words(reason)})` : ""}.`);
}

// Wiring

const EVENTS = {
  chat: replied,
  channel: accountChanged,
  journal: (entry) => addSteps([entry]),
  shutdown: shuttingDown,
  config: refreshAccounts,
  lifecycle: (payload) => {
    showLifecycle(payload);
    refreshAccounts(); // accounts come and go with a reload
  },
};

function listen() {
  for (const [name, show] of Object.entries(EVENTS)) {
    client.addEventListener(`event:${name}`, ({ detail }) => show(detail));
  }
  const heard = { hello: greeted, denied, refused, status: statusChanged };
  for (const [name, handle] of Object.entries(heard)) client.addEventListener(name, handle);
  outbox.addEventListener("change", entryChanged);
  addEventListener("online", () => client.wake());
  addEventListener("visibilitychange", () => client.wake());
}

function listenToPerson() {
  $("composer").addEventListener("submit", send);
  draft.addEventListener("input", () => setDraft(draft.value));
  draft.addEventListener("keydown", (event) => {
    // Enter also ends the composition of a Japanese or Chinese word; that one is not ours.
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) send(event);
  });
  log.addEventListener("scroll", scrolled);
  new ResizeObserver(() => atEnd && scrollToEnd()).observe(log);
  $("to-latest").addEventListener("click", scrollToEnd);
  $("diagram").addEventListener("toggle", showDiagram);
  $("machine").addEventListener("change", showDiagram);
  $("sign-out").addEventListener("click", signOut);
  $("sign-in-form").addEventListener("submit", submitToken);
  // Without a token there is nothing behind the dialog to go back to.
  $("sign-in").addEventListener("close", () => client.status === "online" || askToken());
}

function start() {
  listen();
  listenToPerson();
  setDraft(recall("draft") ?? "");
  for (const { text, ...rest } of JSON.parse(recall("unsent") ?? "[]")) addEntry(outbox.add(text, rest));
  setInterval(() => [showAges, showDue].forEach((show) => show()), 1000);
  if (recall("token")) signIn(recall("token"));
  else askToken();
}

start();
