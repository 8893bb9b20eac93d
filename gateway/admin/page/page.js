// The page: which view is open, what stands in the header, and how the parts hear of each other.

import { takeSecrets } from "./address.js"; // first: it looks at the address before anything else does
import { AccountView } from "./account.js";
import { clearChat, openChat, showUnsent, startChat, syncChat } from "./chat.js";
import { ConfigView } from "./config.js";
import { $, clock, h, setText, showState, words } from "./dom.js";
import { JournalView } from "./journal.js";
import { MessagesView } from "./messages.js";
import { Overview } from "./overview.js";
import { GatewayClient } from "./protocol.js";
import { SignIn } from "./signin.js";
import { Store } from "./store.js";

const CONNECTION = { offline: "Signed out", connecting: "Connecting", online: "Connected", waiting: "Reconnecting" };

const client = new GatewayClient();
const store = new Store(client);
const overview = new Overview(client, store);
const account = new AccountView(client, store);
const journal = new JournalView(client, store);
const config = new ConfigView(client, store);
const messages = new MessagesView(client, store);
const signIn = new SignIn(client, forget);
const chat = { open: openChat, close: () => {} };
const VIEWS = { overview, account, config, journal, messages, chat };

// Which view is open

let shown = null;

function partsOf(address) {
  try { return address.slice(1).split("/").map(decodeURIComponent); } catch { return []; }
}

/** The address says it: `#journal`, `#account/telegram/main`; anything else is the overview. */
function showView() {
  const [given, ...rest] = partsOf(location.hash);
  const name = Object.hasOwn(VIEWS, given) && (given !== "account" || rest.length === 2) ? given : "overview";
  if (shown) VIEWS[shown].close();
  for (const section of document.querySelectorAll("[data-view]")) section.hidden = section.dataset.view !== name;
  const under = name === "account" ? "overview" : name; // an account is reached by its row there
  for (const link of document.querySelectorAll(".views a")) {
    if (link.hash === `#${under}`) link.setAttribute("aria-current", under === name ? "page" : "true");
    else link.removeAttribute("aria-current");
  }
  const moved = shown !== null;
  shown = name;
  VIEWS[name].open(rest.join("/"));
  document.title = `${name === "account" ? rest.join("/") : words(name)} \u00b7 Gateway`;
  // Who came by the keyboard, or hears the page, starts where the view does.
  const heading = VIEWS[name].heading ?? document.querySelector(`[data-view="${name}"] h2`);
  if (moved && name !== "chat") heading.focus({ preventScroll: true });
  if (moved) scrollTo(0, 0);
}

// Header and what interrupts

function showLifecycle() {
  const { state, since } = store.lifecycle;
  $("lifecycle").hidden = !state;
  showState($("lifecycle"), state).title = since ? `since ${clock(since, "2-digit")}` : "";
}

function interrupt(text) {
  $("notices").replaceChildren(...(text ? [h("p", "notice", text)] : []));
}

function shuttingDown({ reason, restartExpectedMs: back }) {
  const what = back === undefined ? "is stopping" : "is restarting";
  const when = back ? `, back in about ${Math.ceil(back / 1000)} s` : "";
  interrupt(`The gateway ${what}${when}${reason ? ` (${words(reason)})` : ""}.`);
}

function statusChanged(status) {
  document.body.dataset.status = status;
  setText($("connection"), CONNECTION[status]);
  $("sign-out").hidden = status === "offline";
  if (status === "waiting" && signIn.asks) signIn.ask("The gateway does not answer. Trying again.");
  showUnsent();
}

function refused(error) {
  const text = `The gateway refused the connection: ${error.message}`;
  if (signIn.asks) signIn.ask(text);
  else interrupt(text);
}

function greeted() {
  interrupt("");
  syncChat();
  if (shown === "chat") openChat();
}

function forget() {
  store.clear();
  messages.clear();
  clearChat();
  config.clear();
  interrupt("");
}

function start() {
  const heard = { hello: greeted, refused, status: statusChanged, "event:shutdown": shuttingDown };
  for (const [name, handle] of Object.entries(heard)) client.addEventListener(name, ({ detail }) => handle(detail));
  store.addEventListener("lifecycle", showLifecycle);
  store.addEventListener("fault", ({ detail }) => {
    $("fault").hidden = !detail;
    setText($("fault"), detail);
  });
  addEventListener("hashchange", () => {
    signIn.arrive(takeSecrets());
    showView();
  });
  addEventListener("online", () => client.wake());
  addEventListener("visibilitychange", () => client.wake());
  setInterval(() => [overview, account, config].forEach((view) => view.tick()), 1000);
  startChat(client);
  showView();
  signIn.start();
}

start();
