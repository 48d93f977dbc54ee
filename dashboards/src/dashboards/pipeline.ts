import type { Dashboard, Lines } from '../model.js';
import { RATE, rate, rateOrZero } from '../queries.js';

const SIGNALS = [['spans', 'spans'], ['log_records', 'log records'], ['metric_points', 'metric points']] as const;

const signals = (title: string, description: string, of: (signal: string) => string): Lines => ({
  kind: 'lines', title, width: 8, unit: 'items/s', min: 0, description,
  queries: SIGNALS.map(([signal, name]) => ({ expr: of(signal), legend: name })),
});

const accepted = (signal: string): string => `otelcol_receiver_accepted_${signal}_total`;

export const pipeline: Dashboard = {
  uid: 'lab-telemetry-pipeline',
  title: 'Telemetry pipeline',
  description: 'Does what the services tell arrive? From their own counters through the Collector to the backends.',
  tags: ['telemetry'],
  range: 'now-15m',
  variables: [],
  rows: [
    {
      title: 'Services',
      panels: [
        {
          kind: 'lines', title: 'Spans exported', width: 8, unit: 'items/s', min: 0,
          description: 'By outcome: sent, or refused for good, or unanswered when the process stopped.',
          queries: [{ expr: rate('otel_sdk_exporter_span_exported_total', 'job', 'error_type'), legend: '{{job}} {{error_type}}' }],
        },
        {
          kind: 'lines', title: 'Log records exported', width: 8, unit: 'items/s', min: 0,
          description: 'The same for log records.',
          queries: [{ expr: rate('otel_sdk_exporter_log_exported_total', 'job', 'error_type'), legend: '{{job}} {{error_type}}' }],
        },
        {
          kind: 'lines', title: 'Dropped in the service', width: 8, unit: 'items/s', min: 0,
          description: 'The queue was full: the Collector was away for too long, or slower than the service. Nothing else loses spans.',
          queries: [
            { expr: rate('otel_sdk_processor_span_processed_total{error_type="queue_full"}', 'job'), legend: '{{job}} spans' },
            { expr: rate('otel_sdk_processor_log_processed_total{error_type="queue_full"}', 'job'), legend: '{{job}} log records' },
          ],
        },
      ],
    },
    {
      title: 'Collector',
      panels: [
        signals('Received', 'What the receivers took.', (signal) => rate(accepted(signal))),
        signals(
          'Refused', 'What they refused: the Collector is short of memory, and senders try again.',
          (signal) => rate(`otelcol_receiver_refused_${signal}_total`),
        ),
        signals(
          'Failed inside', 'What a pipeline could not take further, for a reason of its own.',
          (signal) => rate(`otelcol_receiver_failed_${signal}_total`),
        ),
        {
          kind: 'lines', title: 'Sent', width: 8, unit: 'items/s', min: 0,
          description: 'By exporter. `debug` only counts.',
          queries: SIGNALS.map(([signal, name]) => ({
            expr: rate(`otelcol_exporter_sent_${signal}_total`, 'exporter'), legend: `${name} to {{exporter}}`,
          })),
        },
        {
          kind: 'lines', title: 'Waiting to be sent', width: 8, unit: 'count', min: 0,
          description: 'Items in the queues, which are on disk. A backend that is away makes it grow; when it is back, it drains.',
          queries: [{ expr: 'sum by (exporter) (otelcol_exporter_queue_size)', legend: '{{exporter}}' }],
          reaction: { fault: { stop: 'jaeger' }, above: 20 },
        },
        {
          kind: 'lines', title: 'Queue in use', width: 8, unit: 'share', min: 0,
          description: 'At 1 the Collector refuses, and the services keep what they have.',
          queries: [{
            expr: 'max by (exporter) (otelcol_exporter_queue_size / otelcol_exporter_queue_capacity)', legend: '{{exporter}}',
          }],
        },
        {
          kind: 'lines', title: 'Lost', width: 8, unit: 'items/s', min: 0,
          description: 'What was given up: a backend refused it for good, or the queue was full. Anything above 0 is a hole in the data.',
          queries: SIGNALS.map(([signal, name]) => ({
            expr: `sum(rate({__name__=~"otelcol_exporter_(send|enqueue)_failed_${signal}_total"}[${RATE}])) or 0 * ${rate(accepted(signal))}`,
            legend: name,
          })),
        },
        {
          kind: 'lines', title: 'CPU', width: 8, unit: 'cores', min: 0,
          description: 'Cores that the Collector uses.',
          queries: [{ expr: rate('otelcol_process_cpu_seconds_total'), legend: 'otel-collector' }],
        },
        {
          kind: 'lines', title: 'Memory', width: 8, unit: 'bytes', min: 0,
          description: 'It refuses from 300 MiB of heap on.',
          queries: [
            { expr: 'sum(otelcol_process_memory_rss_bytes)', legend: 'resident' },
            { expr: 'sum(otelcol_process_runtime_heap_alloc_bytes)', legend: 'heap' },
          ],
        },
        {
          kind: 'lines', title: 'Calls without a second half', width: 8, unit: 'items/s', min: 0,
          description: 'Of the service graph: calls whose other end sent no span in time. Far ends without telemetry are always among them.',
          queries: [
            { expr: rateOrZero('otelcol_connector_servicegraph_expired_edges_total', 'otelcol_connector_servicegraph_total_edges_total'), legend: 'without' },
            { expr: rate('otelcol_connector_servicegraph_total_edges_total'), legend: 'all' },
          ],
        },
      ],
    },
    {
      title: 'Backends',
      panels: [
        {
          kind: 'lines', title: 'Scraped', width: 8, unit: 'yes or no', min: 0, max: 1,
          description: '1: Prometheus reaches it.',
          queries: [{ expr: 'min by (job) (up)', legend: '{{job}}' }],
        },
        {
          kind: 'lines', title: 'Prometheus', width: 8, unit: 'count', min: 0,
          description: 'Series that it holds, and samples it takes in a second.',
          queries: [
            { expr: 'sum(prometheus_tsdb_head_series)', legend: 'series' },
            { expr: rate('prometheus_tsdb_head_samples_appended_total'), legend: 'samples in a second' },
          ],
        },
        {
          kind: 'lines', title: 'Loki', width: 8, unit: 'bytes/s', min: 0,
          description: 'Bytes of log lines that it takes in a second.',
          queries: [{ expr: rate('loki_distributor_bytes_received_total'), legend: 'received' }],
        },
      ],
    },
  ],
};
