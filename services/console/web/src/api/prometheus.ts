import { ask } from './ask';

export interface Sample {
  labels: Record<string, string>;
  value: number;
}

export interface Series {
  labels: Record<string, string>;
  /** Seconds since 1970, and the value. */
  points: [number, number][];
}

interface Vector {
  data: { result: { metric: Record<string, string>; value: [number, string] }[] };
}

interface Matrix {
  data: { result: { metric: Record<string, string>; values: [number, string][] }[] };
}

const API = '/proxy/prometheus/api/v1';

/** Of now, or of a moment in seconds since 1970. */
export async function query(promql: string, at?: number): Promise<Sample[]> {
  const time: Record<string, string> = at === undefined ? {} : { time: String(at) };
  const answer = await ask<Vector>(`${API}/query`, { query: promql, ...time });
  return answer.data.result.map(({ metric, value }) => ({ labels: metric, value: Number(value[1]) }));
}

/** Times are seconds since 1970. */
export async function queryRange(promql: string, start: number, end: number, step: number): Promise<Series[]> {
  const answer = await ask<Matrix>(`${API}/query_range`, {
    query: promql,
    start: String(start),
    end: String(end),
    step: String(step),
  });
  return answer.data.result.map(({ metric, values }) => ({
    labels: metric,
    points: values.map(([time, value]) => [time, Number(value)]),
  }));
}

export interface Alert {
  labels: Record<string, string>;
  annotations: Record<string, string>;
  state: 'pending' | 'firing';
  activeAt: string;
  value: string;
}

export async function getAlerts(): Promise<Alert[]> {
  const answer = await ask<{ data: { alerts: Alert[] } }>(`${API}/alerts`);
  return answer.data.alerts;
}

export interface Target {
  labels: Record<string, string>;
  scrapeUrl: string;
  /** `up`, `down`, or `unknown` before the first scrape. */
  health: string;
  /** Empty when the last scrape was answered. */
  lastError: string;
}

/** What Prometheus scrapes, and how that goes. */
export async function getTargets(): Promise<Target[]> {
  const answer = await ask<{ data: { activeTargets: Target[] } }>(`${API}/targets?state=active`);
  return answer.data.activeTargets;
}

export interface Rule {
  name: string;
  labels: Record<string, string>;
  annotations: Record<string, string>;
  state: string;
  query: string;
}

/** Rules that alert. */
export async function getRules(): Promise<Rule[]> {
  const answer = await ask<{ data: { groups: { rules: (Rule & { type: string })[] }[] } }>(`${API}/rules?type=alert`);
  return answer.data.groups.flatMap(({ rules }) => rules.filter(({ type }) => type === 'alerting'));
}
