import type { Dashboard } from '../model.js';
import { GRAPH, SERVER, budget, quantile, rate, rateOrZero, share } from '../queries.js';

export const overview: Dashboard = {
  uid: 'lab-overview',
  title: 'Overview',
  description: 'Is the lab well, and if not, which part of it? From here to one service, to its logs, to its traces.',
  tags: ['services'],
  range: 'now-15m',
  variables: [],
  rows: [
    {
      title: 'Now',
      panels: [
        {
          kind: 'stat', title: 'Requests at the front door', width: 4, height: 4, unit: 'requests/s',
          description: 'What edge answers in a second.',
          queries: [{ expr: rate(`${SERVER}_count{job="edge"}`), legend: 'edge' }],
        },
        {
          kind: 'stat', title: 'Server errors', width: 4, height: 4, unit: 'share', decimals: 2,
          description: 'Share of edge\'s answers with a 5xx.',
          steps: [[0, 'green'], [0.01, 'yellow'], [0.05, 'red']],
          queries: [{
            expr: share(`${SERVER}_count{job="edge", http_response_status_code=~"5.."}`, `${SERVER}_count{job="edge"}`),
            legend: 'edge',
          }],
          reaction: { fault: { flags: { 'users-error-share': 'half' } }, above: 0.05 },
        },
        {
          kind: 'stat', title: '95 % are answered within', width: 4, height: 4, unit: 'seconds',
          description: 'The 95th percentile of what edge takes to answer.',
          steps: [[0, 'green'], [0.5, 'yellow'], [1, 'red']],
          queries: [{ expr: quantile(0.95, SERVER, 'job="edge"'), legend: 'edge' }],
        },
        {
          kind: 'stat', title: 'Least error budget', width: 4, height: 4, unit: 'share', plain: true,
          description: 'What is left of the error budget of the objective that is worst off. Below 0 a promise is broken.',
          steps: [[-1000, 'red'], [0, 'orange'], [0.25, 'yellow'], [0.5, 'green']],
          queries: [{ expr: `min(${budget('')})`, legend: 'least' }],
        },
        {
          kind: 'stat', title: 'Alerts', width: 4, height: 4, unit: 'count', plain: true,
          description: 'Alerts that fire. Alertmanager has them at :9093, Karma at :8081.',
          steps: [[0, 'green'], [1, 'red']],
          queries: [{ expr: 'count(ALERTS{alertstate="firing"}) or vector(0)', legend: 'firing' }],
        },
        {
          kind: 'stat', title: 'Parts that run', width: 4, height: 4, unit: 'share', plain: true,
          description: 'Of edge, users and the Collector: who was scraped, or has pushed, within the last minute.',
          steps: [[0, 'red'], [1, 'green']],
          queries: [{ expr: 'avg(service:up)', legend: 'run' }],
        },
      ],
    },
    {
      title: 'Who calls whom',
      panels: [
        {
          kind: 'service map', title: 'Service map', width: 12, height: 12,
          description: 'From both ends of every call, by the Collector, before any sampling. albums and postgres have no telemetry: they are seen by who calls them.',
        },
        {
          kind: 'table', title: 'Calls', width: 12, height: 12, unit: 'requests/s',
          description: 'The same map as numbers.',
          rows: { client: 'From', server: 'To' },
          queries: [
            { expr: rate(`${GRAPH}_total`, 'client', 'server'), legend: 'Rate' },
            { expr: share(`${GRAPH}_total{failed="true"}`, `${GRAPH}_total`, 'client', 'server'), legend: 'Failed', unit: 'share' },
            { expr: quantile(0.95, `${GRAPH}_server_seconds`, '', 'client', 'server'), legend: '95 % within', unit: 'seconds' },
          ],
        },
      ],
    },
    {
      title: 'By service',
      panels: [
        {
          kind: 'lines', title: 'Requests by service', width: 8, unit: 'requests/s', min: 0,
          description: 'As each service counts them.',
          queries: [{ expr: rate(`${SERVER}_count`, 'job'), legend: '{{job}}' }],
        },
        {
          kind: 'lines', title: 'Server errors by service', width: 8, unit: 'requests/s', min: 0,
          description: 'Answers with a 5xx in a second.',
          queries: [{
            expr: rateOrZero(`${SERVER}_count{http_response_status_code=~"5.."}`, `${SERVER}_count`, 'job'),
            legend: '{{job}}',
          }],
        },
        {
          kind: 'lines', title: '95 % within, by service', width: 8, unit: 'seconds', min: 0,
          description: 'The 95th percentile of the time to answer. A point leads to the trace of a request.',
          queries: [{ expr: quantile(0.95, SERVER, '', 'job'), legend: '{{job}}', exemplars: true }],
        },
      ],
    },
    {
      title: 'Logs',
      panels: [
        {
          kind: 'log rate', title: 'Lines by level', width: 8, height: 9,
          description: 'Log lines of all services in a second.',
          expr: 'sum by (service_name, detected_level) (rate({service_name=~".+"} [$__auto]))',
          legend: '{{service_name}} {{detected_level}}',
        },
        {
          kind: 'logs', title: 'Lines', width: 16, height: 9,
          description: 'The newest lines. Each has the trace it belongs to: open one, and its trace is a click away.',
          expr: '{service_name=~".+"}',
        },
      ],
    },
  ],
};
