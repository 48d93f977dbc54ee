import { useMemo } from 'react';
import { Link, useNavigate } from 'react-router-dom';
import { tagsOf } from '../../api/jaeger';
import type { Search, Trace } from '../../api/jaeger';
import { serviceColour } from '../../parts/colour';
import { clock, micros, plural } from '../../parts/format';
import { Scatter } from './scatter';

/** What a list needs to know of a trace. */
export interface Found {
  id: string;
  service: string;
  name: string;
  /** Microseconds since 1970. */
  start: number;
  /** Microseconds. */
  duration: number;
  spans: number;
  failed: number;
  services: [string, number][];
}

export function summary(trace: Trace): Found {
  let [start, end] = [Infinity, 0];
  const services = new Map<string, number>();
  for (const span of trace.spans) {
    start = Math.min(start, span.start);
    end = Math.max(end, span.start + span.duration);
    services.set(span.service, (services.get(span.service) ?? 0) + 1);
  }
  const ids = new Set(trace.spans.map(({ id }) => id));
  const root = trace.spans.find(({ parent }) => parent === null || !ids.has(parent)) ?? trace.spans[0];
  return {
    id: trace.id,
    service: root?.service ?? 'unknown',
    name: root?.name ?? 'no spans',
    start: Number.isFinite(start) ? start : 0,
    duration: Number.isFinite(start) ? end - start : 0,
    spans: trace.spans.length,
    failed: trace.spans.filter(({ failed }) => failed).length,
    services: [...services],
  };
}

const SORTS: Record<string, [string, (a: Found, b: Found) => number]> = {
  newest: ['newest first', (a, b) => b.start - a.start],
  slowest: ['slowest first', (a, b) => b.duration - a.duration],
  errors: ['most errors first', (a, b) => b.failed - a.failed || b.start - a.start],
  spans: ['most spans first', (a, b) => b.spans - a.spans],
};

interface Props {
  traces: Trace[];
  search: Search;
  sort: string;
  setSort: (sort: string) => void;
  busy: boolean;
}

export function Results({ traces, search, sort, setSort, busy }: Props) {
  const navigate = useNavigate();
  const found = useMemo(() => {
    const order = SORTS[sort] ?? SORTS['newest'];
    return traces.map(summary).sort(order?.[1]);
  }, [traces, sort]);
  const longest = found.reduce((most, { duration }) => Math.max(most, duration), 1);
  if (found.length === 0) {
    const narrow = search.errors || search.minDuration || search.attributes || search.operation;
    return (
      <p className="empty" role="status">
        No trace of {search.service} fits
        {Object.keys(tagsOf(search)).length > 0 && ` ${JSON.stringify(tagsOf(search))}`}.{' '}
        {narrow ? 'Ask for less, or look further back.' : 'Look further back, or send a request.'}
      </p>
    );
  }
  return (
    <section className="card" aria-label="Results" aria-busy={busy}>
      <div className="head">
        <h2 role="status">
          {plural(found.length, 'trace')}
          {found.length >= search.limit && ', as many as asked for'}
        </h2>
        <label className="inline">
          <span className="sr-only">Order</span>
          <select
            value={sort in SORTS ? sort : 'newest'}
            onChange={(event) => {
              setSort(event.target.value);
            }}
          >
            {Object.entries(SORTS).map(([key, [label]]) => (
              <option key={key} value={key}>
                {label}
              </option>
            ))}
          </select>
        </label>
      </div>
      <Scatter
        traces={found}
        open={(id) => {
          navigate(`/traces/${id}`);
        }}
      />
      <ol className="results">
        {found.map((trace) => (
          <li key={trace.id}>
            <Link to={`/traces/${trace.id}`} className={trace.failed > 0 ? 'failed' : ''}>
              <span className="what">
                <strong style={{ '--colour': serviceColour(trace.service) } as React.CSSProperties} className="service">
                  {trace.service}
                </strong>{' '}
                {trace.name}
              </span>
              <span className="took">{micros(trace.duration)}</span>
              <span className="bar" aria-hidden="true">
                <span style={{ width: `${Math.max(0.4, (trace.duration / longest) * 100)}%`, background: serviceColour(trace.service) }} />
              </span>
              <span className="note">
                {clock(trace.start / 1000, true)} · {plural(trace.spans, 'span')}
                {trace.failed > 0 && <span className="bad"> · {plural(trace.failed, 'error')}</span>}
                {' · '}
                {trace.services.map(([name, count]) => `${name} ${count}`).join(', ')}
              </span>
            </Link>
          </li>
        ))}
      </ol>
    </section>
  );
}
