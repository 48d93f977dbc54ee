import { getLines, millis, quote } from '../../api/loki';
import type { LogLine } from '../../api/loki';

/** Something that a service tells of itself in its log. */
export interface Change {
  /** Milliseconds since 1970. */
  at: number;
  what: string;
  /** What is other than before, where the line says so. */
  more: string[];
}

const TELLS = '(?i)changed|listens|stopped|is gone|is back|is ready';
const MOST = 50;

/** Those of the last minutes, the newest first. */
export async function getChanges(service: string, minutes: number): Promise<Change[]> {
  const lines = await getLines({
    query: `{service_name=${quote(service)}} |~ ${quote(TELLS)} | trace_id=""`,
    from: Date.now() - minutes * 60_000,
    to: Date.now(),
    limit: MOST,
    oldestFirst: true,
  });
  let before = new Map<string, string>();
  return lines
    .map((line) => {
      const faults = fieldsOf(line);
      const more = faults ? differences(before, faults) : [];
      if (faults) before = faults;
      const version = line.labels['service_version'];
      if (line.text.endsWith('listens') && version) more.push(`version ${version}`);
      return { at: millis(line), what: line.text, more };
    })
    .toReversed();
}

/** `Faults { error_share: 0.5, slow: 0ns }` by its fields. */
function fieldsOf(line: LogLine): Map<string, string> | null {
  const text = line.labels['faults']?.match(/\{(.*)\}/)?.[1];
  if (text === undefined) return null;
  return new Map([...text.matchAll(/(\w+): ([^,]+?)\s*(?:,|$)/g)].map(([, name, value]) => [name ?? '', value ?? '']));
}

const isNothing = (value: string) => value === 'false' || /^0(\.0)?(ns)?$/.test(value);

/** Where nothing was known before, what is not nothing. */
function differences(before: Map<string, string>, now: Map<string, string>): string[] {
  return [...now]
    .filter(([name, value]) => (before.size > 0 ? before.get(name) !== value : !isNothing(value)))
    .map(([name, value]) => `${name} is ${value}${before.has(name) ? `, was ${before.get(name) ?? ''}` : ''}`);
}
