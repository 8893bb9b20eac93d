// The question before the file is written otherwise than by the editor: back to a revision, or taken as it is.

import { planParts } from "./changes.js";
import { $, h, setText } from "./dom.js";

const WRITE_MS = 120_000;

/** `done(receipt)` is called when it is through. */
export class Ask {
  #client;
  #done;
  #write = null;

  constructor(client, done) {
    this.#client = client;
    this.#done = done;
    $("config-ask-form").addEventListener("submit", (event) => this.#go(event));
    $("config-ask-cancel").addEventListener("click", () => $("config-ask").close());
  }

  /** Write a kept revision into the file again. */
  rollBack({ number, revision }) {
    const ref = String(number ?? revision);
    const title = number ? `Roll back to entry ${number}` : `Restore revision ${revision.slice(0, 12)}`;
    return this.#ask(title, "The file is replaced by that revision, with the secrets that it had.",
      number ? "Roll back" : "Restore", { revision: ref }, "config.rollback", { revision: ref });
  }

  /** Run what the file holds. An empty patch is the file as it is: nobody has to send its secrets. */
  adopt(hash) {
    const empty = { raw: "{}", baseHash: hash };
    return this.#ask("Adopt the file", "What the file holds is run from then on. The file stays as it is.",
      "Adopt", { ...empty, patch: true }, "config.patch", { ...empty, note: "adopted as it was on disk" });
  }

  async #ask(title, text, verb, planned, method, params) {
    setText($("config-ask-title"), title);
    setText($("config-ask-text"), text);
    setText($("config-ask-go"), verb);
    setText($("config-ask-fault"), "");
    $("config-ask-plan").replaceChildren(h("p", "soft", "The plan is being made."));
    $("config-ask-go").disabled = true;
    $("config-ask").showModal();
    this.#write = { method, params };
    try {
      const plan = await this.#client.request("config.plan", planned);
      $("config-ask-plan").replaceChildren(...planParts(plan));
      $("config-ask-go").disabled = false;
    } catch (error) {
      $("config-ask-plan").replaceChildren();
      setText($("config-ask-fault"), error.message);
    }
  }

  async #go(event) {
    event.preventDefault();
    $("config-ask-go").disabled = true;
    const { method, params } = this.#write;
    const within = Number($("config-ask-within").value);
    try {
      const call = { ...params, ...(within && { confirmWithinMs: within }) };
      const { receipt } = await this.#client.request(method, call, WRITE_MS);
      $("config-ask").close();
      this.#done(receipt);
    } catch (error) {
      setText($("config-ask-fault"), error.message);
      $("config-ask-go").disabled = false;
    }
  }
}
