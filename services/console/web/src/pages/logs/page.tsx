import { useQuery } from '@tanstack/react-query';
import { useMemo } from 'react';
import { AskError, REFRESH, ask } from '../../api/ask';
import { getLines } from '../../api/loki';
import type { LogLine, LogQuery } from '../../api/loki';
import { clock, plural } from '../../parts/format';
import { bounds, rangeOf } from '../../parts/range';
import { useAddress } from '../../parts/search';
import { Empty, Loading, Problem } from '../../parts/state';
import { useTitle } from '../../parts/title';
import { LogForm } from './form';
import { Histogram } from './histogram';
import { Lines } from './lines';
import { logql } from './query';
import './style.css';

/** Lines that are asked for, and for how many less when an answer is too long to be shown. */
const MOST = 1000;
const FEWER = [200, 40, 8, 1];

interface Found {
  lines: LogLine[];
  /** Fewer than wanted, because the answer was too long. */
  cutTo: number | null;
  from: number;
  to: number;
}

async function lines(query: Omit<LogQuery, 'limit'>): Promise<Found> {
  const { from, to } = query;
  for (const limit of [MOST, ...FEWER]) {
    try {
      return { lines: await getLines({ ...query, limit }), cutTo: limit < MOST ? limit : null, from, to };
    } catch (error) {
      const tooLong = error instanceof AskError && error.status === 413;
      if (!tooLong || limit === FEWER.at(-1)) throw error;
    }
  }
  throw new Error('unreachable');
}

async function getNames(): Promise<string[]> {
  const answer = await ask<{ data: string[] | null }>('/proxy/loki/loki/api/v1/label/service_name/values');
  return (answer.data ?? []).sort();
}

export default function LogsPage() {
  useTitle('Logs');
  const [params, setParams] = useAddress();
  const text = (name: string) => params.get(name) ?? '';
  const filters = {
    service: text('service'),
    level: text('level'),
    contains: text('contains'),
    trace: text('trace'),
    span: text('span'),
  };
  const own = params.get('query');
  const query = own ?? logql(filters);
  const range = useMemo(() => rangeOf(params), [params]);
  const follow = params.get('follow') === '1' && range.at === null;
  const names = useQuery({ queryKey: ['log services'], queryFn: getNames });
  const found = useQuery({
    queryKey: ['lines', query, range],
    queryFn: () => lines({ query, ...bounds(range), oldestFirst: filters.trace !== '' && own === null }),
    keepPreviousData: true,
    refetchInterval: follow ? REFRESH : false,
  });
  const change = (next: Record<string, string>) => {
    setParams(next, () => void found.refetch());
  };
  return (
    <>
      <h1 className="sr-only">Logs</h1>
      <section className="card">
        <LogForm
          key={params.toString()}
          filters={filters}
          own={own}
          query={query}
          range={range}
          follow={follow}
          services={names.data ?? []}
          change={change}
        />
      </section>
      {found.isError && (
        <Problem what="Loki could not answer" error={found.error} again={() => void found.refetch()} />
      )}
      {found.isInitialLoading && <Loading what="log lines" />}
      {found.data && !found.isError && <Results found={found.data} busy={found.isFetching} zoom={change} />}
    </>
  );
}

function Results({ found, busy, zoom }: { found: Found; busy: boolean; zoom: (next: Record<string, string>) => void }) {
  const { lines, cutTo, from, to } = found;
  if (lines.length === 0) {
    return <Empty>No line fits. Ask for less, or for a longer time.</Empty>;
  }
  const errors = lines.filter(({ level }) => level === 'error').length;
  return (
    <section className="card" aria-label="Lines" aria-busy={busy}>
      <h2 role="status">
        {plural(lines.length, 'line')}
        {errors > 0 && <span className="bad">, {plural(errors, 'error')}</span>}
      </h2>
      {cutTo !== null && (
        <p className="note">
          The answer was too long: {plural(cutTo, 'line')} of it are shown, of {MOST} asked for. A shorter time shows
          others.
        </p>
      )}
      {cutTo === null && lines.length >= MOST && (
        <p className="note">There are more: these are the {MOST.toLocaleString('en')} newest since {clock(from)}.</p>
      )}
      <Histogram lines={lines} from={from} to={to} zoom={zoom} />
      <Lines lines={lines} />
    </section>
  );
}
