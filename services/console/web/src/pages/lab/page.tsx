import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { Link } from 'react-router-dom';
import { REFRESH } from '../../api/ask';
import { getLab } from '../../api/lab';
import type { Lab } from '../../api/lab';
import { getAlerts } from '../../api/prometheus';
import { percent, plural, rate, seconds } from '../../parts/format';
import { Loading, Problem } from '../../parts/state';
import { useTitle } from '../../parts/title';
import { Components } from './components';
import { Details } from './details';
import { healthOf } from './health';
import { Topology } from './topology';
import './style.css';
import { Verify } from './verify';

export default function LabPage() {
  useTitle('Lab');
  const lab = useQuery({ queryKey: ['lab'], queryFn: getLab, refetchInterval: REFRESH });
  const [selected, setSelected] = useState<string | null>(null);
  if (lab.isLoading) return <Loading what="the lab" />;
  if (!lab.data) {
    return <Problem what="The lab's state is not known" error={lab.error} again={() => void lab.refetch()} />;
  }
  return (
    <>
      <h1 className="sr-only">The lab</h1>
      {lab.error !== null && <Problem what="This may be out of date" error={lab.error} />}
      <Summary lab={lab.data} />
      {lab.data.graph_problem && (
        <Problem what="Rates and times are not known now" error={lab.data.graph_problem} />
      )}
      <section className="card" aria-label="Topology">
        <Topology lab={lab.data} selected={selected} select={setSelected} />
        {selected && (
          <Details
            lab={lab.data}
            name={selected}
            close={() => {
              setSelected(null);
            }}
          />
        )}
      </section>
      <Verify />
      <Components lab={lab.data} />
    </>
  );
}

function FiringTile() {
  const alerts = useQuery({ queryKey: ['alerts'], queryFn: getAlerts, refetchInterval: REFRESH });
  const firing = alerts.data?.filter(({ state }) => state === 'firing');
  return (
    <div className={firing === undefined ? '' : firing.length > 0 ? 'bad' : 'good'}>
      <dt>alerts firing</dt>
      <dd>{firing?.length ?? '–'}</dd>
      <dd className="note">
        <Link to="/slos">{firing && firing.length > 0 ? 'what fires, and where to look' : 'objectives'}</Link>
      </dd>
    </div>
  );
}

/** What a person looks at first. */
function Summary({ lab }: { lab: Lab }) {
  const present = lab.components.filter(({ phase }) => phase !== 'compose-only');
  const healthy = present.filter(({ phase }) => phase === 'healthy');
  const preparing = present.filter((component) => healthOf(component) === 'pending');
  const front = lab.nodes.find(({ name }) => name === 'edge');
  const errors = front && front.requests > 0 ? front.errors / front.requests : 0;
  return (
    <dl className="tiles">
      {present.length > 0 && (
        <div className={healthy.length === present.length ? 'good' : 'warn'}>
          <dt>components healthy</dt>
          <dd>
            {healthy.length} of {present.length}
          </dd>
          <dd className="note">{preparing.length > 0 && `${plural(preparing.length, 'is', 'are')} being prepared`}</dd>
        </div>
      )}
      <FiringTile />
      <div>
        <dt>requests to edge</dt>
        <dd>{front ? rate(front.requests) : 'none'}</dd>
        <dd className="note">over the last minute</dd>
      </div>
      <div className={errors > 0.01 ? 'bad' : ''}>
        <dt>of them failed</dt>
        <dd>{front && front.requests > 0 ? percent(errors) : '–'}</dd>
        <dd className="note">
          {errors > 0 && <Link to="/traces?service=edge&errors=1">show failed traces</Link>}
        </dd>
      </div>
      <div>
        <dt>95 % answered within</dt>
        <dd>{front?.p95 != null ? seconds(front.p95) : '–'}</dd>
        <dd className="note">
          {front?.p50 != null && `half within ${seconds(front.p50)}`}
        </dd>
      </div>
    </dl>
  );
}
