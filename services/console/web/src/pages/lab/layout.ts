/** Puts the callers before the called: a layer for each step of the longest way. */

export interface Placed {
  name: string;
  layer: number;
  /** Place within the layer, from 0. */
  slot: number;
  /** How many share the layer. */
  slots: number;
}

export function layers(names: string[], calls: { from: string; to: string }[]): Placed[] {
  const layer = new Map(names.map((name) => [name, 0]));
  // As often as there are names: a circle of calls then ends, too.
  for (let round = 0; round < names.length; round++) {
    let moved = false;
    for (const { from, to } of calls) {
      const least = (layer.get(from) ?? 0) + 1;
      if (from !== to && (layer.get(to) ?? 0) < least && least < names.length) {
        layer.set(to, least);
        moved = true;
      }
    }
    if (!moved) break;
  }
  const rows = new Map<number, string[]>();
  for (const name of names) {
    const index = layer.get(name) ?? 0;
    rows.set(index, [...(rows.get(index) ?? []), name]);
  }
  const placed: Placed[] = [];
  const slotOf = new Map<string, number>();
  const used = [...rows.keys()].sort((a, b) => a - b);
  for (const [position, index] of used.entries()) {
    // Near to whom they are called by, so that fewer lines cross.
    const weight = (name: string) => {
      const callers = calls.filter((call) => call.to === name).map((call) => slotOf.get(call.from) ?? 0);
      return callers.length > 0 ? callers.reduce((sum, slot) => sum + slot, 0) / callers.length : 0;
    };
    const row = (rows.get(index) ?? []).toSorted((a, b) => weight(a) - weight(b));
    for (const [slot, name] of row.entries()) {
      slotOf.set(name, (slot + 0.5) / row.length);
      placed.push({ name, layer: position, slot, slots: row.length });
    }
  }
  return placed;
}
