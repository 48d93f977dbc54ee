// Pieces of PromQL that several dashboards share. Rates are over `$__rate_interval`, four scrapes at least, so that each
// window holds two points or more.

export const SERVER = 'http_server_request_duration_seconds';
export const DATABASE = 'db_client_operation_duration_seconds';
export const SPANS = 'traces_span_metrics';
export const GRAPH = 'traces_service_graph_request';
export const RATE = '$__rate_interval';

const by = (labels: string[]): string => (labels.length > 0 ? ` by (${labels.join(', ')}) ` : '');

/** Sum of the per-second rates of a counter. */
export const rate = (series: string, ...labels: string[]): string =>
  `sum${by(labels)}(rate(${series}[${RATE}]))`;

/** Rates of a server's answers by status; a request whose caller went away before the answer has none. */
export const byStatus = (selector: string): string => {
  const status = 'http_response_status_code';
  return `label_replace(${rate(`${SERVER}_count{${selector}}`, status)}, "${status}", "cancelled", "${status}", "")`;
};

/** A quantile of a histogram; `le` is always among what is summed by. */
export const quantile = (q: number, histogram: string, selector: string, ...labels: string[]): string =>
  `histogram_quantile(${q}, ${rate(`${histogram}_bucket{${selector}}`, 'le', ...labels)})`;

/** The mean of a histogram. */
export const mean = (histogram: string, selector: string, ...labels: string[]): string =>
  `${rate(`${histogram}_sum{${selector}}`, ...labels)} / ${rate(`${histogram}_count{${selector}}`, ...labels)}`;

/**
 * The share of `part` in `all`. Where there is no such part yet, it is 0 and not nothing: a service that never failed has
 * no series of failures.
 */
export const share = (part: string, all: string, ...labels: string[]): string =>
  `(${rate(part, ...labels)} or 0 * ${rate(all, ...labels)}) / ${rate(all, ...labels)}`;

/** The rate of something that may never have happened: 0 then, for every `all` there is. */
export const rateOrZero = (part: string, all: string, ...labels: string[]): string =>
  `${rate(part, ...labels)} or 0 * ${rate(all, ...labels)}`;

/** What is left of an error budget: 1 untouched, 0 used up, below that overdrawn. */
export const budget = (selector: string): string =>
  `(pyrra_availability${selector} - on (slo) pyrra_objective${selector}) / on (slo) (1 - pyrra_objective${selector})`;
