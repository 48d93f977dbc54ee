import { useQuery } from '@tanstack/react-query';
import { useEffect } from 'react';
import { Link } from 'react-router-dom';
import { Empty, Loading, Problem } from '../../parts/state';
import { useTitle } from '../../parts/title';
import { getDashboards } from './list';

export default function DashboardsPage() {
  useTitle('Dashboards');
  // The charts are on their way while somebody reads the list.
  useEffect(() => {
    void import('./page');
  }, []);
  const list = useQuery({ queryKey: ['dashboards'], queryFn: getDashboards });
  return (
    <section className="card">
      <h1>Dashboards</h1>
      {list.isLoading && <Loading what="the list" />}
      {list.isError && <Problem what="The dashboards are not known" error={list.error} again={() => void list.refetch()} />}
      {list.data?.length === 0 && <Empty>This lab ships no dashboards.</Empty>}
      <ul className="plain">
        {list.data?.map(({ name, title, description }) => (
          <li key={name}>
            <Link to={`/dashboards/${name}`}>{title}</Link>
            <div className="note">{description}</div>
          </li>
        ))}
      </ul>
    </section>
  );
}
