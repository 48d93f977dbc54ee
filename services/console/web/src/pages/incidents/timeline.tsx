import type { Moment, Report, Scenario } from '../../api/scenarios';
import { seconds } from '../../parts/format';

const PHASES: Record<string, string> = {
  calming: 'waiting for a healthy lab',
  loading: 'people ask, all is well',
  breaking: 'breaking it',
  watching: 'waiting for the symptoms and the alert',
  walking: 'walking from the alert to the cause',
  held: 'broken until you heal it',
  healing: 'healing it',
  resolving: 'waiting for the end of the alert',
  done: 'done',
};

const BAD = new Set(['missed', 'untold', 'lost', 'unresolved']);

function words(moment: Moment, scenario: Scenario): string {
  const { event, name, step } = moment;
  switch (event) {
    case 'calm':
      return 'the lab is healthy';
    case 'injected':
      return 'broken';
    case 'seen':
      return `seen: ${name ?? ''}`;
    case 'missed':
      return `not seen: ${name ?? ''}`;
    case 'firing':
      return 'the alert fires';
    case 'notified':
      return 'it reached the webhook';
    case 'untold':
      return 'the alert did not reach the webhook';
    case 'followed':
    case 'lost':
      return `step ${step ?? ''} of ${scenario.walk.length} ${event === 'lost' ? 'leads nowhere' : 'was followed'}`;
    case 'held':
      return 'stays broken, for you to look';
    case 'released':
      return moment.asked ? 'you said that it may heal' : 'nobody said in time that it may heal';
    case 'healed':
      return 'healed';
    case 'recovered':
      return 'good answers only';
    case 'resolved':
      return 'the end of the alert reached the webhook';
    case 'unresolved':
      return 'the end of the alert did not reach the webhook';
    default:
      return event;
  }
}

const wait = (passed: number) => (Math.abs(passed) < 0.5 ? '0 s' : seconds(Math.round(Math.abs(passed))));

/** What happened when, counted from the fault. */
export function Timeline({ report, running, scenario }: { report: Report; running: boolean; scenario: Scenario }) {
  const zero = report.timeline.find(({ event }) => event === 'injected')?.at ?? report.started;
  const asked = Object.entries(report.answers);
  return (
    <div className="timeline">
      <h2>
        {running
          ? (PHASES[report.phase] ?? report.phase)
          : report.outcome === 'passed'
            ? 'The last run: everything was seen, told and healed'
            : `The last run: ${report.outcome ?? 'it did not end'}`}
      </h2>
      {running &&
        Object.entries(report.waiting ?? {}).map(([what, came]) => (
          <p key={what} className="note">
            <span className="spinner" aria-hidden="true" /> {what}
            {came && `: ${came}`}
          </p>
        ))}
      {report.failures.map((failure) => (
        <p key={failure} className="bad">
          {failure}
        </p>
      ))}
      <ol>
        {report.timeline.toSorted((a, b) => a.at - b.at).map((moment, index) => (
          <li key={index} className={BAD.has(moment.event) ? 'bad' : ''}>
            <span className="when">
              {moment.at < zero ? '−' : '+'}
              {wait(moment.at - zero)}
            </span>
            <span>
              {words(moment, scenario)}
              {(moment.answer ?? moment.came) && <span className="note answer">{moment.answer ?? moment.came}</span>}
            </span>
          </li>
        ))}
      </ol>
      {asked.length > 0 && (
        <p className="note">Answers: {asked.map(([status, count]) => `${count} with ${status}`).join(', ')}.</p>
      )}
    </div>
  );
}
