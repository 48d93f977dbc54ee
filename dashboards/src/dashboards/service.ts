import type { Dashboard } from '../model.js';
import { RATE, SERVER, SPANS, byStatus, mean, quantile, rate, share } from '../queries.js';

const OF = 'job="$service", http_route=~"$route"';
const CALLS = 'service_name="$service", span_kind="SPAN_KIND_CLIENT"';

export const service: Dashboard = {
  uid: 'lab-service',
  title: 'Service',
  description: 'Rate, errors and duration of one service, by route; what it waits for; its log lines and traces.',
  tags: ['services'],
  range: 'now-15m',
  variables: [
    { name: 'service', title: 'Service', label: 'job', series: `${SERVER}_count`, first: 'users' },
    { name: 'route', title: 'Route', label: 'http_route', series: `${SERVER}_count{job="$service"}`, several: true },
  ],
  rows: [
    {
      title: 'Rate, errors, duration',
      panels: [
        {
          kind: 'lines', title: 'Requests by route', width: 8, unit: 'requests/s', min: 0, stacked: true,
          description: 'Answers in a second. Paths that no route matches have none.',
          queries: [{ expr: rate(`${SERVER}_count{${OF}}`, 'http_route'), legend: '{{http_route}}' }],
        },
        {
          kind: 'lines', title: 'Server errors by route', width: 8, unit: 'share', min: 0,
          description: 'Share of the answers with a 5xx.',
          queries: [{
            expr: share(`${SERVER}_count{${OF}, http_response_status_code=~"5.."}`, `${SERVER}_count{${OF}}`, 'http_route'),
            legend: '{{http_route}}',
          }],
          reaction: {
            fault: { flags: { 'users-error-share': 'half' } }, variables: { service: 'users', route: '/users' }, above: 0.2,
          },
        },
        {
          kind: 'lines', title: 'Duration', width: 8, unit: 'seconds', min: 0,
          description: 'How long half, 90 and 99 of 100 answers take at most. A point leads to the trace of a request.',
          queries: [
            { expr: quantile(0.5, SERVER, OF), legend: 'p50' },
            { expr: quantile(0.9, SERVER, OF), legend: 'p90' },
            { expr: quantile(0.99, SERVER, OF), legend: 'p99', exemplars: true },
          ],
        },
        {
          kind: 'lines', title: 'Answers by status', width: 8, unit: 'requests/s', min: 0, stacked: true,
          description: 'A request that its caller gave up has no status code: it counts as cancelled.',
          queries: [{ expr: byStatus(OF), legend: '{{http_response_status_code}}' }],
        },
        {
          kind: 'lines', title: 'p95 by route', width: 8, unit: 'seconds', min: 0,
          description: 'How long 95 of 100 answers of a route take at most.',
          queries: [{ expr: quantile(0.95, SERVER, OF, 'http_route'), legend: '{{http_route}}' }],
        },
        {
          kind: 'heatmap', title: 'Duration, all answers', width: 8, unit: 'seconds',
          description: 'How many answers took how long: two bands mean two kinds of answers, of which an average tells neither.',
          queries: [{ expr: rate(`${SERVER}_bucket{${OF}}`, 'le'), legend: '{{le}}' }],
        },
        {
          kind: 'table', title: 'Routes', width: 24, height: 7, unit: 'requests/s',
          description: 'Each route by itself, over the time shown.',
          rows: { http_request_method: 'Method', http_route: 'Route' },
          queries: [
            { expr: `sum by (http_request_method, http_route) (rate(${SERVER}_count{${OF}}[$__range]))`, legend: 'Rate' },
            {
              expr: `(sum by (http_request_method, http_route) (rate(${SERVER}_count{${OF}, http_response_status_code=~"5.."}[$__range])) or 0 * sum by (http_request_method, http_route) (rate(${SERVER}_count{${OF}}[$__range]))) / sum by (http_request_method, http_route) (rate(${SERVER}_count{${OF}}[$__range]))`,
              legend: 'Server errors', unit: 'share',
            },
            {
              expr: `histogram_quantile(0.95, sum by (le, http_request_method, http_route) (rate(${SERVER}_bucket{${OF}}[$__range])))`,
              legend: '95 % within', unit: 'seconds',
            },
          ],
        },
      ],
    },
    {
      title: 'What it waits for',
      panels: [
        {
          kind: 'lines', title: 'Calls', width: 8, unit: 'requests/s', min: 0,
          description: 'Client spans by whom they call, in a second.',
          queries: [{ expr: rate(`${SPANS}_calls_total{${CALLS}}`, 'service_peer_name'), legend: '{{service_peer_name}}' }],
        },
        {
          kind: 'lines', title: 'Failed calls', width: 8, unit: 'share', min: 0,
          description: 'Share of the calls that ended in an error.',
          queries: [{
            expr: share(
              `${SPANS}_calls_total{${CALLS}, status_code="STATUS_CODE_ERROR"}`, `${SPANS}_calls_total{${CALLS}}`,
              'service_peer_name',
            ),
            legend: '{{service_peer_name}}',
          }],
        },
        {
          kind: 'lines', title: 'Duration of calls', width: 8, unit: 'seconds', min: 0,
          description: 'How long 95 of 100 calls take at most, and the mean. A point leads to the trace of a call.',
          queries: [
            { expr: quantile(0.95, `${SPANS}_duration_seconds`, CALLS, 'service_peer_name'), legend: '{{service_peer_name}} p95', exemplars: true },
            { expr: mean(`${SPANS}_duration_seconds`, CALLS, 'service_peer_name'), legend: '{{service_peer_name}} mean' },
          ],
        },
      ],
    },
    {
      title: 'Logs and traces',
      panels: [
        {
          kind: 'logs', title: 'Lines', width: 12, height: 10,
          description: 'Its newest log lines; `trace_id` in a line\'s details opens the trace.',
          expr: '{service_name="$service"}',
        },
        {
          kind: 'traces', title: 'Traces in Jaeger', width: 12, height: 10,
          description: 'Its newest traces.',
          service: '$service',
        },
        {
          kind: 'traceql', title: 'Traces in Tempo', width: 24, height: 8,
          description: 'The same in Tempo. Add `&& duration > 500ms` or `&& status = error` to the query, and it finds what hurts.',
          expr: '{ resource.service.name = "$service" && kind = server }',
        },
      ],
    },
    {
      title: 'Where the time goes',
      panels: [
        {
          kind: 'lines', title: 'Requests under way', width: 12, unit: 'count', min: 0,
          description: 'By Little\'s law: how many requests are being answered at a time, on average.',
          queries: [{ expr: `sum by (http_route) (rate(${SERVER}_sum{${OF}}[${RATE}]))`, legend: '{{http_route}}' }],
        },
        {
          kind: 'lines', title: 'Time spent waiting for others', width: 12, unit: 'share', min: 0, max: 1,
          description: 'Of the time in which requests are answered, the share in which it waits for the one it calls. Above 1 where it calls several at once.',
          queries: [{
            expr: `${rate(`${SPANS}_duration_seconds_sum{${CALLS}}`, 'service_peer_name')} / on () group_left () ${rate(`${SPANS}_duration_seconds_sum{service_name="$service", span_kind="SPAN_KIND_SERVER"}`)}`,
            legend: '{{service_peer_name}}',
          }],
        },
      ],
    },
  ],
};
