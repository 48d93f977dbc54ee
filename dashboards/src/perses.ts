// The same dashboards for the console: Perses' dashboard specification. What the console has a page of its own for (logs,
// traces, the service map) and what no Perses panel draws (heatmaps of classic histograms) is left out.

import type { Dashboard, Lines, Panel, Query, Stat, Step, Table, Unit, Variable } from './model.js';

type Shown = Lines | Stat | Table;
const isShown = (panel: Panel): panel is Shown => ['lines', 'stat', 'table'].includes(panel.kind);

const UNITS: Record<Unit, string> = {
  'requests/s': 'requests/sec', 'operations/s': 'ops/sec', 'items/s': 'events/sec', 'lines/s': 'events/sec',
  'per minute': 'decimal', seconds: 'seconds', share: 'percent-decimal', bytes: 'bytes', 'bytes/s': 'bytes/sec',
  cores: 'decimal', count: 'decimal', 'yes or no': 'decimal',
};
const COLOURS: Record<Step[1], string> = { green: '#56a64b', yellow: '#e0b400', orange: '#ff780a', red: '#e02f44' };

/** Columns of Perses' grid: 24, as in Grafana. */
const COLUMNS = 24;
/** A row of its grid is as high as Grafana's. */
const HEIGHT = 8;

interface Definition {
  kind: string;
  spec: Record<string, unknown>;
}

export function console(source: Dashboard): unknown {
  const panels: Record<string, unknown> = {};
  const layouts = source.rows.flatMap((row) => {
    const shown = row.panels.filter(isShown);
    if (shown.length === 0) {
      return [];
    }
    const keys = shown.map((one) => {
      const key = slug(`${row.title} ${one.title}`);
      panels[key] = {
        kind: 'Panel',
        spec: {
          display: { name: one.title, description: one.description },
          plugin: plugin(one),
          queries: one.queries.map(query),
        },
      };
      return key;
    });
    return [{ kind: 'Grid', spec: { display: { title: row.title, collapse: { open: true } }, items: grid(shown, keys) } }];
  });
  return {
    kind: 'Dashboard',
    metadata: { name: source.uid, project: 'lab' },
    spec: {
      display: { name: source.title, description: source.description },
      duration: source.range.replace('now-', ''),
      refreshInterval: '10s',
      variables: source.variables.map(variable),
      layouts,
      panels,
    },
  };
}

const slug = (text: string): string => text.toLowerCase().replace(/[^a-z0-9]+/g, '-').replace(/^-|-$/g, '');

/** From left to right, then downwards; a row that is not full is stretched, for what was left out. */
function grid(panels: Shown[], keys: string[]): unknown[] {
  const items: { x: number; y: number; width: number; height: number; content: { $ref: string } }[] = [];
  let y = 0;
  for (let begin = 0; begin < panels.length;) {
    let width = 0;
    let end = begin;
    while (end < panels.length && width + (panels[end]?.width ?? 0) <= COLUMNS) {
      width += panels[end]?.width ?? 0;
      end += 1;
    }
    const line = panels.slice(begin, end);
    const height = Math.max(...line.map((panel) => panel.height ?? HEIGHT));
    let x = 0;
    line.forEach((panel, index) => {
      const last = index === line.length - 1;
      const stretched = last ? COLUMNS - x : Math.floor((panel.width * COLUMNS) / width);
      items.push({ x, y, width: stretched, height, content: { $ref: `#/spec/panels/${keys[begin + index]}` } });
      x += stretched;
    });
    y += height;
    begin = end;
  }
  return items;
}

function variable({ name, title, label, series, first, several }: Variable): Definition {
  return {
    kind: 'ListVariable',
    spec: {
      name,
      display: { name: title },
      allowMultiple: several ?? false,
      allowAllValue: several ?? false,
      ...(several && { defaultValue: '$__all', customAllValue: '.*' }),
      ...(first !== undefined && { defaultValue: first }),
      sort: 'alphabetical-asc',
      plugin: { kind: 'PrometheusLabelValuesVariable', spec: { labelName: label, matchers: [series] } },
    },
  };
}

function query({ expr, legend }: Query): Definition {
  return {
    kind: 'TimeSeriesQuery',
    spec: { plugin: { kind: 'PrometheusTimeSeriesQuery', spec: { query: expr, seriesNameFormat: legend } } },
  };
}

const format = (unit: Unit, decimals?: number): unknown => ({
  unit: UNITS[unit],
  ...(decimals !== undefined && { decimalPlaces: decimals }),
});

/** Whatever is below the first step has its colour. */
function thresholds(steps: Step[]): unknown {
  const [lowest, ...rest] = steps;
  return {
    mode: 'absolute',
    defaultColor: COLOURS[lowest?.[1] ?? 'green'],
    steps: rest.map(([value, colour]) => ({ value, color: COLOURS[colour] })),
  };
}

function plugin(source: Shown): Definition {
  switch (source.kind) {
    case 'lines':
      return {
        kind: 'TimeSeriesChart',
        spec: {
          legend: { position: 'bottom', mode: 'table', values: ['last-number', 'max'] },
          yAxis: {
            format: format(source.unit),
            ...(source.min !== undefined && { min: source.min }),
          },
          visual: { lineWidth: 1.25, areaOpacity: source.stacked ? 0.3 : 0.1, stack: source.stacked ? 'all' : 'none' },
          ...(source.limit !== undefined && {
            thresholds: { mode: 'absolute', steps: [{ value: source.limit, color: COLOURS.red }] },
          }),
        },
      };
    case 'stat':
      return {
        kind: 'StatChart',
        spec: {
          calculation: 'last-number',
          format: format(source.unit, source.decimals),
          ...(!source.plain && { sparkline: {} }),
          ...(source.steps && { thresholds: thresholds(source.steps) }),
        },
      };
    case 'table':
      return {
        kind: 'Table',
        spec: {
          density: 'compact',
          columnSettings: [
            ...Object.entries(source.rows).map(([name, header]) => ({ name, header, enableSorting: true })),
            ...source.queries.map(({ legend, unit }, index) => ({
              name: source.queries.length > 1 ? `value #${index + 1}` : 'value',
              header: legend, format: format(unit ?? source.unit), align: 'right', enableSorting: true,
            })),
            { name: 'timestamp', hide: true },
          ],
          transforms: [{ kind: 'MergeSeries', spec: {} }],
        },
      };
  }
}
