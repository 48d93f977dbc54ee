import { useQuery } from '@tanstack/react-query';
import { Link, useParams, useSearchParams } from 'react-router-dom';
import { REFRESH } from '../../api/ask';
import { getLab } from '../../api/lab';
import type { Lab } from '../../api/lab';
import { getTargets } from '../../api/prometheus';
import { clock, digits, percent, rate, seconds, since } from '../../parts/format';
import { Empty, Loading, Problem } from '../../parts/state';
import { Table } from '../../parts/table';
import { useTitle } from '../../parts/title';
import { healthOf, phaseText } from '../lab/health';
import { LOGGED, PROFILED, callsTo, lookback, tracesOf } from '../ways';
import { getChanges } from './changes';
import type { Change } from './changes';
import { getAnswers, getCalls, getVersions, getVitals, vitals } from './vitals';
import type { Calls, Version, Vital } from './vitals';
import './style.css';

const NAME = /^[\w.-]+$/;
/** What was before is asked for so long before something began, in seconds. */
const EARLIER = 180;
/** Where nobody says when it began, so long ago. */
const USUAL = 600;

/** What began something was a little before it was noticed, in minutes. */
const MARGIN = 10;

/** How one of them is now and how it was, whom it calls, what changed. */
export default function ServicePage() {
  const name = useParams()['name'] ?? '';
  const [params] = useSearchParams();
  useTitle(name);
  const lab = useQuery({ queryKey: ['lab'], queryFn: getLab, refetchInterval: REFRESH });
  const began = Number(params.get('since'));
  const known = lab.data?.components.length === 0 || lab.data?.components.some((each) => each.name === name);
  if (lab.isLoading) return <Loading what={name} />;
  if (!lab.data) return <Problem what="The lab's state is not known" error={lab.error} again={() => void lab.refetch()} />;
  if (!NAME.test(name) || !known) {
    return (
      <section className="card">
        <h1>There is no such service</h1>
        <p>
          <code>{name}</code> is none of the lab. <Link to="/">All of it</Link>
        </p>
      </section>
    );
  }
  return <View key={name} name={name} lab={lab.data} began={Number.isFinite(began) && began > 0 ? began : null} />;
}

/** `began` is in seconds since 1970. */
function View({ name, lab, began }: { name: string; lab: Lab; began: number | null }) {
  const last = lookback(began, USUAL);
  return (
    <>
      <Head name={name} lab={lab} last={last} />
      <Numbers name={name} began={began} />
      <Versions name={name} />
      <AnswersOf name={name} />
      <CallsOf name={name} as="client" last={last} />
      <CallsOf name={name} as="server" last={last} />
      {LOGGED.has(name) && <Changes name={name} minutes={last + MARGIN} />}
    </>
  );
}

function Head({ name, lab, last }: { name: string; lab: Lab; last: number }) {
  const component = lab.components.find((each) => each.name === name);
  const targets = useQuery({ queryKey: ['targets'], queryFn: getTargets, refetchInterval: REFRESH });
  const lost = targets.data?.filter(({ labels, health }) => labels['job'] === name && health === 'down') ?? [];
  const runs = component === undefined || component.phase === 'healthy';
  return (
    <section className={runs ? 'card' : 'card alarm'} aria-label={name}>
      <div className="head">
        <h1>
          <Link to="/">Lab</Link> / {name}
        </h1>
        {component && (
          <p>
            <span className={`dot ${healthOf(component)}`} aria-hidden="true" />{' '}
            <strong className={runs ? '' : 'bad'}>{phaseText(component.phase)}</strong> for {since(component.since)}
          </p>
        )}
      </div>
      {component?.detail && <p>{component.detail}</p>}
      {component?.phase === 'stopped' && (
        <p className="bad">
          {name} was stopped and does not run. <code>./lab start {name}</code> starts it.
        </p>
      )}
      {component?.hint && (
        <p>
          <code>{component.hint}</code>
        </p>
      )}
      {lost.map(({ scrapeUrl, lastError }) => (
        <p key={scrapeUrl} className="bad">
          Prometheus cannot scrape it: {lastError}
        </p>
      ))}
      <p className="ways">
        {PROFILED.has(name) && (
          <>
            <Link to={tracesOf(name, last, { errors: '1' })}>Failed traces</Link>
            <Link to={tracesOf(name, last, { sort: 'slowest' })}>Slowest traces</Link>
            <Link to={`/profiles?service=${name}&span=`}>What its CPU does now</Link>
            <Link to={`/dashboards/lab-service?var-service=${name}`}>Its dashboard</Link>
          </>
        )}
        {LOGGED.has(name) && (
          <>
            <Link to={`/logs?service=${name}&level=warn&last=${last}`}>Warnings and errors in its log</Link>
            <Link to={`/logs?service=${name}&last=${last}`}>Its log</Link>
          </>
        )}
      </p>
    </section>
  );
}

/** So many times as much is worth a second look. */
const MUCH = 2;
/** As long as they are not known. */
const NONE = new Map<number, number>();

function Numbers({ name, began }: { name: string; began: number | null }) {
  const now = useQuery({ queryKey: ['vitals', name], queryFn: () => getVitals(name), refetchInterval: REFRESH });
  // The same moment as long as the page is open.
  const at = useQuery({
    queryKey: ['vitals', name, began],
    queryFn: async () => {
      const moment = began === null ? Date.now() / 1000 - USUAL : began - EARLIER;
      return { moment, values: await getVitals(name, moment) };
    },
    staleTime: Infinity,
    cacheTime: 0,
  });
  const rows = vitals(name, now.data ?? NONE, at.data?.values ?? NONE);
  if (now.isError) return <Problem what="Its numbers are not known" error={now.error} again={() => void now.refetch()} />;
  if (rows.length === 0) return null;
  return (
    <section className="card" aria-label="Numbers">
      <h2>Its numbers, now and before</h2>
      <Table columns={['over the last minute', 'now', at.data ? `at ${clock(at.data.moment * 1000)}` : 'before', '']} className="numbers">
        {rows.map((vital) => (
          <VitalRow key={vital.name} vital={vital} />
        ))}
      </Table>
    </section>
  );
}

function VitalRow({ vital: { name, say, now, before } }: { vital: Vital }) {
  const times = now !== null && before !== null && before > 0 ? now / before : null;
  const more = times !== null && times >= MUCH;
  return (
    <tr>
      <th scope="row">{name}</th>
      <td>{now === null ? '–' : more ? <strong>{say(now)}</strong> : say(now)}</td>
      <td className="note">{before === null ? '–' : say(before)}</td>
      <td className="note">{more && `${digits(times)} times as much`}</td>
    </tr>
  );
}

function Versions({ name }: { name: string }) {
  const versions = useQuery({ queryKey: ['versions', name], queryFn: () => getVersions(name), refetchInterval: REFRESH });
  if (!versions.data || versions.data.length === 0) return null;
  return (
    <section className="card" aria-label="Versions">
      <h2>Versions that answered in the last five minutes</h2>
      <Table columns={['version', 'requests', 'of them failed', '']} className="numbers">
        {versions.data.map((version) => (
          <VersionRow key={version.version} version={version} name={name} />
        ))}
      </Table>
    </section>
  );
}

function VersionRow({ version: { version, requests, failed, running }, name }: { version: Version; name: string }) {
  return (
    <tr>
      <th scope="row">
        {version} {running && <span className="note">runs now</span>}
      </th>
      <td>{Math.round(requests).toLocaleString('en')}</td>
      <td className={failed > 0 ? 'bad' : ''}>{failed > 0 ? percent(failed / requests) : 'none'}</td>
      <td>
        {failed > 0 && <Link to={tracesOf(name, 5, { errors: '1', attributes: `service.version=${version}` })}>its failed traces</Link>}
      </td>
    </tr>
  );
}

function AnswersOf({ name }: { name: string }) {
  const answers = useQuery({ queryKey: ['answers', name], queryFn: () => getAnswers(name), refetchInterval: REFRESH });
  if (!answers.data || answers.data.length === 0) return null;
  return (
    <section className="card" aria-label="Answers">
      <h2>What it answers</h2>
      <Table columns={['route', 'status', 'over the last minute']} className="numbers">
        {answers.data.map(({ route, status, requests }) => (
          <tr key={`${route} ${status}`}>
            <th scope="row">{route}</th>
            <td className={status.startsWith('5') ? 'bad' : ''}>{status}</td>
            <td>{rate(requests)}</td>
          </tr>
        ))}
      </Table>
    </section>
  );
}

function CallsOf({ name, as, last }: { name: string; as: 'client' | 'server'; last: number }) {
  const calls = useQuery({ queryKey: ['calls', as, name], queryFn: () => getCalls(name, as), refetchInterval: REFRESH });
  if (!calls.data || calls.data.length === 0) return null;
  const [title, label] = as === 'client' ? ['Whom it calls', 'Calls of it'] : ['Who calls it', 'Calls to it'];
  return (
    <section className="card" aria-label={label}>
      <h2>{title}</h2>
      <Table columns={[as === 'client' ? 'called' : 'caller', 'requests', 'of them failed', 'half within', '95 % within', '']} className="numbers">
        {calls.data.map((each) => (
          <CallsRow key={each.who} calls={each} client={as === 'client' ? name : each.who} server={as === 'client' ? each.who : name} last={last} />
        ))}
      </Table>
    </section>
  );
}

function CallsRow({ calls, client, server, last }: { calls: Calls; client: string; server: string; last: number }) {
  const { who, requests, failed, p50, p95 } = calls;
  // Callers from outside have no spans.
  const traced = PROFILED.has(client);
  return (
    <tr>
      <th scope="row">{who === 'user' ? 'callers from outside' : <Link to={`/services/${who}`}>{who}</Link>}</th>
      <td>{rate(requests)}</td>
      <td className={failed > 0 ? 'bad' : ''}>{failed > 0 ? percent(failed) : 'none'}</td>
      <td>{p50 === null ? '–' : seconds(p50)}</td>
      <td>{p95 === null ? '–' : seconds(p95)}</td>
      <td>
        {traced && (
          <span className="ways">
            {failed > 0 && <Link to={callsTo(client, server, last, { errors: '1' })}>failed calls</Link>}
            <Link to={callsTo(client, server, last, { sort: 'slowest' })}>slowest calls</Link>
          </span>
        )}
      </td>
    </tr>
  );
}

function Changes({ name, minutes }: { name: string; minutes: number }) {
  const changes = useQuery({
    queryKey: ['changes', name],
    queryFn: () => getChanges(name, minutes),
    refetchInterval: REFRESH,
  });
  return (
    <section className="card" aria-label="Changes">
      <h2>What changed, by its own log</h2>
      {changes.isLoading && <Loading what="its log" />}
      {changes.isError && <Problem what="Its log is not known" error={changes.error} again={() => void changes.refetch()} />}
      {changes.data?.length === 0 && <Empty>It tells of no change in the last {minutes} minutes.</Empty>}
      {changes.data && changes.data.length > 0 && (
        <ul className="plain changes">
          {changes.data.map((change, index) => (
            <ChangeItem key={`${change.at} ${index}`} change={change} />
          ))}
        </ul>
      )}
    </section>
  );
}

function ChangeItem({ change: { at, what, more } }: { change: Change }) {
  return (
    <li>
      <span className="note">{clock(at)}</span> {what}
      {more.length > 0 && <strong>: {more.join('; ')}</strong>}
    </li>
  );
}
