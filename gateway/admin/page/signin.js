// Signing in and out: the token is asked for once, and kept for this tab.

import { $, keep, recall, setText } from "./dom.js";

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
    if (recall("token")) this.#enter(recall("token"));
    else this.ask();
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
    this.#enter($("token").value.trim());
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
