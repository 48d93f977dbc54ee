import { query } from '../../api/prometheus';
import type { Sample } from '../../api/prometheus';
import { bytes, percent, rate, seconds } from '../../parts/format';

/** A number that tells how a service is. */
export interface Vital {
  name: string;
  say: (value: number) => string;
  now: number | null;
  before: number | null;
}

interface Asked {
  name: string;
  say: (value: number) => string;
  promql: string;
}

/** Who counts its own requests. Of others their callers tell. */
const COUNTS = new Set(['edge', 'users']);

const ofProcessor = (value: number) => `${percent(value)} of a processor`;
const aSecond = (value: number) => `${bytes(value)}/s`;

const quantile = (q: number, bucket: string) => `histogram_quantile(${q}, sum by (le) (rate(${bucket}[1m])))`;
const share = (part: string, all: string) => `(sum(rate(${part}[1m])) or vector(0)) / sum(rate(${all}[1m]))`;

function asked(service: string): Asked[] {
  const [count, failed, bucket] = COUNTS.has(service)
    ? [
        `http_server_request_duration_seconds_count{job="${service}"}`,
        `http_server_request_duration_seconds_count{job="${service}",http_response_status_code=~"5.."}`,
        `http_server_request_duration_seconds_bucket{job="${service}"}`,
      ]
    : [
        `traces_service_graph_request_total{server="${service}"}`,
        `traces_service_graph_request_failed_total{server="${service}"}`,
        `traces_service_graph_request_client_seconds_bucket{server="${service}"}`,
      ];
  const requests = [
    { name: 'requests', say: rate, promql: `sum(rate(${count}[1m]))` },
    { name: 'of them failed', say: percent, promql: share(failed, count) },
    { name: 'half answered within', say: seconds, promql: quantile(0.5, bucket) },
    { name: 'nine in ten within', say: seconds, promql: quantile(0.9, bucket) },
  ];
  if (!COUNTS.has(service)) return requests;
  const cpu = `process_cpu_time_seconds_total{job="${service}"}`;
  const memory = `process_memory_usage_bytes{job="${service}"}`;
  const mode = (name: string) => `sum(rate(process_cpu_time_seconds_total{job="${service}",cpu_mode="${name}"}[1m]))`;
  return [
    ...requests,
    { name: 'CPU time for each', say: seconds, promql: `sum(rate(${cpu}[1m])) / sum(rate(${count}[1m]))` },
    { name: 'CPU in its own code', say: ofProcessor, promql: mode('user') },
    { name: 'CPU in the system, for it', say: ofProcessor, promql: mode('system') },
    { name: 'memory', say: bytes, promql: `sum(${memory})` },
    { name: 'memory grows by', say: aSecond, promql: `sum(deriv(${memory}[1m])) > 0` },
    { name: 'that is, for each request', say: bytes, promql: `sum(deriv(${memory}[1m])) / (sum(rate(${count}[1m])) > 0) > 0` },
    { name: 'memory in ten minutes, at this rate', say: bytes, promql: `sum(predict_linear(${memory}[1m], 600)) > 0` },
    {
      name: 'spans dropped in five minutes, nobody took them',
      say: (value: number) => Math.round(value).toLocaleString('en'),
      promql: `sum(increase(otel_sdk_processor_span_processed_total{job="${service}",error_type="queue_full"}[5m]))`,
    },
  ];
}

/** One question for all of them: each number carries its place in the list. */
const together = (all: Asked[]) =>
  all.map(({ promql }, index) => `label_replace(${promql}, "vital", "${index}", "", "")`).join(' or ');

/** Numbers by their places; times in seconds since 1970. */
export async function getVitals(service: string, at?: number): Promise<Map<number, number>> {
  const samples = await query(together(asked(service)), at);
  return new Map(
    samples.filter(({ value }) => Number.isFinite(value)).map(({ labels, value }) => [Number(labels['vital']), value]),
  );
}

/** Those that are known now or were before. */
export function vitals(service: string, now: Map<number, number>, before: Map<number, number>): Vital[] {
  return asked(service)
    .map(({ name, say }, index) => ({ name, say, now: now.get(index) ?? null, before: before.get(index) ?? null }))
    .filter((vital) => vital.now !== null || vital.before !== null);
}

/** Calls to or from somebody. */
export interface Calls {
  who: string;
  requests: number;
  /** A share. */
  failed: number;
  /** Seconds. */
  p50: number | null;
  p95: number | null;
}

/** Calls of this one to others (`client`), or of others to it (`server`). */
export async function getCalls(service: string, as: 'client' | 'server'): Promise<Calls[]> {
  const other = as === 'client' ? 'server' : 'client';
  const of = (metric: string) => `sum by (${other}) (rate(traces_service_graph_request_${metric}{${as}="${service}"}[1m]))`;
  const times = `sum by (${other}, le) (rate(traces_service_graph_request_client_seconds_bucket{${as}="${service}"}[1m]))`;
  const [all, failed, half, most] = await Promise.all([
    query(`${of('total')} > 0`),
    query(of('failed_total')),
    query(`histogram_quantile(0.5, ${times})`),
    query(`histogram_quantile(0.95, ${times})`),
  ]);
  const find = (samples: Sample[], who: string) => {
    const value = samples.find(({ labels }) => labels[other] === who)?.value;
    return value !== undefined && Number.isFinite(value) ? value : null;
  };
  return all
    .map(({ labels, value }) => {
      const who = labels[other] ?? '';
      return { who, requests: value, failed: (find(failed, who) ?? 0) / value, p50: find(half, who), p95: find(most, who) };
    })
    .sort((a, b) => b.requests - a.requests);
}

export interface Answers {
  route: string;
  status: string;
  /** A second. */
  requests: number;
}

export async function getAnswers(service: string): Promise<Answers[]> {
  if (!COUNTS.has(service)) return [];
  const samples = await query(
    `sum by (http_route, http_response_status_code) (rate(http_server_request_duration_seconds_count{job="${service}"}[1m])) > 0`,
  );
  return samples
    .map(({ labels, value }) => ({
      route: labels['http_route'] ?? '',
      status: labels['http_response_status_code'] ?? '',
      requests: value,
    }))
    .sort((a, b) => a.route.localeCompare(b.route) || a.status.localeCompare(b.status));
}

export interface Version {
  version: string;
  /** In five minutes. */
  requests: number;
  failed: number;
  running: boolean;
}

/** Who answered in the last five minutes: an old version is still among them. */
export async function getVersions(service: string): Promise<Version[]> {
  if (!COUNTS.has(service)) return [];
  const of = (more: string) =>
    `sum by (service_version) (increase(traces_span_metrics_calls_total{service_name="${service}",span_kind="SPAN_KIND_SERVER"${more}}[5m]))`;
  const [all, failed, running] = await Promise.all([
    query(of('')),
    query(of(',http_response_status_code=~"5.."')),
    query(`group by (service_version) (target_info{job="${service}"})`),
  ]);
  const find = (samples: Sample[], version: string) =>
    samples.find(({ labels }) => (labels['service_version'] ?? '') === version)?.value ?? 0;
  const versions = new Set([...all, ...running].map(({ labels }) => labels['service_version'] ?? ''));
  return [...versions].sort().map((version) => ({
    version,
    requests: find(all, version),
    failed: find(failed, version),
    running: find(running, version) > 0,
  }));
}
