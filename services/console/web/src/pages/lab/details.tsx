import { Link } from 'react-router-dom';
import type { Lab } from '../../api/lab';
import { percent, rate, seconds, since } from '../../parts/format';
import { LOGGED, PROFILED } from '../ways';
import { phaseText } from './health';

/** Who is seen in traces, of its own or of its callers. */
const TRACED = new Set(['edge', 'users', 'albums', 'postgres']);

/** A component: how it is, and the ways on from here. */
export function Details({ lab, name, close }: { lab: Lab; name: string; close: () => void }) {
  const component = lab.components.find((each) => each.name === name);
  const node = lab.nodes.find((each) => each.name === name);
  const query = encodeURIComponent(name);
  // What has no spans of its own is seen in those of its callers.
  const caller = lab.edges.find((edge) => edge.server === name)?.client;
  const own = PROFILED.has(name);
  const traces = own
    ? `/traces?service=${query}`
    : `/traces?service=${encodeURIComponent(caller ?? '')}&attributes=${encodeURIComponent(`service.peer.name=${name}`)}`;
  return (
    <div className="details" role="region" aria-label={name}>
      <button type="button" className="quiet close" aria-label="Close" onClick={close}>
        ✕
      </button>
      <h3>{name}</h3>
      <dl className="pairs">
        {component && (
          <>
            <dt>state</dt>
            <dd>
              {phaseText(component.phase)} for {since(component.since)}
            </dd>
            {component.detail && (
              <>
                <dt>detail</dt>
                <dd>{component.detail}</dd>
              </>
            )}
            {component.hint && (
              <>
                <dt>what helps</dt>
                <dd>
                  <code>{component.hint}</code>
                </dd>
              </>
            )}
            {component.source && (
              <>
                <dt>program</dt>
                <dd>{component.source}</dd>
              </>
            )}
          </>
        )}
        {node && node.requests > 0 && (
          <>
            <dt>asked</dt>
            <dd>
              {rate(node.requests)}, {percent(node.errors / node.requests)} failed
              {node.p50 !== null && node.p95 !== null && `, half within ${seconds(node.p50)}, 95 % within ${seconds(node.p95)}`}
            </dd>
          </>
        )}
      </dl>
      <p className="ways">
        <Link to={`/services/${query}`}>Now and before</Link>
        {TRACED.has(name) && (own || caller) && <Link to={traces}>Traces</Link>}
        {TRACED.has(name) && (own || caller) && <Link to={`${traces}&sort=slowest`}>Slowest traces</Link>}
        {LOGGED.has(name) && <Link to={`/logs?service=${query}`}>Logs</Link>}
        {own && <Link to={`/profiles?service=${query}`}>Profile</Link>}
        {component?.address?.startsWith('http') && (
          <a href={component.address} target="_blank" rel="noreferrer">
            {component.address}
          </a>
        )}
      </p>
    </div>
  );
}
