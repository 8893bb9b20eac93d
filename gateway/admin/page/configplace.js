// Where in a config a place of its text is: the keys that lead there. The text need not be finished, nor be right.

const KEY = /^("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s#&*!|>'"%@`{}[\],][^#]*?)\s*:(?=\s|$)/;
const DASH = /^-(\s+|$)/;
const SCALAR = /^\s*[|>][-+\d]*\s*(#.*)?$/;
export const ENTRY = "*"; // any entry of a list

const unquoted = (key) => (/^["']/.test(key) ? key.slice(1, -1) : key);

/**
 * `path`: the keys, ENTRY for an entry of a list. `typed`: what stands before the place of the word that it is in.
 * `isKey`: that word is, or may become, a key under the path; else it is the path's value.
 */
export function placeAt(text, offset) {
  const scan = new Scan();
  const lines = text.slice(0, offset).split(/\r\n|\r|\n/);
  const last = lines.pop();
  for (const line of lines) scan.line(line);
  return scan.end(last);
}

/** The same with the whole of a key that the place is in. */
export function placeOf(text, offset) {
  const place = placeAt(text, offset);
  const rest = place.isKey && /^[\w.-]*["']?\s*:(?=\s|$)/.exec(text.slice(offset));
  return rest ? placeAt(text, offset + rest[0].length) : place;
}

class Scan {
  #blocks = []; // {column, step}: the keys and dashes that are open, outermost first
  #flow = []; // {list, key}: the brackets that are open
  #quote = "";
  #token = "";
  #scalarIn = null; // the column that lines of a block of text stand behind
  #isOpen = true; // nothing on this line has named a key

  line(line, { isLast = false } = {}) {
    if (this.#flow.length || this.#quote) {
      this.#token += " ";
      return this.#scan(line);
    }
    const indent = /^ */.exec(line)[0].length;
    const isBlank = /^\s*(#.*)?$/.test(line);
    if (this.#scalarIn !== null && (isBlank || indent > this.#scalarIn)) return undefined;
    this.#scalarIn = null;
    if (isBlank && !isLast) return undefined;
    return this.#block(line, indent);
  }

  end(line) {
    this.line(line, { isLast: true });
    if (this.#scalarIn !== null) return { path: this.#path(), typed: "", isKey: false };
    const inner = this.#flow.at(-1);
    const isKey = inner ? !inner.list && inner.key === null : this.#isOpen;
    return { path: this.#path(), typed: this.#token.trimStart(), isKey };
  }

  #block(line, indent) {
    let column = indent;
    let rest = line.slice(indent);
    this.#isOpen = !rest.startsWith("#");
    this.#close(column, DASH.test(rest));
    for (let dash; (dash = DASH.exec(rest)); ) {
      this.#close(column, true);
      this.#blocks.push({ column, step: ENTRY });
      column += dash[0].length;
      rest = rest.slice(dash[0].length);
    }
    const key = KEY.exec(rest);
    if (key) {
      this.#blocks.push({ column, step: unquoted(key[1]) });
      rest = rest.slice(key[0].length);
      this.#isOpen = false;
    }
    this.#token = "";
    if (SCALAR.test(rest)) this.#scalarIn = this.#blocks.at(-1)?.column ?? -1;
    else this.#scan(rest);
  }

  /** An entry of a list may stand at the column of the key that it belongs to. */
  #close(column, isDash) {
    const isOver = (block) => block.column > column || (block.column === column && !(isDash && block.step !== ENTRY));
    while (this.#blocks.length && isOver(this.#blocks.at(-1))) this.#blocks.pop();
  }

  #scan(rest) {
    for (let at = 0; at < rest.length; at += 1) {
      const sign = rest[at];
      if (this.#quote) {
        if (sign === "\\" && this.#quote === '"') this.#token += rest[(at += 1)] ?? "";
        else if (sign === this.#quote) this.#quote = "";
        else this.#token += sign;
      } else if (sign === "#" && /\s/.test(rest[at - 1] ?? " ")) return;
      else if (!this.#take(sign, rest[at + 1])) this.#token += sign;
    }
  }

  /** Whether the sign is one of structure. Outside of brackets, only what a value begins with is. */
  #take(sign, next) {
    const begins = this.#token.trim() === "";
    const inner = this.#flow.at(-1);
    if (!inner && !begins) return false;
    if ((sign === '"' || sign === "'") && begins) this.#quote = sign;
    else if (sign === "{" || sign === "[") this.#flow.push({ list: sign === "[", key: null });
    else if (inner && (sign === "}" || sign === "]")) this.#flow.pop();
    else if (inner && sign === ",") inner.key = null;
    else if (inner && !inner.list && inner.key === null && sign === ":" && /\s|^$/.test(next ?? "")) {
      inner.key = this.#token.trim();
    } else return false;
    this.#token = "";
    return true;
  }

  #path() {
    const flow = this.#flow.map(({ list, key }) => (list ? ENTRY : key)).filter((step) => step !== null);
    return [...this.#blocks.map(({ step }) => step), ...flow];
  }
}
