import { useQuery } from '@tanstack/react-query';
import { Link } from 'react-router-dom';
import { REFRESH } from '../../api/ask';
import { getAlerts, getRules } from '../../api/prometheus';
import type { Alert } from '../../api/prometheus';
import { getNotifications } from '../../api/webhook';
import type { Notification } from '../../api/webhook';
import { serviceColour } from '../../parts/colour';
import { ago, clock, digits, percent, plural, rate, seconds } from '../../parts/format';
import { Empty, Loading, Problem } from '../../parts/state';
import { Table } from '../../parts/table';
import { useTitle } from '../../parts/title';
import { sorted, waysOf } from './alerts';
import { HISTORY, getObjectives } from './objectives';
import type { Objective } from './objectives';
import './style.css';

export default function SlosPage() {
  useTitle('SLOs and alerts');
  const alerts = useQuery({ queryKey: ['alerts'], queryFn: getAlerts, refetchInterval: REFRESH });
  const objectives = useQuery({ queryKey: ['objectives'], queryFn: getObjectives, refetchInterval: REFRESH });
  const notifications = useQuery({ queryKey: ['notifications'], queryFn: getNotifications, refetchInterval: REFRESH });
  return (
    <>
      <h1 className="sr-only">SLOs and alerts</h1>
      <section className="card" aria-label="Alerts">
        <h2>Alerts</h2>
        {alerts.isLoading && <Loading what="alerts" />}
        {alerts.isError && <Problem what="Prometheus cannot say which alerts fire" error={alerts.error} />}
        {alerts.data && <Alerts alerts={alerts.data} />}
      </section>
      <section className="card" aria-label="Objectives">
        <h2>Objectives</h2>
        {objectives.isLoading && <Loading what="objectives" />}
        {objectives.isError && <Problem what="The objectives are not known" error={objectives.error} />}
        {objectives.data?.length === 0 && <Empty>Prometheus has not evaluated any objective yet.</Empty>}
        <div className="objectives">
          {objectives.data?.map((objective) => (
            <Card
              key={objective.name}
              objective={{
                ...objective,
                firing: (alerts.data ?? []).filter(({ labels }) => labels['slo'] === objective.name),
              }}
            />
          ))}
        </div>
      </section>
      <section className="card" aria-label="Notifications">
        <h2>What reached the webhook</h2>
        {notifications.isError && <Problem what="The webhook receiver does not answer" error={notifications.error} />}
        {notifications.data && <Notifications all={notifications.data} />}
      </section>
    </>
  );
}

function Alerts({ alerts }: { alerts: Alert[] }) {
  const rules = useQuery({ queryKey: ['rules'], queryFn: getRules, refetchInterval: 60_000 });
  if (alerts.length === 0) {
    return (
      <p className="good">
        ● No alert fires{rules.data && `; ${plural(rules.data.length, 'rule')} watch`}.
      </p>
    );
  }
  return (
    <ul className="alerts">
      {sorted(alerts).map((alert) => (
        <AlertItem key={JSON.stringify(alert.labels)} alert={alert} />
      ))}
    </ul>
  );
}

function AlertItem({ alert }: { alert: Alert }) {
  const { labels, annotations, state } = alert;
  const bad = state === 'firing' && labels['severity'] === 'critical';
  return (
    <li className={bad ? 'critical' : state}>
      <strong>{labels['alertname']}</strong>{' '}
      <span className={state === 'firing' ? 'bad' : ''}>
        {state}, {labels['severity']}
      </span>{' '}
      <span className="note">
        {labels['slo'] ?? labels['job']}, since {clock(Date.parse(alert.activeAt))}
        {labels['long'] && `; over ${labels['short'] ?? ''} and ${labels['long']}`}
      </span>
      <div>{annotations['summary']}</div>
      <p className="ways">
        {waysOf(alert).map(({ to, label }) => (
          <Link key={to} to={to}>
            {label}
          </Link>
        ))}
      </p>
    </li>
  );
}

function Card({ objective }: { objective: Objective }) {
  const { name, service, target, window, availability, left, burn, requests, firing } = objective;
  const fires = firing.filter(({ state }) => state === 'firing');
  const tone = fires.length > 0 || (left !== null && left < 0) ? 'bad' : burn !== null && burn > 1 ? 'warn' : 'good';
  return (
    <article className={`objective ${tone}`}>
      <h3>
        <span className="service" style={{ '--colour': serviceColour(service) } as React.CSSProperties}>
          <Link to={`/services/${service}`}>{name}</Link>
        </span>
      </h3>
      <p className="note">
        {percent(target)} of the requests in {seconds(window).replace(/ 0 (h|min)$/, '')}
      </p>
      <dl className="pairs">
        <dt>availability</dt>
        <dd>{availability === null ? 'not known yet' : `${(availability * 100).toFixed(3)} %`}</dd>
        <dt>budget left</dt>
        <dd>
          {left === null ? '–' : <strong className={left < 0 ? 'bad' : ''}>{percent(left)}</strong>}
          {left !== null && (
            <span className="meter" aria-hidden="true">
              <span className={left < 0.2 ? 'low' : ''} style={{ width: `${Math.max(0, Math.min(1, left)) * 100}%` }} />
            </span>
          )}
        </dd>
        <dt>burns now</dt>
        <dd className={burn !== null && burn > 1 ? 'bad' : ''}>
          {burn === null ? '–' : `${digits(burn)} times as fast as allowed`}
        </dd>
        <dt>requests</dt>
        <dd>{rate(requests)}</dd>
      </dl>
      <Spark objective={objective} />
      {fires.length > 0 && <p className="bad">{plural(fires.length, 'alert fires', 'alerts fire')}</p>}
    </article>
  );
}

const [WIDTH, HEIGHT] = [300, 46];

/** The share that failed in the last hour, with the share that may. */
function Spark({ objective: { history, target } }: { objective: Objective }) {
  const now = history.at(-1)?.[0];
  if (now === undefined || history.length < 2) return null;
  const most = Math.max(1 - target, ...history.map(([, share]) => share)) * 1.1;
  const x = (time: number) => WIDTH - ((now - time) / HISTORY) * WIDTH;
  const y = (share: number) => HEIGHT - 2 - (share / most) * (HEIGHT - 6);
  const allowed = y(1 - target);
  return (
    <figure className="spark">
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label="Share of bad answers in the last hour">
        <line x1={0} x2={WIDTH} y1={allowed} y2={allowed} />
        <polyline points={history.map(([time, share]) => `${x(time).toFixed(1)},${y(share).toFixed(1)}`).join(' ')} />
      </svg>
      <figcaption className="note">bad answers, last hour; the line is what is allowed</figcaption>
    </figure>
  );
}

/** Notifications that are shown. */
const MOST = 20;

function Notifications({ all }: { all: Notification[] }) {
  if (all.length === 0) return <Empty>Alertmanager has not sent anything yet.</Empty>;
  return (
    <>
      <Table columns={['received', 'status', 'alerts']}>
        {all.slice(0, MOST).map((notification, index) => (
          <tr key={`${notification.received} ${index}`}>
            <td className="nowrap" title={ago(notification.received * 1000)}>
              {clock(notification.received * 1000)}
            </td>
            <td className={notification.body.status === 'firing' ? 'bad' : 'good'}>{notification.body.status}</td>
            <td>
              {(notification.body.alerts ?? []).map((alert) => (
                <div key={JSON.stringify(alert.labels)}>
                  {alert.labels['alertname']} {alert.labels['slo'] ?? alert.labels['job']}{' '}
                  <span className="note">
                    {alert.labels['severity']}, {alert.status}
                  </span>
                </div>
              ))}
            </td>
          </tr>
        ))}
      </Table>
      {all.length > MOST && <p className="note">{all.length - MOST} older ones are kept in the lab's state directory.</p>}
    </>
  );
}
