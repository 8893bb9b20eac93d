// The gateway's WebSocket protocol: one connection that mends itself, and the queue of unsent messages.
// Nothing here touches the document.

const HANDSHAKE_MS = 10_000;
const REQUEST_MS = 15_000;
const TICK_MS = 30_000;
const BACKOFF_MS = 300;
const BACKOFF_MAX_MS = 5_000;
// A connection shorter than this counts as a failed attempt, or a server that drops us at once is hammered.
const SETTLED_MS = 2_000;
const RESEND_TRIES = 5;
const RESEND_MS = 1_000;

const INTRODUCTION = {
  minProtocol: 4,
  maxProtocol: 4,
  client: { id: "webchat-ui", version: "1", platform: "web", mode: "webchat" },
  role: "operator",
  scopes: ["operator.read", "operator.write", "operator.admin"],
};

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Not randomUUID: browsers offer that on https and localhost only, this also runs on a plain http host.
const newKey = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

export class GatewayError extends Error {
  constructor({ code = "UNKNOWN", message, details, retryable = false, retryAfterMs } = {}) {
    super(message ?? code);
    this.name = "GatewayError";
    Object.assign(this, { code, details, retryable, retryAfterMs });
  }

  get disconnected() { return this.code === "DISCONNECTED"; }

  get aboutToken() { return String(this.details?.code ?? "").startsWith("AUTH_") || /token/i.test(this.message); }
}

const disconnected = () => new GatewayError({ code: "DISCONNECTED", message: "The connection was lost." });

function deferred() {
  const parts = {};
  parts.promise = new Promise((resolve, reject) => Object.assign(parts, { resolve, reject }));
  return parts;
}

function socketUrl() {
  const url = new URL("/ws", location.origin);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}

function parse(data) {
  try {
    return JSON.parse(data);
  } catch {
    return null;
  }
}

/**
 * Events: "status" (detail: offline, connecting, online or waiting), "hello" (detail: hello-ok),
 * "denied" (a person must sign in again), "refused" (tried again by itself), "event:<name>" for each gateway event.
 */
export class GatewayClient extends EventTarget {
  status = "offline";
  #token = null;
  #socket = null;
  #pending = new Map();
  #lastId = 0;
  #attempt = 0;
  #onlineSince = 0;
  #tickMs = TICK_MS;
  #skew = 0;
  #retryTimer;
  #silenceTimer;

  connect(token) {
    this.close();
    this.#token = token;
    this.#attempt = 0;
    this.#open();
  }

  close() {
    this.#token = null;
    this.#drop();
    this.#setStatus("offline");
  }

  /** Cuts a backoff short: the network is back, or somebody looks at the page again. */
  wake() {
    if (this.status === "waiting") this.#open();
  }

  request(method, params = {}, withinMs = REQUEST_MS) {
    return this.status === "online" ? this.#call(method, params, withinMs) : Promise.reject(disconnected());
  }

  /** The session that a one-time code gives, once. */
  async exchange(code) {
    const headers = { "Content-Type": "application/json" };
    const call = { method: "POST", headers, body: JSON.stringify({ code }) };
    const answer = await fetch("/api/v1/sign-in", call).catch(() => {
      throw new GatewayError({ message: "the gateway does not answer" });
    });
    const { token, error } = await answer.json().catch(() => ({}));
    if (!answer.ok || !token) throw new GatewayError({ message: error?.message ?? `the gateway answered ${answer.status}` });
    return token;
  }

  /** The text that GET answers: for what the socket does not carry. */
  async read(path) {
    return (await this.#fetch(path)).text();
  }

  /** The data that POST answers. Like `read` it throws what the gateway says against it, in its words. */
  async post(path, body = {}) {
    const headers = { "Content-Type": "application/json" };
    return (await this.#fetch(path, { method: "POST", headers, body: JSON.stringify(body) })).json();
  }

  async #fetch(path, { headers, ...how } = {}) {
    const sent = { Authorization: `Bearer ${this.#token}`, ...headers };
    const answer = await fetch(path, { ...how, headers: sent }).catch(() => { throw disconnected(); });
    if (answer.ok) return answer;
    const told = parse(await answer.text())?.error;
    throw new GatewayError(told ?? { message: `the gateway answered ${answer.status}` });
  }

  /** The server's clock: ages are shown against it, this machine's may be wrong. */
  now() {
    return Date.now() + this.#skew;
  }

  #open() {
    clearTimeout(this.#retryTimer);
    this.#setStatus("connecting");
    const socket = new WebSocket(socketUrl());
    this.#socket = socket;
    const ours = (handle) => (event) => socket === this.#socket && handle(event);
    socket.addEventListener("message", ours(({ data }) => this.#receive(parse(data))));
    socket.addEventListener("close", ours(() => this.#lost()));
    this.#expectWithin(HANDSHAKE_MS);
  }

  #drop() {
    clearTimeout(this.#retryTimer);
    clearTimeout(this.#silenceTimer);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
    for (const { reject } of this.#pending.values()) reject(disconnected());
    this.#pending.clear();
  }

  #lost(atLeastMs = 0) {
    if (this.status === "online" && performance.now() - this.#onlineSince > SETTLED_MS) this.#attempt = 0;
    this.#drop();
    this.#setStatus("waiting");
    const backoff = BACKOFF_MS * 2 ** this.#attempt * (1 + Math.random() / 5);
    this.#attempt += 1;
    this.#retryTimer = setTimeout(() => this.#open(), Math.max(Math.min(backoff, BACKOFF_MAX_MS), atLeastMs));
  }

  // A line that broke without a close frame looks open for minutes; the missing ticks tell.
  #expectWithin(ms) {
    clearTimeout(this.#silenceTimer);
    this.#silenceTimer = setTimeout(() => this.#lost(), ms);
  }

  #receive(frame) {
    if (this.status === "online") this.#expectWithin(this.#tickMs * 2.5);
    if (frame?.type === "res") this.#answer(frame);
    else if (frame?.type === "event") this.#event(frame);
  }

  #event({ event, payload }) {
    if (event === "connect.challenge" && this.status === "connecting") {
      this.#readClock(payload);
      this.#introduce();
    } else if (this.status === "online") {
      if (event === "tick") this.#readClock(payload);
      this.#emit(`event:${event}`, payload);
    }
  }

  #readClock(payload) {
    if (Number.isFinite(payload?.ts)) this.#skew = payload.ts - Date.now();
  }

  #introduce() {
    const params = { ...INTRODUCTION, auth: { token: this.#token } };
    this.#call("connect", params).then((hello) => this.#welcome(hello), (error) => this.#refused(error));
  }

  #welcome(hello) {
    this.#onlineSince = performance.now();
    this.#tickMs = hello.policy?.tickIntervalMs ?? TICK_MS;
    this.#expectWithin(this.#tickMs * 2.5);
    this.#setStatus("online");
    this.#emit("hello", hello);
  }

  #refused(error) {
    if (error.disconnected) return;
    if (error.aboutToken) {
      this.close();
      this.#emit("denied", error);
    } else {
      this.#lost(error.retryAfterMs);
      this.#emit("refused", error);
    }
  }

  #call(method, params, withinMs = REQUEST_MS) {
    const id = String(++this.#lastId);
    const { promise, resolve, reject } = deferred();
    const late = { code: "TIMEOUT", message: `No answer to ${method} in ${withinMs / 1000} s.` };
    const timer = setTimeout(() => reject(new GatewayError(late)), withinMs);
    this.#pending.set(id, { resolve, reject });
    this.#socket.send(JSON.stringify({ type: "req", id, method, params }));
    return promise.finally(() => {
      clearTimeout(timer);
      this.#pending.delete(id);
    });
  }

  #answer({ id, ok, payload, error }) {
    const waiting = this.#pending.get(id);
    if (ok) waiting?.resolve(payload ?? {});
    else waiting?.reject(new GatewayError(error));
  }

  #setStatus(status) {
    if (status === this.status) return;
    this.status = status;
    this.#emit("status", status);
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/**
 * Sends one message after the other, in the order they were written, until each is acknowledged or refused.
 * A key is made once a message and kept for every try, so the gateway takes it once whatever the line does.
 * Event: "change" (detail: the entry).
 */
export class Outbox extends EventTarget {
  #client;
  #sessionKey;
  #entries = [];
  #held = false;
  #draining = null;

  constructor(client, sessionKey) {
    super();
    this.#client = client;
    this.#sessionKey = sessionKey;
  }

  get unsent() { return [...this.#entries]; }

  add(text, { key = newKey(), ts = Date.now(), error = null } = {}) {
    const entry = { key, text, ts, error, state: error ? "failed" : "sending", tries: 0 };
    this.#entries.push(entry);
    return entry;
  }

  retry(entry) {
    this.#entries = [...this.#entries.filter((other) => other !== entry), entry];
    this.#mark(entry, { state: "sending", error: null, tries: 0 });
    this.drain();
  }

  clear() { this.#entries = []; }

  drain() {
    this.#draining ??= this.#run().finally(() => { this.#draining = null; });
    return this.#draining;
  }

  /** Runs work when nothing is under way, and sends nothing until it is done. */
  async whileQuiet(work) {
    await this.drain();
    this.#held = true;
    try {
      return await work();
    } finally {
      this.#held = false;
      this.drain();
    }
  }

  async #run() {
    let entry;
    while ((entry = this.#next())) await this.#send(entry);
  }

  #next() {
    if (this.#held || this.#client.status !== "online") return undefined;
    return this.#entries.find(({ state }) => state === "sending");
  }

  async #send(entry) {
    try {
      const params = { sessionKey: this.#sessionKey, message: entry.text, idempotencyKey: entry.key };
      const { runId } = await this.#client.request("chat.send", params);
      this.#entries = this.#entries.filter((other) => other !== entry);
      this.#mark(entry, { state: "sent", runId });
    } catch (error) {
      await this.#failed(entry, error);
    }
  }

  async #failed(entry, error) {
    // A lost line is no failure: the entry stays as it is and goes out with the next connection.
    if (error.disconnected) return;
    if (error.retryable && (entry.tries += 1) < RESEND_TRIES) await sleep(error.retryAfterMs ?? RESEND_MS);
    else this.#mark(entry, { state: "failed", error: error.message });
  }

  #mark(entry, change) {
    Object.assign(entry, change);
    this.dispatchEvent(new CustomEvent("change", { detail: entry }));
  }
}
