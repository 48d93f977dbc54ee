import type { Dashboard } from '../model.js';
import { RATE, SERVER, byStatus, mean, quantile, rate, share } from '../queries.js';

const OF = 'job="$service"';
const OK = `${OF}, http_response_status_code=~"2.."`;
const BAD = `${OF}, http_response_status_code=~"5.."`;

/** What happened in a minute; 0 where it never did. */
const perMinute = (selector: string): string => `60 * (${rate(`${SERVER}_count{${selector}}`)} or 0 * ${rate(`${SERVER}_count{${OF}}`)})`;

const variables = [{ name: 'service', title: 'Service', label: 'job', series: `${SERVER}_count`, first: 'users' }];

export const requestSummary: Dashboard = {
  uid: 'lab-request-summary',
  title: 'Service at a glance',
  description: 'The classic first dashboard of a web service: successes and errors, status, duration.',
  tags: ['services'],
  range: 'now-15m',
  variables,
  rows: [
    {
      title: 'Requests',
      panels: [
        {
          kind: 'lines', title: 'Successes', width: 12, unit: 'per minute', min: 0,
          description: 'Answers with a 2xx, in a minute.',
          queries: [{ expr: perMinute(OK), legend: '2xx' }],
        },
        {
          kind: 'lines', title: 'Errors', width: 12, unit: 'per minute', min: 0,
          description: 'Answers with a 5xx, in a minute.',
          queries: [{ expr: perMinute(BAD), legend: '5xx' }],
          reaction: { fault: { flags: { 'users-error-share': 'half' } }, variables: { service: 'users' }, above: 10 },
        },
        {
          kind: 'lines', title: 'Requests by status', width: 12, unit: 'requests/s', min: 0, stacked: true,
          description: 'A request that its caller gave up has no status code: it counts as cancelled.',
          queries: [{ expr: byStatus(OF), legend: '{{http_response_status_code}}' }],
        },
        {
          kind: 'stat', title: '2xx', width: 6, unit: 'share', decimals: 1,
          description: 'Share of the answers that are fine.',
          steps: [[0, 'red'], [0.95, 'yellow'], [0.99, 'green']],
          queries: [{ expr: share(`${SERVER}_count{${OK}}`, `${SERVER}_count{${OF}}`), legend: '2xx' }],
        },
        {
          kind: 'stat', title: '5xx', width: 6, unit: 'share', decimals: 1,
          description: 'Share of the answers that are server errors.',
          steps: [[0, 'green'], [0.01, 'yellow'], [0.05, 'red']],
          queries: [{ expr: share(`${SERVER}_count{${BAD}}`, `${SERVER}_count{${OF}}`), legend: '5xx' }],
        },
      ],
    },
    {
      title: 'Duration',
      panels: [
        {
          kind: 'lines', title: 'Average', width: 8, unit: 'seconds', min: 0,
          description: 'The mean time to answer. It hides what the next panel shows.',
          queries: [{ expr: mean(SERVER, OF), legend: 'mean' }],
        },
        {
          kind: 'lines', title: 'Median and 90 %', width: 8, unit: 'seconds', min: 0,
          description: 'How long half and 90 of 100 answers take at most. A point leads to the trace of a request.',
          queries: [
            { expr: quantile(0.5, SERVER, OF), legend: 'p50' },
            { expr: quantile(0.9, SERVER, OF), legend: 'p90', exemplars: true },
          ],
        },
        {
          kind: 'lines', title: 'Within 100 ms', width: 8, unit: 'share', min: 0, max: 1,
          description: 'Share of the answers that took less than 100 ms.',
          queries: [{
            expr: `${rate(`${SERVER}_bucket{${OF}, le="0.1"}`)} / ${rate(`${SERVER}_count{${OF}}`)}`, legend: 'within 100 ms',
          }],
        },
      ],
    },
  ],
};

export const serviceObservability: Dashboard = {
  uid: 'lab-service-observability',
  title: 'Service observability',
  description: 'What a service did in the time shown: totals, not lifetime counters, and its slowest routes.',
  tags: ['services'],
  range: 'now-15m',
  variables,
  rows: [
    {
      title: 'In the time shown',
      panels: [
        {
          kind: 'stat', title: 'Requests', width: 6, height: 4, unit: 'count', decimals: 0, plain: true,
          description: 'All that were answered in the time shown.',
          queries: [{ expr: `sum(increase(${SERVER}_count{${OF}}[$__range]))`, legend: 'requests' }],
        },
        {
          kind: 'stat', title: 'Average duration', width: 6, height: 4, unit: 'seconds', plain: true,
          description: 'The mean over the time shown.',
          queries: [{
            expr: `sum(rate(${SERVER}_sum{${OF}}[$__range])) / sum(rate(${SERVER}_count{${OF}}[$__range]))`, legend: 'mean',
          }],
        },
        {
          kind: 'stat', title: '2xx', width: 6, height: 4, unit: 'count', decimals: 0, plain: true,
          description: 'Answers that are fine, in the time shown.',
          queries: [{ expr: `sum(increase(${SERVER}_count{${OK}}[$__range])) or vector(0)`, legend: '2xx' }],
        },
        {
          kind: 'stat', title: '5xx', width: 6, height: 4, unit: 'count', decimals: 0, plain: true,
          description: 'Server errors in the time shown.',
          steps: [[0, 'green'], [1, 'red']],
          queries: [{ expr: `sum(increase(${SERVER}_count{${BAD}}[$__range])) or vector(0)`, legend: '5xx' }],
        },
      ],
    },
    {
      title: 'By route',
      panels: [
        {
          kind: 'lines', title: 'Requests by route', width: 12, unit: 'requests/s', min: 0,
          description: 'Answers in a second.',
          queries: [{ expr: rate(`${SERVER}_count{${OF}}`, 'http_route'), legend: '{{http_route}}' }],
        },
        {
          kind: 'lines', title: 'Average by route', width: 12, unit: 'seconds', min: 0,
          description: 'The mean of each route.',
          queries: [{ expr: mean(SERVER, OF, 'http_route'), legend: '{{http_route}}' }],
        },
        {
          kind: 'lines', title: 'p99 by route', width: 12, unit: 'seconds', min: 0,
          description: 'How long 99 of 100 answers of a route take at most. A point leads to the trace of a request.',
          queries: [{ expr: quantile(0.99, SERVER, OF, 'http_route'), legend: '{{http_route}}', exemplars: true }],
          reaction: {
            fault: { flags: { 'users-slow-query-ms': 'heavy' } }, variables: { service: 'users' }, above: 0.2,
          },
        },
        {
          kind: 'lines', title: '2xx and 5xx', width: 12, unit: 'requests/s', min: 0,
          description: 'Answers of both kinds in a second.',
          queries: [
            { expr: `sum(rate(${SERVER}_count{${OK}}[${RATE}])) or 0 * ${rate(`${SERVER}_count{${OF}}`)}`, legend: '2xx' },
            { expr: `sum(rate(${SERVER}_count{${BAD}}[${RATE}])) or 0 * ${rate(`${SERVER}_count{${OF}}`)}`, legend: '5xx' },
          ],
        },
      ],
    },
  ],
};
