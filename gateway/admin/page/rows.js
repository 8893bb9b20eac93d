// The rows of a list that is asked for again and again: what stays is not taken out, or it would lose the focus.

export class Rows {
  #list;
  #make;
  #otherwise;
  #rows = new Map(); // key -> its row

  /** `make` gives a row: its `element`, and `show` for what is to stand in it. `otherwise` has the focus of one that is gone. */
  constructor(list, make, otherwise) {
    this.#list = list;
    this.#make = make;
    this.#otherwise = otherwise;
  }

  /** `wanted` has, in order, the key and the item of each. */
  show(wanted) {
    const held = this.#list.contains(document.activeElement) ? document.activeElement : null;
    const rows = new Map(wanted.map(([key, item]) => [key, this.#rows.get(key) ?? this.#make(item)]));
    for (const [key, { element }] of this.#rows) if (!rows.has(key)) element.remove();
    this.#rows = rows;
    let place = this.#list.firstElementChild;
    for (const [key, item] of wanted) {
      const row = rows.get(key);
      row.show(item);
      if (row.element === place) place = place.nextElementSibling;
      else this.#list.insertBefore(row.element, place);
    }
    if (!held || document.activeElement === held) return;
    (held.isConnected ? held : this.#otherwise).focus({ preventScroll: true });
  }
}
