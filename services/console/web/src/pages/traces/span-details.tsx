import { Link } from 'react-router-dom';
import type { Attribute } from '../../api/jaeger';
import { millis } from '../../api/loki';
import type { LogLine } from '../../api/loki';
import { micros, percent, plural } from '../../parts/format';
import { LOGGED, PROFILED } from '../ways';
import type { Row, Tree } from './tree';

/** A span: what it says of itself, its log lines, and the ways on from here. */
export function SpanDetails({ row, tree, lines }: { row: Row; tree: Tree; lines: LogLine[] }) {
  const { span } = row;
  const own = lines.filter((line) => line.span === span.id);
  const value = (key: string) => span.attributes.find((each) => each.key === key)?.value;
  const sql = value('db.query.text');
  const at = Math.round(span.start / 1000);
  const same = new URLSearchParams({ service: span.service, operation: span.name });
  const peer = value('service.peer.name');
  return (
    <div className="span-details">
      <p className="note">
        {span.kind} span <code>{span.id}</code>, {micros(span.start - tree.start)} after the beginning, took{' '}
        {micros(span.duration)}, {micros(row.self)} of it itself ({percent(span.duration > 0 ? row.self / span.duration : 0)})
      </p>
      {span.failed && <p className="bad">failed{span.statusMessage && `: ${span.statusMessage}`}</p>}
      {span.warnings.map((warning) => (
        <p key={warning} className="note">
          Jaeger: {warning}
        </p>
      ))}
      <p className="ways">
        <Link to={`/logs?trace=${tree.id}&span=${span.id}&at=${at}`}>Logs of this span</Link>
        <Link to={`/logs?service=${encodeURIComponent(span.service)}&at=${at}`}>Logs of {span.service} around it</Link>
        <Link to={`/traces?${same.toString()}&sort=slowest`}>Slowest of this operation</Link>
        {peer !== undefined && LOGGED.has(peer) && <Link to={`/logs?service=${peer}&at=${at}&last=1`}>Logs of {peer} then</Link>}
        {peer !== undefined && <Link to={`/services/${encodeURIComponent(peer)}?since=${Math.round(at / 1000)}`}>How {peer} is</Link>}
        {PROFILED.has(span.service) && (
          <Link to={`/profiles?service=${span.service}&span=${encodeURIComponent(span.name)}`}>Flame graph of {span.name}</Link>
        )}
      </p>
      {sql !== undefined && (
        <figure className="sql">
          <figcaption>SQL{value('db.namespace') && ` in ${value('db.namespace') ?? ''}`}</figcaption>
          <pre>{sql}</pre>
        </figure>
      )}
      {own.length > 0 && (
        <div className="span-lines">
          <h3>{plural(own.length, 'log line')}</h3>
          <ul>
            {own.map((line) => (
              <li key={`${line.time} ${line.text}`} className={`line ${line.level}`}>
                <span className="note">+{micros(Math.max(0, millis(line) * 1000 - tree.start))}</span> {line.text}
              </li>
            ))}
          </ul>
        </div>
      )}
      {span.events.length > 0 && (
        <div>
          <h3>{plural(span.events.length, 'event')}</h3>
          {span.events.map((event, index) => (
            <details key={index}>
              <summary>
                +{micros(event.time - tree.start)} {event.name}
              </summary>
              <Attributes of={event.attributes} />
            </details>
          ))}
        </div>
      )}
      <h3>Attributes</h3>
      <Attributes of={span.attributes} search={span.service} />
      <details>
        <summary>Resource, {plural(span.resource.length, 'attribute')}</summary>
        <Attributes of={span.resource} />
      </details>
    </div>
  );
}

/** Every attribute of a span leads to the other traces that have it. */
function Attributes({ of, search }: { of: Attribute[]; search?: string }) {
  if (of.length === 0) return <p className="note">none</p>;
  return (
    <table className="attributes">
      <tbody>
        {of.map(({ key, value }) => (
          <tr key={key}>
            <th scope="row">{key}</th>
            <td>{value}</td>
            {search !== undefined && (
              <td>
                <Link
                  to={`/traces?${new URLSearchParams({ service: search, attributes: `${key}=${/\s/.test(value) ? `"${value}"` : value}` }).toString()}`}
                  title={`Traces of ${search} with the same ${key}`}
                  aria-label={`Traces with the same ${key}`}
                >
                  ⌕
                </Link>
              </td>
            )}
          </tr>
        ))}
      </tbody>
    </table>
  );
}
