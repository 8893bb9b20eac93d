// Start, stop and restart of an account, as buttons: off with the reason where its machine would refuse: the state, or a guard by its name.

import { button, h, setReason, setText, words } from "./dom.js";

const VERBS = ["start", "stop", "restart"];
const CALL_MS = 60_000; // an account is given time to settle

/** The buttons of one account, in `element`; a refusal is told in `note`. */
export class Control {
  element = h("div", "control");
  note = h("p", "control-note");
  #client;
  #account = null;
  #buttons;
  #busy = false;

  constructor(client, name) {
    this.#client = client;
    this.element.role = "group";
    this.element.ariaLabel = `Control ${name}`;
    this.note.role = "status";
    this.#buttons = VERBS.map((verb) => {
      const label = button("small", verb[0].toUpperCase() + verb.slice(1), () => this.#press(verb));
      label.setAttribute("aria-label", `${label.textContent} ${name}`);
      return label;
    });
    this.element.append(...this.#buttons);
  }

  show(account) {
    this.#account = account;
    VERBS.forEach((verb, index) => setReason(this.#buttons[index], this.#whyNot(verb)));
  }

  #whyNot(verb) {
    if (this.#busy) return "A call is under way.";
    const guards = this.#account.refused[verb];
    if (!guards) return "";
    if (!guards.length) return `Its machine takes no ${verb} while ${words(this.#account.state)}.`;
    return `The guard ${guards.join(", ")} says no${this.#account.enabled ? "" : ": it is disabled in the config"}.`;
  }

  async #press(verb) {
    const why = this.#whyNot(verb);
    if (why) return setText(this.note, why);
    setText(this.note, "");
    this.#busy = true;
    this.show(this.#account);
    const { channel, account: accountId } = this.#account;
    try {
      await this.#client.request(`channels.${verb}`, { channel, accountId }, CALL_MS);
    } catch (error) {
      setText(this.note, error.message);
    }
    this.#busy = false;
    this.show(this.#account);
  }
}
