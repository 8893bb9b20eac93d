// Where the machines were at any point of the journal, from its entries alone.

/**
 * Where a machine was right after the entry at `index`, of entries with the oldest first: its state, and the one it came
 * from. Before the first of its entries it was where that one found it; of a machine without any nothing is known.
 */
export function standingAt(entries, index, machine) {
  let state;
  for (let place = index; place >= 0; place -= 1) {
    const entry = entries[place];
    if (entry.machine !== machine) continue;
    state ??= entry.after;
    if (entry.before !== entry.after) return { state, previous: entry.before };
  }
  state ??= entries.find((entry, place) => place > index && entry.machine === machine)?.before;
  return { state, previous: undefined };
}

/** The place of the entry with a number, or of the last one before it; of entries that are all later, the first. */
export function placeOf(entries, seq) {
  const later = entries.findIndex((entry) => entry.seq > seq);
  return Math.max(0, (later < 0 ? entries.length : later) - 1);
}
