import { useQuery } from '@tanstack/react-query';
import { useMemo } from 'react';
import { REFRESH } from '../../api/ask';
import { searchTraces, getServices } from '../../api/jaeger';
import type { Search } from '../../api/jaeger';
import { useAddress } from '../../parts/search';
import { Loading, Problem } from '../../parts/state';
import { useTitle } from '../../parts/title';
import { SearchForm } from './form';
import { Results } from './results';
import './style.css';

/** What the address asks for. */
function searchOf(params: URLSearchParams, services: string[]): Search {
  const text = (name: string) => params.get(name) ?? '';
  const number = (name: string, otherwise: number) => {
    const value = Number(params.get(name));
    return Number.isFinite(value) && value > 0 ? value : otherwise;
  };
  return {
    service: text('service') || (services.includes('edge') ? 'edge' : (services[0] ?? '')),
    operation: text('operation'),
    minDuration: text('min'),
    maxDuration: text('max'),
    errors: params.get('errors') === '1',
    attributes: text('attributes'),
    lookback: number('lookback', 60),
    limit: Math.min(number('limit', 50), 500),
  };
}

export default function TracesPage() {
  useTitle('Traces');
  const [params, setParams] = useAddress();
  const services = useQuery({
    queryKey: ['services'],
    queryFn: getServices,
    // A Jaeger that is away comes back, one that is empty is filled.
    refetchInterval: (data, { state }) => (state.status === 'error' || data?.length === 0 ? REFRESH : false),
  });
  const search = useMemo(() => searchOf(params, services.data ?? []), [params, services.data]);
  const found = useQuery({
    queryKey: ['traces', search],
    queryFn: () => searchTraces(search),
    enabled: search.service !== '',
    keepPreviousData: true,
    refetchInterval: (data, { state }) => (state.status === 'error' || data?.length === 0 ? REFRESH : false),
  });

  const change = (next: Record<string, string>) => {
    setParams(next, () => void found.refetch());
  };

  return (
    <>
      <h1 className="sr-only">Traces</h1>
      <section className="card">
        <SearchForm key={params.toString() + search.service} search={search} services={services.data ?? []} submit={change} />
      </section>
      {services.isError && (
        <Problem what="Traces cannot be searched" error={services.error} again={() => void services.refetch()} />
      )}
      {services.data?.length === 0 && (
        <p className="empty">Jaeger has no traces yet. A request to edge makes one, and it is here two seconds later.</p>
      )}
      {found.isError && <Problem what="The search failed" error={found.error} again={() => void found.refetch()} />}
      {found.isInitialLoading && <Loading what="traces" />}
      {found.data && !found.isError && (
        <Results
          traces={found.data}
          search={search}
          sort={params.get('sort') ?? 'newest'}
          setSort={(sort) => {
            change({ sort });
          }}
          busy={found.isFetching}
        />
      )}
    </>
  );
}
