import { ask } from './ask';

export interface LogLine {
  /** Nanoseconds since 1970: more than a number can hold. */
  time: string;
  text: string;
  service: string;
  level: Level;
  trace: string | null;
  span: string | null;
  labels: Record<string, string>;
}

export type Level = 'error' | 'warn' | 'info' | 'debug' | 'unknown';

interface Answer {
  data: { resultType: string; result: { stream: Record<string, string>; values: [string, string][] }[] };
}

function level(labels: Record<string, string>): Level {
  const name = (labels['severity_text'] ?? labels['detected_level'] ?? labels['level'] ?? '').toLowerCase();
  if (name.startsWith('err') || name.startsWith('fatal') || name.startsWith('crit')) return 'error';
  if (name.startsWith('warn')) return 'warn';
  if (name.startsWith('info')) return 'info';
  if (name.startsWith('debug') || name.startsWith('trace')) return 'debug';
  return 'unknown';
}

export interface LogQuery {
  query: string;
  /** Milliseconds since 1970. */
  from: number;
  to: number;
  limit: number;
  oldestFirst?: boolean;
}

export async function getLines({ query, from, to, limit, oldestFirst }: LogQuery): Promise<LogLine[]> {
  const answer = await ask<Answer>('/proxy/loki/loki/api/v1/query_range', {
    query,
    start: `${Math.floor(from)}000000`,
    end: `${Math.ceil(to)}000000`,
    limit: String(limit),
    direction: oldestFirst ? 'forward' : 'backward',
  });
  if (answer.data.resultType !== 'streams') {
    throw new Error('This query counts something. The page shows lines: leave the function around the selector out.');
  }
  const lines = answer.data.result.flatMap(({ stream, values }) =>
    values.map(([time, text]) => ({
      time,
      text,
      service: stream['service_name'] ?? 'unknown',
      level: level(stream),
      trace: stream['trace_id'] ?? null,
      span: stream['span_id'] ?? null,
      labels: stream,
    })),
  );
  // Texts of equal length, as these numbers are, compare like numbers.
  const sign = oldestFirst ? 1 : -1;
  return lines.sort((a, b) => sign * (a.time < b.time ? -1 : a.time > b.time ? 1 : 0));
}

/** Milliseconds since 1970 of a line. */
export const millis = (line: LogLine): number => Number(line.time.slice(0, -6));

/** A text as LogQL writes it. */
export const quote = (value: string): string => JSON.stringify(value);
