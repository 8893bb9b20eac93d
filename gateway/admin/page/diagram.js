// A machine's diagram: the picture that is rendered for review, with the present state lit and edges that flash.

import { eachFrame } from "./dom.js";

const FLASH_MS = 1_600;

const pictures = new Map(); // kind -> a promise of its document

async function fetchPicture(client, kind) {
  const text = await client.read(`/api/v1/machines/${kind}.svg`);
  const picture = new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
  if (picture.localName !== "svg") throw new Error("the answer is no picture");
  // Two pictures may stand in the page, and an id only once.
  for (const part of picture.querySelectorAll("[id]")) {
    part.dataset.part = part.id;
    part.removeAttribute("id");
  }
  // Graphviz means it for those who hover, and a reader of screens would read every row out.
  picture.setAttribute("role", "img");
  return picture;
}

function pictureOf(client, kind) {
  if (!pictures.has(kind)) {
    const picture = fetchPicture(client, kind);
    pictures.set(kind, picture);
    picture.catch(() => pictures.delete(kind)); // the next showing tries again
  }
  return pictures.get(kind);
}

/** `paper` is where it is drawn, `note` where a fault is told. */
export class Diagram {
  #client;
  #paper;
  #note;
  #kind = null;
  #standing = {};
  #fired = new Set(); // edges that flash with the next frame
  #flashSoon = eachFrame(() => this.#flash());

  constructor(client, paper, note) {
    this.#client = client;
    this.#paper = paper;
    this.#note = note;
  }

  async show(kind) {
    this.#kind = kind;
    let picture = null;
    let fault = "";
    try {
      picture = await pictureOf(this.#client, kind);
    } catch (error) {
      fault = `The diagram could not be loaded: ${error.message}.`;
    }
    if (kind !== this.#kind) return; // another one was picked meanwhile
    this.#note.textContent = fault;
    this.#paper.hidden = !picture;
    if (this.#paper.dataset.kind === kind || !picture) return;
    this.#paper.dataset.kind = kind;
    this.#paper.replaceChildren(document.importNode(picture, true));
    this.#light();
  }

  /** Lights the state, and dims the one before it. Without a state all are alike. */
  stand(standing) {
    const moved = standing.state !== this.#standing.state;
    this.#standing = standing;
    this.#light(moved);
  }

  /** The edge of the row lights up for a moment. */
  fire(entry) {
    for (const part of this.#edgeOf(entry)) this.#fired.add(part);
    this.#flashSoon();
  }

  /** The edge of the row is lit, and no other, until something else is. */
  keepLit(entry) {
    for (const part of this.#paper.querySelectorAll(".fired")) part.classList.remove("fired");
    for (const part of this.#edgeOf(entry)) part.classList.add("fired");
  }

  #edgeOf({ row, before, after }) {
    if (row === null || row === undefined) return [];
    const arrows = [...this.#paper.querySelectorAll(`.arrow.row-${row}`)];
    const taken = arrows.filter((arrow) => arrow.dataset.part === `arrow-${before}-${after}`);
    const label = this.#part(`row-${row}`);
    return [...(taken.length ? taken : arrows), ...(label ? [label] : [])];
  }

  /** Together in a frame: each alone would have the page laid out once more. */
  #flash() {
    const parts = [...this.#fired];
    this.#fired.clear();
    for (const part of parts) part.classList.remove("fired");
    void this.#paper.getBoundingClientRect(); // an animation begins anew only after a layout without it
    for (const part of parts) part.classList.add("fired");
    setTimeout(() => parts.forEach((part) => part.classList.remove("fired")), FLASH_MS);
  }

  #part(name) {
    return this.#paper.querySelector(`[data-part="${CSS.escape(name)}"]`);
  }

  #light(moved = true) {
    for (const lit of this.#paper.querySelectorAll(".now, .was")) lit.classList.remove("now", "was");
    const { state, previous, when = "now" } = this.#standing;
    const now = state && this.#part(`state-${state}`);
    if (previous && previous !== state) this.#part(`state-${previous}`)?.classList.add("was");
    now?.classList.add("now");
    const name = String(state ?? "").replaceAll("_", " ");
    this.#paper.querySelector("svg")?.setAttribute(
      "aria-label", `Diagram of the machine ${this.#kind}${state ? `: ${name} ${when}` : ""}`,
    );
    if (now && moved) this.#centre(now);
  }

  #centre(part) {
    const paper = this.#paper;
    const [seen, whole] = [part.getBoundingClientRect(), paper.getBoundingClientRect()];
    paper.scrollBy(
      seen.x + seen.width / 2 - whole.x - whole.width / 2, seen.y + seen.height / 2 - whole.y - whole.height / 2,
    );
  }
}
