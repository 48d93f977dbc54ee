import { useMutation, useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { Link, useSearchParams } from 'react-router-dom';
import { getScenarios, heal, release, runScenario } from '../../api/scenarios';
import type { Report, Scenario, Scenarios } from '../../api/scenarios';
import { clock, plural } from '../../parts/format';
import { Prose } from '../../parts/prose';
import { Loading, Problem } from '../../parts/state';
import { useTitle } from '../../parts/title';
import { Timeline } from './timeline';
import './style.css';
import { Walk } from './walk';

/** How long a run stays broken when nobody heals it. */
const HOLD = { asked: '15m', said: '15 minutes' };

/** The scenario desk: read, run, watch, follow the walk, heal. */
export default function IncidentsPage() {
  useTitle('Incidents');
  const [params, setParams] = useSearchParams();
  const desk = useQuery({
    queryKey: ['scenarios'],
    queryFn: getScenarios,
    refetchInterval: (data) => (data?.running ? 1000 : 5000),
  });
  const [hold, setHold] = useState(false);
  const run = useMutation({
    mutationFn: runScenario,
    onSettled: () => void desk.refetch(),
  });
  if (desk.isLoading) return <Loading what="the incidents" />;
  if (!desk.data) {
    return <Problem what="Incidents cannot be run here" error={desk.error} again={() => void desk.refetch()} />;
  }
  const { scenarios, report, running, broken, cannot, faults } = desk.data;
  const name = params.get('name') ?? report?.scenario ?? scenarios[0]?.name;
  const chosen = scenarios.find((scenario) => scenario.name === name);
  const own = report && report.scenario === chosen?.name ? report : null;
  const whyNot = chosen && cannot[chosen.name];
  return (
    <div className="desk">
      <List
        desk={desk.data}
        chosen={chosen?.name}
        choose={(next) => {
          setParams({ name: next });
        }}
      />
      <div className="desk-main">
        {(running || broken) && report && <Now report={report} running={running} again={() => void desk.refetch()} />}
        {faults.map((fault) => (
          <Problem key={fault} what="A file is no incident" error={fault} />
        ))}
        {run.isError && <Problem what="It did not start" error={run.error} />}
        {chosen ? (
          <section className="card" aria-label={chosen.title}>
            <div className="head">
              <h1>{chosen.title}</h1>
              <p className="ways">
                <label title={`After its walk the run does not heal: you look for the cause, then heal it here. Else it is healed after ${HOLD.said}.`}>
                  <input
                    type="checkbox"
                    checked={hold}
                    onChange={(event) => {
                      setHold(event.target.checked);
                    }}
                  />{' '}
                  stay broken until I heal it
                </label>
                <button
                  type="button"
                  className="primary"
                  disabled={running || run.isPending || whyNot !== undefined}
                  onClick={() => {
                    run.mutate({ name: chosen.name, hold: hold ? HOLD.asked : null });
                  }}
                >
                  {running && own ? 'Running …' : 'Run it'}
                </button>
              </p>
            </div>
            <p>
              <Prose text={chosen.summary} />
            </p>
            {whyNot && (
              <p className="note">
                <Prose text={whyNot} />
              </p>
            )}
            <Facts scenario={chosen} />
            {own && <Timeline report={own} running={running} scenario={chosen} />}
          </section>
        ) : (
          <p className="empty">There is no incident of this name.</p>
        )}
        {chosen && <Walk scenario={chosen} report={own} />}
      </div>
    </div>
  );
}

/** The run of now, and how it is ended. */
function Now({ report, running, again }: { report: Report; running: boolean; again: () => void }) {
  const held = running && report.phase === 'held';
  const until = held ? report.timeline.find(({ event }) => event === 'held')?.until : undefined;
  const healing = useMutation({ mutationFn: held ? release : heal, onSettled: again });
  const title = held
    ? `${report.scenario} stays broken until you heal it`
    : running
      ? `${report.scenario} runs`
      : `${report.scenario} was not healed`;
  return (
    <>
      <section className="card problem" role="status">
        <strong>{title}</strong>
        <span>
          {report.broken}
          {until !== undefined && `; healed by itself at ${clock(until * 1000)}`}
        </span>
        {held && <Link to="/slos">What fires, and where to look</Link>}
        <button
          type="button"
          className={held ? 'primary' : ''}
          disabled={healing.isPending}
          onClick={() => {
            healing.mutate();
          }}
        >
          {healing.isPending ? 'Healing …' : running && !held ? 'End it and heal' : 'Heal'}
        </button>
      </section>
      {healing.isError && <Problem what="It was not healed" error={healing.error} />}
    </>
  );
}

function List({ desk, chosen, choose }: { desk: Scenarios; chosen: string | undefined; choose: (name: string) => void }) {
  return (
    <nav className="card desk-list" aria-label="Incidents">
      <h2>{plural(desk.scenarios.length, 'incident')}</h2>
      <ul className="plain">
        {desk.scenarios.map(({ name, title }) => (
          <li key={name}>
            <button
              type="button"
              className="link"
              aria-current={name === chosen}
              onClick={() => {
                choose(name);
              }}
            >
              {name}
            </button>
            {desk.running && desk.report?.scenario === name && <span className="bad"> ● runs</span>}
            <div className="note">{title}</div>
          </li>
        ))}
      </ul>
      {desk.report && !desk.running && (
        <p className="note">
          Last run: {desk.report.scenario}, {clock(desk.report.started * 1000)}, {desk.report.outcome ?? 'not ended'}.
        </p>
      )}
    </nav>
  );
}

function Facts({ scenario }: { scenario: Scenario }) {
  const { broken, load, alert, heal: cure } = scenario;
  const breaks = [
    ...Object.entries(broken.deploy).map(([service, version]) => `${service} runs as version ${version}`),
    ...Object.entries(broken.flags).map(([flag, variant]) => `${flag} = ${variant}`),
    ...broken.stop.map((name) => `${name} is stopped`),
  ];
  return (
    <dl className="pairs">
      <dt>what is broken</dt>
      <dd>
        <code>{breaks.join(', ')}</code>
      </dd>
      <dt>load</dt>
      <dd>
        {plural(load.people, 'person', 'people')} asking for {Object.keys(load.paths).join(', ')}
      </dd>
      <dt>the alert</dt>
      <dd>
        {Object.values(alert.labels).join(', ')}, at the webhook within {alert.within} s
      </dd>
      <dt>healing</dt>
      <dd>
        <Prose text={cure.text} />
      </dd>
    </dl>
  );
}
