import type { Dashboard } from '../model.js';
import { RATE, SERVER, rate } from '../queries.js';

const OF = 'job="$service"';

export const runtime: Dashboard = {
  uid: 'lab-rust-runtime',
  title: 'Rust runtime',
  description: 'The process and its Tokio runtime: is it short of CPU, is its queue growing, does it keep memory?',
  tags: ['services'],
  range: 'now-15m',
  variables: [{ name: 'service', title: 'Service', label: 'job', series: 'tokio_workers', first: 'users' }],
  rows: [
    {
      title: 'Tokio',
      panels: [
        {
          kind: 'lines', title: 'Busy', width: 8, unit: 'share', min: 0, max: 1,
          description: 'Share of the workers\' time in which they poll tasks. Near 1, every further request waits: for CPU, or for a task that blocks.',
          queries: [{
            expr: `sum by (instance) (rate(tokio_worker_busy_time_seconds_total{${OF}}[${RATE}])) / sum by (instance) (tokio_workers{${OF}})`,
            legend: '{{instance}}',
          }],
        },
        {
          kind: 'lines', title: 'Tasks', width: 8, unit: 'count', min: 0,
          description: 'Tasks that are alive: connections, requests, timers. A line that only rises is a leak.',
          queries: [{ expr: `sum by (instance) (tokio_tasks_alive{${OF}})`, legend: '{{instance}}' }],
        },
        {
          kind: 'lines', title: 'Waiting to be polled', width: 8, unit: 'count', min: 0,
          description: 'Tasks in the queue that all workers share. It is empty while the workers keep up.',
          queries: [{ expr: `sum by (instance) (tokio_global_queue_depth{${OF}})`, legend: '{{instance}}' }],
        },
        {
          kind: 'lines', title: 'Workers that went to sleep', width: 8, unit: 'operations/s', min: 0,
          description: 'How often workers found nothing to do. Many with little work, few in an idle or in an overloaded process.',
          queries: [{ expr: `sum by (instance) (rate(tokio_worker_parks_total{${OF}}[${RATE}]))`, legend: '{{instance}}' }],
        },
        {
          kind: 'lines', title: 'Workers, threads', width: 8, unit: 'count', min: 0,
          description: 'Tokio\'s workers, and all threads of the process: blocking work and the exporters have their own.',
          queries: [
            { expr: `sum by (instance) (tokio_workers{${OF}})`, legend: 'workers of {{instance}}' },
            { expr: `sum by (instance) (process_thread_count{${OF}})`, legend: 'threads of {{instance}}' },
          ],
        },
        {
          kind: 'lines', title: 'Open files', width: 8, unit: 'count', min: 0,
          description: 'File descriptors, sockets among them.',
          queries: [{ expr: `sum by (instance) (process_unix_file_descriptor_count{${OF}})`, legend: '{{instance}}' }],
        },
      ],
    },
    {
      title: 'Process',
      panels: [
        {
          kind: 'lines', title: 'CPU', width: 8, unit: 'cores', min: 0, stacked: true,
          description: 'Cores in use: in the program, and in the kernel for it.',
          queries: [{ expr: rate(`process_cpu_time_seconds_total{${OF}}`, 'cpu_mode'), legend: '{{cpu_mode}}' }],
        },
        {
          kind: 'lines', title: 'CPU of a request', width: 8, unit: 'seconds', min: 0,
          description: 'All CPU of the process, shared out among its requests. The number to watch when code changes.',
          queries: [{
            expr: `${rate(`process_cpu_time_seconds_total{${OF}}`)} / ${rate(`${SERVER}_count{${OF}}`)}`, legend: '$service',
          }],
          // The burn is on blocking threads: the workers stay idle, as they should. It ends by the clock, so that a busy machine
          // gives it less CPU.
          reaction: { fault: { flags: { 'users-cpu-burn-ms': 'heavy' } }, variables: { service: 'users' }, above: 0.005 },
        },
        {
          kind: 'lines', title: 'Memory', width: 8, unit: 'bytes', min: 0,
          description: 'Resident memory.',
          queries: [{ expr: `sum by (instance) (process_memory_usage_bytes{${OF}})`, legend: '{{instance}}' }],
        },
      ],
    },
  ],
};
