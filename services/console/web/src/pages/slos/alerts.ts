import type { Alert } from '../../api/prometheus';
import { LOGGED, PROFILED, callsTo, lookback, tracesOf } from '../ways';

/** A page that shows more of what an alert tells. */
export interface Way {
  to: string;
  label: string;
}

/** Where an alert says nothing of its beginning, in seconds. */
const USUAL = 900;

/** An alert that explains others comes before them. */
const CAUSES = new Set(['ServiceDown', 'CollectorDown', 'UpstreamFailing']);

function weight({ state, labels }: Alert): number {
  const firing = state === 'firing' ? 4 : 0;
  const critical = labels['severity'] === 'critical' ? 2 : 0;
  return firing + critical + (CAUSES.has(labels['alertname'] ?? '') ? 1 : 0);
}

/** What matters most first. */
export function sorted(alerts: Alert[]): Alert[] {
  return alerts.toSorted((a, b) => weight(b) - weight(a) || a.activeAt.localeCompare(b.activeAt));
}

/** Where to look when it fires: the likelier first. */
export function waysOf({ labels, activeAt }: Alert): Way[] {
  const job = labels['job'];
  if (job === undefined) return [];
  const began = Math.floor(Date.parse(activeAt) / 1000);
  const last = lookback(Number.isFinite(began) ? began : null, USUAL);
  const numbers = { to: `/services/${encodeURIComponent(job)}?since=${began}`, label: `How ${job} is, now and before` };
  const logs = { to: `/logs?${new URLSearchParams({ service: job, level: 'warn', last: String(last) }).toString()}`, label: 'Warnings and errors in its log' };
  if (!PROFILED.has(job)) return LOGGED.has(job) ? [numbers, logs] : [numbers];
  const failed = { to: tracesOf(job, last, { errors: '1' }), label: 'Failed traces' };
  const slowest = { to: tracesOf(job, last, { sort: 'slowest' }), label: 'Slowest traces' };
  switch (labels['alertname']) {
    case 'ServiceDown':
      return [numbers, logs];
    case 'MemoryRunsOut':
      return [numbers, slowest, logs];
    case 'CpuTimePerRequestHigh':
      return [{ to: `/profiles?service=${job}&span=`, label: 'What its CPU does now' }, numbers, slowest, failed, logs];
    case 'UpstreamFailing':
      return [...upstream(job, labels['server'] ?? '', last, began), numbers, logs];
    default:
      return (labels['slo'] ?? '').includes('latency')
        ? [slowest, failed, numbers, logs]
        : [failed, slowest, numbers, logs];
  }
}

/** Both ends of calls that fail. */
function upstream(client: string, server: string, last: number, began: number): Way[] {
  const ways = [
    { to: callsTo(client, server, last, { errors: '1' }), label: `Failed calls to ${server}` },
    { to: `/services/${encodeURIComponent(server)}?since=${began}`, label: `How ${server} is, now and before` },
  ];
  if (LOGGED.has(server)) {
    ways.push({ to: `/logs?${new URLSearchParams({ service: server, level: 'warn', last: String(last) }).toString()}`, label: `Warnings and errors in the log of ${server}` });
  }
  return ways;
}
