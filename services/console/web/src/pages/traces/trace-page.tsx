import { useQuery } from '@tanstack/react-query';
import { useMemo } from 'react';
import { Link, useParams, useSearchParams } from 'react-router-dom';
import { getTrace } from '../../api/jaeger';
import type { Span, Trace } from '../../api/jaeger';
import { getLines, quote } from '../../api/loki';
import type { LogLine } from '../../api/loki';
import { serviceColour } from '../../parts/colour';
import { clock, micros, percent, plural } from '../../parts/format';
import { Loading, Problem } from '../../parts/state';
import { useTitle } from '../../parts/title';
import { treeOf } from './tree';
import type { Tree } from './tree';
import { Waterfall } from './waterfall';
import './style.css';

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

/** What a span says of its failure. */
function reason({ attributes, statusMessage }: Span): string {
  const value = (key: string) => attributes.find((each) => each.key === key)?.value;
  const peer = value('service.peer.name');
  const said = [peer && `calling ${peer}`, value('http.response.status_code') ?? value('error.type'), statusMessage];
  const words = said.filter((word) => word);
  return words.length > 0 ? `: ${words.join(', ')}` : '';
}

function SpanButton({ span, select }: { span: Span; select: (span: string) => void }) {
  return (
    <button
      type="button"
      className="link"
      onClick={() => {
        select(span.id);
      }}
    >
      {span.service} {span.name}
    </button>
  );
}

function Says({ line }: { line: LogLine | undefined }) {
  return line ? (
    <>
      {' '}
      The log of {line.service} says: <q className={line.level === 'error' ? 'bad' : ''}>{line.text}</q>
    </>
  ) : null;
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
  const { heaviest: heavy, origin } = tree;
  const found = lines.data ?? [];
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
            <SpanButton span={heavy.span} select={select} />
            : {micros(heavy.self)} of its own, {percent(heavy.self / total)} of the trace.
            <Says line={found.find(({ level, span }) => span === heavy.span.id && level === 'warn')} />
          </p>
        )}
        {origin && (
          <p>
            The error begins in{' '}
            <SpanButton span={origin.span} select={select} />
            {reason(origin.span)}.
            <Says line={found.find(({ level, span }) => span === origin.span.id && level === 'error') ?? found.find(({ level }) => level === 'error')} />
          </p>
        )}
        {lines.isError && <Problem what="Log lines are not known" error={lines.error} />}
      </section>
      <Waterfall tree={tree} lines={found} selected={selected} select={select} />
    </>
  );
}
