import { useMutation } from '@tanstack/react-query';
import { Suspense, lazy, useEffect, useState } from 'react';
import { useSearchParams } from 'react-router-dom';
import { ask } from '../../api/ask';
import { percent, plural } from '../../parts/format';
import { Choice, Names } from '../../parts/search';
import { Empty, Loading, Problem } from '../../parts/state';
import { useTitle } from '../../parts/title';
import type { Frame } from './flame';
import './style.css';

const Flame = lazy(() => import('./flame'));

interface Profile {
  service: string;
  seconds: number;
  spans: { name: string; samples: number }[];
  /** One for each kind of request; the empty name is that of everything. */
  trees: Record<string, Frame>;
}

const SERVICES = ['users', 'edge'];
const LENGTHS = [2, 5, 10, 30];

export default function ProfilesPage() {
  useTitle('Profiles');
  const [params, setParams] = useSearchParams();
  const service = SERVICES.find((name) => name === params.get('service')) ?? 'users';
  const asked = Number(params.get('seconds'));
  const seconds = LENGTHS.includes(asked) ? asked : 5;
  const span = params.get('span') ?? '';
  const take = useMutation({
    mutationFn: () => ask<Profile>('/api/profile', { service, seconds: String(seconds) }),
  });
  // Somebody who comes from a span wants to see it, not a form.
  const { mutate } = take;
  const direct = params.has('span');
  useEffect(() => {
    if (direct) mutate();
  }, [direct, mutate]);

  const change = (name: string, value: string) => {
    const next = new URLSearchParams(params);
    if (value) next.set(name, value);
    else next.delete(name);
    setParams(next, { replace: true });
  };
  return (
    <>
      <section className="card">
        <h1>CPU profile</h1>
        <p className="note">
          Samples of the running process, taken from now on; each knows the span it was taken in. What rests, or waits
          for the database, has none.
        </p>
        <form
          className="fields"
          onSubmit={(event) => {
            event.preventDefault();
            take.mutate();
          }}
        >
          <Choice
            label="Service"
            value={service}
            choose={(next) => {
              change('service', next);
            }}
          >
            <Names known={SERVICES} chosen={service} />
          </Choice>
          <Choice
            label="For"
            value={seconds}
            choose={(next) => {
              change('seconds', next);
            }}
          >
            {LENGTHS.map((length) => (
              <option key={length} value={length}>
                {length} seconds
              </option>
            ))}
          </Choice>
          <button type="submit" className="primary" disabled={take.isPending}>
            {take.isPending ? 'Sampling …' : 'Take a profile'}
          </button>
        </form>
        {take.isPending && <Countdown seconds={seconds} service={service} />}
      </section>
      {take.isError && (
        <Problem
          what="No profile"
          error={take.error}
          again={() => {
            take.mutate();
          }}
        />
      )}
      {take.isSuccess && (
        <Result
          profile={take.data}
          span={span}
          choose={(name) => {
            change('span', name);
          }}
        />
      )}
    </>
  );
}

function Countdown({ seconds, service }: { seconds: number; service: string }) {
  const [passed, setPassed] = useState(0);
  useEffect(() => {
    const began = performance.now();
    const timer = setInterval(() => {
      setPassed((performance.now() - began) / 1000);
    }, 100);
    return () => {
      clearInterval(timer);
    };
  }, []);
  return (
    <p role="status">
      <progress max={seconds} value={Math.min(seconds, passed)} aria-label="time sampled" />{' '}
      <span className="note">sampling {service}</span>
    </p>
  );
}

/** The innermost function of the service's own that at least half of the samples are in. */
function mainly(tree: Frame, service: string): Frame | null {
  let own: Frame | null = null;
  let inner: Frame | null = null;
  for (let frame: Frame | undefined = tree; frame && frame.total * 2 >= tree.total; ) {
    if (frame !== tree) inner = frame;
    if (frame.name.includes(`${service}::`)) own = frame;
    frame = frame.children.toSorted((a, b) => b.total - a.total)[0];
  }
  return own ?? inner;
}

/** 100 samples for each second of CPU. */
const HERTZ = 100;

function Result({ profile, span, choose }: { profile: Profile; span: string; choose: (name: string) => void }) {
  const total = profile.trees['']?.total ?? 0;
  // A span that has no sample this time says so, in place of showing others.
  const tree = profile.trees[span];
  const cores = total / HERTZ / profile.seconds;
  const main = tree && tree.total > 0 ? mainly(tree, profile.service) : null;
  return (
    <section className="card" aria-label="Profile">
      <div className="head">
        <h2>
          {profile.service}: {plural(total, 'sample')} in {profile.seconds} s, {percent(cores)} of a processor
        </h2>
        <label className="inline">
          <span className="note">Work of </span>
          <select
            aria-label="Work of"
            value={span}
            onChange={(event) => {
              choose(event.target.value);
            }}
          >
            <option value="">everything ({total})</option>
            {profile.spans.map(({ name, samples }) => (
              <option key={name} value={name}>
                {name} ({samples})
              </option>
            ))}
            {span !== '' && !profile.spans.some(({ name }) => name === span) && (
              <option value={span}>{span} (0)</option>
            )}
          </select>
        </label>
      </div>
      {tree && main && (
        <p>
          Most of it, {percent(main.total / tree.total)}, is in <code>{main.name}</code>.
        </p>
      )}
      {tree && tree.total > 0 ? (
        <Suspense fallback={<Loading what="the flame graph" />}>
          <Flame tree={tree} />
        </Suspense>
      ) : (
        <Empty>
          {span ? `${span} took no CPU that a sample was taken in` : 'The process did nothing'} in these{' '}
          {profile.seconds} seconds: send it requests, or sample longer.
        </Empty>
      )}
    </section>
  );
}
