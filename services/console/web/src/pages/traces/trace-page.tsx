import { useQuery } from '@tanstack/react-query';
import { useMemo } from 'react';
import { Link, useParams, useSearchParams } from 'react-router-dom';
import { getTrace } from '../../api/jaeger';
import type { Trace } from '../../api/jaeger';
import { getLines, quote } from '../../api/loki';
import { serviceColour } from '../../parts/colour';
import { clock, micros, percent, plural } from '../../parts/format';
import { Loading, Problem } from '../../parts/state';
import { useTitle } from '../../parts/title';
import { treeOf } from './tree';
import type { Tree } from './tree';
import { Waterfall } from './waterfall';

const ID = /^[0-9a-f]{16,32}$/i;
/** Log lines of one trace that are fetched: enough for anything a person reads. */
const MOST_LINES = 1000;

/** How often a trace is asked for that may not be whole, in milliseconds. */
const AGAIN = 2000;
/** For so long after its last span, in microseconds. */
const YOUNG = 20_000_000;

function isYoung(trace: Trace): boolean {
  const now = Date.now() * 1000;
  return trace.spans.some(({ start, duration }) => now - (start + duration) < YOUNG);
}

export default function TracePage() {
  const id = useParams()['id'] ?? '';
  useTitle(`Trace ${id.slice(0, 8)}`);
  const trace = useQuery({
    queryKey: ['trace', id],
    queryFn: () => getTrace(id),
    enabled: ID.test(id),
    // It may be on its way still: each service sends its spans in its own time.
    refetchInterval: (data, { state }) => (state.status !== 'error' && (!data || isYoung(data)) ? AGAIN : false),
  });
  const tree = useMemo(() => (trace.data ? treeOf(trace.data) : null), [trace.data]);

  if (!ID.test(id)) {
    return (
      <section className="card">
        <h1>That is no trace id</h1>
        <p>
          <code>{id}</code> is not 16 to 32 hexadecimal digits. <Link to="/traces">Search for traces</Link>
        </p>
      </section>
    );
  }
  if (trace.isError) {
    return <Problem what="The trace cannot be shown" error={trace.error} again={() => void trace.refetch()} />;
  }
  if (trace.data === null) return <NotFound id={id} again={() => void trace.refetch()} />;
  if (!tree) return <Loading what="the trace" />;
  return <View tree={tree} />;
}

function NotFound({ id, again }: { id: string; again: () => void }) {
  return (
    <section className="card">
      <h1>Trace not found</h1>
      <p>
        Jaeger has no trace <code>{id}</code>. A new one takes two seconds to arrive; natively, traces are kept in
        memory and gone when Jaeger restarts.
      </p>
      <p className="ways">
        <button type="button" onClick={again}>
          Look again
        </button>
        <Link to="/traces">Search for traces</Link>
        <Link to={`/logs?trace=${id}`}>Its log lines</Link>
      </p>
    </section>
  );
}

function View({ tree }: { tree: Tree }) {
  const [params, setParams] = useSearchParams();
  const selected = params.get('span');
  const lines = useQuery({
    queryKey: ['lines of', tree.id, tree.start],
    queryFn: () =>
      getLines({
        query: `{service_name=~".+"} | trace_id=${quote(tree.id)}`,
        from: tree.start / 1000 - 60_000,
        to: tree.end / 1000 + 60_000,
        limit: MOST_LINES,
        oldestFirst: true,
      }),
    refetchInterval: () => (Date.now() * 1000 - tree.end < YOUNG ? AGAIN : false),
  });
  const select = (span: string | null) => {
    const next = new URLSearchParams(params);
    if (span) next.set('span', span);
    else next.delete('span');
    setParams(next, { replace: true });
  };
  const root = tree.rows[0];
  const heavy = tree.heaviest;
  const total = tree.end - tree.start;
  return (
    <>
      <section className="card">
        <div className="head">
          <h1>
            {root ? (
              <>
                <span className="service" style={{ '--colour': serviceColour(root.span.service) } as React.CSSProperties}>
                  {root.span.service}
                </span>{' '}
                {root.span.name}
              </>
            ) : (
              'A trace without spans'
            )}
          </h1>
          <p className="ways">
            <Link to={`/logs?trace=${tree.id}&at=${Math.round(tree.start / 1000)}`}>
              {lines.data ? plural(lines.data.length, 'log line') : 'Log lines'}
            </Link>
          </p>
        </div>
        <p className="note">
          {clock(tree.start / 1000, true)} · {micros(total)} · {plural(tree.rows.length, 'span')} of{' '}
          {tree.services.join(', ')}
          {tree.failed > 0 && <span className="bad"> · {plural(tree.failed, 'span')} with an error</span>} ·{' '}
          <code>{tree.id}</code>
        </p>
        {heavy && tree.rows.length > 1 && total > 0 && (
          <p>
            Most of the time went into{' '}
            <button
              type="button"
              className="link"
              onClick={() => {
                select(heavy.span.id);
              }}
            >
              {heavy.span.service} {heavy.span.name}
            </button>
            : {micros(heavy.self)} of its own, {percent(heavy.self / total)} of the trace.
          </p>
        )}
        {lines.isError && <Problem what="Log lines are not known" error={lines.error} />}
      </section>
      <Waterfall tree={tree} lines={lines.data ?? []} selected={selected} select={select} />
    </>
  );
}
