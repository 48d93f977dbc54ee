import type { Dashboard } from '../model.js';
import { DATABASE, GRAPH, SERVER, mean, quantile, rate, share } from '../queries.js';

const OF = 'job="$service"';
const STATEMENT = ['db_operation_name', 'db_collection_name'];
const NAMED = '{{db_operation_name}} {{db_collection_name}}';

export const database: Dashboard = {
  uid: 'lab-database',
  title: 'Database, as its client sees it',
  description: 'What a service asks of its database, how long it waits for it, and how often it fails.',
  tags: ['services'],
  range: 'now-15m',
  variables: [{ name: 'service', title: 'Service', label: 'job', series: `${DATABASE}_count` }],
  rows: [
    {
      title: 'Statements',
      panels: [
        {
          kind: 'lines', title: 'Statements', width: 8, unit: 'operations/s', min: 0,
          description: 'By operation and table.',
          queries: [{ expr: rate(`${DATABASE}_count{${OF}}`, ...STATEMENT), legend: NAMED }],
        },
        {
          kind: 'lines', title: 'Failed', width: 8, unit: 'share', min: 0,
          description: 'Share of the statements that ended in an error: refused, cut off, or too late.',
          queries: [{
            expr: share(`${DATABASE}_count{${OF}, error_type!=""}`, `${DATABASE}_count{${OF}}`, ...STATEMENT), legend: NAMED,
          }],
        },
        {
          kind: 'lines', title: 'Duration', width: 8, unit: 'seconds', min: 0,
          description: 'Waiting for a free connection is not part of it. A point leads to the trace: its span has the SQL.',
          queries: [
            { expr: quantile(0.5, DATABASE, OF), legend: 'p50' },
            { expr: quantile(0.95, DATABASE, OF), legend: 'p95', exemplars: true },
            { expr: quantile(0.99, DATABASE, OF), legend: 'p99' },
          ],
          reaction: {
            fault: { flags: { 'users-slow-query-ms': 'heavy' } }, variables: { service: 'users' }, query: 'p95', above: 0.2,
          },
        },
      ],
    },
    {
      title: 'What it means for requests',
      panels: [
        {
          kind: 'lines', title: 'Statements for each request', width: 6, unit: 'count', min: 0,
          description: 'More than a few: a loop asks where one statement would do.',
          queries: [{
            expr: `${rate(`${DATABASE}_count{${OF}}`)} / ${rate(`${SERVER}_count{${OF}}`)}`, legend: 'statements',
          }],
        },
        {
          kind: 'lines', title: 'Share of the time to answer', width: 6, unit: 'share', min: 0, max: 1,
          description: 'Of the time in which requests are answered, how much is spent in the database.',
          queries: [{ expr: `${rate(`${DATABASE}_sum{${OF}}`)} / ${rate(`${SERVER}_sum{${OF}}`)}`, legend: 'database' }],
        },
        {
          kind: 'lines', title: 'Slower than 100 ms', width: 6, unit: 'operations/s', min: 0,
          description: 'Statements in a second that took longer than 100 ms.',
          queries: [{
            expr: `${rate(`${DATABASE}_count{${OF}}`)} - ${rate(`${DATABASE}_bucket{${OF}, le="0.1"}`)}`, legend: 'slow',
          }],
        },
        {
          kind: 'lines', title: 'Mean, and as the service graph has it', width: 6, unit: 'seconds', min: 0,
          description: 'Two ways to measure one thing: the metric of the service, and the span that the Collector saw.',
          queries: [
            { expr: mean(DATABASE, OF), legend: 'metric' },
            { expr: mean(`${GRAPH}_client_seconds`, 'client="$service", server="postgres"'), legend: 'span' },
          ],
        },
        {
          kind: 'heatmap', title: 'Duration, all statements', width: 24, unit: 'seconds',
          description: 'How many statements took how long.',
          queries: [{ expr: rate(`${DATABASE}_bucket{${OF}}`, 'le'), legend: '{{le}}' }],
        },
      ],
    },
  ],
};
