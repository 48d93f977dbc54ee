// What a dashboard is, before it is written for Grafana and for the console.

/** How numbers are shown. */
export type Unit =
  | 'requests/s' | 'operations/s' | 'items/s' | 'lines/s' | 'per minute'
  | 'seconds' | 'share' | 'bytes' | 'bytes/s' | 'cores' | 'count' | 'yes or no';

/** A PromQL query; `$service` and `$__rate_interval` mean what they mean in Grafana. */
export interface Query {
  expr: string;
  /** `{{label}}` stands for the label's value. In a table it is the column's title. */
  legend: string;
  /** Lets the points of a histogram lead to traces. */
  exemplars?: true;
  /** In a table: how this column is shown, where it differs from the panel's unit. */
  unit?: Unit;
}

/** Which panel shows a fault, and how. `lab verify --panels --react` makes the fault and looks. */
export interface Reaction {
  /** Flags with their variants, as `lab fault set` takes them, or a part of the lab that is stopped. */
  fault: { flags: Record<string, string> } | { stop: string };
  /** The variables for which it is seen. */
  variables?: Record<string, string>;
  /** The query by its legend; without it the first one. */
  query?: string;
  /** The greatest value of all series gets above this, and below it again when the fault is gone. */
  above: number;
  /** It looks back for minutes: that it falls again is not waited for. */
  slow?: true;
}

interface Common {
  title: string;
  /** What it tells, and what to do about it. */
  description: string;
  /** Of 24 columns. */
  width: number;
  height?: number;
  reaction?: Reaction;
}

/** Values from here on are shown in this colour. */
export type Step = [number, 'green' | 'yellow' | 'orange' | 'red'];

export interface Lines extends Common {
  kind: 'lines';
  unit: Unit;
  queries: Query[];
  stacked?: true;
  min?: number;
  max?: number;
  /** A line across, such as an objective. */
  limit?: number;
}

export interface Stat extends Common {
  kind: 'stat';
  unit: Unit;
  queries: [Query];
  decimals?: number;
  steps?: Step[];
  /** One number, without the line behind it. */
  plain?: true;
}

export interface Table extends Common {
  kind: 'table';
  unit: Unit;
  /** Labels that name a row, with the column's title. */
  rows: Record<string, string>;
  queries: Query[];
  /** Where a click on the first label leads. */
  link?: { dashboard: string; variable: string };
}

export interface Heatmap extends Common {
  kind: 'heatmap';
  unit: Unit;
  /** Rates of buckets by `le`. */
  queries: [Query];
}

/** The service map, from the metrics of the service graph. Grafana only: the console draws its own. */
export interface ServiceMap extends Common {
  kind: 'service map';
}

/** Log lines, LogQL. Grafana only: the console has a page for them. */
export interface Logs extends Common {
  kind: 'logs';
  expr: string;
}

/** Log lines counted, LogQL. Grafana only. */
export interface LogLines extends Common {
  kind: 'log rate';
  expr: string;
  legend: string;
}

/** Traces of a service, as Jaeger finds them. Grafana only: the console has a page for them. */
export interface Traces extends Common {
  kind: 'traces';
  service: string;
}

/** Traces by TraceQL. Grafana only. */
export interface TraceQl extends Common {
  kind: 'traceql';
  expr: string;
}

export type Panel = Lines | Stat | Table | Heatmap | ServiceMap | Logs | LogLines | Traces | TraceQl;

export interface Row {
  title: string;
  panels: Panel[];
}

/** A choice at the top of the dashboard: the values of a label. */
export interface Variable {
  name: string;
  title: string;
  label: string;
  /** The series whose label it is. */
  series: string;
  /** Shown first. */
  first?: string;
  /** Several at once, all of them at first; then it stands in a `=~` only. */
  several?: true;
}

export interface Dashboard {
  uid: string;
  title: string;
  description: string;
  /** What it is found by. */
  tags: string[];
  /** How far back it looks at first. */
  range: string;
  variables: Variable[];
  rows: Row[];
}
