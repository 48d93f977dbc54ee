import { quote } from '../../api/loki';

/** What the simple form asks for. */
export interface Filters {
  service: string;
  level: string;
  contains: string;
  trace: string;
  span: string;
}

export const LEVELS = ['error', 'warn', 'info', 'debug'];

/** The LogQL of the simple form. */
export function logql({ service, level, contains, trace, span }: Filters): string {
  const stages = [`{service_name${service ? `=${quote(service)}` : '=~".+"'}}`];
  if (contains) stages.push(`|= ${quote(contains)}`);
  const index = LEVELS.indexOf(level);
  // A level means: it and what is worse.
  if (index >= 0) stages.push(`| detected_level=~${quote(`(?i)${LEVELS.slice(0, index + 1).join('|')}|fatal|critical`)}`);
  if (trace) stages.push(`| trace_id=${quote(trace)}`);
  if (span) stages.push(`| span_id=${quote(span)}`);
  return stages.join(' ');
}
