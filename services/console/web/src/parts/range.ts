/** The time a page shows: the last minutes, or around a moment. */
export interface Range {
  /** Minutes. */
  last: number;
  /** Milliseconds since 1970: then so long around it. */
  at: number | null;
}

export const LASTS: [number, string][] = [
  [5, '5 minutes'],
  [15, '15 minutes'],
  [60, 'hour'],
  [360, '6 hours'],
  [1440, 'day'],
];

export function rangeOf(params: URLSearchParams): Range {
  const last = Number(params.get('last'));
  const at = Number(params.get('at'));
  return {
    last: Number.isFinite(last) && last > 0 ? Math.min(last, 10_080) : 60,
    at: Number.isFinite(at) && at > 0 ? at : null,
  };
}

/** Milliseconds since 1970. */
export function bounds({ last, at }: Range): { from: number; to: number } {
  const length = last * 60_000;
  if (at !== null) return { from: at - length / 2, to: at + length / 2 };
  const now = Date.now();
  return { from: now - length, to: now };
}
