// The web chat: one conversation with the account webchat/default.

import { Outbox } from "./protocol.js";
import { $, button, clock, h, keep, millis, recall, setText } from "./dom.js";

const SESSION = "webchat:default:main";
const SAME_MESSAGE_MS = 5_000;
const SETTLE_MS = 300;
const END_PX = 48;

let client;
let outbox;
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
  return button("retry", "Retry", () => {
    log.append(unsentNodes.get(entry)); // it is sent after what stands there now
    draft.focus();
    outbox.retry(entry);
  });
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

async function loadHistory() {
  const note = $("chat-empty");
  note.dataset.usual ??= note.textContent;
  try {
    const history = await client.request("chat.history", { sessionKey: SESSION, limit: 200 });
    setText(note, note.dataset.usual);
    showHistory(history);
  } catch (error) {
    if (error.disconnected) return;
    note.hidden = false;
    setText(note, `Could not be loaded: ${error.message}`);
  }
}

export async function syncChat() {
  if (syncing) return;
  syncing = true;
  await outbox.whileQuiet(() => {
    arrivedMeanwhile = [];
    return loadHistory();
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

/** When its view comes into sight: a hidden log has no height to scroll. */
export function openChat() {
  if (atEnd) scrollToEnd();
  // On a touch screen the focus would raise the keyboard over half the page.
  if (client.status === "online" && !matchMedia("(pointer: coarse)").matches) draft.focus();
}

/** What cannot be sent now says so. */
export function showUnsent() {
  for (const entry of unsentNodes.keys()) showEntry(entry);
}

export function clearChat() {
  outbox.clear();
  unsentNodes.clear();
  keep("unsent", null);
  setDraft("");
  log.replaceChildren();
  atEnd = true;
  $("to-latest").hidden = true;
}

export function startChat(theClient) {
  client = theClient;
  outbox = new Outbox(client, SESSION);
  outbox.addEventListener("change", entryChanged);
  client.addEventListener("event:chat", ({ detail }) => replied(detail));
  $("composer").addEventListener("submit", send);
  draft.addEventListener("input", () => setDraft(draft.value));
  draft.addEventListener("keydown", (event) => {
    // Enter also ends the composition of a Japanese or Chinese word; that one is not ours.
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) send(event);
  });
  log.addEventListener("scroll", scrolled);
  new ResizeObserver(() => atEnd && scrollToEnd()).observe(log);
  $("to-latest").addEventListener("click", scrollToEnd);
  setDraft(recall("draft") ?? "");
  for (const { text, ...rest } of JSON.parse(recall("unsent") ?? "[]")) addEntry(outbox.add(text, rest));
}
