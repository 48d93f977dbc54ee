import type { Question } from '../../api/scenarios';

/** A page of ours that answers a question, and the question for a person. */
export interface Way {
  to: string;
  label: string;
  /** In its own language, to be read. */
  text?: string;
}

const TRACE = /\b[0-9a-f]{32}\b/;

/** Values for `${...}`: the addresses of the lab, and the trace that an earlier step found. */
export type Values = Record<string, string>;

export function fill(template: string, values: Values): string {
  return template.replaceAll(/\$\{([^}]+)\}/g, (whole, name: string) => values[name] ?? whole);
}

/** The id of a trace in the answer of a step. */
export const traceIn = (answer: string | undefined): string | undefined => answer?.match(TRACE)?.[0];

export function wayOf(question: Question, values: Values): Way | null {
  if ('promql' in question) return null;
  if ('logs' in question) {
    // Nobody has chosen a trace yet: then the lines of all of them.
    const query = fill(question.logs, values).replace(/\s*\|\s*trace_id\s*=\s*[`"]\$\{trace_id\}[`"]/, '');
    return { to: `/logs?${new URLSearchParams({ query, last: '15' }).toString()}`, label: 'Log lines', text: query };
  }
  if ('traces' in question) {
    const { service, operation, tags, min_duration } = question.traces;
    const search = new URLSearchParams({ service, lookback: '15', sort: 'slowest' });
    if (operation) search.set('operation', operation);
    if (min_duration) search.set('min', `${Math.round(min_duration * 1000)}ms`);
    const attributes = Object.entries(tags ?? {}).map(([key, value]) => `${key}=${/\s/.test(value) ? `"${value}"` : value}`);
    if (attributes.length > 0) search.set('attributes', attributes.join(' '));
    return { to: `/traces?${search.toString()}`, label: 'Traces', text: attributes.join(' ') };
  }
  if ('profile' in question) {
    return { to: `/profiles?service=users&seconds=5&span=`, label: 'Flame graph', text: question.profile.function };
  }
  const url = fill(question.link.url, values);
  const trace = url.match(/\/api\/traces\/([0-9a-f]{32})/)?.[1];
  if (trace) return { to: `/traces/${trace}`, label: 'The trace' };
  if (url.includes('/api/traces/')) return { to: '/traces?sort=slowest&lookback=15', label: 'Traces: open one' };
  if (url.includes('/api/v2/alerts')) return { to: '/slos', label: 'Alerts' };
  const scraped = url.match(/\/api\/v1\/targets\?.*scrapePool=([\w-]+)/)?.[1];
  if (scraped) return { to: `/services/${scraped}`, label: `How ${scraped} is` };
  return { to: url, label: url };
}
