import { query, queryRange } from '../../api/prometheus';
import type { Alert, Sample } from '../../api/prometheus';

/** An objective as its rules record it. */
export interface Objective {
  name: string;
  service: string;
  /** A share. */
  target: number;
  /** Seconds. */
  window: number;
  /** A share; `null` while nothing was asked. */
  availability: number | null;
  /** Of the budget, a share; below zero when more than it is gone. */
  left: number | null;
  /** How many times faster than allowed the budget goes now. */
  burn: number | null;
  requests: number;
  /** Seconds since 1970, and the share that failed. */
  history: [number, number][];
  firing: Alert[];
}

/** Seconds that the small graph shows, and between two of its points. */
export const HISTORY = 3600;
const STEP = 30;

export async function getObjectives(): Promise<Omit<Objective, 'firing'>[]> {
  const now = Math.floor(Date.now() / 1000);
  const [targets, windows, availability, errors, requests, history] = await Promise.all([
    query('pyrra_objective'),
    query('pyrra_window'),
    query('pyrra_availability'),
    query('pyrra_errors:rate5m'),
    query('pyrra_requests:rate5m'),
    queryRange('pyrra_errors:rate5m / (pyrra_requests:rate5m > 0)', now - HISTORY, now, STEP),
  ]);
  return targets
    .map(({ labels, value: target }) => {
      const name = labels['slo'] ?? '';
      const share = finite(of(availability, name));
      const asked = finite(of(requests, name)) ?? 0;
      const failed = finite(of(errors, name));
      const budget = 1 - target;
      const points = history.find((series) => series.labels['slo'] === name)?.points ?? [];
      return {
        name,
        service: name.split('-')[0] ?? name,
        target,
        window: of(windows, name) ?? 0,
        availability: share,
        left: share !== null && budget > 0 ? 1 - (1 - share) / budget : null,
        burn: failed !== null && asked > 0 && budget > 0 ? failed / asked / budget : null,
        requests: asked,
        history: points.filter(([, value]) => Number.isFinite(value)),
      };
    })
    .sort((a, b) => a.name.localeCompare(b.name));
}

const of = (samples: Sample[], name: string) => samples.find(({ labels }) => labels['slo'] === name)?.value;

const finite = (value: number | undefined) => (value !== undefined && Number.isFinite(value) ? value : null);
