import type { Dashboard } from '../model.js';
import { budget } from '../queries.js';

const ONE = '{slo="$slo"}';
const STEPS = [[-1000, 'red'], [0, 'orange'], [0.25, 'yellow'], [0.5, 'green']] as [number, 'red' | 'orange' | 'yellow' | 'green'][];

/** Errors in all requests of the last five minutes, as the generic rules count them. */
const errors = (selector: string): string => `pyrra_errors:rate5m${selector} / on (slo) pyrra_requests:rate5m${selector}`;

export const sloList: Dashboard = {
  uid: 'lab-slo-list',
  title: 'SLO list',
  description: 'Every promise of slo/, what was kept of it, and what may still go wrong. From here to the one that is worst off.',
  tags: ['slo'],
  range: 'now-1h',
  variables: [],
  rows: [
    {
      title: 'Objectives',
      panels: [
        {
          kind: 'table', title: 'Objectives', width: 24, height: 9, unit: 'share',
          description: 'Numbers over each objective\'s own window; rates over the last five minutes. The name leads to the details.',
          rows: { slo: 'Objective' },
          link: { dashboard: 'lab-slo-detail', variable: 'slo' },
          queries: [
            { expr: 'max by (slo) (pyrra_objective)', legend: 'Promised' },
            { expr: 'max by (slo) (pyrra_window)', legend: 'Window', unit: 'seconds' },
            { expr: 'max by (slo) (pyrra_availability)', legend: 'Kept' },
            { expr: `max by (slo) (${budget('')})`, legend: 'Budget left' },
            { expr: 'sum by (slo) (pyrra_requests:rate5m)', legend: 'Requests', unit: 'requests/s' },
            { expr: 'sum by (slo) (pyrra_errors:rate5m)', legend: 'Errors', unit: 'requests/s' },
            {
              expr: 'count by (slo) (ALERTS{alertstate="firing", slo!=""}) or 0 * max by (slo) (pyrra_objective)',
              legend: 'Alerts', unit: 'count',
            },
          ],
        },
        {
          kind: 'lines', title: 'Budget left', width: 12, height: 9, unit: 'share', max: 1, limit: 0,
          description: '1: untouched; below 0: the promise is broken.',
          queries: [{ expr: budget(''), legend: '{{slo}}' }],
        },
        {
          kind: 'lines', title: 'Errors', width: 12, height: 9, unit: 'requests/s', min: 0,
          description: 'What counts against the budgets, in a second, over the last five minutes.',
          queries: [{ expr: 'sum by (slo) (pyrra_errors:rate5m)', legend: '{{slo}}' }],
          reaction: { fault: { flags: { 'users-error-share': 'half' } }, above: 0.1, slow: true },
        },
      ],
    },
  ],
};

export const sloDetail: Dashboard = {
  uid: 'lab-slo-detail',
  title: 'SLO detail',
  description: 'One promise: what was kept, what is left of its error budget, and how fast that is being used up.',
  tags: ['slo'],
  range: 'now-1h',
  variables: [{ name: 'slo', title: 'Objective', label: 'slo', series: 'pyrra_objective', first: 'users-availability' }],
  rows: [
    {
      title: 'Promise and budget',
      panels: [
        {
          kind: 'stat', title: 'Objective', width: 6, height: 4, unit: 'share', decimals: 2, plain: true,
          description: 'What is promised.',
          queries: [{ expr: `max(pyrra_objective${ONE})`, legend: 'objective' }],
        },
        {
          kind: 'stat', title: 'Window', width: 6, height: 4, unit: 'seconds', plain: true,
          description: 'Over what time.',
          queries: [{ expr: `max(pyrra_window${ONE})`, legend: 'window' }],
        },
        {
          kind: 'stat', title: 'Availability', width: 6, height: 4, unit: 'share', decimals: 3, plain: true,
          description: 'The share of good requests in that time.',
          queries: [{ expr: `max(pyrra_availability${ONE})`, legend: 'availability' }],
        },
        {
          kind: 'stat', title: 'Budget left', width: 6, height: 4, unit: 'share', decimals: 1, plain: true,
          description: 'What is left of it.',
          steps: STEPS,
          queries: [{ expr: `max(${budget(ONE)})`, legend: 'budget' }],
        },
        {
          kind: 'lines', title: 'Error budget', width: 24, height: 8, unit: 'share', max: 1, limit: 0,
          description: '1: untouched; below 0: the promise is broken. A step down is an outage.',
          queries: [{ expr: budget(ONE), legend: '{{slo}}' }],
        },
        {
          kind: 'lines', title: 'Requests', width: 8, unit: 'requests/s', min: 0,
          description: 'All that count, over the last five minutes.',
          queries: [{ expr: `sum(pyrra_requests:rate5m${ONE})`, legend: 'requests' }],
        },
        {
          kind: 'lines', title: 'Errors', width: 8, unit: 'requests/s', min: 0,
          description: 'Those that were bad, over the last five minutes.',
          queries: [{ expr: `sum(pyrra_errors:rate5m${ONE})`, legend: 'errors' }],
        },
        {
          kind: 'lines', title: 'Burn', width: 8, unit: 'count', min: 0, limit: 1,
          description: 'How many times faster than allowed the budget is used up: at 1 it lasts exactly for the window. The first page comes at 14, over a short and a long time.',
          queries: [{ expr: `(${errors(ONE)}) / on (slo) (1 - pyrra_objective${ONE})`, legend: '{{slo}}' }],
          reaction: {
            fault: { flags: { 'users-error-share': 'half' } }, variables: { slo: 'users-availability' }, above: 1, slow: true,
          },
        },
        {
          kind: 'lines', title: 'Alerts', width: 24, height: 6, unit: 'count', min: 0,
          description: 'Alerts on this objective, pending and firing.',
          queries: [{
            expr: `count by (alertstate) (ALERTS${ONE}) or 0 * max(pyrra_objective${ONE})`, legend: '{{alertstate}}',
          }],
        },
      ],
    },
  ],
};
