// Signing in and out, by the token or a one-time code; the token, or the session that the code gave, is kept for this tab.

import { atArrival } from "./address.js";
import { $, keep, recall, setText } from "./dom.js";

const CODE = /^once-[\w-]{32}$/;
const AGAIN = "Run python -m gateway open again, or enter the token.";
const STRAY = "A token in the address signs nobody in, and was taken out of it. It may be in your history: think of changing it.";

/** `forget` is called when a person signs out. */
export class SignIn {
  #client;
  #forget;
  #token = null;

  constructor(client, forget) {
    this.#client = client;
    this.#forget = forget;
    client.addEventListener("hello", () => this.#greeted());
    client.addEventListener("denied", ({ detail: error }) => {
      keep("token", null);
      this.ask(error.message);
    });
    $("sign-out").addEventListener("click", () => this.#leave());
    $("sign-in-form").addEventListener("submit", (event) => this.#submit(event));
    // Without a token there is nothing behind the dialog to go back to.
    $("sign-in").addEventListener("close", () => client.status === "online" || this.ask());
  }

  get asks() { return $("sign-in").open; }

  start() {
    if (atArrival.code) this.#exchange(atArrival.code);
    else if (recall("token")) this.#enter(recall("token"));
    else this.ask(atArrival.stray ? STRAY : "");
  }

  /** What an address had in it, also when it is opened in a tab that is here already. */
  arrive({ code, stray }) {
    if (this.#client.status === "online") return;
    if (code) this.#exchange(code);
    else if (stray) this.ask(STRAY);
  }

  ask(fault = "") {
    setText($("sign-in-fault"), fault);
    $("sign-in-go").disabled = false;
    if (!this.asks) $("sign-in").showModal();
    $("token").select();
  }

  #submit(event) {
    event.preventDefault();
    setText($("sign-in-fault"), "");
    $("sign-in-go").disabled = true;
    const given = $("token").value.trim();
    if (CODE.test(given)) this.#exchange(given);
    else this.#enter(given);
  }

  async #exchange(code) {
    try {
      this.#enter(await this.#client.exchange(code));
    } catch (error) {
      this.ask(`Not signed in: ${error.message}. ${AGAIN}`);
    }
  }

  #enter(token) {
    this.#token = token;
    this.#client.connect(token);
  }

  #greeted() {
    keep("token", this.#token);
    $("token").value = "";
    if (this.asks) $("sign-in").close();
  }

  #leave() {
    this.#client.close();
    keep("token", null);
    this.#forget();
    this.ask();
  }
}
