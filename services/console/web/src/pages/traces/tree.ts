import type { Span, Trace } from '../../api/jaeger';

/** A span in its place. */
export interface Row {
  span: Span;
  depth: number;
  children: number;
  /** All below it. */
  descendants: number;
  /** Microseconds that no child of it accounts for. */
  self: number;
}

export interface Tree {
  id: string;
  rows: Row[];
  start: number;
  end: number;
  /** With their versions. */
  services: string[];
  failed: number;
  depth: number;
  /** Where most of the time went. */
  heaviest: Row | null;
  /** The deepest that failed: those above it failed because of it. */
  origin: Row | null;
}

/** Children under their parents, each level by start. What hangs under nothing here is a root. */
export function treeOf(trace: Trace): Tree {
  const byId = new Map(trace.spans.map((span) => [span.id, span]));
  const children = new Map<string | null, Span[]>();
  for (const span of trace.spans) {
    const parent = span.parent !== null && span.parent !== span.id && byId.has(span.parent) ? span.parent : null;
    const siblings = children.get(parent);
    if (siblings) siblings.push(span);
    else children.set(parent, [span]);
  }
  const rows: Row[] = [];
  const seen = new Set<string>();
  // A stack of our own: a trace may be deeper than the machine's.
  const pending = (children.get(null) ?? []).map((span) => ({ span, depth: 0 })).reverse();
  for (let next = pending.pop(); next; next = pending.pop()) {
    const { span, depth } = next;
    if (seen.has(span.id)) continue;
    seen.add(span.id);
    const below = children.get(span.id) ?? [];
    rows.push({ span, depth, children: below.length, descendants: 0, self: selfTime(span, below) });
    for (const child of below.toReversed()) pending.push({ span: child, depth: depth + 1 });
  }
  countBelow(rows);
  const start = Math.min(...ends(trace, (span) => span.start));
  const end = Math.max(...ends(trace, (span) => span.start + span.duration));
  return {
    id: trace.id,
    rows,
    start,
    end,
    services: [...new Set(trace.spans.map(named))],
    failed: trace.spans.filter(({ failed }) => failed).length,
    depth: rows.reduce((most, { depth }) => Math.max(most, depth), 0) + 1,
    heaviest: rows.reduce<Row | null>((most, row) => (most && most.self >= row.self ? most : row), null),
    origin: rows.reduce<Row | null>((deepest, row) => (row.span.failed && row.depth > (deepest?.depth ?? -1) ? row : deepest), null),
  };
}

function named({ service, resource }: Span): string {
  const version = resource.find(({ key }) => key === 'service.version')?.value;
  return version ? `${service} ${version}` : service;
}

/** The smallest or largest of them, for as many spans as there are. */
function ends(trace: Trace, of: (span: Span) => number): [number, number] {
  let [least, most] = [Infinity, -Infinity];
  for (const span of trace.spans) {
    const value = of(span);
    least = Math.min(least, value);
    most = Math.max(most, value);
  }
  return [least, most];
}

function selfTime(span: Span, children: Span[]): number {
  const end = span.start + span.duration;
  let [covered, until] = [0, span.start];
  for (const child of children.toSorted((a, b) => a.start - b.start)) {
    const from = Math.max(child.start, until);
    const to = Math.min(child.start + child.duration, end);
    if (to > from) {
      covered += to - from;
      until = to;
    }
  }
  return span.duration - covered;
}

function countBelow(rows: Row[]): void {
  const open: Row[] = [];
  for (const row of rows) {
    while (open.length > 0 && (open.at(-1)?.depth ?? 0) >= row.depth) open.pop();
    for (const above of open) above.descendants++;
    open.push(row);
  }
}

/** The rows that are not inside a closed one. */
export function visible(rows: Row[], closed: ReadonlySet<string>): Row[] {
  const shown: Row[] = [];
  for (let index = 0; index < rows.length; index++) {
    const row = rows[index];
    if (!row) break;
    shown.push(row);
    if (closed.has(row.span.id)) index += row.descendants;
  }
  return shown;
}
