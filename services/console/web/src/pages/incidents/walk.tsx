import { useQuery } from '@tanstack/react-query';
import { Link } from 'react-router-dom';
import { getLab } from '../../api/lab';
import { query } from '../../api/prometheus';
import type { Report, Scenario } from '../../api/scenarios';
import { digits } from '../../parts/format';
import { Prose } from '../../parts/prose';
import { Problem } from '../../parts/state';
import { fill, traceIn, wayOf } from './ways';
import type { Values } from './ways';

/** The steps from the alert to the cause, each with the page that shows it. */
export function Walk({ scenario, report }: { scenario: Scenario; report: Report | null }) {
  const lab = useQuery({ queryKey: ['lab'], queryFn: getLab, staleTime: 60_000 });
  const values: Values = {};
  for (const { name, address } of lab.data?.components ?? []) if (address) values[name] = address;
  // A later step speaks of the trace that an earlier one found.
  const found = report?.timeline.filter(({ event }) => event === 'followed').map(({ answer }) => traceIn(answer));
  const trace = found?.find((id) => id !== undefined);
  if (trace) values['trace_id'] = trace;
  return (
    <section className="card" aria-label="From the alert to the cause">
      <h2>From the alert to the cause</h2>
      <ol className="walk">
        {scenario.walk.map(({ text, question }, index) => {
          const way = wayOf(question, values);
          return (
            <li key={index}>
              <p>
                <Prose text={text} />
              </p>
              {'promql' in question && <Answer promql={fill(question.promql, values)} />}
              {way &&
                (way.to.startsWith('http') ? (
                  <a href={way.to} target="_blank" rel="noreferrer">
                    {way.label}
                  </a>
                ) : (
                  <Link to={way.to}>{way.label}</Link>
                ))}
              {way?.text && <code className="note"> {way.text}</code>}
            </li>
          );
        })}
      </ol>
    </section>
  );
}

const MOST = 8;

/** A query, and what it gives now. */
function Answer({ promql }: { promql: string }) {
  const answer = useQuery({ queryKey: ['promql', promql], queryFn: () => query(promql), refetchInterval: 5000 });
  return (
    <details>
      <summary>
        Now:{' '}
        {answer.data
          ? answer.data.length === 0
            ? 'nothing'
            : answer.data
                .slice(0, MOST)
                .map(({ labels, value }) => {
                  const of = Object.values(labels).join(' ');
                  return `${of && `${of} `}${Number.isFinite(value) ? digits(value) : '–'}`;
                })
                .join(', ')
          : answer.isError
            ? 'not known'
            : '…'}
      </summary>
      {answer.isError && <Problem what="Prometheus could not answer" error={answer.error} />}
      <pre>{promql}</pre>
    </details>
  );
}
